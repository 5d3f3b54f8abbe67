"""Reranking: a second, slower look at the first few candidates.

From the bottom up: `protocol` and `ordering` (verdicts to a ranking); `page_text`, `request` and `response`
(pure functions); `context_fit`, `yesno` and `traces`, which the modes share; the modes `pointwise`,
`listwise`, `identifiers`, `likelihood`, `ecrr` and `served`; `modes`, their registry; `reranker`, which runs
a mode against a server. `local` is the reranker without a server, `stage` reranking as a step of a search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrag.rerank.protocol import Reranker

if TYPE_CHECKING:
    from mmrag.rerank.reranker import ThinkReranker

__all__ = ["Reranker", "ThinkReranker"]


def __getattr__(name: str) -> object:
    """Load `ThinkReranker`, and httpx with it, on first access."""
    if name == "ThinkReranker":
        from mmrag.rerank.reranker import ThinkReranker

        return ThinkReranker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
