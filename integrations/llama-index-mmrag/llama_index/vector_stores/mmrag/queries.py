"""LlamaIndex's `VectorStoreQuery` in mmrag's words: which channels search, and under which filter."""

from __future__ import annotations

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index.readers.mmrag.records import NODE_ID
from llama_index.vector_stores.mmrag.filters import to_filter
from mmrag.index import Filter

CHANNELS_OF = {
    VectorStoreQueryMode.DEFAULT: ("vectors", "text"),
    VectorStoreQueryMode.HYBRID: ("vectors", "text"),
    VectorStoreQueryMode.TEXT_SEARCH: ("text",),
    VectorStoreQueryMode.SPARSE: ("text",),
}
"""What each mode of a query searches."""


def query_filter(query: VectorStoreQuery) -> Filter | None:
    """Return the one filter that a query's filters, ``doc_ids`` and ``node_ids`` make together."""
    parts = [to_filter(query.filters)]
    if query.doc_ids:
        parts.append({"doc_id": {"$in": list(query.doc_ids)}})
    if query.node_ids:
        parts.append({NODE_ID: {"$in": list(query.node_ids)}})
    conditions = [part for part in parts if part is not None]
    return {"$and": conditions} if conditions else None


def query_channels(query: VectorStoreQuery) -> tuple[str, ...]:
    """Return the channels that a query's mode searches.

    Raises:
        ValueError: a mode that mmrag does not have.
    """
    if query.mode not in CHANNELS_OF:
        raise ValueError(
            f"the query mode must be default, hybrid, text_search or sparse, got {query.mode.value!r}."
        )
    return CHANNELS_OF[query.mode]
