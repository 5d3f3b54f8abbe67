"""An index in Qdrant: a server, a cluster, or a folder in this process.

See `mmrag.index.qdrant.points` for what is stored, `mmrag.index.qdrant.search` for how it is found and
`mmrag.index.qdrant.writing` for what a call that is cut leaves behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mmrag.blocks import Block
from mmrag.errors import IndexReadOnlyError
from mmrag.index.base import DocumentEntry, EmbedderIdentity, RowType, StoreFacts, check_rows
from mmrag.index.block_codec import encode_blocks
from mmrag.index.check_report import CheckReport
from mmrag.index.qdrant.check import check_index
from mmrag.index.qdrant.collection import FieldKind, scroll_all, value_is
from mmrag.index.qdrant.conditions import numbers_path, values_path
from mmrag.index.qdrant.connecting import check_name, connect, memory_server, read_address, shown_place
from mmrag.index.qdrant.facts import store_facts
from mmrag.index.qdrant.files import INDEXED_FIELDS
from mmrag.index.qdrant.opening import (
    EDGE_SCHEME,
    check_same_embedder,
    check_same_rows,
    edge_collections,
    index_identity,
    server_collections,
)
from mmrag.index.qdrant.points import (
    RECORD_FIELDS,
    block_fields,
    check_sizes,
    metadata_fields,
    metadata_of,
    point_id,
    prepare,
    record_sum,
    stored_record,
)
from mmrag.index.qdrant.reading import QdrantReader
from mmrag.index.qdrant.settings import CollectionSettings, ServerSettings
from mmrag.index.qdrant.writing import live_orders, write_records
from mmrag.index.record_codec import check_page
from mmrag.index.records import check_metadata, checked_records, flat_metadata, merged_metadata
from mmrag.types import Metadata, Record

MOST_KEYS = 200
"""Metadata keys that are indexed; more are filtered by a look at every point."""

_INDEXED_FIELDS: dict[str, FieldKind] = {
    "live": "integer",
    "batch": "keyword",
    "document": "keyword",
    "terms": "integer",
    "length": "integer",
    "first": "integer",
    "identity": "integer",
}
_EDGE_BATCH = 64 << 20  # bytes of a write in this process
_MOST_IDS = 1000


class QdrantIndex(QdrantReader):
    """Index in Qdrant; see `mmrag.index.base.Index` for every method.

    Any number of processes and machines may write and read one server's index at once. In a folder, one
    process at a time has it open.

    `search_vectors` is one request: prefetches of ``b1`` through the graph, then more rows of fewer records,
    with the filter in each; the scores handed out are those of the stored rows. ``exact=True`` looks at
    every record.
    """

    @classmethod
    def open(
        cls,
        embedder: EmbedderIdentity | None,
        *,
        url: str | None = None,
        path: str | Path | None = None,
        collection: str = "mmrag",
        api_key: str | None = None,
        read_only: bool = False,
        row_type: RowType | None = None,
        rows: int | None = None,
        settings: CollectionSettings | None = None,
        server: ServerSettings | None = None,
        client_options: dict[str, Any] | None = None,
    ) -> QdrantIndex:
        """Open an index; for writing, make it where there is none.

        Args:
            embedder: what made or will make its vectors; None opens an index whoever made it, and makes none.
            url: of a server or of a node of a cluster, http or https.
            path: a folder, for the engine in this process. Neither: in memory, for tests.
            collection: name of the collection on the server; a second one, ``NAME-files``, is made beside it.
            api_key: None: that of the environment, ``MMRAG_QDRANT_API_KEY``; ``""``: none.
            read_only: search only.
            row_type: how rows are stored; None: as the index was made, a new one with int8.
            rows: most rows of a record that are stored; None: as the index was made, a new one with all.
            settings: how new collections are made.
            server: how the server is talked to.
            client_options: of the HTTP client below, such as a transport.

        Raises:
            ValueError: arguments that do not go together, a key over plain http to another network, or row
                settings that are not those of the index.
            IndexFormatError: there is something else, or a server that is too old.
            IndexMismatchError: another embedder made it.
            IndexLockedError: another process has the folder open.
            ServerError: the server cannot be reached, or refuses.
            MissingExtraError: the client is not installed.
        """
        check_rows(row_type, rows)
        check_name(collection)
        if url is not None and path is not None:
            raise ValueError(f"an index is at a url or in a path, got both: {url!r} and {str(path)!r}.")
        settings, server = settings or CollectionSettings(), server or ServerSettings()
        may_create = embedder is not None and not read_only
        dim = None if embedder is None else embedder.dim
        if path is not None:
            folder = Path(path).expanduser().absolute()
            collections = edge_collections(folder, dim, settings, may_create=may_create)
        else:
            connection = (
                memory_server(server) if url is None else connect(url, api_key, server, client_options)
            )
            address = f"qdrant-memory://{collection}" if url is None else shown_place(url, collection)
            collections = server_collections(
                connection, collection, address, dim, settings, may_create=may_create
            )
        try:
            identity = index_identity(collections, embedder if may_create else None, row_type, rows, settings)
            check_same_embedder(collections.address, identity.manifest, embedder)
            check_same_rows(collections.address, identity.manifest, row_type, rows)
            batch_bytes = _EDGE_BATCH if path is not None else server.batch_bytes
            index = cls(collections, identity, read_only=read_only, batch_bytes=batch_bytes)
            if not read_only:
                index._index_fields()
            return index
        except BaseException:
            collections.close()
            raise

    # -- writing ----------------------------------------------------------------------------

    def add(self, records: Sequence[Record]) -> None:
        """See `Index.add` and `mmrag.index.qdrant.writing`."""
        self._require_writable()
        pairs = checked_records(records, self._manifest)
        check_sizes(pairs)
        for record, _ in pairs:
            check_page(record)
        if not pairs:
            return
        drafts = prepare(
            pairs,
            self._rows,
            self._tokenizer,
            self._identity.pivot,
            short=self._identity.vectors == "float16",
        )
        with self._write_lock:
            self._index_keys(record.metadata for record, _ in pairs)
            orders = live_orders(self._pages, [draft.id for draft in drafts])
            first_order = self._clock.take(len(drafts))
            server = self._collections.server
            write_records(
                self._pages,
                drafts,
                orders,
                first_order,
                batch_bytes=self._batch_bytes,
                is_single=self._collections.is_single,
                send=_send_each if server is None else server.send,
            )
            self._lengths.forget()

    def delete(self, ids: Sequence[str]) -> int:
        """See `Index.delete`."""
        self._require_writable()
        with self._write_lock:
            unique = list(dict.fromkeys(ids))
            count = len(live_orders(self._pages, unique))
            self._delete_points(unique)
            self._files.delete_blobs(unique)
            self._lengths.forget()
            return count

    def _delete_points(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _MOST_IDS):
            self._pages.delete([point_id(id) for id in ids[start : start + _MOST_IDS]])

    def update_metadata(self, ids: Sequence[str], values: Metadata) -> None:
        """See `Index.update_metadata`."""
        self._require_writable()
        check_metadata(flat_metadata(values), ", ".join(ids[:3]))
        with self._write_lock:
            self._index_keys([values])
            for points in self._retrieve(list(dict.fromkeys(ids)), RECORD_FIELDS):
                changes = []
                for point in points:
                    stored_record(point.payload, matrices=False).verify()
                    fields = metadata_fields(merged_metadata(metadata_of(point), values))
                    fields["sum"] = record_sum({**point.payload, **fields})
                    changes.append((point.id, fields))
                self._pages.set_payload(changes)

    def put_document(self, entry: DocumentEntry) -> None:
        """See `Index.put_document`."""
        self._require_writable()
        self._files.put_document(entry)

    def remove_document(self, document_id: str) -> int:
        """See `Index.remove_document`; cut in the middle, a second call ends it."""
        self._require_writable()
        with self._write_lock:
            points = scroll_all(self._pages, value_is("document", document_id), ["id", "live"])
            ids = [str(point.payload["id"]) for point in points]
            self._delete_points(ids)
            self._files.delete_blobs(ids)
            self._files.remove_document(document_id)
            self._lengths.forget()
            return sum(point.payload.get("live") == 1 for point in points)

    def put_blocks(self, id: str, blocks: Sequence[Block]) -> None:
        """See `Index.put_blocks`."""
        self._require_writable()
        with self._write_lock:
            for points in self._retrieve([id], ["id", "text", "page"]):
                for point in points:
                    if point.payload.get("page") is not None:
                        data = encode_blocks(blocks, str(point.payload["text"]))
                        self._pages.set_payload([(point.id, block_fields(data))])

    def put_blob(self, key: str, data: bytes) -> None:
        """See `Index.put_blob`."""
        self._require_writable()
        self._files.put_blob(key, bytes(data))

    def _require_writable(self) -> None:
        if self._read_only:
            raise IndexReadOnlyError(
                f"index {self.address} was opened with read_only=True and cannot be changed. Open it without "
                "read_only."
            )

    def _index_fields(self) -> None:
        """Index what every index looks at; fine where it is indexed."""
        for key, kind in _INDEXED_FIELDS.items():
            self._pages.index_field(key, kind)
        if (
            self._collections.server is not None
        ):  # in a folder they are few, and each index takes 0.1 s to make
            for key in INDEXED_FIELDS:
                self._files.collection.index_field(key, "keyword")

    def _index_keys(self, metadata: Iterable[Metadata]) -> None:
        """Index keys of metadata that are new to this process, up to `MOST_KEYS`."""
        for values in metadata:
            for key in flat_metadata(values):
                if key not in self._keys and len(self._keys) < MOST_KEYS:
                    self._pages.index_field(values_path(key), "keyword")
                    self._pages.index_field(numbers_path(key), "float")
                    self._keys.add(key)

    def store_facts(self) -> StoreFacts:
        """See `mmrag.index.base.ServerIndex`."""
        return store_facts(self._collections)

    def optimize(self) -> None:
        """Build the graph of what was added, and drop what was deleted; a server does so by itself.

        In a folder searches wait for it, and their first stage is exact as long as there is no graph: it pays
        from some hundred thousand pages on.
        """
        self._require_writable()
        pages = self._pages
        if hasattr(pages, "optimize"):
            pages.optimize()

    def check(self, *, repair: bool = False) -> CheckReport:
        """See `Index.check` and `mmrag.index.qdrant.check`."""
        if repair:
            self._require_writable()
        with self._write_lock:
            return check_index(
                self._pages,
                self._files,
                self._rows,
                self._tokenizer,
                self._identity,
                self.address,
                repair=repair,
            )


def _send_each(operation: Callable[[Any], None], values: Sequence[Any]) -> None:
    for value in values:
        operation(value)


def open_address(
    address: str,
    embedder: EmbedderIdentity | None,
    *,
    read_only: bool,
    row_type: RowType | None,
    rows: int | None,
) -> QdrantIndex:
    """Open the index at ``qdrant://host:port/COLLECTION`` or ``qdrant-edge://FOLDER``; see `open_index`."""
    if address.startswith(EDGE_SCHEME):
        folder = address.removeprefix(EDGE_SCHEME)
        if not folder:
            raise ValueError(f"an address of Qdrant in a folder must name it, got {address!r}.")
        return QdrantIndex.open(embedder, path=folder, read_only=read_only, row_type=row_type, rows=rows)
    parts = read_address(address)
    return QdrantIndex.open(
        embedder,
        url=parts.url,
        collection=parts.collection,
        read_only=read_only,
        row_type=row_type,
        rows=rows,
        settings=parts.new_collection,
        server=parts.settings,
    )
