"""An index in memory: exact, small, without files. The reference that other homes are tested against."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace

from mmrag.blocks import Block
from mmrag.forks import FORK_SECONDS, ForkOwner, follow_forks, new_recursive_lock
from mmrag.index.base import DocumentEntry, EmbedderIdentity, Manifest, RowType, manifest_for
from mmrag.index.check_report import CheckReport
from mmrag.index.filters import Filter, kind_of, matches, metadata_values, validate
from mmrag.index.identity import DocumentNames, IdentityTable
from mmrag.index.lexical import LexicalTable, lexical_text
from mmrag.index.ranking import best_hits, final_scores
from mmrag.index.records import (
    budget_rows,
    check_k,
    check_metadata,
    checked_query,
    checked_records,
    flat_metadata,
    merged_metadata,
    plain_metadata,
)
from mmrag.index.word_codec import encode_words
from mmrag.scoring import maxsim_ragged, take_budget
from mmrag.types import Budget, Hit, Matrix, Metadata, Record, Scalar


class MemoryIndex(ForkOwner):
    """Exact index of dicts and arrays; see `mmrag.index.base.Index` for every method.

    Rows are kept as they come back from the files of other homes, so that scores agree. One
    lock serialises everything: this is a reference and a test tool, not a server.

    Example:
        >>> with DocumentQA(MemoryIndex(qa.index.manifest)) as in_memory:
        ...     ids = in_memory.add_texts(["Cats purr.", "Dogs bark."], ids=["cat", "dog"])
        ...     in_memory.search("Which animal barks?")[0].id
        'dog'
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._lock = new_recursive_lock()
        self._records: dict[str, Record] = {}  # matrices stand apart
        self._matrices: dict[str, Matrix] = {}
        self._documents: dict[str, DocumentEntry] = {}
        self._blobs: dict[str, bytes] = {}
        self._seqs: dict[str, int] = {}
        self._next_seq = 1
        self._lexical = sqlite3.connect(":memory:", check_same_thread=False)
        LexicalTable.create(self._lexical)
        IdentityTable.create(self._lexical)
        self._is_held_for_fork = False
        follow_forks(self)

    def before_fork(self) -> None:
        """Wait for other threads, so that the child gets a whole index of its own."""
        self._is_held_for_fork = self._lock.acquire(timeout=FORK_SECONDS)

    def after_fork(self, *, in_child: bool) -> None:
        """Let other threads go on; in a child there are none, and the lock is free."""
        if self._is_held_for_fork and not in_child:
            self._lock.release()

    @classmethod
    def for_embedder(
        cls, embedder: EmbedderIdentity, *, row_type: RowType | None = None, rows: int | None = None
    ) -> MemoryIndex:
        """Create an empty index for this embedder's vectors; see `manifest_for` for the rows."""
        return cls(manifest_for(embedder, row_type, rows))

    @property
    def manifest(self) -> Manifest:
        """What the index was made with."""
        return self._manifest

    @property
    def read_only(self) -> bool:
        """Always False."""
        return False

    def add(self, records: Sequence[Record]) -> None:
        """See `Index.add`."""
        pairs = checked_records(records, self._manifest)
        for record, _ in pairs:
            if record.page is not None:
                encode_words(record.page.words, record.text)  # refuses what a file could not hold
        with self._lock:
            for record, matrix in pairs:
                if record.id not in self._seqs:
                    self._seqs[record.id] = self._next_seq
                    self._next_seq += 1
                page = None if record.page is None else replace(record.page, image=None)
                metadata = plain_metadata(record.metadata)
                self._forget_words(record.id)
                self._records[record.id] = replace(record, matrix=None, metadata=metadata, page=page)
                self._matrices[record.id] = matrix
            for record, _ in pairs:
                seq = self._seqs[record.id]
                LexicalTable.add(self._lexical, [(seq, lexical_text(record.context, record.text))])
                if record.page is not None and record.page.number == 0:
                    document_id = record.page.document_id
                    IdentityTable.put(self._lexical, seq, document_id, record.context, record.text)

    def delete(self, ids: Sequence[str]) -> int:
        """See `Index.delete`."""
        with self._lock:
            for id in ids:
                self._blobs.pop(id, None)
            present = [id for id in dict.fromkeys(ids) if id in self._records]
            for id in present:
                self._forget_words(id)
                del self._records[id], self._matrices[id], self._seqs[id]
            return len(present)

    def _forget_words(self, id: str) -> None:
        """Take a record out of the full text; one that is not there is passed over."""
        record = self._records.get(id)
        if record is not None:
            seq = self._seqs[id]
            LexicalTable.delete(self._lexical, [(seq, lexical_text(record.context, record.text))])
            IdentityTable.delete(self._lexical, [seq])

    def get(self, ids: Sequence[str], *, matrices: bool = False) -> list[Record]:
        """See `Index.get`."""
        with self._lock:
            records = [self._records[id] for id in ids if id in self._records]
            if matrices:
                records = [replace(record, matrix=self._matrices[record.id].copy()) for record in records]
            return [replace(record, metadata=dict(record.metadata)) for record in records]

    def update_metadata(self, ids: Sequence[str], values: Metadata) -> None:
        """See `Index.update_metadata`."""
        check_metadata(flat_metadata(values), ", ".join(ids[:3]))
        with self._lock:
            for id in ids:
                if id in self._records:
                    record = self._records[id]
                    self._records[id] = replace(record, metadata=merged_metadata(record.metadata, values))

    def ids(self, filter: Filter | None = None) -> list[str]:
        """See `Index.ids`."""
        validate(filter)
        with self._lock:
            ids = [id for id, record in self._records.items() if matches(filter, record.metadata)]
            return sorted(ids, key=self._seqs.__getitem__)

    def count(self, filter: Filter | None = None) -> int:
        """See `Index.count`."""
        return len(self.ids(filter))

    def values(self, key: str) -> list[Scalar]:
        """See `Index.values`."""
        with self._lock:
            values_by_key = {
                (kind_of(value), value): value
                for record in self._records.values()
                for value in metadata_values(record.metadata, key)
            }
        order = sorted(values_by_key, key=lambda pair: (pair[0] or 0, pair[1]))
        return [values_by_key[pair] for pair in order]

    def search_vectors(
        self,
        query: Matrix,
        *,
        k: int,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[Hit]:
        """See `Index.search_vectors`; always exact here."""
        check_k(k)
        query_rows, document_rows = budget_rows(budget)
        rows = take_budget(checked_query(query, self._manifest.dim), query_rows)
        with self._lock:
            ids = self.ids(filter)
            documents = [take_budget(self._matrices[id], document_rows) for id in ids]
        scores = maxsim_ragged(rows, documents)
        return best_hits(rows, scores, ids.__getitem__, lambda at: [documents[i] for i in at], k)

    def search_text(
        self, text: str, *, k: int, filter: Filter | None = None, without: Collection[str] = ()
    ) -> list[Hit]:
        """See `Index.search_text`."""
        check_k(k)
        with self._lock:
            ids_by_seq = {self._seqs[id]: id for id in self.ids(filter)}
            hits = [
                Hit(ids_by_seq[seq], score)
                for seq, score in LexicalTable.search(self._lexical, text, without)
                if seq in ids_by_seq
            ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]

    def name_documents(self, text: str) -> DocumentNames:
        """See `Index.name_documents`."""
        with self._lock:
            ids_by_seq = {seq: id for id, seq in self._seqs.items()}

            def count_documents(expression: str) -> int:
                hits = LexicalTable.rows(self._lexical, expression)
                return len({self._document_of(ids_by_seq[seq]) for seq in hits} - {None})

            return IdentityTable.search(self._lexical, text, count_documents)

    def document_ids(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Index.document_ids`."""
        with self._lock:
            documents = {id: self._document_of(id) for id in ids}
        return {id: document for id, document in documents.items() if document is not None}

    def _document_of(self, id: str) -> str | None:
        record = self._records.get(id)
        return None if record is None or record.page is None else record.page.document_id

    def score(self, query: Matrix, ids: Sequence[str], *, budget: Budget | None = None) -> list[Hit]:
        """See `Index.score`."""
        query_rows, document_rows = budget_rows(budget)
        rows = take_budget(checked_query(query, self._manifest.dim), query_rows)
        with self._lock:
            present = [id for id in ids if id in self._matrices]
            documents = [take_budget(self._matrices[id], document_rows) for id in present]
        scores = final_scores(rows, documents)
        return [Hit(id, score) for id, score in zip(present, scores, strict=True)]

    def documents(self) -> list[DocumentEntry]:
        """See `Index.documents`."""
        with self._lock:
            return list(self._documents.values())

    def put_document(self, entry: DocumentEntry) -> None:
        """See `Index.put_document`."""
        with self._lock:
            self._documents[entry.id] = entry

    def remove_document(self, document_id: str) -> int:
        """See `Index.remove_document`."""
        with self._lock:
            pages = [
                record.id
                for record in self._records.values()
                if record.page is not None and record.page.document_id == document_id
            ]
            self._documents.pop(document_id, None)
            for key in [key for key in self._blobs if key[:16] == document_id and len(key) == 64]:
                del self._blobs[key]
            return self.delete(pages)

    def put_blocks(self, id: str, blocks: Sequence[Block]) -> None:
        """See `Index.put_blocks`."""
        with self._lock:
            record = self._records.get(id)
            if record is not None and record.page is not None:
                self._records[id] = replace(record, page=replace(record.page, blocks=tuple(blocks)))

    def put_blob(self, key: str, data: bytes) -> None:
        """See `Index.put_blob`."""
        with self._lock:
            self._blobs[key] = bytes(data)

    def get_blob(self, key: str) -> bytes | None:
        """See `Index.get_blob`."""
        with self._lock:
            return self._blobs.get(key)

    def check(self, *, repair: bool = False) -> CheckReport:
        """See `Index.check`: nothing is stored, so nothing can be damaged."""
        return CheckReport(None, self.count())

    def close(self) -> None:
        """Drop the lexical table; the index is not to be used afterwards."""
        with self._lock:
            self._lexical.close()
