"""A page drawn of its picture and of OCR's words, for models that read pages of text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmrag.documents.structure.turning import turn_box, turn_of
from mmrag.types import Box, Word

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.documents.renderer import Renderer

PICTURE_SIDE = 1200  # pixels of the longer side: enough for rules between cells
PAGE_SIDE = 842.0  # points of the longer side of a drawn page: A4, what the models know best
INVISIBLE = 3  # PDF text render mode


def draw_page(renderer: Renderer, number: int, words: Sequence[Word]) -> tuple[Any, int]:
    """Draw a page of the renderer's picture of it and of words.

    Returns:
        A PyMuPDF page with upright text, and the degrees by which it is turned clockwise.
    """
    import pymupdf

    picture = renderer.render(number, PICTURE_SIDE * PICTURE_SIDE, PICTURE_SIDE)
    degrees = turn_of(words, picture.width / picture.height)
    if degrees:
        picture = picture.rotate(-degrees, expand=True)
    scale = PAGE_SIDE / max(picture.size)
    document = pymupdf.open()
    page = document.new_page(width=picture.width * scale, height=picture.height * scale)
    page.insert_image(page.rect, stream=_jpeg(picture))
    font = pymupdf.Font("helv")
    writer = pymupdf.TextWriter(page.rect)
    for word in words:
        for box in word.boxes[:1]:
            _write(writer, font, word.text, turn_box(box, degrees), page.rect)
    writer.write_text(page, render_mode=INVISIBLE)
    return document.reload_page(page), degrees


def _write(writer: Any, font: Any, text: str, box: Box, rect: Any) -> None:  # noqa: ANN401
    """Write a word into its box: as high as the box, and scaled to its width."""
    import pymupdf

    x0, y0, x1, y1 = box[0] * rect.width, box[1] * rect.height, box[2] * rect.width, box[3] * rect.height
    size = max(1.0, min((x1 - x0) / max(font.text_length(text, 1.0), 0.1), (y1 - y0) * 1.1))
    baseline = y1 - 0.22 * (y1 - y0)
    writer.append(pymupdf.Point(x0, baseline), text, font=font, fontsize=size)


def _jpeg(picture: Image) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()
