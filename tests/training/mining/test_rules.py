"""The rules: a case to check by eye, then laws, then the same written a second time in plain loops."""

from __future__ import annotations

import math
import random

import pytest

from mmrag.training.mining.rules import JUDGED_POSITIVE, SAME_TEXT, TOO_CLOSE, Rules, select
from mmrag.training.mining.rules import ScoredRecord as Record


def test_by_hand() -> None:
    """The positive has 0.95: below 0.85 is negative, 0.9 and more is judged relevant, 10 ranks are open."""
    others = [
        Record("twin", 0.20, 2, same_text=True),
        Record("relevant", 0.93, 3),
        Record("close", 0.85, 4),
        Record("hard", 0.84, 5),
        Record("harder", 0.845, 6),
        Record("easy", 0.01, 7),
        Record("far", 0.80, 11),
    ]
    got = select("q", [Record("gold", 0.95, 1)], others, Rules(ranks=(1, 10), negatives=2))
    assert [one.id for one in got.positives] == ["gold"]
    assert [one.id for one in got.negatives] == ["harder", "hard"]
    assert [(one.id, why) for one, why in got.removed] == [
        ("relevant", JUDGED_POSITIVE),
        ("close", TOO_CLOSE),
        ("twin", SAME_TEXT),
    ]
    assert got.skipped == ""


def test_a_positive_the_judge_does_not_understand_teaches_nothing() -> None:
    weak, strong = Record("weak", 0.1, 1), Record("strong", 0.9, None)
    got = select("q", [weak, strong], [Record("other", 0.3, 2)], Rules())
    assert (got.positives, got.doubtful) == ((strong,), (weak,))
    assert [one.id for one in got.negatives] == ["other"]
    got = select("q", [weak], [Record("other", 0.0, 2)], Rules())
    assert got.skipped == "no positive scores 0.5 or more"
    assert (got.positives, got.negatives, got.doubtful) == ((), (), (weak,))


def test_negatives_stay_below_the_lowest_positive_that_counts() -> None:
    positives = [Record("a", 0.9, 1), Record("b", 0.6, 2)]
    got = select("q", positives, [Record("x", 0.55, 3), Record("y", 0.45, 4)], Rules())
    assert [one.id for one in got.negatives] == ["y"]


def test_the_ratio_never_lets_a_negative_above_a_positive_below_zero() -> None:
    rules = Rules(margin=None, false_negative=None, least_positive=None, ratio=0.5)
    got = select("q", [Record("p", -2.0, 1)], [Record("x", -1.5, 2), Record("y", -2.5, 3)], rules)
    assert [one.id for one in got.negatives] == ["y"]
    got = select("q", [Record("p", 1.0, 1)], [Record("x", 0.5, 2), Record("y", 0.49, 3)], rules)
    assert [one.id for one in got.negatives] == ["y"]


def test_without_any_rule_a_negative_is_still_below_the_positive() -> None:
    rules = Rules(margin=None, false_negative=None, least_positive=None)
    got = select("q", [Record("p", 0.5, 1)], [Record("same", 0.5, 2), Record("below", 0.4, 3)], rules)
    assert [one.id for one in got.negatives] == ["below"]


def test_a_draw_is_the_query_s_own_and_repeats() -> None:
    """The window of Magic-MM's second stage: two at random from ranks 50 to 100."""
    rules = Rules((50, 100), 2, margin=None, false_negative=None, least_positive=None, pick="random")
    others = [Record(f"r{rank}", 0.0, rank) for rank in range(1, 121)]
    drawn = {
        query: [one.rank for one in select(query, [Record("p", 1.0, None)], others, rules).negatives]
        for query in ("q1", "q2", "q3")
    }
    assert all(len(ranks) == 2 and min(ranks) >= 50 and max(ranks) <= 100 for ranks in drawn.values())
    assert len({tuple(ranks) for ranks in drawn.values()}) == 3
    again = [one.rank for one in select("q2", [Record("p", 1.0, None)], others[::-1], rules).negatives]
    assert again == drawn["q2"]


