"""The first rows of every record in memory, in int8, as the first stage of a search scans them.

They are loaded when the first search wants them and follow the file (`mmrag.index.resident_copy`). A small
index is held whole, so that its later stages read nothing either.

Why a prefix, and no structure of neighbours: rows of an embedder that nests them say most first, a scan finds
what is there, every time, and it costs 10 to 20 ms for 100,000 pages (``docs/search.md``).
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmrag.index.resident_copy import ResidentCopy
from mmrag.index.rows import RowBlock
from mmrag.scoring import Int8Rows

PREFIX_ROWS = 8
"""Rows of a record that are held in memory."""

WHOLE_RECORDS = 20_000
WHOLE_BYTES = 64 << 20
"""Largest index whose rows are all resident."""


@dataclass(frozen=True, slots=True)
class HeldRows:
    """Rows of all records in one state of the file; never changed.

    Attributes:
        generation: of the file.
        block: the rows, by rising number of the record; int8.
        is_whole: the block has every row, exactly as it is stored.
    """

    generation: int
    block: RowBlock
    is_whole: bool

    def positions(self, seqs: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return where these records stand; those that are not there are left out."""
        held_seqs = self.block.seqs
        if not len(held_seqs):
            return np.empty(0, np.intp)
        at = np.searchsorted(held_seqs, seqs).clip(max=len(held_seqs) - 1)
        positions_found: NDArray[np.intp] = at[held_seqs[at] == seqs]
        return positions_found


def int8_rows(block: RowBlock) -> Int8Rows:
    """Return the rows of a block as they are scored; float16 ones are quantised."""
    if block.steps is None:
        return Int8Rows.of(block.numbers)
    return Int8Rows(block.numbers.astype(np.int8, copy=False), block.steps)


def cut_block(block: RowBlock, positions: NDArray[np.intp] | None, most: int | None) -> RowBlock:
    """Return the first `most` rows, or all, of the records at some positions, or of all."""
    starts, lengths = block.starts[:-1], np.diff(block.starts)
    if most is not None and (lengths > most).any():
        lengths = np.minimum(lengths, most)
    elif positions is None:
        return block
    seqs = block.seqs
    if positions is not None:
        starts, lengths, seqs = starts[positions], lengths[positions], seqs[positions]
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    rows = np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])  # of the block
    return RowBlock(seqs, ends, block.numbers[rows], None if block.peaks is None else block.peaks[rows])


class ResidentRows(ResidentCopy[HeldRows]):
    """The rows held in memory, of whatever state of the file a search sees. Safe between threads.

    Args:
        store: the records.
    """

    def _load(self, connection: sqlite3.Connection, generation: int) -> HeldRows:
        """Read them all."""
        count = self._store.count(connection, None)
        is_whole = count <= WHOLE_RECORDS and _is_small(count, self._store.row_bytes(connection))
        block = self._store.block(connection, None, None if is_whole else PREFIX_ROWS)
        return HeldRows(generation, _quantise(block), is_whole and block.peaks is not None)

    def _follow(self, connection: sqlite3.Connection, resident: HeldRows, generation: int) -> HeldRows | None:
        """Read what has changed since; None where the file does not say, or too much has."""
        changed_seqs = self._store.changes(connection, generation=resident.generation)
        if changed_seqs is None or len(changed_seqs) > max(1000, len(resident.block.seqs) // 4):
            return None
        block = self._store.block(connection, changed_seqs, None if resident.is_whole else PREFIX_ROWS)
        left = np.flatnonzero(~np.isin(resident.block.seqs, np.array(changed_seqs, np.int64)))
        positions = left if len(left) < len(resident.block.seqs) else None
        union = _merge(cut_block(resident.block, positions, None), _quantise(block))
        if resident.is_whole and not _is_small(len(union.seqs), union.numbers.nbytes):
            return None
        return HeldRows(generation, union, resident.is_whole)


def _is_small(records: int, numbers: int) -> bool:
    """Return whether all rows of an index may be resident."""
    return records <= WHOLE_RECORDS and numbers <= WHOLE_BYTES


def _quantise(block: RowBlock) -> RowBlock:
    """Return a block in int8."""
    if block.peaks is not None:
        return block
    rows = Int8Rows.of(block.numbers)
    return RowBlock(block.seqs, block.starts, rows.codes, rows.scales * np.float32(127))


def _merge(block: RowBlock, addition: RowBlock) -> RowBlock:
    """Put the records of two blocks together, by rising number; both have peaks."""
    seqs = np.concatenate([block.seqs, addition.seqs])
    starts = np.concatenate([block.starts, block.starts[-1] + addition.starts[1:]])
    numbers = np.concatenate([block.numbers, addition.numbers])
    peaks = None
    if block.peaks is not None and addition.peaks is not None:
        peaks = np.concatenate([block.peaks, addition.peaks])
    union = RowBlock(seqs, starts, numbers, peaks)
    if len(seqs) > 1 and (np.diff(seqs) < 0).any():
        return cut_block(union, np.argsort(seqs), None)
    return union
