"""How the rows of a record are written: int8 with a peak a row, or float16.

int8: the peak of each row (its largest magnitude, float32), then the numbers of all rows as whole steps of
``peak / 127``, row after row: ``dim + 4`` bytes a row. float16: the numbers, ``2 * dim`` bytes a row.

The peak is kept and not the step, because ``127 * (peak / 127)`` gives it back to the bit: a row of 0 and 1
comes back as it was, and what is decoded and encoded again is the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmrag.index.base import DEFAULT_ROW_TYPE, Manifest, RowType
from mmrag.types import Matrix

_STEPS = 127
_PEAK_BYTES = 4
_LEAST_PEAK = float(_STEPS * np.finfo(np.float32).tiny)
"""A row whose numbers are all smaller is 0: its step would be below float32's."""


class RowBlock(NamedTuple):
    """The rows of many records, one after the other, as they are stored.

    Row ``i`` is ``numbers[i]``, for int8 times ``steps[i]``.

    Attributes:
        seqs: ``(records,)`` int64, numbers of the records in the order asked for.
        starts: ``(records + 1,)`` int64; record ``n`` has the rows from ``starts[n]`` to ``starts[n + 1]``.
        numbers: ``(rows, dim)`` int8 or float16, read-only.
        peaks: ``(rows,)`` float32; None for float16.
    """

    seqs: NDArray[np.int64]
    starts: NDArray[np.int64]
    numbers: NDArray[np.int8] | NDArray[np.float16]
    peaks: NDArray[np.float32] | None

    @property
    def steps(self) -> NDArray[np.float32] | None:
        """What the numbers of each row are multiples of, ``(rows,)`` float32; None for float16."""
        return None if self.peaks is None else (self.peaks / _STEPS).astype(np.float32)

    def decode(self) -> NDArray[np.float32]:
        """Decode all rows, ``(rows, dim)``, to the same numbers as `RowCodec.decode`."""
        if self.peaks is None:
            return self.numbers.astype(np.float32)
        return _multiples(self.numbers, self.peaks)


