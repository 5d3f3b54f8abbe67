"""All rows of a large index in int8: a mapped file, and the first rows of each record in memory.

The file is this process's own and has no name: it is filled from the index when the first search wants it,
and goes with the process. So nothing of it can be stale or torn, and the index folder holds no byte more.
What is mapped and not read for a while is the system's to write out. Rows are only ever added to it: a
state that a search still looks at stays as it was.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.index.rows import RowBlock
from mmrag.scoring import Int8Rows, PackedRows, maxsim_int8

FREE_SHARE = 2
"""The file may take one in so many bytes that are free where it is."""


FIRST_ROWS = 1 << 18
MOST_FIRST_ROWS = 8
"""Rows in memory in all, and of a record at most; row 0 of every record is, however many there are."""


def first_row_count(records: int) -> int:
    """Return how many first rows of a record are in memory: 8, 4, 2 or 1."""
    count = MOST_FIRST_ROWS
    while count > 1 and count * records > FIRST_ROWS:
        count //= 2
    return count


class GrowingArray:
    """An array to which values are added at the end; what was handed out stays as it was.

    Args:
        shape: of one value.
        dtype: of the numbers.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        self._buffer: NDArray[Any] = np.empty((0, *shape), dtype)
        self._count = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add values, ``(n, *shape)``."""
        end = self._count + len(values)
        if end > len(self._buffer):
            # memory that was never written to takes none
            buffer = np.empty((end + end // 4, *self._buffer.shape[1:]), self._buffer.dtype)
            buffer[: self._count] = self._buffer[: self._count]
            self._buffer = buffer
        self._buffer[self._count : end] = values
        self._count = end

    @property
    def values(self) -> NDArray[Any]:
        """All values so far."""
        return self._buffer[: self._count]


class RowFile:
    """Rows of records in int8, in a file without a name; one thread at a time adds.

    Args:
        dim: width of a row.
        size: bytes that are about to be added.
        records: how many.

    Raises:
        OSError: there is no room for them, or no folder for temporary files.
    """

    def __init__(self, dim: int, size: int, records: int) -> None:
        folder = tempfile.gettempdir()
        if shutil.disk_usage(folder).free < FREE_SHARE * size:
            raise OSError(errno.ENOSPC, f"less than {FREE_SHARE * size:,} bytes free", folder)
        self._file = tempfile.TemporaryFile(prefix="mmrag-rows-", dir=folder)  # noqa: SIM115  (closed with it)
        self._process = os.getpid()
        self._dim = dim
        self._peaks = GrowingArray((), np.float32)
        self.first_rows = tuple(PackedRows(dim) for _ in range(first_row_count(records)))
        self._codes = np.empty((0, dim), np.int8)

    @property
    def is_ours(self) -> bool:
        """Whether this process may add to it; after a fork the file is the parent's."""
        return self._process == os.getpid()

    @property
    def rows(self) -> Int8Rows:
        """All rows, with peaks for scales: 127 times too large, which puts nothing in another order."""
        return Int8Rows(self._codes, self._peaks.values)

    def append(self, blocks: Iterable[RowBlock]) -> tuple[NDArray[np.int64], ...]:
        """Add the rows of records; returns their numbers, where each one's rows begin, and how many.

        Args:
            blocks: int8, with peaks; every record has a row.

        Raises:
            OSError: there is no room. What was there before is as it was.
        """
        seqs, begins, lengths = ([np.empty(0, np.int64)] for _ in range(3))
        peaks: list[NDArray[np.float32]] = []
        first: list[list[Int8Rows]] = [[] for _ in self.first_rows]
        end = len(self._codes)
        self._file.seek(end * self._dim)
        for block in blocks:
            if not len(block.seqs):
                continue
            assert block.peaks is not None, "rows of a mapped file are int8"
            self._file.write(np.ascontiguousarray(block.numbers).data.cast("B"))
            starts, counts = block.starts[:-1], np.diff(block.starts)
            for row, parts in enumerate(first):
                at = np.where(counts > row, starts + row, starts)  # row 0 again where there is no such row
                parts.append(Int8Rows(block.numbers[at].astype(np.int8, copy=False), block.peaks[at]))
            peaks.append(block.peaks)
            seqs.append(block.seqs)
            begins.append(end + starts)
            lengths.append(counts)
            end += len(block.numbers)
        self._file.flush()
        if end > len(self._codes):  # an empty file cannot be mapped
            mapping = mmap.mmap(self._file.fileno(), end * self._dim, access=mmap.ACCESS_READ)
            self._codes = np.frombuffer(mapping, np.int8).reshape(end, self._dim)
        # not before all of it is written: a later call would find these out of step with the file
        for part in peaks:
            self._peaks.append(part)
        # row 0 last: a search that sees it of a record sees the others, too
        for target, parts in reversed(list(zip(self.first_rows, first, strict=True))):
            if parts:
                target.append(
                    np.concatenate([rows.codes for rows in parts]),
                    np.concatenate([rows.scales for rows in parts]),
                )
        return tuple(np.concatenate(parts) for parts in (seqs, begins, lengths))


