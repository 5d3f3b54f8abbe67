"""Boxes that an answer cites against the boxes that a pack marks, on the same pages.

Boxes are ``(x0, y0, x1, y1)`` in 0..1 of the page. Only boxes of the same file and page meet. Definitions
of a question's figures, with *hit* meaning an IoU of at least the threshold:

* recall: share of the marked boxes that a cited box hits (CiteVQA's recall at .5);
* precision: share of the cited boxes that hit a marked box; F1: harmonic mean of both, 0 if both are 0;
* coverage: share of the area cited (overlaps counted once) that lies inside marked boxes;
* centre: share of the cited boxes whose centre lies in a marked box;
* inside: share of the marked boxes whose centre lies in a cited box.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmrag.blocks import Box

THRESHOLDS = (0.25, 0.5)
LINE_GAP = 1.0
"""Widest gap between two lines of one block, in heights of the taller line: double spacing."""


class PlacedBox(NamedTuple):
    """A box on a page of a file: file name, 0-based page, box."""

    file: str
    page: int
    box: Box

    @property
    def page_key(self) -> tuple[str, int]:
        """Return file name and page, as `mmrag.evaluation.PageKey`."""
        return self.file, self.page


def joined_lines(lines: Sequence[Box]) -> tuple[Box, ...]:
    """Join the lines of a quote into as few boxes as its columns and jumps allow.

    A line belongs to the box before it if it lies to the right on the same line, or under it with a gap of at
    most `LINE_GAP`. A quote over a column break, or a table's header and a row far below, give a box each.
    """
    boxes: list[Box] = []
    last: Box | None = None
    for line in lines:
        if last is not None and _continues(boxes[-1], last, line):
            boxes[-1] = _hull(boxes[-1], line)
        else:
            boxes.append(line)
        last = line
    return tuple(boxes)


def iou(first: Box, second: Box) -> float:
    """Compute intersection over union, 0..1; 0 for boxes without area."""
    common = _overlap(first, second)
    union = _area(first) + _area(second) - common
    return common / union if union > 0 else 0.0


def score_boxes(cited: Iterable[PlacedBox], gold: Iterable[PlacedBox]) -> dict[str, float]:
    """Compute a question's figures, 0..1, by name; all are 0 where nothing is cited.

    Args:
        cited: of the answer; equal ones count once.
        gold: of the pack, at least one.

    Returns:
        ``recall@0.25``, ``precision@0.25``, ``f1@0.25``, the same at 0.5, ``coverage``, ``centre`` and
        ``inside``.

    Raises:
        ValueError: there is no gold box.
    """
    mine, gold = list(dict.fromkeys(cited)), list(dict.fromkeys(gold))
    if not gold:
        raise ValueError("a question must have at least one marked box, got none. Leave it out of the mean.")
    figures: dict[str, float] = {}
    overlaps = np.array([[_placed_iou(box, mark) for mark in gold] for box in mine]).reshape(-1, len(gold))
    for threshold in THRESHOLDS:
        hits = overlaps >= threshold
        recall, precision = _share(list(np.any(hits, axis=0))), _share(list(np.any(hits, axis=1)))
        figures[f"recall@{threshold}"] = recall
        figures[f"precision@{threshold}"] = precision
        figures[f"f1@{threshold}"] = 2 * recall * precision / (recall + precision) if recall else 0.0
    figures["coverage"] = _coverage(mine, gold)
    figures["centre"] = _share([any(_holds_centre(mark, box) for mark in gold) for box in mine])
    figures["inside"] = _share([any(_holds_centre(box, mark) for box in mine) for mark in gold])
    return figures


def on_shared_pages(
    cited: Sequence[PlacedBox], gold: Sequence[PlacedBox]
) -> tuple[list[PlacedBox], list[PlacedBox]]:
    """Return the cited and the marked boxes of pages that have both."""
    pages = {box.page_key for box in cited} & {box.page_key for box in gold}
    return [b for b in cited if b.page_key in pages], [b for b in gold if b.page_key in pages]


def union_area(boxes: Sequence[Box], within: Sequence[Box] | None = None) -> float:
    """Compute the area of a union of boxes, or of the part of it that lies in the union of others."""
    every = [*boxes, *(within or ())]
    if not boxes:
        return 0.0
    xs = np.unique([value for box in every for value in (box[0], box[2])])
    ys = np.unique([value for box in every for value in (box[1], box[3])])
    cells = _cells(boxes, xs, ys)
    if within is not None:
        cells &= _cells(within, xs, ys)
    return float((cells * np.diff(ys)[:, None] * np.diff(xs)[None, :]).sum())


def _cells(boxes: Sequence[Box], xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the cells of the grid of edges that the boxes cover, ``(rows, columns)``."""
    cells = np.zeros((len(ys) - 1, len(xs) - 1), bool)
    for x0, y0, x1, y1 in boxes:
        left, right = np.searchsorted(xs, (x0, x1))
        top, bottom = np.searchsorted(ys, (y0, y1))
        cells[top:bottom, left:right] = True
    return cells


def _coverage(cited: Sequence[PlacedBox], gold: Sequence[PlacedBox]) -> float:
    total = inside = 0.0
    for page in {box.page_key for box in cited}:
        mine = [box.box for box in cited if box.page_key == page]
        total += union_area(mine)
        inside += union_area(mine, [box.box for box in gold if box.page_key == page])
    return inside / total if total else 0.0


def _continues(block: Box, last: Box, line: Box) -> bool:
    middle = (line[1] + line[3]) / 2
    if last[1] <= middle <= last[3]:  # a piece of the same line
        return line[0] >= last[0]
    gap = line[1] - last[3]
    height = max(last[3] - last[1], line[3] - line[1])
    return middle > last[3] and gap <= LINE_GAP * height and line[0] < block[2] and block[0] < line[2]


def _hull(first: Box, second: Box) -> Box:
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def _placed_iou(first: PlacedBox, second: PlacedBox) -> float:
    return iou(first.box, second.box) if first.page_key == second.page_key else 0.0


def _holds_centre(outer: PlacedBox, inner: PlacedBox) -> bool:
    x0, y0, x1, y1 = inner.box
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return (
        outer.page_key == inner.page_key
        and outer.box[0] <= x <= outer.box[2]
        and outer.box[1] <= y <= outer.box[3]
    )


def _overlap(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return width * height if width > 0 and height > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _share(flags: Sequence[bool]) -> float:
    return float(np.mean(flags)) if len(flags) else 0.0
