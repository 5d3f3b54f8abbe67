"""Directions of text: of a whole picture, and of single lines; a turn is taken only where it reads better.

RapidOCR's own classifier looks at a line squashed to 192 x 48 pixels and turns upright lines of clean scans;
it is not used. Here the recogniser decides:

* **A picture**: the `SAMPLE` longest lines are read in the direction in which most of the text lies. Where
  their mean confidence is at least `SURE` that is the direction, and their reading is kept: an upright page
  costs nothing. Else they are read the other way round, and the better one wins by `MARGIN` or more.
* **A line**: below `RETRY` it is read in its other directions too (the `MOST_RETRIES` least sure ones of a
  picture), and again the better one wins by `MARGIN`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

from mmrag.documents.ocr.lines import Line, in_direction, is_tall, sides

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE = 4
SURE = 0.85
MARGIN = 0.1
RETRY = 0.8
MOST_RETRIES = 16
SINGLE = 2.5
"""Height over width up to which a tall find as high as a line may be a single upright character."""

Recognise: TypeAlias = "Callable[[Sequence[NDArray[np.float32]]], list[Line | None]]"
"""Reads lines given by their corners in reading order; None for what there was no time to read."""


def turned_box(box: tuple[float, float, float, float], turns: int) -> tuple[float, float, float, float]:
    """Map a box of a picture that was turned counter-clockwise by quarters back to the picture as it lies."""
    x0, y0, x1, y1 = box
    return [
        (x0, y0, x1, y1),
        (1 - y1, x0, 1 - y0, x1),
        (1 - x1, 1 - y1, 1 - x0, 1 - y0),
        (y0, 1 - x1, y1, 1 - x0),
    ][turns % 4]


def picture_direction(
    quads: Sequence[NDArray[np.float32]], recognise: Recognise
) -> tuple[int, dict[int, Line]]:
    """Find the direction in which a picture is read.

    Args:
        quads: what text was found, corners as they lie; at least one.
        recognise: reads lines.

    Returns:
        The quarter turns, 0..3, that make it upright; and the lines read in that direction, by position.
    """
    lengths = [max(sides(quad)) for quad in quads]
    tall_length = sum(length for quad, length in zip(quads, lengths, strict=True) if is_tall(quad))
    lies_sideways = 2 * tall_length > sum(lengths)
    alike = [index for index, quad in enumerate(quads) if is_tall(quad) == lies_sideways]
    sample = sorted(alike, key=lambda index: -lengths[index])[:SAMPLE]
    first = int(lies_sideways)
    lines = _read(sample, quads, first, recognise)
    confidence = mean_confidence(lines.values())
    if confidence >= SURE:
        return first, lines
    other_lines = _read(sample, quads, first + 2, recognise)
    if mean_confidence(other_lines.values()) >= confidence + MARGIN:
        return first + 2, other_lines
    # a picture that reads badly both ways stays as it lies
    return (0, lines if first == 0 else {}) if confidence < RETRY else (first, lines)


def mean_confidence(lines: object) -> float:
    """Return the mean confidence of lines, weighted by their letters; 0 without any."""
    pairs = [(line.confidence, len(line.text)) for line in lines]  # type: ignore[attr-defined]
    total = sum(letters for _, letters in pairs)
    return sum(confidence * letters for confidence, letters in pairs) / total if total else 0.0


def _read(
    positions: Sequence[int], quads: Sequence[NDArray[np.float32]], direction: int, recognise: Recognise
) -> dict[int, Line]:
    """Read some lines in one direction."""
    lines = recognise([in_direction(quads[position], direction) for position in positions])
    return {position: line for position, line in zip(positions, lines, strict=True) if line is not None}


def read_lines(
    quads: Sequence[NDArray[np.float32]], known_lines: dict[int, Line], recognise: Recognise
) -> dict[int, Line]:
    """Read all lines of an upright picture, those that read badly in other directions too.

    Args:
        quads: what text was found, corners as they lie.
        known_lines: lines that have been read already, by position.
        recognise: reads lines.

    Returns:
        Lines by position; without those for which there was no time.
    """
    directions = _directions(quads)
    left = [position for position in range(len(quads)) if position not in known_lines]
    lines = dict(known_lines)
    for first in sorted({directions[position][0] for position in left}):
        group = [position for position in left if directions[position][0] == first]
        lines |= _read(group, quads, first, recognise)
    weak = [position for position, line in lines.items() if line.confidence < RETRY]
    weak = sorted(weak, key=lambda position: lines[position].confidence)[:MOST_RETRIES]
    for turn in (1, 2):
        for direction in range(4):
            group = [p for p in weak if len(directions[p]) > turn and directions[p][turn] == direction]
            _take_better(lines, _read(group, quads, direction, recognise) if group else {})
    return lines


def _take_better(lines: dict[int, Line], other_lines: dict[int, Line]) -> None:
    """Replace lines by other readings that are clearly better."""
    for position, other_line in other_lines.items():
        if other_line.confidence >= lines[position].confidence + MARGIN:
            lines[position] = other_line


def _directions(quads: Sequence[NDArray[np.float32]]) -> list[tuple[int, ...]]:
    """List the directions in which each find may be read, the likeliest first."""
    wide_heights = [sides(quad)[1] for quad in quads if not is_tall(quad)]
    line_height = median(wide_heights) if wide_heights else 0.0
    directions: list[tuple[int, ...]] = []
    for quad in quads:
        width, height = sides(quad)
        if not is_tall(quad):
            directions.append((0, 2))
        elif height <= SINGLE * width and height <= 2 * line_height:
            directions.append((0, 1, 3))
        else:
            directions.append((1, 3))
    return directions
