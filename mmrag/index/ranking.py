"""From scores to ordered hits, the same way in every home."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.types import Hit

MARGIN = 1e-5
"""Relative to the largest score: rounding of float32 products is well below it."""


def shortlist(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Select the positions that can be among the best `k` once rounding is out of the way, ties included."""
    if len(scores) <= k:
        return np.arange(len(scores))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    slack = MARGIN * max(1.0, float(np.abs(scores).max()))
    return np.flatnonzero(scores >= kth - slack)


def final_scores(query: NDArray[Any], matrices: Sequence[NDArray[Any]]) -> list[float]:
    """Compute late-interaction scores in float64, given as float32.

    The order in which a product is summed depends on where a row stands in its block, so two equal records
    could differ in the last digit, and tie-breaking by id would be chance. The last digit of float64 is far
    below the one of float32: given as float32 they are equal, in every home.
    """
    if not matrices:
        return []
    return final_scores_of(query, np.concatenate(matrices), np.cumsum([0, *map(len, matrices[:-1])]))


def final_scores_of(query: NDArray[Any], rows: NDArray[Any], starts: NDArray[Any]) -> list[float]:
    """Compute `final_scores` of documents whose rows ``(R, D)`` stand one after the other.

    Args:
        query: ``(Tq, D)``.
        rows: of all documents.
        starts: the first row of each document, ``(N,)``, N at least 1.
    """
    similarity = rows.astype(np.float64) @ query.astype(np.float64).T  # (R, Tq)
    best = np.maximum.reduceat(similarity, starts, axis=0)  # (N, Tq)
    scores: list[float] = best.sum(1).astype(np.float32).tolist()
    return scores


def best_hits(
    query: NDArray[Any],
    scores: NDArray[np.float32],
    ids: Callable[[int], str],
    matrices: Callable[[NDArray[np.intp]], Sequence[NDArray[Any]]],
    k: int,
) -> list[Hit]:
    """Return the best `k`, best first, ties by id.

    Args:
        query: ``(Tq, D)``, cut to the budget.
        scores: of all that are ranked, float32.
        ids: the id at a position.
        matrices: the matrices at some positions, cut to the budget.
        k: at least 1.
    """
    positions = shortlist(scores, k)
    final = final_scores(query, matrices(positions))
    hits = [Hit(ids(int(position)), score) for position, score in zip(positions, final, strict=True)]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]
