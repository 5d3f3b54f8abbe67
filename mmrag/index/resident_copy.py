"""A part of an index file in memory, which follows the file: after a commit only what has changed is read."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from mmrag.forks import new_lock
from mmrag.index.store import RecordStore


class FileState(Protocol):
    """What was read in one state of the file; never changed."""

    @property
    def generation(self) -> int:
        """Return the number of the state."""
        ...


State = TypeVar("State", bound=FileState)


class ResidentCopy(ABC, Generic[State]):
    """What is held in memory, of whatever state of the file a search sees. Safe between threads.

    Args:
        store: the records.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._lock = new_lock()
        self._state: State | None = None

    def current(self, connection: sqlite3.Connection) -> State:
        """Return what the file holds in the state that this connection sees."""
        generation = self._store.generation(connection)
        with self._lock:
            resident = self._state
            if resident is not None and resident.generation == generation:
                return resident
            is_newer = resident is None or resident.generation < generation
            state = None
            if resident is not None and is_newer:
                state = self._follow(connection, resident, generation)
            if state is None:
                state = self._load(connection, generation)
            if is_newer:  # a reader of an older state keeps the newer one
                self._state = state
            return state

    @abstractmethod
    def _load(self, connection: sqlite3.Connection, generation: int) -> State:
        """Read all of it."""

    @abstractmethod
    def _follow(self, connection: sqlite3.Connection, resident: State, generation: int) -> State | None:
        """Read what has changed since `resident`; None where all must be read."""
