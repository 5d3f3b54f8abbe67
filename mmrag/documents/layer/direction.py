"""Lines that are turned: each is read in its own direction. Pure functions on `glyphs.LayerLine`.

The direction of a page is that of most of its characters: upright, or sideways for a landscape table on an
upright page. Lines of other directions come after it in blocks of their own, and last what lies across the
text: slanted lines, and large ones with other lines in them (watermarks), which belong to no line of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from mmrag.documents.layer.glyphs import LayerBlocks, LayerLine, quarter_of
from mmrag.types import Box, Word

LARGE = 2.5  # times the page's median font size
_LEAST_INSIDE = 3  # words of other lines inside a large one


@dataclass(frozen=True, slots=True)
class TurnedBlocks:
    """Blocks of lines that are read in one direction.

    Attributes:
        quarter: quarter turns clockwise that turn upright text into theirs, 0..3.
        blocks: in the order of the file.
        across: they lie across the page's text: watermarks and slanted labels.
    """

    quarter: int
    blocks: LayerBlocks
    across: bool = False


def by_direction(blocks: LayerBlocks) -> list[TurnedBlocks]:
    """Sort a page's lines by direction: the page's own, the others, and last what lies across the text."""
    letters: Counter[int] = Counter()
    lines_across: list[LayerLine] = []
    level: dict[int, LayerBlocks] = {}
    marks = _watermarks(blocks)
    for block in blocks:
        split_block: dict[int, list[LayerLine]] = {}
        for line in block:
            quarter = quarter_of(line.angle)
            if quarter is None or id(line) in marks:
                lines_across.append(line)
                continue
            split_block.setdefault(quarter, []).append(line)
            letters[quarter] += sum(len(word.text) for word in line.words)
        for quarter, lines in split_block.items():
            level.setdefault(quarter, []).append(lines)
    groups = [TurnedBlocks(quarter, level[quarter]) for quarter, _ in letters.most_common()]
    if lines_across:
        groups.append(TurnedBlocks(0, [lines_across], across=True))
    return groups


def _watermarks(blocks: LayerBlocks) -> set[int]:
    """Return the identities of large level lines that have words of several other lines inside them."""
    lines = [line for block in blocks for line in block]
    sizes = [word.parts[0].size for line in lines for word in line.words]
    if not sizes:
        return set()
    limit = LARGE * median(sizes)
    large = [line for line in lines if line.words[0].parts[0].size >= limit]
    if not large:
        return set()
    small = [word.box for line in lines if line.words[0].parts[0].size < limit for word in line.words]
    return {id(line) for line in large if sum(_holds(line.box, box) for box in small) >= _LEAST_INSIDE}


def _holds(box: Box, inner: Box) -> bool:
    """Check whether the centre of another box is inside."""
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return box[0] < x < box[2] and box[1] < y < box[3]


def turn_words(lines: Sequence[Sequence[Word]], quarter: int) -> list[list[Word]]:
    """Turn the boxes of words, in 0..1, by quarter turns clockwise."""
    if quarter % 4 == 0:
        return [list(line) for line in lines]
    return [
        [
            replace(
                word,
                box=turn_box(word.box, quarter),
                tail=None if word.tail is None else turn_box(word.tail, quarter),
            )
            for word in line
        ]
        for line in lines
    ]


def turn_box(box: Box, quarter: int) -> Box:
    """Turn a box in the unit square clockwise by quarter turns."""
    x0, y0, x1, y1 = box
    for _ in range(quarter % 4):
        x0, y0, x1, y1 = 1 - y1, x0, 1 - y0, x1
    return x0, y0, x1, y1
