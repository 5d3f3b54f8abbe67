"""Laws of the encoder, against a BERT in numpy with the weights that the eight bits stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from safetensors.numpy import load_file

from mmrag.embedders.mini.embedder import MODEL_DIR
from mmrag.embedders.mini.encoder import WEIGHTS, MiniEncoder
from mmrag.embedders.mini.located import Part, parts_of
from mmrag.embedders.mini.quantise import unpack_weights

HEADS = 12
TEXTS = [
    "net sales in europe",
    "The warranty covers defects in material and workmanship for twenty-four months from purchase.",
    " ".join(f"Item {number} costs {number * 7} euros." for number in range(12)),
]


@pytest.fixture(scope="module")
def encoder() -> MiniEncoder:
    return MiniEncoder(MODEL_DIR)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return unpack_weights(load_file(MODEL_DIR / WEIGHTS))


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12) * weight + bias


def plain_rows(weights, ids: list[int], parts: list[Part], side: str, before: int) -> np.ndarray:
    """Layer by layer in float64; content is ``ids[before:-1]`` and sees itself, a row its part and itself."""
    count, rows = len(ids), len(parts)
    place = weights["embeddings.position"].astype(np.float64)
    content = weights["embeddings.word"][ids] + place[:count]
    x = np.concatenate([content, weights[f"meta.{side}"][:rows] + place[0]])
    x = norm(x, weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"])
    seen = np.zeros((count + rows, count + rows), bool)
    seen[:count, :count] = True
    for row, part in enumerate(parts):
        whole = part.level == 0
        start, end = (0, count) if whole else (before + part.start, before + part.end)
        seen[count + row, start:end] = True
        seen[count + row, count + row] = True
    erf = np.vectorize(math.erf)
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    for number in range(layers):

        def linear(x: np.ndarray, name: str, base: str = f"encoder.layer.{number}.") -> np.ndarray:
            return x @ weights[f"{base}{name}.weight"].astype(np.float64) + weights[f"{base}{name}.bias"]

        def layer_norm(x: np.ndarray, name: str, base: str = f"encoder.layer.{number}.") -> np.ndarray:
            return norm(x, weights[f"{base}{name}.LayerNorm.weight"], weights[f"{base}{name}.LayerNorm.bias"])

        query, key, value = (
            linear(x, f"attention.self.{name}").reshape(len(x), HEADS, -1).transpose(1, 0, 2)
            for name in ("query", "key", "value")
        )
        logits = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        logits = np.where(seen, logits, -np.inf)
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(x), -1)
        x = layer_norm(linear(mixed, "attention.output.dense") + x, "attention.output")
        wide = linear(x, "intermediate.dense")
        wide = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        x = layer_norm(linear(wide, "output.dense") + x, "output")
    projected = x[count:] @ weights["projection"].T
    return projected / np.linalg.norm(projected, axis=1, keepdims=True)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("side", ["query", "document"])
def test_rows_are_those_of_a_bert_in_numpy(encoder, weights, text, side):
    tokens = encoder.tokenizer.tokenize(text)
    parts = parts_of(len(tokens), most=16, smallest=1)[:8]
    prefix = encoder.tokenizer.tokenize("find this: ") if side == "query" else []
    made = encoder.rows(encoder.embed(tokens), parts, side, prefix)
    ids = [encoder.tokenizer.first, *prefix, *tokens, encoder.tokenizer.last]
    expected = plain_rows(weights, ids, parts, side, before=1 + len(prefix))
    assert made.shape == (len(parts), encoder.dim)
    alike = cosines(made, expected)
    assert alike.mean() > 0.99
    assert alike.min() > 0.98  # activations are in eight bits, too; three words are the worst


def test_input_vectors_are_the_vocabulary_that_the_weights_stand_for(encoder, weights):
    ids = [0, 101, 2000, 30_000]
    np.testing.assert_array_equal(encoder.embed(ids), weights["embeddings.word"][ids])
    assert encoder.embed([]).shape == (0, weights["embeddings.word"].shape[1])


def test_a_row_does_not_depend_on_which_other_rows_there_are(encoder):
    """But for rounding to eight bits, whose steps are the window's."""
    tokens = encoder.tokenizer.tokenize(TEXTS[-1])
    content = encoder.embed(tokens)
    parts = parts_of(len(tokens), most=16, smallest=1)
    whole = encoder.rows(content, parts, "document")
    for count in (1, 4, 9):
        assert cosines(encoder.rows(content, parts[:count], "document"), whole[:count]).min() > 0.98


def test_a_row_sees_its_part_alone_of_meta_tokens_equal(encoder):
    """Rows of different parts differ, and the same part under the same token is the same row."""
    tokens = encoder.tokenizer.tokenize(TEXTS[-1])
    content = encoder.embed(tokens)
    half = len(tokens) // 2
    one = [Part(0, 0, len(tokens)), Part(1, 0, half)]
    other = [Part(0, 0, len(tokens)), Part(1, half, len(tokens))]
    first, again, moved = (encoder.rows(content, parts, "document") for parts in (one, one, other))
    np.testing.assert_array_equal(first, again)
    assert cosines(first, moved)[1] < cosines(first, moved)[0]


def test_rows_are_unit_vectors_in_one_window_and_means_at_their_length_in_several(encoder):
    content = encoder.embed(encoder.tokenizer.tokenize(TEXTS[1] * 20))
    assert len(content) > 254
    parts = parts_of(len(content), most=16)
    rows = encoder.rows(content, parts, "document")
    lengths = np.linalg.norm(rows, axis=1)
    assert lengths[0] < 1
    np.testing.assert_allclose(lengths[8:], 1, atol=1e-5)
    short = encoder.rows(content[:200], parts_of(200, most=16), "document")
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)


def test_nothing_has_one_row(encoder):
    rows = encoder.rows(encoder.embed([]), parts_of(1, most=64), "document")
    assert rows.shape == (1, encoder.dim)
    assert np.isfinite(rows).all()
