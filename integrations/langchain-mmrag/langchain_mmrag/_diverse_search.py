"""The host's search methods beyond the best `k`: maximal marginal relevance, and scores of 0..1."""

# The host lets unknown keyword arguments pass; here they are refused.
# mypy: disable-error-code="override"
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from mmrag.hosts import stores
from mmrag.types import Candidate

from langchain_mmrag._documents import as_query
from langchain_mmrag._search import BudgetInput, Scores, StoreSearch

if TYPE_CHECKING:
    from mmrag.index import Filter


class DiverseStoreSearch(StoreSearch):
    """Searches that select or rescale what `StoreSearch` returns."""

    def max_marginal_relevance_search(
        self,
        query: Any,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        images: bool | None = None,
        **options: Any,
    ) -> list[Document]:
        """Return `k` of the best `fetch_k` that differ; the host's selection over first vectors."""
        question = as_query(query, self.qa)
        ranking = self._rank(question, max(stores.check_k(k), fetch_k), **options)
        vector = self.qa.embedder.encode_query([question])[0][0]
        return self._diverse(vector, ranking, k, lambda_mult, images)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        budget: BudgetInput = None,
        images: bool | None = None,
    ) -> list[Document]:
        """Select as `max_marginal_relevance_search` does, for a vector of `embeddings`."""
        depth = max(stores.check_k(k), fetch_k)
        hits = stores.search_vector(self.qa.index, embedding, depth, self._budget(budget), filter)
        return self._diverse(embedding, hits, k, lambda_mult, images)

    def _similarity_search_with_relevance_scores(self, query: Any, k: int = 4, **options: Any) -> Scores:
        """Search by vectors alone; scores are cosines, cut to 0..1."""
        cosines = stores.cosine_options(self.qa.embedder, self._budget(options.get("budget")))
        return _clip_scores(self.similarity_search_with_score(query, k, **{**options, **cosines}))

    async def _asimilarity_search_with_relevance_scores(
        self, query: Any, k: int = 4, **options: Any
    ) -> Scores:
        cosines = stores.cosine_options(self.qa.embedder, self._budget(options.get("budget")))
        return _clip_scores(await self.asimilarity_search_with_score(query, k, **{**options, **cosines}))

    def _diverse(
        self, vector: Any, hits: Iterable[Candidate], k: int, lambda_mult: float, images: bool | None
    ) -> list[Document]:
        records, vectors = stores.single_vectors(self.qa.index, [hit.id for hit in hits])
        query = np.asarray(vector, dtype=np.float32)
        rows: list[Any] = list(vectors)  # the host's type says lists; it takes arrays
        best = maximal_marginal_relevance(query, rows, lambda_mult, k) if rows else []
        return self._documents([records[position] for position in best], images)


def _clip_scores(pairs: Scores) -> Scores:
    return [(document, min(max(score, 0.0), 1.0)) for document, score in pairs]
