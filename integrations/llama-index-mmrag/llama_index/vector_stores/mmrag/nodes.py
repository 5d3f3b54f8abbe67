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

from llama_index.readers.mmrag.records import has_embedding, node_of, store_item
from llama_index.vector_stores.mmrag.filters import to_filter, warn_of_keys
from llama_index.vector_stores.mmrag.queries import is_filter_alone, query_filter, search
from mmrag import Budget, DocumentQA, Embedder
from mmrag.hosts import deletion, stores
from mmrag.hosts.threads import in_thread
from mmrag.types import Candidate, Record


class NodeStore(BasePydanticVectorStore):
    """Nodes in the index of a `DocumentQA`, which is opened on first use."""

    stores_text: bool = True
    is_embedding_query: bool = True
    flat_metadata: bool = True
    path: str | None = Field(default=None, description="Folder or address of the index; None: memory.")
    budget: tuple[int, int] | None = Field(default=None, description="Vectors used of a query and a node.")
    with_images: bool = Field(default=True, description="Whether page nodes name their picture.")
    read_only: bool = Field(default=False, description="Search only.")
    _qa: DocumentQA | None = PrivateAttr(default=None)
    _embedder: Embedder = PrivateAttr()
    _location: str | None = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def client(self) -> DocumentQA:
        """Return the `DocumentQA` behind this, opened on first use."""
        with self._lock:
            if self._qa is None:
                self._qa = stores.open_store(self._embedder, self._location, read_only=self.read_only)
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
        """Delete the nodes of a document, a file or a folder.

        Args:
            ref_doc_id: id of a document (what was made from it and a node of that id go), or the path of a
                file or of a folder whose pages `DocumentQA.add` put here.
        """
        deletion.delete_document(self.client.index, ref_doc_id)
        deletion.delete_path(self.client, ref_doc_id)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any
    ) -> None:
        """Delete the nodes of these ids that pass the filters; a string is one id.

        Raises:
            ValueError: neither is given; `clear` deletes all.
        """
        index, filter = self.client.index, to_filter(filters, self.client.index)
        if node_ids is None and filter is None:
            raise ValueError("delete_nodes takes node_ids or filters, got neither. clear() deletes all.")
        deletion.delete_matching(index, node_ids, filter)

    def clear(self) -> None:
        """Delete everything in the index."""
        deletion.clear(self.client.index)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return the nodes of these ids that pass the filters, in the order of the ids; None: of all ids.

        A node that was added with an embedding has it again, as the index keeps it (the first vector).
        """
        index = self.client.index
        ids = deletion.matching_ids(index, node_ids, to_filter(filters, index))
        return [self._node(record, embedding=True) for record in index.get(ids, matrices=True)]

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """Return the best nodes for a question; see `MMRagVectorStore`'s module for the modes.

        With conditions and no question the nodes that pass them are returned, in no order, without scores.
        `options` are those of the mode ``mmr``; see `queries.search`.

        Raises:
            ValueError: no question and no filters, ``similarity_top_k`` below 1, or an unknown mode.
            IndexMismatchError: the question was embedded by another model.
        """
        if is_filter_alone(query):
            ids = self.client.index.ids(query_filter(query, self.client.index))
            ids = ids[: stores.check_k(query.similarity_top_k)]
            nodes = [self._node(record) for record in self.client.index.get(ids)]
            return VectorStoreQueryResult(nodes=nodes, ids=ids)
        budget = None if self.budget is None else Budget(*self.budget)
        found = search(self.client, query, budget, options)
        if not found:
            warn_of_keys(query.filters, self.client.index)
        return VectorStoreQueryResult(
            nodes=[self._node(candidate) for candidate, _ in found],
            similarities=[score for _, score in found],
            ids=[candidate.id for candidate, _ in found],
        )

    def _node(self, item: Candidate | Record, *, embedding: bool = False) -> BaseNode:
        node = node_of(item, self.client, images=self.with_images)
        if embedding and isinstance(item, Record) and item.matrix is not None and has_embedding(item):
            node.embedding = item.matrix[0].astype(float).tolist()
        return node

    async_add, adelete, adelete_nodes = in_thread(add), in_thread(delete), in_thread(delete_nodes)
    aclear, aget_nodes, aquery = in_thread(clear), in_thread(get_nodes), in_thread(query)
