"""Late-interaction scores of one query against documents of different lengths; nothing is padded.

What costs time here is memory and conversion, not arithmetic, so rows go through in two sizes of pieces:

* A *block* of whole documents, whose similarities stay in the processor's cache until their max is taken.
* A *part* of a block, whose rows are made float32 in the cache and multiplied there at once. A part is also
  small enough for the kernels that OpenBLAS has for small products, which do not copy their operands first:
  the product of 5,000 documents of 64 rows takes 24 ms in parts of 256 rows and 34 in parts of 8,192.

NumPy turns float16 into float32 number by number. Here it is done on whole arrays: the bits of a float16,
moved to where a float32 has sign, exponent and mantissa, are its value times 2^-112, also where it is
subnormal. The query is multiplied by 2^112 instead of the rows; both are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

BLOCK_NUMBERS = 1 << 17
"""Similarities of a block: 512 KiB."""

PART_NUMBERS = 1 << 16
"""Numbers of a part's rows: 256 KiB of float32, a share of the second-level cache."""

SMALL_PRODUCT = 1 << 19
"""Multiplications of a part: below the million from which OpenBLAS copies operands."""

LEAST_ROWS = 64
"""Rows of a part, however long the query is."""

RAGGED_QUERY = 16
"""Query rows up to which ``reduceat`` is faster than a plain max also where all lengths are equal."""

FLOAT16_SCALE = np.float32(2.0**112)
LARGEST_NUMBER = 2.0**15
"""Largest number of a query that may be multiplied by `FLOAT16_SCALE`."""

Similarity: TypeAlias = Callable[[slice], NDArray[np.float32]]
"""Gives the similarities ``(rows, Tq)`` of a slice of rows; the next slice may use the array again."""


def maxsim_ragged(
    query: NDArray[Any],
    documents: Sequence[NDArray[Any]] | tuple[NDArray[Any], NDArray[np.integer[Any]]],
) -> NDArray[np.float32]:
    """Compute the late-interaction scores of one query against documents of different lengths.

    Nothing is padded. The scores equal those of `maxsim` on the padded and masked documents.

    Args:
        query: ``(Tq, D)``.
        documents: finite matrices ``(T_i, D)``, or ``(flat, offsets)``: all rows ``(sum T_i, D)`` and the
            ``(N + 1,)`` rows at which each document starts, the last being the end.

    Returns:
        ``(N,)`` float32. A document without rows scores ``-inf``.

    Raises:
        ValueError: `query` is not 2D, dims differ, or offsets do not rise from 0 to the end.
    """
    if query.ndim != 2:
        raise ValueError(f"query must be 2D (vectors, dim), got {query.shape}. Score one query at a time.")
    product = RowProduct(query)
    if isinstance(documents, tuple) and len(documents) == 2 and np.ndim(documents[1]) == 1:
        flat = documents[0]
        _check_rows(flat, query)
        return best_sums(lambda rows: product(flat[rows]), documents[1], len(flat), len(query))
    scores = [np.empty(0, np.float32)]
    for rows, offsets in _matrix_blocks(documents, _block_rows(len(query))):
        _check_rows(rows, query)
        scores.append(best_sums(lambda at, rows=rows: product(rows[at]), offsets, len(rows), len(query)))  # type: ignore[misc]
    return np.concatenate(scores)


