"""A checksum for each stored part: what was written can be told from what a disk makes of it.

The sum is CRC-32 over the bytes as SQLite holds them, which sees every single flipped bit and every run of
up to 32. It is no seal: who can write the file can write the sum. The bytes are read back from the table
after each write, so the sum covers what is stored, whoever encoded it. A column that is NULL adds nothing, so
that a column may be added to the table of records without new sums.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mmrag.index.stored import damage_error

CHECKSUMS = (
    "CREATE TABLE IF NOT EXISTS checksums(part TEXT NOT NULL, key NOT NULL, sum INTEGER NOT NULL, "
    "PRIMARY KEY(part, key)) WITHOUT ROWID"
)
"""``key`` is the number of a record, the id of a document, or the key of a blob or a state."""

RECORD_COLUMNS = ("id", "document_id", "text", "metadata", "page", "words", "context")
"""Columns of ``records`` under the record's sum, in an order that never changes; new ones go last."""

RECORD_PARTS = ("record", "matrix", "blocks")

_VALUES = {
    "document": ("documents", "id", "entry", "seq"),
    "blob": ("blobs", "key", "data", "key"),
    "state": ("state", "key", "value", "key"),
}
"""What is summed beside records, by part: table, column of the key, column of the value, order."""

SUMMED_STATE = "manifest"
"""The one key of ``state`` that has a sum: the others are counters, and what can be made again."""

OTHER_BYTES = "other bytes than those its checksum is of"

_CHUNK = 200  # records whose matrices are in memory at once


def sum_of(values: Iterable[bytes | None]) -> int:
    """Return the sum of values in order; each goes in with its position and length, None adds nothing."""
    total = 0
    for position, value in enumerate(values):
        if value is not None:
            total = zlib.crc32(value, zlib.crc32(b"%d:%d:" % (position, len(value)), total))
    return total


class StoredRecord(NamedTuple):
    """A record as bytes, with its sums.

    Attributes:
        seq: its number.
        columns: values of `RECORD_COLUMNS`.
        matrix: None where it was not asked for, or is missing.
        blocks: None where it has none.
        sums: of `RECORD_PARTS`; None where none is stored.
        has_sums: whether the file has sums, so that a missing one is damage.
        has_matrix: whether the matrix was asked for.
    """

    seq: int
    columns: tuple[bytes | None, ...]
    matrix: bytes | None
    blocks: bytes | None
    sums: tuple[int | None, int | None, int | None]
    has_sums: bool
    has_matrix: bool

    @property
    def id(self) -> str:
        """Return the id; bytes that are not UTF-8 are shown as escapes."""
        return (self.columns[0] or b"").decode("utf-8", "backslashreplace")

    def column(self, name: str) -> bytes | None:
        """Return the value of one of `RECORD_COLUMNS`."""
        return self.columns[RECORD_COLUMNS.index(name)]

    def text(self, name: str) -> str:
        """Decode one of `RECORD_COLUMNS`.

        Raises:
            TypeError: it is NULL.
            UnicodeDecodeError: it is not UTF-8.
        """
        data = self.column(name)
        if data is None:
            raise TypeError(f"no {name}")
        return data.decode()

    def wrong_parts(self) -> list[str]:
        """List the parts whose bytes are not those that were summed; empty where the file has no sums."""
        if not self.has_sums:
            return []
        record, matrix, blocks = self.sums
        wrong = []
        if record != sum_of(self.columns):
            wrong.append("record")
        if self.has_matrix and (self.matrix is None or matrix != sum_of([self.matrix])):
            wrong.append("matrix")
        if blocks != (None if self.blocks is None else sum_of([self.blocks])):
            wrong.append("blocks")
        return wrong

    def missing_sums(self) -> list[str]:
        """List the parts that are there and have no sum; empty where the file has no sums."""
        data = {"record": self.columns[0], "matrix": self.matrix, "blocks": self.blocks}
        pairs = zip(RECORD_PARTS, self.sums, strict=True)
        return [part for part, total in pairs if self.has_sums and total is None and data[part] is not None]

    def verify(self) -> None:
        """Raise `IndexDamagedError` if a part is not what was written."""
        for part in self.wrong_parts():
            raise damage_error(part, self.id, OTHER_BYTES)


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether the file has a table; files of earlier code lack some."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (name,)).fetchone() is not None


def has_context(connection: sqlite3.Connection) -> bool:
    """Return whether records have a context, which those of earlier code lack."""
    query = "SELECT 1 FROM pragma_table_info('records') WHERE name = 'context'"
    return connection.execute(query).fetchone() is not None


