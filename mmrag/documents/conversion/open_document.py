"""OpenDocument files (ODT, ODS, ODP) by the standard library: their text is one XML member of a zip archive.

A spreadsheet holds what each cell shows beside its value, so its cells need no office program. Of texts and
presentations the words and headings are read, not the layout: that takes LibreOffice.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from mmrag.documents.conversion.base import Conversion
from mmrag.documents.conversion.drawing import Drawing, Piece
from mmrag.documents.conversion.sheets import Row, Sheet, check_cells, column_name, draw_sheets
from mmrag.documents.conversion.zip_safety import open_archive, read_member
from mmrag.errors import DocumentError

_NAMESPACES = {
    "office": "urn:oasis:names:tc:opendocument:xmlns:office:1.0",
    "style": "urn:oasis:names:tc:opendocument:xmlns:style:1.0",
    "text": "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
    "table": "urn:oasis:names:tc:opendocument:xmlns:table:1.0",
    "draw": "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0",
    "presentation": "urn:oasis:names:tc:opendocument:xmlns:presentation:1.0",
}


def _tag(name: str) -> str:
    """Return a qualified name as ElementTree writes it."""
    prefix, _, local = name.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


_H, _P, _LIST_ITEM = _tag("text:h"), _tag("text:p"), _tag("text:list-item")
_TABLE, _ROW, _CELL = _tag("table:table"), _tag("table:table-row"), _tag("table:table-cell")
_COVERED_CELL, _COLUMN = _tag("table:covered-table-cell"), _tag("table:table-column")
_PAGE = _tag("draw:page")
_SILENT = frozenset(
    map(
        _tag, ("office:annotation", "text:tracked-changes", "presentation:notes", "office:forms", "text:note")
    )
)
_SPACES = {_tag("text:s"): " ", _tag("text:tab"): " ", _tag("text:line-break"): " "}
_HIDDEN = ("collapse", "filter")


def content(data: bytes, name: str) -> ElementTree.Element:
    """Parse the content of a file.

    Raises:
        DocumentError: it is damaged, locked or hostile.
    """
    with open_archive(data, name) as archive:
        xml = read_member(archive, "content.xml", name)
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise DocumentError(f"{name}: content.xml is damaged ({error}).") from error


def from_text_document(data: bytes, name: str) -> Conversion:
    """Convert an OpenDocument text without LibreOffice."""
    body = content(data, name).find(f"./{_tag('office:body')}/{_tag('office:text')}")
    drawing = Drawing()
    drawing.flow([] if body is None else _pieces(body))
    return drawing.finish()


def from_presentation(data: bytes, name: str) -> Conversion:
    """Convert an OpenDocument presentation without LibreOffice: a page, or more, for each slide."""
    drawing = Drawing()
    for number, slide in _visible_slides(content(data, name)):
        drawing.flow(_pieces(slide), label=f"slide {number}")
    return drawing.finish()


def slide_numbers(data: bytes, name: str) -> list[int]:
    """Return the numbers of the slides that are shown, from 1."""
    return [number for number, _ in _visible_slides(content(data, name))]


def from_spreadsheet(data: bytes, name: str, notes: tuple[str, ...] = ()) -> Conversion:
    """Convert an OpenDocument spreadsheet; LibreOffice makes one of any other."""
    root = content(data, name)
    hidden = _styles_with(root, "table-properties", "table:display", "false")
    sheets, hidden_count, cells = [], 0, 0
    for table in root.iterfind(f"./{_tag('office:body')}/{_tag('office:spreadsheet')}/{_TABLE}"):
        if table.get(_tag("table:style-name")) in hidden:
            hidden_count += 1
            continue
        sheet = _sheet(table)
        cells += len(sheet.rows) * len(sheet.columns)
        check_cells(cells)
        sheets.append(sheet)
    return draw_sheets(with_notes(sheets, notes, hidden_count))


def with_notes(sheets: list[Sheet], notes: tuple[str, ...], hidden_count: int) -> list[Sheet]:
    """Return sheets whose first also has notes on the file, among them the number of hidden sheets."""
    file_notes = [*notes]
    if hidden_count:
        file_notes.append(hidden_note(hidden_count, "sheet"))
    if not sheets or not file_notes:
        return sheets
    first = sheets[0]
    return [Sheet(first.name, first.rows, first.columns, (*file_notes, *first.notes)), *sheets[1:]]


def hidden_note(count: int, noun: str) -> str:
    """Word the note on what is hidden."""
    return f"1 hidden {noun} is left out" if count == 1 else f"{count} hidden {noun}s are left out"


def _styles_with(root: ElementTree.Element, part: str, attribute: str, value: str) -> set[str]:
    """Return the names of automatic styles of which a part has an attribute with this value."""
    names = set()
    for style in root.iterfind(f"./{_tag('office:automatic-styles')}/{_tag('style:style')}"):
        properties = style.find(_tag(f"style:{part}"))
        if properties is not None and properties.get(_tag(attribute)) == value:
            names.add(style.get(_tag("style:name"), ""))
    return names


def _visible_slides(root: ElementTree.Element) -> Iterator[tuple[int, ElementTree.Element]]:
    """Yield the slides that are shown with their numbers from 1."""
    hidden = _styles_with(root, "drawing-page-properties", "presentation:visibility", "hidden")
    slides = root.iterfind(f"./{_tag('office:body')}/{_tag('office:presentation')}/{_PAGE}")
    for number, slide in enumerate(slides, start=1):
        if slide.get(_tag("draw:style-name")) not in hidden:
            yield number, slide


def _pieces(body: ElementTree.Element) -> Iterator[Piece]:
    """Yield the pieces of a text or slide in the order of the file."""
    stack: list[tuple[ElementTree.Element, bool]] = [(body, False)]
    while stack:
        element, in_list = stack.pop()
        if element.tag in _SILENT:
            continue
        if element.tag == _ROW:
            cells = [cell for cell in element if cell.tag == _CELL]
            yield Piece(
                "tr",
                tuple(
                    " ".join(_text(part) for part in cell.iter() if part.tag in (_P, _H)) for cell in cells
                ),
            )
            continue
        if element.tag in (_H, _P):
            if text := _text(element):
                level = min(6, int(element.get(_tag("text:outline-level"), "1") or 1))
                yield Piece(f"h{level}" if element.tag == _H else "li" if in_list else "p", (text,))
            # a text box is anchored in a paragraph, and its own paragraphs are not that one's words
            stack += [(child, in_list) for child in reversed(element) if child.tag.startswith(_DRAW)]
            continue
        stack += [(child, in_list or element.tag == _LIST_ITEM) for child in reversed(element)]


_DRAW = f"{{{_NAMESPACES['draw']}}}"


def _text(element: ElementTree.Element) -> str:
    """Return the words of a paragraph in one line."""
    parts: list[str] = []
    stack: list[ElementTree.Element | str] = [element]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
            continue
        if item.tag in _SILENT or item.tag.startswith(_DRAW):
            continue
        parts.append(_SPACES.get(item.tag, ""))
        parts.append(item.text or "")
        for child in reversed(item):
            stack += [child.tail or "", child]
    return " ".join("".join(parts).split())


def _sheet(table: ElementTree.Element) -> Sheet:
    """Read a sheet: its rows with something in them, without what is hidden."""
    hidden_columns = _hidden_columns(table)
    rows: list[Row] = []
    number = hidden_rows = width = 0
    for row in table.iter(_ROW):
        times = _count(row, "table:number-rows-repeated")
        first, number = number + 1, number + times
        cells = _cells(row)
        if not any(cells):
            continue
        if row.get(_tag("table:visibility")) in _HIDDEN:
            hidden_rows += times
            continue
        width = max(width, len(cells))
        shown_cells = tuple(cell for at, cell in enumerate(cells) if at not in hidden_columns)
        rows += [Row(first + more, shown_cells) for more in range(min(times, 10_000))]
    notes = [hidden_note(hidden_rows, "row")] if hidden_rows else []
    hidden = sum(at < width for at in hidden_columns)
    if hidden:
        notes.append(hidden_note(hidden, "column"))
    columns = [column_name(at) for at in range(width) if at not in hidden_columns]
    return Sheet(table.get(_tag("table:name"), ""), rows, columns, tuple(notes))


def _hidden_columns(table: ElementTree.Element) -> set[int]:
    """Return the positions of hidden columns."""
    hidden: set[int] = set()
    position = 0
    for column in table.iter(_COLUMN):
        times = _count(column, "table:number-columns-repeated")
        if column.get(_tag("table:visibility")) in _HIDDEN:
            hidden.update(range(position, position + times))
        position += times
    return hidden


def _cells(row: ElementTree.Element) -> list[str]:
    """Return what the cells of a row show, up to the last that shows something."""
    cells: list[str] = []
    empty = 0
    for cell in row:
        if cell.tag not in (_CELL, _COVERED_CELL):
            continue
        text = " ".join(filter(None, (_text(part) for part in cell.iterfind(_P))))
        times = _count(cell, "table:number-columns-repeated")
        if not text:
            empty += times
            continue
        cells += [""] * empty + [text] * times
        empty = 0
    return cells


def _count(element: ElementTree.Element, attribute: str) -> int:
    """Return how often an element stands for itself: 1 without the attribute, at most a sheet's width."""
    text = element.get(_tag(attribute), "1")
    return min(int(text), 1 << 20) if text.isdigit() else 1
