"""Answers that cite pages and boxes, for LlamaIndex."""

from llama_index.query_engine.mmrag.base import MMRagCitationQueryEngine
from llama_index.query_engine.mmrag.responses import cited_nodes
from llama_index.query_engine.mmrag.sources import evidence_picture

__all__ = ["MMRagCitationQueryEngine", "cited_nodes", "evidence_picture"]
