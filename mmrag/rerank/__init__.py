"""Reranking: a second, slower look at the first few candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrag.rerank.protocol import Reranker

if TYPE_CHECKING:
    from mmrag.rerank.reranker import ThinkReranker

__all__ = ["Reranker", "ThinkReranker"]


def __getattr__(name: str) -> object:
    """Load `ThinkReranker`, and httpx with it, when it is first asked for."""
    if name == "ThinkReranker":
        from mmrag.rerank.reranker import ThinkReranker

        return ThinkReranker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
