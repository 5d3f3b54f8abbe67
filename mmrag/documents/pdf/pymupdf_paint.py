"""What MuPDF paints on a page, in its order, and what is struck out or clipped away.

MuPDF's text page says nothing of what is painted over a word. Its log of boxes does: one entry for each
piece of text, path, shade and picture. (Lines through letters could be asked of the text page itself,
``TEXT_COLLECT_STYLES``, at four times the cost of the log.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pymupdf

from mmrag.documents.layer.glyphs import LayerWord, Part, overlap, page_box
from mmrag.documents.layer.visibility import Paint
from mmrag.documents.pdf.pymupdf_words import WORD_FLAGS
from mmrag.types import Box

_KINDS = {"fill-image": "image", "fill-imgmask": "image", "fill-path": "path", "stroke-path": "line"}
_KINDS |= {"fill-shade": "path", "stroke-text": "outline"}
_FAR = 1e6  # points; paths without end are not anywhere


def page_paints(page: Any) -> list[Paint]:  # noqa: ANN401  (PyMuPDF is not typed)
    """Return what is painted, annotations included, in points as shown."""
    matrix, is_turned = page.rotation_matrix, bool(page.rotation)
    paints = []
    for kind, box in page.get_bboxlog():
        name = _KINDS.get(kind, "text" if kind.endswith("-text") else None)
        if name is not None and max(map(abs, box)) < _FAR:
            rect = pymupdf.Rect(box) * matrix if is_turned else box
            paints.append(Paint(name, (rect[0], rect[1], rect[2], rect[3])))
    return paints


def struck_areas(page: Any) -> list[Box]:  # noqa: ANN401
    """Return the boxes, in points as shown, of what annotations strike out."""
    if not page.parent.is_pdf or page.first_annot is None:
        return []
    areas = []
    for annotation in page.annots(types=[pymupdf.PDF_ANNOT_STRIKE_OUT]):
        corners = annotation.vertices or []
        quads = [corners[index : index + 4] for index in range(0, len(corners) - 3, 4)]
        for quad in quads:
            rect = pymupdf.Quad(quad).rect * page.rotation_matrix
            areas.append((rect.x0, rect.y0, rect.x1, rect.y1))
    return areas


def clipped_words(page: Any, layer_words: Sequence[LayerWord], size: tuple[float, float]) -> list[LayerWord]:  # noqa: ANN401
    """Return the words on the page that MuPDF leaves out because a clip cuts all of them away.

    What is drawn outside the page (printers' marks, slugs) is no text of the page.
    """
    words = page.get_textpage(flags=WORD_FLAGS & ~pymupdf.TEXT_MEDIABOX_CLIP).extractWORDS()
    if len(words) == len(layer_words):
        return []
    matrix = page.rotation_matrix
    candidates = []
    for x0, y0, x1, y1, text, *_ in words:
        rect = pymupdf.Rect(x0, y0, x1, y1) * matrix
        box = (rect.x0, rect.y0, rect.x1, rect.y1)
        if page_box(box, size) is not None and text.strip():
            part = Part(text, box, rect.height, (rect.x0, rect.y1))
            candidates.append(LayerWord(text, box, (part,)))
    corners_of = {(round(word.box[0]), round(word.box[1])) for word in layer_words}
    far = [word for word in candidates if (round(word.box[0]), round(word.box[1])) not in corners_of]
    return [word for word in far if not any(overlap(word.box, near.box) > 0.1 for near in layer_words)]
