"""A document as PDF with places marked on its pages, by PyMuPDF.

The words' boxes become highlights, the block around them a thin frame; both are annotations, which every
reader of PDFs shows, lists and can take away again. The original's pages, text and outline stay; scripts,
programs, media and attached files go (`active_content`). A picture file becomes a PDF of
its pictures as they are read (upright), XPS, EPUB and SVG what MuPDF makes of them. An encrypted PDF stays
encrypted.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmrag.documents.pdf.active_content import remove_active_content
from mmrag.errors import DocumentError, PageError
from mmrag.types import Box

if TYPE_CHECKING:
    from mmrag.documents.renderer import Renderer

YELLOW = (1.0, 0.85, 0.2)
FRAME = (0.95, 0.6, 0.1)

PICTURE_PIXELS = 4_000_000
"""Of a page of a picture file."""

AUTHOR = "mmrag"


@dataclass(frozen=True)
class Mark:
    """A place to mark.

    Attributes:
        number: 0-based page.
        boxes: of the words, in 0..1 of the page as shown.
        area: of the block around them.
        note: shown by readers beside the mark.
    """

    number: int
    boxes: tuple[Box, ...]
    area: Box | None = None
    note: str = ""


def highlighted_pdf(renderer: Renderer, kind: str, marks: Sequence[Mark]) -> bytes:
    """Return an open document as PDF with its places marked; the open document may be changed by it.

    Args:
        renderer: of PyMuPDF, or of a picture file.
        kind: `Source.kind`.
        marks: in any order.

    Raises:
        DocumentError: another renderer, whose library writes no annotations, or a damaged file.
        PageError: there is no such page.
    """
    document = _as_pdf(renderer, kind)
    try:
        for mark in marks:
            if not 0 <= mark.number < document.page_count:
                raise PageError(f"there is no such page; the file has {document.page_count}", mark.number)
            _draw(document.load_page(mark.number), mark)
        remove_active_content(document)
        return bytes(document.tobytes(garbage=1, deflate=True, encryption=0))  # 0: as it was
    except (RuntimeError, ValueError) as error:  # PyMuPDF's
        if isinstance(error, PageError):
            raise
        raise DocumentError(f"places cannot be marked in it ({str(error)[:200]})") from error


def _as_pdf(renderer: Renderer, kind: str) -> Any:  # noqa: ANN401  (PyMuPDF is not typed)
    import pymupdf

    if kind == "image":
        return _of_pictures(renderer)
    load = getattr(renderer, "load", None)
    document = None if load is None else getattr(load(0), "parent", None)
    if document is None:
        raise DocumentError("places are marked by PyMuPDF alone. Open the index with renderer='pymupdf'")
    return document if document.is_pdf else pymupdf.open("pdf", document.convert_to_pdf())


def _of_pictures(renderer: Renderer) -> Any:  # noqa: ANN401
    """Make a PDF with a page for each picture of a file."""
    import pymupdf

    document = pymupdf.open()
    for number in range(renderer.page_count):
        width, height = renderer.read(number).size
        picture = io.BytesIO()
        renderer.render(number, PICTURE_PIXELS).save(picture, format="JPEG", quality=90)
        page = document.new_page(width=width, height=height)
        page.insert_image(page.rect, stream=picture.getvalue())
    return document


def _draw(page: Any, mark: Mark) -> None:  # noqa: ANN401
    """Add the annotations of a mark."""
    quads = [_quad(page, box) for box in mark.boxes]
    if quads:
        highlight = page.add_highlight_annot(quads)
        highlight.set_colors(stroke=YELLOW)
        _finish(highlight, mark.note)
    if mark.area is not None:
        frame = page.add_polygon_annot(_corners(_quad(page, mark.area)))
        frame.set_colors(stroke=FRAME)
        frame.set_border(width=1)
        _finish(frame, mark.note)


def _finish(annotation: Any, note: str) -> None:  # noqa: ANN401
    annotation.set_info(title=AUTHOR, content=note)
    annotation.update()


def _quad(page: Any, box: Box) -> Any:  # noqa: ANN401
    """Return a box of the page as shown in the page's own coordinates, which a rotation turns."""
    import pymupdf

    width, height = page.rect.width, page.rect.height
    rectangle = pymupdf.Rect(box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    quad = rectangle.quad
    if (
        rectangle.height > rectangle.width
    ):  # a highlight is round at the ends of a line: of one that runs down
        quad = pymupdf.Quad(quad.ur, quad.lr, quad.ul, quad.ll)
    return quad * page.derotation_matrix


def _corners(quad: Any) -> list[Any]:  # noqa: ANN401
    return [quad.ul, quad.ur, quad.lr, quad.ll, quad.ul]
