"""Which rows and columns of a table are headers.

The table model's own marks (`GridCell.is_header`) count first. Without any, general facts decide: a row
names columns where it has no figures and a column below it has; a column names rows where its cells have
letters and other columns have figures. The first column of a table whose other columns are all text names
nothing: the table is a list of records.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmrag.documents.structure.figures import FIGURE, YEAR, has_values
from mmrag.documents.structure.regions import Grid

_LETTER = re.compile(r"[^\W\d_]")
MOST_HEADER_ROWS = 4
"""Rows of a header that is found without the model's marks."""


def header_sizes(grid: Grid, texts: Sequence[str]) -> tuple[int, int]:
    """Count the header rows at the top and the header columns at the left.

    Args:
        grid: of the table.
        texts: of its cells.

    Returns:
        Header rows, header columns; at least one row is left for values.
    """
    rows = _texts_by_row(grid, texts)
    marked_rows = _marked_rows(grid)
    header_rows = marked_rows or _rows_without_figures(rows)
    header_rows = min(header_rows, grid.rows - 1)
    return header_rows, _header_columns(rows, header_rows)


def _texts_by_row(grid: Grid, texts: Sequence[str]) -> list[list[str]]:
    """Return the texts row by row; a cell with spans is in the first position that it covers."""
    rows = [[""] * grid.columns for _ in range(grid.rows)]
    for cell, text in zip(grid.cells, texts, strict=True):
        rows[cell.row][cell.column] = text
    return rows


def _marked_rows(grid: Grid) -> int:
    """Count the rows at the top whose cells are all header_count as headers."""
    for row in range(grid.rows):
        cells = [cell for cell in grid.cells if cell.row == row]
        if not cells or not all(cell.is_header for cell in cells):
            return row
    return grid.rows


def _rows_without_figures(rows: Sequence[Sequence[str]]) -> int:
    """Count the rows at the top without figures, if a column below them has figures."""
    for number, row in enumerate(rows[: MOST_HEADER_ROWS + 1]):
        if has_values(row, rows[number + 1] if number + 1 < len(rows) else ()):
            return number
    return 0


def _header_columns(rows: Sequence[Sequence[str]], header_rows: int) -> int:
    """Return 1 if the first column names the rows, else 0."""
    body = rows[header_rows:]
    first = [row[0] for row in body if row[0]]
    if len(first) * 2 < len(body) or len(set(first)) * 2 < len(first):
        return 0  # mostly blank or repeated: a value, or a group that is named once
    values = [text for row in body for text in row[1:] if text]
    figures = sum(bool(FIGURE.search(text)) for text in values)
    if figures * 2 < len(values) or not values:
        return 0
    names = sum(bool(_LETTER.search(text) or YEAR.fullmatch(text)) for text in first)
    return int(names * 2 > len(first))
