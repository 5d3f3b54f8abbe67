"""mmrag's indexes for LlamaIndex."""

from llama_index.vector_stores.mmrag.base import MMRagVectorStore

__all__ = ["MMRagVectorStore"]
