"""What PDFium paints on a page, in its order, and how each text is painted.

PDFium's text page knows characters, and each character its text object; the page's objects know colour,
opacity, render mode, clip and layer. Objects of a form are in its own coordinates.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pypdfium2.raw as raw

from mmrag.documents.layer.glyphs import Part, union
from mmrag.documents.layer.inkproof import MOST_PIXELS
from mmrag.documents.layer.visibility import Paint
from mmrag.types import Box

if TYPE_CHECKING:
    from PIL.Image import Image

Matrix = tuple[float, float, float, float, float, float]
_GRID = 1_000_000  # device units a side, for an exact matrix from PDFium's whole numbers
_FAR = 1e6  # points; what is farther out is not anywhere
_DEEPEST = 15  # forms within forms, as in pypdfium2
_MOST_LAYERS = 12  # that are drawn each to see whether they are on
_MOST_SEGMENTS = 200  # of a clip that is looked at; words in others are doubtful
_MOST_OBJECTS = 20_000  # of a page that is drawn for each layer
_UPRIGHT: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
_FILLS = (
    raw.FPDF_TEXTRENDERMODE_FILL,
    raw.FPDF_TEXTRENDERMODE_FILL_STROKE,
    raw.FPDF_TEXTRENDERMODE_FILL_CLIP,
    raw.FPDF_TEXTRENDERMODE_FILL_STROKE_CLIP,
)
_STROKES = (
    raw.FPDF_TEXTRENDERMODE_STROKE,
    raw.FPDF_TEXTRENDERMODE_FILL_STROKE,
    raw.FPDF_TEXTRENDERMODE_STROKE_CLIP,
    raw.FPDF_TEXTRENDERMODE_FILL_STROKE_CLIP,
)
_CLIPS = (
    raw.FPDF_TEXTRENDERMODE_FILL_CLIP,
    raw.FPDF_TEXTRENDERMODE_STROKE_CLIP,
    raw.FPDF_TEXTRENDERMODE_FILL_STROKE_CLIP,
    raw.FPDF_TEXTRENDERMODE_CLIP,
)
_PAINTLESS = (raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_STRIKEOUT, raw.FPDF_ANNOT_UNDERLINE)


@dataclass(frozen=True, slots=True)
class TextLook:
    """How a text object is painted.

    Attributes:
        colour: of the fill, or of the outline where only that is drawn.
        opacity: 0..1.
        is_drawn: False for PDF render mode 3.
        is_plain: whether `colour` is what is painted (not a clip).
        clip: box in points as shown that nothing of it leaves; None without a clip.
        is_doubtful: whether only pixels tell if it is seen (in a form, in a layer, masked, blended).
        layer: name of its optional content; None for text that is in none.
    """

    colour: tuple[int, int, int] = (0, 0, 0)
    opacity: float = 1.0
    is_drawn: bool = True
    is_plain: bool = True
    clip: Box | None = None
    is_doubtful: bool = False
    layer: str | None = None


PLAIN = TextLook()
"""Black and opaque: what PDFium made up itself, as a hyphen, has no text object."""


@dataclass(frozen=True, slots=True)
class PdfiumPart(Part):
    """A part of a word with its direction and how it is painted.

    Attributes:
        up: unit vector as shown from the baseline to the top of the letters.
        look: of its text object.
    """

    up: tuple[float, float] = (0.0, -1.0)
    look: TextLook = PLAIN


class PageMap:
    """Page coordinates of PDF to points of the page as shown (rotation and crop box applied)."""

    def __init__(self, page: Any, size: tuple[float, float]) -> None:  # noqa: ANN401  (pypdfium2 is not typed)
        """Ask PDFium for three points; the rest follows."""
        far = max(size)
        (x0, y0), (x1, y1), (x2, y2) = (
            _device_point(page, x, y, size) for x, y in ((0.0, 0.0), (far, 0.0), (0.0, far))
        )
        self.matrix: Matrix = (
            (x1 - x0) / far,
            (y1 - y0) / far,
            (x2 - x0) / far,
            (y2 - y0) / far,
            x0,
            y0,
        )

    def box(self, left: float, bottom: float, right: float, top: float) -> Box:
        """Turn a box."""
        return _turned_box(self.matrix, (left, bottom, right, top))

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Turn a point."""
        a, b, c, d, e, f = self.matrix
        return a * x + c * y + e, b * x + d * y + f

    def direction(self, x: float, y: float) -> tuple[float, float]:
        """Turn a direction, to a length of 1; upwards for one without length."""
        a, b, c, d, _, _ = self.matrix
        across, down = a * x + c * y, b * x + d * y
        length = math.hypot(across, down)
        return (across / length, down / length) if length else (0.0, -1.0)