@dataclass(frozen=True, slots=True)
class RowCodec:
    """Rows of one width to bytes and back.

    Attributes:
        dim: width of a row.
        row_type: ``"int8"`` or ``"float16"``.
    """

    dim: int
    row_type: RowType = DEFAULT_ROW_TYPE

    @classmethod
    def of(cls, manifest: Manifest) -> RowCodec:
        """Return the codec of an index."""
        return cls(manifest.dim, manifest.row_type)

    @property
    def row_bytes(self) -> int:
        """Return the bytes of a row."""
        return self.dim + _PEAK_BYTES if self.row_type == "int8" else 2 * self.dim

    def encode(self, matrix: NDArray[Any]) -> bytes:
        """Encode a ``(rows, dim)`` matrix of finite numbers.

        int8: every number comes back within half a step of its row, ``peak / 254``. float16: to the nearest.
        """
        if self.row_type == "float16":
            return bytes(matrix.astype("<f2", copy=False).tobytes())
        wide = matrix.astype(np.float64)  # (rows, dim)
        peaks = np.abs(wide).max(1).astype("<f4")  # (rows,)
        peaks[peaks < _LEAST_PEAK] = 0
        steps = np.where(peaks > 0, peaks.astype(np.float64) / _STEPS, np.inf)
        # rounding to float32 may have put the peak a little below the largest number: hence clip
        codes = np.rint(wide / steps[:, None]).clip(-_STEPS, _STEPS).astype(np.int8)  # (rows, dim)
        return bytes(peaks.tobytes() + codes.tobytes())

    def decode(self, data: bytes, most: int | None = None) -> Matrix:
        """Decode the first `most` rows, or all: ``(rows, dim)`` float32, or float16 as a view.

        Raises:
            ValueError: the bytes are no rows of this form.
        """
        count = self._count(data)
        length = count if most is None else min(most, count)
        if self.row_type == "float16":
            return np.frombuffer(data, "<f2", length * self.dim).reshape(-1, self.dim)
        peaks = _magnitudes(np.frombuffer(data, "<f4", length))
        codes = np.frombuffer(data, np.int8, length * self.dim, offset=_PEAK_BYTES * count)
        return _multiples(codes.reshape(length, self.dim), peaks)

    def first(self, data: bytes) -> bytes:
        """Return row 0 of encoded rows, encoded by itself."""
        if self.row_type == "float16":
            return data[: self.row_bytes]
        start = len(data) // self.row_bytes * _PEAK_BYTES
        return data[:_PEAK_BYTES] + data[start : start + self.dim]

    def block(self, seqs: Sequence[int], blobs: Sequence[bytes], most: int | None = None) -> RowBlock:
        """Put the first `most` rows of many records, or all of them, one after the other; nothing is decoded.

        Args:
            seqs: numbers of the records.
            blobs: the rows of each.
            most: rows of a record at most.

        Raises:
            ValueError: the bytes of a record are no rows of this form.
        """
        counts = [self._count(data) for data in blobs]
        lengths = counts if most is None else [min(most, count) for count in counts]
        starts = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        if self.row_type == "float16":
            flat = b"".join(data[: rows * self.row_bytes] for data, rows in zip(blobs, lengths, strict=True))
            halves = np.frombuffer(flat, "<f2").reshape(-1, self.dim)
            return RowBlock(np.array(seqs, np.int64), starts, halves, None)
        peaks = b"".join(data[: _PEAK_BYTES * rows] for data, rows in zip(blobs, lengths, strict=True))
        codes = b"".join(
            data[_PEAK_BYTES * count : _PEAK_BYTES * count + self.dim * rows]
            for data, count, rows in zip(blobs, counts, lengths, strict=True)
        )
        numbers = np.frombuffer(codes, np.int8).reshape(-1, self.dim)
        return RowBlock(np.array(seqs, np.int64), starts, numbers, _magnitudes(np.frombuffer(peaks, "<f4")))

    def prefix_sql(self, column: str, most: int) -> str:
        """Return two SQL expressions whose bytes, joined, are the first `most` encoded rows of a column.

        What is no rows comes back as it is, so that it is still seen to be none.
        """
        size = f"length({column})"
        is_whole = f"typeof({column}) = 'blob' AND {size} % {self.row_bytes} = 0"
        if self.row_type == "float16":
            pieces = f"substr({column}, 1, {self.row_bytes * most})", f"substr({column}, 1, 0)"
        else:
            count = f"{size} / {self.row_bytes}"
            peaks = f"substr({column}, 1, {_PEAK_BYTES} * min({most}, {count}))"
            pieces = peaks, f"substr({column}, 1 + {_PEAK_BYTES} * ({count}), {self.dim * most})"
        return ", ".join(
            f"CASE WHEN {is_whole} THEN {piece} ELSE {rest} END"
            for piece, rest in zip(pieces, (column, f"substr({column}, 1, 0)"), strict=True)
        )

    def _count(self, data: object) -> int:
        """Return the number of rows in these bytes."""
        size = len(data) if isinstance(data, bytes) else 0
        if not size or size % self.row_bytes:
            raise ValueError(f"{size} bytes for rows of {self.row_bytes}")
        return size // self.row_bytes


def _multiples(codes: NDArray[Any], peaks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``(rows, dim)`` codes as numbers; in float64, so that the peak itself comes back to the bit."""
    matrix: NDArray[np.float32] = (codes * (peaks.astype(np.float64) / _STEPS)[:, None]).astype(np.float32)
    return matrix


def _magnitudes(peaks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Refuse peaks that are no magnitudes: one NaN would put every ranking out of order."""
    if not bool((peaks >= 0).all() and np.isfinite(peaks).all()):
        raise ValueError("a peak of a row that is no finite magnitude")
    return peaks
