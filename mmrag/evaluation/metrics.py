"""Rank metrics, the order of tied scores, and the bootstrap interval of a mean.

Definitions, those of trec_eval:

* ``nDCG@k = DCG@k / ideal DCG@k`` with discounts ``log2(rank + 1)``. An item's gain is its grade, 1 where
  nobody graded; the ideal has the k largest grades on top.
* ``recall@k``: fraction of the relevant items among the first k; ``hit@k``: 1 if there is one.
* ``MRR@k``: 1 / rank of the first relevant item, 0 if it is not among the first k.
* ``MAP@k``: sum of the precisions at the relevant items among the first k, divided by all relevant items.

All are in 0..1, and averages are over questions (macro). Items of grade 0 or below are not relevant. A
ranking is an order without ties; `ranking_of` makes one of scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Relevant: TypeAlias = "Collection[Hashable] | Mapping[Hashable, float]"
"""Relevant items, or the grade of each."""


def ndcg(ranking: Sequence[Hashable], relevant: Relevant, k: int) -> float:
    """Compute the normalised discounted cumulative gain of the first `k`, 0..1.

    Raises:
        ValueError: nothing is relevant, `k` is below 1, or an item is ranked twice.
    """
    grades = _check(ranking, relevant, k)
    gain = math.fsum(grades.get(item, 0) * _discount(rank) for rank, item in enumerate(ranking[:k], 1))
    best = sorted(grades.values(), reverse=True)[:k]
    return gain / math.fsum(grade * _discount(rank) for rank, grade in enumerate(best, 1))


def recall(ranking: Sequence[Hashable], relevant: Relevant, k: int) -> float:
    """Compute the fraction of the relevant items that are among the first `k`, 0..1.

    Raises:
        ValueError: nothing is relevant, `k` is below 1, or an item is ranked twice.
    """
    grades = _check(ranking, relevant, k)
    return len(_hits(ranking, grades, k)) / len(grades)


def hit(ranking: Sequence[Hashable], relevant: Relevant, k: int) -> float:
    """Compute 1 if a relevant item is among the first `k`, else 0.

    Raises:
        ValueError: nothing is relevant, `k` is below 1, or an item is ranked twice.
    """
    return float(bool(_hits(ranking, _check(ranking, relevant, k), k)))


def reciprocal_rank(ranking: Sequence[Hashable], relevant: Relevant, k: int) -> float:
    """Compute 1 / rank of the first relevant item, 0 if it is not among the first `k`.

    Raises:
        ValueError: nothing is relevant, `k` is below 1, or an item is ranked twice.
    """
    ranks = _hits(ranking, _check(ranking, relevant, k), k)
    return 1 / ranks[0] if ranks else 0.0


def average_precision(ranking: Sequence[Hashable], relevant: Relevant, k: int) -> float:
    """Compute the average precision of the first `k` over all relevant items, 0..1.

    Raises:
        ValueError: nothing is relevant, `k` is below 1, or an item is ranked twice.
    """
    grades = _check(ranking, relevant, k)
    ranks = _hits(ranking, grades, k)
    return math.fsum(count / rank for count, rank in enumerate(ranks, 1)) / len(grades)


METRICS: Mapping[str, Callable[[Sequence[Hashable], Relevant], float]] = MappingProxyType(
    {
        "ndcg@5": partial(ndcg, k=5),
        "recall@1": partial(recall, k=1),
        "recall@5": partial(recall, k=5),
        "recall@10": partial(recall, k=10),
        "ndcg@10": partial(ndcg, k=10),
        "mrr@10": partial(reciprocal_rank, k=10),
        "map@10": partial(average_precision, k=10),
        "hit@1": partial(hit, k=1),
        "hit@5": partial(hit, k=5),
        "hit@10": partial(hit, k=10),
    }
)
"""What a report has of each question, by name."""


def ranking_of(scores: Mapping[str, float]) -> list[str]:
    """Order items by score, largest first, as trec_eval and what is built on it do.

    Scores are compared as 32-bit floats; of tied items the one whose id comes last in the order of bytes is
    first. A rule of its own, not one that favours anybody: shuffle ids that say how relevant an item is.

    Raises:
        ValueError: a score is not a number.
    """
    for item, score in scores.items():
        if math.isnan(score):
            raise ValueError(f"a score must be a number, got {score} for {item!r}.")
    by_id = sorted(scores, key=lambda item: item.encode("utf-8", "surrogatepass"), reverse=True)
    return sorted(by_id, key=lambda item: np.float32(scores[item]), reverse=True)  # a stable sort


def bootstrap_interval(
    values: NDArray[np.float64], *, samples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the percentile interval of the mean over questions, for several metrics on the same resamples.

    Args:
        values: ``(questions, metrics)``, at least one question.
        samples: resamples with replacement.
        level: fraction of them inside.
        seed: the same seed gives the same interval.

    Returns:
        Lower and upper ends, ``(metrics,)`` each.

    Raises:
        ValueError: `values` is not 2D or has no question.
    """
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(
            f"values must be 2D (questions, metrics) with at least one question, got shape {values.shape}."
        )
    rng = np.random.default_rng(seed)
    count = len(values)
    # how often each question is drawn: a (samples, questions) matrix turns resampling into one product
    draws = rng.multinomial(count, np.full(count, 1 / count), size=samples)
    means = draws @ values / count  # (samples, metrics)
    tail = (1 - level) / 2
    return np.quantile(means, tail, axis=0), np.quantile(means, 1 - tail, axis=0)


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def _hits(ranking: Sequence[Hashable], grades: Mapping[Hashable, float], k: int) -> list[int]:
    """Return the ranks, from 1, of the relevant items among the first `k`."""
    return [rank for rank, item in enumerate(ranking[:k], 1) if item in grades]


def _check(ranking: Sequence[Hashable], relevant: Relevant, k: int) -> dict[Hashable, float]:
    """Return the grades of the relevant items."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    all_grades = relevant if isinstance(relevant, Mapping) else dict.fromkeys(relevant, 1)
    grades = {item: grade for item, grade in all_grades.items() if grade > 0}
    if not grades:
        raise ValueError(
            "a question must have at least one relevant item, got none. Leave it out of the mean."
        )
    if len(set(ranking)) != len(ranking):
        twice = next(item for position, item in enumerate(ranking) if item in ranking[:position])
        raise ValueError(f"a ranking must hold an item once, got {twice!r} twice.")
    return grades
