"""Running headers, footers and page numbers, which say nothing about their page.

Decisions taken here:

* Only lines in the outer tenth of the page, top or bottom, count. A line that repeats further in may be the
  head of a continued table; queries made of it are dropped as common ones.
* A line counts if it reads the same on three pages of the document, or on both of two, figures aside
  ("12 Annual report", "13 Annual report"). A page number alone always counts.
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


def without_running_headers(pages: Sequence[Page]) -> tuple[list[tuple[Word, ...]], int]:
    """Return the words of each page without its running headers, and the number of lines left out.

    Args:
        pages: of one document, in order.
    """
    edges = [_edge_runs(page) for page in pages]
    pages_with: Counter[str] = Counter()
    for runs in edges:
        pages_with.update({_key(run.text) for run in runs})
    least = min(REPEATS, max(2, len(pages)))
    bodies: list[tuple[Word, ...]] = []
    count = 0
    for page, runs in zip(pages, edges, strict=True):
        headers = [run for run in runs if pages_with[_key(run.text)] >= least or _is_page_number(run.text)]
        header_words = {id(word) for run in headers for word in run.words}
        bodies.append(tuple(word for word in page.words if id(word) not in header_words))
        count += len(headers)
    return bodies, count


def _edge_runs(page: Page) -> list[Run]:
    """Return the runs of words in the page's top and bottom margins."""
    height = page.size[1]
    return [
        run
        for run in make_runs(page.words, page.size)
        if run.middle < MARGIN * height or run.middle > (1 - MARGIN) * height
    ]


def _is_page_number(text: str) -> bool:
    return _PAGE_NUMBER.match(_key(text)) is not None


def _key(text: str) -> str:
    """Return a line in lower case with its figures replaced by ``#``."""
    return re.sub(r"\d+", "#", " ".join(text.casefold().split()))
