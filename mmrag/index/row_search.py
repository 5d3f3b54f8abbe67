"""Search of an index's rows: all of them exactly, or in two stages.

1. Every record's first `PREFIX_ROWS` rows, in int8 and in memory, against row 0 of the query. Budgets cut the
   prefix further, and against single vectors the query is the sum of its rows, which is then the whole score.
2. The survivors' rows, in float32, against all rows of the query.

Whatever stage brought a record, the score that is reported is that of its stored rows in float64.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mmrag.forks import new_lock
from mmrag.index.filters import Filter
from mmrag.index.ranking import final_scores_of, shortlist
from mmrag.index.resident_names import ResidentNames
from mmrag.index.resident_rows import HeldRows, ResidentRows, cut_block, int8_rows
from mmrag.index.rows import RowBlock
from mmrag.index.store import RecordStore
from mmrag.scoring import maxsim_int8, maxsim_ragged
from mmrag.types import Hit

SURVIVORS = 1024
SURVIVORS_A_HIT = 8
"""How many the first stage hands on: the larger of both, the second a hit that is asked for."""

WHOLE_SURVIVORS = 256
WHOLE_SURVIVORS_A_HIT = 4
"""The same where the first stage saw all rows of every record."""

SCAN_SHARE = 4
"""A filter that lets more than one in so many pass is applied after the scan."""

MOST_QUERIES = 4
"""Queries whose final scores are kept."""

_FINAL_ROWS = 256
"""Rows that are scored in float64 at once."""

_SCAN = 2000
"""Records in memory at once when all are scored."""


class RowSearch:
    """Search over the rows of a store.

    Args:
        store: the records.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self.names = ResidentNames(store)
        self._resident = ResidentRows(store)
        self._finals = KeptScores()

    def search(
        self,
        connection: sqlite3.Connection,
        query: NDArray[np.float32],
        k: int,
        document_rows: int | None,
        filter: Filter | None,
        *,
        exact: bool,
    ) -> list[Hit]:
        """Search the best `k` records, best first, ties by id.

        Args:
            connection: the state of the file to search.
            query: ``(Tq, dim)``, cut to the budget.
            k: at least 1.
            document_rows: rows of a record that count; None: all.
            filter: records that do not pass are left out.
            exact: score every record in float32.
        """
        resident = self._resident.current(connection)
        positions = None
        if filter:
            seqs = [int(row[0]) for row in self._store.select(connection, "seq", filter)]
            positions = resident.positions(np.array(seqs, np.int64))
        if not exact:
            positions = self._survivors(resident, query, k, document_rows, positions)
        return self._best(connection, resident, query, k, document_rows, positions)

    def score(
        self,
        connection: sqlite3.Connection,
        query: NDArray[np.float32],
        ids: Sequence[str],
        document_rows: int | None,
    ) -> list[Hit]:
        """Score these records exactly, in the order given; missing ones are left out."""
        seqs = self.names.seqs(connection, ids)
        resident = self._resident.current(connection)
        scores = self._finals.of(resident.generation, query, document_rows)
        new_seqs = [seq for seq in seqs.values() if seq not in scores]
        if resident.is_whole:
            positions = resident.positions(np.array(new_seqs, np.int64))
            block = cut_block(resident.block, positions, document_rows)
        else:
            block = self._store.block(connection, new_seqs, document_rows)
        scores |= _final_scores(query, block)
        return [Hit(id, scores[seqs[id]]) for id in ids if id in seqs]

    def _survivors(
        self,
        resident: HeldRows,
        query: NDArray[np.float32],
        k: int,
        document_rows: int | None,
        positions: NDArray[np.intp] | None,
    ) -> NDArray[np.intp] | None:
        """Select about the best records by the rows in memory; None: all of them are few enough."""
        count = max(SURVIVORS, SURVIVORS_A_HIT * k)
        if resident.is_whole:
            count = max(WHOLE_SURVIVORS, WHOLE_SURVIVORS_A_HIT * k)
        total = len(resident.block.seqs) if positions is None else len(positions)
        if total <= count:
            return positions
        # against one vector the sum over the query's rows is one product, and this stage the whole score
        stage = query.sum(0, keepdims=True) if document_rows == 1 else query[:1]
        narrow = positions is not None and total * SCAN_SHARE < len(resident.block.seqs)
        block = cut_block(resident.block, positions if narrow else None, document_rows)
        scores = maxsim_int8(stage, int8_rows(block), block.starts)
        if positions is None or narrow:
            best = np.sort(np.argpartition(scores, total - count)[total - count :])
            return best if positions is None else positions[best]
        scores = scores[positions]
        return positions[np.sort(np.argpartition(scores, total - count)[total - count :])]

    def _best(
        self,
        connection: sqlite3.Connection,
        resident: HeldRows,
        query: NDArray[np.float32],
        k: int,
        document_rows: int | None,
        positions: NDArray[np.intp] | None,
    ) -> list[Hit]:
        """Score the records at these positions, or all, in float32, and keep the best."""
        seqs = resident.block.seqs if positions is None else resident.block.seqs[positions]
        if resident.is_whole:
            blocks = iter([cut_block(resident.block, positions, document_rows)])
        else:
            blocks = self._blocks(connection, seqs, document_rows)
        scores, numbers = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        block = None
        for block in blocks:
            scores.append(_scores(query, block))
            numbers.append(block.seqs)
        if block is None:
            return []
        at = shortlist(np.concatenate(scores), k)
        best_seqs = np.concatenate(numbers)[at]
        finals = self._finals.of(resident.generation, query, document_rows)
        is_new = np.array([seq not in finals for seq in best_seqs.tolist()], bool)
        if len(scores) == 2:  # all of them stood in one block
            best = cut_block(block, at[is_new], None)
        else:
            best = self._store.block(connection, best_seqs[is_new].tolist(), document_rows)
        finals |= _final_scores(query, best)
        ids = self.names.ids(connection, best_seqs.tolist())
        hits = [Hit(ids[seq], finals[seq]) for seq in best_seqs.tolist() if seq in ids]  # rows are no record
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]

    def _blocks(
        self, connection: sqlite3.Connection, seqs: NDArray[np.int64], document_rows: int | None
    ) -> Iterator[RowBlock]:
        """Read the rows of these records, a part of them at a time."""
        for start in range(0, len(seqs), _SCAN):
            yield self._store.block(connection, seqs[start : start + _SCAN].tolist(), document_rows)


