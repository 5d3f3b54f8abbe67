"""Reading order of words on a page: lines, columns one after the other, rows of tables kept.

A recursive cut of the page into blocks (Nagy and Seth 1984, XY-cut), with one change: before a block is cut
into strips from top to bottom, strips that one white gutter runs through are kept together, so that two
columns are read one after the other even if white space runs across both. A gutter between cells of a table
looks the same, but its cells hold few words; a table is read row by row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmrag.embedders.mini.letters import ReadWord

_GUTTER = 0.8  # of the usual height of a word: white space at least this wide separates columns
_BODY = 0.6  # of a word's height: the part that does not overlap neighbouring lines
_FEWEST_WORDS = 2.5  # a line of a column, on average; cells of tables hold fewer
_SLOPES = np.linspace(-0.04, 0.04, 33)
_BETTER = 1.1  # factor by which lines must be sharper for a page to count as skewed


def reading_order(words: Sequence[ReadWord]) -> list[list[int]]:
    """Order words; return their numbers line by line, every word once.

    Args:
        words: boxes in any unit that is the same in both directions (pixels, not cells).
    """
    if not words:
        return []
    boxes = _upright(np.array([word.box for word in words], np.float64))
    height = float(np.median(boxes[:, 3] - boxes[:, 1])) or 1.0
    return [line.tolist() for line in _block(boxes, np.arange(len(words)), height)]


def _upright(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotate the boxes so that lines are level: on a skewed page white space separates nothing."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    unit = max(float(np.median(boxes[:, 3] - boxes[:, 1])) / 3, 1e-9)

    def sharpness(slope: float) -> float:
        level = np.round((y - slope * x) / unit).astype(np.intp)
        return float(np.square(np.bincount(level - level.min())).sum())

    if np.ptp(y) / unit > 1e6:
        return boxes
    by_slope = [sharpness(slope) for slope in _SLOPES]
    best = int(np.argmax(by_slope))
    slope = float(_SLOPES[best]) if by_slope[best] > _BETTER * sharpness(0.0) else 0.0
    down, right = -slope * x, slope * y
    return boxes + np.stack([right, down, right, down], axis=1)


def _block(boxes: NDArray[np.float64], members: NDArray[np.intp], height: float) -> list[NDArray[np.intp]]:
    """Return the lines of a block, in reading order."""
    lines: list[NDArray[np.intp]] = []
    for group in _groups(boxes, _strips(boxes, members), height):
        gutter = _gutter(boxes, group, height)
        if gutter is None:
            lines += _lines(boxes, group)
        else:
            left = boxes[group, 0] < gutter
            lines += _block(boxes, group[left], height) + _block(boxes, group[~left], height)
    return lines


def _strips(boxes: NDArray[np.float64], members: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Cut a block where white space runs from side to side between the bodies of words."""
    middle = (boxes[members, 1] + boxes[members, 3]) / 2
    half = _BODY / 2 * (boxes[members, 3] - boxes[members, 1])
    order = np.argsort(middle - half, kind="stable")
    lowest = np.maximum.accumulate((middle + half)[order])
    cuts = np.flatnonzero((middle - half)[order][1:] >= lowest[:-1]) + 1
    return [members[part] for part in np.split(order, cuts)]


def _groups(
    boxes: NDArray[np.float64], strips: list[NDArray[np.intp]], height: float
) -> list[NDArray[np.intp]]:
    """Join neighbouring strips as long as some gutter runs through all of them."""
    groups: list[NDArray[np.intp]] = []
    at = 0
    while at < len(strips):
        group = strips[at]
        at += 1
        while at < len(strips):
            wider = np.concatenate([group, strips[at]])
            if not len(_gaps(boxes, wider, height)):
                break
            group = wider
            at += 1
        groups.append(group)
    return groups


def _gaps(boxes: NDArray[np.float64], members: NDArray[np.intp], height: float) -> NDArray[np.float64]:
    """Find left and right end of every vertical white gap wide enough for a gutter, ``(n, 2)``."""
    order = members[np.argsort(boxes[members, 0], kind="stable")]
    end = np.maximum.accumulate(boxes[order, 2])[:-1]
    start = boxes[order, 0][1:]
    wide = start - end >= _GUTTER * height
    return np.stack([end[wide], start[wide]], axis=1)


def _gutter(boxes: NDArray[np.float64], members: NDArray[np.intp], height: float) -> float | None:
    """Find where to cut a block into columns: the middle of its widest gap with text lines on both sides."""
    gaps = _gaps(boxes, members, height)
    for left, right in gaps[np.argsort(gaps[:, 0] - gaps[:, 1], kind="stable")]:
        before = boxes[members, 0] < right
        if all(_is_column(boxes, members[side]) for side in (before, ~before)):
            return float(left + right) / 2
    return None


def _is_column(boxes: NDArray[np.float64], members: NDArray[np.intp]) -> bool:
    """Return whether there are at least two lines, of several words on average."""
    lines = len(_strips(boxes, members))
    return lines >= 2 and len(members) >= _FEWEST_WORDS * lines


def _lines(boxes: NDArray[np.float64], members: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the lines of a block without columns: a word joins the line whose last word is next to it."""
    order = members[np.argsort(boxes[members, 0], kind="stable")]
    middles = (boxes[:, 1] + boxes[:, 3]) / 2
    heights = boxes[:, 3] - boxes[:, 1]
    lines: list[list[int]] = []
    at = np.zeros(len(members))  # middle of each line, where it ends
    tall = np.zeros(len(members))
    for word in order.tolist():
        away = np.abs(at[: len(lines)] - middles[word])
        near = int(away.argmin()) if lines else 0
        if not lines or away[near] > 0.5 * max(tall[near], heights[word]):
            near = len(lines)
            lines.append([])
            at[near], tall[near] = middles[word], heights[word]
        lines[near].append(word)
        at[near] += 0.3 * (middles[word] - at[near])
        tall[near] += 0.3 * (heights[word] - tall[near])
    first = np.argsort([middles[line].mean() for line in lines], kind="stable")
    return [np.array(lines[number]) for number in first.tolist()]
