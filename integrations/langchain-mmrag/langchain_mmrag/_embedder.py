"""The embedder of the core that a store or retriever encodes with."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings
from mmrag import Embedder, load_embedder
from mmrag.hosts.embedders import HostEmbedder, is_embedder

from langchain_mmrag.embeddings import MMRagEmbeddings


def as_embedder(embedding: Embeddings | Embedder | None) -> Embedder:
    """Return the embedder behind embeddings of either side; None is the default of mmrag.

    Raises:
        TypeError: it is an embedder of neither side.
    """
    if embedding is None:
        return load_embedder()
    if isinstance(embedding, MMRagEmbeddings):
        return embedding.embedder
    if isinstance(embedding, Embeddings):
        return HostEmbedder(embedding)
    if is_embedder(embedding):
        return embedding
    raise TypeError(
        f"embedding must be LangChain Embeddings or an mmrag Embedder, got {type(embedding).__name__}. "
        "Pass MMRagEmbeddings(); a folder goes to persist_directory."
    )