def _scores(query: NDArray[np.float32], block: RowBlock) -> NDArray[np.float32]:
    """Score a block in float32, with the query as it is: exact but for rounding."""
    if block.peaks is None:
        return maxsim_ragged(query, (block.numbers, block.starts))
    return maxsim_int8(query, int8_rows(block), block.starts, engine="numpy")


class KeptScores:
    """Final scores of the last queries: a fused search scores many records for one question twice or thrice.

    Safe between threads.
    """

    def __init__(self) -> None:
        self._lock = new_lock()
        self._scores: dict[tuple[int, int | None, bytes], dict[int, float]] = {}  # the newest last

    def of(self, generation: int, query: NDArray[np.float32], document_rows: int | None) -> dict[int, float]:
        """Return the scores of one query in one state of the file, by number of the record, to be filled.

        Args:
            generation: of the file.
            query: ``(Tq, dim)``, cut to the budget.
            document_rows: rows of a record that count; None: all.
        """
        key = (generation, document_rows, query.tobytes())
        with self._lock:
            scores = self._scores.setdefault(key, {})
            while len(self._scores) > MOST_QUERIES:
                del self._scores[next(iter(self._scores))]
            return scores


def _final_scores(query: NDArray[np.float32], block: RowBlock) -> dict[int, float]:
    """Score the records of a block as every index reports scores, by number, a part in memory at a time."""
    scores: dict[int, float] = {}
    start, seqs = 0, block.seqs.tolist()
    while start < len(seqs):
        # parts of this size stay in the processor's cache, as numbers of 8 bytes too
        end = int(np.searchsorted(block.starts, block.starts[start] + _FINAL_ROWS, side="right")) - 1
        end = max(start + 1, end)
        first, last = int(block.starts[start]), int(block.starts[end])
        peaks = None if block.peaks is None else block.peaks[first:last]
        bounds = block.starts[start : end + 1] - first
        part = RowBlock(block.seqs[start:end], bounds, block.numbers[first:last], peaks)
        finals = final_scores_of(query, part.decode(), bounds[:-1])
        scores.update(zip(seqs[start:end], finals, strict=True))
        start = end
    return scores
