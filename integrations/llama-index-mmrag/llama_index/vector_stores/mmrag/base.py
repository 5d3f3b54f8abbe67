"""`MMRagVectorStore`: an mmrag index behind `VectorStoreIndex`.

Decisions taken here:

* The store encodes nodes and questions itself, with the embedder of its index: LlamaIndex carries one
  vector an item, the index wants the nested matrix. A node's embedding is only checked for its width.
* ``default`` and ``hybrid`` are mmrag's own search, vectors and words fused (``alpha`` moves the weight:
  1 is vectors, 0 is words); ``text_search`` and ``sparse`` are words alone. A question embedding that is
  not the question's own (HyDE, an average) is searched with as it is, by vectors alone.
* Nodes come back as they were added; pages that `DocumentQA.add` put into the same index come as page
  nodes. An index on disk is saved with every call, so ``persist`` has nothing to do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import Field, PrivateAttr, SecretStr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from llama_index.embeddings.mmrag import MMRagEmbedding
from llama_index.embeddings.mmrag.embedder import Model, check_fingerprint, model_setting
from llama_index.readers.mmrag.nodes import embed_text, image_path_of, node_of, node_text, record_metadata
from llama_index.vector_stores.mmrag.filters import all_of, check_keys, to_filter
from mmrag.embedders.base import Content, Embedder
from mmrag.errors import IndexMismatchError
from mmrag.images import load_image
from mmrag.index.base import Index
from mmrag.index.filters import Filter
from mmrag.models.load import load_embedder
from mmrag.pipeline import DocumentQA
from mmrag.retriever import CHANNELS, Retriever
from mmrag.types import Budget, Candidate, Matrix, Record

_BOTH = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID)
_WORDS = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)


class MMRagVectorStore(BasePydanticVectorStore):
    """Nodes in an mmrag index: persistent, searched by nested vectors and by words.

    Args:
        path: folder of the index, made when it is not there; None: in memory.
        persist_dir: the same as `path`, for those who type it.
        model: as in `MMRagEmbedding`.
        base_url: as in `MMRagEmbedding`.
        api_key: as in `MMRagEmbedding`.
        budget: ``(query, document)`` vectors used in a search; None: all.
        with_images: whether page nodes carry the path of their picture, drawn on first use.
        read_only: search only, beside a process that writes.
        qa: a `DocumentQA` to work on, instead of path and model.

    The index is opened on first use; `client` is the `DocumentQA` behind it.

    Raises:
        IndexMismatchError: (on first use) another model made the index.
        IndexLockedError: (on first use) another process writes to it.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    flat_metadata: bool = True
    path: str | None = Field(default=None, description="Folder of the index; None: in memory.")
    model: str | None = Field(default=None, description="Name or folder of the model; None: the shipped one.")
    base_url: str | None = Field(default=None, description="Server of embeddings.")
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    budget: tuple[int, int] | None = Field(default=None, description="Vectors used of a query and a node.")
    with_images: bool = Field(default=True, description="Whether page nodes name their picture.")
    read_only: bool = Field(default=False, description="Search only.")
    fingerprint: str | None = Field(default=None, description="Of the embedder this was first made with.")
    _qa: DocumentQA | None = PrivateAttr(default=None)
    _embedder: Embedder = PrivateAttr()
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        persist_dir: str | Path | None = None,
        model: Model = None,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        budget: Budget | tuple[int, int] | None = None,
        with_images: bool = True,
        read_only: bool = False,
        qa: DocumentQA | None = None,
        fingerprint: str | None = None,
        stores_text: bool = True,
        is_embedding_query: bool = True,
        flat_metadata: bool = True,
    ) -> None:
        path = persist_dir if path is None else path
        if qa is not None and (path is not None or model is not None or base_url is not None):
            raise ValueError("a store is made of a qa or of path and model, got both. Leave the others out.")
        secret = SecretStr(api_key) if isinstance(api_key, str) else api_key
        if qa is not None:
            embedder, path, model = qa.embedder, qa.path, qa.embedder
            read_only = qa.index.read_only
        else:
            key = None if secret is None else secret.get_secret_value()
            embedder = load_embedder(model, base_url=base_url, api_key=key)
        check_fingerprint(embedder, fingerprint, "the vector store")
        checked = None if budget is None else budget if isinstance(budget, Budget) else Budget(*budget)
        fields: dict[str, Any] = {
            "path": None if path is None else str(path),
            "model": model_setting(model),
            "base_url": base_url,
            "api_key": secret,
            "budget": None if checked is None else (checked.query, checked.document),
            "with_images": with_images,
            "read_only": read_only,
            "fingerprint": embedder.fingerprint if base_url is None else None,  # a server is not asked yet
            "stores_text": stores_text,
            "is_embedding_query": is_embedding_query,
            "flat_metadata": flat_metadata,
        }
        super().__init__(**fields)
        self._embedder = embedder
        self._qa = qa

    @classmethod
    def from_index(cls, index: Index, embedder: Embedder, **options: Any) -> MMRagVectorStore:
        """A store over any mmrag index; `options` as for the class."""
        return cls(qa=DocumentQA(index, embedder=embedder), **options)

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "MMRagVectorStore"

    @property
    def client(self) -> DocumentQA:
        """The `DocumentQA` behind this, opened on first use."""
        with self._lock:
            if self._qa is None:
                self._qa = self._opened()
            return self._qa

    @property
    def embed_model(self) -> MMRagEmbedding:
        """The model of this store, for ``VectorStoreIndex.from_vector_store(store, store.embed_model)``."""
        return MMRagEmbedding(self._embedder)

    def close(self) -> None:
        """Release the index and its lock; the next use opens it again."""
        with self._lock:
            if self._qa is not None and self.path is not None:
                self._qa.close()
                self._qa = None

    def __getstate__(self) -> dict[str, Any]:
        """Where the index is and how to open it: no key, nothing that is open.

        Raises:
            TypeError: the index is in memory.
        """
        if self.path is None:
            raise TypeError("a store in memory cannot be pickled, got path=None. Give it a folder.")
        return {"__dict__": {k: v for k, v in self.__dict__.items() if k != "api_key"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the store again, unopened; see `__getstate__`."""
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # how every BaseComponent is restored

    # ---- writing ---------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """Add nodes, or replace those of the same id; all of the call or nothing of it.

        Raises:
            ValueError: a node has neither text nor image, holds an image as bytes, or its metadata is
                not flat; or the vectors are another model's.
            FileNotFoundError: a node's image is not there.
            UnsupportedInputError: an image without text, and an embedder that reads text only.
        """
        if not nodes:
            return []
        contents = [self._content(node) for node in nodes]
        metadata = [record_metadata(node) for node in nodes]
        matrices = self._embedder.encode_document(contents)
        self.client.index.add(
            [
                Record(id=node.node_id, matrix=matrix, text=node_text(node), metadata=values)
                for node, matrix, values in zip(nodes, matrices, metadata, strict=True)
            ]
        )
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **_: Any) -> None:
        """Delete the nodes of a document: those made from it, a page file's, and a node of that id."""
        index = self.client.index
        index.remove_document(ref_doc_id)
        made = index.ids({"$or": [{"ref_doc_id": ref_doc_id}, {"doc_id": ref_doc_id}]})
        index.delete([*made, ref_doc_id])

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any
    ) -> None:
        """Delete the nodes of these ids that pass the filters.

        Raises:
            ValueError: neither is given; `clear` deletes all.
        """
        if node_ids is None and filters is None:
            raise ValueError("delete_nodes takes node_ids or filters, got neither. clear() deletes all.")
        self.client.delete(self._ids(node_ids, filters))

    def clear(self) -> None:
        """Delete all that is in the index."""
        index = self.client.index
        for entry in index.documents():
            index.remove_document(entry.id)
        index.delete(index.ids())

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Nothing to do for an index on disk: it is saved with every call.

        Raises:
            ValueError: the index is in memory.
        """
        if self.path is None:
            raise ValueError(
                "a store in memory cannot be persisted, got path=None. Make it with a folder: "
                "MMRagVectorStore('my-index')."
            )

    # ---- reading ---------------------------------------------------------------------------------

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Nodes of these ids that pass the filters, in the order of the ids; None: of all ids."""
        return [self._node(record) for record in self.client.index.get(self._ids(node_ids, filters))]

    def query(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        """The best nodes for a question; see the module for the modes.

        Raises:
            ValueError: no question, ``similarity_top_k`` below 1, a mode that is not there, or a filter
                on a key that no record has.
            IndexMismatchError: the question was embedded by another model.
        """
        filter = all_of(
            to_filter(query.filters),
            {"doc_id": {"$in": list(query.doc_ids)}} if query.doc_ids else None,
        )
        found = self._search(query, filter)
        if not found:
            check_keys(query.filters, self.client.index)
        return VectorStoreQueryResult(
            nodes=[self._node(candidate) for candidate in found],
            similarities=[candidate.score for candidate in found],
            ids=[candidate.id for candidate in found],
        )

    # ---- asynchronous twins ----------------------------------------------------------------------

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """`add` in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """`delete` in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """`delete_nodes` in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """`clear` in a thread."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """`get_nodes` in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """`query` in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    # ---- translation -----------------------------------------------------------------------------

    def _opened(self) -> DocumentQA:
        if self.path is not None:
            return DocumentQA.open(self.path, embedder=self._embedder, read_only=self.read_only)
        from mmrag.index import MemoryIndex

        return DocumentQA(MemoryIndex.for_embedder(self._embedder), embedder=self._embedder)

    def _content(self, node: BaseNode) -> Content:
        if node.embedding is not None:
            self._check_width(node.embedding, f"the embedding of node {node.node_id!r}")
        text, path = embed_text(node), image_path_of(node)
        if not text.strip() and path is None:
            raise ValueError(
                f"a node must have text or an image, got {node.node_id!r} without either. Leave it out."
            )
        if path is None or (text.strip() and "image" not in self._embedder.modalities):
            return Content(text=text)
        return Content(text=text, image=load_image(path))

    def _check_width(self, embedding: Sequence[float], what: str) -> None:
        if len(embedding) != self._embedder.dim:
            raise IndexMismatchError(
                f"{what} has {len(embedding)} numbers, {self._embedder.name!r} gives {self._embedder.dim}: "
                "another model made it. Pass embed_model=vector_store.embed_model to the index."
            )

    def _ids(self, node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> list[str]:
        passing = self.client.index.ids(to_filter(filters))
        if node_ids is None:
            return passing
        allowed = set(passing)
        return [id for id in node_ids if id in allowed]

    def _node(self, item: Candidate | Record) -> BaseNode:
        record = item.record if isinstance(item, Candidate) else item
        if record.page is None or not self.with_images:
            return node_of(item)
        return node_of(item, str(self.client.picture_path(record.page)))

    def _search(self, query: VectorStoreQuery, filter: Filter | None) -> Sequence[Candidate]:
        words, given = (query.query_str or "").strip(), query.query_embedding
        if query.mode not in (*_BOTH, *_WORDS):
            raise ValueError(
                f"the query mode must be default, hybrid, text_search or sparse, got {query.mode.value!r}."
            )
        if query.mode in _WORDS:
            given = None
        if not words and given is None:
            raise ValueError("a query must have words or an embedding, got neither. Give query_str.")
        retriever = Retriever(self.client.index, self._embedder, weights=_weights(query.alpha))
        k, budget = query.similarity_top_k, None if self.budget is None else Budget(*self.budget)
        if query.node_ids:
            filter = all_of(filter, {"_node_id": {"$in": list(query.node_ids)}})
        if given is None or (words and self._is_own(words, given)):
            channels = CHANNELS if query.mode in _BOTH else ("text",)
            return retriever.search(words, k=k, budget=budget, filter=filter, channels=channels)
        self._check_width(given, "the query's embedding")
        return self._by_vector(np.asarray([given], dtype=np.float32), k, budget, filter)

    def _is_own(self, words: str, given: Sequence[float]) -> bool:
        """Whether an embedding is this question's, and not another text's or another model's."""
        self._check_width(given, "the query's embedding")
        row = self._embedder.encode_query([words])[0][0].astype(np.float64)
        return float(row @ np.asarray(given)) > 0.999 * float(np.linalg.norm(row) * np.linalg.norm(given))

    def _by_vector(
        self, matrix: Matrix, k: int, budget: Budget | None, filter: Filter | None
    ) -> list[Candidate]:
        index = self.client.index
        hits = index.search_vectors(matrix, k=k, budget=budget, filter=filter)
        records = {record.id: record for record in index.get([hit.id for hit in hits])}
        return [
            Candidate(records[hit.id], hit.score, rank, {"vectors": hit.score})
            for rank, hit in enumerate(hits, start=1)
        ]


def _weights(alpha: float | None) -> dict[str, float] | None:
    """LlamaIndex's ``alpha`` as weights of the channels; None: mmrag's own."""
    if alpha is None:
        return None
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 (words) to 1 (vectors), got {alpha!r}.")
    return {"vectors": alpha, "text": 1 - alpha}
