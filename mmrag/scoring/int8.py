"""Late-interaction scores of rows that are stored as whole numbers of a byte, with a scale a row.

Where the package numkong is installed (the extra ``fast``), the query's rows are made int8, too, and numkong
multiplies whole numbers on the processor's own instructions; scaling and max stay here. numkong has a max
of its own (``maxsim_packed``), which gives another ranking: it is not used. Without numkong, rows become
float32 a part at a time and NumPy multiplies them with the query as it is. Torch is no third way: making int8
bfloat16 takes it longer than NumPy takes for the whole. Figures: ``benchmarks/scoring.py``.

Both give the same ranking but for scores that lie closer together than `quantisation_error` says.
"""

# ruff: noqa: ANN401  (numkong is not typed)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmrag.errors import MissingExtraError
from mmrag.scoring.ragged import RowProduct, Similarity, best_sums

STEPS = 127
"""Whole numbers on either side of 0."""

ENGINES = ("numkong", "numpy")
"""What multiplies, in the order of speed."""

PACKED_ROWS = 1 << 13
"""Rows that are packed at once."""

GATHERED_ROWS = 4096
"""Rows that are brought together at once: half a MiB at 128 numbers a row, which the cache holds."""


@dataclass(frozen=True, slots=True)
class Int8Rows:
    """Rows of numbers as whole numbers with a scale a row: ``row = scale * code``.

    Attributes:
        codes: ``(R, D)`` int8, -127 to 127.
        scales: ``(R,)`` float32, the largest absolute number of the row / 127; 0 for a row of zeros.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[Any]) -> Int8Rows:
        """Quantise ``(R, D)`` finite rows; each number comes back within half the scale of its row."""
        rows = rows.astype(np.float32, copy=False)
        scales = np.abs(rows).max(1, initial=0.0) / np.float32(STEPS)  # (R,)
        steps = np.where(scales > 0, scales, np.float32(1.0))[:, None]
        codes = np.rint(rows / steps).clip(-STEPS, STEPS).astype(np.int8)
        return cls(codes, scales)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)

    def float32(self) -> NDArray[np.float32]:
        """Return the rows as numbers, ``(R, D)``."""
        return self.codes * self.scales[:, None]


def int8_engine() -> str:
    """Return what `maxsim_int8` multiplies with: ``"numkong"`` where it is installed, else ``"numpy"``."""
    return "numpy" if _numkong() is None else "numkong"


def maxsim_int8(
    query: NDArray[Any],
    rows: Int8Rows,
    offsets: NDArray[np.integer[Any]],
    *,
    at: NDArray[np.integer[Any]] | None = None,
    engine: str | None = None,
) -> NDArray[np.float32]:
    """Compute the late-interaction scores of one query against documents in int8.

    Args:
        query: ``(Tq, D)``, finite.
        rows: of all documents, one after the other.
        offsets: ``(N + 1,)``, the row at which each document starts, the last being the end.
        at: ``(R,)``, the rows that offsets speak of, wherever they stand in `rows`; a part of them is brought
            together at a time. None: the rows as they stand.
        engine: ``"numkong"`` or ``"numpy"``; None: see `int8_engine`.

    Returns:
        ``(N,)`` float32, each within `quantisation_error` of the score of the rows before they were
        quantised. A document without rows scores ``-inf``.

    Raises:
        MissingExtraError: numkong is asked for and not installed.
        ValueError: `query` is not 2D, dims differ, offsets do not rise from 0 to the end, or the engine is
            unknown.
    """
    if engine not in (None, *ENGINES):
        raise ValueError(f"engine must be None or one of {ENGINES}, got {engine!r}.")
    if query.ndim != 2 or rows.codes.ndim != 2 or query.shape[1] != rows.codes.shape[1]:
        raise ValueError(
            f"query and documents must be 2D (vectors, dim) of one dim, got {query.shape} and "
            f"{rows.codes.shape}. Score one query at a time."
        )
    numkong = None if engine == "numpy" else _numkong()
    if engine == "numkong" and numkong is None:
        raise MissingExtraError("the engine 'numkong'", "fast")
    product: Product
    if numkong is None or not query.size:
        product, weights = RowProduct(query), None
    else:
        query_rows = Int8Rows.of(query)
        product, weights = _Int8Product(numkong, query_rows.codes), query_rows.scales
    if at is None:
        similarity, count = _plain_similarity(product, rows), len(rows)
    else:
        similarity, count = _scattered_similarity(product, rows, at, len(query)), len(at)
    return best_sums(similarity, offsets, count, len(query), weights)


Product: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Multiplies codes ``(R, D)`` with the query: ``(R, Tq)``; the next call may use the array again."""


def _plain_similarity(product: Product, rows: Int8Rows) -> Similarity:
    """Multiply rows as they stand."""

    def similarity(piece: slice) -> NDArray[np.float32]:
        result = product(rows.codes[piece])
        return np.multiply(result, rows.scales[piece, None], out=result)

    return similarity


def _scattered_similarity(
    product: Product, rows: Int8Rows, at: NDArray[np.integer[Any]], query_rows: int
) -> Similarity:
    """Multiply the rows at some positions, a part of them brought together while it is in the cache."""
    part_codes = np.empty((min(GATHERED_ROWS, len(at)), rows.codes.shape[1]), np.int8)
    result = np.empty((0, query_rows), np.float32)

    def similarity(piece: slice) -> NDArray[np.float32]:
        nonlocal result
        positions = at[piece]
        if len(result) < len(positions):
            result = np.empty((len(positions), query_rows), np.float32)
        for start in range(0, len(positions), GATHERED_ROWS):
            part = positions[start : start + GATHERED_ROWS]
            codes = part_codes[: len(part)]
            np.take(rows.codes, part, axis=0, out=codes, mode="clip")  # any other mode makes a copy first
            np.multiply(
                product(codes), np.take(rows.scales, part)[:, None], out=result[start : start + len(part)]
            )
        return result[: len(positions)]

    return similarity


