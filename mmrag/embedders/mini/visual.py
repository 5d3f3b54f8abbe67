"""From letters read in a picture to visual tokens: a grid, its bilinear compression, the connector.

A visual token stands for 8 x 8 pixels of the page. What it carries is what was read there: the sum of the
input vectors of the word pieces whose middle lies in it, and how many they are.
Bilinear compression at s = 2 makes one token of each 2 x 2, as between any vision encoder and its connector
(Magic-MM-Embedding, arXiv 2602.05275): 16 x 16 pixels, a line high and three letters wide. The connector
divides the sum by the count. Tokens without anything read say nothing and are left out of the sequence; the
others follow in reading order.

Sum and count are linear, so the mean of a block of the grid is computed from the pieces in it: the dense
grid, which is mostly empty, is never made (a test compares the two).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mmrag.embedders.mini.reader import ReadWord
from mmrag.embedders.onnx import Tokens

TOKEN = (8, 8)
"""Pixels of a visual token before compression, height and width."""

Floats = NDArray[np.float32]


def visual_tokens(
    words: Sequence[ReadWord],
    pieces: Sequence[Tokens],
    embed: Callable[[Tokens], Floats],
    *,
    scale: float = 1.0,
    compression: int = 2,
) -> Floats:
    """Input vectors ``(T, width)`` of what was read, in reading order.

    Args:
        words: in reading order, boxes in pixels.
        pieces: word pieces of each.
        embed: gives the input vectors of word pieces.
        scale: reader's pixels for one pixel of the boxes.
        compression: s, per axis.
    """
    height, width = TOKEN[0] * compression, TOKEN[1] * compression
    places: dict[tuple[int, int], list[int]] = {}
    for word, own in zip(words, pieces, strict=True):
        left, top, right, bottom = (scale * side for side in word.box)
        row = int((top + bottom) / 2 // height)
        for place, piece in enumerate(own):
            middle = left + (right - left) * (place + 0.5) / len(own)
            places.setdefault((row, int(middle // width)), []).append(piece)
    if not places:
        return embed([])
    owner = np.repeat(np.arange(len(places)), [len(found) for found in places.values()])
    vectors = embed([piece for found in places.values() for piece in found])
    sums = np.zeros((len(places), vectors.shape[1]), np.float32)
    np.add.at(sums, owner, vectors)
    counts: Floats = np.bincount(owner).astype(np.float32)
    sums /= counts[:, None]
    return sums
