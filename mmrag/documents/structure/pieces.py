"""Grids that hold several tables, under each other or side by side, as tables of their own.

Table models take tables that are close to each other for one, whose columns are nobody's. Each piece is a
part of the grid; columns that are blank in it are dropped later (`spans.without_blank_lines`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from mmrag.documents.structure.regions import Grid, GridCell
from mmrag.documents.structure.stacks import GridRow, bands
from mmrag.types import Box, Word

Groups: TypeAlias = "Mapping[int | None, Sequence[int]]"
"""Positions of words by number of the cell."""

LEAST_COLUMNS = 2  # of a table

SPACE = 0.5
"""Of a line's height: a gap that is wider is more than a space between two words, which is a quarter em."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A table of its own, or a title between two.

    Attributes:
        grid: of it.
        groups: positions of words by number of the cell.
        texts: of all words of the page, by position.
        is_title: whether it is a title.
    """

    grid: Grid
    groups: Groups
    texts: Sequence[str] = ()
    is_title: bool = False


def pieces(grid: Grid, groups: Groups, words: Sequence[Word]) -> list[Piece]:
    """Divide a grid into its tables and the titles between them, from the top; one piece if it is one.

    Args:
        grid: of a table.
        groups: positions of words by number of the cell.
        words: `Page.words`.
    """
    rows = _rows(grid, groups, words)
    parts = bands(rows) if len(rows) == grid.rows else []
    whole = Piece(grid, groups, [word.text for word in words])
    if len(parts) < 2:
        return _beside(whole)
    result: list[Piece] = []
    for part in parts:
        piece = _part(whole, range(part.start, part.end), range(grid.columns), is_title=part.is_title)
        result += [piece] if part.is_title else _beside(piece)
    return result


def _rows(grid: Grid, groups: Groups, words: Sequence[Word]) -> list[GridRow]:
    """Return the rows of a grid; none where a cell spans rows or a row is blank."""
    if any(cell.row_span > 1 for cell in grid.cells):
        return []
    rows = []
    for row in range(grid.rows):
        texts = [""] * grid.columns
        positions: list[int] = []
        for number, cell in enumerate(grid.cells):
            if cell.row == row:
                texts[cell.column] = " ".join(words[position].text for position in groups.get(number, ()))
                positions += groups.get(number, ())
        if not positions:
            return []
        boxes = [words[position].box for position in positions]
        rows.append(
            GridRow(tuple(texts), min(box[1] for box in boxes), max(box[3] for box in boxes), _is_run(boxes))
        )
    return rows


def _is_run(boxes: Sequence[Box]) -> bool:
    """Decide whether no gap between the words of a row is wider than a space."""
    height = max(box[3] - box[1] for box in boxes)
    edges = sorted((box[0], box[2]) for box in boxes)
    return all(second[0] - first[1] < SPACE * height for first, second in pairwise(edges))


def _part(piece: Piece, rows: range, columns: range, *, is_title: bool = False) -> Piece:
    """Return the part of a piece in these rows and columns."""
    cells: list[GridCell] = []
    groups: dict[int | None, Sequence[int]] = {}
    for number, cell in enumerate(piece.grid.cells):
        if cell.row in rows and cell.column in columns:
            groups[len(cells)] = piece.groups.get(number, ())
            cells.append(replace(cell, row=cell.row - rows.start, column=cell.column - columns.start))
    return Piece(Grid(len(rows), len(columns), tuple(cells)), groups, piece.texts, is_title)


def _beside(piece: Piece) -> list[Piece]:
    """Divide a table where the name of its first column comes again, with further columns behind it."""
    cuts = _repeated_names(piece)
    edges = [0, *cuts, piece.grid.columns]
    widths = [end - start for start, end in pairwise(edges)]
    if not cuts or min(widths) < LEAST_COLUMNS or _are_spanned(piece.grid, cuts):
        return [piece]
    rows = range(piece.grid.rows)
    return [_part(piece, rows, range(start, end)) for start, end in pairwise(edges)]


def _repeated_names(piece: Piece) -> list[int]:
    """List the columns whose name is that of the first."""
    names = {
        cell.column: tuple(piece.texts[position] for position in piece.groups.get(number, ()))
        for number, cell in enumerate(piece.grid.cells)
        if cell.row == 0
    }
    return [column for column in sorted(names) if column and names[column] and names[column] == names.get(0)]


def _are_spanned(grid: Grid, cuts: Sequence[int]) -> bool:
    """Decide whether a cell goes over a cut between columns."""
    return any(cell.column < cut < cell.column + cell.column_span for cell in grid.cells for cut in cuts)
