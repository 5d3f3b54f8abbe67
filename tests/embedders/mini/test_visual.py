"""Laws of visual tokens, against the dense grid that the runtime never makes."""

from __future__ import annotations

import numpy as np
import pytest

from mmrag.embedders.mini.reader import ReadWord
from mmrag.embedders.mini.visual import TOKEN, visual_tokens

WIDTH = 6
PAGE = (320, 256)  # height and width, in pixels
TABLE = np.random.default_rng(0).normal(size=(50, WIDTH)).astype(np.float32)


def embed(ids: list[int]) -> np.ndarray:
    return TABLE[np.array(ids, np.intp)]


def word(left: float, top: float, right: float, bottom: float) -> ReadWord:
    return ReadWord("any", (left, top, right, bottom), 1.0)


def random_words(rng: np.random.Generator, count: int) -> tuple[list[ReadWord], list[list[int]]]:
    height, width = PAGE
    words, pieces = [], []
    for _ in range(count):
        left, top = rng.uniform(0, width - 60), rng.uniform(0, height - 20)
        words.append(word(left, top, left + rng.uniform(4, 60), top + rng.uniform(6, 20)))
        pieces.append(rng.integers(0, len(TABLE), rng.integers(0, 5)).tolist())
    return words, pieces


def dense(words, pieces, scale: float, compression: int) -> dict[tuple[int, int], np.ndarray]:
    """By the book: sums and counts of every place, means of blocks, sum divided by count."""
    rows, columns = (int(side * scale) // size // 2 * 2 + 2 for side, size in zip(PAGE, TOKEN, strict=True))
    grid = np.zeros((rows, columns, WIDTH + 1))
    for one, own in zip(words, pieces, strict=True):
        left, top, right, bottom = (side * scale for side in one.box)
        for place, piece in enumerate(own):
            x = left + (right - left) * (place + 0.5) / len(own)
            at = int((top + bottom) / 2 // TOKEN[0]), int(x // TOKEN[1])
            grid[at] += [*TABLE[piece], 1]
    if compression == 2:
        grid = (grid[::2, ::2] + grid[1::2, ::2] + grid[::2, 1::2] + grid[1::2, 1::2]) / 4
    return {
        (row, column): grid[row, column, :-1] / grid[row, column, -1]
        for row, column in np.argwhere(grid[..., -1]).tolist()
    }


def test_words_in_one_token_are_averaged_by_hand():
    words = [word(0, 0, 4, 8), word(4, 0, 8, 8), word(100, 0, 108, 8)]
    made = visual_tokens(words, [[1], [2], [3]], embed)
    np.testing.assert_allclose(made, [(TABLE[1] + TABLE[2]) / 2, TABLE[3]], rtol=1e-6)


def test_a_long_word_has_a_token_for_each_place_that_its_pieces_stand_in():
    (one,) = [word(0, 0, 64, 8)]  # middles of its four pieces at 8, 24, 40, 56
    made = visual_tokens([one], [[1, 2, 3, 4]], embed)
    np.testing.assert_array_equal(made, TABLE[1:5])


def test_compression_joins_what_stands_in_two_tokens():
    words = [word(0, 0, 8, 8), word(8, 8, 16, 16)]
    assert len(visual_tokens(words, [[1], [2]], embed, compression=1)) == 2
    joined = visual_tokens(words, [[1], [2]], embed, compression=2)
    np.testing.assert_allclose(joined, [(TABLE[1] + TABLE[2]) / 2], rtol=1e-6)


def test_nothing_read_is_no_token():
    assert visual_tokens([], [], embed).shape == (0, WIDTH)
    assert visual_tokens([word(0, 0, 8, 8)], [[]], embed).shape == (0, WIDTH)


def test_tokens_follow_the_order_of_the_words():
    words = [word(200, 200, 208, 208), word(0, 0, 8, 8), word(100, 50, 108, 58)]
    np.testing.assert_array_equal(visual_tokens(words, [[5], [6], [7]], embed), TABLE[5:8])


@pytest.mark.parametrize("compression", [1, 2])
@pytest.mark.parametrize("scale", [1.0, 0.7, 2.0])
@pytest.mark.parametrize("count", [1, 40, 400])
def test_the_dense_grid_gives_the_same_tokens(compression, scale, count):
    words, pieces = random_words(np.random.default_rng(count), count)
    pieces[0] = [1]
    made = visual_tokens(words, pieces, embed, scale=scale, compression=compression)
    expected = list(dense(words, pieces, scale, compression).values())
    assert made.dtype == np.float32
    assert len(made) == len(expected)
    # the order of the words has its own test: here each by its numbers
    np.testing.assert_allclose(sorted(made.tolist()), sorted(map(list, expected)), atol=1e-5)
