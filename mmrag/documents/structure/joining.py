"""Tables over a page break: one logical table of parts on pages that follow each other.

Two tables are one where the first is the last thing on its page, the second the first thing on the next
(running heads and feet, footnotes and a repeated title do not count), they have the same number of columns
in the same places, and the second has no header of its own: none, the same, or a row of values that was
taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmrag.blocks import RUNNING_KINDS, Block, Cell, Table
from mmrag.types import Page

_FIGURE = re.compile(r"\d")
IGNORED_KINDS = RUNNING_KINDS | {"footnote"}
"""Kinds that may be between the two parts of a table."""


@dataclass(frozen=True, slots=True)
class TablePart:
    """A table of one page: the page, the position of its block, and the block."""

    page: Page
    position: int
    block: Block

    @property
    def table(self) -> Table:
        """Return its grid."""
        assert self.block.table is not None  # parts are made of tables only
        return self.block.table


@dataclass(frozen=True, slots=True)
class LogicalTable:
    """One table, on one page or over several."""

    parts: tuple[TablePart, ...]

    def header(self) -> list[list[str]]:
        """Return the header rows, those of the first part."""
        first = self.parts[0].table
        return first.grid()[: first.header_rows]

    def body(self) -> list[list[str]]:
        """Return the rows of values of all parts."""
        return [row for part in self.parts for row in part.table.grid()[part.table.header_rows :]]


def logical_tables(pages: Sequence[Page]) -> list[LogicalTable]:
    """List the tables of pages in reading order; parts that `Table.continues` marks are with their first."""
    tables: list[list[TablePart]] = []
    for page in pages:
        for position, block in enumerate(page.blocks or ()):
            if block.table is None:
                continue
            part = TablePart(page, position, block)
            before = tables[-1][-1] if tables else None
            if block.table.continues and before is not None and _follows(before.page, page):
                tables[-1].append(part)
            else:
                tables.append([part])
    return [LogicalTable(tuple(parts)) for parts in tables]


def join_tables(pages: Sequence[Page]) -> tuple[Page, ...]:
    """Mark the tables that go on from the page before.

    Args:
        pages: in order, with their blocks; pages without are left as they are.

    Returns:
        The pages; `Table.continues` is set on second and later parts, and a first row of values that had
        been taken for a header is none any more.
    """
    result: list[Page] = []
    for page in pages:
        if result and _follows(result[-1], page):
            page = _mark_continuation(result[-1], page)
        result.append(page)
    return tuple(result)


def _follows(first: Page, second: Page) -> bool:
    return first.document_id == second.document_id and first.number + 1 == second.number


def _mark_continuation(before: Page, page: Page) -> Page:
    """Return `page`, its first table marked if it goes on from `before`."""
    last = _last_block(before)
    position = _first_table(before, page)
    if last is None or last.table is None or position is None or page.blocks is None:
        return page
    block = page.blocks[position]
    table = None if block.table is None else _as_continuation(last.table, block.table)
    if table is None:
        return page
    blocks = (*page.blocks[:position], replace(block, table=table), *page.blocks[position + 1 :])
    return replace(page, blocks=blocks)


def _last_block(page: Page) -> Block | None:
    """Return the last block that counts."""
    return next((block for block in reversed(page.blocks or ()) if block.kind not in IGNORED_KINDS), None)


def _first_table(before: Page, page: Page) -> int | None:
    """Return the position of the table that a page begins with; a repeated title may precede it."""
    titles = {_plain(block.text) for block in before.blocks or () if block.table is None}
    for position, block in enumerate(page.blocks or ()):
        if block.table is not None:
            return position
        is_repeated = any(title and _plain(block.text).startswith(title) for title in titles)
        if block.kind not in IGNORED_KINDS and not is_repeated:
            return None
    return None


def _plain(text: str) -> str:
    """Return the letters and figures of a text, in lower case."""
    return re.sub(r"[\W_]+", " ", text).strip().lower()


def _as_continuation(first: Table, second: Table) -> Table | None:
    """Return `second` as it goes on from `first`, or None if it is another table."""
    if first.columns != second.columns:
        return None
    header = [[_plain(text) for text in row] for row in first.grid()[: first.header_rows]]
    start = [[_plain(text) for text in row] for row in second.grid()[: first.header_rows]]
    if header and header == start:
        return _with_header(second, first.header_rows)
    if not _same_places(first, second):
        return None
    if second.header_rows == 0 or _is_of_values(first, second.grid()[0]):
        return _with_header(second, 0)
    return None


def _with_header(table: Table, rows: int) -> Table:
    """Return a continuation with this number of header rows."""
    cells = tuple(_in_header(cell, rows, table.header_columns) for cell in table.cells)
    return replace(table, cells=cells, header_rows=rows, continues=True)


def _in_header(cell: Cell, rows: int, columns: int) -> Cell:
    return replace(cell, is_header=cell.row < rows or cell.column < columns)


def _is_of_values(table: Table, row: Sequence[str]) -> bool:
    """Decide whether a row has figures in a column whose values in a table mostly have them."""
    body = table.grid()[table.header_rows :]
    for column, text in enumerate(row):
        figures = sum(bool(_FIGURE.search(values[column])) for values in body)
        if bool(_FIGURE.search(text)) and figures * 2 >= len(body):
            return True
    return False


def _same_places(first: Table, second: Table) -> bool:
    """Decide whether the middle of every column of the second is within that column of the first."""
    ranges = _column_ranges(first)
    for column, (left, right) in _column_ranges(second).items():
        if column in ranges:
            middle = (left + right) / 2
            if not ranges[column][0] <= middle <= ranges[column][1]:
                return False
    return True


def _column_ranges(table: Table) -> dict[int, tuple[float, float]]:
    """Return left and right of the columns, from cells of one column."""
    ranges: dict[int, tuple[float, float]] = {}
    for cell in table.cells:
        if cell.box is not None and cell.column_span == 1:
            left, right = ranges.get(cell.column, (cell.box[0], cell.box[2]))
            ranges[cell.column] = (min(left, cell.box[0]), max(right, cell.box[2]))
    return ranges