@dataclass(frozen=True, slots=True)
class MappedRows:
    """Rows of all records in one state of the file; never changed.

    Attributes:
        generation: of the index's file.
        is_whole: the rows are exactly as they are stored.
        file: that the rows are in.
        rows: all that are in it, of records of other states, too.
        seqs: ``(records,)`` int64, numbers of the records, rising.
        begins: ``(records,)`` int64, where the rows of each begin.
        lengths: ``(records,)`` int64, how many they are.
        first_positions: ``(records,)`` int64, where each stands among the first rows of the file.
    """

    generation: int
    is_whole: bool
    file: RowFile
    rows: Int8Rows
    seqs: NDArray[np.int64]
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]
    first_positions: NDArray[np.int64]

    @classmethod
    def of(
        cls, generation: int, dim: int, size: int, records: int, blocks: Iterable[RowBlock], *, is_whole: bool
    ) -> MappedRows:
        """Write the rows of all records into a new file.

        Args:
            generation: of the index's file.
            dim: width of a row.
            size: bytes of all rows.
            records: how many there are.
            blocks: int8, with peaks, by rising number of the record.
            is_whole: the rows are as they are stored.

        Raises:
            OSError: there is no room.
        """
        file = RowFile(dim, size, records)
        seqs, begins, lengths = file.append(blocks)
        first_positions = np.arange(len(seqs))
        return cls(generation, is_whole, file, file.rows, seqs, begins, lengths, first_positions)

    def follow(self, generation: int, changed_seqs: NDArray[np.int64], block: RowBlock) -> MappedRows:
        """Return the next state: without the records that changed, and with those of a block.

        Args:
            generation: of the index's file.
            changed_seqs: numbers of the records that were added, replaced or deleted.
            block: rows of those that are there now; int8, with peaks.

        Raises:
            OSError: there is no room.
        """
        left = np.flatnonzero(~np.isin(self.seqs, changed_seqs))
        start = len(self.file.first_rows[0])
        seqs, begins, lengths = self.file.append([block])
        first_positions = np.arange(start, start + len(seqs))
        pairs = (
            (self.seqs, seqs),
            (self.begins, begins),
            (self.lengths, lengths),
            (self.first_positions, first_positions),
        )
        arrays = [np.concatenate([old[left], new]) for old, new in pairs]
        order = np.argsort(arrays[0], kind="stable")
        return MappedRows(
            generation,
            self.is_whole,
            self.file,
            self.file.rows,
            *(array[order] for array in arrays),
        )

    @property
    def is_mostly_dead(self) -> bool:
        """Whether more rows in the file are of records that are gone than of those that are there."""
        return len(self.rows) > 2 * int(self.lengths.sum())

    def positions(self, seqs: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return where these records stand; those that are not there are left out."""
        return positions_in(self.seqs, seqs)

    def cut(self, positions: NDArray[np.intp] | None, most: int | None) -> RowBlock:
        """Return the first `most` rows, or all, of the records at some positions, or of all."""
        at, ends = self._rows_at(positions, most)
        seqs = self.seqs if positions is None else self.seqs[positions]
        return RowBlock(seqs, ends, self.rows.codes[at], self.rows.scales[at])

    def first_scores(self, query: NDArray[np.float32], most: int | None) -> NDArray[np.float32]:
        """Score the first rows of all records, ``(records,)``: for their order alone, since scales are peaks.

        Args:
            query: ``(dim,)``, one row.
            most: rows of a record that count.
        """
        first, *later_rows = self.file.first_rows[:most]
        scores = first.scores(query)
        for rows in later_rows:
            np.maximum(scores, rows.scores(query)[: len(scores)], out=scores)
        return scores[self.first_positions]

    def scores(
        self, query: NDArray[np.float32], positions: NDArray[np.intp], most: int | None
    ) -> NDArray[np.float32]:
        """Score the first `most` rows, or all, of records: ``(positions,)``, for their order alone.

        Args:
            query: ``(Tq, dim)``.
            positions: of the records.
            most: rows of a record that count.
        """
        at, ends = self._rows_at(positions, most)
        return maxsim_int8(query, self.rows, ends, at=at)

    def _rows_at(
        self, positions: NDArray[np.intp] | None, most: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        begins, lengths = self.begins, self.lengths
        if positions is not None:
            begins, lengths = begins[positions], lengths[positions]
        return rows_of(begins, lengths if most is None else np.minimum(lengths, most))


def rows_of(
    begins: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the rows of some records, and where those of each begin among them.

    Args:
        begins: ``(records,)``, number of the first row of each.
        lengths: ``(records,)``, rows of each.

    Returns:
        ``(rows,)`` and ``(records + 1,)``, the last being the end.
    """
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    rows = np.repeat(begins - ends[:-1], lengths)
    rows += np.arange(ends[-1])
    return rows, ends


def positions_in(held_seqs: NDArray[np.int64], seqs: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return where numbers stand among rising ones; those that are not there are left out."""
    if not len(held_seqs):
        return np.empty(0, np.intp)
    at = np.searchsorted(held_seqs, seqs).clip(max=len(held_seqs) - 1)
    positions_found: NDArray[np.intp] = at[held_seqs[at] == seqs]
    return positions_found
