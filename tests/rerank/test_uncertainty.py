"""Laws of which verdicts are uncertain: those near one half, and those that contend with the best."""

from __future__ import annotations

import math
import random

import pytest

from mmrag.rerank.uncertainty import uncertain_positions
from mmrag.types import Verdict


def verdicts(*scores: float) -> list[Verdict]:
    return [Verdict(score) for score in scores]


def test_by_hand() -> None:
    sure = verdicts(0.001, 0.5, 0.999, 0.01)
    assert uncertain_positions(sure, 0.25) == [1]  # undecided
    contending = verdicts(0.001, 0.02, 0.99, 0.98)
    assert uncertain_positions(contending, 0.5) == [2, 3]  # each may be the best
    all_low = verdicts(0.001, 0.02, 0.0001, 0.03)
    assert uncertain_positions(all_low, 0.5) == [1, 3]  # a model that says no to all: its best ones


def test_a_share_counts_at_least_one_and_none_at_zero_and_a_larger_one_contains_the_smaller() -> None:
    random_ = random.Random(4)
    for _ in range(200):
        judged = verdicts(*(random_.random() for _ in range(random_.randrange(1, 12))))
        assert uncertain_positions(judged, 0.0) == []
        assert uncertain_positions(judged, 1.0) == list(range(len(judged)))
        shares = sorted(random_.random() for _ in range(3))
        chosen = [set(uncertain_positions(judged, share)) for share in shares]
        assert chosen[0] <= chosen[1] <= chosen[2]
        assert [len(c) for c in chosen] == [max(1, math.floor(s * len(judged) + 1e-9)) for s in shares]


def test_the_candidates_order_does_not_matter() -> None:
    random_ = random.Random(6)
    for _ in range(100):
        scores = [random_.random() for _ in range(8)]
        places = random_.sample(range(8), 8)
        plain = {scores[at] for at in uncertain_positions(verdicts(*scores), 0.4)}
        mixed = [scores[place] for place in places]
        assert plain == {mixed[at] for at in uncertain_positions(verdicts(*mixed), 0.4)}


def test_what_cannot_be_read_is_not_thought_about() -> None:
    judged = [Verdict(0.5, read=False), Verdict(0.9), Verdict(0.5, read=False)]
    assert uncertain_positions(judged, 1.0) == [1]


@pytest.mark.parametrize("scores", [(0.0, 1.0), (1.0, 1.0), (0.0,), ()])
def test_certain_probabilities_and_none_at_all_are_no_error(scores: tuple[float, ...]) -> None:
    assert uncertain_positions(verdicts(*scores), 1.0) == list(range(len(scores)))
