"""The direction of reading on a page, from its words, and boxes on a page that is turned.

A word of several letters is wider than high unless it runs up or down the page; where the words of a line
follow each other says which way. Words of scripts that are written from right to left are not looked at.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from mmrag.types import Box, Word

LEAST_LETTERS = 3
"""Letters of a word whose shape is judged: two may be higher than wide anywhere."""

LEAST_NEIGHBOURS = 1 / 3
"""Part of the words that follow another on its line, if words are in reading order."""

CLEARLY_BACKWARDS = 0.8
"""Part of the neighbours of an upside-down page that go backwards; half of them do on shuffled words."""

CLEARLY = 1.2
"""Times as high as wide, or as wide as high."""


def is_upright(word: Word, aspect: float) -> bool | None:
    """Judge by its shape whether a word runs across the page (True) or along it; None if it is too short.

    Args:
        word: with a box in 0..1 of the page.
        aspect: width of the page divided by its height.
    """
    if len(word.text) < LEAST_LETTERS:
        return None
    width, height = (word.box[2] - word.box[0]) * aspect, word.box[3] - word.box[1]
    if width > CLEARLY * height:
        return True
    return False if height > CLEARLY * width else None


def turn_of(words: Sequence[Word], aspect: float) -> int:
    """Return the degrees (0, 90, 180, 270), clockwise, by which a page is turned to read most of its words.

    Args:
        words: in reading order.
        aspect: width of the page divided by its height.
    """
    words = [word for word in words if not _is_leftwards(word.text)]
    shapes = [is_upright(word, aspect) for word in words]
    pairs = [(first.box, second.box) for first, second in pairwise(words)]
    if sum(shape is False for shape in shapes) > sum(shape is True for shape in shapes):
        return 270 if _is_onwards(pairs, 1) else 90
    return 0 if _is_onwards(pairs, 0) else 180


def _is_onwards(pairs: Sequence[tuple[Box, Box]], axis: int) -> bool:
    """Decide whether words that are beside each other on an axis (0 across, 1 down) follow it.

    They do unless most clearly go the other way: words may come in no order at all, and then few neighbours
    share a line.
    """
    onwards = backwards = 0
    for first, second in pairs:
        if _share_line(first, second, 1 - axis):
            onwards += second[axis] >= first[axis + 2]
            backwards += second[axis + 2] <= first[axis]
    neighbours = onwards + backwards
    return neighbours < LEAST_NEIGHBOURS * len(pairs) or backwards < CLEARLY_BACKWARDS * max(neighbours, 1)


def _share_line(first: Box, second: Box, axis: int) -> bool:
    """Decide whether two boxes share most of their extent on an axis."""
    shared = min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis])
    return shared > 0.5 * min(first[axis + 2] - first[axis], second[axis + 2] - second[axis])


def _is_leftwards(text: str) -> bool:
    """Decide whether a word is written from right to left."""
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def turn_box(box: Box, degrees: int) -> Box:
    """Return the place of a box after its page is turned clockwise by 0, 90, 180 or 270 degrees."""
    x0, y0, x1, y1 = box
    if degrees == 90:
        return 1 - y1, x0, 1 - y0, x1
    if degrees == 180:
        return 1 - x1, 1 - y1, 1 - x0, 1 - y0
    if degrees == 270:
        return y0, 1 - x1, y1, 1 - x0
    return box
