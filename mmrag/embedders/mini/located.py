"""Located meta tokens: which part of an input each row sees, and in which windows it is computed.

A meta token of MetaEmbed sees all content, and training alone makes the rows differ. Ours start from an
encoder's own [CLS], which would give the same row 64 times; so each is given its place instead: level 0 sees
everything, level 1 a third, level 2 a quarter, level 3 an eighth, level 4 one of up to 48 parts. Every level
covers the whole input, so every prefix of rows does, and a larger budget looks closer. Content is read once,
in windows with both neighbours in sight; what a part costs is one more token.

No weights and no model here: places in, places out.
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
"""Tokens of a document's part, about two sentences: shorter ones lose what they are about."""

WINDOW, STRIDE = 254, 200
"""Content tokens that are read together, and from one window's start to the next one's."""

UNSEEN = np.float32(-1e9)  # added to a logit; finite, so that int8 kernels see no NaN


@dataclass(frozen=True, slots=True)
class Part:
    """What one row sees: content tokens `start` to `end`, of `level`."""

    level: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Window:
    """Content tokens `start` to `end` read together; `first` to `last` of them are this window's own."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class View:
    """Tokens `start` to `end` of the content, as row `row` sees them in one window."""

    row: int
    start: int
    end: int


def parts_of(length: int, *, most: int, smallest: int = SMALLEST_PART) -> list[Part]:
    """The parts of an input of `length` tokens, one a row, in the order of rows.

    A level that would have no more parts than the one before adds nothing and is left out. Within a level
    the order is spread, so that a budget between two levels covers the input too.

    Args:
        length: content tokens, at least 1.
        most: rows.
        smallest: tokens of a part of the levels from 1 on, but for rounding.
    """
    parts = [Part(0, 0, length)]
    room, before = -(-length // smallest), 1
    for level, wanted in enumerate(LEVELS[1:], start=1):
        count = min(wanted, room)
        if count <= before:
            continue
        edges = np.linspace(0, length, count + 1).round().astype(int).tolist()
        spans = list(pairwise(edges))
        parts += [Part(level, *spans[place]) for place in spread_order(count)]
        before = count
    return parts[:most]


def windows_of(length: int, window: int = WINDOW, stride: int = STRIDE) -> list[Window]:
    """Windows over `length` tokens; their inner stretches follow each other without gap or overlap."""
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
    """Every window with the rows that are computed in it.

    A part that lies whole in the window nearest to its middle is seen there, context on both sides; a longer
    one is seen in pieces, one a window, and its row is their mean by length.
    """
    whole: dict[int, int] = {}
    for row, part in enumerate(parts):
        middle = (part.start + part.end) / 2
        for place, window in enumerate(windows):
            near = window.first <= middle < window.last
            if near and window.start <= part.start and part.end <= window.end:
                whole[row] = place
    for place, window in enumerate(windows):
        seen = []
        for row, part in enumerate(parts):
            if row in whole:
                if whole[row] == place:
                    seen.append(View(row, part.start, part.end))
                continue
            start, end = max(part.start, window.first), min(part.end, window.last)
            if start < end:
                seen.append(View(row, start, end))
        yield window, seen


def mask_of(content: int, spans: list[tuple[int, int] | None]) -> NDArray[np.float32]:
    """What may look at what, ``(content + rows, content + rows)``, 0 or `UNSEEN`, to be added to logits.

    Content sees content. A row sees itself, and its span of the content; None: all of it.

    Args:
        content: tokens, special ones and an instruction included.
        spans: of each row, in places of `content`.
    """
    size = content + len(spans)
    mask = np.zeros((size, size), np.float32)
    mask[:, content:] = UNSEEN
    for place, span in enumerate(spans, start=content):
        mask[place, place] = 0
        if span is not None:
            mask[place, :content] = UNSEEN
            mask[place, span[0] : span[1]] = 0
    return mask
