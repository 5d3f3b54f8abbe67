"""The searching half of `MMRagVectorStore`: the host's search methods over `DocumentQA`."""

# The host lets unknown keyword arguments pass; here they are refused.
# mypy: disable-error-code="override"
from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from mmrag import Budget, DocumentQA
from mmrag.hosts import stores
from mmrag.hosts.inputs import as_budget, text_image_query
from mmrag.types import Candidate, Ranking, Record

from langchain_mmrag._documents import as_query, to_documents

if TYPE_CHECKING:
    from mmrag.index import Filter
    from typing_extensions import Self

BudgetInput = Budget | Sequence[int] | None
Scores = list[tuple[Document, float]]


class StoreSearch(VectorStore):
    """Searches the records of `qa`, blocking or not."""

    qa: DocumentQA
    budget: Budget | None
    images: bool

    def close(self) -> None:
        """Release the index and stop reading processes; calling it twice is fine."""
        self.qa.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def similarity_search(
        self,
        query: Any,  # text, {"text", "image"}, a message or content blocks
        k: int = 4,
        *,
        filter: Filter | None = None,
        budget: BudgetInput = None,
        exact: bool = False,
        channels: Sequence[str] = stores.CHANNELS,
        images: bool | None = None,
    ) -> list[Document]:
        """Return the best `k`, best first.

        Args:
            query: text, ``{"text", "image"}``, a message or content blocks.
            k: at least 1.
            filter: ``{"file_name": "a.pdf"}``, ``{"page": {"$gte": 3}}``, ``$in $and $or $not`` ...
            budget: rows used on each side; None: the store's.
            exact: score every document instead of the survivors of a first stage.
            channels: ``("vectors", "text")`` or one of them.
            images: whether documents carry ``image_path``; None: as the store does.

        Raises:
            ValueError: an empty query, `k` below 1, an unknown filter operator.
            UnsupportedInputError: an image for embeddings that see none.
        """
        options = {"filter": filter, "exact": exact, "channels": channels}
        return self._documents(self._rank(query, k, budget=budget, **options), images)

    def similarity_search_with_score(
        self, query: Any, k: int = 4, *, images: bool | None = None, **options: Any
    ) -> Scores:
        """Return the best `k` with their scores, larger is better; options as in `similarity_search`."""
        return self._score_pairs(self._rank(query, k, **options), images)

    def similarity_search_by_image(self, uri: Any, k: int = 4, **options: Any) -> list[Document]:
        """Return the best `k` for an image alone; options as in `similarity_search`."""
        return self.similarity_search(text_image_query(None, uri), k, **options)

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: Filter | None = None,
        budget: BudgetInput = None,
        images: bool | None = None,
    ) -> list[Document]:
        """Return the best `k` for a vector of `embeddings`; without words, vectors alone search."""
        hits = stores.search_vector(self.qa.index, embedding, k, self._budget(budget), filter)
        return self._documents(hits, images)

    async def asimilarity_search(
        self, query: Any, k: int = 4, *, images: bool | None = None, **options: Any
    ) -> list[Document]:
        """Run `similarity_search` without blocking the event loop."""
        return await asyncio.to_thread(self._documents, await self._arank(query, k, **options), images)

    async def asimilarity_search_with_score(
        self, query: Any, k: int = 4, *, images: bool | None = None, **options: Any
    ) -> Scores:
        """Run `similarity_search_with_score` without blocking the event loop."""
        return await asyncio.to_thread(self._score_pairs, await self._arank(query, k, **options), images)

    async def asimilarity_search_by_image(self, uri: Any, k: int = 4, **options: Any) -> list[Document]:
        """Run `similarity_search_by_image` without blocking the event loop."""
        question = await asyncio.to_thread(text_image_query, None, uri)  # it decodes the image
        return await self.asimilarity_search(question, k, **options)

    # ---- helpers ----

    def _rank(self, query: Any, k: int, *, budget: BudgetInput = None, **options: Any) -> Ranking:
        return self.qa.retriever.search(as_query(query, self.qa), k=k, budget=self._budget(budget), **options)

    async def _arank(self, query: Any, k: int, *, budget: BudgetInput = None, **options: Any) -> Ranking:
        question = await asyncio.to_thread(as_query, query, self.qa)  # may decode an image
        return await self.qa.retriever.asearch(question, k=k, budget=self._budget(budget), **options)

    def _budget(self, budget: BudgetInput) -> Budget | None:
        return self.budget if budget is None else as_budget(budget)

    def _documents(self, items: Iterable[Candidate | Record], images: bool | None) -> list[Document]:
        records = [item.record if isinstance(item, Candidate) else item for item in items]
        return to_documents(self.qa, records, images=self.images if images is None else images)

    def _score_pairs(self, ranking: Ranking, images: bool | None) -> Scores:
        scores = [candidate.score for candidate in ranking]
        return list(zip(self._documents(ranking, images), scores, strict=True))