def in_plain_loops(positives, others, rules) -> tuple[list[str], set[str], list[str]]:
    """Negatives, removed and kept positives: the rules of the docstring, one sentence a line."""
    kept = [p for p in positives if rules.least_positive is None or p.score >= rules.least_positive]
    if not kept:
        return [], set(), []
    s_pos = min(p.score for p in kept)
    negatives, removed = [], set()
    for one in others:
        if one.rank is None or one.rank < rules.ranks[0] or one.rank > rules.ranks[1]:
            continue
        bad = one.same_text or one.score >= s_pos
        if rules.margin is not None and one.score >= s_pos - rules.margin:
            bad = True
        if rules.false_negative is not None and one.score >= rules.false_negative:
            bad = True
        if rules.ratio is not None and s_pos > 0 and one.score >= rules.ratio * s_pos:
            bad = True
        if bad:
            removed.add(one.id)
        else:
            negatives.append(one)
    for i in range(len(negatives)):  # selection sort, so that nothing is shared with `sorted`
        best = i
        for j in range(i + 1, len(negatives)):
            a, b = negatives[j], negatives[best]
            if (a.score, -a.rank) > (b.score, -b.rank):
                best = j
        negatives[i], negatives[best] = negatives[best], negatives[i]
    return [n.id for n in negatives[: rules.negatives]], removed, [p.id for p in kept]


@pytest.mark.parametrize("seed", range(200))
def test_an_independent_implementation_agrees(seed: int) -> None:
    rng = random.Random(seed)
    grid = [round(x * 0.05, 2) for x in range(-10, 21)]  # a coarse grid: ties and exact limits happen
    rules = Rules(
        ranks=rng.choice([(1, 20), (5, 10), (3, 3)]),
        negatives=rng.randint(1, 8),
        margin=rng.choice([None, 0.0, 0.05, 0.1]),
        ratio=rng.choice([None, 0.95, 0.5, 1.0]),
        false_negative=rng.choice([None, 0.8, 0.9]),
        least_positive=rng.choice([None, 0.0, 0.5]),
    )
    ranks = rng.sample(range(1, 26), 18)
    items = [Record(f"d{rank}", rng.choice(grid), rank, rng.random() < 0.05) for rank in ranks]
    count = rng.randint(1, 3)
    positives, others = items[:count], items[count:]
    got = select("q", positives, others, rules)
    negatives, removed, kept = in_plain_loops(positives, others, rules)
    assert [one.id for one in got.negatives] == negatives
    assert {one.id for one, _ in got.removed} == removed
    assert {one.id for one in got.positives} == set(kept)
    assert bool(got.skipped) == (not negatives)
    for negative in got.negatives:
        for positive in got.positives:
            assert negative.score < positive.score
            assert rules.margin is None or negative.score < positive.score - rules.margin
    shuffled = others[:]
    rng.shuffle(shuffled)
    assert select("q", positives[::-1], shuffled, rules) == got


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ranks": (0, 5)}, "ranks must be a first and a last rank from 1, got 0,5"),
        ({"ranks": (9, 5)}, "ranks must be a first and a last rank from 1, got 9,5"),
        ({"negatives": 0}, "negatives must be a whole number of at least 1, got 0"),
        ({"margin": -0.1}, "margin must be a number of at least 0, or None, got -0.1"),
        ({"margin": math.nan}, "margin must be a number"),
        ({"ratio": 1.5}, "ratio must be above 0 and at most 1, or None, got 1.5"),
        ({"false_negative": math.inf}, "false_negative must be a finite number"),
        ({"pick": "worst"}, "pick must be 'best' or 'random', got 'worst'"),
    ],
)
def test_rules_out_of_range_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rules(**settings)


def test_scores_that_cannot_order_are_refused() -> None:
    with pytest.raises(ValueError, match="scores to select by must be finite, got nan for 'x'"):
        select("q", [Record("p", 1.0, 1)], [Record("x", math.nan, 2)], Rules())
    with pytest.raises(ValueError, match="query 'q' must have at least one positive"):
        select("q", [], [], Rules())


def test_the_round_trip_sets_positives_aside_that_are_not_found_again():
    rules = Rules(least_positive=0.5, positive_rank=3)
    found, late, unseen, denied = (
        Record("found", 0.9, 3),
        Record("late", 0.9, 4),
        Record("unseen", 0.9, None),
        Record("denied", 0.4, 1),
    )
    selection = select("q", [found, late, unseen, denied], [Record("other", 0.1, 2)], rules)
    assert selection.positives == (found,) and set(selection.doubtful) == {late, unseen, denied}
    assert select("q", [late], [], rules).skipped == "no positive was found among the first 3"
    assert select("q", [denied], [], rules).skipped == "no positive scores 0.5 or more"
    with pytest.raises(ValueError, match="positive_rank"):
        Rules(positive_rank=0)
