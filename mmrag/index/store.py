"""The records of an index in one SQLite file: matrices, text, words, metadata, documents, manifest.

Why SQLite in addition to a vector store: everything of a record is written in one transaction, the words are
searchable exactly when the record is there, readers in other processes see whole commits, and a
vector store that holds row 0 can always be filled again from here (``benchmarks/index_homes.py``).

Tables: ``records`` (one row a record; ``seq`` is the order of first adding), ``vectors`` (the matrix,
see `mmrag.index.rows`), ``first`` (row 0 by itself, so that all of them load fast), ``metadata`` (one row
a value, for filters), ``lexical`` (FTS5), ``pending`` (ids whose row 0 the vector store has not confirmed),
``changes`` (when a record's rows last changed), ``documents``, ``blobs``, ``state`` (manifest,
generation), ``checksums`` (`mmrag.index.checksums`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmrag.blocks import Block
from mmrag.errors import IndexFormatError
from mmrag.index import checksums, codec
from mmrag.index.base import FORMAT_VERSION, OLD_FORMAT_VERSIONS, DocumentEntry, Manifest
from mmrag.index.block_codec import encode_blocks
from mmrag.index.database import Database, chunks
from mmrag.index.filters import KIND_BOOL, Filter, metadata_rows, to_sql, validate
from mmrag.index.layout import check_layout
from mmrag.index.matrices import MatrixTable
from mmrag.index.record_codec import check_page, decode_entry, decode_manifest, decode_record
from mmrag.index.records import check_metadata, flat_metadata, merged_metadata, plain_metadata
from mmrag.index.rows import RowBlock, RowCodec
from mmrag.index.schema import create_file
from mmrag.index.stored import decode_guard
from mmrag.index.upgrade import forget_words, put_words, upgrade_file
from mmrag.index.word_codec import encode_words
from mmrag.types import Matrix, Metadata, Record, Scalar

_UPSERT = """
INSERT INTO records(id, document_id, text, metadata, page, words, context) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT(id) DO UPDATE SET document_id = excluded.document_id, text = excluded.text,
    metadata = excluded.metadata, page = excluded.page, words = excluded.words, context = excluded.context
