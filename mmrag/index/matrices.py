"""The tables ``vectors`` and ``first`` of an index's file: rows of each record, and its row 0 by itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.index.database import chunks
from mmrag.index.record_codec import decode_manifest
from mmrag.index.rows import RowBlock, RowCodec
from mmrag.index.stored import damage_error, decode_guard
from mmrag.types import Matrix


class MatrixTable:
    """Rows of records, by the record's number.

    How they are stored says the manifest in the file that is read: `mmrag.index.compact` may have put another
    file in the place of the one that was opened.
    """

    def __init__(self) -> None:
        self._latest: tuple[str, RowCodec] | None = None

    def codec(self, connection: sqlite3.Connection) -> RowCodec:
        """Return what encodes and decodes the rows of this file.

        Raises:
            IndexDamagedError: its manifest does not say.
        """
        with decode_guard("state", "manifest"):
            ((text,),) = connection.execute("SELECT value FROM state WHERE key = 'manifest'").fetchall()
            if self._latest is None or self._latest[0] != text:
                self._latest = text, RowCodec.of(decode_manifest(json.loads(text)))
            return self._latest[1]

    def put(self, connection: sqlite3.Connection, seq: int, matrix: Matrix) -> None:
        """Add or replace the rows of a record: ``(rows, dim)``."""
        codec = self.codec(connection)
        data = codec.encode(matrix)
        connection.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?)", (seq, data))
        connection.execute("INSERT OR REPLACE INTO first VALUES (?, ?)", (seq, codec.first(data)))

    def matrices(
        self, connection: sqlite3.Connection, seqs: Sequence[int], rows: int | None
    ) -> Iterator[tuple[int, Matrix]]:
        """Yield ``(seq, first rows of its matrix)`` in the order of `seqs`; missing ones are left out.

        Raises:
            IndexDamagedError: the bytes of a record are no rows.
        """
        codec = self.codec(connection)
        table, column = ("first", "vector") if rows == 1 else ("vectors", "matrix")
        for marks, part in chunks(seqs):
            statement = f"SELECT seq, {column} FROM {table} WHERE seq IN ({marks})"
            blobs = dict(connection.execute(statement, part).fetchall())
            for seq in part:
                if seq in blobs:
                    try:
                        matrix = codec.decode(blobs[seq], rows)
                        if rows == 1 and len(blobs[seq]) != codec.row_bytes:
                            raise ValueError(f"{len(blobs[seq])} bytes for a row of {codec.row_bytes}")
                    except ValueError as error:
                        noun = "first" if rows == 1 else "matrix"
                        raise damage_error(noun, _name(connection, seq), str(error)) from error
                    yield seq, matrix

    def block(
        self, connection: sqlite3.Connection, seqs: Sequence[int] | None = None, most: int | None = None
    ) -> RowBlock:
        """Read the rows of many records as they are stored.

        Args:
            connection: the state of the file to read.
            seqs: numbers of records, of which missing ones are left out; None: of all, rising.
            most: rows of a record at most; None: all.

        Raises:
            IndexDamagedError: the bytes of a record are no rows.
        """
        codec = self.codec(connection)
        table, column = ("first", "vector") if most == 1 else ("vectors", "matrix")
        is_prefix = most is not None and most > 1
        value = codec.prefix_sql(column, most or 1) if is_prefix else f"CAST({column} AS BLOB)"
        select = f"SELECT seq, {value} FROM {table}"
        rows: list[tuple[Any, ...]] = []
        if seqs is None:
            rows = connection.execute(f"{select} ORDER BY seq").fetchall()
        else:
            for marks, part in chunks(seqs):
                blobs = {row[0]: row for row in connection.execute(f"{select} WHERE seq IN ({marks})", part)}
                rows += [blobs[seq] for seq in part if seq in blobs]
        pairs = [(seq, peaks + codes) for seq, peaks, codes in rows] if is_prefix else rows
        return _block(connection, codec, pairs, most)

    def blocks(self, connection: sqlite3.Connection, count: int) -> Iterator[RowBlock]:
        """Read the rows of all records as they are stored, by rising number, `count` records at a time.

        Raises:
            IndexDamagedError: the bytes of a record are no rows.
        """
        codec = self.codec(connection)
        cursor = connection.execute("SELECT seq, CAST(matrix AS BLOB) FROM vectors ORDER BY seq")
        while pairs := cursor.fetchmany(count):
            yield _block(connection, codec, pairs, None)

    @staticmethod
    def row_bytes(connection: sqlite3.Connection) -> int:
        """Count the bytes of all rows."""
        statement = "SELECT total(length(matrix)) FROM vectors"
        return int(connection.execute(statement).fetchone()[0])

    def first_rows(self, connection: sqlite3.Connection) -> tuple[list[int], list[str], NDArray[np.float32]]:
        """Load row 0 of every record: numbers (rising), ids and ``(records, dim)`` float32."""
        ids = dict(connection.execute("SELECT seq, id FROM records").fetchall())
        block = self.block(connection, most=1)
        is_whole = np.isin(block.seqs, np.fromiter(ids, np.int64, len(ids)))  # a row alone is no record
        seqs: list[int] = block.seqs[is_whole].tolist()
        return seqs, [ids[seq] for seq in seqs], block.decode()[is_whole]


def _block(
    connection: sqlite3.Connection, codec: RowCodec, pairs: Sequence[tuple[int, bytes]], most: int | None
) -> RowBlock:
    """Put the first rows of records together."""
    numbers, data = [row[0] for row in pairs], [row[1] for row in pairs]
    try:
        return codec.block(numbers, data, most)
    except ValueError:
        _raise_damage(connection, codec, pairs, "first" if most == 1 else "matrix")
        raise


def _raise_damage(
    connection: sqlite3.Connection, codec: RowCodec, pairs: Sequence[tuple[int, bytes]], part: str
) -> None:
    """Raise the error of the first record whose bytes are no rows."""
    for seq, data in pairs:
        try:
            codec.decode(data)
        except ValueError as error:
            raise damage_error(part, _name(connection, seq), str(error)) from error


def _name(connection: sqlite3.Connection, seq: int) -> str:
    """Return the id of a record, or its number where it has none."""
    row = connection.execute("SELECT id FROM records WHERE seq = ?", (seq,)).fetchone()
    return f"number {seq}" if row is None else str(row[0])
