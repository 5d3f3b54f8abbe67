"""Adding, deleting and finding nodes in the index of an `MMRagVectorStore`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from llama_index.readers.mmrag.records import node_of, store_item
from llama_index.vector_stores.mmrag.filters import check_keys, to_filter
from llama_index.vector_stores.mmrag.queries import query_channels, query_filter
from mmrag import Budget, DocumentQA, Embedder
from mmrag.hosts import stores
from mmrag.hosts.threads import in_thread
from mmrag.types import Candidate, Record


class NodeStore(BasePydanticVectorStore):
    """Nodes in the index of a `DocumentQA`, which is opened on first use."""

    stores_text: bool = True
    is_embedding_query: bool = True
    flat_metadata: bool = True
    path: str | None = Field(default=None, description="Folder of the index; None: in memory.")
    budget: tuple[int, int] | None = Field(default=None, description="Vectors used of a query and a node.")
    with_images: bool = Field(default=True, description="Whether page nodes name their picture.")
    read_only: bool = Field(default=False, description="Search only.")
    _qa: DocumentQA | None = PrivateAttr(default=None)
    _embedder: Embedder = PrivateAttr()
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def client(self) -> DocumentQA:
        """Return the `DocumentQA` behind this, opened on first use."""
        with self._lock:
            if self._qa is None:
                self._qa = stores.open_store(self._embedder, self.path, read_only=self.read_only)
            return self._qa

    def close(self) -> None:
        """Release the index and its lock; the next use opens it again."""
        with self._lock:
            if self._qa is not None and self.path is not None:
                self._qa.close()
                self._qa = None

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """Add nodes, or replace those of the same id; all of the call or nothing of it.

        Raises:
            ValueError: a node has neither text nor image, holds an image as bytes, or its metadata is
                not flat; or the vectors are another model's.
            FileNotFoundError: a node's image is not there.
            UnsupportedInputError: an image without text, and an embedder that reads text only.
        """
        return stores.add_items(self.client, [store_item(node) for node in nodes]) if nodes else []

    def delete(self, ref_doc_id: str, **_: Any) -> None:
        """Delete the nodes of a document: those made from it, a page file's, and a node of that id."""
        stores.delete_document(self.client.index, ref_doc_id)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any
    ) -> None:
        """Delete the nodes of these ids that pass the filters.

        Raises:
            ValueError: neither is given; `clear` deletes all.
        """
        if node_ids is None and filters is None:
            raise ValueError("delete_nodes takes node_ids or filters, got neither. clear() deletes all.")
        self.client.delete(stores.matching_ids(self.client.index, node_ids, to_filter(filters)))

    def clear(self) -> None:
        """Delete everything in the index."""
        stores.clear(self.client.index)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return the nodes of these ids that pass the filters, in the order of the ids; None: of all ids."""
        ids = stores.matching_ids(self.client.index, node_ids, to_filter(filters))
        return [self._node(record) for record in self.client.index.get(ids)]

    def query(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        """Return the best nodes for a question; see `MMRagVectorStore`'s module for the modes.

        Raises:
            ValueError: no question, ``similarity_top_k`` below 1, an unknown mode, or a filter on a key
                that no record has.
            IndexMismatchError: the question was embedded by another model.
        """
        channels = query_channels(query)
        ranking = stores.search_text_or_vector(
            self.client,
            (query.query_str or "").strip(),
            query.query_embedding if "vectors" in channels else None,
            k=query.similarity_top_k,
            budget=None if self.budget is None else Budget(*self.budget),
            filter=query_filter(query),
            channels=channels,
            alpha=query.alpha,
        )
        if not ranking:
            check_keys(query.filters, self.client.index)
        return VectorStoreQueryResult(
            nodes=[self._node(candidate) for candidate in ranking],
            similarities=[candidate.score for candidate in ranking],
            ids=[candidate.id for candidate in ranking],
        )

    def _node(self, item: Candidate | Record) -> BaseNode:
        record = item.record if isinstance(item, Candidate) else item
        if record.page is None or not self.with_images:
            return node_of(item)
        return node_of(item, str(self.client.picture_path(record.page)))

    async_add, adelete, adelete_nodes = in_thread(add), in_thread(delete), in_thread(delete_nodes)
    aclear, aget_nodes, aquery = in_thread(clear), in_thread(get_nodes), in_thread(query)
