import numpy as np
import pytest

from mmrag.scoring import DEFAULT_WEIGHTS, fuse, standardise


def test_standardise_by_hand():
    """Scores 1, 2, 3: mean 2, standard deviation sqrt(2/3)."""
    scores = standardise({"a": 1.0, "b": 2.0, "c": 3.0})
    assert scores == {"a": pytest.approx(-(1.5**0.5)), "b": 0.0, "c": pytest.approx(1.5**0.5)}


def test_fuse_by_hand():
    """Two records are at +1 and -1 in each channel, so the weights alone decide."""
    fused = fuse({"vectors": {"a": 0.7, "b": 0.6}, "text": {"a": 0.0, "b": 9.0}})
    assert fused == {"a": pytest.approx(2 - 1), "b": pytest.approx(-2 + 1)}


def test_default_weights_are_two_to_one():
    assert dict(DEFAULT_WEIGHTS) == {"vectors": 2.0, "text": 1.0}


def test_a_channel_without_spread_does_not_change_the_order():
    fused = fuse({"vectors": {"a": 0.5, "b": 0.5, "c": 0.5}, "text": {"a": 1.0, "b": 3.0, "c": 2.0}})
    assert sorted(fused, key=fused.__getitem__) == ["a", "c", "b"]


def test_float32_rounding_is_not_spread():
    """Bug guarded: equal cosines that differ in the last float32 bit became z-scores of a whole unit."""
    low = float(np.float32(0.6))
    high = float(np.nextafter(np.float32(0.6), np.float32(1)))
    assert max(abs(z) for z in standardise({"a": low, "b": high}).values()) < 1e-4


def test_a_tiny_difference_in_a_pool_of_two_does_not_outweigh_a_real_one():
    """Without a floor on the spread any two scores are at +1 and -1, and the heavier channel always wins."""
    fused = fuse({"vectors": {"a": 0.6001, "b": 0.6}, "text": {"a": 0.0, "b": 5.0}})
    assert fused["b"] > fused["a"]
    z = standardise({"a": 0.6001, "b": 0.6})
    assert z["a"] == pytest.approx(0.00005 / 0.006001)


@pytest.mark.parametrize("scores", [{}, {"a": 3.0}, {"a": 0.0, "b": 0.0}, {"a": -2.0, "b": -2.0}])
def test_no_spread_is_zero(scores):
    assert standardise(scores) == dict.fromkeys(scores, 0.0)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_equal_scores_are_zero_to_within_rounding(count):
    scores = {str(number): 0.1 for number in range(count)}
    assert standardise(scores) == pytest.approx(dict.fromkeys(scores, 0.0), abs=1e-12)


def test_z_scores_do_not_depend_on_scale_or_offset():
    rng = np.random.default_rng(1)
    values = rng.normal(size=50)
    plain = standardise({str(i): float(v) for i, v in enumerate(values)})
    moved = standardise({str(i): float(v * 7 - 40) for i, v in enumerate(values)})
    assert plain == {key: pytest.approx(value, abs=1e-9) for key, value in moved.items()}


def test_fuse_equals_numpy():
    rng = np.random.default_rng(2)
    vectors, text = rng.normal(size=(2, 200))
    fused = fuse(
        {
            "vectors": {str(i): float(v) for i, v in enumerate(vectors)},
            "text": {str(i): float(v) for i, v in enumerate(text)},
        },
        {"vectors": 0.7, "text": 0.3},
    )
    expected = 0.7 * (vectors - vectors.mean()) / vectors.std() + 0.3 * (text - text.mean()) / text.std()
    np.testing.assert_allclose([fused[str(i)] for i in range(200)], expected, atol=1e-9)


def test_different_ids_are_refused():
    with pytest.raises(ValueError, match="must score the same ids, got 1 in 'text' and 2 before"):
        fuse({"vectors": {"a": 1.0, "b": 2.0}, "text": {"a": 1.0}})


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="must be finite, got nan for 'b'"):
        standardise({"a": 1.0, "b": float("nan")})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"vectors": -1.0, "text": 1.0}, "weight of 'vectors' must be a number of at least 0, got -1.0"),
        ({"vectors": 0.0, "text": 0.0}, "at least one channel must have a weight above 0"),
        ({"vectors": 1.0}, "every channel needs a weight, got none for 'text'"),
    ],
)
def test_weights_that_cannot_order_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        fuse({"vectors": {"a": 1.0}, "text": {"a": 1.0}}, weights)
