"""How verdicts order a ranking.

``alpha`` is the weight of the retrieval score. With ``alpha = 0`` the verdicts alone order the candidates,
and ties keep the prior order. Otherwise both scores are standardised over the candidates (z-scores,
`mmrag.scoring.standardise`) and added as ``alpha * z(retrieval) + (1 - alpha) * z(verdict)``, so that a
probability and a BM25 sum need no common scale. A reranker whose scores mean the same for every question
names a ``unit`` instead: then ``verdict / unit`` stands in place of ``z(verdict)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmrag.errors import check_whole
from mmrag.scoring import standardise
from mmrag.types import Candidate, Ranking, Usage, Verdict


def check_alpha(alpha: float) -> float:
    """Return `alpha` as a float if it is in 0..1.

    Raises:
        ValueError: outside 0..1.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(
            "alpha is the weight of the retrieval score and must be 0 to 1, "
            f"got {alpha!r}. 0: the reranker alone."
        )
    return float(alpha)


def check_top_n(top_n: int | None) -> int | None:
    """Return `top_n` if it is None or a whole number of at least 1.

    Raises:
        ValueError: anything else.
    """
    return None if top_n is None else check_whole("top_n", top_n, hint="None returns all candidates.")


def reorder(
    ranking: Ranking,
    verdicts: Sequence[Verdict],
    *,
    alpha: float = 0.0,
    unit: float | None = None,
    top_n: int | None = None,
    usage: Usage | None = None,
    notes: Sequence[str] = (),
) -> Ranking:
    """Return a new ranking ordered by one verdict per candidate; `ranking` is not changed.

    Each candidate gets ``verdict``, ``scores["retrieval"]`` (its score so far), ``scores["rerank"]`` (the
    verdict's) and, with ``alpha > 0``, ``scores["reranked"]`` (their weighted sum, which then orders).

    Args:
        ranking: best first.
        verdicts: in the order of the candidates.
        alpha: weight of the retrieval score, 0..1.
        unit: difference of two verdicts that weighs as much as one of z-scores by 1. None: the standard
            deviation of these verdicts.
        top_n: most candidates to return. None: all.
        usage: cost of the verdicts, added to the ranking's.
        notes: appended to the ranking's.

    Raises:
        ValueError: the counts differ, a score is not finite, or `alpha` or `top_n` is out of range.
    """
    check_alpha(alpha)
    check_top_n(top_n)
    if len(verdicts) != len(ranking):
        raise ValueError(f"every candidate needs a verdict, got {len(verdicts)} for {len(ranking)}.")
    final = _final_scores(ranking, verdicts, alpha, unit)
    order = sorted(range(len(ranking)), key=lambda index: (-final[index], index))[:top_n]
    candidates = [
        _with_verdict(ranking[index], verdicts[index], rank, final[index], is_fused=alpha > 0)
        for rank, index in enumerate(order, start=1)
    ]
    return replace(
        ranking,
        candidates=tuple(candidates),
        reranked=True,
        why_not=None,
        usage=ranking.usage + (usage or Usage()),
        notes=(*ranking.notes, *notes),
    )


def _final_scores(
    ranking: Ranking, verdicts: Sequence[Verdict], alpha: float, unit: float | None
) -> list[float]:
    scores = [verdict.score for verdict in verdicts]
    rerank = _standardise(scores)  # raises for a score that is not finite, whatever alpha is
    if alpha == 0:
        return scores
    if unit is not None:
        rerank = [score / unit for score in scores]
    retrieval = _standardise([candidate.score for candidate in ranking])
    return [alpha * before + (1 - alpha) * after for before, after in zip(retrieval, rerank, strict=True)]


def _standardise(scores: Sequence[float]) -> list[float]:
    return list(standardise({str(index): score for index, score in enumerate(scores)}).values())


def _with_verdict(
    candidate: Candidate, verdict: Verdict, rank: int, final: float, *, is_fused: bool
) -> Candidate:
    scores = {**candidate.scores, "retrieval": candidate.score, "rerank": verdict.score}
    if is_fused:
        scores["reranked"] = final
    return replace(candidate, score=final, rank=rank, scores=scores, verdict=verdict)


def keep_order(
    ranking: Ranking, why_not: str, *, top_n: int | None = None, usage: Usage | None = None
) -> Ranking:
    """Return the prior order, marked as not reranked with the reason `why_not`."""
    return replace(
        ranking,
        candidates=ranking.candidates[: check_top_n(top_n)],
        reranked=False,
        why_not=why_not,
        usage=ranking.usage + (usage or Usage()),
    )


def append_rest(ranking: Ranking, rest: Sequence[Candidate], *, top_n: int | None = None) -> Ranking:
    """Append the candidates that were not reranked, in prior order and without a verdict.

    The first of `rest` gets the lowest score of `ranking`; the others fall below it by the differences of
    their retrieval scores, so that scores never rise with the rank.

    Args:
        ranking: the reranked head.
        rest: the candidates behind it, best first.
        top_n: most candidates to return. None: all.
    """
    check_top_n(top_n)
    candidates = list(ranking.candidates)
    if rest and candidates and ranking.reranked:
        shift = candidates[-1].score - rest[0].score
        rest = [replace(candidate, score=candidate.score + shift) for candidate in rest]
    first = len(candidates) + 1
    candidates += [replace(candidate, rank=rank) for rank, candidate in enumerate(rest, start=first)]
    return replace(ranking, candidates=tuple(candidates[:top_n]))
