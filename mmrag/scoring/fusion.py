"""Scores of several channels added to one, over the pool of candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

DEFAULT_WEIGHTS: Mapping[str, float] = {"vectors": 1.5, "text": 1.0}
"""Weights of the channels in the fused score."""

SMALLEST_SPREAD = 0.01
"""Smallest standard deviation, relative to the largest score of the pool: in a pool of two or three records
a difference in the third digit must not weigh as much as a real one."""


def standardise(scores: Mapping[str, float]) -> dict[str, float]:
    """Compute z-scores over the pool, in float64.

    ``z[id] = (score[id] - mean) / max(std, SMALLEST_SPREAD * largest absolute score)``. Equal scores,
    or one record alone, say nothing: every z is 0.

    Raises:
        ValueError: a score is not finite.
    """
    if not scores:
        return {}
    for key, value in scores.items():
        if not math.isfinite(value):
            raise ValueError(f"scores to fuse must be finite, got {value!r} for {key!r}.")
    mean = math.fsum(scores.values()) / len(scores)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in scores.values()) / len(scores))
    std = max(std, SMALLEST_SPREAD * max(abs(value) for value in scores.values()))
    return {key: (value - mean) / std if std > 0 else 0.0 for key, value in scores.items()}


def fuse(
    channels: Mapping[str, Mapping[str, float]], weights: Mapping[str, float] = DEFAULT_WEIGHTS
) -> dict[str, float]:
    """Add the channels' weighted z-scores for every id of the pool.

    The sum orders the candidates of one pool. It does not compare pools: a smaller pool, for example under a
    filter, has other means, and a record alone in its pool scores 0.

    Args:
        channels: by name, each with a score for the same ids.
        weights: by channel name; only their ratio changes an order.

    Returns:
        Scores by id, unbounded, mean 0 over the pool.

    Raises:
        ValueError: the channels score different ids, or a channel has no weight.
    """
    check_weights(weights)
    totals: dict[str, float] = {}
    for position, (name, scores) in enumerate(channels.items()):
        if name not in weights:
            raise ValueError(f"every channel needs a weight, got none for {name!r} in {dict(weights)!r}.")
        if position and scores.keys() != totals.keys():
            raise ValueError(
                f"channels must score the same ids, got {len(scores)} in {name!r} and {len(totals)} before. "
                "Score the union of both lists in each channel."
            )
        for key, value in standardise(scores).items():
            totals[key] = totals.get(key, 0.0) + weights[name] * value
    return totals


RANK_CONSTANT = 60
"""Of reciprocal rank fusion, as everywhere in the package."""


def reciprocal_ranks(lists: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return, by id, the sum of ``1 / (RANK_CONSTANT + rank)`` over the lists that have it; rank 1 is best.

    For lists of different questions, whose scores have no common scale. Source: Cormack et al. 2009.

    Args:
        lists: ids, best first, each once in a list.
    """
    totals: dict[str, float] = {}
    for ids in lists:
        for rank, id in enumerate(ids, start=1):
            totals[id] = totals.get(id, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return totals


CLEAR_LEAD = 1.0
"""Standard deviations between the best record by words and the next from which the words are sure."""

CLEAR_LEAD_SHARE = 0.5
"""Of the vectors' weight that is left beside words that are sure."""


def vector_share(text: Mapping[str, float], rows: float = 1.0) -> float:
    """Return how much of the vectors' weight counts beside these words, above 0 to 1.

    Words are sure where one record leads the pool: an exact name or number. (Of two records one always leads
    by two standard deviations, which says nothing.) Fewer rows are less sure: one of sixteen counts half, by
    the fourth root.

    Args:
        text: scores of the pool by words.
        rows: share of the rows that the budget reads, above 0 to 1.
    """
    best = sorted(standardise(text).values())[-2:]
    is_clear = len(text) > 2 and best[1] - best[0] > CLEAR_LEAD
    return float(rows**0.25) * (CLEAR_LEAD_SHARE if is_clear else 1.0)


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse weights that cannot order anything.

    Raises:
        ValueError: a weight is negative or not finite, or all are 0.
    """
    for name, value in weights.items():
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"the weight of {name!r} must be a number of at least 0, got {value!r}.")
    if not any(weights.values()):
        raise ValueError(f"at least one channel must have a weight above 0, got {dict(weights)!r}.")
