"""How verdicts order a ranking.

``alpha`` is the weight of the retrieval score. With ``alpha = 0`` the verdicts alone order the candidates,
and ties keep the prior order. Otherwise both scores are standardised over the candidates (z-scores,
`mmrag.scoring.standardise`) and added as ``alpha * z(retrieval) + (1 - alpha) * z(verdict)``, so that a
probability and a BM25 sum need no common scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmrag.scoring import standardise
from mmrag.types import Candidate, Ranking, Usage, Verdict


def check_alpha(alpha: float) -> float:
    """`alpha`, where it is a share.

    Raises:
        ValueError: outside 0..1.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(
            f"alpha is the retrieval score's share and must be 0 to 1, got {alpha!r}. 0: the reranker alone."
        )
    return float(alpha)


def check_top_n(top_n: int | None) -> int | None:
    """`top_n`, where it is a count or None.

    Raises:
        ValueError: below 1.
    """
    if top_n is not None and (not isinstance(top_n, int) or isinstance(top_n, bool) or top_n < 1):
        raise ValueError(f"top_n must be a whole number of at least 1, or None for all, got {top_n!r}.")
    return top_n


def reordered(
    ranking: Ranking,
    verdicts: Sequence[Verdict],
    *,
    alpha: float = 0.0,
    top_n: int | None = None,
    usage: Usage | None = None,
    notes: Sequence[str] = (),
) -> Ranking:
    """A new ranking by these verdicts, one for each candidate, in the candidates' order.

    Each candidate gets ``verdict``, ``scores["retrieval"]`` (the score it came with), ``scores["rerank"]``
    (the verdict's) and, with ``alpha > 0``, ``scores["reranked"]`` (both together, which then orders).

    Raises:
        ValueError: not one verdict a candidate, a score that is not finite, or alpha or top_n out of range.
    """
    check_alpha(alpha)
    check_top_n(top_n)
    if len(verdicts) != len(ranking):
        raise ValueError(f"every candidate needs a verdict, got {len(verdicts)} for {len(ranking)}.")
    judged = {str(place): verdict.score for place, verdict in enumerate(verdicts)}
    final = judged
    z_judged = standardise(judged)  # refuses what is not finite
    if alpha > 0:
        prior = standardise({str(place): one.score for place, one in enumerate(ranking)})
        final = {key: alpha * prior[key] + (1 - alpha) * z_judged[key] for key in judged}
    order = sorted(range(len(ranking)), key=lambda place: (-final[str(place)], place))
    candidates = []
    for rank, place in enumerate(order[:top_n], start=1):
        old, verdict = ranking[place], verdicts[place]
        scores = {**old.scores, "retrieval": old.score, "rerank": verdict.score}
        if alpha > 0:
            scores["reranked"] = final[str(place)]
        candidates.append(
            Candidate(record=old.record, score=final[str(place)], rank=rank, scores=scores, verdict=verdict)
        )
    return replace(
        ranking,
        candidates=tuple(candidates),
        reranked=True,
        why_not=None,
        usage=ranking.usage + (usage or Usage()),
        notes=(*ranking.notes, *notes),
    )


def kept(ranking: Ranking, why_not: str, *, top_n: int | None = None, usage: Usage | None = None) -> Ranking:
    """The prior order, marked as not reranked and why."""
    return replace(
        ranking,
        candidates=ranking.candidates[: check_top_n(top_n)],
        reranked=False,
        why_not=why_not,
        usage=ranking.usage + (usage or Usage()),
    )


def with_rest(ranking: Ranking, rest: Sequence[Candidate], *, top_n: int | None = None) -> Ranking:
    """A reranked ranking and, behind it in prior order, the candidates that were not judged.

    They have no verdict. The first of them gets the score of the last judged one, and the others fall
    below it by what their retrieval scores differ, so that scores fall with the rank all the way.

    Args:
        ranking: the judged ones.
        rest: the others, best first.
        top_n: most candidates to give back. None: all.
    """
    check_top_n(top_n)
    candidates = list(ranking.candidates)
    if rest and candidates and ranking.reranked:
        lowest, highest = candidates[-1].score, rest[0].score
        rest = [replace(one, score=lowest + one.score - highest) for one in rest]
    candidates += [replace(one, rank=len(candidates) + place) for place, one in enumerate(rest, start=1)]
    return replace(ranking, candidates=tuple(candidates[:top_n]))
