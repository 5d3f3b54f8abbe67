"""Reranking: a second, slower look at the first few candidates."""

from mmrag.rerank.base import Reranker

__all__ = ["Reranker"]
