"""Rows of cells as pages: of a workbook's sheets and of CSV.

Decisions taken here:

* A page holds `ROWS` rows of at most `COLUMNS` columns, fewer where cells are long; the sheet's first row
  stands above the rows of every page.
* Cells hold what the program shows ("12.5%", "01.02.2024"), not what it stores.
* Hidden sheets, rows and columns are left out, as nobody sees them; a note counts them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmrag.anchors import Anchor, lines_label
from mmrag.documents.conversion.base import Conversion
from mmrag.documents.conversion.drawing import MARGIN, PAGE, Drawing, Piece
from mmrag.documents.conversion.plain_text import decode
from mmrag.errors import DocumentError
from mmrag.types import Box

ROWS = 40
COLUMNS = 20
LETTERS = 5_000
"""Letters of a page, and of a cell."""

MOST_CELLS = 5_000_000
"""Cells of a file."""

_LETTER_WIDTH, _CELL_EDGE, _WIDEST = 5.2, 10.0, 240.0  # points
_DELIMITERS = ",;\t|"
_SAMPLE = 20_000  # letters that the delimiter is guessed from


@dataclass(frozen=True)
class Row:
    """A row of a sheet.

    Attributes:
        number: as the program counts it, or the line of a CSV file; from 1.
        cells: what is shown in each column.
    """

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """A sheet: what is seen of it.

    Attributes:
        name: of the sheet; ``""`` for a CSV file, whose rows are lines.
        rows: those with something in a cell, hidden ones left out.
        columns: names of the columns that the cells of a row are of.
        notes: what should be known of it.
    """

    name: str
    rows: Sequence[Row]
    columns: Sequence[str]
    notes: tuple[str, ...] = ()


def column_name(position: int) -> str:
    """Return the letters of a column counted from 0: A, B, ... Z, AA."""
    letters = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def from_csv(data: bytes, *, delimiter: str = "") -> Conversion:
    """Convert CSV; without a delimiter it is guessed among comma, semicolon, tab and bar."""
    text, notes = decode(data)
    csv.field_size_limit(1 << 27)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter or _delimiter(text))
    rows: list[Row] = []
    first, cells = 1, 0
    try:
        for values in reader:
            if any(value.strip() for value in values):
                rows.append(Row(first, tuple(" ".join(value.split()) for value in values)))
            first = reader.line_num + 1
            cells += len(values)
            check_cells(cells)
    except csv.Error as error:
        raise DocumentError(f"line {first} is no CSV ({error})") from error
    width = max((len(row.cells) for row in rows), default=0)
    return draw_sheets([Sheet("", rows, [column_name(position) for position in range(width)], notes)])


def _delimiter(text: str) -> str:
    """Guess the delimiter."""
    sample = text[:_SAMPLE].rpartition("\n")[0] or text[:_SAMPLE]
    try:
        return csv.Sniffer().sniff(sample, _DELIMITERS).delimiter
    except csv.Error:
        head = sample.partition("\n")[0]
        return max(_DELIMITERS, key=head.count)


def check_cells(count: int) -> None:
    """Refuse a file with more than `MOST_CELLS` cells; raises `DocumentError`."""
    if count > MOST_CELLS:
        raise DocumentError(f"a table must have at most {MOST_CELLS} cells, got more. Split the file")


def draw_sheets(sheets: Sequence[Sheet], title: str = "") -> Conversion:
    """Draw the pages of sheets, those of each after those of the one before."""
    drawing = Drawing()
    for sheet in sheets:
        notes = sheet.notes
        for start in range(0, len(sheet.columns), COLUMNS):
            span = slice(start, start + COLUMNS)
            for rows in _pages(sheet.rows, span):
                _draw_page(drawing, sheet, rows, span, notes)
                notes = ()  # once is enough
    return drawing.finish(title)


def _pages(rows: Sequence[Row], span: slice) -> Iterator[list[Row]]:
    """Yield the rows of each page, those with nothing in the columns left out."""
    page: list[Row] = []
    letters = 0
    for row in rows:
        length = sum(map(len, row.cells[span]))
        if not length:
            continue
        if page and (len(page) >= ROWS or letters + length > LETTERS):
            yield page
            page, letters = [], 0
        page.append(row)
        letters += length
    if page:
        yield page


def _draw_page(
    drawing: Drawing, sheet: Sheet, rows: Sequence[Row], span: slice, notes: tuple[str, ...]
) -> None:
    """Draw rows under the first row of the sheet, and name them and their columns."""
    head = sheet.rows[0]
    shown_rows = rows if rows[0] is head else [head, *rows]
    columns = list(sheet.columns[span])
    table = [[_cell(row.cells, span.start + at) for at in range(len(columns))] for row in shown_rows]
    widths = tuple(
        min(_WIDEST, _CELL_EDGE + _LETTER_WIDTH * max(len(cells[at]) for cells in table))
        for at in range(len(columns))
    )
    width = max(PAGE[0], sum(widths) + len(widths) * 8 + 2 * MARGIN)
    pieces = [
        Piece("tr", tuple(cells), is_head=row is head, widths=widths)
        for row, cells in zip(shown_rows, table, strict=True)
    ]
    label = _label(sheet, rows, columns)
    number, boxes = drawing.sheet(pieces, label=label, width=width, notes=notes)
    anchors = list(_row_anchors(shown_rows, len(columns), boxes))
    if sheet.name:
        anchors += _column_anchors(columns, boxes)
    drawing.set_anchors(number, anchors)


def _cell(cells: tuple[str, ...], position: int) -> str:
    return cells[position][:LETTERS] if position < len(cells) else ""


def _label(sheet: Sheet, rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return the range of a page: of lines in a CSV file, of cells in a sheet."""
    if not sheet.name:
        return lines_label(rows[0].number, rows[-1].number)
    return f"{sheet.name}!{columns[0]}{rows[0].number}:{columns[-1]}{rows[-1].number}"


def _row_anchors(rows: Sequence[Row], width: int, boxes: Sequence[Box | None]) -> Iterator[Anchor]:
    """Yield the place of each row; `boxes` are those of its cells, row by row."""
    for position, row in enumerate(rows):
        known_boxes = [box for box in boxes[position * width : (position + 1) * width] if box is not None]
        if known_boxes:
            top, bottom = min(box[1] for box in known_boxes), max(box[3] for box in known_boxes)
            yield Anchor("row", str(row.number), (0.0, round(top, 4), 1.0, round(bottom, 4)))


def _column_anchors(columns: Sequence[str], boxes: Sequence[Box | None]) -> Iterator[Anchor]:
    """Yield the place of each column."""
    for at, name in enumerate(columns):
        known_boxes = [box for box in boxes[at :: len(columns)] if box is not None]
        if known_boxes:
            left, right = min(box[0] for box in known_boxes), max(box[2] for box in known_boxes)
            yield Anchor("column", name, (round(left, 4), 0.0, round(right, 4), 1.0))
