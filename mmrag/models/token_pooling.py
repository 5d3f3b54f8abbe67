"""Fewer vectors per page for models not trained for it: clusters of similar tokens become their means.

The method is the hierarchical token pooling of colpali-engine: Ward's clustering (SciPy's) of the tokens,
each described by its cosine distances to all tokens of the page, cut at the wanted number of clusters; a
cluster's vector is the mean of its tokens, scaled to length one. sentence-transformers has a method of the
same name that clusters the vectors themselves, which gives other clusters.

Why not a grid of neighbours: a page is mostly background, and a grid spends most of its rows on it.

Decisions taken here:

* Rows are in the order of their cluster's first token, so in reading order. No row is a summary of the
  page: prefixes mean nothing, and an index must score all rows (`nested` is False).
* Equal merges are all taken (``maxclust``), so equal tokens never take two rows.
* Distances are float64: the result is the same on every machine but for ties.

`pool_levels` keeps several cuts of one tree instead: the whole page as one row, then 4 clusters, then 16, and
so on. Its prefixes do stand for the page, the shorter the coarser, so that a search can choose its budget.
There the tokens are clustered by their vectors and their places on the page together (as EVIE does), since a
cluster that lies together is a part of the page.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from mmrag.errors import check_whole
from mmrag.types import Matrix

LEVEL_GROWTH = 4
"""Each level has this many times the clusters of the one before, up to what is left of the rows."""

POSITION_WEIGHT = 0.1
"""Weight of a token's place beside its vector; see `pool_levels`."""


def pool_tokens(matrix: Matrix, rows: int) -> Matrix:
    """Pool ``(T, D)`` token vectors to at most `rows` vectors, L2-normalised, float32.

    A matrix of no more than `rows` tokens is returned as it is; so is one with NaN, which the caller refuses.

    Raises:
        ValueError: `rows` is below 1.
    """
    check_whole("rows", rows)
    if len(matrix) <= rows or not np.isfinite(matrix).all():
        whole: NDArray[np.float32] = matrix.astype(np.float32, copy=False)
        return whole
    return _means(matrix, cluster(matrix, rows))


def level_sizes(rows: int) -> list[int]:
    """Return the clusters of each level: 1, 4, 16, ... and what is left of `rows` for the last.

    >>> level_sizes(64)
    [1, 4, 16, 43]
    >>> level_sizes(6)
    [1, 5]
    """
    check_whole("rows", rows)
    sizes = [1]
    while left := rows - sum(sizes):
        size = LEVEL_GROWTH * sizes[-1]
        sizes.append(size if left >= 2 * size else left)  # a level after the last must be the larger one
    return sizes


def pool_levels(
    matrix: Matrix,
    rows: int,
    positions: NDArray[np.float64] | None = None,
    position_weight: float = POSITION_WEIGHT,
) -> Matrix:
    """Pool ``(T, D)`` token vectors to at most `rows` rows of growing detail, L2-normalised, float32.

    The rows are the clusters' means of every level of `level_sizes`, the coarsest first: row 0 stands for the
    whole page, the first 5 rows for the page and its four parts. One tree of clusters is cut at every level,
    so a cluster is a union of clusters of the next.

    A page of few tokens has fewer rows; the last of them are then the tokens themselves.

    Args:
        matrix: one row a token; with NaN it is returned as it is, and the caller refuses it.
        rows: at least 1.
        positions: ``(T, P)`` in 0..1, where a token lies. None: its place in the order.
        position_weight: 0 clusters by vectors alone, 1 by places alone: Ward's clustering of
            ``[(1 - w) * unit vector, w * place]``.

    Raises:
        ValueError: `rows` below 1, a weight outside 0..1, or positions of another length.
    """
    if not 0 <= position_weight <= 1:
        raise ValueError(f"position_weight must be in 0..1, got {position_weight!r}.")
    sizes = level_sizes(rows)
    if not np.isfinite(matrix).all():
        return matrix
    if positions is None:
        positions = np.linspace(0.0, 1.0, len(matrix))[:, None]  # (T, 1)
    if len(positions) != len(matrix):
        raise ValueError(f"positions must be one a token, got {len(positions)} for {len(matrix)} tokens.")
    if len(matrix) < 2:
        return _unit(matrix)
    joint = np.hstack([(1 - position_weight) * _unit(matrix), position_weight * positions])  # (T, D + P)
    tree = linkage(joint.astype(np.float64), method="ward")
    levels: list[NDArray[np.float32]] = [_means(matrix, _in_order(fcluster(tree, t=1, criterion="maxclust")))]
    for size in sizes[1:]:
        if len(levels[-1]) < len(matrix):
            levels.append(_means(matrix, _in_order(fcluster(tree, t=size, criterion="maxclust"))))
    level_rows: NDArray[np.float32] = np.concatenate(levels)[:rows]  # (R, D)
    return level_rows


def _means(matrix: Matrix, labels: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the mean of each cluster, ``(R, D)`` float32 of length one; ``labels`` is (T,)."""
    return _unit(
        np.stack([matrix[labels == label].mean(0, dtype=np.float64) for label in range(labels.max() + 1)])
    )


def _unit(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """Scale rows to length one, float32; a row of zeros stays."""
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (matrix / np.maximum(length, 1e-12)).astype(np.float32)  # (R, D)
    return unit


def cluster(matrix: Matrix, count: int) -> NDArray[np.intp]:
    """Group the tokens of ``(T, D)`` into at most `count` clusters.

    Returns:
        ``(T,)``: the cluster of each token; clusters are numbered from 0 in the order of their first tokens.
    """
    # Each different token once: the same product at two places of a matrix may differ in its last digit.
    values, copies = np.unique(matrix.astype(np.float64), axis=0, return_inverse=True)
    distances = (1.0 - values @ values.T)[copies.ravel()][:, copies.ravel()]  # (T, T)
    tree = linkage(distances, method="ward")
    return _in_order(fcluster(tree, t=count, criterion="maxclust"))


def _in_order(labels: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the clusters of ``(T,)`` tokens numbered anew, from 0 in the order of their first tokens."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    numbers = np.argsort(np.argsort(first))  # of each label, by its first token
    return numbers[inverse]
