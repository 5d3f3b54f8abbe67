"""Rank metrics with binary relevance, and the bootstrap interval of a mean.

Definitions: ``nDCG@k = DCG@k / ideal DCG@k`` with gains 1 and discounts ``log2(rank + 1)``, the ideal
having ``min(relevant, k)`` pages on top; ``recall@k`` is the fraction of the relevant pages among the
first k. Both are in 0..1, and averages are over questions (macro).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def ndcg(ranking: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """Compute the normalised discounted cumulative gain of the first `k`, 0..1.

    Raises:
        ValueError: nothing is relevant, `k` is below 1, or an item is ranked twice.
    """
    relevant_set = _check(ranking, relevant, k)
    gain = math.fsum(_discount(rank) for rank, item in enumerate(ranking[:k], 1) if item in relevant_set)
    ideal = math.fsum(_discount(rank) for rank in range(1, min(len(relevant_set), k) + 1))
    return gain / ideal


def recall(ranking: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """Compute the fraction of the relevant items that are among the first `k`, 0..1.

    Raises:
        ValueError: nothing is relevant, `k` is below 1, or an item is ranked twice.
    """
    relevant_set = _check(ranking, relevant, k)
    return len(relevant_set.intersection(ranking[:k])) / len(relevant_set)


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


def _check(ranking: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> set[Hashable]:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    if not relevant:
        raise ValueError(
            "a question must have at least one relevant item, got none. Leave it out of the mean."
        )
    if len(set(ranking)) != len(ranking):
        twice = next(item for position, item in enumerate(ranking) if item in ranking[:position])
        raise ValueError(f"a ranking must hold an item once, got {twice!r} twice.")
    return set(relevant)
