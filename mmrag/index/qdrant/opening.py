"""The collections of an index: opened, or made; and what is refused before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmrag.errors import IndexFormatError, IndexMismatchError
from mmrag.index.base import EmbedderIdentity, Manifest, RowType, manifest_for
from mmrag.index.lock import HOLDER_NAME, LOCK_NAME, WriterLock
from mmrag.index.qdrant.collection import ALWAYS, Collection
from mmrag.index.qdrant.files import FilePoints, Identity, OrderClock
from mmrag.index.qdrant.settings import CollectionSettings

if TYPE_CHECKING:
    from mmrag.index.qdrant.server import Server

EDGE_SCHEME = "qdrant-edge://"
"""Of an address of a folder."""

FILES_ENDING = "-files"

PIVOT = 400.0
"""Average length of a text, in terms, that the weights of terms of a new index are made with."""


@dataclass(frozen=True, slots=True)
class Collections:
    """The two collections of an index, and what has to be released with them.

    Attributes:
        pages: the records.
        files: documents, bytes and the manifest.
        address: where they are, for messages.
        is_single: whether one request is written whole or not at all: one shard.
        server: behind a client; None in a folder.
        lock: of a folder.
    """

    pages: Collection
    files: Collection
    address: str
    is_single: bool
    server: Server | None = None
    lock: WriterLock | None = None

    def close(self) -> None:
        """Release them."""
        self.pages.close()
        self.files.close()
        if self.server is not None:
            self.server.close()
        if self.lock is not None:
            self.lock.release()


def server_collections(
    server: Server,
    name: str,
    address: str,
    dim: int | None,
    settings: CollectionSettings,
    *,
    may_create: bool,
) -> Collections:
    """Open the collections of a server; make them where there are none.

    Args:
        server: of the collections.
        name: of the pages' collection.
        address: for messages.
        dim: width of the vectors; None: as they are.
        settings: of new ones.
        may_create: whether new ones are made.

    Raises:
        IndexFormatError: there are none and none are made, or the collection is of something else.
    """
    from mmrag.index.qdrant.server import ServerCollection, check_shape

    pages = ServerCollection(server, name)
    files = ServerCollection(server, name + FILES_ENDING)
    exist = pages.exists(), files.exists()
    if not may_create and not all(exist):
        raise missing_error(address)
    if may_create and exist[0] and not exist[1]:
        raise IndexFormatError(
            f"{address} must be an index of this package or absent, got a collection without {files.name!r}. "
            "Name another collection; nothing was written."
        )
    if not exist[1]:
        files.create(dim=None, settings=replace(settings, shards=1))
    if not exist[0]:
        pages.create(dim=dim, settings=settings)
    shape = pages.shape()
    files.shape()
    if dim is not None:
        check_shape(pages, shape, dim)
    return Collections(pages, files, address, server.url is None or shape.shard_number in (None, 1), server)


def edge_collections(
    path: Path, dim: int | None, settings: CollectionSettings, *, may_create: bool
) -> Collections:
    """Open the collections in a folder; make them where there are none.

    Raises:
        IndexFormatError: there are none and none are made, or the folder is of something else.
        IndexLockedError: another process has them open.
    """
    from mmrag.index.qdrant.edge import EdgeCollection

    pages_path, files_path = path / "pages", path / "files"
    if path.exists() and not path.is_dir():
        raise IndexFormatError(f"an index is a directory, got the file {path}. Name another address.")
    if not may_create and not (pages_path.exists() and files_path.exists()):
        raise missing_error(str(path))
    if path.exists():
        strangers = sorted(
            {entry.name for entry in path.iterdir()} - {"pages", "files", LOCK_NAME, HOLDER_NAME}
        )
        if strangers:
            raise IndexFormatError(
                f"{path} must be an index in Qdrant, empty or absent, got a directory with {strangers[0]!r}. "
                "Name another directory; nothing was written."
            )
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = WriterLock(path)
    try:
        files = EdgeCollection(files_path, dim=None, settings=settings)
        try:
            pages = EdgeCollection(pages_path, dim=dim or 1, settings=settings)
        except BaseException:
            files.close()
            raise
    except BaseException:
        lock.release()
        raise
    return Collections(pages, files, f"{EDGE_SCHEME}{path}", True, None, lock)


def missing_error(address: str) -> IndexFormatError:
    """Return the error of a address without an index."""
    return IndexFormatError(
        f"{address} must be an index to read, got none. Make it first: open it for writing with an embedder "
        "and add documents."
    )


def check_same_embedder(address: str, manifest: Manifest, embedder: EmbedderIdentity | None) -> None:
    """Refuse an embedder that did not make the index; None is let pass.

    Raises:
        IndexMismatchError: its fingerprint or dim is another.
    """
    if embedder is None or (embedder.fingerprint, embedder.dim) == (manifest.fingerprint, manifest.dim):
        return
    raise IndexMismatchError(
        f"index {address} was built with {manifest.dim}-dim vectors from '{manifest.embedder}' "
        f"(fingerprint {manifest.fingerprint[:12]}), this embedder gives {embedder.dim}-dim from "
        f"'{embedder.name}' (fingerprint {embedder.fingerprint[:12]}). "
        "Load the matching embedder, or name another collection for this one."
    )


def check_same_rows(address: str, manifest: Manifest, row_type: RowType | None, rows: int | None) -> None:
    """Refuse settings of rows that the index was not made with; None is let pass.

    Raises:
        ValueError: `row_type` or `rows` is another.
    """
    for name, value in {"row_type": row_type, "rows": rows}.items():
        own_value = getattr(manifest, name)
        if value is not None and value != own_value:
            raise ValueError(
                f"{name} must be that of the index, {own_value!r}, got {value!r} for {address}. "
                f"Leave it out, or copy the index into a new one: mmrag copy {address} NEW"
            )


def index_identity(
    collections: Collections,
    embedder: EmbedderIdentity | None,
    row_type: RowType | None,
    rows: int | None,
    settings: CollectionSettings,
) -> Identity:
    """Read what the index says of itself; write it where there is nothing yet.

    Args:
        collections: of the index.
        embedder: of a new index; None: none is made.
        row_type: of a new index.
        rows: of a new index.
        settings: of a new index.

    Raises:
        IndexFormatError: there is no manifest, and records or no embedder.
    """
    files = FilePoints(collections.files, OrderClock())
    identity = files.identity()
    if identity is None:
        if embedder is None:
            raise missing_error(collections.address)
        if collections.pages.counts([ALWAYS])[0]:
            raise IndexFormatError(
                f"{collections.address} must have a manifest with its records, got records without one. "
                "Restore the collection of files from a snapshot, or index the documents again elsewhere."
            )
        factor = settings.oversampling if settings.quantization else None
        new_identity = Identity(manifest_for(embedder, row_type, rows), PIVOT, settings.vectors, factor)
        identity = files.put_identity(new_identity)
    collections.pages.quantization_factor = identity.quantization_factor
    return identity
