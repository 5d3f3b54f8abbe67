"""Blocks come back as they were, whatever text they are stored beside, also in the earlier form."""

import json
import zlib

import numpy as np
import pytest

from mmrag.blocks import Block, Cell, Table
from mmrag.index.block_codec import decode_blocks, encode_blocks
from mmrag.index.stored import zip_bytes

TABLE = Table(1, 2, (Cell(0, 0, "a", (0.0, 0.0, 0.5, 1.0), words=(3, 4, 9)), Cell(0, 1, "b", None)), 1)
BLOCKS = (
    Block("heading", "Net sales", ((0.125, 0.0, 1.0, 0.25),), level=2, words=(0, 1)),
    Block("table", "a\tb", ((0.25, 0.5, 0.75, 0.75),), words=(3, 4, 9), table=TABLE),
    Block("picture", ""),
)
TEXT = "Net sales\n\na b"


def as_old_code_wrote(words):
    """One block with these words, as compressed JSON without a dictionary and without runs."""
    return zip_bytes(json.dumps([["text", "Net", [[0.0, 0.0, 1.0, 0.5]], 0, words, None]]).encode())


@pytest.mark.parametrize("text", [TEXT, "", "other words", "x" * 100_000 + TEXT])
def test_blocks_come_back(text):
    data = encode_blocks(BLOCKS, text)
    assert decode_blocks(data, text) == BLOCKS
    assert encode_blocks(decode_blocks(data, text), text) == data


def test_blocks_that_earlier_code_wrote_come_back():
    (block,) = decode_blocks(as_old_code_wrote([0, 1, 7]), TEXT)
    assert block == Block("text", "Net", ((0.0, 0.0, 1.0, 0.5),), 0, (0, 1, 7))


@pytest.mark.parametrize("seed", range(10))
def test_words_in_any_order_come_back(seed):
    rng = np.random.default_rng(seed)
    runs = [
        range(start, start + n)
        for start, n in zip(rng.integers(0, 99, 6), rng.integers(0, 9, 6), strict=True)
    ]
    words = tuple(int(word) for run in runs for word in run)
    block = Block("text", "t", ((0.0, 0.0, 1.0, 1.0),), 0, words)
    assert decode_blocks(encode_blocks([block], TEXT), TEXT) == (block,)


def test_texts_that_stand_in_the_record_take_little_place():
    rng = np.random.default_rng(0)
    texts = [" ".join(map(str, rng.integers(0, 10**6, 40))) for _ in range(20)]
    blocks = [
        Block("text", text, ((0.0, 0.0, 1.0, 1.0),), 0, tuple(range(40 * n, 40 * n + 40)))
        for n, text in enumerate(texts)
    ]
    assert len(encode_blocks(blocks, "\n\n".join(texts))) < len(encode_blocks(blocks, "")) / 5


def test_blocks_of_another_text_are_damage():
    with pytest.raises(zlib.error):
        decode_blocks(encode_blocks(BLOCKS, TEXT), TEXT + ".")


@pytest.mark.parametrize(
    "runs", [[0, 10**12], [0, 1, 2], [0, 1 << 22, 0, 1], ["a", 1], [0, "b"], [0, 1.5], 7]
)
def test_runs_that_are_none_are_refused(runs):
    data = json.dumps([["text", "t", [], 0, runs, None]]).encode()
    with pytest.raises((TypeError, ValueError)):
        decode_blocks(b"\x02" + zip_bytes(data, TEXT.encode()), TEXT)
