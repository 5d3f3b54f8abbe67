"""Laws of how verdicts order a ranking."""

from __future__ import annotations

import pytest

from mmrag.rerank.ordering import keep_order, reorder
from mmrag.types import Candidate, Query, Ranking, Record, Usage, Verdict


def ranking(*scores: float) -> Ranking:
    return Ranking(
        Query(text="q"),
        tuple(
            Candidate(Record(f"r{place}", None, text=f"text {place}"), score, place + 1, {"fused": score})
            for place, score in enumerate(scores)
        ),
    )


def test_verdicts_alone_order_and_ties_keep_the_prior_order() -> None:
    before = ranking(3.0, 2.0, 1.0)
    after = reorder(before, [Verdict(0.1), Verdict(0.9), Verdict(0.9)])
    assert [c.id for c in after] == ["r1", "r2", "r0"]
    assert [c.rank for c in after] == [1, 2, 3]
    assert [c.score for c in after] == [0.9, 0.9, 0.1]
    assert after[0].scores == {"fused": 2.0, "retrieval": 2.0, "rerank": 0.9}
    assert after.reranked and after.why_not is None


def test_the_callers_ranking_is_not_changed() -> None:
    before = ranking(3.0, 2.0)
    reorder(before, [Verdict(0.0), Verdict(1.0)], alpha=0.5, top_n=1)
    assert before == ranking(3.0, 2.0)


def test_alpha_one_is_the_prior_order_and_half_weighs_both_alike() -> None:
    before = ranking(3.0, 2.0, 1.0)
    verdicts = [Verdict(1.0), Verdict(2.0), Verdict(3.0)]
    assert [c.id for c in reorder(before, verdicts, alpha=1.0)] == ["r0", "r1", "r2"]
    middle = reorder(before, verdicts, alpha=0.5)  # the two opposite orders cancel: every sum is 0
    assert [c.score for c in middle] == pytest.approx([0.0, 0.0, 0.0])
    assert [c.id for c in middle] == ["r0", "r1", "r2"]


def test_top_n_cuts_after_ordering_and_cost_is_added() -> None:
    before = ranking(3.0, 2.0, 1.0)
    after = reorder(
        before, [Verdict(0), Verdict(0), Verdict(1)], top_n=1, usage=Usage({"rerank": 2.0}, 5, 1), notes=["n"]
    )
    assert [c.id for c in after] == ["r2"]
    assert after.usage == Usage({"rerank": 2.0}, 5, 1)
    assert after.notes == ("n",)


def test_kept_keeps_the_order_and_says_why() -> None:
    after = keep_order(ranking(3.0, 2.0), "the server is gone", top_n=1)
    assert [c.id for c in after] == ["r0"]
    assert not after.reranked
    assert after.why_not == "the server is gone"


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_verdict_that_is_not_finite_never_becomes_a_ranking(score: float) -> None:
    with pytest.raises(ValueError, match="must be finite, got"):
        reorder(ranking(1.0, 2.0), [Verdict(0.5), Verdict(score)])


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="every candidate needs a verdict, got 1 for 2"):
        reorder(ranking(1.0, 2.0), [Verdict(0.5)])
    with pytest.raises(ValueError, match=r"alpha .* must be 0 to 1, got 1.5"):
        reorder(ranking(1.0), [Verdict(0.5)], alpha=1.5)
    with pytest.raises(ValueError, match=r"top_n must be .* got 0"):
        reorder(ranking(1.0), [Verdict(0.5)], top_n=0)


def test_a_unit_stands_in_place_of_the_verdicts_own_spread() -> None:
    before = ranking(3.0, 2.0, 1.0)
    scores = (-9.2, -9.0, -9.1)
    verdicts = [Verdict(score) for score in scores]
    assert [c.id for c in reorder(before, verdicts, alpha=0.5)] == ["r1", "r0", "r2"]  # small made large
    after = reorder(before, verdicts, alpha=0.5, unit=5.0)
    z_prior = (1.5**0.5, 0.0, -(1.5**0.5))
    expected = [0.5 * z + 0.5 * score / 5.0 for z, score in zip(z_prior, scores, strict=True)]
    assert [c.id for c in after] == ["r0", "r1", "r2"]
    assert [c.score for c in after] == pytest.approx(expected)
    assert [c.id for c in reorder(before, verdicts, unit=5.0)] == ["r1", "r2", "r0"]  # alone, as without
