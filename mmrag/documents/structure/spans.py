"""Grids as their words show them: columns without a word are none, and names over groups of columns.

A name at the left of its column and figures at the right of it may be in two columns of the grid; where there
are as many names as columns of values, the first name is that of the first of them, and so on.

The table models give a span to a name that is centred over its group of columns. A name that begins with the
first of its columns looks like a name of that column alone; it is spread over the unnamed columns right of it
where that makes all groups of the row equally large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmrag.documents.structure.regions import Grid, GridCell
from mmrag.types import Word

LEAST_GROUPS = 2
LEAST_COLUMNS = 2  # of a group


def without_blank_lines(
    grid: Grid, groups: Mapping[int | None, Sequence[int]]
) -> tuple[Grid, dict[int | None, Sequence[int]]]:
    """Drop the rows and columns that hold no words but those of a cell with a span.

    Args:
        grid: of a table.
        groups: positions of words by number of the cell.

    Returns:
        The grid, and the words by the numbers of its cells.
    """
    word_cells = [cell for number, cell in enumerate(grid.cells) if groups.get(number)]
    rows = _needed([(cell.row, cell.row_span) for cell in word_cells])
    columns = _needed([(cell.column, cell.column_span) for cell in word_cells])
    if len(rows) == grid.rows and len(columns) == grid.columns:
        return grid, dict(groups)
    cells: list[GridCell] = []
    words: dict[int | None, Sequence[int]] = {}
    for number, cell in enumerate(grid.cells):
        cell_rows = [rows.index(row) for row in range(cell.row, cell.row + cell.row_span) if row in rows]
        cell_columns = [
            columns.index(column)
            for column in range(cell.column, cell.column + cell.column_span)
            if column in columns
        ]
        if cell_rows and cell_columns:
            words[len(cells)] = groups.get(number, ())
            row, column = cell_rows[0], cell_columns[0]
            row_span, column_span = len(cell_rows), len(cell_columns)
            cells.append(GridCell(row, column, cell.box, row_span, column_span, cell.is_header))
    return Grid(len(rows), len(columns), tuple(cells)), words


def _needed(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return the rows or columns that hold words: those of cells without a span, and one for each other."""
    needed = {start for start, span in spans if span == 1}
    for start, span in spans:
        if not needed & set(range(start, start + span)):
            needed.add(start)
    return sorted(needed)


def align_names(
    grid: Grid, groups: Mapping[int | None, Sequence[int]], header_rows: int
) -> tuple[Grid, dict[int | None, Sequence[int]]]:
    """Put names into the columns of their values where they are in the columns beside them.

    Args:
        grid: of a table.
        groups: positions of words by number of the cell.
        header_rows: rows that name columns; only one row of names is aligned.
    """
    word_cells = [(number, cell) for number, cell in enumerate(grid.cells) if groups.get(number)]
    names = sorted(cell.column for _, cell in word_cells if cell.row == 0)
    values = sorted({cell.column for _, cell in word_cells if cell.row > 0})
    is_simple = all(cell.row_span == cell.column_span == 1 for _, cell in word_cells)
    pairs = dict(zip(names, values, strict=False))
    near = all(abs(name - value) <= 1 for name, value in pairs.items())
    if header_rows != 1 or len(names) != len(values) or names == values or not (is_simple and near):
        return grid, dict(groups)
    columns = {value: number for number, value in enumerate(values)}
    cells = [
        (replace(cell, column=columns[pairs[cell.column] if cell.row == 0 else cell.column]), groups[number])
        for number, cell in word_cells
    ]
    return (
        Grid(grid.rows, len(values), tuple(cell for cell, _ in cells)),
        {number: positions for number, (_, positions) in enumerate(cells)},
    )


