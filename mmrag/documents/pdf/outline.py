"""Sections of pages from a file's outline (its bookmarks): pure functions.

A page's section is the path of titles that is open where the page begins, then the titles that begin on it.
An outline entry that points to no page counts as the place of what is under it, not as a place of its own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

MOST_ENTRIES = 20_000
MOST_TITLES = 12
"""Titles of one page: an index or a glossary may have hundreds on it."""

PAGE_TOP = 0.15
"""A title above this part of its page's height begins the page: what is open before it is not on the page."""

_LONGEST_TITLE = 200


@dataclass(frozen=True)
class OutlineEntry:
    """An entry of an outline.

    Attributes:
        level: 1 is the outermost.
        title: in one line.
        page: 0-based number; negative where the entry points to none.
        height: of its place from the top of the page, 0..1; None where the entry does not say.
    """

    level: int
    title: str
    page: int
    height: float | None = None


class Outline:
    """The sections of a document's pages.

    Args:
        entries: in the order of the file.
    """

    def __init__(self, entries: Sequence[OutlineEntry]) -> None:
        """Note the path of each entry, and sort them by page."""
        self._paths: list[tuple[int, OutlineEntry, tuple[str, ...]]] = []
        stack: list[tuple[int, str]] = []
        for entry in entries[:MOST_ENTRIES]:
            stack = [(level, title) for level, title in stack if level < entry.level]
            title = " ".join(entry.title.split())[:_LONGEST_TITLE]
            if title:
                stack.append((entry.level, title))
            if entry.page >= 0 and stack:
                self._paths.append((entry.page, entry, tuple(title for _, title in stack)))
        self._paths.sort(key=lambda path: path[0])  # stable: entries of one page keep their order

    def section(self, number: int) -> tuple[str, ...]:
        """Return the titles of a page, outermost first, each once."""
        first = bisect_left(self._paths, number, key=lambda path: path[0])
        end = bisect_right(self._paths, number, key=lambda path: path[0])
        paths = [path for _, _, path in self._paths[first:end]]
        opens_page = first < end and _is_at_top(self._paths[first][1])
        if first and not opens_page:
            paths.insert(0, self._paths[first - 1][2])
        titles = dict.fromkeys(title for path in paths for title in path)
        return tuple(titles)[:MOST_TITLES]


def _is_at_top(entry: OutlineEntry) -> bool:
    return entry.height is not None and entry.height <= PAGE_TOP
