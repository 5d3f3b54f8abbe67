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
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from mmrag.types import Matrix


def pool_tokens(matrix: Matrix, rows: int) -> Matrix:
    """Pool ``(T, D)`` token vectors to at most `rows` vectors, L2-normalised, float32.

    A matrix of no more than `rows` tokens is returned as it is; so is one with NaN, which the caller refuses.

    Raises:
        ValueError: `rows` is below 1.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}.")
    if len(matrix) <= rows or not np.isfinite(matrix).all():
        whole: NDArray[np.float32] = matrix.astype(np.float32, copy=False)
        return whole
    labels = cluster(matrix, rows)  # (T,)
    means = np.stack([matrix[labels == label].mean(0, dtype=np.float64) for label in range(labels.max() + 1)])
    length = np.linalg.norm(means, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (means / np.maximum(length, 1e-12)).astype(np.float32)  # (R, D)
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
    labels = fcluster(tree, t=count, criterion="maxclust")  # (T,), from 1 in the tree's order
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    numbers = np.argsort(np.argsort(first))  # of each label, by its first token
    return numbers[inverse]
