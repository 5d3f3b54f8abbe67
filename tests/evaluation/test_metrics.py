import math

import numpy as np
import pytest

from mmrag.evaluation.metrics import bootstrap_interval, ndcg, recall


def test_ndcg_by_hand():
    """Relevant at ranks 2 and 4: (1/log2 3 + 1/log2 5) / (1 + 1/log2 3)."""
    expected = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3))
    assert ndcg("abcde", {"b", "d"}, 5) == pytest.approx(expected)


def test_ndcg_ends():
    assert ndcg("abc", {"a"}, 5) == 1
    assert ndcg("abc", {"z"}, 5) == 0
    assert ndcg("", {"a"}, 5) == 0
    assert ndcg("abcdef", {"f"}, 5) == 0  # rank 6 is not seen


def test_the_ideal_holds_no_more_than_k():
    """Seven relevant pages, the first five found: nothing better fits in five places."""
    assert ndcg("abcdefg", set("abcdefg"), 5) == 1


def test_recall_by_hand():
    assert recall("abcde", {"a", "e", "z"}, 5) == pytest.approx(2 / 3)
    assert recall("abcde", {"a", "e", "z"}, 1) == pytest.approx(1 / 3)


def test_ndcg_equals_plain_loops():
    rng = np.random.default_rng(0)
    for _ in range(100):
        ranked = rng.permutation(20).tolist()
        relevant = set(rng.choice(30, size=int(rng.integers(1, 9)), replace=False).tolist())
        gain = ideal = 0.0
        for place in range(5):
            gain += (ranked[place] in relevant) / math.log2(place + 2)
            ideal += (place < len(relevant)) / math.log2(place + 2)
        assert ndcg(ranked, relevant, 5) == pytest.approx(gain / ideal)


@pytest.mark.parametrize("metric", [ndcg, recall])
def test_what_cannot_be_measured_is_refused(metric):
    with pytest.raises(ValueError, match="at least one relevant item"):
        metric("abc", set(), 5)
    with pytest.raises(ValueError, match="hold an item once, got 'a' twice"):
        metric("aba", {"a"}, 5)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        metric("abc", {"a"}, 0)


def test_a_constant_has_an_interval_of_no_width():
    low, high = bootstrap_interval(np.full((7, 2), 0.25))
    np.testing.assert_allclose(low, 0.25)
    np.testing.assert_allclose(high, 0.25)


def test_the_interval_is_close_to_the_normal_one():
    """For 400 questions the bootstrap must agree with mean +- 1.96 standard errors, to 0.4 of one."""
    values = np.random.default_rng(3).random((400, 1))
    (low,), (high,) = bootstrap_interval(values, samples=4000)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.4 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.4 * error)


def test_the_seed_decides_the_interval():
    values = np.random.default_rng(4).random((30, 3))
    first, again, other = (bootstrap_interval(values, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"at least one question, got shape \(0, 2\)"):
        bootstrap_interval(np.zeros((0, 2)))
