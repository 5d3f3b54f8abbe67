"""Which parts of a page may hold text that its text layer has not: found on a small picture of the page.

Decisions taken here (general rules; what they cost on real pages is in docs/lab-log.md):

* **All of the page**: it has no word and some ink, or fewer than 100 letters and digits
  (`layer_quality.is_sparse`) while at least 2 % of its area is ink outside the words.
* **Pictures** of at least 1 % of the page, in which something is drawn outside the words: at least `BUSY` of
  their pixels differ from their left neighbour. Pictures that touch are one (a scan often comes in strips).
* **All of the page** again, where text may be drawn as curves: if that holds for `BUSY_REST` of the page's
  pixels outside words and pictures. A full page of print has .15 to .2, lines of a chart or a table .02.

Whether there is text is then for OCR's finder to say; a region without any costs nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmrag.documents.ocr.layer_quality import SPARSE_INK
from mmrag.types import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

EVEN = 24  # levels of 255 that are still the same colour
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
LEAST_AREA = 0.01
LEAST_SIDE = 0.02
BUSY = 0.02
BUSY_REST = 0.04
MOST = 0.7  # of the page: a picture of it is the page


def ink_mask(picture: Image, boxes: Sequence[Box]) -> NDArray[np.bool_]:
    """Mark the pixels outside the boxes that differ from the most common grey level."""
    grey = _grey(picture)
    background = int(np.bincount(grey.ravel(), minlength=256).argmax())
    ink = np.abs(grey - background) > EVEN
    _blank(ink, boxes)
    return ink


def edge_mask(picture: Image, boxes: Sequence[Box]) -> NDArray[np.bool_]:
    """Mark the pixels outside the boxes that differ from their left neighbour; an even area has none."""
    grey = _grey(picture)
    edges = np.zeros(grey.shape, dtype=bool)
    edges[:, 1:] = np.abs(np.diff(grey, axis=1)) > EVEN
    _blank(edges, boxes)
    return edges


def _grey(picture: Image) -> NDArray[np.int16]:
    """Return grey levels that can be subtracted."""
    return np.asarray(picture.convert("L")).astype(np.int16)


def _blank(mask: NDArray[np.bool_], boxes: Sequence[Box]) -> None:
    """Clear boxes with a pixel more on each side: an antialiased edge is the word's own."""
    height, width = mask.shape
    for x0, y0, x1, y1 in boxes:
        top, left = max(0, int(y0 * height) - 1), max(0, int(x0 * width) - 1)
        mask[top : int(y1 * height) + 2, left : int(x1 * width) + 2] = False


def regions_to_read(
    picture: Image, words: Sequence[Box], pictures: Sequence[Box], sparse: bool
) -> tuple[Box, ...]:
    """List the parts of a page that may hold text without a word of the layer; empty for none.

    Args:
        picture: the page, a few hundred pixels.
        words: boxes of the layer's words, in 0..1.
        pictures: boxes of its raster pictures, in 0..1.
        sparse: whether the layer has so few letters that it may be a stamp over a picture.
    """
    share = float(ink_mask(picture, words).mean())
    if (not words and share > 0) or (sparse and share >= SPARSE_INK):
        return (WHOLE,)
    edges = edge_mask(picture, words)
    large = [box for box in join_boxes(pictures) if _area(box) >= LEAST_AREA and _side(box) >= LEAST_SIDE]
    regions = [box for box in large if _share(edges, box) >= BUSY]
    if any(_area(box) >= MOST for box in regions):
        return (WHOLE,)
    _blank(edges, large)
    if float(edges.mean()) >= BUSY_REST:
        return (WHOLE,)
    return tuple(regions)


def _share(mask: NDArray[np.bool_], box: Box) -> float:
    """Measure the marked share of a box."""
    height, width = mask.shape
    part = mask[
        int(box[1] * height) : round(box[3] * height) + 1, int(box[0] * width) : round(box[2] * width) + 1
    ]
    return float(part.mean()) if part.size else 0.0


def join_boxes(boxes: Sequence[Box]) -> list[Box]:
    """Join boxes that touch or overlap, clipped to the page, until none does."""
    left = [(max(0.0, box[0]), max(0.0, box[1]), min(1.0, box[2]), min(1.0, box[3])) for box in boxes]
    left = [box for box in left if box[2] > box[0] and box[3] > box[1]]
    separate: list[Box] = []
    while left:
        box = left.pop()
        near = next((other_box for other_box in separate if _touch(box, other_box)), None)
        if near is None:
            separate.append(box)
            continue
        separate.remove(near)
        left.append((min(box[0], near[0]), min(box[1], near[1]), max(box[2], near[2]), max(box[3], near[3])))
    return sorted(separate, key=lambda box: (box[1], box[0]))


def _touch(first: Box, second: Box, gap: float = 0.004) -> bool:
    """Check whether two boxes are closer than a hair (0.4 % of the page)."""
    return (
        first[0] <= second[2] + gap
        and second[0] <= first[2] + gap
        and first[1] <= second[3] + gap
        and second[1] <= first[3] + gap
    )


def _area(box: Box) -> float:
    """Return the share of the page that a box covers."""
    return (box[2] - box[0]) * (box[3] - box[1])


def _side(box: Box) -> float:
    """Return the shorter side of a box."""
    return min(box[2] - box[0], box[3] - box[1])
