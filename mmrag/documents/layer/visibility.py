"""Text that no eye sees: told apart first by what is cheap to know, then proved by the page's pixels.

A word is *suspect* if it is light, nearly transparent or not drawn (PDF render mode 3), or if an area or a
picture is painted where it stands. Only for pages with suspects is the page drawn, and a suspect is hidden
only if its pixels prove it:

* nothing in its box differs from the rest by more than `FLAT` levels and a contrast of `CONTRAST`;
* or its colour is that of what surrounds it and of most of its box, so that what is seen in its box is
  something else;
* or something is painted after it, and no pixel lies between the colour of its box and its own.

So grey text that can be read stays, and white text on a dark ground. Text in render mode 3 stays where
there is ink that no other word accounts for: that is somebody's OCR over a scan, or letters drawn as paths.
Without pixels: letters smaller than 2 points, on the paper and as a part of a letter page, and text that a
line strikes through, are hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmrag.documents.layer.glyphs import (
    LayerBlocks,
    LayerLine,
    LayerWord,
    overlap,
    page_box,
    quarter_of,
    union,
)
from mmrag.documents.layer.inkproof import PagePixels, contrast
from mmrag.documents.layout import clip_box
from mmrag.types import Box, HiddenText

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST = 2.0  # points
LETTER_SIDE = 792.0  # points, longer side of a letter page
_LIGHT = 1.6  # contrast to white paper below which a colour is suspect
_FAINT = 0.35  # opacity
_LEAST_OPACITY = 0.03  # opacity that nobody sees
_AREA = 3.0  # points: what is thinner is a line
_BAR = 40.0  # points: the thickest line that is taken for a bar
_COVERS = 0.6  # of a word's box
_TEXTS = ("text", "outline")
_ALIKE = 1.5  # heights of a word: a larger text over it is a watermark, and replaces nothing
_STRIKE_HEIGHTS = (0.12, 0.5)  # font sizes above the baseline
_STRIKE_THICK = 0.2  # font sizes
_COMPARISONS = 1 << 18  # of words with areas, at once
_CHUNK = 1024  # lines that are compared with all words at once
_SPACE = 0.4  # font sizes, the widest space between two words of a line
_STRIKE_WORDS = 0.75  # of the line's length that words must take up; the rules of a chart are longer


@dataclass(frozen=True, slots=True)
class Paint:
    """Something that is painted on a page.

    Attributes:
        kind: ``"text"``, ``"outline"`` (of letters),
            ``"path"`` (a filled area), ``"line"`` (the outline of one) or ``"image"``.
        box: in points as shown.
    """

    kind: str
    box: Box


@dataclass(slots=True)
class Sight:
    """What is seen of a text layer.

    Attributes:
        blocks: without hidden words.
        hidden: text of each line that nobody sees.
        invisible: most letters are in render mode 3 or under a picture that shows ink there.
    """

    blocks: LayerBlocks
    hidden: list[HiddenText] = field(default_factory=list)
    invisible: bool = False


def sight(
    blocks: LayerBlocks,
    paints: Sequence[Paint],
    size: tuple[float, float],
    draw: Callable[[float], Image],
    struck_boxes: Sequence[Box] = (),
    is_doubtful: Callable[[LayerWord], bool] = lambda word: False,
) -> Sight:
    """Separate what is seen from what is not.

    Args:
        blocks: of the text layer.
        paints: of the page, in the order of painting.
        size: of the page in points.
        draw: draws the page as RGB at a scale in pixels a point; called once at most.
        struck_boxes: areas that annotations strike out.
        is_doubtful: says of a word that it is suspect, whatever its colour is.
    """
    words = [(line, word) for block in blocks for line in block for word in line.words]
    if not words:
        return Sight(blocks)
    lines = {id(word): line for line, word in words}
    reasons: dict[int, str] = {}
    lined_out = _struck_words(words, paints)
    for _, word in words:
        reason = "struck out" if id(word) in lined_out else _plain_reason(word, size, struck_boxes)
        if reason is not None:
            reasons[id(word)] = reason
    grounds = _Grounds(paints)
    candidates = [word for _, word in words if id(word) not in reasons]
    suspects = [
        word
        for word, is_over_area in zip(candidates, grounds.are_over_areas(candidates), strict=True)
        if is_over_area or _is_faint(word) or is_doubtful(word)
    ]
    invisible = False
    if suspects:
        pixels = PagePixels(draw, size, min(word.main.size for word in suspects))
        visible = [word.box for _, word in words if word.main.is_drawn and id(word) not in reasons]
        layer_letters = 0
        for word in suspects:
            reason = _proved_reason(word, pixels, grounds, visible)
            if reason is None and word.main.is_drawn and grounds.is_replaced(word, lines[id(word)]):
                reason = "covered"
            if reason is not None:
                reasons[id(word)] = reason
            if not word.main.is_drawn or (reason is None and grounds.is_under_picture(word)):
                layer_letters += len(word.text)
        invisible = 2 * layer_letters > sum(len(word.text) for _, word in words)
    if not reasons:
        return Sight(blocks, [], invisible)
    return Sight(_without(blocks, reasons), list(_hidden_texts(blocks, reasons, size)), invisible)


def hidden_notes(hidden: Sequence[HiddenText]) -> tuple[str, ...]:
    """Word a note for each reason; how many words is in `Page.hidden`, so that equal notes can be counted."""
    return tuple(
        f"hidden words left out ({reason})" for reason in dict.fromkeys(text.reason for text in hidden)
    )


def picture_boxes(paints: Sequence[Paint], size: tuple[float, float]) -> tuple[Box, ...]:
    """Return the boxes, in 0..1 and clipped to the page, of its raster pictures."""
    boxes = (
        clip_box(_on_page((x0 / size[0], y0 / size[1], x1 / size[0], y1 / size[1])))
        for x0, y0, x1, y1 in (paint.box for paint in paints if paint.kind == "image")
    )
    return tuple(dict.fromkeys(box for box in boxes if box is not None))


def _on_page(box: Box) -> Box:
    """Cut a box off at the edges of the page."""
    x0, y0, x1, y1 = (min(max(edge, 0.0), 1.0) for edge in box)
    return x0, y0, x1, y1


def _plain_reason(word: LayerWord, size: tuple[float, float], struck_boxes: Sequence[Box]) -> str | None:
    """Return the reason why a word is hidden that needs no pixels, or None."""
    largest = max(part.size for part in word.parts)
    if largest < SMALLEST and largest * LETTER_SIDE / max(size) < SMALLEST:
        return "too small"
    if all(part.is_drawn and part.opacity < _LEAST_OPACITY for part in word.parts):
        return "transparent"
    return "struck out" if any(overlap(word.box, area) > 0.5 for area in struck_boxes) else None


def _is_faint(word: LayerWord) -> bool:
    """Check whether a word is not painted, nearly transparent or light."""
    part = word.main
    return not part.is_drawn or part.opacity < _FAINT or contrast(part.colour, (255, 255, 255)) < _LIGHT


def _struck_words(words: Sequence[tuple[LayerLine, LayerWord]], paints: Sequence[Paint]) -> set[int]:
    """Return the identities of words that thin lines strike out; such a line is no longer than they are."""
    result: set[int] = set()
    strikes = dict.fromkeys(
        paint.box for paint in paints if paint.kind in ("path", "line") and _is_thin(paint.box)
    )
    for box, near_words in _words_at_lines(list(strikes), words):
        x0, y0, x1, y1 = box
        crossed_words = [word for line, word in near_words if _strikes_through(box, line, word)]
        if not crossed_words:
            continue
        low, high = (0, 2) if x1 - x0 >= y1 - y0 else (1, 3)
        shared = sum(
            min(word.box[high], box[high]) - max(word.box[low], box[low]) + _SPACE * word.main.size
            for word in crossed_words
        )
        if shared >= _STRIKE_WORDS * (box[high] - box[low]):
            result.update(map(id, crossed_words))
    return result


def _words_at_lines(
    strikes: Sequence[Box], words: Sequence[tuple[LayerLine, LayerWord]]
) -> Iterator[tuple[Box, list[tuple[LayerLine, LayerWord]]]]:
    """Yield each line that touches words, and these words; a drawing may have many thousand lines."""
    boxes = _boxes([word.box for _, word in words])
    for start in range(0, len(strikes), _CHUNK):
        chunk = _boxes(strikes[start : start + _CHUNK])[:, None]
        touches = (
            (boxes[:, 0] < chunk[..., 2])
            & (boxes[:, 2] > chunk[..., 0])
            & (boxes[:, 1] < chunk[..., 3])
            & (boxes[:, 3] > chunk[..., 1])
        )
        for index in np.flatnonzero(touches.any(1)):
            positions = np.flatnonzero(touches[index])
            yield strikes[start + int(index)], [words[int(position)] for position in positions]


def _is_thin(box: Box) -> bool:
    """Check whether a path is a line along one of the axes."""
    width, height = box[2] - box[0], box[3] - box[1]
    return min(width, height) <= _AREA and max(width, height) >= 2 * min(width, height)


def _strikes_through(strike: Box, line: LayerLine, word: LayerWord) -> bool:
    """Check whether a thin line goes through the middle of a word from end to end."""
    quarter = quarter_of(line.angle)
    if quarter is None:
        return False
    part, box = word.main, word.box
    level = quarter % 2 == 0
    low, high = (0, 2) if level else (1, 3)
    if min(strike[high], box[high]) - max(strike[low], box[low]) < 0.9 * (box[high] - box[low]):
        return False
    middle = (strike[1] + strike[3]) / 2 if level else (strike[0] + strike[2]) / 2
    thickness = strike[3] - strike[1] if level else strike[2] - strike[0]
    rise = (
        part.origin[1] - middle,
        middle - part.origin[0],
        middle - part.origin[1],
        part.origin[0] - middle,
    )
    return (
        thickness <= _STRIKE_THICK * part.size
        and _STRIKE_HEIGHTS[0] * part.size <= rise[quarter] <= _STRIKE_HEIGHTS[1] * part.size
    )


def _is_area(paint: Paint) -> bool:
    """Check whether a paint may cover a word; an outline only if it is a bar drawn as a thick line."""
    width, height = paint.box[2] - paint.box[0], paint.box[3] - paint.box[1]
    if paint.kind in _TEXTS or min(width, height) < _AREA:
        return False
    return paint.kind != "line" or (
        min(width, height) <= _BAR and max(width, height) >= 2 * min(width, height)
    )


class _Grounds:
    """Areas and pictures of a page, to look up what is painted where a word stands."""

    def __init__(self, paints: Sequence[Paint]) -> None:
        """Sort the paints by kind; lines are left out."""
        areas = [(order, paint) for order, paint in enumerate(paints) if _is_area(paint)]
        texts = [(order, paint) for order, paint in enumerate(paints) if paint.kind in _TEXTS]
        self._areas = _boxes([paint.box for _, paint in areas])
        self._area_orders = np.array([order for order, _ in areas], int)
        self._is_image = np.array([paint.kind == "image" for _, paint in areas], bool)
        self._texts = _boxes([paint.box for _, paint in texts])
        self._text_orders = np.array([order for order, _ in texts], int)
        self._is_outline = np.array([paint.kind == "outline" for _, paint in texts], bool)

    def are_over_areas(self, words: Sequence[LayerWord]) -> NDArray[np.bool_]:
        """Return which words have an area, painted before or after them, where most of their box is."""
        result = np.zeros(len(words), bool)
        boxes, areas = _boxes([word.box for word in words])[:, None], self._areas
        step = max(1, _COMPARISONS // max(1, len(areas)))
        for start in range(0, len(words) if len(areas) else 0, step):
            chunk = boxes[start : start + step]
            wide = np.minimum(areas[:, 2], chunk[..., 2]) - np.maximum(areas[:, 0], chunk[..., 0])
            high = np.minimum(areas[:, 3], chunk[..., 3]) - np.maximum(areas[:, 1], chunk[..., 1])
            extent = (chunk[..., 2] - chunk[..., 0]) * (chunk[..., 3] - chunk[..., 1])
            covers = (wide > 0) & (high > 0) & (wide * high >= _COVERS * extent)
            result[start : start + step] = covers.any(1)
        return result

    def is_under_picture(self, word: LayerWord) -> bool:
        """Check whether a picture is painted after a word, over it."""
        return bool((self._later(word) & self._is_image).any())

    def is_covered(self, word: LayerWord) -> bool:
        """Check whether anything is painted after a word, over it."""
        return bool(self._later(word).any())

    def is_outlined(self, word: LayerWord) -> bool:
        """Check whether the outline of letters is drawn where a word stands."""
        return bool((self._at(word) & self._is_outline).any())

    def is_replaced(self, word: LayerWord, line: LayerLine) -> bool:
        """Check whether an area was painted over a word, and then another text of its height over that."""
        orders = self._area_orders[self._over(word)]
        own_orders = self._text_orders[self._is_text_of(word.box) | self._is_text_of(line.box)]
        if not len(orders) or not len(own_orders) or orders.max() < own_orders.max():
            return False
        x0, y0, x1, y1 = word.box
        texts, middle = self._texts, (y0 + y1) / 2
        touches = (texts[:, 0] < x1) & (texts[:, 2] > x0) & (texts[:, 1] <= middle) & (middle <= texts[:, 3])
        alike = texts[:, 3] - texts[:, 1] <= _ALIKE * (y1 - y0)
        first = orders[orders > own_orders.max()].min()
        return bool((touches & alike & (self._text_orders > first)).any())

    def _is_text_of(self, box: Box) -> NDArray[np.bool_]:
        """Return which text begins and ends where a word or an upright line does, the nearest of several."""
        height, middle = box[3] - box[1], (box[1] + box[3]) / 2
        apart = np.abs(self._texts[:, [0, 2]] - np.array([box[0], box[2]])).sum(axis=1)
        apart[(self._texts[:, 1] > middle) | (self._texts[:, 3] < middle)] = np.inf
        nearest: NDArray[np.bool_] = apart <= min(height, apart.min(initial=np.inf) + 0.02 * height)
        return nearest

    def _at(self, word: LayerWord) -> NDArray[np.bool_]:
        """Return which texts stand where the middle of a word does."""
        x, y = (word.box[0] + word.box[2]) / 2, (word.box[1] + word.box[3]) / 2
        texts = self._texts
        here: NDArray[np.bool_] = (
            (texts[:, 0] <= x) & (x <= texts[:, 2]) & (texts[:, 1] <= y) & (y <= texts[:, 3])
        )
        return here

    def _over(self, word: LayerWord) -> NDArray[np.bool_]:
        """Return which areas take up most of a word's box."""
        if not len(self._areas):
            return np.zeros(0, bool)
        x0, y0, x1, y1 = word.box
        wide = np.minimum(self._areas[:, 2], x1) - np.maximum(self._areas[:, 0], x0)
        high = np.minimum(self._areas[:, 3], y1) - np.maximum(self._areas[:, 1], y0)
        covers: NDArray[np.bool_] = (wide > 0) & (high > 0) & (wide * high >= _COVERS * (x1 - x0) * (y1 - y0))
        return covers

    def _later(self, word: LayerWord) -> NDArray[np.bool_]:
        """Return which of them are painted after every text that stands where the word does."""
        covers = self._over(word)
        if not covers.any() or not len(self._texts):
            return covers
        here = self._at(word)
        last = self._text_orders[here].max() if here.any() else -1
        return covers & (self._area_orders > last)


