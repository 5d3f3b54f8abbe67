import math

import numpy as np
import pytest

from mmrag.evaluation.metrics import (
    METRICS,
    average_precision,
    bootstrap_interval,
    hit,
    ndcg,
    ranking_of,
    recall,
    reciprocal_rank,
)


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


@pytest.mark.parametrize("metric", [ndcg, recall, hit, reciprocal_rank, average_precision])
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


def test_each_metric_by_hand():
    """Relevant at ranks 2 and 4, a third one is not ranked."""
    ranking, relevant = "abcde", {"b", "d", "z"}
    figures = {name: metric(ranking, relevant) for name, metric in METRICS.items()}
    assert figures["mrr@10"] == 1 / 2
    assert figures["map@10"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert (figures["hit@1"], figures["hit@5"], figures["hit@10"]) == (0, 1, 1)
    assert figures["recall@5"] == figures["recall@10"] == pytest.approx(2 / 3)
    assert list(METRICS)[:4] == ["ndcg@5", "recall@1", "recall@5", "recall@10"]  # as reports have had them


def test_graded_ndcg_by_hand():
    """Grade 1 first and grade 2 second, the ideal is the other way round; grade 0 counts for nothing."""
    grades = {"a": 1, "b": 2, "c": 0}
    expected = (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))
    assert ndcg("abc", grades, 5) == pytest.approx(expected)
    assert ndcg("ca", {"a": 1, "c": 0}, 1) == 0
    assert recall("abc", grades, 2) == 1
    with pytest.raises(ValueError, match="at least one relevant item"):
        ndcg("c", {"c": 0}, 5)


def test_tied_items_are_in_reverse_order_of_their_ids():
    assert ranking_of({"a": 0.5, "c": 0.5, "b": 0.9, "d": -1.0}) == ["b", "c", "a", "d"]
    assert ranking_of({"p9": 1.0, "p10": 1.0}) == ["p9", "p10"]  # of bytes, not of numbers
    assert ranking_of({"a": 1.0, "b": 1.0 - 1e-9}) == ["b", "a"]  # equal as 32-bit floats
    with pytest.raises(ValueError, match="a score must be a number, got nan for 'a'"):
        ranking_of({"a": math.nan})


def slow_metrics(scores, grades, k):
    """nDCG, recall, reciprocal rank, average precision and hit, by plain loops over positions."""
    order = []
    left = {item: np.float32(score) for item, score in scores.items()}
    while left:
        best = max(left.values())
        order.append(max(item for item, score in left.items() if score == best))
        del left[order[-1]]
    total = sum(1 for grade in grades.values() if grade > 0)
    gain = found = first = precisions = 0.0
    for place in range(min(k, len(order))):
        grade = grades.get(order[place], 0)
        gain += grade / math.log2(place + 2)
        if grade > 0:
            found += 1
            precisions += found / (place + 1)
            first = first or 1 / (place + 1)
    ideal = sum(g / math.log2(place + 2) for place, g in enumerate(sorted(grades.values())[::-1][:k]))
    return gain / ideal, found / total, first, precisions / total, float(found > 0)


def random_run(rng):
    """Scores of 40 items with many ties, and grades of 1 to 9 items, some of which are not ranked."""
    items = [f"p{number}" for number in range(60)]
    ranked = rng.choice(items, 40, replace=False)
    scores = {str(item): float(rng.integers(0, 8)) / 4 for item in ranked}
    chosen = rng.choice(items, int(rng.integers(1, 10)), replace=False)
    return scores, {str(item): int(rng.integers(0, 4)) for item in chosen} | {str(chosen[0]): 1}


def test_every_metric_equals_plain_loops_on_runs_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores, grades = random_run(rng)
        ranking = ranking_of(scores)
        for k in (1, 5, 10):
            mine = [
                metric(ranking, grades, k)
                for metric in (ndcg, recall, reciprocal_rank, average_precision, hit)
            ]
            np.testing.assert_allclose(mine, slow_metrics(scores, grades, k), atol=1e-12)