RETURNING seq
"""


class RecordStore:
    """Records in one SQLite file; the caller is the only writer (a lock sees to that).

    Args:
        path: the file.
        create: the manifest of a new file; None opens a file that is there.
        read_only: never write.

    Raises:
        IndexFormatError: the file is no index, is damaged, holds views or triggers, or is of a newer format.
    """

    def __init__(self, path: Path, *, create: Manifest | None, read_only: bool) -> None:
        try:
            if create is not None:
                create_file(path, create)
            self.database = Database(path, read_only=read_only)
            try:
                self.manifest = self._read_manifest(path)
                self._matrices = MatrixTable()
                if not read_only:
                    self.database.open_writer()
                    self.manifest = upgrade_file(self.database, self.manifest)
            except BaseException:
                self.database.close()
                raise
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise
            raise IndexFormatError(
                f"{path} must be an SQLite file that this package wrote, got one that SQLite cannot read "
                f"({error}). Restore it from a copy, or index the documents again into a new directory."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    # -- manifest and state -----------------------------------------------------------------

    def _read_manifest(self, path: Path) -> Manifest:
        with self.database.read() as connection:
            check_layout(connection, path)
            row = next(checksums.stored_values(connection, "state"), None)
            with decode_guard("state", "manifest"):
                values = dict(json.loads(row.data if row else b"{}"))
        version = values.get("format_version")
        if version not in (FORMAT_VERSION, *OLD_FORMAT_VERSIONS):
            raise IndexFormatError(
                f"{path} must be of index format {FORMAT_VERSION}, got {version}. "
                "Upgrade the package, or index the documents again into a new directory."
            )
        if row is not None:
            row.verify()
        with decode_guard("state", "manifest"):
            return decode_manifest(values)

    @staticmethod
    def state(connection: sqlite3.Connection, key: str) -> str | None:
        """Read a value of the ``state`` table."""
        row = connection.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    @staticmethod
    def set_state(connection: sqlite3.Connection, key: str, value: str) -> None:
        """Set a value of the ``state`` table."""
        connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, value))

    @classmethod
    def generation(cls, connection: sqlite3.Connection) -> int:
        """Return the number that grows with every change of the records."""
        with decode_guard("state", "generation"):
            return int(cls.state(connection, "generation") or 0)

    def _grow(self, connection: sqlite3.Connection, seqs: Iterable[int]) -> None:
        """Begin another generation, in which these records changed."""
        generation = self.generation(connection) + 1
        self.set_state(connection, "generation", str(generation))
        rows = ((seq, generation) for seq in seqs)
        connection.executemany("INSERT OR REPLACE INTO changes VALUES (?, ?)", rows)

    def start_generation(self, generation: int) -> None:
        """Set the number of changes; whoever read this file, or the one before it, has to read all again."""
        with self.database.write() as connection:
            self.set_state(connection, "generation", str(generation))
            self.set_state(connection, "changes_since", str(generation))

    @classmethod
    def changes(cls, connection: sqlite3.Connection, generation: int) -> list[int] | None:
        """List the numbers of the records that were added, replaced or deleted after a generation, rising.

        None where the file does not say, and all has to be read again.
        """
        with decode_guard("state", "generation"):
            since = int(cls.state(connection, "changes_since") or 0)
        if generation < since or not checksums.has_table(connection, "changes"):
            return None
        rows = connection.execute("SELECT seq FROM changes WHERE generation > ? ORDER BY seq", (generation,))
        return [int(row[0]) for row in rows]

    # -- records ----------------------------------------------------------------------------

    def add(self, pairs: Sequence[tuple[Record, Matrix]]) -> None:
        """Add or replace checked records in one transaction, and mark them pending."""
        for record, _ in pairs:
            check_page(record)
        prepared_rows = [(_record_row(record), record, matrix) for record, matrix in pairs]
        seqs = []
        with self.database.write() as connection:
            forget_words(connection, list(self.seqs(connection, [record.id for record, _ in pairs]).values()))
            for row, record, matrix in prepared_rows:
                # seq stays when an id is replaced
                seq = connection.execute(_UPSERT, row).fetchone()[0]
                seqs.append(seq)
                self._matrices.put(connection, seq, matrix)
                _put_metadata(connection, seq, record.metadata)
                document = record.page.document_id if record.page and record.page.number == 0 else None
                put_words(connection, seq, record.context, record.text, document)
                _put_blocks(connection, seq, None if record.page is None else record.page.blocks, record.text)
            checksums.put_record_sums(connection, seqs)
            self._mark_pending(connection, [record.id for record, _ in pairs])
            self._grow(connection, seqs)

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete by id in one transaction and mark the ids pending; return those that existed."""
        with self.database.write() as connection:
            connection.executemany("DELETE FROM blobs WHERE key = ?", ((id,) for id in ids))
            checksums.drop_sums(connection, "blob", ids)
            return self._delete(connection, ids)

    def _delete(self, connection: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
        seqs = self.seqs(connection, ids)
        forget_words(connection, list(seqs.values()))
        for table in ("records", "vectors", "first", "metadata", "blocks"):
            connection.executemany(f"DELETE FROM {table} WHERE seq = ?", ((s,) for s in seqs.values()))
        for part in checksums.RECORD_PARTS:
            checksums.drop_sums(connection, part, seqs.values())
        if seqs:
            self._mark_pending(connection, list(seqs))
            self._grow(connection, seqs.values())
        return list(seqs)

    def update_metadata(self, ids: Sequence[str], values: Metadata) -> None:
        """Set these keys on these records."""
        check_metadata(flat_metadata(values), ", ".join(ids[:3]))
        with self.database.write() as connection:
            seqs = list(self.seqs(connection, ids).values())
            for row in self._rows(connection, "seq", seqs, matrices=False):
                row.verify()  # or the sum to come would be of damaged data
                with decode_guard("record", row.id):
                    metadata = codec.decode_metadata(row.text("metadata"))
                    check_metadata(metadata, row.id)
                new_metadata = merged_metadata(metadata, values)
                encoded_metadata = codec.encode_metadata(new_metadata)
                connection.execute(
                    "UPDATE records SET metadata = ? WHERE seq = ?", (encoded_metadata, row.seq)
                )
                _put_metadata(connection, row.seq, new_metadata)
            checksums.put_record_sums(connection, seqs, ["record"])

    def get(self, connection: sqlite3.Connection, ids: Sequence[str], *, matrices: bool) -> list[Record]:
        """Get records in the order of `ids`; missing ones are left out."""
        records: dict[str, Record] = {}
        codec = self._matrices.codec(connection)
        for row in self._rows(connection, "id", list(dict.fromkeys(ids)), matrices=matrices):
            row.verify()
            with decode_guard("record", row.id):
                records[row.id] = decode_record(row, codec)
        return [records[id] for id in ids if id in records]

    @staticmethod
    def _rows(
        connection: sqlite3.Connection, column: str, keys: Sequence[str] | Sequence[int], *, matrices: bool
    ) -> Iterator[checksums.StoredRecord]:
        """Yield the records whose `column` is one of `keys`, as bytes and not verified."""
        for marks, part in chunks(keys):
            condition = f"{column} IN ({marks})"
            yield from checksums.stored_records(connection, condition, part, matrices=matrices)

    def put_blocks(self, id: str, blocks: Sequence[Block]) -> None:
        """Keep the blocks of a record's page; passed over where there is none."""
        with self.database.write() as connection:
            row = connection.execute("SELECT seq, text FROM records WHERE id = ? AND page IS NOT NULL", (id,))
            for seq, text in row.fetchall():
                _put_blocks(connection, seq, blocks, text)
                checksums.put_record_sums(connection, [seq], ["blocks"])

    @staticmethod
    def seqs(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, int]:
        """Map each id that exists to its number, in the order of `ids`."""
        seqs: dict[str, int] = {}
        unique = list(dict.fromkeys(ids))
        for marks, part in chunks(unique):
            rows = connection.execute(f"SELECT id, seq FROM records WHERE id IN ({marks})", part)
            seqs.update(rows.fetchall())
        return {id: seqs[id] for id in unique if id in seqs}

    @staticmethod
    def names(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, str]:
        """Map each number to its id."""
        ids: dict[int, str] = {}
        for marks, part in chunks(seqs):
            rows = connection.execute(f"SELECT seq, id FROM records WHERE seq IN ({marks})", part)
            ids.update(rows.fetchall())
        return ids

    @staticmethod
    def select(
        connection: sqlite3.Connection, columns: str, filter: Filter | None
    ) -> list[tuple[str | int, ...]]:
        """Select columns of the records that pass a filter, in the order of adding."""
        validate(filter)
        condition, parameters = to_sql(filter)
        statement = f"SELECT {columns} FROM records WHERE {condition or '1'} ORDER BY seq"
        return connection.execute(statement, parameters).fetchall()

    @staticmethod
    def few(connection: sqlite3.Connection, most: int) -> list[int] | None:
        """Return all record numbers, unordered, if there are at most `most`, else None."""
        rows = connection.execute("SELECT seq FROM records LIMIT ?", (most + 1,)).fetchall()
        return [int(row[0]) for row in rows] if len(rows) <= most else None

    @staticmethod
    def count(connection: sqlite3.Connection, filter: Filter | None) -> int:
        """Count the records that pass a filter."""
        validate(filter)
        condition, parameters = to_sql(filter)
        statement = f"SELECT count(*) FROM records WHERE {condition or '1'}"
        return int(connection.execute(statement, parameters).fetchone()[0])

    @staticmethod
    def values(connection: sqlite3.Connection, key: str) -> list[Scalar]:
        """List the distinct values of a metadata key, sorted."""
        rows = connection.execute(
            "SELECT DISTINCT kind, value FROM metadata WHERE key = ? ORDER BY kind, value", (key,)
        )
        return [bool(value) if kind == KIND_BOOL else value for kind, value in rows]

    @staticmethod
    def document_ids(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, str]:
        """Map each of these records that is of a document to the document's id."""
        documents: dict[str, str] = {}
        for marks, part in chunks(ids):
            rows = connection.execute(
                f"SELECT id, document_id FROM records WHERE id IN ({marks}) AND document_id IS NOT NULL", part
            )
            documents |= dict(rows.fetchall())
        return documents

    # -- vectors ----------------------------------------------------------------------------

    def matrices(
        self, connection: sqlite3.Connection, seqs: Sequence[int], rows: int | None
    ) -> Iterator[tuple[int, Matrix]]:
        """Yield ``(seq, first rows of its matrix)``; see `MatrixTable.matrices`."""
        return self._matrices.matrices(connection, seqs, rows)

    def block(
        self, connection: sqlite3.Connection, seqs: Sequence[int] | None = None, most: int | None = None
    ) -> RowBlock:
        """Read the rows of many records as they are stored; see `MatrixTable.block`."""
        return self._matrices.block(connection, seqs, most)

    def blocks(self, connection: sqlite3.Connection, count: int) -> Iterator[RowBlock]:
        """Read the rows of all records, `count` records at a time; see `MatrixTable.blocks`."""
        return self._matrices.blocks(connection, count)

    def codec(self, connection: sqlite3.Connection) -> RowCodec:
        """Return what the rows of this file are encoded with; see `MatrixTable.codec`."""
        return self._matrices.codec(connection)

    def row_bytes(self, connection: sqlite3.Connection) -> int:
        """Count the bytes of all rows."""
        return self._matrices.row_bytes(connection)

    def first_rows(self, connection: sqlite3.Connection) -> tuple[list[int], list[str], NDArray[np.float32]]:
        """Load row 0 of every record: numbers (rising), ids and ``(records, dim)`` float32."""
        return self._matrices.first_rows(connection)

    # -- what the vector store has not confirmed ------------------------------------------------

    @staticmethod
    def _mark_pending(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
        connection.executemany("INSERT OR IGNORE INTO pending VALUES (?)", ((id,) for id in ids))

    def pending_ids(self) -> list[str]:
        """List the ids whose row 0 the vector store has not confirmed."""
        with self.database.read() as connection:
            return [row[0] for row in connection.execute("SELECT id FROM pending ORDER BY id")]

    def confirm(self, ids: Sequence[str]) -> None:
        """Record that the vector store has these ids."""
        with self.database.write() as connection:
            connection.executemany("DELETE FROM pending WHERE id = ?", ((id,) for id in ids))

    # -- documents and bytes ----------------------------------------------------------------

    def documents(self) -> list[DocumentEntry]:
        """List the documents in the order they were added."""
        entries = []
        with self.database.read() as connection:
            for row in checksums.stored_values(connection, "document"):
                row.verify()
                with decode_guard("document", row.key):
                    entries.append(decode_entry(row.key, row.data))
        return entries

    def put_document(self, entry: DocumentEntry) -> None:
        """Add or replace an entry."""
        encoded_entry = codec.encode_entry(entry)
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO documents(id, entry) VALUES (?, ?) "
                "ON CONFLICT(id) DO UPDATE SET entry = excluded.entry",
                (entry.id, encoded_entry),
            )
            checksums.put_sum(connection, "document", entry.id, [encoded_entry.encode()])

    def remove_document(self, document_id: str) -> list[str]:
        """Remove an entry, its page records and its bytes in one transaction; the records' ids."""
        with self.database.write() as connection:
            ids = [
                row[0]
                for row in connection.execute(
                    "SELECT id FROM records WHERE document_id = ? ORDER BY seq", (document_id,)
                )
            ]
            connection.execute("DELETE FROM documents WHERE id = ?", (document_id,))
            checksums.drop_sums(connection, "document", [document_id])
            # a document's id is the start of its digest
            keys = connection.execute(
                "DELETE FROM blobs WHERE substr(key, 1, 16) = ? AND length(key) = 64 RETURNING key",
                (document_id,),
            ).fetchall()
            checksums.drop_sums(connection, "blob", [key for (key,) in keys])
            return self._delete(connection, ids)

    def put_blob(self, key: str, data: bytes) -> None:
        """Keep bytes."""
        with self.database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (key, data))
            checksums.put_sum(connection, "blob", key, [data])

    def get_blob(self, key: str) -> bytes | None:
        """Return the stored bytes, or None."""
        with self.database.read() as connection:
            for row in checksums.stored_values(connection, "blob", key):
                row.verify()
                return row.data
        return None


def _record_row(
    record: Record,
) -> tuple[str, str | None, str, str, str | None, bytes | None, str | None]:
    page = record.page
    return (
        record.id,
        None if page is None else page.document_id,
        record.text,
        codec.encode_metadata(plain_metadata(record.metadata)),
        None if page is None else codec.encode_page(page, record.id, record.text),
        None if page is None else encode_words(page.words, record.text),
        record.context or None,
    )


def _put_blocks(connection: sqlite3.Connection, seq: int, blocks: Sequence[Block] | None, text: str) -> None:
    """Set the blocks of a record of this text; None takes them away."""
    if blocks is None:
        connection.execute("DELETE FROM blocks WHERE seq = ?", (seq,))
    else:
        connection.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?)", (seq, encode_blocks(blocks, text)))


def _put_metadata(connection: sqlite3.Connection, seq: int, metadata: Metadata) -> None:
    """Write the values that filters look at, one row each."""
    connection.execute("DELETE FROM metadata WHERE seq = ?", (seq,))
    rows = metadata_rows(plain_metadata(metadata))
    connection.executemany("INSERT INTO metadata VALUES (?, ?, ?, ?)", ((seq, *row) for row in rows))