def best_sums(
    similarity: Similarity,
    offsets: NDArray[np.integer[Any]],
    count: int,
    query_rows: int,
    weights: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Take each document's best similarity for every query row, and sum them.

    Args:
        similarity: of a slice of rows.
        offsets: ``(N + 1,)``, the row at which each document starts, the last being the end.
        count: all rows.
        query_rows: Tq.
        weights: ``(Tq,)``, of the query's rows in the sum; None: 1 each.

    Returns:
        ``(N,)``; ``-inf`` for a document without rows.

    Raises:
        ValueError: offsets do not rise from 0 to `count`.
    """
    offsets = np.asarray(offsets)
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != count or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets must rise from 0 to the number of rows, {count}, got {offsets!r}.")
    scores = np.full(len(offsets) - 1, -np.inf, np.float32)  # (N,)
    limit = _block_rows(query_rows)
    start = 0
    while start < len(scores):
        end = int(np.searchsorted(offsets, offsets[start] + limit, side="right")) - 1
        end = max(start + 1, end)
        bounds = offsets[start : end + 1]
        if bounds[-1] > bounds[0]:
            block = similarity(slice(int(bounds[0]), int(bounds[-1])))  # (R, Tq)
            lengths = np.diff(bounds)  # (n,)
            has_rows = lengths > 0  # (n,)
            best = _best(block, (bounds[:-1] - bounds[0])[has_rows], lengths[has_rows])  # (m, Tq)
            scores[start:end][has_rows] = best.sum(1) if weights is None else best @ weights
        start = end
    return scores


def _best(
    similarity: NDArray[np.float32], starts: NDArray[np.integer[Any]], lengths: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Take the max over the rows of each document, ``(R, Tq)`` to ``(m, Tq)``; every one has rows."""
    if similarity.shape[1] > RAGGED_QUERY and lengths.min() == lengths.max():
        return similarity.reshape(len(lengths), int(lengths[0]), -1).max(1)  # type: ignore[no-any-return]
    return np.maximum.reduceat(similarity, starts, axis=0)


def part_rows(query_rows: int, dim: int) -> int:
    """Return how many rows are made float32 and multiplied at once."""
    return max(LEAST_ROWS, min(PART_NUMBERS // max(1, dim), SMALL_PRODUCT // max(1, query_rows * dim)))


class RowProduct:
    """The product of rows with one query, in float32 whatever the rows' type, part by part."""

    def __init__(self, query: NDArray[Any]) -> None:
        # rows first, so that one document's rows lie together in the product
        self._columns = np.ascontiguousarray(query.astype(np.float32, copy=False).T)  # (D, Tq)
        self._part = part_rows(len(query), query.shape[1])
        self._is_small = bool((np.abs(self._columns) <= LARGEST_NUMBER).all())
        self._large_columns = self._columns * FLOAT16_SCALE if self._is_small else self._columns
        self._rows = np.empty((self._part, query.shape[1]), np.float32)  # a part's rows
        self._result = np.empty((0, len(query)), np.float32)

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Compute ``(R, Tq)``; the array is used again by the next call."""
        if len(self._result) < len(rows):
            self._result = np.empty((len(rows), self._columns.shape[1]), np.float32)
        result = self._result[: len(rows)]
        for start in range(0, len(rows), self._part):
            part = rows[start : start + self._part]
            self._multiply(part, result[start : start + self._part])
        return result

    def _multiply(self, part: NDArray[Any], out: NDArray[np.float32]) -> None:
        if part.dtype == np.float32:
            np.matmul(part, self._columns, out=out)
            return
        buffer = self._rows[: len(part)]
        if part.dtype == np.float16 and self._is_small:
            bits = buffer.view(np.int32)
            np.copyto(bits, part.view(np.int16))  # the sign fills the upper half
            np.left_shift(bits, 13, out=bits)
            np.bitwise_and(bits, -0x70002000, out=bits)  # keeps the sign, 5 bits of exponent, 10 of mantissa
            np.matmul(buffer, self._large_columns, out=out)
            return
        np.copyto(buffer, part, casting="unsafe")
        np.matmul(buffer, self._columns, out=out)


def _check_rows(rows: NDArray[Any], query: NDArray[Any]) -> None:
    if rows.ndim != 2 or rows.shape[1] != query.shape[1]:
        raise ValueError(
            f"query and documents must have one dim, got {query.shape[1]} and a document block of shape "
            f"{rows.shape}."
        )


def _block_rows(query_rows: int) -> int:
    return max(1, BLOCK_NUMBERS // max(1, query_rows))


def _matrix_blocks(
    matrices: Sequence[NDArray[Any]], limit: int
) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """Join matrices into blocks of about `limit` rows: ``(R, D)``, ``(n + 1,)`` offsets."""
    block: list[NDArray[Any]] = []
    rows = 0
    for matrix in matrices:
        if block and rows + len(matrix) > limit:
            yield np.concatenate(block), np.cumsum([0, *map(len, block)])
            block, rows = [], 0
        block.append(matrix)
        rows += len(matrix)
    if block:
        yield np.concatenate(block), np.cumsum([0, *map(len, block)])
