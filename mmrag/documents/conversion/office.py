"""Office files without LibreOffice: DOCX by MuPDF, PPTX by python-pptx, XLSX by openpyxl (extra ``office``).

What each loses stands in docs/formats.md, and a note on the first page says that it did.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from mmrag.documents.conversion.base import Conversion, ConvertedPage
from mmrag.documents.conversion.drawing import Drawing, Piece
from mmrag.documents.conversion.number_formats import shown_text
from mmrag.documents.conversion.open_document import hidden_note, with_notes
from mmrag.documents.conversion.sheets import Row, Sheet, check_cells, column_name, draw_sheets
from mmrag.documents.conversion.zip_safety import open_archive, read_member
from mmrag.errors import DocumentError

if TYPE_CHECKING:
    import zipfile

LAYOUT_NOTE = "read without LibreOffice: words and headings are the file's, the layout is not"
SHEET_NOTE = "read without LibreOffice: numbers are shown in the common formats only"

_NO_VALUE = re.compile(rb"<f(?:\s[^>]*)?(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v></v>)?\s*</c>")


def from_word(data: bytes, name: str) -> Conversion:
    """Convert DOCX by MuPDF, which knows its headings."""
    import pymupdf

    open_archive(data, name).close()
    try:
        document = pymupdf.open(stream=data, filetype="docx")
        pdf = pymupdf.open("pdf", document.convert_to_pdf())
        pdf.set_toc(_outline(document, pdf))
        pages = [ConvertedPage(notes=(LAYOUT_NOTE,))]
        pages += [ConvertedPage()] * (pdf.page_count - 1)
        title = str((document.metadata or {}).get("title") or "").strip()
        return Conversion(pdf.tobytes(garbage=3, deflate=True), tuple(pages), title)
    except (RuntimeError, ValueError) as error:  # PyMuPDF's
        raise DocumentError(f"{name}: docx cannot be opened ({str(error)[:200]}).") from error


def _outline(document: Any, pdf: Any) -> list[list[Any]]:  # noqa: ANN401  (PyMuPDF is not typed)
    """Return MuPDF's headings of a document with their place on the pages of its PDF."""
    import pymupdf

    rows: list[list[Any]] = []
    depth, below = 0, dict[int, float]()
    for level, title, page, *_ in document.get_toc():
        number = page - 1
        if not title.strip() or not 0 <= number < pdf.page_count:
            continue
        depth = min(level, depth + 1)
        hits = [rect for rect in pdf[number].search_for(title[:80]) if rect.y0 > below.get(number, -1.0)]
        below[number] = top = hits[0].y0 if hits else below.get(number, 0.0)
        rows.append([depth, title, page, {"kind": 1, "page": number, "to": pymupdf.Point(0, top)}])
    return rows


def from_slides(data: bytes, name: str) -> Conversion:
    """Convert PPTX: a page, or more, for each slide that is shown, with its title as heading."""
    from pptx import Presentation

    open_archive(data, name).close()
    try:
        presentation = Presentation(io.BytesIO(data))
        slides = list(presentation.slides)
    except Exception as error:
        raise DocumentError(f"{name}: pptx cannot be opened ({str(error)[:200]}).") from error
    drawing = Drawing()
    notes: tuple[str, ...] = (LAYOUT_NOTE,)
    for number, slide in enumerate(slides, start=1):
        if slide._element.get("show") not in ("0", "false"):
            drawing.flow(_slide_pieces(slide), label=f"slide {number}", notes=notes)
            notes = ()
    return drawing.finish(str(presentation.core_properties.title or "").strip())


def slide_numbers(data: bytes, name: str) -> list[int]:
    """Return the numbers of the slides of a PPTX that are shown, from 1, in their order."""
    relation = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
    shown_numbers = []
    try:
        with open_archive(data, name) as archive:
            root = ElementTree.fromstring(read_member(archive, "ppt/presentation.xml", name))
            links = ElementTree.fromstring(read_member(archive, "ppt/_rels/presentation.xml.rels", name))
            targets = {link.get("Id"): link.get("Target", "") for link in links}
            ids = [item.get(relation) for item in root.iter() if item.tag.endswith("}sldId")]
            for number, id in enumerate(ids, start=1):
                member = targets.get(id, "").lstrip("/")
                member = member if member.startswith("ppt/") else f"ppt/{member}"
                slide = ElementTree.fromstring(read_member(archive, member, name))
                if slide.get("show") not in ("0", "false"):
                    shown_numbers.append(number)
    except ElementTree.ParseError as error:
        raise DocumentError(f"{name}: its XML is damaged ({error}).") from error
    return shown_numbers