def stored_records(
    connection: sqlite3.Connection,
    condition: str,
    parameters: Sequence[object],
    *,
    matrices: bool,
    beside: bool = True,
) -> Iterator[StoredRecord]:
    """Yield the records that meet a condition, as bytes and not verified.

    Args:
        connection: the state of the file to read.
        condition: SQL over the table ``records``.
        parameters: of the condition.
        matrices: read the matrices too.
        beside: read blocks and sums too.
    """
    names = RECORD_COLUMNS if has_context(connection) else (*RECORD_COLUMNS[:-1], "NULL")
    columns = ", ".join(f"CAST({name} AS BLOB)" for name in names)
    matrix = "CAST((SELECT matrix FROM vectors WHERE vectors.seq = records.seq) AS BLOB)"
    blocks = "CAST((SELECT data FROM blocks WHERE blocks.seq = records.seq) AS BLOB)"
    has_sums = has_table(connection, "checksums")
    sums = [
        f"(SELECT sum FROM checksums WHERE part = '{part}' AND key = +records.seq)" if has_sums else "NULL"
        for part in RECORD_PARTS
    ]
    if not matrices:
        matrix = sums[1] = "NULL"
    if not beside:
        sums = ["NULL"] * len(RECORD_PARTS)
    if not beside or not has_table(connection, "blocks"):
        blocks = "NULL"
    count = len(RECORD_COLUMNS)
    for row in connection.execute(
        f"SELECT seq, {columns}, {matrix}, {blocks}, {', '.join(sums)} FROM records WHERE {condition}",
        parameters,
    ):
        seq, values, (matrix_data, blocks_data, *row_sums) = row[0], row[1 : count + 1], row[count + 1 :]
        yield StoredRecord(seq, values, matrix_data, blocks_data, tuple(row_sums), has_sums, matrices)


def put_record_sums(
    connection: sqlite3.Connection, seqs: Sequence[int], parts: Sequence[str] = RECORD_PARTS
) -> None:
    """Sum parts of records as they are stored now."""
    for start in range(0, len(seqs), _CHUNK):
        chunk = seqs[start : start + _CHUNK]
        condition = f"seq IN ({', '.join('?' * len(chunk))})"
        rows = list(stored_records(connection, condition, chunk, matrices="matrix" in parts))
        for part in parts:
            drop_sums(connection, part, chunk)
        for row in rows:
            data = {"record": row.columns, "matrix": [row.matrix], "blocks": [row.blocks]}
            for part in parts:
                if part != "blocks" or row.blocks is not None:
                    put_sum(connection, part, row.seq, data[part])


def put_sum(
    connection: sqlite3.Connection, part: str, key: int | str, values: Iterable[bytes | None]
) -> None:
    """Sum one part."""
    statement = "INSERT OR REPLACE INTO checksums VALUES (?, ?, ?)"
    connection.execute(statement, (part, key, sum_of(values)))


def drop_sums(connection: sqlite3.Connection, part: str, keys: Iterable[int | str]) -> None:
    """Delete sums of parts that are gone."""
    connection.executemany("DELETE FROM checksums WHERE part = ? AND key = ?", ((part, key) for key in keys))


def put_all_sums(connection: sqlite3.Connection) -> None:
    """Make the table in a file of earlier code, or make it again, with the sums of all that is stored."""
    connection.execute(CHECKSUMS)
    connection.execute("DELETE FROM checksums")
    put_record_sums(connection, [row[0] for row in connection.execute("SELECT seq FROM records")])
    for part in _VALUES:
        for value in list(stored_values(connection, part)):
            put_sum(connection, part, value.key, [value.data])


class StoredValue(NamedTuple):
    """Bytes that stand beside the records, with their sum.

    Attributes:
        part: ``"document"``, ``"blob"`` or ``"state"``.
        key: see `CHECKSUMS`.
        data: the bytes.
        sum: None where none is stored.
        has_sums: whether the file has sums, so that a missing one is damage.
    """

    part: str
    key: str
    data: bytes
    sum: int | None
    has_sums: bool

    @property
    def is_wrong(self) -> bool:
        """Whether the bytes are not those that were summed."""
        return self.has_sums and self.sum != sum_of([self.data])

    def verify(self) -> None:
        """Raise `IndexDamagedError` if the bytes are not those that were summed."""
        if self.is_wrong:
            raise damage_error(self.part, self.key, OTHER_BYTES)


def stored_values(connection: sqlite3.Connection, part: str, key: str | None = None) -> Iterator[StoredValue]:
    """Yield the values of a part in the order of adding, not verified.

    Args:
        connection: the state of the file to read.
        part: ``"document"``, ``"blob"`` or ``"state"``.
        key: only the value under this key.
    """
    table, column, value, order = _VALUES[part]
    if part == "state":
        key = SUMMED_STATE
    has_sums = has_table(connection, "checksums")
    total_sql = f"(SELECT sum FROM checksums WHERE part = '{part}' AND checksums.key = +{table}.{column})"
    rows = connection.execute(
        f"SELECT CAST({column} AS BLOB), CAST({value} AS BLOB), {total_sql if has_sums else 'NULL'} "
        f"FROM {table} WHERE {'1' if key is None else f'{column} = ?'} ORDER BY {order}",
        () if key is None else (key,),
    )
    for name, data, total in rows:
        yield StoredValue(part, name.decode("utf-8", "backslashreplace"), data or b"", total, has_sums)
