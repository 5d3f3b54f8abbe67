"""Connections to one server: a few, lent to threads, never shared with a child.

Why not psycopg_pool: its workers connect in threads of their own, so that a caller hears "no connection in 30
seconds" and not why; and they do not survive a fork. Here the thread that needs a connection makes it.

A connection that was cut is thrown away with all that lie idle, and what was asked is asked again on a new
one for `RETRY_SECONDS`, so that a server that starts anew, or a standby that takes over (an address with
several hosts), costs a pause and no error. Only a cut while a transaction ends is told: nobody knows then
whether it was written.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

from mmrag.errors import ServerFullError, ServerUnreachableError
from mmrag.forks import ForkOwner, follow_forks, keep_for_ever, new_lock
from mmrag.index.postgres.addresses import Address
from mmrag.index.postgres.faults import (
    AGAIN,
    CommitUnknownError,
    connect_fault,
    faults_of,
    is_cut,
    server_fault,
    strike_secrets,
)

Connection = psycopg.Connection[Any]
T = TypeVar("T")

RETRY_SECONDS = 10.0
"""How long a server that went away is waited for."""

CONNECT_SECONDS = 10
"""Longest that one connection may take to be made."""

AGAIN_TIMES = 8
"""How often a transaction that another one got in the way of is tried."""

LENDING_SECONDS = 60.0
"""Longest that a thread waits for one of the connections."""


class Connections(ForkOwner):
    """Connections to one address. Safe to share between threads.

    Args:
        address: of the server.
        most: connections at a time.
        options: settings of the session, ``-c name=value``.
        retry_seconds: how long a server that went away is waited for.
        prepare: statements are prepared on the server after a few times; not through a pooler that gives
            each transaction another connection.
    """

    def __init__(
        self, address: Address, *, most: int, options: str, retry_seconds: float, prepare: bool = True
    ) -> None:
        self.address = address
        self._options = options
        self._retry_seconds = retry_seconds
        self._prepare = prepare
        self._most = most
        self._lock = new_lock()
        self._free_connections: list[Connection] = []
        self._slots = threading.BoundedSemaphore(most)
        self._is_closed = False
        follow_forks(self)

    def after_fork(self, *, in_child: bool) -> None:
        """Leave the connections to the parent: a child that closes one ends the session of both."""
        if in_child:
            keep_for_ever(self._free_connections)
            self._free_connections = []
            self._slots = threading.BoundedSemaphore(self._most)

    def connect(self) -> Connection:
        """Make a connection.

        Raises:
            ServerError: the server is not there, refuses, or has no room.
        """
        own_settings = self.address.settings
        options = " ".join(filter(None, (own_settings.get("options"), self._options)))
        settings: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "mmrag",
            "keepalives_idle": 30,
            "tcp_user_timeout": 30_000,
            **own_settings,
            "options": options,
            "client_encoding": "utf8",
        }
        try:
            connection = psycopg.connect(**settings, autocommit=True)
        except psycopg.Error as error:
            strike_secrets(error)
            raise connect_fault(error, self.address.label) from error
        if not self._prepare:
            connection.prepare_threshold = None
        return connection

    def read(self, task: str, work: Callable[[Connection], T]) -> T:
        """Run `work` on a connection and return its result; again on another one if the first is cut.

        Args:
            task: what it is, in words, for an error.
            work: reads; it may be run more than once.

        Raises:
            ServerError: the server failed.
        """
        return self._run(task, work)

    def write(self, task: str, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction; as `read`, and again where another transaction was in the way.

        Raises:
            CommitUnknownError: the connection was cut while the transaction ended.
            ServerError: the server failed; nothing was written.
        """

        def transaction(connection: Connection) -> T:
            connection.execute("BEGIN")
            try:
                result = work(connection)
            except BaseException:
                if not connection.closed and connection.info.transaction_status:
                    _roll_back(connection)
                raise
            try:
                connection.execute("COMMIT")
            except psycopg.Error as error:
                if not is_cut(error):
                    raise
                strike_secrets(error)
                raise CommitUnknownError(
                    f"the connection to {self.address.label} was cut while {task} ended. It is written "
                    "whole or not at all; call it again, which writes nothing twice."
                ) from error
            return result

        return self._run(task, transaction)

    @contextmanager
    def session(self, task: str) -> Iterator[Connection]:
        """Lend one connection for several statements that are not asked again; raises `ServerError`."""
        with self._connection() as connection, faults_of(self.address.label, task):
            yield connection

    def close(self) -> None:
        """Close what lies idle; a connection that is lent is closed when it comes back."""
        self._is_closed = True
        self._drop()

    def _run(self, task: str, work: Callable[[Connection], T]) -> T:
        end = time.monotonic() + self._retry_seconds
        pause, tries = 0.05, 0
        while True:
            try:
                with self._connection() as connection:
                    return work(connection)
            except psycopg.Error as error:
                tries += 1
                is_again = isinstance(error, AGAIN) and tries < AGAIN_TIMES
                if is_cut(error):
                    self._drop()
                elif not is_again:
                    strike_secrets(error)
                    raise server_fault(error, self.address.label, task) from error
                if time.monotonic() + pause > end and not is_again:
                    strike_secrets(error)
                    raise server_fault(error, self.address.label, task) from error
            except (ServerUnreachableError, ServerFullError) as error:
                if isinstance(error, CommitUnknownError) or time.monotonic() + pause > end:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Lend an idle connection, or a new one; it comes back if it is whole."""
        if self._is_closed:
            raise ValueError("the index is closed. Open it again.")
        slots = self._slots
        if not slots.acquire(timeout=LENDING_SECONDS):
            raise ServerFullError(
                f"all {self._most} connections to {self.address.label} have been in use for "
                f"{LENDING_SECONDS:.0f} s. Raise max_connections, or share the work among fewer threads."
            )
        try:
            connection = self._idle() or self.connect()
            try:
                yield connection
            finally:
                self._take_back(connection)
        finally:
            slots.release()

    def _idle(self) -> Connection | None:
        """Return an idle connection that its server has not closed meanwhile."""
        while True:
            with self._lock:
                if not self._free_connections:
                    return None
                connection = self._free_connections.pop()
            if not connection.closed and not _is_readable(connection):
                return connection
            connection.close()

    def _take_back(self, connection: Connection) -> None:
        is_whole = not connection.closed and connection.info.transaction_status == 0
        if is_whole and not self._is_closed:
            with self._lock:
                self._free_connections.append(connection)
        else:
            connection.close()

    def _drop(self) -> None:
        """Close what lies idle."""
        with self._lock:
            connections, self._free_connections = self._free_connections, []
        for connection in connections:
            connection.close()


def _is_readable(connection: Connection) -> bool:
    """Return whether an idle connection has something to read: its server said farewell, or is gone."""
    try:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([connection.fileno()], [], [], 0)[0])
    except (OSError, ValueError, psycopg.Error):
        return True


def _roll_back(connection: Connection) -> None:
    """Undo a transaction; a connection on which that fails is closed, which undoes it, too."""
    try:
        connection.execute("ROLLBACK")
    except psycopg.Error:
        connection.close()
