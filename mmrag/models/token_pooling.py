"""Fewer vectors a page for models that were not trained for it: similar tokens become their mean.

The method is the hierarchical token pooling of colpali-engine: Ward's clustering of the tokens, each
described by its cosine distances to all tokens of the page, cut at the wanted number of clusters; a
cluster's vector is the mean of its tokens, scaled to length one. Written here with NumPy alone, so that
SciPy is not needed; both give the same rows (tests state it). sentence-transformers has a method of the
same name that clusters the vectors themselves, which gives other clusters.

Why not a grid of neighbours: a page is mostly background, and a grid spends most of its rows on it.

Decisions taken here:

* Rows stand in the order of their cluster's first token, so in reading order. No row is a summary of the
  page: prefixes mean nothing, and an index must score all rows (`nested` is False).
* Equal merges are all taken, as SciPy's ``maxclust`` does, so tokens that are the same never take two rows.
* Distances are float64: the result is the same on every machine but for ties.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmrag.types import Matrix


def pool_tokens(matrix: Matrix, rows: int) -> Matrix:
    """At most `rows` vectors that stand for all of ``(tokens, dim)``, L2-normalised, float32.

    A matrix of no more than `rows` tokens is returned as it is.

    Raises:
        ValueError: `rows` is below 1.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}.")
    if len(matrix) <= rows:
        whole: NDArray[np.float32] = matrix.astype(np.float32, copy=False)
        return whole
    labels = cluster(matrix, rows)
    pooled = np.stack(
        [matrix[labels == label].mean(0, dtype=np.float64) for label in range(labels.max() + 1)]
    )
    length = np.linalg.norm(pooled, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (pooled / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


def cluster(matrix: Matrix, count: int) -> NDArray[np.intp]:
    """A cluster's number for each token, in the order of their first tokens; at most `count` clusters."""
    values = matrix.astype(np.float64)
    features = 1.0 - values @ values.T
    squares = (features * features).sum(1)
    distances = squares[:, None] + squares[None] - 2 * features @ features.T
    merges = ward(np.maximum(distances, 0.0))
    merges.sort(key=lambda merge: merge[0])
    cut = merges[len(values) - count - 1][0]
    return _labels(len(values), [pair for height, *pair in merges if height <= cut])


def ward(distances: NDArray[np.float64]) -> list[tuple[float, int, int]]:
    """Ward's merges of points with these squared distances, as ``(height, a member, a member)``.

    The nearest-neighbour chain: quadratic in time and memory. Merges come in the chain's order; sorted by
    height they are the usual dendrogram. Source: Murtagh, "A survey of recent advances in hierarchical
    clustering algorithms", 1983.
    """
    count = len(distances)
    apart = distances.copy()
    np.fill_diagonal(apart, np.inf)
    sizes = np.ones(count)
    alive = np.ones(count, np.bool_)
    merges: list[tuple[float, int, int]] = []
    chain: list[int] = []
    while len(merges) < count - 1:
        if not chain:
            chain.append(int(alive.argmax()))
        while True:
            top = chain[-1]
            nearest = int(apart[top].argmin())
            if len(chain) > 1 and apart[top, chain[-2]] <= apart[top, nearest]:
                nearest = chain[-2]  # of equal ones the one before, or the chain would never end
                break
            chain.append(nearest)
        del chain[-2:]
        merges.append((float(apart[top, nearest]), top, nearest))
        _merge(apart, sizes, alive, keep=nearest, gone=top)
    return merges


def _merge(
    apart: NDArray[np.float64], sizes: NDArray[np.float64], alive: NDArray[np.bool_], *, keep: int, gone: int
) -> None:
    """Lance-Williams update of the squared distances, in place."""
    total = sizes + sizes[keep] + sizes[gone]
    between = apart[keep, gone]
    alive[gone] = False
    with np.errstate(invalid="ignore"):  # infinity minus infinity at places that are set below
        row = (sizes + sizes[keep]) * apart[keep] + (sizes + sizes[gone]) * apart[gone] - sizes * between
        row /= total
    row[~alive] = np.inf
    row[keep] = np.inf
    apart[keep], apart[:, keep] = row, row
    apart[gone], apart[:, gone] = np.inf, np.inf
    sizes[keep] += sizes[gone]


def _labels(count: int, pairs: list[list[int]]) -> NDArray[np.intp]:
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for first, second in pairs:
        parent[root(first)] = root(second)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(place), len(numbers)) for place in range(count)], np.intp)
