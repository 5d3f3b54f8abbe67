"""Join words of OCR with the text layer of a page: exact text where there is a layer, OCR elsewhere.

Pure functions on words with boxes in 0..1 of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from mmrag.documents.layout import bounds
from mmrag.types import Box, Word

Lines: TypeAlias = "list[list[list[Word]]]"
"""Blocks of lines of words."""

SAME_SHARE = 0.5
"""Of the smaller of two words' areas: where they share more, they are the same word."""


def covered_share(box: Box, words: Sequence[Box]) -> float:
    """Measure the share of a line that words of the file lie in, along the line's longer side.

    A find of OCR has room around its letters that a word's box has not, so areas do not compare. A word
    counts where its middle is in the line across.

    Returns:
        0..1.
    """
    along = int(box[3] - box[1] > box[2] - box[0])
    across = 1 - along
    parts = sorted(
        (max(word[along], box[along]), min(word[along + 2], box[along + 2]))
        for word in words
        if box[across] <= (word[across] + word[across + 2]) / 2 <= box[across + 2]
    )
    total, reach = 0.0, box[along]
    for start, end in parts:
        if end > max(start, reach):
            total += end - max(start, reach)
            reach = end
    return min(1.0, total / max(box[along + 2] - box[along], 1e-9))


def without_known(read: Lines, layer: Lines) -> Lines:
    """Leave out words of OCR that lie on words of the layer; lines and blocks without words go, too."""
    layer_boxes = [box for block in layer for line in block for word in line for box in word.boxes]
    blocks = [
        [
            words
            for line in block
            if (words := [word for word in line if not _is_known(word.box, layer_boxes)])
        ]
        for block in read
    ]
    return [block for block in blocks if block]


def words_inside(read: Lines, regions: Sequence[Box]) -> Lines:
    """Keep the words whose middle is in one of the regions; lines and blocks without words go."""
    blocks = [
        [words for line in block if (words := [word for word in line if _is_inside(word.box, regions)])]
        for block in read
    ]
    return [block for block in blocks if block]


def _is_inside(box: Box, regions: Sequence[Box]) -> bool:
    """Check whether the middle of a box is in one of the regions."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in regions)


def _is_known(box: Box, layer_boxes: Sequence[Box]) -> bool:
    """Check whether a box shares more than `SAME_SHARE` of the smaller area with one of others."""
    own_area = _area(box)
    for layer_box in layer_boxes:
        shared = (
            max(box[0], layer_box[0]),
            max(box[1], layer_box[1]),
            min(box[2], layer_box[2]),
            min(box[3], layer_box[3]),
        )
        if shared[2] > shared[0] and shared[3] > shared[1]:
            smaller = min(own_area, _area(layer_box))
            if _area(shared) > SAME_SHARE * smaller:
                return True
    return False


def _area(box: Box) -> float:
    """Return the area of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def insert_blocks(layer: Lines, added: Lines) -> Lines:
    """Put blocks of OCR into the reading order of the layer's blocks, whose own order stays.

    A block goes after the last block of the layer that ends above its middle and shares some of its width;
    without one, before the first block that begins below its middle; else at the end. Blocks of one place
    keep their order.
    """
    followers_by_position: list[list[list[list[Word]]]] = [[] for _ in range(len(layer) + 1)]
    boxes = [_block_box(block) for block in layer]
    for block in added:
        followers_by_position[_position_of(_block_box(block), boxes)].append(block)
    ordered_blocks = list(followers_by_position[0])
    for block, followers in zip(layer, followers_by_position[1:], strict=True):
        ordered_blocks += [block, *followers]
    return ordered_blocks


def _position_of(box: Box, layer: Sequence[Box]) -> int:
    """Return the number of layer blocks before a block."""
    middle = (box[1] + box[3]) / 2
    above = [
        index
        for index, layer_box in enumerate(layer)
        if (layer_box[1] + layer_box[3]) / 2 <= middle and layer_box[0] < box[2] and box[0] < layer_box[2]
    ]
    if above:
        return max(above) + 1
    below = [index for index, layer_box in enumerate(layer) if (layer_box[1] + layer_box[3]) / 2 > middle]
    return min(below) if below else len(layer)


def _block_box(block: Sequence[Sequence[Word]]) -> Box:
    """Return the box of all words of a block."""
    return bounds([word for line in block for word in line])


def words_of(blocks: Lines) -> list[Word]:
    """List the words of blocks in order."""
    return [word for block in blocks for line in block for word in line]
