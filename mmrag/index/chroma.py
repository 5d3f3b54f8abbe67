"""The default index: a directory with the records in SQLite and row 0 in embedded Chroma.

::

    my-index/
    ├── index.sqlite      everything (`mmrag.index.store`)
    ├── chroma-1a2b3c4d/  row 0 of every record, for other programs of Chroma; made again when needed
    ├── writer.lock       held by the one process that writes
    └── writer.json       which process that is

A write is one SQLite transaction with a pending mark, then Chroma, then the mark goes. Whatever
happens in between, the next open for writing finishes what is pending, and fills Chroma again from
SQLite if it is missing, damaged, another index's, or of another count. No search asks Chroma: what
finds more is scanned in int8, and quickly (`mmrag.index.row_search`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmrag.blocks import Block
from mmrag.errors import IndexFormatError
from mmrag.index.base import DocumentEntry, EmbedderIdentity, Manifest, RowType, check_rows, manifest_for
from mmrag.index.check_report import CheckReport
from mmrag.index.directory import STORE_NAME, check_directory, check_embedder, check_row_settings
from mmrag.index.filters import Filter
from mmrag.index.identity import DocumentNames
from mmrag.index.lock import WriterLock
from mmrag.index.open_files import OPEN_INDEXES, OpenFiles
from mmrag.index.records import budget_rows, check_k, checked_query, checked_records
from mmrag.index.store import RecordStore
from mmrag.scoring import take_budget
from mmrag.types import Budget, Hit, Matrix, Metadata, Record, Scalar

if TYPE_CHECKING:
    from mmrag.index.chroma_vectors import ChromaVectors


class ChromaIndex:
    """Persistent index in a directory; see `mmrag.index.base.Index` for every method.

    One process writes; threads and asyncio (through `asyncio.to_thread`) search while another thread
    adds. Other processes open it with ``read_only=True``: they see every committed batch, also while
    the writer works, never write, and never touch Chroma. Opened again in one process it is a second handle
    of the same files. In a child made by ``os.fork`` it goes on searching, and writes once the parent has
    closed it; see `mmrag.index.open_files`.

    `search_vectors`: rows of every record are loaded once and follow the file
    (`mmrag.index.resident_rows`). They are scanned with the query's row 0, and the survivors scored exactly
    over all their rows (`mmrag.index.row_search`); with a filter, among the records that pass. Where no more
    records pass than survive, all are scored, so small indexes are always exact.

    Example:
        >>> index = ChromaIndex.open("my-index", qa.embedder, read_only=True)
        >>> index.count()
        2
        >>> index.close()
    """

    def __init__(self, files: OpenFiles) -> None:
        self._files = files
        self._is_closed = False
        files.join(self)

    @classmethod
    def open(
        cls,
        path: str | Path,
        embedder: EmbedderIdentity | None,
        *,
        read_only: bool = False,
        row_type: RowType | None = None,
        rows: int | None = None,
        shared: bool = True,
    ) -> ChromaIndex:
        """Open the index in a directory; for writing, make it where there is none.

        Args:
            path: the directory: an index, empty, or absent.
            embedder: what made or will make its vectors; None opens an index whoever made it (to list
                or remove, say) and cannot make one.
            read_only: search only, beside a process that writes.
            row_type: how rows are stored, ``"int8"`` or ``"float16"``. None: as the index was made, a new one
                with int8.
            rows: most rows of a record that are stored, the first ones. None: as the index was made, a new
                one with all.
            shared: whether this process may have it open for writing more than once.

        Raises:
            ValueError: `row_type` or `rows` is not that of the index, or cannot be of any.
            IndexFormatError: the directory is something else, damaged, or of a newer format; nothing
                was written.
            IndexMismatchError: another embedder made it.
            IndexLockedError: another process writes, or this one where it is not `shared`.
        """
        check_rows(row_type, rows)
        directory = Path(path).expanduser().absolute()
        exists = check_directory(directory)
        if not exists and (read_only or embedder is None):
            raise IndexFormatError(
                f"{directory} must be an index{' to read' if read_only else ''}, got no {STORE_NAME} there. "
                "Make it first: open it for writing with an embedder and add documents."
            )
        settings = row_type, rows
        if read_only:
            return cls(_open_files(directory, embedder, settings, read_only=True))
        with OPEN_INDEXES.turn(directory) as key:
            files = OPEN_INDEXES.find(key) if shared else None
            if files is None:
                files = _open_files(directory, embedder, settings, read_only=False)
                if shared:
                    OPEN_INDEXES.note(key, files)
            else:
                check_embedder(directory, files.store.manifest, embedder)
                check_row_settings(directory, files.store.manifest, *settings)
            return cls(files)

    @property
    def manifest(self) -> Manifest:
        """What the index was made with."""
        return self._files.store.manifest

    @property
    def read_only(self) -> bool:
        """Whether the index was opened for reading only."""
        return self._files.read_only

    @property
    def path(self) -> Path:
        """The directory."""
        return self._files.path

    @property
    def _store(self) -> RecordStore:
        """Return the records; refused after `close`, also where another handle has the files open."""
        if self._is_closed:
            raise ValueError("the index is closed. Open it again.")
        return self._files.store

    @property
    def _vectors(self) -> ChromaVectors | None:
        return self._files.vectors

    def check(self, *, repair: bool = False) -> CheckReport:
        """See `Index.check`. For a repair no other thread may use the index meanwhile."""
        return self._files.check(repair=repair)

    def close(self) -> None:
        """See `Index.close`. The files stay open while another handle of this process has them."""
        if not self._is_closed:
            self._is_closed = True
            self._files.leave(self)

    # -- writing ----------------------------------------------------------------------------

    def add(self, records: Sequence[Record]) -> None:
        """See `Index.add`."""
        self._require_writable()
        pairs = checked_records(records, self.manifest)
        if not pairs:
            return
        with self._files.write_lock:
            self._store.add(pairs)
            first = np.stack([matrix[0] for _, matrix in pairs]).astype(np.float32)
            self._files.follow([record.id for record, _ in pairs], first)

    def delete(self, ids: Sequence[str]) -> int:
        """See `Index.delete`."""
        self._require_writable()
        with self._files.write_lock:
            deleted_ids = self._store.delete(ids)
            self._files.follow(deleted_ids, None)
        return len(deleted_ids)

    def update_metadata(self, ids: Sequence[str], values: Metadata) -> None:
        """See `Index.update_metadata`."""
        self._require_writable()
        self._store.update_metadata(ids, values)

    def put_document(self, entry: DocumentEntry) -> None:
        """See `Index.put_document`."""
        self._require_writable()
        self._store.put_document(entry)

    def remove_document(self, document_id: str) -> int:
        """See `Index.remove_document`."""
        self._require_writable()
        with self._files.write_lock:
            deleted_ids = self._store.remove_document(document_id)
            self._files.follow(deleted_ids, None)
        return len(deleted_ids)

    def put_blocks(self, id: str, blocks: Sequence[Block]) -> None:
        """See `Index.put_blocks`."""
        self._require_writable()
        self._store.put_blocks(id, blocks)

    def put_blob(self, key: str, data: bytes) -> None:
        """See `Index.put_blob`."""
        self._require_writable()
        self._store.put_blob(key, data)

    def _require_writable(self) -> None:
        self._files.require_writable()

    # -- reading ----------------------------------------------------------------------------

    def get(self, ids: Sequence[str], *, matrices: bool = False) -> list[Record]:
        """See `Index.get`."""
        with self._store.database.read() as connection:
            return self._store.get(connection, ids, matrices=matrices)

    def ids(self, filter: Filter | None = None) -> list[str]:
        """See `Index.ids`."""
        with self._store.database.read() as connection:
            return [str(row[0]) for row in self._store.select(connection, "id", filter)]

    def count(self, filter: Filter | None = None) -> int:
        """See `Index.count`."""
        with self._store.database.read() as connection:
            return self._store.count(connection, filter)

    def values(self, key: str) -> list[Scalar]:
        """See `Index.values`."""
        with self._store.database.read() as connection:
            return self._store.values(connection, key)

    def documents(self) -> list[DocumentEntry]:
        """See `Index.documents`."""
        return self._store.documents()

    def get_blob(self, key: str) -> bytes | None:
        """See `Index.get_blob`."""
        return self._store.get_blob(key)

    def search_text(
        self, text: str, *, k: int, filter: Filter | None = None, without: Collection[str] = ()
    ) -> list[Hit]:
        """See `Index.search_text`."""
        check_k(k)
        with self._store.database.read() as connection:
            return self._files.words.search(connection, text, k, filter, without)

    def name_documents(self, text: str) -> DocumentNames:
        """See `Index.name_documents`."""
        with self._store.database.read() as connection:
            return self._files.words.name_documents(connection, text)

    def document_ids(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Index.document_ids`."""
        with self._store.database.read() as connection:
            return self._files.rows.names.documents(connection, ids)

    def score(self, query: Matrix, ids: Sequence[str], *, budget: Budget | None = None) -> list[Hit]:
        """See `Index.score`."""
        query_rows, document_rows = budget_rows(budget)
        rows = take_budget(checked_query(query, self.manifest.dim), query_rows)
        with self._store.database.read() as connection:
            return self._files.rows.score(connection, rows, ids, document_rows)

    def search_vectors(
        self,
        query: Matrix,
        *,
        k: int,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[Hit]:
        """See `Index.search_vectors` and the class."""
        check_k(k)
        query_rows, document_rows = budget_rows(budget)
        rows = take_budget(checked_query(query, self.manifest.dim), query_rows)
        with self._store.database.read() as connection:
            return self._files.rows.search(connection, rows, k, document_rows, filter, exact=exact)


def _open_files(
    directory: Path,
    embedder: EmbedderIdentity | None,
    settings: tuple[RowType | None, int | None],
    *,
    read_only: bool,
) -> OpenFiles:
    """Open the files of an index; for writing, make them where there are none."""
    with ExitStack() as undo:
        lock = None
        if not read_only:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = WriterLock(directory)
            undo.callback(lock.release)
        exists = check_directory(directory)  # again: nobody else makes one from here on
        create = None if exists or embedder is None else manifest_for(embedder, *settings)
        store = RecordStore(directory / STORE_NAME, create=create, read_only=read_only)
        undo.callback(store.close)
        check_embedder(directory, store.manifest, embedder)
        check_row_settings(directory, store.manifest, *settings)
        files = OpenFiles(directory, store, lock)
        undo.pop_all()  # from here on they own both
    return files
