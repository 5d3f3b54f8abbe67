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

SAME = 0.5
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
    known = [box for block in layer for line in block for word in line for box in word.boxes]
    blocks = [
        [words for line in block if (words := [word for word in line if not _is_known(word.box, known)])]
        for block in read
    ]
    return [block for block in blocks if block]


def _is_known(box: Box, known: Sequence[Box]) -> bool:
    """Check whether a box shares more than `SAME` of the smaller area with one of others."""
    own = _area(box)
    for other in known:
        shared = (max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3]))
        if shared[2] > shared[0] and shared[3] > shared[1]:
            smaller = min(own, _area(other))
            if _area(shared) > SAME * smaller:
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
    places: list[list[list[list[Word]]]] = [[] for _ in range(len(layer) + 1)]
    boxes = [_block_box(block) for block in layer]
    for block in added:
        places[_place(_block_box(block), boxes)].append(block)
    merged = list(places[0])
    for block, followers in zip(layer, places[1:], strict=True):
        merged += [block, *followers]
    return merged


def _place(box: Box, layer: Sequence[Box]) -> int:
    """Return the number of layer blocks before a block."""
    middle = (box[1] + box[3]) / 2
    above = [
        index
        for index, other in enumerate(layer)
        if (other[1] + other[3]) / 2 <= middle and other[0] < box[2] and box[0] < other[2]
    ]
    if above:
        return max(above) + 1
    below = [index for index, other in enumerate(layer) if (other[1] + other[3]) / 2 > middle]
    return min(below) if below else len(layer)


def _block_box(block: Sequence[Sequence[Word]]) -> Box:
    """Return the box of all words of a block."""
    return bounds([word for line in block for word in line])


def words_of(blocks: Lines) -> list[Word]:
    """List the words of blocks in order."""
    return [word for block in blocks for line in block for word in line]