def _device_point(page: Any, x: float, y: float, size: tuple[float, float]) -> tuple[float, float]:  # noqa: ANN401
    """Convert page coordinates to points as shown."""
    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, _GRID, _GRID, 0, x, y, across, down)
    return across.value / _GRID * size[0], down.value / _GRID * size[1]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the objects of a page or form are: coordinates to points, and what they inherit."""

    matrix: Matrix
    depth: int = 0
    layers: tuple[str, ...] = ()
    clip: Box | None = None
    is_doubtful: bool = False


@dataclass(slots=True)
class _Layer:
    """Objects of one name of optional content, and what they paint."""

    name: str
    items: list[Any] = field(default_factory=list)
    paints: list[Paint] = field(default_factory=list)
    has_text: bool = False


class PagePaints:
    """Objects of a loaded page.

    Attributes:
        page_map: page coordinates to points as shown.
        paints: in the order of painting, those of annotations last.
    """

    def __init__(self, page: Any, size: tuple[float, float]) -> None:  # noqa: ANN401
        """Walk through the objects, those of forms included."""
        self.page_map = PageMap(page, size)
        self.paints: list[Paint] = []
        self._size = size
        self._looks: dict[int, TextLook] = {}
        self._layers: dict[str, _Layer] = {}
        self._count = 0
        self._walk(page, _Frame(self.page_map.matrix))
        self.paints += _annotation_paints(page, self.page_map)

    def look(self, textpage: Any, index: int) -> TextLook:  # noqa: ANN401
        """Return how a character is painted; plainly, if PDFium made it up."""
        item = raw.FPDFText_GetTextObject(textpage, index)
        return self._looks.get(_address(item), PLAIN) if item else PLAIN

    def drop_layers_off(self, draw: Callable[[float], Image]) -> frozenset[str]:
        """Drop the paints of layers that are off, and return the names of these layers.

        PDFium does not say which are off. A layer is if no pixel of the page changes when all of it is taken
        away. Layers with text are tried first, and no page of very many objects is drawn that often.
        """
        layers = sorted(self._layers.values(), key=lambda layer: not layer.has_text)[:_MOST_LAYERS]
        if not layers or self._count > _MOST_OBJECTS:
            return frozenset()
        scale = min(1.0, (MOST_PIXELS / (self._size[0] * self._size[1])) ** 0.5)
        whole = draw(scale).tobytes()
        off = [layer for layer in layers if _without(layer.items, draw, scale) == whole]
        if len(off) > 1 and _without([item for layer in off for item in layer.items], draw, scale) != whole:
            return frozenset()  # each hides what the other shows
        paints = {id(paint) for layer in off for paint in layer.paints}
        self.paints = [paint for paint in self.paints if id(paint) not in paints]
        return frozenset(layer.name for layer in off)

    def _walk(self, parent: Any, frame: _Frame) -> None:  # noqa: ANN401
        """Note what the objects of a page or form paint."""
        for item in _children(parent, is_form=frame.depth > 0):
            kind = raw.FPDFPageObj_GetType(item)
            clip, is_whole = _clip(item, frame)
            layers = (*frame.layers, *_layers(item))
            is_doubtful = frame.is_doubtful or not is_whole or bool(raw.FPDFPageObj_HasTransparency(item))
            if kind == raw.FPDF_PAGEOBJ_FORM:
                if frame.depth < _DEEPEST:
                    matrix = _product(_matrix(item), frame.matrix)
                    self._walk(item, _Frame(matrix, frame.depth + 1, layers, clip, True))
                continue
            inner = replace(frame, clip=clip, layers=layers, is_doubtful=is_doubtful)
            self._add(item, kind, inner)

    def _add(self, item: Any, kind: int, frame: _Frame) -> None:  # noqa: ANN401
        """Note an object: how a text is painted, its layer, and what it paints."""
        self._count += 1
        paint = _paint(item, kind, frame)
        if paint is not None:
            self.paints.append(paint)
        name = "\n".join(frame.layers) if frame.layers else None
        if name is not None:
            layer = self._layers.setdefault(name, _Layer(name))
            layer.items.append(item)
            layer.paints += [] if paint is None else [paint]
            layer.has_text = layer.has_text or kind == raw.FPDF_PAGEOBJ_TEXT
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            self._looks[_address(item)] = _text_look(item, frame, name)


def _paint(item: Any, kind: int, frame: _Frame) -> Paint | None:  # noqa: ANN401
    """Return what an object paints; None if that is nothing, or cut away by a clip."""
    name = _paint_kind(item, kind)
    box = _bounds(item, frame.matrix)
    if name is None or box is None:
        return None
    if frame.clip is not None and kind != raw.FPDF_PAGEOBJ_TEXT:
        box = _shared_box(box, frame.clip)
        if box[0] >= box[2] or box[1] >= box[3]:
            return None
    return Paint(name, box)


def struck_areas(page: Any, page_map: PageMap) -> list[Box]:  # noqa: ANN401
    """Return the boxes, in points as shown, of what annotations strike out."""
    areas = []
    for kind, annotation in _annotations(page):
        if kind != raw.FPDF_ANNOT_STRIKEOUT:
            continue
        for position in range(raw.FPDFAnnot_CountAttachmentPoints(annotation)):
            quad = raw.FS_QUADPOINTSF()
            if raw.FPDFAnnot_GetAttachmentPoints(annotation, position, quad):
                xs = (quad.x1, quad.x2, quad.x3, quad.x4)
                ys = (quad.y1, quad.y2, quad.y3, quad.y4)
                areas.append(page_map.box(min(xs), min(ys), max(xs), max(ys)))
    return areas


def _without(items: Sequence[Any], draw: Callable[[float], Image], scale: float) -> bytes:
    """Draw the page without some of its objects."""
    for item in items:
        raw.FPDFPageObj_SetIsActive(item, False)
    try:
        return draw(scale).tobytes()
    finally:
        for item in items:
            raw.FPDFPageObj_SetIsActive(item, True)


def _children(parent: Any, *, is_form: bool) -> Iterator[Any]:  # noqa: ANN401
    """Yield the objects of a page or a form in the order of painting."""
    count, child = (
        (raw.FPDFFormObj_CountObjects, raw.FPDFFormObj_GetObject)
        if is_form
        else (raw.FPDFPage_CountObjects, raw.FPDFPage_GetObject)
    )
    for position in range(count(parent)):
        item = child(parent, position)
        if item:
            yield item


def _text_look(item: Any, frame: _Frame, layer: str | None) -> TextLook:  # noqa: ANN401
    """Ask a text object how it is painted."""
    mode = raw.FPDFTextObj_GetTextRenderMode(item)
    is_outline = mode in _STROKES and mode not in _FILLS
    ask = raw.FPDFPageObj_GetStrokeColor if is_outline else raw.FPDFPageObj_GetFillColor
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    is_known = bool(ask(item, red, green, blue, alpha))
    is_plain = is_known and mode not in _CLIPS
    return TextLook(
        (red.value, green.value, blue.value) if is_known else (0, 0, 0),
        alpha.value / 255 if is_plain else 1.0,
        mode != raw.FPDF_TEXTRENDERMODE_INVISIBLE,
        is_plain,
        frame.clip,
        frame.is_doubtful or layer is not None or not is_plain,
        layer,
    )


def _paint_kind(item: Any, kind: int) -> str | None:  # noqa: ANN401
    """Return what an object is to `visibility`, None for a path that paints nothing."""
    if kind == raw.FPDF_PAGEOBJ_TEXT:
        return "outline" if raw.FPDFTextObj_GetTextRenderMode(item) in _STROKES else "text"
    if kind == raw.FPDF_PAGEOBJ_PATH:
        fill, stroke = ctypes.c_int(), ctypes.c_int()
        raw.FPDFPath_GetDrawMode(item, fill, stroke)
        return "path" if fill.value else "line" if stroke.value else None
    return {raw.FPDF_PAGEOBJ_IMAGE: "image", raw.FPDF_PAGEOBJ_SHADING: "path"}.get(kind)


def _layers(item: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the names of the optional content that an object is marked as, ``""`` for a nameless one."""
    count = raw.FPDFPageObj_CountMarks(item)
    marks = (raw.FPDFPageObj_GetMark(item, position) for position in range(count))
    return tuple(_layer_name(mark) for mark in marks if _text(raw.FPDFPageObjMark_GetName, mark) == "OC")


