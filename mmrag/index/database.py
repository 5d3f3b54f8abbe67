"""One SQLite file for many threads: a pool of reading connections and one writer."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from mmrag.errors import IndexDamagedError, IndexFormatError
from mmrag.forks import (
    FORK_SECONDS,
    ForkOwner,
    follow_forks,
    keep_for_ever,
    new_condition,
    new_recursive_lock,
)
from mmrag.index.stored import REMEDY

BUSY_SECONDS = 30.0
_POOL_SIZE = 8

_CHUNK = 500
"""Parameters of one statement."""

_T = TypeVar("_T")


class Database(ForkOwner):
    """Connections to one file in WAL mode: readers never wait for the writer, nor it for them.

    Every block of `read` sees one state of the file; every block of `write` is one transaction.

    SQLite keeps in the process, not in the file, which locks its connections hold, and so must not be copied
    by a fork: connections are closed before one and opened again after it, in either process.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path
        self._read_only = read_only
        self._condition = new_condition()  # guards the pool
        self._pool: list[sqlite3.Connection] = []
        self._is_closed = False
        self._pool_identity = _identity(path)
        self._keeps_connections = True
        self._loans = 0  # connections in use
        self._is_forking = False
        self._is_held_for_fork = False
        self._write_lock = new_recursive_lock()
        self._may_write = False
        self._writer: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # of the file that the writer has open
        follow_forks(self)

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
            if self._is_closed or not self._may_write:
                raise ValueError("the index is closed. Open it again.")
            writer = self._writer or self._reopen_writer()
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield writer
                self._require_file()
                writer.execute("COMMIT")
            except BaseException as error:
                if writer.in_transaction:  # SQLite itself undoes some failures, such as a full disk
                    writer.execute("ROLLBACK")
                explained_error = self._explain(error)
                if explained_error is error:
                    raise
                raise explained_error from error

    def close(self) -> None:
        """Close every connection; those in use are closed when their block ends."""
        with self._write_lock, self._condition:
            self._is_closed = True
            self._may_write = False
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

    # -- forks ----------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close all connections, after a short wait for those that other threads use."""
        self._is_held_for_fork = self._write_lock.acquire(timeout=FORK_SECONDS)
        with self._condition:
            self._is_forking = True
            end = time.monotonic() + FORK_SECONDS
            while self._loans and (seconds_left := end - time.monotonic()) > 0:
                self._condition.wait(seconds_left)
            for connection in self._pool:
                connection.close()
            self._pool.clear()
            if self._is_held_for_fork and self._writer is not None:
                self._writer.close()
                self._writer = None

    def after_fork(self, *, in_child: bool) -> None:
        """Let readers go on; a child may write only when it has the lock of the index itself."""
        if in_child:
            self._loans = 0
            self._may_write = False
            if self._writer is not None:  # another thread was writing, for longer than a fork waits
                keep_for_ever(self._writer)
                self._writer = None
        elif self._is_held_for_fork:
            self._write_lock.release()
        with self._condition:
            self._is_forking = False
            self._condition.notify_all()

    def _take(self) -> sqlite3.Connection:
        with self._condition:
            while self._is_forking:
                self._condition.wait()
            if self._is_closed:
                raise ValueError("the index is closed. Open it again.")
            identity = _identity(self._path)
            if identity is not None and identity != self._pool_identity:  # a repair wrote the file anew
                for connection in self._pool:
                    connection.close()
                self._pool.clear()
                self._pool_identity = identity
            self._loans += 1
            if self._pool:
                return self._pool.pop()
        try:
            return self._open_reader()
        except BaseException:
            self._end_loan()
            raise

    def _give(self, connection: sqlite3.Connection) -> None:
        with self._condition:
            if (
                self._keeps_connections
                and not self._is_closed
                and not self._is_forking
                and len(self._pool) < _POOL_SIZE
            ):
                self._pool.append(connection)
            else:
                connection.close()
            self._end_loan()

    def _end_loan(self) -> None:
        with self._condition:
            self._loans -= 1
            self._condition.notify_all()

    def is_of(self, path: Path) -> bool:
        """Return whether the writer's file is the one at this path."""
        return not self._is_closed and self._identity is not None and self._identity == _identity(path)

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
        self._may_write = True

    def _reopen_writer(self) -> sqlite3.Connection:
        """Open the writer that a fork closed, of the same file."""
        identity = self._identity
        self.open_writer()
        assert self._writer is not None
        self._identity = identity
        return self._writer

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
