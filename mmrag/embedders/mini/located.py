"""Located meta tokens: the part of an input that each row sees, and the windows in which it is computed.

A meta token of MetaEmbed sees all content, and only training makes the rows differ. Ours start from the
encoder's [CLS], which would give the same row 64 times; so each sees a part instead: level 0 everything,
level 1 a third, level 2 a quarter, level 3 an eighth, level 4 one of up to 48 parts. Every level covers the
whole input, so every prefix of rows does, and a larger budget is finer. Content is read once, in windows that
overlap their neighbours; a part costs one more token.

No weights and no model here, only positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mmrag.embedders.text import spread_order

LEVELS = (1, 3, 4, 8, 48)
"""Parts of each level; their running sums 1, 4, 8, 16, 64 are the budgets."""

SMALLEST_PART = 32
"""Tokens of a document's part, about two sentences: shorter ones lose their subject."""

WINDOW, STRIDE = 254, 200
"""Content tokens of a window, and from one window's start to the next one's."""

MASK_LOGIT = np.float32(-1e9)  # added to a logit; finite, so that int8 kernels see no NaN


@dataclass(frozen=True, slots=True)
class Part:
    """The content of one row: tokens `start` to `end`, of `level`."""

    level: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Window:
    """Content tokens `start` to `end`, read together; `first` to `last` belong to this window alone."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class View:
    """The content tokens `start` to `end` that row `row` sees in one window."""

    row: int
    start: int
    end: int


def parts_of(length: int, *, most: int, smallest: int = SMALLEST_PART) -> list[Part]:
    """Divide an input of `length` tokens into parts, one per row, in the order of rows.

    A level that would have no more parts than the one before adds nothing and is left out. Within a level
    the order is spread, so that a budget between two levels covers the input, too.

    Args:
        length: content tokens, at least 1.
        most: rows.
        smallest: tokens of a part of the levels from 1 on, up to rounding.
    """
    parts = [Part(0, 0, length)]
    room, before = -(-length // smallest), 1
    for level, most_parts in enumerate(LEVELS[1:], start=1):
        count = min(most_parts, room)
        if count <= before:
            continue
        edges = np.linspace(0, length, count + 1).round().astype(int).tolist()
        spans = list(pairwise(edges))
        parts += [Part(level, *spans[number]) for number in spread_order(count)]
        before = count
    return parts[:most]


def windows_of(length: int, window: int = WINDOW, stride: int = STRIDE) -> list[Window]:
    """Cover `length` tokens by windows, whose inner stretches have neither gaps nor overlaps."""
    starts = [0]
    while starts[-1] + window < length:
        starts.append(min(starts[-1] + stride, length - window))
    ends = [min(start + window, length) for start in starts]
    edges = [0, *((before + after) // 2 for before, after in zip(ends[:-1], starts[1:], strict=True)), length]
    return [
        Window(start, end, first, last)
        for start, end, (first, last) in zip(starts, ends, pairwise(edges), strict=True)
    ]


def views(parts: list[Part], windows: list[Window]) -> Iterator[tuple[Window, list[View]]]:
    """Yield every window with the rows that are computed in it.

    A part that fits into the window nearest to its middle is seen there, with context on both sides; a longer
    one is seen in pieces, one per window, and its row is their mean by length.
    """
    home = [_home(part, windows) for part in parts]
    for number, window in enumerate(windows):
        window_views = []
        for row, part in enumerate(parts):
            if home[row] == number:
                window_views.append(View(row, part.start, part.end))
            elif home[row] is None:
                start, end = max(part.start, window.first), min(part.end, window.last)
                if start < end:
                    window_views.append(View(row, start, end))
        yield window, window_views


def _home(part: Part, windows: list[Window]) -> int | None:
    """Return the number of the window nearest to a part's middle if the part fits into it."""
    middle = (part.start + part.end) / 2
    for number, window in enumerate(windows):
        is_nearest = window.first <= middle < window.last
        if is_nearest and window.start <= part.start and part.end <= window.end:
            return number
    return None


def mask_of(content: int, spans: list[tuple[int, int] | None]) -> NDArray[np.float32]:
    """Build the attention mask ``(content + rows, content + rows)``: 0 or `MASK_LOGIT`, added to logits.

    Content sees content. A row sees itself and its span of the content, or all of it for None.

    Args:
        content: tokens, special ones and an instruction included.
        spans: of each row, as positions of `content`.
    """
    size = content + len(spans)
    mask = np.zeros((size, size), np.float32)
    mask[:, content:] = MASK_LOGIT
    for row, span in enumerate(spans, start=content):
        mask[row, row] = 0
        if span is not None:
            mask[row, :content] = MASK_LOGIT
            mask[row, span[0] : span[1]] = 0
    return mask
