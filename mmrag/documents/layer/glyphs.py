"""Words of a text layer with what is known of their drawing: size, colour, baseline, direction.

Both renderers make these of their own library's output; everything that is decided about a layer
(`marks`, `doubles`, `spacing`, `direction`, `visibility`) is decided on them, so that it is decided alike.
Lengths are points of the page as shown, origin top left, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mmrag.documents.layout import clip_box
from mmrag.types import Box, Word

Colour = tuple[int, int, int]
"""Red, green and blue, 0..255."""


@dataclass(frozen=True, slots=True)
class Part:
    """Characters of one word that are drawn in one style.

    Attributes:
        text: one character or more, no white space.
        box: x0, y0, x1, y1 in points.
        size: of the font in points, as shown.
        origin: x and y of the first character's origin, on the baseline.
        colour: of the fill, or of the outline where only that is drawn.
        opacity: 0..1.
        is_drawn: False for PDF render mode 3 (neither filled nor stroked).
        is_plain: whether `colour` is known to be what is painted (not a pattern, not a clip).
    """

    text: str
    box: Box
    size: float
    origin: tuple[float, float]
    colour: Colour = (0, 0, 0)
    opacity: float = 1.0
    is_drawn: bool = True
    is_plain: bool = True


@dataclass(frozen=True, slots=True)
class LayerWord:
    """A run of characters without white space; its parts follow each other and make up its text."""

    text: str
    box: Box
    parts: tuple[Part, ...]

    @property
    def main(self) -> Part:
        """Return the part with the most characters, the first of several."""
        return self.parts[0] if len(self.parts) == 1 else max(self.parts, key=lambda part: len(part.text))


@dataclass(frozen=True, slots=True)
class LayerLine:
    """Words of one line in the order of the file.

    Attributes:
        words: at least one.
        angle: in degrees, clockwise as shown, -180..180; 0 reads from left to right, 90 downwards.
    """

    words: tuple[LayerWord, ...]
    angle: float = 0.0

    @property
    def text(self) -> str:
        """The words joined by one space."""
        return " ".join(word.text for word in self.words)

    @property
    def box(self) -> Box:
        """The smallest box that holds all words."""
        return union(word.box for word in self.words)


LayerBlocks = list[list[LayerLine]]
"""Blocks of lines, in the order in which the library gives them."""


def union(boxes: Iterable[Box]) -> Box:
    """Return the smallest box that holds all boxes (at least one)."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def overlap(box: Box, cover: Box) -> float:
    """Return the fraction of `box` that `cover` covers, 0..1; 0 for a box without area."""
    width = min(box[2], cover[2]) - max(box[0], cover[0])
    height = min(box[3], cover[3]) - max(box[1], cover[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return width * height / area if width > 0 and height > 0 and area > 0 else 0.0


def word_of(parts: Sequence[Part]) -> LayerWord:
    """Make a word of its parts, in their order."""
    if len(parts) == 1:
        return LayerWord(parts[0].text, parts[0].box, tuple(parts))
    box = union(part.box for part in parts)
    return LayerWord("".join(part.text for part in parts), box, tuple(parts))


def with_text(word: LayerWord, text: str) -> LayerWord:
    """Return the word with another text, its parts joined to one."""
    part = replace(word.main, text=text, box=word.box, origin=word.parts[0].origin)
    return LayerWord(text, word.box, (part,))


def page_words(line: LayerLine, size: tuple[float, float]) -> list[Word]:
    """Convert a line to words with boxes in 0..1; words whose centre is off the page are left out."""
    words: list[Word] = []
    for word in line.words:
        box = page_box(word.box, size)
        if box is not None:
            words.append(Word(word.text, box))
    return words


def page_box(box: Box, size: tuple[float, float]) -> Box | None:
    """Convert points to 0..1 of the page; None for a box whose centre is off the page."""
    return clip_box((box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]))


def quarter_of(angle: float) -> int | None:
    """Return the quarter turns, 0..3, of a direction within 10 degrees of one; None for a slanted one.

    Scans lie askew by a few degrees, and their text layers with them; what is slanted on purpose
    (watermarks, labels under the bars of a chart) leans by 20 degrees and more.
    """
    quarter = round(angle / 90)
    return quarter % 4 if abs(angle - 90 * quarter) <= SKEW else None


SKEW = 10.0


def angle_of(direction: Sequence[float]) -> float:
    """Return the angle, in degrees, of a direction (x to the right, y downwards)."""
    return math.degrees(math.atan2(direction[1], direction[0]))
