"""`MMRagRetriever`: pages for a question of words, of an image, or of both.

Decisions taken here:

* A page comes as one `Node` of its text and the path of its picture, under mmrag's page id.
* A path is opened for reading only, so another process may continue to add; pass a `DocumentQA` or an
  `MMRagVectorStore` to search what this process writes.
* `QueryBundle.custom_embedding_strs` (HyDE) are searched with instead of the question, joined;
  `QueryBundle.embedding` is not used: one vector is less than the question's words.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index.readers.mmrag.nodes import PageWithScore
from llama_index.readers.mmrag.records import node_of
from llama_index.vector_stores.mmrag import MMRagVectorStore
from llama_index.vector_stores.mmrag.filters import to_filter, warn_of_keys
from mmrag import Budget, DocumentQA, load_embedder
from mmrag.errors import check_whole
from mmrag.hosts.embedders import Model
from mmrag.hosts.inputs import as_budget, text_image_query
from mmrag.types import Query, Ranking

if TYPE_CHECKING:
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.indices import VectorStoreIndex
    from llama_index.core.schema import IndexNode

DEFAULT_SIMILARITY_TOP_K = 5


class MMRagRetriever(BaseRetriever):
    """The pages of an mmrag index that answer a question, best first.

    Args:
        index: a `DocumentQA`, the folder of an index, an `MMRagVectorStore`, or LlamaIndex's index over one.
        similarity_top_k: pages to find, at least 1.
        budget: ``(query, document)`` vectors used in the search; None: all.
        filters: metadata conditions.
        rerank: None for the reranker of `index`, False for none, or as `DocumentQA.search` takes it.
        with_images: whether a page node carries the path of its picture, drawn on first use.
        model: as in `MMRagEmbedding`, if `index` is a folder.
        base_url: as in `MMRagEmbedding`, if `index` is a folder.
        api_key: as in `MMRagEmbedding`, if `index` is a folder.
        callback_manager, object_map, objects, verbose: the host's.

    Raises:
        ValueError: `similarity_top_k` or a budget below 1, or a filter that cannot be translated.
        IndexFormatError: there is no index in the folder.
        IndexMismatchError: another model made it.

    Example:
        >>> retriever = MMRagRetriever("my-index", similarity_top_k=1)
        >>> [page.metadata["page_label"] for page in retriever.retrieve("Who chairs the board?")]
        ['2']
    """

    def __init__(
        self,
        index: DocumentQA | MMRagVectorStore | VectorStoreIndex | str | Path,
        *,
        similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K,
        budget: Budget | tuple[int, int] | None = None,
        filters: MetadataFilters | None = None,
        rerank: Any = None,
        with_images: bool = True,
        model: Model = None,
        base_url: str | None = None,
        api_key: str | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        self._qa = _open_qa(index, model, base_url, api_key)
        self.similarity_top_k = similarity_top_k
        self.budget = as_budget(budget)
        self.filters = filters
        self.rerank = rerank
        self.with_images = with_images
        super().__init__(callback_manager, object_map, objects, verbose)

    @property
    def qa(self) -> DocumentQA:
        """Return the `DocumentQA` that is searched."""
        return self._qa

    @property
    def similarity_top_k(self) -> int:
        """Return the number of pages to find."""
        return self._similarity_top_k

    @similarity_top_k.setter
    def similarity_top_k(self, value: int) -> None:
        self._similarity_top_k = check_whole("similarity_top_k", value)

    @property
    def filters(self) -> MetadataFilters | None:
        """Return the metadata conditions."""
        return self._filters

    @filters.setter
    def filters(self, value: MetadataFilters | None) -> None:
        to_filter(value, self._qa.index)  # refuses what cannot be
        self._filters = value

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes(self._qa.search(_query(query_bundle), **self._options()))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        query = await asyncio.to_thread(_query, query_bundle)
        ranking = await self._qa.asearch(query, **self._options())
        return await asyncio.to_thread(self._nodes, ranking)

    def _options(self) -> dict[str, Any]:
        condition = to_filter(self.filters, self._qa.index)
        return dict(k=self.similarity_top_k, budget=self.budget, filter=condition, rerank=self.rerank)

    def _nodes(self, ranking: Ranking) -> list[NodeWithScore]:
        if not ranking:
            warn_of_keys(self._filters, self._qa.index)
        nodes = [node_of(item, self._qa, images=self.with_images) for item in ranking]
        return [PageWithScore(node=node, score=item.score) for node, item in zip(nodes, ranking, strict=True)]


def _open_qa(index: Any, model: Model, base_url: str | None, api_key: str | None) -> DocumentQA:
    """Return the `DocumentQA` behind an index; a folder is opened for reading."""
    store = getattr(index, "vector_store", None)
    index = store if isinstance(store, MMRagVectorStore) else index
    if isinstance(index, (str, Path)):
        embedder = load_embedder(model, base_url=base_url, api_key=api_key)
        return DocumentQA.open(index, embedder=embedder, read_only=True)
    if not isinstance(index, (DocumentQA, MMRagVectorStore)):
        raise TypeError(
            f"index must be a DocumentQA, a folder or an MMRagVectorStore, got {type(index).__name__}."
        )
    if model is not None or base_url is not None:
        raise ValueError("model and base_url go with a folder, got an open index. Leave them out.")
    return index.client if isinstance(index, MMRagVectorStore) else index


def _query(bundle: QueryBundle) -> Query:
    words = "\n".join(bundle.custom_embedding_strs) if bundle.custom_embedding_strs else bundle.query_str
    return text_image_query(words, bundle.image_path)
