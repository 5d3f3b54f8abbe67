"""Lines of OCR: cut from the picture in any of four directions, read, split into words with boxes.

Decisions taken here:

* A *direction* is the number of quarter turns, counter-clockwise, that make a line upright: 0 as it lies, 1
  where it is read from top to bottom, 2 upside down, 3 from bottom to top. A line's corners are kept in the
  order in which it is read, so that nothing else has to know of directions.
* A line is noise where the engine is unsure of it (below `UNSURE`) and it holds neither a known word of
  three letters nor a number of two digits; below `NOTHING_READ` it is noise whatever it holds. Right lines
  have .9 and more (the tenth percentile of clean and of photographed pages), the same lines upside down .6
  in the middle.
* The engine leaves out letters that its model does not know, and may be sure of the few it reads. Lines of
  known scripts have 1.2 characters and more for each height of theirs (down to receipts in one direction and
  Chinese in the other), lines in Cyrillic, Korean, Arabic or Hindi .6 and less.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mmrag.documents.layout import clip_box, words_of_run
from mmrag.documents.lexicon import is_known
from mmrag.types import Box, Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNSURE = 0.65
NOTHING_READ = 0.3
TALL = 1.5
"""Height over width from which a line is taken to be read from top to bottom or from bottom to top."""

LONG = 3.0
"""Length over height from which the number of characters tells something."""
SPARSE = 0.8
"""Characters for each height of a line below which most of them were not read."""

_WORD = re.compile(r"[^\W\d_]{3,}")
_NUMBER = re.compile(r"\d[\d.,:/-]*\d")


@dataclass(frozen=True)
class Character:
    """A visible character of a line.

    Attributes:
        text: one character.
        start, end: where it lies along the line, 0..1.
        confidence: 0..1.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Line:
    """A line that was recognised.

    Attributes:
        corners: ``(4, 2)`` pixels: where the line begins at its top, ends at its top, ends at its bottom,
            begins at its bottom, as it is read.
        text: with spaces.
        confidence: of the engine, 0..1; 0 where it reads nothing.
        characters: the visible ones; empty where the engine gave no places.
    """

    corners: NDArray[np.float32]
    text: str
    confidence: float
    characters: tuple[Character, ...] = ()

    @property
    def is_noise(self) -> bool:
        """Whether it is better left out than kept as text."""
        return is_noise(self.text, self.confidence)

    @property
    def is_foreign(self) -> bool:
        """Whether so few characters were read that the line must be in another script."""
        return self.is_long and len("".join(self.text.split())) < SPARSE * self._shape

    @property
    def is_long(self) -> bool:
        """Whether it is several times as long as high."""
        return self._shape >= LONG

    @property
    def _shape(self) -> float:
        """Length over height."""
        along = float(np.linalg.norm(self.corners[1] - self.corners[0]))
        return along / max(1.0, float(np.linalg.norm(self.corners[3] - self.corners[0])))


def is_noise(text: str, confidence: float) -> bool:
    """Check whether the text of a line that the engine is unsure of is no text at all."""
    if confidence >= UNSURE:
        return False
    return confidence < NOTHING_READ or not (_NUMBER.search(text) or any(map(is_known, _WORD.findall(text))))


def is_tall(quad: NDArray[np.float32]) -> bool:
    """Check whether a quadrilateral is much higher than wide."""
    width, height = sides(quad)
    return height >= TALL * width


def sides(quad: NDArray[np.float32]) -> tuple[float, float]:
    """Return the longer of the two widths and of the two heights of a quadrilateral, in pixels."""
    top, right, bottom, left = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    return float(max(top, bottom)), float(max(left, right))


def in_direction(quad: NDArray[np.float32], direction: int) -> NDArray[np.float32]:
    """Reorder the corners (top left, top right, bottom right, bottom left) as a line is read."""
    return np.roll(quad, -direction, axis=0)


