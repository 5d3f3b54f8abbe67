"""One SQLite file for many threads: a pool of reading connections and one writer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from mmrag.errors import IndexDamagedError, IndexFormatError
from mmrag.index.stored import REMEDY

BUSY_SECONDS = 30.0
_POOL_SIZE = 8

_CHUNK = 500
"""Parameters of one statement."""

_T = TypeVar("_T")


class Database:
    """Connections to one file in WAL mode: readers never wait for the writer, nor it for them.

    Every block of `read` sees one state of the file; every block of `write` is one transaction.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path
        self._read_only = read_only
        self._lock = threading.Lock()  # guards the pool
        self._pool: list[sqlite3.Connection] = []
        self._is_closed = False
        self._pool_identity = _identity(path)
        self._keeps_connections = True
        self._write_lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # of the file that the writer has open

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection on which one state of the file is seen until the block ends."""
        connection = self._take()
        try:
            connection.execute("BEGIN")
            try:
                yield connection
            except sqlite3.DatabaseError as error:
                explained_error = self._explain(error)
                if explained_error is error:
                    raise
                raise explained_error from error
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        finally:
            self._give(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction on the writer's connection: committed at the end, undone by an exception."""
        with self._write_lock:
            if self._is_closed or self._writer is None:
                raise ValueError("the index is closed. Open it again.")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._require_file()
                self._writer.execute("COMMIT")
            except BaseException as error:
                if self._writer.in_transaction:  # SQLite itself undoes some failures, such as a full disk
                    self._writer.execute("ROLLBACK")
                explained_error = self._explain(error)
                if explained_error is error:
                    raise
                raise explained_error from error

    def close(self) -> None:
        """Close every connection; those in use are closed when their block ends."""
        with self._write_lock, self._lock:
            self._is_closed = True
            for connection in self._pool:
                connection.close()
            self._pool.clear()
            if self._writer is not None:
                self._writer.close()  # the last connection to close folds the WAL into the file
                self._writer = None

    def _explain(self, error: BaseException) -> BaseException:
        """Explain damage as an IndexFormatError; return any other error unchanged."""
        is_damaged = type(error) is sqlite3.DatabaseError or (  # which SQLite's own words for damage end as
            isinstance(error, sqlite3.DatabaseError) and "Could not decode to UTF-8" in str(error)
        )
        if not is_damaged:
            return error
        return IndexDamagedError(
            f"{self._path} must be a whole SQLite file, got one that is damaged ({error}). {REMEDY}, or "
            "restore it from a copy.",
            "file",
            str(self._path),
        )

    def _require_file(self) -> None:
        """Refuse to commit into a file that nobody will find again: SQLite would not notice."""
        if self._identity != _identity(self._path):
            raise IndexFormatError(
                f"the index folder {self._path.parent} must stay while it is open, got it deleted or "
                "replaced. Nothing of this call was stored: close the index, and open it again at its place."
            )

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._is_closed:
                raise ValueError("the index is closed. Open it again.")
            identity = _identity(self._path)
            if identity is not None and identity != self._pool_identity:  # a repair wrote the file anew
                for connection in self._pool:
                    connection.close()
                self._pool.clear()
                self._pool_identity = identity
            if self._pool:
                return self._pool.pop()
        return self._open_reader()

    def _give(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if self._keeps_connections and not self._is_closed and len(self._pool) < _POOL_SIZE:
                self._pool.append(connection)
                return
        connection.close()

    def open_writer(self) -> None:
        """Make `write` possible; the caller holds the lock that makes it the only writer."""
        connection = self._connect("rw")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL, not NORMAL: a commit survives a power cut too, at one fsync a batch
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        self._writer = connection
        self._identity = _identity(self._path)

    def _open_reader(self) -> sqlite3.Connection:
        try:
            return self._connect("ro")
        except sqlite3.OperationalError:
            # a directory that cannot be written, such as a mounted image: without a WAL nothing can
            # change under us, and SQLite may skip its shared memory file
            wal = self._path.with_name(self._path.name + "-wal")
            if not self._read_only or (wal.exists() and wal.stat().st_size):
                raise
            self._keeps_connections = False  # and look again before every read
            return self._connect("ro&immutable=1")

    def _connect(self, mode: str) -> sqlite3.Connection:
        """Connect to the file, which must be there, and trust nothing that its schema does."""
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except UnicodeDecodeError as error:  # SQLite's message quotes a table that is no text
            connection.close()
            raise sqlite3.DatabaseError("its list of tables is no text") from error
        except BaseException:
            connection.close()
            raise
        return connection


def chunks(items: Sequence[_T]) -> Iterator[tuple[str, Sequence[_T]]]:
    """Split values into parts that fit one statement; yield each with its question marks."""
    for start in range(0, len(items), _CHUNK):
        part = items[start : start + _CHUNK]
        yield ", ".join("?" * len(part)), part


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another that takes its name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
