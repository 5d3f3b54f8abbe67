"""mmrag's embedders for LlamaIndex."""

from llama_index.embeddings.mmrag.base import MMRagEmbedding

__all__ = ["MMRagEmbedding"]
