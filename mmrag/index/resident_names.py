"""Ids of records and of their documents in memory, so that a search of a small index does not look them up.

They follow the file (`mmrag.index.resident_copy`). Larger indexes are asked each time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmrag.index.database import chunks
from mmrag.index.resident_copy import ResidentCopy

MOST_RECORDS = 20_000
"""Largest index whose names are resident."""

_NAMES = "SELECT seq, id, document_id FROM records"


@dataclass(frozen=True, slots=True)
class HeldNames:
    """Names of all records in one state of the file; never changed.

    Attributes:
        generation: of the file.
        ids: by number of the record.
        seqs: numbers by id.
        documents: ids of documents by number; of records that are of one.
        is_complete: every record is here. Otherwise none is, since there are too many.
    """

    generation: int
    ids: dict[int, str]
    seqs: dict[str, int]
    documents: dict[int, str]
    is_complete: bool = True


class ResidentNames(ResidentCopy[HeldNames]):
    """The names held in memory, of whatever state of the file a search sees. Safe between threads.

    Args:
        store: the records.
    """

    def ids(self, connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, str]:
        """Map each number that exists to its id."""
        names = self.current(connection)
        if not names.is_complete:
            return self._store.names(connection, seqs)
        return {seq: names.ids[seq] for seq in seqs if seq in names.ids}

    def seqs(self, connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, int]:
        """Map each id that exists to its number, in the order of `ids`."""
        names = self.current(connection)
        if not names.is_complete:
            return self._store.seqs(connection, ids)
        return {id: names.seqs[id] for id in ids if id in names.seqs}

    def documents(self, connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, str]:
        """Map each of these records that is of a document to the document's id."""
        names = self.current(connection)
        if not names.is_complete:
            return self._store.document_ids(connection, ids)
        pairs = ((id, names.documents.get(names.seqs.get(id, -1))) for id in ids)
        return {id: document for id, document in pairs if document is not None}

    def _load(self, connection: sqlite3.Connection, generation: int) -> HeldNames:
        """Read them all, or none where they are many."""
        if self._store.count(connection, None) > MOST_RECORDS:
            return HeldNames(generation, {}, {}, {}, is_complete=False)
        return _names_of(generation, {}, {}, connection.execute(_NAMES))

    def _follow(
        self, connection: sqlite3.Connection, resident: HeldNames, generation: int
    ) -> HeldNames | None:
        """Read what has changed since; None where the file does not say, or there are many now."""
        if not resident.is_complete:
            return None
        changed_seqs = self._store.changes(connection, generation=resident.generation)
        if changed_seqs is None or len(resident.ids) + len(changed_seqs) > MOST_RECORDS:
            return None
        gone_seqs = set(changed_seqs)
        ids = {seq: id for seq, id in resident.ids.items() if seq not in gone_seqs}
        documents = {seq: id for seq, id in resident.documents.items() if seq not in gone_seqs}
        rows: list[tuple[int, str, str | None]] = []
        for marks, part in chunks(changed_seqs):
            rows += connection.execute(f"{_NAMES} WHERE seq IN ({marks})", part)
        return _names_of(generation, ids, documents, rows)


def _names_of(
    generation: int,
    ids: dict[int, str],
    documents: dict[int, str],
    rows: Iterable[tuple[int, str, str | None]],
) -> HeldNames:
    """Add rows of `_NAMES` to names that nobody else holds."""
    for seq, id, document in rows:
        ids[seq] = id
        if document is not None:
            documents[seq] = document
    return HeldNames(generation, ids, {id: seq for seq, id in ids.items()}, documents)
