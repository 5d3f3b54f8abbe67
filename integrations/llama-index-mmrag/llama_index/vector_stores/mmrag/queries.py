"""LlamaIndex's `VectorStoreQuery` in mmrag's words: what is searched, how many, under which filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index.readers.mmrag.records import NODE_ID
from llama_index.vector_stores.mmrag.filters import to_filter
from mmrag import Budget, DocumentQA
from mmrag.hosts import stores
from mmrag.hosts.deletion import id_list
from mmrag.index import Filter, Index
from mmrag.types import Candidate

CHANNELS_OF = {
    VectorStoreQueryMode.DEFAULT: ("vectors", "text"),
    VectorStoreQueryMode.HYBRID: ("vectors", "text"),
    VectorStoreQueryMode.MMR: ("vectors", "text"),
    VectorStoreQueryMode.TEXT_SEARCH: ("text",),
    VectorStoreQueryMode.SPARSE: ("text",),
}
"""What each mode of a query searches."""

Scored = list[tuple[Candidate, float]]


def query_filter(query: VectorStoreQuery, index: Index) -> Filter | None:
    """Return the one filter that a query's filters, ``doc_ids`` and ``node_ids`` make together."""
    parts = [to_filter(query.filters, index)]
    if query.doc_ids:
        parts.append({"doc_id": {"$in": id_list(query.doc_ids)}})
    if query.node_ids:
        parts.append({NODE_ID: {"$in": id_list(query.node_ids)}})
    conditions = [part for part in parts if part is not None]
    return {"$and": conditions} if conditions else None


def is_filter_alone(query: VectorStoreQuery) -> bool:
    """Return whether a query has conditions and no question."""
    has_question = bool((query.query_str or "").strip()) or query.query_embedding is not None
    return not has_question and bool(query.filters or query.doc_ids or query.node_ids)


def search(qa: DocumentQA, query: VectorStoreQuery, budget: Budget | None, options: dict[str, Any]) -> Scored:
    """Return the best candidates for a query, each with its score in the query's mode.

    Args:
        qa: the store.
        query: a question of words, of a vector or of both.
        budget: rows used on each side.
        options: for the mode ``mmr``: ``mmr_threshold`` (0: as different as can be, 1: the best),
            ``mmr_prefetch_k`` or ``mmr_prefetch_factor``, as LlamaIndex's retriever passes them.

    Raises:
        ValueError: no question, a number of nodes below 1, a mode that mmrag does not have, or
            ``mmr_prefetch_k`` and ``mmr_prefetch_factor`` both.
        IndexMismatchError: another model made the query's vector.
    """
    if query.mode not in CHANNELS_OF:
        known = ", ".join(mode.value for mode in CHANNELS_OF)
        raise ValueError(f"the query mode must be {known}, got {query.mode.value!r}.")
    channels, text = CHANNELS_OF[query.mode], (query.query_str or "").strip()
    k = _most(query)
    is_diverse = query.mode == VectorStoreQueryMode.MMR
    ranking = stores.search_text_or_vector(
        qa,
        text,
        query.query_embedding if "vectors" in channels else None,
        k=_pool(query, k, options),
        budget=budget,
        filter=query_filter(query, qa.index),
        channels=channels,
        alpha=query.alpha,
    )
    if is_diverse:
        return _diverse(qa, query, ranking, k, options)
    if query.mode == VectorStoreQueryMode.HYBRID and query.sparse_top_k is not None:
        ranking = stores.restrict_pool(ranking, vectors=query.similarity_top_k, words=query.sparse_top_k)
    return [(candidate, candidate.score) for candidate in ranking[:k]]


def _most(query: VectorStoreQuery) -> int:
    """Return how many nodes a query asks for."""
    k: int | None = None
    if query.mode == VectorStoreQueryMode.HYBRID:
        k = query.hybrid_top_k
    elif CHANNELS_OF[query.mode] == ("text",):
        k = query.sparse_top_k
    return stores.check_k(query.similarity_top_k if k is None else k)


def _pool(query: VectorStoreQuery, k: int, options: dict[str, Any]) -> int:
    """Return how many candidates a query's mode chooses from."""
    if query.mode == VectorStoreQueryMode.MMR:
        pool, factor = options.get("mmr_prefetch_k"), options.get("mmr_prefetch_factor")
        if pool is not None and factor is not None:
            raise ValueError(
                f"one of mmr_prefetch_k and mmr_prefetch_factor may be given, got {pool!r} and {factor!r}. "
                "Leave one out."
            )
        return max(k, int(pool or (factor or stores.DIVERSE_FACTOR) * k))
    if query.mode == VectorStoreQueryMode.HYBRID and query.sparse_top_k is not None:
        return max(k, stores.HYBRID_POOL)
    return k


def _diverse(
    qa: DocumentQA, query: VectorStoreQuery, ranking: Sequence[Candidate], k: int, options: dict[str, Any]
) -> Scored:
    """Choose those that differ, by LlamaIndex's own rule over first vectors."""
    records, vectors = stores.single_vectors(qa.index, [candidate.id for candidate in ranking])
    if not records:
        return []
    vector = query.query_embedding
    if vector is None:
        vector = qa.embedder.encode_query([query.query_str or ""])[0][0].tolist()
    similarities, ids = get_top_k_mmr_embeddings(
        vector,
        [one.tolist() for one in vectors],
        similarity_top_k=min(k, len(records)),
        embedding_ids=[record.id for record in records],
        mmr_threshold=options.get("mmr_threshold"),
    )
    by_id = {candidate.id: candidate for candidate in ranking}
    return [(by_id[id], float(score)) for id, score in zip(ids, similarities, strict=True)]
