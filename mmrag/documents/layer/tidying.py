"""From the words of a text layer, as a library gives them, to the blocks of a page. Pure functions.

What is drawn twice is kept once, spaced letters become words, raised marks are parted from what they
mark, turned lines are read in their own direction, cut words become whole, words of right-to-left scripts
are put in reading order.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.documents.layer.direction import TurnedBlocks, by_direction, turn_words
from mmrag.documents.layer.doubles import drop_doubles
from mmrag.documents.layer.glyphs import LayerBlocks, LayerLine, page_words
from mmrag.documents.layer.hyphens import join_hyphens
from mmrag.documents.layer.marks import split_marks
from mmrag.documents.layer.right_to_left import has_right_to_left, logical_lines
from mmrag.documents.layer.spacing import join_spaced
from mmrag.documents.layout import join_rows
from mmrag.types import Word

PageBlocks = tuple[tuple[tuple[Word, ...], ...], ...]
"""Blocks of lines of words with boxes in 0..1 as shown."""


def tidy(blocks: LayerBlocks) -> LayerBlocks:
    """Keep doubled words once, join spaced letters, and part marks from words."""
    return [[split_marks(join_spaced(line)) for line in block] for block in drop_doubles(blocks)]


def page_blocks(blocks: LayerBlocks, size: tuple[float, float]) -> PageBlocks:
    """Convert tidy blocks to those of a page of this size in points, in reading order."""
    result = []
    for group in by_direction(blocks):
        for block in group.blocks:
            lines = _read(block, group, size)
            if lines:
                result.append(lines)
    return tuple(result)


def _read(
    block: Sequence[LayerLine], group: TurnedBlocks, size: tuple[float, float]
) -> tuple[tuple[Word, ...], ...]:
    """Read the lines of one block in its direction."""
    lines = [words for line in block if (words := page_words(line, size))]
    if group.across or not lines:
        return tuple(map(tuple, lines))
    upright = join_hyphens(turn_words(lines, -group.quarter))
    rows: Sequence[Sequence[Word]]
    rows = logical_lines(upright) if has_right_to_left(upright) else join_rows(upright)
    return tuple(map(tuple, turn_words(rows, group.quarter)))
