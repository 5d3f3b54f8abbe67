"""The open files of a persistent index (SQLite, Chroma, lock), shared by all who open it in one process.

Decisions taken here:

* A process opens an index for writing once, however often its user does (a notebook's cell that is run
  again): each `mmrag.index.chroma.ChromaIndex` is a handle, and the files are closed with the last one.
* After a fork the lock stays the parent's. The child searches over connections of its own, without Chroma:
  a fork does not copy its threads, for which every call in a child would wait. The first write of the child
  takes the lock if the parent has given it back, and is refused otherwise.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from mmrag.errors import IndexReadOnlyError
from mmrag.forks import ForkOwner, follow_forks, keep_for_ever, new_lock, new_recursive_lock
from mmrag.index.check_report import CheckReport
from mmrag.index.directory import CHROMA_PREFIX, STORE_NAME, is_chroma_name
from mmrag.index.files_check import check_files
from mmrag.index.lock import WriterLock
from mmrag.index.row_search import RowSearch
from mmrag.index.store import RecordStore
from mmrag.index.text_search import TextSearch

if TYPE_CHECKING:
    from mmrag.index.chroma_vectors import ChromaVectors

logger = logging.getLogger(__name__)


class OpenFiles(ForkOwner):
    """The files of one index, open for reading or for writing.

    Args:
        path: the directory.
        store: of its records.
        lock: held by the caller; None where the index is open for reading only.
    """

    def __init__(self, path: Path, store: RecordStore, lock: WriterLock | None) -> None:
        self.path = path
        self.store = store
        self.rows = RowSearch(store)
        self.words = TextSearch(store, self.rows.names)
        self.vectors: ChromaVectors | None = None
        self.write_lock = new_recursive_lock()
        self.read_only = lock is None
        self._lock = lock
        self._handles: WeakSet[object] = WeakSet()
        self._handles_lock = new_lock()
        follow_forks(self)
        if lock is not None:
            self._open_chroma()

    # -- who has them open --------------------------------------------------------------------

    def join(self, handle: object) -> None:
        """Count one more who has these files open."""
        with self._handles_lock:
            self._handles.add(handle)

    def leave(self, handle: object) -> None:
        """Count one less; the last one closes the files."""
        with OPEN_INDEXES.turn(self.path):  # or who opens them meanwhile would get files that close
            if self._leave(handle):
                self.close()

    def _leave(self, handle: object) -> bool:
        """Count one less, and return whether it was the last one."""
        with self._handles_lock:
            self._handles.discard(handle)
            if not self._handles:
                return True
        gc.collect()  # a handle whose name is bound anew, as in a notebook, is part of a circle
        with self._handles_lock:
            return not self._handles

    def close(self) -> None:
        """Close them all and give the lock back; twice is fine."""
        with self.write_lock:
            self._close_files()
            if self._lock is not None:
                self._lock.release()

    def is_of(self, directory: Path) -> bool:
        """Return whether these are open for writing, and the files in a directory now."""
        return (
            self._lock is not None
            and self._lock.is_held
            and self.store.database.is_of(directory / STORE_NAME)
        )

    def check(self, *, repair: bool) -> CheckReport:
        """Check the files; a repair closes them meanwhile, for every handle."""
        with self.write_lock:
            if not repair:
                return check_files(self.path)
            self.require_writable()
            self._close_files()
            try:
                return check_files(self.path, repair=True)
            finally:
                self.store = RecordStore(self.path / STORE_NAME, create=None, read_only=False)
                self.rows = RowSearch(self.store)
                self.words = TextSearch(self.store, self.rows.names)
                self._open_chroma()

    def require_writable(self) -> None:
        """Refuse a write where the index is open for reading only, or another process has the lock.

        Raises:
            IndexReadOnlyError: it is open for reading only.
            IndexLockedError: this process is a fork, and its parent or another process writes.
        """
        if self.read_only:
            raise IndexReadOnlyError(
                f"index {self.path} was opened with read_only=True and cannot be changed. "
                "Open it without read_only."
            )
        if self._lock is None:
            with self.write_lock:
                self._take_over()

    def _close_files(self) -> None:
        if self.vectors is not None:
            self.vectors.close()
            self.vectors = None
        self.store.close()

    # -- forks ----------------------------------------------------------------------------------

    def after_fork(self, *, in_child: bool) -> None:
        """Leave lock and Chroma to the parent."""
        if not in_child:
            return
        if self._lock is not None:
            self._lock.leave_to_parent()
            self._lock = None
        if self.vectors is not None:
            keep_for_ever(self.vectors)
            self.vectors = None

    def _take_over(self) -> None:
        """Take the lock that the parent had at the fork; raises `IndexLockedError` where it still has it."""
        if self._lock is not None:
            return
        lock = WriterLock(self.path)
        try:
            self.store.database.open_writer()
        except BaseException:
            lock.release()
            raise
        self._lock = lock

    # -- Chroma -----------------------------------------------------------------------------

    def follow(self, ids: Sequence[str], first: NDArray[np.float32] | None) -> None:
        """Bring Chroma after SQLite: upsert these rows, or delete where there are none."""
        vectors = self.vectors
        if vectors is None or not ids:
            return
        try:
            if first is None:
                vectors.delete(ids)
            else:
                vectors.upsert(ids, first)
        except RuntimeError as error:
            self.give_up_chroma(error)
        else:
            self.store.confirm(ids)

    def give_up_chroma(self, error: RuntimeError) -> None:
        """Go on without Chroma, and say so."""
        logger.warning(
            "index %s: Chroma failed (%s). No search needs it; it is repaired when the index is next opened "
            "for writing.",
            self.path,
            error,
        )
        self.vectors = None

    def _open_chroma(self) -> None:
        """Open Chroma and bring it up to date, or make it again."""
        from mmrag.index.chroma_vectors import ChromaError, ChromaVectors, is_lost_by_fork

        if is_lost_by_fork():
            logger.warning(
                "index %s: this process was forked from one that used Chroma, which does not survive that. "
                "Searches score row 0 exactly from SQLite. Open an index first in the child, or start "
                "processes by 'spawn'.",
                self.path,
            )
            return
        with self.store.database.read() as connection:
            owner = self.store.state(connection, "uuid") or ""
            name = self.store.state(connection, "chroma")
            count = self.store.count(connection, None)
        try:
            if name is None:
                if count:  # after compact, restore and copy, which leave it to the first writer
                    logger.info("index %s: filling Chroma for the first time.", self.path)
                self._rebuild_chroma(owner)
                return
            try:
                if not is_chroma_name(name):
                    raise ChromaError(f"its name is {name!r}")
                self.vectors = ChromaVectors(self.path / name, owner, create=False)
                self._finish_pending(self.vectors)
                self._probe(self.vectors, count)
                self._drop_chroma_but(name)
            except ChromaError as error:
                logger.warning("index %s: Chroma is made again from SQLite, because %s.", self.path, error)
                if self.vectors is not None:
                    self.vectors.close()
                self._rebuild_chroma(owner)
        except (ChromaError, OSError) as error:
            self.give_up_chroma(RuntimeError(str(error)))

    def _finish_pending(self, vectors: ChromaVectors) -> None:
        """Complete what a killed process left between SQLite and Chroma."""
        pending_ids = self.store.pending_ids()
        if not pending_ids:
            return
        logger.info("index %s: completing %d records in Chroma.", self.path, len(pending_ids))
        with self.store.database.read() as connection:
            seqs = self.store.seqs(connection, pending_ids)
            rows = dict(self.store.matrices(connection, list(seqs.values()), 1))
        present = list(seqs)
        if present:
            first = np.concatenate([rows[seqs[id]] for id in present]).astype(np.float32)
            vectors.upsert(present, first)
        vectors.delete([id for id in pending_ids if id not in seqs])
        self.store.confirm(pending_ids)

    def _probe(self, vectors: ChromaVectors, count: int) -> None:
        """Check that Chroma has as many vectors as SQLite has records, and answers."""
        from mmrag.index.chroma_vectors import ChromaError

        if vectors.count() != count:
            raise ChromaError(f"it holds {vectors.count()} vectors of {count} records")
        if count and not vectors.search(np.zeros(self.store.manifest.dim, np.float32), 1):
            raise ChromaError("its graph finds nothing")

    def _rebuild_chroma(self, owner: str) -> None:
        """Fill a new directory from SQLite, make it the one in use, and drop the others."""
        from mmrag.index.chroma_vectors import ChromaVectors

        self.vectors = None
        name = CHROMA_PREFIX + secrets.token_hex(4)
        vectors = ChromaVectors(self.path / name, owner, create=True)
        with self.store.database.read() as connection:
            _, ids, first = self.store.first_rows(connection)
        pending_ids = self.store.pending_ids()
        if ids:
            vectors.upsert(ids, first)
        with self.store.database.write() as connection:
            self.store.set_state(connection, "chroma", name)
        self.store.confirm(pending_ids)
        self.vectors = vectors
        self._drop_chroma_but(name)

    def _drop_chroma_but(self, name: str) -> None:
        """Remove what earlier or interrupted fillings left."""
        for old in self.path.glob(CHROMA_PREFIX + "*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)


class OpenIndexes(ForkOwner):
    """The indexes that this process has open for writing, by their directory; a child of it has none open."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._files: WeakValueDictionary[str, OpenFiles] = WeakValueDictionary()
        self._turns: WeakValueDictionary[str, Any] = WeakValueDictionary()
        follow_forks(self)

    @contextmanager
    def turn(self, directory: Path) -> Iterator[str]:
        """Let one thread at a time open the index in a directory; yield the directory's key."""
        key = os.path.realpath(directory)
        with self._lock:
            lock = self._turns.setdefault(key, new_recursive_lock())
        with lock:
            yield key

    def find(self, key: str) -> OpenFiles | None:
        """Return the files of a directory, if they are open and still there."""
        with self._lock:
            files = self._files.get(key)
        return files if files is not None and files.is_of(Path(key)) else None

    def note(self, key: str, files: OpenFiles) -> None:
        """Remember files that were opened for writing."""
        with self._lock:
            self._files[key] = files

    def after_fork(self, *, in_child: bool) -> None:
        """Forget in a child what the parent has open."""
        if in_child:
            self._files.clear()


OPEN_INDEXES = OpenIndexes()
