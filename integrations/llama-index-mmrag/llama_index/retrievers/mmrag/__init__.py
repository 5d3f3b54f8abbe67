"""mmrag's retriever for LlamaIndex."""

from llama_index.retrievers.mmrag.base import MMRagRetriever

__all__ = ["MMRagRetriever"]
