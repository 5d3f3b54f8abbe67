"""The block around the words of a citation: its kind, its area on the page, what stands above it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mmrag.blocks import Block
from mmrag.types import Box

TITLED_KINDS = ("table", "picture", "formula")
HEADING_KINDS = ("heading", "title")


def block_words(block: Block) -> frozenset[int]:
    """Return the positions of a block's words, those of its cells among them."""
    cells = block.table.cells if block.table is not None else ()
    return frozenset(block.words).union(*(cell.words for cell in cells))


def block_around(blocks: Sequence[Block], positions: Collection[int]) -> Block | None:
    """Return the block that holds most of these words; None if none holds any."""
    word_set = frozenset(positions)
    best = max(blocks, key=lambda block: len(word_set & block_words(block)), default=None)
    return best if best is not None and word_set & block_words(best) else None


def block_area(block: Block, boxes: Sequence[Box]) -> Box | None:
    """Return the part of a block that the boxes of its words lie in, a column of a paragraph; else all of it.

    Args:
        block: with one box, or with one for each column.
        boxes: of words of the block.
    """
    parts = [part for part in block.boxes if any(_touch(part, box) for box in boxes)] or list(block.boxes)
    if not parts:
        return None
    lefts, tops, rights, bottoms = zip(*parts, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def block_title(blocks: Sequence[Block], block: Block) -> str:
    """Return the caption next to a table or picture, else the heading above a block; ``""`` without one."""
    at = next(position for position, neighbour in enumerate(blocks) if neighbour is block)
    if block.kind in TITLED_KINDS:
        for neighbour in (*blocks[at - 1 : at], *blocks[at + 1 : at + 2]):
            if neighbour.kind == "caption":
                return neighbour.text
    return next(
        (neighbour.text for neighbour in reversed(blocks[:at]) if neighbour.kind in HEADING_KINDS), ""
    )


def _touch(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
