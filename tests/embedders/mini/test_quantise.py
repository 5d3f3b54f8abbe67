"""Laws of eight-bit weights: half a step, zero exact, ends kept, round trips."""

from __future__ import annotations

import numpy as np
import pytest

from mmrag.embedders.mini.quantise import dequantise, pack_weights, quantise, unpack_weights


def test_a_column_worked_by_hand():
    values = np.array([[-1.0, 0.0], [0.0, 0.0], [1.55, 0.0]], np.float32)
    whole, step, zero = quantise(values, np.int8)
    assert step.tolist() == pytest.approx([0.01, 1.0])  # 2.55 / 255; a column of zeros has any step
    assert zero.tolist() == [-28, -128]
    assert whole.tolist() == [[-128, -128], [-28, -128], [127, -128]]
    np.testing.assert_allclose(dequantise(whole, step, zero), values, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("shift", [0.0, 3.0, -40.0])
def test_no_value_is_off_by_more_than_half_a_step_of_its_column(kind, shift):
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(200, 64)) * rng.uniform(0.01, 5, 64) + shift).astype(np.float32)
    whole, step, zero = quantise(values, kind)
    off = np.abs(dequantise(whole, step, zero) - values) / step
    assert whole.dtype == zero.dtype == kind
    assert 0.4 < off.max() < 0.5 + 1e-3  # float32
    assert (off.max(0) > 0.2).all()  # steps are each column's own


def test_zero_is_kept_exactly():
    values = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    values[7] = 0
    assert (dequantise(*quantise(values, np.int8))[7] == 0).all()


def test_only_the_encoders_matrices_and_the_vocabulary_are_packed_and_come_back():
    rng = np.random.default_rng(2)
    state = {
        "encoder.layer.0.output.dense.weight": rng.normal(size=(6, 4)).astype(np.float32),
        "encoder.layer.0.output.dense.bias": rng.normal(size=4).astype(np.float32),
        "encoder.layer.0.output.LayerNorm.weight": rng.normal(size=4).astype(np.float32),
        "embeddings.word": rng.normal(size=(9, 4)).astype(np.float32),
        "embeddings.position": rng.normal(size=(5, 4)).astype(np.float32),
        "meta.query": rng.normal(size=(2, 4)).astype(np.float32),
        "projection": rng.normal(size=(3, 4)).astype(np.float32),
    }
    small = pack_weights(state)
    assert {name for name, one in small.items() if one.dtype != np.float32} == {
        "encoder.layer.0.output.dense.weight",
        "encoder.layer.0.output.dense.weight_zero",
        "embeddings.word",
        "embeddings.word_zero",
    }
    assert small["embeddings.word_scale"].shape == small["embeddings.word_zero"].shape == (1,)
    back = unpack_weights(small)
    assert back.keys() == state.keys()
    for name, values in state.items():
        exact = small[name].dtype == np.float32
        np.testing.assert_allclose(back[name], values, atol=0 if exact else 0.02)
    twice = unpack_weights(pack_weights(back))
    assert all(np.abs(twice[name] - back[name]).max() < 0.01 for name in state)


@pytest.mark.parametrize("bad", [np.full((2, 2), np.nan, np.float32), np.zeros(3, np.float32)])
def test_what_cannot_be_kept_is_refused(bad):
    with pytest.raises(ValueError, match="weights must be finite and in two dimensions"):
        quantise(bad, np.int8)