def _boxes(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Return an array of shape (boxes, 4)."""
    return np.array(boxes, np.float64).reshape(-1, 4)


def _proved_reason(
    word: LayerWord, pixels: PagePixels, grounds: _Grounds, visible: Sequence[Box]
) -> str | None:
    """Return the reason why pixels prove a suspect hidden; None where they do not."""
    part = word.main
    if not part.is_drawn:
        no_ink = pixels.is_flat(word.box, any_ink=True)
        has_company = any(overlap(word.box, box) > 0.3 for box in visible)
        return "invisible" if no_ink or has_company else None
    is_covered = grounds.is_covered(word)
    if pixels.is_flat(word.box, any_ink=not any(character.isalnum() for character in word.text)):
        if is_covered:
            return "covered"
        return "same colour as the paper" if pixels.is_ground(word.box, part.colour) else "invisible"
    if not part.is_plain:
        return None
    if grounds.is_outlined(word):
        return None  # its outline may be what is seen
    if pixels.fills(word.box, part.colour) and pixels.is_ground(word.box, part.colour):
        return "covered" if is_covered else "same colour as the paper"
    return "covered" if is_covered and not pixels.shows(word.box, part.colour) else None


def _without(blocks: LayerBlocks, reasons: dict[int, str]) -> LayerBlocks:
    """Return the blocks without hidden words; lines and blocks left empty go."""
    result: LayerBlocks = []
    for block in blocks:
        lines = []
        for line in block:
            words = tuple(word for word in line.words if id(word) not in reasons)
            if words:
                lines.append(line if len(words) == len(line.words) else replace(line, words=words))
        if lines:
            result.append(lines)
    return result


def _hidden_texts(
    blocks: LayerBlocks, reasons: dict[int, str], size: tuple[float, float]
) -> Iterator[HiddenText]:
    """Yield the hidden words of each line, neighbours of one reason together."""
    for block in blocks:
        for line in block:
            run: list[LayerWord] = []
            last = ""
            for word in (*line.words, None):
                reason = reasons.get(id(word), "") if word is not None else ""
                if run and reason != last:
                    yield from hidden_text(run, last, size)
                    run = []
                if word is not None and reason:
                    run.append(word)
                last = reason


def hidden_text(words: Sequence[LayerWord], reason: str, size: tuple[float, float]) -> Iterator[HiddenText]:
    """Yield one hidden text of words; nothing where its centre is off the page."""
    box = page_box(union(word.box for word in words), size)
    if box is not None:
        yield HiddenText(" ".join(word.text for word in words), box, reason)
