"""Rows of every record at hand, in int8, as the first stages of a search scan them.

They are loaded when the first search wants them and follow the file (`mmrag.index.resident_copy`). A small
index is held whole in memory, a larger one in a mapped file of this process (`mmrag.index.mapped_rows`), so
that later stages read nothing either. Where that file would be too large, or cannot be written, the first
rows of each record are held in memory.

Why no structure of neighbours: a scan finds what is there, every time, and row 0 of 100,000 pages takes it a
millisecond (``docs/search.md``).
"""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmrag.index.mapped_rows import MappedRows, positions_in, rows_of
from mmrag.index.resident_copy import ResidentCopy
from mmrag.index.rows import RowBlock
from mmrag.scoring import Int8Rows

PREFIX_ROWS = 8
"""Rows of a record that are held in memory where not all can be."""

WHOLE_RECORDS = 20_000
WHOLE_BYTES = 64 << 20
"""Largest index whose rows are all in memory."""

MAPPED_BYTES = 4 << 30
"""Rows of the largest index that is mapped."""

RECORDS_AT_ONCE = 2000
"""Records in memory while rows are copied to the mapped file."""

logger = logging.getLogger(__name__)


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
        return positions_in(self.block.seqs, seqs)

    @property
    def seqs(self) -> NDArray[np.int64]:
        """Numbers of the records, rising."""
        return self.block.seqs

    def cut(self, positions: NDArray[np.intp] | None, most: int | None) -> RowBlock:
        """Return the first `most` rows that are held, or all, of the records at some positions, or of all."""
        return cut_block(self.block, positions, most)


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
    rows, ends = rows_of(starts, lengths)
    return RowBlock(seqs, ends, block.numbers[rows], None if block.peaks is None else block.peaks[rows])


class ResidentRows(ResidentCopy[HeldRows | MappedRows]):
    """The rows held in memory, of whatever state of the file a search sees. Safe between threads.

    Args:
        store: the records.
    """

    def _load(self, connection: sqlite3.Connection, generation: int) -> HeldRows | MappedRows:
        """Read them all."""
        count, size = self._store.count(connection, None), self._store.row_bytes(connection)
        is_whole = _is_small(count, size)
        if not is_whole and size <= MAPPED_BYTES:
            try:
                return self._map(connection, generation, size, count)
            except OSError as error:
                logger.warning(
                    "index rows (%.1f GB) cannot be mapped, so that searches look at the first %d rows of a "
                    "record alone: %s. Free the space, or set TMPDIR to another folder.",
                    size / 1e9,
                    PREFIX_ROWS,
                    error,
                )
        block = self._store.block(connection, None, None if is_whole else PREFIX_ROWS)
        return HeldRows(generation, _quantise(block), is_whole and block.peaks is not None)

    def _map(self, connection: sqlite3.Connection, generation: int, size: int, records: int) -> MappedRows:
        """Copy all rows to a file of this process, some records in memory at a time."""
        blocks = self._store.blocks(connection, RECORDS_AT_ONCE)
        manifest = self._store.codec(connection)
        return MappedRows.of(
            generation,
            manifest.dim,
            size,
            records,
            map(_quantise, blocks),
            is_whole=manifest.row_type == "int8",
        )

    def _follow(
        self, connection: sqlite3.Connection, resident: HeldRows | MappedRows, generation: int
    ) -> HeldRows | MappedRows | None:
        """Read what has changed since; None where the file does not say, or too much has."""
        changed_seqs = self._store.changes(connection, generation=resident.generation)
        if changed_seqs is None or len(changed_seqs) > max(1000, len(resident.seqs) // 4):
            return None
        if isinstance(resident, MappedRows):
            return self._follow_mapped(connection, resident, generation, changed_seqs)
        block = self._store.block(connection, changed_seqs, None if resident.is_whole else PREFIX_ROWS)
        left = np.flatnonzero(~np.isin(resident.block.seqs, np.array(changed_seqs, np.int64)))
        positions = left if len(left) < len(resident.block.seqs) else None
        union = _merge(cut_block(resident.block, positions, None), _quantise(block))
        if resident.is_whole and not _is_small(len(union.seqs), union.numbers.nbytes):
            return None
        return HeldRows(generation, union, resident.is_whole)

    def _follow_mapped(
        self, connection: sqlite3.Connection, resident: MappedRows, generation: int, changed_seqs: list[int]
    ) -> MappedRows | None:
        """Add what has changed since; None where a new file is due."""
        if not resident.file.is_ours or resident.is_mostly_dead or resident.rows.codes.nbytes > MAPPED_BYTES:
            return None
        block = _quantise(self._store.block(connection, changed_seqs, None))
        try:
            return resident.follow(generation, np.array(changed_seqs, np.int64), block)
        except OSError:  # and what `_load` makes of it is logged
            return None


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
