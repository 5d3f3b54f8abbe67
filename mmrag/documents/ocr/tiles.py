"""Tall and wide pictures: looked at in tiles along the longer side, so that nothing is scaled away.

Decisions taken here:

* A picture whose sides are within `LONGEST` of each other is one tile. Another is given to OCR with the
  resolution of a page along its shorter side, and text is found tile by tile.
* Tiles overlap by an eighth, which is more than the largest usual line. What both tiles of a seam see is
  joined into one quadrilateral, so that a line that a seam cuts is read once and whole: recognition cuts
  lines from the whole picture.
* A picture is scaled down where it would be more than `MOST_TILES` pages of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 2.0
MOST_TILES = 12
TILE_SHAPE = 2**0.5  # longer over shorter side of a tile: a page
OVERLAP = 1 / 8
SHARED = 0.5  # of the smaller part in the overlap: two finds are the same line


def picture_side(width: float, height: float, page_side: int) -> int:
    """Return the longer side in pixels at which a page of this shape is given to OCR.

    Args:
        width: of the page, in any unit.
        height: in the same unit.
        page_side: `ReaderSettings.ocr_max_side`, for a page of usual shape.
    """
    ratio = max(width, height) / min(width, height)
    if ratio <= LONGEST:
        return page_side
    page_ratio = ratio / TILE_SHAPE
    return round(page_side * min(page_ratio, math.sqrt(MOST_TILES * page_ratio)))


def tile_ranges(length: int, across: int) -> list[tuple[int, int]]:
    """Cut the longer side of a picture into overlapping ranges of pixels.

    Args:
        length: of the longer side, at least 1.
        across: length of the shorter side, at least 1.

    Returns:
        ``(start, end)`` in order; together they cover ``0..length``.
    """
    if length <= LONGEST * across:
        return [(0, length)]
    side = round(max(across * TILE_SHAPE, 320))
    overlap = round(side * OVERLAP)
    if length <= side:
        return [(0, length)]
    count = -(-(length - overlap) // (side - overlap))
    starts = [round(index * (length - side) / max(1, count - 1)) for index in range(count)]
    return [(start, start + side) for start in starts]


def join_seams(
    quads_by_tile: Sequence[Sequence[NDArray[np.float32]]],
    ranges: Sequence[tuple[int, int]],
    axis: int,
) -> list[NDArray[np.float32]]:
    """Join what neighbouring tiles found of the same line.

    Args:
        quads_by_tile: quadrilaterals ``(4, 2)`` of each tile, in pixels of the whole picture.
        ranges: of the tiles along the axis.
        axis: 0 for tiles beside each other, 1 for tiles under each other.

    Returns:
        Quadrilaterals; each line once.
    """
    joined_quads = list(quads_by_tile[0]) if quads_by_tile else []
    for tile in range(1, len(quads_by_tile)):
        zone = (ranges[tile][0], ranges[tile - 1][1])
        for quad in quads_by_tile[tile]:
            same_positions = [
                index
                for index, joined_quad in enumerate(joined_quads)
                if _is_same(quad, joined_quad, zone, axis)
            ]
            parts = [quad, *(joined_quads[index] for index in same_positions)]
            joined_quads = [
                joined_quad for index, joined_quad in enumerate(joined_quads) if index not in same_positions
            ]
            joined_quads.append(quad if len(parts) == 1 else hull(parts))
    return joined_quads


def _is_same(
    first: NDArray[np.float32], second: NDArray[np.float32], zone: tuple[int, int], axis: int
) -> bool:
    """Check whether two finds share half of the smaller one's part in the overlap of their tiles."""
    low = np.maximum(first.min(axis=0), second.min(axis=0))
    high = np.minimum(first.max(axis=0), second.max(axis=0))
    low[axis], high[axis] = max(low[axis], zone[0]), min(high[axis], zone[1])
    if (high <= low).any():
        return False
    shared = float(np.prod(high - low))
    return shared >= SHARED * min(_area_in(first, zone, axis), _area_in(second, zone, axis))


def _area_in(quad: NDArray[np.float32], zone: tuple[int, int], axis: int) -> float:
    """Return the area of a quadrilateral's upright box inside the overlap."""
    low, high = quad.min(axis=0), quad.max(axis=0)
    low[axis], high[axis] = max(low[axis], zone[0]), min(high[axis], zone[1])
    return float(np.prod(np.maximum(high - low, 0)))


def hull(quads: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the smallest rectangle, which may be slanted, around quadrilaterals; corners as they lie."""
    points = cv2.boxPoints(cv2.minAreaRect(np.concatenate(list(quads)).astype(np.float32)))
    by_x = points[np.argsort(points[:, 0], kind="stable")]
    top_left, bottom_left = by_x[:2][np.argsort(by_x[:2, 1], kind="stable")]
    top_right, bottom_right = by_x[2:][np.argsort(by_x[2:, 1], kind="stable")]
    return np.array([top_left, top_right, bottom_right, bottom_left], dtype=np.float32)
