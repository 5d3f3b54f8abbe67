"""The nouns of tables: cells, rows, tables, captions; and where a run stands among columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mmrag.answer.lines import Row, Run, union_box
from mmrag.types import Box, Word

CAPTION = re.compile(
    r"^\s*(?i:table|tab\.|figure|fig\.?|chart|exhibit|graph|panel|plate|tabelle|abbildung|tableau)"
    r"(?:\s*[0-9]+(?:[.\-\u2013][0-9]+)*[a-z]?\b|\s+(?:[A-Z](?:[.\-]?[0-9]+)*|[IVX]+)(?=\s*[:.|\u2013\u2014-]|\s*$))"
    r"\s*[:.|\u2013\u2014-]?"
)


TOTAL = re.compile(r"(?i)^\s*(?:(?:grand |sub-?)?totals?\b|all\b|overall\b|sum\b|average\b|mean\b|net total)")


UNITS = re.compile(
    r"(?i)^\(?\s*(?:(?:all )?(?:figures|amounts|numbers|values|dollars|data)\b.*\bin\b|"
    r"in\b.*(?:million|thousand|billion|\$|€|£|%|"
    r"percent|dollars|euros|usd|eur|tonnes|units|hours)|[$€£]\s*(?:million|thousand|billion|m|bn|000)|unit|(?:millions?|"
    r"thousands?|billions?) of\b|(?:percent|percentage|per cent|%) of\b)"
)


@dataclass(frozen=True)
class Cell:
    """A cell: its words as they stand, and its place among the columns.

    Attributes:
        text: the words joined by one space; ``""`` for an empty cell.
        words: the page's words.
    """

    text: str
    words: tuple[Word, ...] = ()

    @property
    def box(self) -> Box | None:
        """The box round the words in 0..1; None for an empty cell."""
        return union_box(self.words) if self.words else None


NO_CELL = Cell("")
"""What stands where nothing was found."""


@dataclass(frozen=True)
class TableRow:
    """A row: the groups it stands under (outermost first), its header, and one cell a column."""

    header: Cell
    cells: tuple[Cell, ...]
    groups: tuple[Cell, ...] = ()

    @property
    def is_total(self) -> bool:
        """Whether the header says that the row sums or averages others."""
        return bool(TOTAL.match(self.header.text))


@dataclass(frozen=True)
class Table:
    """A table read by headers.

    Attributes:
        caption: the line that names it; empty where none was found.
        units: a line such as "in millions of dollars"; empty where none was found.
        corner: what stands over the row headers.
        columns: for each column its header cells, top to bottom.
        rows: the body rows, top to bottom.
        words: every word of the table, its headers included, caption and units not.
    """

    caption: Cell
    units: Cell
    corner: Cell
    columns: tuple[tuple[Cell, ...], ...]
    rows: tuple[TableRow, ...]
    words: tuple[Word, ...] = field(repr=False)

    def column_name(self, column: int) -> str:
        """The header of a column in one string, top to bottom."""
        return " ".join(cell.text for cell in self.columns[column] if cell.text)


Extent = tuple[float, float]


def overlap(one: Extent, other: Extent) -> float:
    """Length that both extents share; negative for a gap."""
    return min(one[1], other[1]) - max(one[0], other[0])


def place_of(run: Run, columns: Sequence[Extent]) -> int:
    """The column that a body cell overlaps most, or the nearest."""
    return max(range(len(columns)), key=lambda n: overlap((run.x0, run.x1), columns[n]))


def over_values(row: Row, columns: Sequence[Extent], height: float) -> bool:
    """Whether something in the row stands over the value columns."""
    return any(run.x1 > columns[1][0] - 2 * height and run.centre > columns[0][1] for run in row)


def words_of(row: Row) -> tuple[Word, ...]:
    """The words of a row, left to right."""
    return tuple(word for run in row for word in run.words)


def joined(rows: Sequence[Row], numbers: Sequence[int]) -> Cell:
    """One cell of all the words of these rows."""
    words = tuple(word for number in numbers for word in words_of(rows[number]))
    return Cell(" ".join(word.text for word in words), words)
