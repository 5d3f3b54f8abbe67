"""Reading order and boxes: pure functions on rectangles.

OCR and PDFium give lines without a reading order that can be trusted. `reading_order` sorts them:

* The page is cut into bands wherever a horizontal gap crosses all of it.
* Neighbouring bands that share a gutter are one stack of columns, read column by column. A gutter
  counts only where the lines on both of its sides are prose (median width of at least 8 line
  heights); the short cells of a table are not, and a table is read row by row.
* What cannot be cut is read from top to bottom, lines of one height from left to right.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from mmrag.types import Box, Word

PROSE_WIDTH = 8.0  # line heights
GUTTER_WIDTH = 0.6  # line heights


def clip_box(box: Sequence[float]) -> Box | None:
    """The part of a box that is on the page; None where its centre is off the page or it has no area."""
    x0, y0, x1, y1 = box
    x0, x1 = min(x0, x1), max(x0, x1)
    y0, y1 = min(y0, y1), max(y0, y1)
    if not (0.0 <= (x0 + x1) / 2 <= 1.0 and 0.0 <= (y0 + y1) / 2 <= 1.0):
        return None
    clipped = (max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        return None
    return clipped


def words_of_run(text: str, box: Sequence[float]) -> list[Word]:
    """Split a run of text at white space; each word's box is its share of the run's width."""
    words: list[Word] = []
    x0, y0, x1, y1 = box
    width = (x1 - x0) / max(1, len(text))
    start = 0
    for piece in text.split():
        start = text.index(piece, start)
        end = start + len(piece)
        clipped = clip_box((x0 + start * width, y0, x0 + end * width, y1))
        if clipped is not None:
            words.append(Word(piece, clipped))
        start = end
    return words


def join_text(blocks: Sequence[Sequence[Sequence[Word]]]) -> str:
    """Words to text: a space between words, a line break between lines, an empty line between blocks."""
    return "\n\n".join(
        "\n".join(" ".join(word.text for word in line) for line in block if line) for block in blocks if block
    )


def bounds(words: Sequence[Word]) -> Box:
    """Smallest box that holds all words (at least one)."""
    boxes = [word.box for word in words]
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def join_rows(lines: Sequence[Sequence[Word]]) -> tuple[tuple[Word, ...], ...]:
    """Join neighbouring lines of one block that stand beside each other: the cells of a table row.

    Two lines are one where the second begins right of the first and they share more than half of the
    lower one's height.
    """
    rows: list[tuple[Word, ...]] = []
    for line in lines:
        if rows:
            _, top, right, bottom = bounds(rows[-1])
            x0, y0, _, y1 = bounds(line)
            shared = min(bottom, y1) - max(top, y0)
            if x0 >= right and shared > 0.5 * min(bottom - top, y1 - y0):
                rows[-1] = (*rows[-1], *line)
                continue
        rows.append(tuple(line))
    return tuple(rows)


def reading_order(boxes: Sequence[Box], aspect: float = 1.0) -> list[list[int]]:
    """Order line boxes for reading.

    Args:
        boxes: one box a line, in 0..1 of the page.
        aspect: page width divided by page height, so that widths and heights compare.

    Returns:
        Blocks of indices into `boxes`; each index once.
    """
    if not boxes:
        return []
    scaled = [(x0 * aspect, y0, x1 * aspect, y1) for x0, y0, x1, y1 in boxes]
    height = median(y1 - y0 for _, y0, _, y1 in scaled) or 1e-6
    return _order(list(range(len(boxes))), scaled, height)


def _order(indices: list[int], boxes: Sequence[Box], height: float) -> list[list[int]]:
    """Recursive part of `reading_order`."""
    blocks: list[list[int]] = []
    bands = _bands(indices, boxes)
    position = 0
    while position < len(bands):
        group = list(bands[position])
        gutter = _gutter(group, boxes, height)
        end = position + 1
        while end < len(bands):
            wider = group + bands[end]
            shared = _gutter(wider, boxes, height)
            if shared is None:
                break
            group, gutter, end = wider, shared, end + 1
        if gutter is None:
            blocks = _append_rows(blocks, _rows(group, boxes), boxes, height)
        else:
            left = [i for i in group if boxes[i][2] <= gutter]
            right = [i for i in group if boxes[i][2] > gutter]
            blocks += _order(left, boxes, height) + _order(right, boxes, height)
        position = end
    return blocks


def _append_rows(
    blocks: list[list[int]], rows: list[int], boxes: Sequence[Box], height: float
) -> list[list[int]]:
    """Add rows to the last block, or as a new one where a gap of more than a line is between."""
    if blocks:
        gap = min(boxes[i][1] for i in rows) - max(boxes[i][3] for i in blocks[-1])
        if 0 <= gap + height / 2 < 1.5 * height:
            blocks[-1].extend(rows)
            return blocks
    return [*blocks, rows]


def _bands(indices: list[int], boxes: Sequence[Box]) -> list[list[int]]:
    """Cut at every horizontal gap; overlaps of a third of the smaller line count as a gap."""
    bands: list[list[int]] = []
    bottom = 0.0
    for index in sorted(indices, key=lambda i: boxes[i][1]):
        _, y0, _, y1 = boxes[index]
        if bands and y0 < bottom - (y1 - y0) / 3:
            bands[-1].append(index)
            bottom = max(bottom, y1)
        else:
            bands.append([index])
            bottom = y1
    return bands


def _gutter(indices: list[int], boxes: Sequence[Box], height: float) -> float | None:
    """The x where the widest gutter between two columns of prose begins; None without one."""
    best: tuple[float, float] | None = None
    reach: float | None = None
    for index in sorted(indices, key=lambda i: boxes[i][0]):
        x0, _, x1, _ = boxes[index]
        if (
            reach is not None
            and x0 - reach >= GUTTER_WIDTH * height
            and (best is None or x0 - reach > best[0])
        ):
            left = [boxes[i] for i in indices if boxes[i][2] <= reach]
            right = [boxes[i] for i in indices if boxes[i][2] > reach]
            if _is_prose(left, height) and _is_prose(right, height):
                best = (x0 - reach, reach)
        reach = x1 if reach is None else max(reach, x1)
    return None if best is None else best[1]


def _is_prose(boxes: Sequence[Box], height: float) -> bool:
    """Whether these lines are wide enough to be running text."""
    return bool(boxes) and median(x1 - x0 for x0, _, x1, _ in boxes) >= PROSE_WIDTH * height


def _rows(indices: list[int], boxes: Sequence[Box]) -> list[int]:
    """Top to bottom; lines whose middles are within half a line of each other, left to right."""
    rows: list[list[int]] = []
    for index in sorted(indices, key=lambda i: boxes[i][1] + boxes[i][3]):
        middle = (boxes[index][1] + boxes[index][3]) / 2
        if rows:
            first = boxes[rows[-1][0]]
            if abs(middle - (first[1] + first[3]) / 2) < (first[3] - first[1]) / 2:
                rows[-1].append(index)
                continue
        rows.append([index])
    return [index for row in rows for index in sorted(row, key=lambda i: boxes[i][0])]
