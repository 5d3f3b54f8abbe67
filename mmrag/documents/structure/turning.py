"""The direction of reading on a page, from its words, and boxes on a page that is turned.

A word of several letters is wider than high unless it runs up or down the page; where the words of a line
follow each other says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mmrag.types import Box, Word

LEAST_LETTERS = 3
"""Letters of a word whose shape is judged: two may be higher than wide anywhere."""

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
    """Return the degrees (0, 90, 270), clockwise, by which the page is turned to read most of its words.

    Args:
        words: in reading order.
        aspect: width of the page divided by its height.
    """
    shapes = [is_upright(word, aspect) for word in words]
    if sum(shape is False for shape in shapes) <= sum(shape is True for shape in shapes):
        return 0
    downwards = upwards = 0
    for first, second in pairwise(words):
        if _share_column(first.box, second.box):
            downwards += second.box[1] >= first.box[3]
            upwards += second.box[3] <= first.box[1]
    return 90 if upwards > downwards else 270


def _share_column(first: Box, second: Box) -> bool:
    """Decide whether two boxes share most of their extent across the page."""
    shared = min(first[2], second[2]) - max(first[0], second[0])
    return shared > 0.5 * min(first[2] - first[0], second[2] - second[0])


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