def cut(picture: NDArray[np.uint8], corners: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut a line out of the picture so that it is upright."""
    width, height = (max(1, int(side)) for side in sides(corners))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(np.ascontiguousarray(corners, dtype=np.float32), target)
    line = cv2.warpPerspective(
        picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC
    )
    return np.asarray(line, dtype=np.uint8)


def characters_of(text: str, info: Any) -> tuple[Character, ...]:  # noqa: ANN401  (RapidOCR is not typed)
    """Read RapidOCR's columns of characters (its `WordInfo`); empty where they do not fit the text."""
    visible = [(position, letter) for position, letter in enumerate(text) if not letter.isspace()]
    columns = [column for word in getattr(info, "word_cols", ()) for column in word]
    confidences = list(getattr(info, "confs", ()))
    length = float(getattr(info, "line_txt_len", 0.0))
    if len(columns) != len(visible) or len(confidences) != len(text) or length <= 0:
        return ()
    centres = (np.asarray(columns, dtype=float) + 0.5) / length
    starts, ends = _extents(centres)
    return tuple(
        Character(letter, float(start), float(end), float(confidences[position]))
        for (position, letter), start, end in zip(visible, starts, ends, strict=True)
    )


def _extents(centres: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give each character the median step as its width, but no more than half the way to its neighbours."""
    steps = np.diff(centres)
    half = float(np.median(steps)) / 2 if len(steps) else 0.5
    before = np.concatenate([[half], np.minimum(steps / 2, half)])
    after = np.concatenate([np.minimum(steps / 2, half), [half]])
    return np.clip(centres - before, 0.0, 1.0), np.clip(centres + after, 0.0, 1.0)


def words_of_line(line: Line, size: tuple[float, float]) -> list[Word]:
    """Split a line into words.

    Args:
        line: corners in pixels.
        size: width and height of the picture in pixels.

    Returns:
        Words in the order of the line, boxes in 0..1 of the picture. A word's box reaches from its first
        character to its last; without places the line is divided by its number of characters.
    """
    pieces = line.text.split()
    if len(line.characters) != sum(map(len, pieces)):
        return _divide_evenly(line, size)
    words = []
    first = 0
    for piece in pieces:
        own_characters = line.characters[first : first + len(piece)]
        first += len(piece)
        box = clip_box(_part(line.corners, own_characters[0].start, own_characters[-1].end, size))
        if box is not None:
            confidence = sum(character.confidence for character in own_characters) / len(own_characters)
            words.append(Word(piece, box, None, confidence))
    return words


def _divide_evenly(line: Line, size: tuple[float, float]) -> list[Word]:
    """Split a line of which only the text is known."""
    even_words = words_of_run(line.text, (0.0, 0.0, 1.0, 1.0))
    parts = [(word.text, _part(line.corners, word.box[0], word.box[2], size)) for word in even_words]
    boxes = [(text, clip_box(part)) for text, part in parts]
    return [Word(text, box, None, line.confidence) for text, box in boxes if box is not None]


def _part(corners: NDArray[np.float32], start: float, end: float, size: tuple[float, float]) -> Box:
    """Return the upright box, in 0..1, of a line from one share of its length to another."""
    top_left, top_right, bottom_right, bottom_left = corners
    points = np.array(
        [
            top_left + (top_right - top_left) * start,
            top_left + (top_right - top_left) * end,
            bottom_left + (bottom_right - bottom_left) * start,
            bottom_left + (bottom_right - bottom_left) * end,
        ]
    )
    (x0, y0), (x1, y1) = points.min(axis=0) / size, points.max(axis=0) / size
    return (float(x0), float(y0), float(x1), float(y1))


def reading_direction(words: Sequence[Word]) -> list[Word]:
    """Put the words of a line that is read from right to left in their order, letters too.

    The engine reads a picture from left to right, so Arabic and Hebrew come back to front. Numbers and
    Latin words keep their own order.
    """
    with_letters = [word for word in words if any(letter.isalpha() for letter in word.text)]
    if sum(map(_is_right_to_left, words)) * 2 <= len(with_letters):
        return list(words)
    ordered_words: list[Word] = []
    run: list[Word] = []
    for word in reversed(words):
        if _is_right_to_left(word):
            ordered_words += [*reversed(run), Word(word.text[::-1], word.box, word.tail, word.confidence)]
            run = []
        else:
            run.append(word)
    return [*ordered_words, *reversed(run)]


def _is_right_to_left(word: Word) -> bool:
    """Check whether a word is of Hebrew or Arabic letters (Unicode blocks 0590-08FF and their forms)."""
    return any("\u0590" <= letter <= "\u08ff" or "\ufb1d" <= letter <= "\ufefc" for letter in word.text)


def skew(lines: Sequence[Line]) -> float:
    """Return the angle in radians by which a picture's long lines fall to the right; 0 without any."""
    steps = [line.corners[1] - line.corners[0] for line in lines if line.is_long]
    angles = [float(np.arctan2(down, right)) for right, down in steps if right > abs(down)]
    return float(np.median(angles)) if angles else 0.0


def straight_box(line: Line, angle: float, size: tuple[float, float]) -> Box:
    """Return the box, in units of the picture's sides, that a line has when the skew is taken out.

    It is for ordering lines, and may leave the picture.
    """
    middle = np.array(size, dtype=float) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = ((line.corners - middle) @ turn + middle) / size
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return (float(x0), float(y0), float(x1), float(y1))
