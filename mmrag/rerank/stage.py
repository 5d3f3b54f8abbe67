"""Reranking as a step of a search: which reranker, how many candidates it sees, what follows behind them."""

from __future__ import annotations

import inspect
import os
import time
from dataclasses import replace
from pathlib import Path

from mmrag.rerank.ordering import append_rest
from mmrag.rerank.protocol import Reranker
from mmrag.types import Ranking, Usage

DEFAULT_DEPTH = 10
"""Candidates that are judged where nobody says how many; each costs the same again."""


def load_reranker(given: Reranker | str | None, replies: Path | None = None) -> Reranker | None:
    """A reranker as a caller may name it.

    Args:
        given: a reranker; ``"local"`` for the cross-encoder in process; the URL of a server, whose model
            then judges pointwise; None for none.
        replies: folder for the replies of a server that is named by its URL. None keeps none.

    Raises:
        ValueError: any other string.
        TypeError: an object without ``rerank``.
    """
    if isinstance(given, str):
        if given == "local":
            from mmrag.rerank.local import LocalReranker

            return LocalReranker(depth=None)  # `rerank_first` says how many
        if given.startswith(("http://", "https://")):
            from mmrag.rerank.reranker import ThinkReranker

            return ThinkReranker(given, cache=replies)
        raise ValueError(f"a reranker must be an object, 'local' or the URL of a server, got {given!r}.")
    if given is not None and not isinstance(given, Reranker):
        raise TypeError(f"a reranker must have rerank and arerank, got {type(given).__name__}.")
    return given


def beside(index: Path, name: str) -> Path | None:
    """A folder of this name in an index's; None where nothing can be written there."""
    return index / name if os.access(index, os.W_OK) else None


def check_depth(depth: int) -> int:
    """`depth`, where it is a count.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    if not isinstance(depth, int) or isinstance(depth, bool) or depth < 1:
        raise ValueError(f"rerank_depth must be a whole number of at least 1, got {depth!r}.")
    return depth


def check_thinking(reranker: Reranker | None, think_tokens: int | None) -> None:
    """Refuse tokens for a thought where nothing thinks; None and 0 ask for no thought.

    Raises:
        ValueError: there is no reranker, or it cannot think, or `think_tokens` is no count.
    """
    if think_tokens is None:
        return
    if not isinstance(think_tokens, int) or isinstance(think_tokens, bool) or think_tokens < 0:
        raise ValueError(f"think_tokens must be a whole number of at least 0, got {think_tokens!r}.")
    if think_tokens and (reranker is None or not can_think(reranker)):
        what = "no reranker" if reranker is None else f"a {type(reranker).__name__}"
        raise ValueError(
            f"think_tokens must go with a reranker that can think, got {think_tokens} and {what}. "
            "Pass reranker=ThinkReranker(URL), or leave think_tokens out."
        )


def can_think(reranker: Reranker) -> bool:
    """Whether its ``rerank`` takes ``think_tokens``."""
    return "think_tokens" in inspect.signature(reranker.rerank).parameters


def rerank_first(
    reranker: Reranker,
    ranking: Ranking,
    *,
    top_n: int,
    depth: int = DEFAULT_DEPTH,
    think_tokens: int | None = None,
) -> Ranking:
    """The first `depth` candidates judged again, the others behind them, at most `top_n` in all.

    ``usage.seconds["rerank"]`` is there whatever the reranker counts, and the notes say how many were
    judged. Raises what the reranker raises.
    """
    head = replace(ranking, candidates=ranking.candidates[:depth])
    started = time.perf_counter()
    if think_tokens is None or not can_think(reranker):
        judged = reranker.rerank(head, top_n=top_n)
    else:
        judged = reranker.rerank(head, top_n=top_n, think_tokens=think_tokens)  # type: ignore[call-arg]
    return _whole(judged, ranking, depth, top_n, time.perf_counter() - started)


async def arerank_first(
    reranker: Reranker,
    ranking: Ranking,
    *,
    top_n: int,
    depth: int = DEFAULT_DEPTH,
    think_tokens: int | None = None,
) -> Ranking:
    """`rerank_first` without blocking the event loop."""
    head = replace(ranking, candidates=ranking.candidates[:depth])
    started = time.perf_counter()
    if think_tokens is None or not can_think(reranker):
        judged = await reranker.arerank(head, top_n=top_n)
    else:
        judged = await reranker.arerank(head, top_n=top_n, think_tokens=think_tokens)  # type: ignore[call-arg]
    return _whole(judged, ranking, depth, top_n, time.perf_counter() - started)


def _whole(judged: Ranking, ranking: Ranking, depth: int, top_n: int, seconds: float) -> Ranking:
    if judged.reranked:
        seen = f"the first {min(depth, len(ranking))} candidates were judged"
        judged = replace(judged, notes=(seen, *judged.notes))
    if "rerank" not in judged.usage.seconds:
        judged = replace(judged, usage=judged.usage + Usage({"rerank": seconds}))
    return append_rest(judged, ranking.candidates[depth:], top_n=top_n)
