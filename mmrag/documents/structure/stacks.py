"""Tables under each other that were taken for one: where each begins.

A new table begins at a row whose cells are in other columns than all rows before it (but for the first
column), or under a title: a row of one cell, set off from the row above, that is followed by a row without
figures over rows that have figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from mmrag.documents.structure.figures import FIGURE, has_values

SET_OFF = 0.25
"""Of a row's height: by so much more than usual a title is away from the row above it."""


@dataclass(frozen=True, slots=True)
class GridRow:
    """A row of a grid: its texts by column, and the vertical extent of its words.

    Attributes:
        texts: by column, ``""`` for none.
        top, bottom: of its words.
        is_run: whether its words follow each other as those of a sentence do, whatever cells they are in.
    """

    texts: tuple[str, ...]
    top: float
    bottom: float
    is_run: bool = False

    @property
    def columns(self) -> frozenset[int]:
        """Return the columns with text, but for the first."""
        return frozenset(column for column, text in enumerate(self.texts) if text and column)

    @property
    def is_lone(self) -> bool:
        """Return whether one cell has text, or its words are one run over several."""
        return self.is_run or sum(bool(text) for text in self.texts) == 1


@dataclass(frozen=True, slots=True)
class Band:
    """Rows ``start`` to ``end`` (excluded) of a grid: a title (`is_title`), or a table."""

    start: int
    end: int
    is_title: bool = False


def bands(rows: Sequence[GridRow]) -> list[Band]:
    """Divide the rows of a grid.

    Returns:
        One band if it is one table; else tables and titles, from the top, which cover all rows.
    """
    starts = sorted({0, *_new_columns(rows), *_new_titles(rows)})
    if len(starts) == 1:
        return [Band(0, len(rows))]
    parts: list[Band] = []
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        first = start
        while first < end - 1 and rows[first].is_lone and (first == start or not _is_value(rows, first)):
            parts.append(Band(first, first + 1, is_title=True))
            first += 1
        parts.append(Band(first, end))
    return parts


def _is_value(rows: Sequence[GridRow], row: int) -> bool:
    """Decide whether a lone row is as near to the row above it as rows of one table are."""
    return not _is_set_off(rows, row)


def _new_columns(rows: Sequence[GridRow]) -> list[int]:
    """List the rows whose cells are in other columns than those of the table before them."""
    starts = []
    used: frozenset[int] = frozenset()
    for number, row in enumerate(rows):
        if not row.columns or row.is_lone:
            continue
        if used and not used & row.columns:
            starts.append(_title_above(rows, number))
            used = row.columns
        used |= row.columns
    return starts


def _title_above(rows: Sequence[GridRow], number: int) -> int:
    """Return the first of the titles right above a row, or the row."""
    first = number
    while first > 1 and rows[first - 1].is_lone:
        first -= 1
        if _is_set_off(rows, first):
            return first
    return number


def _new_titles(rows: Sequence[GridRow]) -> list[int]:
    """List the titles that are followed by a header of their own."""
    return [
        number
        for number in range(2, len(rows) - 2)
        if rows[number].is_lone and _is_set_off(rows, number) and _is_header(rows, number + 1)
    ]


def _is_set_off(rows: Sequence[GridRow], number: int) -> bool:
    """Decide whether a row is further from the row above it than rows usually are."""
    gaps = [second.top - first.bottom for first, second in pairwise(rows)]
    height = median(row.bottom - row.top for row in rows)
    return gaps[number - 1] > median(gaps) + SET_OFF * height


def _is_header(rows: Sequence[GridRow], number: int) -> bool:
    """Decide whether a row names columns: it has no figures, and most rows below it have some.

    Which columns they are in is not asked: those of several tables in one grid are nobody's.
    """
    row = rows[number]
    if row.is_lone or has_values(row.texts, rows[number + 1].texts):
        return False
    below = []
    for later in rows[number + 1 :]:
        if later.is_lone:
            break
        below.append(later)
    with_figures = sum(any(FIGURE.search(text) for text in later.texts) for later in below)
    return with_figures * 2 > len(below)