def _slide_pieces(slide: Any) -> Iterator[Piece]:  # noqa: ANN401  (python-pptx is not typed)
    """Yield a slide's title, then its texts and tables in the order of the file."""
    title = slide.shapes.title
    if title is not None and title.text_frame.text.strip():
        yield Piece("h1", (" ".join(title.text_frame.text.split()),))
    own_id = None if title is None else title.shape_id
    stack = [shape for shape in reversed(list(slide.shapes)) if shape.shape_id != own_id]
    while stack:
        shape = stack.pop()
        if hasattr(shape, "shapes"):  # a group
            stack += reversed(list(shape.shapes))
        elif getattr(shape, "has_table", False) and shape.has_table:
            for row in shape.table.rows:
                yield Piece("tr", tuple(" ".join(cell.text_frame.text.split()) for cell in row.cells))
        elif getattr(shape, "has_text_frame", False) and shape.has_text_frame:
            for paragraph in shape.text_frame.paragraphs:
                if text := " ".join("".join(run.text for run in paragraph.runs).split()):
                    yield Piece("li" if paragraph.level else "p", (text,))


def from_workbook(data: bytes, name: str) -> Conversion:
    """Convert XLSX by openpyxl: formulas by the value that the last program stored."""
    from openpyxl import load_workbook

    with open_archive(data, name) as archive:
        unknown = _formulas_without_value(archive)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that are not read
            workbook = load_workbook(io.BytesIO(data), data_only=True, keep_links=False, keep_vba=False)
    except Exception as error:
        raise DocumentError(f"{name}: xlsx cannot be opened ({str(error)[:200]}).") from error
    notes = [SHEET_NOTE]
    if unknown:
        noun = "formula has" if unknown == 1 else "formulas have"
        notes.append(f"{unknown} {noun} no stored value: nothing stands in the cell")
    worksheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
    sheets = [_sheet(worksheet) for worksheet in worksheets]
    check_cells(sum(len(sheet.rows) * len(sheet.columns) for sheet in sheets))
    hidden_count = len(workbook.worksheets) - len(worksheets)
    return draw_sheets(
        with_notes(sheets, tuple(notes), hidden_count), str(workbook.properties.title or "").strip()
    )


def _formulas_without_value(archive: zipfile.ZipFile) -> int:
    """Count the formulas whose value no program has stored."""
    members = [item for item in archive.namelist() if re.fullmatch(r"xl/worksheets/[^/]+\.xml", item)]
    return sum(len(_NO_VALUE.findall(archive.read(member))) for member in members)


def _sheet(worksheet: Any) -> Sheet:  # noqa: ANN401  (openpyxl is not typed)
    """Read a sheet: its rows with something in them, without what is hidden."""
    hidden_columns = _hidden_columns(worksheet)
    rows, hidden_rows, width = [], 0, 0
    columns_before = worksheet.min_column - 1  # looks at every cell
    for number, cells in enumerate(worksheet.iter_rows(), start=worksheet.min_row):
        texts = ["" if cell.value is None else shown_text(cell.value, cell.number_format) for cell in cells]
        if not any(texts):
            continue
        if worksheet.row_dimensions[number].hidden:
            hidden_rows += 1
            continue
        texts = [""] * columns_before + texts
        width = max(width, max(at for at, text in enumerate(texts) if text) + 1)
        rows.append(Row(number, tuple(text for at, text in enumerate(texts) if at not in hidden_columns)))
    notes = [hidden_note(hidden_rows, "row")] if hidden_rows else []
    hidden = sum(at < width for at in hidden_columns)
    if hidden:
        notes.append(hidden_note(hidden, "column"))
    columns = [column_name(at) for at in range(width) if at not in hidden_columns]
    return Sheet(worksheet.title, rows, columns, tuple(notes))


def _hidden_columns(worksheet: Any) -> set[int]:  # noqa: ANN401
    """Return the positions of hidden columns; one entry may stand for a range of them."""
    hidden: set[int] = set()
    for dimension in worksheet.column_dimensions.values():
        if dimension.hidden:
            hidden.update(range((dimension.min or 1) - 1, min(dimension.max or 1, 16_384)))
    return hidden