def quantisation_error(
    query: NDArray[Any], rows: Int8Rows, offsets: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Bound how far `maxsim_int8` may be from the score of the rows before they were quantised.

    A number of a row with scale s is off by at most s / 2, so the product with a query row q is off by at
    most ``s / 2 * |q|_1``. If the query is quantised too, with scale t, then by ``t / 2 * |row|_1`` more,
    where the row is what is stored. A max moves by no more than what it is taken over, and a sum by no more
    than its terms together::

        error = sum over query rows of  max over rows of  (s / 2 * |q|_1 + t / 2 * |row|_1)

    The bound is of the worst case, in which all roundings of a product have one sign. Rounding of float32 is
    not in it: relative 1e-6 of the score.

    Args:
        query: ``(Tq, D)``.
        rows: of all documents.
        offsets: as in `maxsim_int8`.

    Returns:
        ``(N,)`` float32; 0 for a document without rows.
    """
    query = query.astype(np.float32, copy=False)
    query_scales = Int8Rows.of(query).scales  # (Tq,)
    query_norms = np.abs(query).sum(1)  # (Tq,)
    norms = np.abs(rows.codes).sum(1, dtype=np.int32) * rows.scales  # (R,)
    largest = np.outer(rows.scales, query_norms) + np.outer(norms, query_scales)  # (R, Tq)
    largest = (largest / 2).astype(np.float32)
    errors = best_sums(lambda at: largest[at], offsets, len(rows), len(query))
    return np.where(np.isfinite(errors), errors, np.float32(0.0))


class _Int8Product:
    """Products of whole numbers, as float32; the query's scales are left to the sum."""

    def __init__(self, numkong: Any, query_codes: NDArray[np.int8]) -> None:
        self._numkong = numkong
        self._query_matrix = numkong.dots_pack(query_codes, dtype="int8")
        self._shape = (0, len(query_codes))
        self._make_room(0)

    def _make_room(self, count: int) -> None:
        self._shape = (count, self._shape[1])
        self._products = self._numkong.zeros(self._shape, dtype="int32")
        self._result = np.empty(self._shape, np.float32)

    def __call__(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        count = len(codes)
        if count > self._shape[0]:
            self._make_room(count)
        products = self._products[:count]  # numkong fills an array of exactly this shape
        self._numkong.dots_packed(codes, self._query_matrix, out=products)
        result = self._result[:count]
        np.copyto(result, np.asarray(products))
        return result


class PackedRows:
    """Rows in int8 that are scored against one row of a query, packed for it once.

    numkong multiplies one matrix that it has packed with another as it stands. Packing the rows instead of
    the query takes memory traffic from a scan that has little else: a million rows of 128 numbers take 10 ms
    of a core, and 23 as they stand. One thread at a time adds; others score meanwhile.

    Args:
        dim: numbers of a row.
    """

    def __init__(self, dim: int) -> None:
        # packed rows, `PACKED_ROWS` each (codes as they are without numkong), the rest, and all scales: of
        # one moment, for those that score
        self._parts: tuple[tuple[Any, ...], NDArray[np.int8], NDArray[np.float32]] = (
            (),
            np.empty((0, dim), np.int8),
            np.empty(0, np.float32),
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._parts[2])

    def append(self, codes: NDArray[np.int8], scales: NDArray[np.float32]) -> None:
        """Add rows.

        Args:
            codes: ``(R, D)``, -127 to 127.
            scales: ``(R,)``, of the rows, or what is proportional to them.
        """
        matrices, rest, scales_before = self._parts
        rest = np.concatenate([rest, codes])
        chunks = [rest[at : at + PACKED_ROWS] for at in range(0, len(rest) - PACKED_ROWS + 1, PACKED_ROWS)]
        numkong = _numkong()
        if numkong is not None:
            matrices += tuple(numkong.dots_pack(chunk, dtype="int8") for chunk in chunks)
        else:
            matrices += tuple(chunk.copy() for chunk in chunks)
        rest = rest[PACKED_ROWS * len(chunks) :].copy()
        self._parts = (matrices, rest, np.concatenate([scales_before, scales]))

    def scores(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the product of every row with a query's, ``(R,)``, as `maxsim_int8` does.

        Args:
            query: ``(D,)``.
        """
        matrices, rest, scales = self._parts
        query_row = Int8Rows.of(query[None])
        scores = np.empty(len(scales), np.float32)
        numkong = _numkong()
        products = None if numkong is None else numkong.zeros((1, PACKED_ROWS), dtype="int32")
        scale = query_row.scales[0]
        for number, chunk in enumerate(matrices):
            part = scores[number * PACKED_ROWS : (number + 1) * PACKED_ROWS]
            if numkong is None:
                part[:] = _row_products(query, chunk)
            else:
                numkong.dots_packed(query_row.codes, chunk, out=products)
                np.copyto(part, np.asarray(products)[0], casting="unsafe")  # exact up to 1,040 numbers a row
                part *= scale
        scores[PACKED_ROWS * len(matrices) :] = _row_products(query, rest)
        scores *= scales
        return scores


def _row_products(query: NDArray[np.float32], codes: NDArray[np.int8]) -> NDArray[np.float32]:
    """Multiply rows without their scales with one row of a query: ``(R,)``."""
    rows = Int8Rows(codes, np.ones(len(codes), np.float32))
    return maxsim_int8(query[None], rows, np.arange(len(codes) + 1))


@cache
def _numkong() -> Any:
    """Return the module, or None where it is not installed."""
    try:
        import numkong
    except ImportError:
        return None
    return numkong
