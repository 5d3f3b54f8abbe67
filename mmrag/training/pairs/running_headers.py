"""Page furniture: running heads, footers and page numbers, which say nothing of their page.

Decisions taken here:

* Only what stands in the outer tenth of the page, above or below, is furniture. A line that repeats
  further in may be the head of a table that goes on; queries made of it are dropped as common ones.
* A line is furniture where it reads the same on three pages of the document, or on both of two, whatever
  its figures are ("12 Annual report", "13 Annual report"). A page number alone always is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from mmrag.answer.lines import Run, make_runs
from mmrag.types import Page, Word

MARGIN = 0.1
REPEATS = 3

_PAGE_NUMBER = re.compile(r"^\W*(?:p\.?|page|seite)?\s*(?:#|[ivxlc]+)\s*(?:(?:of|/|von|-)\s*#)?\W*$")


def without_furniture(pages: Sequence[Page]) -> tuple[list[tuple[Word, ...]], int]:
    """The words of each page of one document without its furniture, and how many lines of it there were.

    Args:
        pages: of one document, in order.
    """
    edges = [_edge_runs(page) for page in pages]
    seen: Counter[str] = Counter()
    for runs in edges:
        seen.update({_key(run.text) for run in runs})
    least = min(REPEATS, max(2, len(pages)))
    left: list[tuple[Word, ...]] = []
    lines = 0
    for page, runs in zip(pages, edges, strict=True):
        away: set[int] = set()
        for run in runs:
            key = _key(run.text)
            if seen[key] >= least or _PAGE_NUMBER.match(key):
                lines += 1
                away.update(id(word) for word in run.words)
        left.append(tuple(word for word in page.words if id(word) not in away))
    return left, lines


def _edge_runs(page: Page) -> list[Run]:
    """The runs of words in the page's margins."""
    height = page.size[1]
    return [
        run
        for run in make_runs(page.words, page.size)
        if run.middle < MARGIN * height or run.middle > (1 - MARGIN) * height
    ]


def _key(text: str) -> str:
    """What a line reads like, its figures aside."""
    return re.sub(r"\d+", "#", " ".join(text.casefold().split()))