def _layer_name(mark: Any) -> str:  # noqa: ANN401
    def ask(mark: Any, *room: Any) -> int:  # noqa: ANN401
        return int(raw.FPDFPageObjMark_GetParamStringValue(mark, b"Name", *room))

    return _text(ask, mark)


def _text(ask: Callable[..., int], mark: Any) -> str:  # noqa: ANN401
    """Return a text of a mark, ``""`` without one."""
    room = 512
    buffer = (ctypes.c_ushort * (room // 2))()
    length = ctypes.c_ulong()
    if not ask(mark, buffer, room, length) or not 0 < length.value <= room:
        return ""
    return bytes(buffer)[: length.value].decode("utf-16-le", "replace").rstrip("\0")


def _clip(item: Any, frame: _Frame) -> tuple[Box | None, bool]:  # noqa: ANN401
    """Return the box that the clip of an object and of its form leave, and whether all of it was looked at.

    The box is in points as shown; None without a clip.
    """
    box, is_whole = frame.clip, True
    path = raw.FPDFPageObj_GetClipPath(item)
    for position in range(max(0, raw.FPDFClipPath_CountPaths(path)) if path else 0):
        count = raw.FPDFClipPath_CountPathSegments(path, position)
        if count > _MOST_SEGMENTS:
            is_whole = False
            continue
        corners = [(x, y, x, y) for x, y in _segment_points(path, position, count)]
        piece = _turned_box(frame.matrix, union(corners)) if corners else (0.0, 0.0, 0.0, 0.0)
        box = piece if box is None else _shared_box(box, piece)
    return box, is_whole


def _segment_points(path: Any, position: int, count: int) -> Iterator[tuple[float, float]]:  # noqa: ANN401
    """Yield the points of one path of a clip."""
    x, y = ctypes.c_float(), ctypes.c_float()
    for index in range(max(0, count)):
        segment = raw.FPDFClipPath_GetPathSegment(path, position, index)
        if segment and raw.FPDFPathSegment_GetPoint(segment, x, y):
            yield x.value, y.value


def _shared_box(box: Box, clip: Box) -> Box:
    """Return what two boxes share; without area where they share nothing."""
    x0, y0 = max(box[0], clip[0]), max(box[1], clip[1])
    return x0, y0, max(x0, min(box[2], clip[2])), max(y0, min(box[3], clip[3]))


def _bounds(item: Any, matrix: Matrix) -> Box | None:  # noqa: ANN401
    """Return an object's box in points as shown; None without one, and for what is far away."""
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not raw.FPDFPageObj_GetBounds(item, left, bottom, right, top):
        return None
    box = _turned_box(matrix, (left.value, bottom.value, right.value, top.value))
    return box if max(map(abs, box)) < _FAR else None


def _matrix(item: Any) -> Matrix:  # noqa: ANN401
    """Return the matrix of a form."""
    matrix = raw.FS_MATRIX()
    if not raw.FPDFPageObj_GetMatrix(item, matrix):
        return _UPRIGHT
    return matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f


def _product(first: Matrix, then: Matrix) -> Matrix:
    """Return the matrix that applies one, and then the other."""
    a, b, c, d, e, f = first
    g, h, i, j, k, m = then
    return a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m


def _turned_box(matrix: Matrix, box: Box) -> Box:
    """Return the smallest upright box around a box that a matrix turns."""
    a, b, c, d, e, f = matrix
    corners = [(box[i], box[j]) for i in (0, 2) for j in (1, 3)]
    xs = [a * x + c * y + e for x, y in corners]
    ys = [b * x + d * y + f for x, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def _annotations(page: Any) -> Iterator[tuple[int, Any]]:  # noqa: ANN401
    """Yield the kind of each annotation that is not switched off, and the annotation, open for that long."""
    for position in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, position)
        if not annotation:
            continue
        if not raw.FPDFAnnot_GetFlags(annotation) & (raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW):
            yield raw.FPDFAnnot_GetSubtype(annotation), annotation
        raw.FPDFPage_CloseAnnot(annotation)


def _annotation_paints(page: Any, page_map: PageMap) -> Iterator[Paint]:  # noqa: ANN401
    """Yield the area of each annotation that may paint over words."""
    for kind, annotation in _annotations(page):
        rect = raw.FS_RECTF()
        if kind not in _PAINTLESS and raw.FPDFAnnot_GetRect(annotation, rect):
            yield Paint(
                "path",
                page_map.box(rect.left, min(rect.bottom, rect.top), rect.right, max(rect.bottom, rect.top)),
            )


def _address(item: Any) -> int:  # noqa: ANN401
    """Return what tells one object of PDFium from another."""
    return int(ctypes.cast(item, ctypes.c_void_p).value or 0)
