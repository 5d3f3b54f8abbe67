"""Search of an index's rows: all of them exactly, or in stages.

1. Every record, in int8, against row 0 of the query: by all its rows where an index is small, by its first
   eight, four, two or one where all rows are mapped, by its first eight where they cannot be. Budgets cut the
   rows further, and against single vectors the query is the sum of its rows, which is then the whole score.
2. Where all rows are mapped: those of the candidates, in int8, against the query's strong rows.
3. The survivors' rows, in float32, against all rows of the query.

Whatever stage brought a record, the score that is reported is that of its stored rows in float64.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mmrag.forks import new_lock
from mmrag.index.filters import Filter
from mmrag.index.mapped_rows import MappedRows
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
"""The same where a stage saw all their rows."""

CANDIDATES = 16_384
CANDIDATES_A_HIT = 64
CANDIDATE_SHARE = 50
"""How many records first rows hand on where all rows are mapped: the largest, the third one in so many."""

FEWER_CANDIDATES = {2: 0.75, 4: 0.75, 8: 0.5}
"""Share of `CANDIDATES` that is enough where several first rows of each record are in memory.

Of the exact best ten among 100,000 pages row 0 keeps .992 in 16,384, two rows .991 in 12,288, eight .995 in
8,192; all rows keep all of them in 128 (``docs/lab-log.md``).
"""

STRONG_ROW = 0.25
"""Rows of a query whose length is at least this share of the longest row's are scanned with."""

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
        scores |= _final_scores(query, self._block(connection, resident, new_seqs, document_rows))
        return [Hit(id, scores[seqs[id]]) for id in ids if id in seqs]

    def _survivors(
        self,
        resident: HeldRows | MappedRows,
        query: NDArray[np.float32],
        k: int,
        document_rows: int | None,
        positions: NDArray[np.intp] | None,
    ) -> NDArray[np.intp] | None:
        """Select about the best records by the rows at hand; None: all of them are few enough."""
        if isinstance(resident, MappedRows):
            return _mapped_survivors(resident, query, k, document_rows, positions)
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
            best = _best_at(scores, count)
            return best if positions is None else positions[best]
        return positions[_best_at(scores[positions], count)]

    def _best(
        self,
        connection: sqlite3.Connection,
        resident: HeldRows | MappedRows,
        query: NDArray[np.float32],
        k: int,
        document_rows: int | None,
        positions: NDArray[np.intp] | None,
    ) -> list[Hit]:
        """Score the records at these positions, or all, in float32, and keep the best."""
        scores, numbers = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        block = None
        for block in self._blocks(connection, resident, positions, document_rows):
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
            best = self._block(connection, resident, best_seqs[is_new].tolist(), document_rows)
        finals |= _final_scores(query, best)
        ids = self.names.ids(connection, best_seqs.tolist())
        hits = [Hit(ids[seq], finals[seq]) for seq in best_seqs.tolist() if seq in ids]  # rows are no record
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]

    def _blocks(
        self,
        connection: sqlite3.Connection,
        resident: HeldRows | MappedRows,
        positions: NDArray[np.intp] | None,
        document_rows: int | None,
    ) -> Iterator[RowBlock]:
        """Yield the rows of the records at these positions, or of all, a part of them at a time."""
        if resident.is_whole and isinstance(resident, HeldRows):
            yield resident.cut(positions, document_rows)
            return
        positions = np.arange(len(resident.seqs)) if positions is None else positions
        for start in range(0, len(positions), _SCAN):
            part = positions[start : start + _SCAN]
            if resident.is_whole:
                yield resident.cut(part, document_rows)
            else:
                yield self._store.block(connection, resident.seqs[part].tolist(), document_rows)

    def _block(
        self,
        connection: sqlite3.Connection,
        resident: HeldRows | MappedRows,
        seqs: Sequence[int],
        document_rows: int | None,
    ) -> RowBlock:
        """Return the rows of these records, as they are stored."""
        if resident.is_whole:
            return resident.cut(resident.positions(np.array(seqs, np.int64)), document_rows)
        return self._store.block(connection, seqs, document_rows)


def _mapped_survivors(
    resident: MappedRows,
    query: NDArray[np.float32],
    k: int,
    document_rows: int | None,
    positions: NDArray[np.intp] | None,
) -> NDArray[np.intp] | None:
    """Select about the best records by row 0, and of those by all rows; None: all of them are few enough."""
    count = max(WHOLE_SURVIVORS, WHOLE_SURVIVORS_A_HIT * k)
    first_rows = len(resident.file.first_rows[:document_rows])
    candidates = max(
        int(CANDIDATES * FEWER_CANDIDATES.get(first_rows, 1.0)),
        CANDIDATES_A_HIT * k,
        len(resident.seqs) // CANDIDATE_SHARE,
    )
    stage = query[:1]
    if document_rows == 1:  # the sum over the query's rows is one product, and row 0 the whole score
        candidates, stage = count, query.sum(0, keepdims=True)
    total = len(resident.seqs) if positions is None else len(positions)
    if total <= count:
        return positions
    if total > candidates:
        scores = resident.first_scores(stage[0], document_rows)
        best = _best_at(scores if positions is None else scores[positions], candidates)
        positions = best if positions is None else positions[best]
    if document_rows == 1:
        return positions
    if positions is None:
        positions = np.arange(total)
    scores = resident.scores(strong_rows(query), positions, document_rows)
    return positions[_best_at(scores, count)]


def _best_at(scores: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return where the best `count` scores are, rising; there are more scores."""
    best: NDArray[np.intp] = np.sort(np.argpartition(scores, len(scores) - count)[len(scores) - count :])
    return best


def strong_rows(query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows of a query that can put documents in another order: those that are not much shorter.

    A row adds to a score no more than its length. Those of ``mmrag-mini`` after row 0 have less than a tenth
    of its length.

    Args:
        query: ``(Tq, dim)``.
    """
    lengths = np.linalg.norm(query, axis=1)  # (Tq,)
    strong: NDArray[np.float32] = query[lengths >= STRONG_ROW * lengths.max()]
    return strong


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
