"""The part of a page's text that shows why it was retrieved."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

WIDTH = 160  # characters

_WORD = re.compile(r"\w(?:[\w'\u2019.,-]*\w)?")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of text and the words in it that the query has too.

    Attributes:
        text: one line; ``"…"`` at an end where the page goes on.
        matches: ``(start, end)`` of those words in `text`, in order.
    """

    text: str
    matches: tuple[tuple[int, int], ...] = ()


def snippet(text: str, query: str, *, width: int = WIDTH) -> Snippet:
    """Choose the window of a text with most of the query's word stems.

    Among windows with as many different stems the first counts. Without a match it is the beginning.

    Args:
        text: of the page, its own or OCR's.
        query: whose words are looked for; words like "the" and "what" are left out.
        width: most characters of the window, without the marks at its ends.
    """
    from mmrag.answer.words import content_stems

    line = " ".join(text.split())
    query_stems = frozenset(content_stems(query))
    words = [(match.start(), match.end()) for match in _WORD.finditer(line)]
    hits = [
        (start, end, stems)
        for start, end in words
        if (stems := query_stems & {*content_stems(line[start:end])})
    ]
    first, last = _best_window(hits, width)
    start, end = _widen(line, first, last, width)
    before, after = "… " if start > 0 else "", " …" if end < len(line) else ""
    shift = len(before) - start
    matches = tuple((a + shift, b + shift) for a, b, _ in hits if start <= a and b <= end)
    return Snippet(f"{before}{line[start:end]}{after}", matches)


def _best_window(hits: list[tuple[int, int, frozenset[str]]], width: int) -> tuple[int, int]:
    """Return start and end of the run of hits with most different stems; (0, 0) without a hit."""
    best, window = 0, (0, 0)
    counts: Counter[str] = Counter()  # of the stems of the hits from `position` to `stop`
    stop = 0
    for position, (start, _, stems) in enumerate(hits):
        stop = max(stop, position)
        while stop < len(hits) and hits[stop][1] - start <= width:
            counts.update(hits[stop][2])
            stop += 1
        if len(counts) > best:
            best, window = len(counts), (start, hits[stop - 1][1])
        for stem in stems if stop > position else ():
            counts[stem] -= 1
            if not counts[stem]:
                del counts[stem]
    return window


def _widen(line: str, first: int, last: int, width: int) -> tuple[int, int]:
    """Widen a window to `width` characters, as much before it as behind, and cut at spaces."""
    spare = max(0, width - (last - first))
    start = max(0, min(first - spare // 2, len(line) - width))
    end = min(len(line), start + width)
    if start > 0:
        space = line.find(" ", start - 1, first + 1)
        start = space + 1 if space >= 0 else start
    if end < len(line):
        space = line.rfind(" ", max(last, start + 1), end + 1)
        end = space if space >= 0 else end
    return start, end
