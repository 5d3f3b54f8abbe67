"""Pixels of a page as a proof that a word is seen: pure functions on a drawn page.

Boxes are points of the page as shown. A word's box is as high as its line, so that it holds ground as well
as ink: where all of it has one colour, nothing is written there that can be seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmrag.types import Box

if TYPE_CHECKING:
    from PIL.Image import Image

SCALE = 100 / 72  # pixels a point
MOST_PIXELS = 4_000_000
LEAST_LETTER = 10.0  # pixels that the smallest suspect's font size should have
MOST_SCALE = 3.0
FLAT = 12  # levels of 255
CONTRAST = 1.1  # by WCAG 2's formula; #f4f4f4 on white, #101010 on black
_SCAN_NOISE = 24  # levels that the paper of a scan varies by
_FILLS = 0.6
_TOWARDS = 0.15
_ASIDE = 0.25
_NEAR = 40  # levels from a colour to a stroke of it


@functools.lru_cache(1024)  # a page has few colours and many words
def luminance(colour: tuple[int, int, int]) -> float:
    """Return the relative luminance, 0..1, of an sRGB colour (WCAG 2)."""
    parts = [level / 255 for level in colour]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else float(((part + 0.055) / 1.055) ** 2.4) for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colour: tuple[int, int, int], ground: tuple[int, int, int]) -> float:
    """Return the contrast of two colours, 1..21 (WCAG 2)."""
    levels = luminance(colour), luminance(ground)
    return (max(levels) + 0.05) / (min(levels) + 0.05)


def is_same(colour: tuple[int, int, int], ground: tuple[int, int, int]) -> bool:
    """Check whether an eye takes two colours for one."""
    apart = max(abs(a - b) for a, b in zip(colour, ground, strict=True))
    return apart <= FLAT and contrast(colour, ground) < CONTRAST


class PagePixels:
    """A drawn page, to ask what is seen in a box."""

    def __init__(self, draw: Callable[[float], Image], size: tuple[float, float], letter: float) -> None:
        """Draw the page at 100 dpi, finer where letters of `letter` points would have hardly any pixels."""
        scale = min(MOST_SCALE, max(SCALE, LEAST_LETTER / max(letter, 1e-3)))
        scale = min(scale, (MOST_PIXELS / (size[0] * size[1])) ** 0.5)
        self._pixels = np.asarray(draw(scale).convert("RGB")).astype(np.int16)
        self._scale = (self._pixels.shape[1] / size[0], self._pixels.shape[0] / size[1])

    def is_flat(self, box: Box, *, any_ink: bool) -> bool:
        """Check whether a word's box has one colour.

        Args:
            box: of the word.
            any_ink: look also above and under the letters, and take the noise of a scan for one colour.
        """
        region = self._region(box, -0.1 if any_ink else 0.15)
        if not region.size:
            return False
        least, most = region.min(axis=0), region.max(axis=0)
        apart = int((most - least).max())
        if any_ink:
            return apart <= _SCAN_NOISE
        if apart > FLAT:
            return False
        return contrast(_colour(least), _colour(most)) < CONTRAST

    def is_ground(self, box: Box, colour: tuple[int, int, int]) -> bool:
        """Check whether most of what surrounds a word has this colour."""
        around = self._region(box, -0.25)
        return is_same(colour, _most_common(around)) if around.size else False

    def fills(self, box: Box, colour: tuple[int, int, int]) -> bool:
        """Check whether most of a word's box has this colour: more than letters take up."""
        region = self._region(box, 0.15)
        if not region.size:
            return False
        near = (np.abs(region - np.array(colour, np.int16)) <= FLAT).all(axis=1)
        return float(near.mean()) >= _FILLS

    def shows(self, box: Box, colour: tuple[int, int, int]) -> bool:
        """Check whether pixels of a word's box lie between its commonest colour and this one."""
        pixels = self._region(box, 0.15)
        if not pixels.size:
            return True
        near = (np.abs(pixels - np.array(colour, np.int16)) <= _NEAR).all(axis=1)
        if 0 < near.mean() < 0.5:
            return True  # strokes of its own colour: the usual case, without looking for the ground
        region = pixels.astype(np.float64)
        ground = np.array(_most_common(region), np.float64)
        towards = np.array(colour, np.float64) - ground
        length = float(np.linalg.norm(towards))
        if length < FLAT:
            return True
        along = (region - ground) @ towards / length**2
        aside = np.linalg.norm(region - ground - along[:, None] * towards, axis=1)
        return bool(((along >= _TOWARDS) & (aside <= _ASIDE * length)).any())

    def _region(self, box: Box, shrink: float) -> NDArray[np.int16]:
        """Return the pixels, (n, 3), of a box made lower by this fraction of its height at both sides."""
        x0, y0, x1, y1 = box
        margin = shrink * min(x1 - x0, y1 - y0)
        across = margin if shrink < 0 else 0.0
        if x1 - x0 >= y1 - y0:
            x0, x1, y0, y1 = x0 + across, x1 - across, y0 + margin, y1 - margin
        else:
            x0, x1, y0, y1 = x0 + margin, x1 - margin, y0 + across, y1 - across
        left, right = max(0, round(x0 * self._scale[0])), round(x1 * self._scale[0])
        top, bottom = max(0, round(y0 * self._scale[1])), round(y1 * self._scale[1])
        return self._pixels[top : max(bottom, top + 1), left : max(right, left + 1)].reshape(-1, 3)


def _most_common(pixels: NDArray[np.generic]) -> tuple[int, int, int]:
    """Return the commonest colour of (n, 3) pixels, in steps of 8 levels, as the median of its pixels."""
    steps = pixels.astype(np.int64) >> 3
    keys = steps[:, 0] << 10 | steps[:, 1] << 5 | steps[:, 2]
    values, counts = np.unique(keys, return_counts=True)
    of_colour = pixels[keys == values[counts.argmax()]]
    return _colour(np.median(of_colour, axis=0))


def _colour(levels: NDArray[np.generic]) -> tuple[int, int, int]:
    """Convert three levels to whole numbers."""
    red, green, blue = (int(level) for level in levels)
    return red, green, blue
