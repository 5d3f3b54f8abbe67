"""Row 0 of every record in memory, for exact first-stage search without Chroma."""

from __future__ import annotations

import sqlite3

import numpy as np
from numpy.typing import NDArray

from mmrag.forks import new_lock
from mmrag.index.ranking import shortlist
from mmrag.index.store import RecordStore


class FirstRows:
    """Row 0 of every record as one array, read again when the file has changed."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._lock = new_lock()
        self._generation = -1
        self._seqs: NDArray[np.int64] = np.empty(0, np.int64)
        self._rows: NDArray[np.float32] = np.empty((0, store.manifest.dim), np.float32)

    def best(
        self,
        connection: sqlite3.Connection,
        vector: NDArray[np.float32],
        k: int,
        allowed_seqs: list[int] | None,
    ) -> list[int]:
        """Select the numbers of the best `k` records by inner product, ties included.

        Args:
            connection: the state of the file to search.
            vector: ``(dim,)``, the query.
            k: at least 1.
            allowed_seqs: search only these, rising; None searches all.
        """
        seqs, rows = self._current(connection)
        if allowed_seqs is not None:
            positions = np.searchsorted(seqs, np.array(allowed_seqs, np.int64))
            seqs, rows = seqs[positions], rows[positions]
        best_seqs: list[int] = seqs[shortlist(rows @ vector, k)].tolist()
        return best_seqs

    def _current(self, connection: sqlite3.Connection) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return numbers (rising) and rows in the state that this connection sees."""
        generation = self._store.generation(connection)
        with self._lock:
            if generation == self._generation:
                return self._seqs, self._rows
            seqs, _, first = self._store.first_rows(connection)
            numbers, rows = np.array(seqs, np.int64), first
            if generation > self._generation:  # a reader of an older state must not put the clock back
                self._generation, self._seqs, self._rows = generation, numbers, rows
            return numbers, rows
