"""mmrag's rerankers for LlamaIndex."""

from llama_index.postprocessor.mmrag.base import MMRagThinkRerank

__all__ = ["MMRagThinkRerank"]
