"""From letters read in a picture to visual tokens: a grid, its bilinear compression, the connector.

A visual token covers 8 x 8 pixels of the page. It carries the sum of the input vectors of the word pieces
whose middle lies in it, and their number.
Bilinear compression at s = 2 makes one token of each 2 x 2, as between any vision encoder and its connector
(Magic-MM-Embedding, arXiv 2602.05275): 16 x 16 pixels, a line high and three letters wide. The connector
divides the sum by the count. Tokens in which nothing was read are left out of the sequence; the others follow
in reading order.

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
    """Compute the visual tokens ``(T, D)`` of the words that were read, in reading order.

    Args:
        words: in reading order, boxes in pixels.
        pieces: word pieces of each.
        embed: gives the input vectors of word pieces.
        scale: reader's pixels per pixel of the boxes.
        compression: s, per axis.
    """
    height, width = TOKEN[0] * compression, TOKEN[1] * compression
    cells: dict[tuple[int, int], list[int]] = {}  # row and column: word pieces
    for word, word_pieces in zip(words, pieces, strict=True):
        left, top, right, bottom = (scale * side for side in word.box)
        row = int((top + bottom) / 2 // height)
        for number, piece in enumerate(word_pieces):
            middle = left + (right - left) * (number + 0.5) / len(word_pieces)
            cells.setdefault((row, int(middle // width)), []).append(piece)
    if not cells:
        return embed([])
    cell = np.repeat(np.arange(len(cells)), [len(ids) for ids in cells.values()])  # (pieces,)
    vectors = embed([piece for ids in cells.values() for piece in ids])  # (pieces, D)
    sums = np.zeros((len(cells), vectors.shape[1]), np.float32)  # (T, D)
    np.add.at(sums, cell, vectors)
    counts: Floats = np.bincount(cell).astype(np.float32)  # (T,)
    sums /= counts[:, None]
    return sums
