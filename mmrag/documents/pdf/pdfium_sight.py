"""Which words of a page no eye sees, by PDFium: `visibility.sight` with what `pdfium_paint` knows.

What PDFium cannot be asked (whether a layer or a form is switched off) is proved by pixels: words of layers
and forms, and words that a clip may cut, are looked at whatever their colour is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mmrag.documents.layer.glyphs import LayerLine, LayerWord, Part, angle_of, overlap, union
from mmrag.documents.layer.visibility import Sight, hidden_text, sight
from mmrag.documents.pdf.pdfium_paint import PLAIN, PagePaints, PdfiumPart, TextLook
from mmrag.types import Box, HiddenText

if TYPE_CHECKING:
    from PIL.Image import Image

_ASCENT, _DESCENT = 0.95, 0.25  # font sizes above and under the baseline: a usual line, with some paper


def see(
    lines: Sequence[LayerLine],
    page_paints: PagePaints,
    size: tuple[float, float],
    draw: Callable[[float], Image],
    struck_boxes: Sequence[Box],
) -> Sight:
    """Separate what is seen of a page from what is not.

    Words are looked at in boxes as high as letters can be, since all of a box of ink may have one colour.

    Args:
        lines: of the text layer; parts are `PdfiumPart`.
        page_paints: of the page.
        size: of the page in points.
        draw: draws the page as RGB at a scale in pixels a point.
        struck_boxes: areas that annotations strike out.
    """
    layers_off = page_paints.drop_layers_off(draw)
    hidden: list[HiddenText] = []
    tall_lines: list[LayerLine] = []
    words: dict[int, LayerWord] = {}
    for line in lines:
        tall_words = []
        for word in line.words:
            tall, look = _tall(word), _look_of(word)
            reason = _reason(tall, look, layers_off)
            if reason is None:
                words[id(tall)] = word
                tall_words.append(tall)
            else:
                hidden += hidden_text([tall], reason, size)
        if tall_words:
            tall_lines.append(LayerLine(tuple(tall_words), _angle(tall_words[0])))
    view = sight([tall_lines], page_paints.paints, size, draw, struck_boxes, _is_doubtful)
    seen_lines = [line for block in view.blocks for line in block]
    blocks = [[LayerLine(tuple(words[id(word)] for word in line.words)) for line in seen_lines]]
    return Sight(blocks, [*hidden, *view.hidden], view.invisible)


def _reason(word: LayerWord, look: TextLook, layers_off: frozenset[str]) -> str | None:
    """Return why a word is hidden that is told from its text object alone."""
    if look.layer is not None and look.layer in layers_off:
        return "invisible"
    return "clipped" if look.clip is not None and not overlap(word.box, look.clip) else None


def _look_of(word: LayerWord) -> TextLook:
    part = word.main
    return part.look if isinstance(part, PdfiumPart) else PLAIN


def _is_doubtful(word: LayerWord) -> bool:
    """Check whether only pixels tell if a word is seen: one in a form, or of which a clip may cut."""
    look = _look_of(word)
    return look.is_doubtful or (look.clip is not None and overlap(word.box, look.clip) < 1)


def _tall(word: LayerWord) -> LayerWord:
    """Return the word in a box as high as letters can be."""
    parts = tuple(replace(part, box=_tall_box(part)) for part in word.parts)
    return LayerWord(word.text, union(part.box for part in parts), parts)


def _tall_box(part: Part) -> Box:
    """Widen the box of a part's ink, across its line, to the height of letters."""
    across, down = part.up if isinstance(part, PdfiumPart) else (0.0, -1.0)
    ends = []
    for distance in (_ASCENT * part.size, -_DESCENT * part.size):
        x, y = part.origin[0] + across * distance, part.origin[1] + down * distance
        ends.append((x, y, x, y))
    return union((part.box, *ends))


def _angle(word: LayerWord) -> float:
    """Return the angle in which a word reads, as `LayerLine.angle`."""
    across, down = word.main.up if isinstance(word.main, PdfiumPart) else (0.0, -1.0)
    return angle_of((-down, across))