def spread_names(
    grid: Grid, groups: Mapping[int | None, Sequence[int]], words: Sequence[Word], header_rows: int
) -> tuple[Grid, dict[int | None, Sequence[int]]]:
    """Spread the names of groups of columns over their columns.

    Args:
        grid: of a table.
        groups: positions of words by number of the cell.
        words: `Page.words`.
        header_rows: rows that name columns; the last of them names single columns.
    """
    ranges = _column_ranges(grid, groups, words, header_rows)
    for row in range(header_rows - 1):
        result = _spread_row(grid, groups, words, row, ranges)
        if result is not None:
            grid, groups = result
    return grid, dict(groups)


def _column_ranges(
    grid: Grid, groups: Mapping[int | None, Sequence[int]], words: Sequence[Word], header_rows: int
) -> dict[int, tuple[float, float]]:
    """Return left and right of the words of each column, from its cells below the names of groups."""
    ranges: dict[int, tuple[float, float]] = {}
    for number, cell in enumerate(grid.cells):
        if cell.row < header_rows - 1 or cell.column_span > 1:
            continue
        for position in groups.get(number, ()):
            box = words[position].box
            left, right = ranges.get(cell.column, (box[0], box[2]))
            ranges[cell.column] = (min(left, box[0]), max(right, box[2]))
    return ranges


def _spread_row(
    grid: Grid,
    groups: Mapping[int | None, Sequence[int]],
    words: Sequence[Word],
    row: int,
    ranges: Mapping[int, tuple[float, float]],
) -> tuple[Grid, dict[int | None, Sequence[int]]] | None:
    """Spread the names of one row; None where they are right as they are, or where it is not clear."""
    names = [n for n, cell in enumerate(grid.cells) if cell.row == row and cell.column and groups.get(n)]
    if not ranges or len(names) < LEAST_GROUPS or any(grid.cells[name].row_span > 1 for name in names):
        return None
    if _is_complete(grid, names):
        return None
    of_grid = [grid.cells[name].column for name in names]
    of_words = [_start(groups[name], words, ranges) for name in names]
    starts = next((starts for starts in (of_grid, of_words) if _are_equal(starts, grid.columns)), None)
    if starts is None or not all(column in ranges for column in range(starts[0], grid.columns)):
        return None
    ends = [*starts[1:], grid.columns]
    numbers = [n for n, cell in enumerate(grid.cells) if cell.row != row or cell.column < starts[0]]
    numbers = [n for n in numbers if n not in names]
    cells = [(grid.cells[n], groups.get(n, ())) for n in numbers]
    for name, start, end in zip(names, starts, ends, strict=True):
        cells.append((replace(grid.cells[name], column=start, column_span=end - start), groups[name]))
    cells.sort(key=lambda pair: (pair[0].row, pair[0].column))
    return (
        Grid(grid.rows, grid.columns, tuple(cell for cell, _ in cells)),
        {number: positions for number, (_, positions) in enumerate(cells)},
    )


def _are_equal(starts: Sequence[int], columns: int) -> bool:
    """Decide whether groups that begin at these columns are equally large, of two columns or more."""
    sizes = {end - start for start, end in zip(starts, [*starts[1:], columns], strict=True)}
    return len(sizes) == 1 and min(sizes) >= LEAST_COLUMNS


def _is_complete(grid: Grid, names: Sequence[int]) -> bool:
    """Decide whether names cover all columns from the first of them on."""
    columns = {
        column
        for name in names
        for column in range(grid.cells[name].column, grid.cells[name].column + grid.cells[name].column_span)
    }
    return columns == set(range(min(columns), grid.columns))


def _start(positions: Sequence[int], words: Sequence[Word], ranges: Mapping[int, tuple[float, float]]) -> int:
    """Return the first column that ends right of the middle of a name; the last if none does."""
    left = min(words[position].box[0] for position in positions)
    right = max(words[position].box[2] for position in positions)
    columns = sorted(ranges)
    return next((column for column in columns if ranges[column][1] >= (left + right) / 2), columns[-1])
