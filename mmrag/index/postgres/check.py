"""What is damaged in the tables of an index, and its repair.

PostgreSQL has checksums of its pages; these are of what was written, so that they see what a hand, a script
or an upgrade changed, too. All that is made of a record (vectors of the first stage, metadata for filters,
terms) is made again and compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmrag.errors import IndexDamagedError
from mmrag.index.base import DocumentEntry
from mmrag.index.check_report import LOST_PARTS, CheckReport, Fault
from mmrag.index.checksums import OTHER_BYTES, StoredRecord, sum_of
from mmrag.index.lexical import LEXICAL_VERSION
from mmrag.index.postgres import hnsw, values, writing
from mmrag.index.postgres.connections import Connection
from mmrag.index.postgres.reading import record_statement, stored_record
from mmrag.index.postgres.schema import Tables
from mmrag.index.postgres.words import Words, words_of
from mmrag.index.record_codec import decode_entry, decode_record
from mmrag.index.rows import RowCodec
from mmrag.index.stored import decode_guard
from mmrag.types import Record

CHUNK = 500
"""Records in memory at once."""

_DERIVED_COLUMNS = (
    "SELECT r.first::text, r.middle::text, r.metadata::text, l.terms::text, l.length, i.terms::text, "
    "i.date, i.version "
    "FROM {records} r LEFT JOIN {lexical} l USING (seq) LEFT JOIN {identities} i USING (seq) "
    "WHERE r.seq = ANY (%s) ORDER BY r.seq"
)


@dataclass(slots=True)
class Check:
    """A check in one transaction.

    Attributes:
        connection: in a transaction.
        tables: of the index.
        codec: of its rows.
        repair: make again what can be made of the rest.
        faults: so far.
        records: that are whole.
    """

    connection: Connection
    tables: Tables
    codec: RowCodec
    repair: bool
    faults: list[Fault] = field(default_factory=list)
    records: int = 0

    def run(self) -> CheckReport:
        """Look at everything."""
        lost_documents: set[str] = set()
        for rows in self._chunks():
            self._check_chunk(rows, lost_documents)
        self._check_totals()
        entries = self._check_entries()
        self._check_blobs()
        if hnsw.is_built(self.connection, self.tables) is False:
            self._note("state", hnsw.NAME, "an index whose making was broken off", self._drop_hnsw)
        for entry in entries if self.repair else ():
            if entry.id in lost_documents and entry.complete:
                writing.put_document(self.connection, self.tables, replace(entry, complete=False))
        return CheckReport(
            None, self.records, tuple(self.faults), is_repaired=self.repair and bool(self.faults)
        )

    def _note(self, part: str, key: str, problem: str, mend: Callable[[], str] | None) -> None:
        """Note a fault; mend it where that is asked for."""
        remedy = mend() if self.repair and mend is not None else None
        self.faults.append(Fault(part, key, problem, remedy))

    def _chunks(self) -> Iterator[list[tuple[Any, ...]]]:
        condition = f"r.seq > %s ORDER BY r.seq LIMIT {CHUNK}"
        statement = self.tables.sql(record_statement(condition, matrices=True))
        last = -1
        while rows := self.connection.execute(statement, [last], binary=True).fetchall():
            yield rows
            last = rows[-1][0]

    def _check_chunk(self, rows: Sequence[tuple[Any, ...]], lost_documents: set[str]) -> None:
        whole: list[tuple[int, Record]] = []
        for row in rows:
            stored_row = stored_record(row, matrices=True)
            record = self._checked_record(stored_row, lost_documents)
            if record is not None:
                whole.append((stored_row.seq, record))
        self.records += len(whole)
        statement = self.tables.sql(_DERIVED_COLUMNS)
        derived_rows = self.connection.execute(statement, [[seq for seq, _ in whole]]).fetchall()
        words = words_of([record for _, record in whole])
        for (seq, record), row, own_words in zip(whole, derived_rows, words, strict=True):
            self._check_derived(seq, record, row, own_words)

    def _checked_record(self, stored_row: StoredRecord, lost_documents: set[str]) -> Record | None:
        """Return a record that is whole, without blocks that are damaged; None for one that is lost."""
        problems = {part: OTHER_BYTES for part in stored_row.wrong_parts()}
        if stored_row.columns[2] is None or stored_row.matrix is None:
            problems["record" if stored_row.columns[2] is None else "matrix"] = "nothing"
        if "blocks" in problems:
            self._note("blocks", stored_row.id, OTHER_BYTES, lambda: self._drop_blocks(stored_row.seq))
            stored_row = stored_row._replace(blocks=None)
        lost_part = next((part for part in problems if part in LOST_PARTS), None)
        record = None
        if lost_part is None:
            try:
                with decode_guard("record", stored_row.id):
                    record = decode_record(stored_row, self.codec)
                    if record.page is not None:
                        record.page.decode()
            except IndexDamagedError as error:
                lost_part, problems[error.part] = error.part, "data that does not decode"
        if lost_part is not None or record is None:
            part = lost_part if lost_part in LOST_PARTS else "record"
            self._note(
                part,
                stored_row.id,
                problems.get(lost_part or "", OTHER_BYTES),
                lambda: self._lose(stored_row),
            )
            if document := stored_row.column("document_id"):
                lost_documents.add(document.decode())
        return record

    def _check_derived(self, seq: int, record: Record, row: tuple[Any, ...], words: Words) -> None:
        first, middle, metadata, terms, length, names, date, version = row
        assert record.matrix is not None
        vectors = record.matrix[0], writing.middle_of(record.matrix)
        if not all(map(_is_same_vector, (first, middle), vectors)):
            self._note(
                "first",
                record.id,
                "other vectors than those of its rows",
                lambda: self._set_vectors(seq, vectors),
            )
        encoded_values = values.filter_json(record.metadata)
        if json.loads(metadata) != json.loads(encoded_values):
            self._note(
                "metadata",
                record.id,
                "other values than its metadata",
                lambda: self._set_metadata(seq, encoded_values),
            )
        identity = None if names is None else (json.loads(names), date, version)
        own_identity = None
        if words.identity is not None:
            own_identity = json.loads(words.identity[0]), *map(values.stored_text, words.identity[1:])
        own_terms = json.loads(words.terms), words.length, own_identity
        if (None if terms is None else json.loads(terms), length, identity) != own_terms:
            self._note("text", record.id, "other terms than those of its text", lambda: self._refill(seq))

    def _check_totals(self) -> None:
        row = self.connection.execute(
            self.tables.sql(
                "SELECT (SELECT coalesce(sum(records), 0) FROM {totals}), "
                "(SELECT coalesce(sum(terms), 0) FROM {totals}), "
                "(SELECT count(*) FROM {lexical}), (SELECT coalesce(sum(length), 0) FROM {lexical})"
            )
        ).fetchone()
        assert row is not None
        records, terms, count, length = map(int, row)
        if (records, terms) != (count, length):
            problem = f"{records} records and {terms} terms where there are {count} and {length}"
            self._note("state", "totals", problem, self._set_totals)

    def _check_entries(self) -> list[DocumentEntry]:
        entries = []
        for id, entry, total in self.connection.execute(
            self.tables.sql("SELECT id, entry, sum FROM {documents} ORDER BY position")
        ).fetchall():
            key, data = values.loaded_text(id), entry.encode()
            try:
                if sum_of([data]) != total:
                    raise ValueError(OTHER_BYTES)
                with decode_guard("document", key):
                    entries.append(decode_entry(key, data))
            except ValueError:
                self._note("document", key, OTHER_BYTES, lambda key=key: self._drop("documents", key))  # type: ignore[misc]
        return entries

    def _check_blobs(self) -> None:
        names = self.connection.execute(self.tables.sql("SELECT name FROM {blobs} ORDER BY key")).fetchall()
        statement = self.tables.sql("SELECT data, sum FROM {blobs} WHERE key = %s")
        for (name,) in names:
            key = values.loaded_text(name)
            row = self.connection.execute(statement, [values.key_of(key)], binary=True).fetchone()
            if row is not None and sum_of([bytes(row[0])]) != row[1]:
                self._note("blob", key, OTHER_BYTES, lambda key=key: self._drop("blobs", key))  # type: ignore[misc]

    # -- what a repair does: each returns what it did, in words --------------------------------

    def _lose(self, stored_row: StoredRecord) -> str:
        statement = self.tables.sql("DELETE FROM {records} WHERE seq = %s")
        writing.forget_words(self.connection, self.tables, [stored_row.seq])
        self.connection.execute(statement, [stored_row.seq])
        return "left out; adding its file again reads it again"

    def _drop_blocks(self, seq: int) -> str:
        self.connection.execute(self.tables.sql("DELETE FROM {blocks} WHERE seq = %s"), [seq])
        return "left out; read again when they are asked for"

    def _set_vectors(self, seq: int, vectors: Sequence[Any]) -> str:
        statement = self.tables.sql(
            "UPDATE {records} SET first = %s::text::{halfvec}, middle = %s::text::{halfvec} WHERE seq = %s"
        )
        first, middle = map(values.vector_text, vectors)
        self.connection.execute(statement, (first, middle, seq))
        return "made again of its rows"

    def _set_metadata(self, seq: int, encoded_values: str) -> str:
        self.connection.execute(
            self.tables.sql("UPDATE {records} SET metadata = %s::jsonb WHERE seq = %s"), (encoded_values, seq)
        )
        return "made again of its metadata"

    def _refill(self, seq: int) -> str:
        refill_words(self.connection, self.tables, [seq])
        return "made again of its text"

    def _set_totals(self) -> str:
        count_again(self.connection, self.tables)
        return "counted again"

    def _drop(self, table: str, key: str) -> str:
        statement = self.tables.sql(f"DELETE FROM {{{table}}} WHERE key = %s")
        self.connection.execute(statement, [values.key_of(key)])
        return "left out; adding its file again brings it back"

    def _drop_hnsw(self) -> str:
        self.connection.execute(self.tables.sql(f"DROP INDEX {{schema}}.{hnsw.NAME}"))
        return "dropped; a later add makes it again"


def _is_same_vector(text: str, vector: Any) -> bool:  # noqa: ANN401  an array
    return np.array_equal(
        np.asarray(json.loads(text), np.float16),
        np.asarray(json.loads(values.vector_text(vector)), np.float16),
    )


def check_tables(connection: Connection, tables: Tables, codec: RowCodec, *, repair: bool) -> CheckReport:
    """Check the tables of an index in the transaction of the caller; see `mmrag.index.base.Index.check`."""
    return Check(connection, tables, codec, repair).run()


def fill_words(connection: Connection, tables: Tables) -> None:
    """Make all records findable by their words anew, as this code cuts them; in the caller's transaction."""
    statement = tables.sql("SELECT seq FROM {records} ORDER BY seq FOR UPDATE")
    seqs = [seq for (seq,) in connection.execute(statement).fetchall()]
    for start in range(0, len(seqs), CHUNK):
        refill_words(connection, tables, seqs[start : start + CHUNK])
    count_again(connection, tables)
    connection.execute(
        tables.sql(
            "INSERT INTO {state} VALUES ('lexical', %s) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        ),
        [str(LEXICAL_VERSION)],
    )


def count_again(connection: Connection, tables: Tables) -> None:
    """Count records and terms anew; in one statement, so that what others commit meanwhile counts once."""
    connection.execute(
        tables.sql(
            "WITH gone AS (DELETE FROM {totals}) INSERT INTO {totals} (records, terms) "
            "SELECT count(*), coalesce(sum(length), 0) FROM {lexical}"
        )
    )


def refill_words(connection: Connection, tables: Tables, seqs: Sequence[int]) -> None:
    """Make records findable by their words anew."""
    statement = tables.sql(record_statement("r.seq = ANY (%s) ORDER BY r.seq", matrices=False))
    pairs: list[tuple[int, Record]] = []
    for row in connection.execute(statement, [list(seqs)], binary=True).fetchall():
        stored_row = stored_record(row, matrices=False)
        with decode_guard("record", stored_row.id):
            pairs.append((stored_row.seq, decode_record(stored_row, RowCodec(1))))
    writing.forget_words(connection, tables, seqs)
    words = words_of([record for _, record in pairs])
    entries = [(seq, record, own_words) for (seq, record), own_words in zip(pairs, words, strict=True)]
    writing.put_words(connection, tables, entries)
