"""Reranking as a stage of a search: which reranker, how many candidates it judges, what follows them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakKeyDictionary

from mmrag.errors import check_whole
from mmrag.forks import new_lock
from mmrag.images import Render, ShowsPages, with_page_renderer
from mmrag.rerank.ordering import append_rest
from mmrag.rerank.protocol import Reranker, ThinkingReranker
from mmrag.tracing.spans import span
from mmrag.types import Ranking, Usage

DEFAULT_DEPTH = 10
"""Candidates that are judged by default; each costs the same again."""


def load_reranker(reranker: Reranker | str | None, replies: Path | None = None) -> Reranker | None:
    """Return a reranker as a caller may name it.

    Args:
        reranker: a reranker; ``"local"`` for the cross-encoder in process; the URL of a server, whose model
            then judges pointwise; None for none.
        replies: folder for the replies of a server that is named by its URL. None keeps none.

    Raises:
        ValueError: any other string.
        TypeError: an object without ``rerank``.
    """
    if isinstance(reranker, str):
        if reranker == "local":
            from mmrag.rerank.local import LocalReranker

            return LocalReranker(depth=None)  # the stage says how many
        if reranker.startswith(("http://", "https://")):
            from mmrag.rerank.reranker import ThinkReranker

            return ThinkReranker(reranker, cache=replies)
        raise ValueError(f"a reranker must be an object, 'local' or the URL of a server, got {reranker!r}.")
    if reranker is not None and not isinstance(reranker, Reranker):
        raise TypeError(f"a reranker must have rerank and arerank, got {type(reranker).__name__}.")
    return reranker


def judge(
    reranker: Reranker, ranking: Ranking, top_n: int | None = None, think_tokens: int | None = None
) -> Ranking:
    """Return what a reranker makes of a ranking; its time is a span of its own.

    Args:
        reranker: judges every candidate.
        ranking: in its prior order.
        top_n: most candidates that come back; None: all.
        think_tokens: for rerankers that can think. None: their own setting.
    """
    with span("mmrag.rerank", "RERANKER") as trace:
        trace.candidates(ranking, model_label(reranker), top_n)
        if think_tokens is not None and isinstance(reranker, ThinkingReranker):
            return trace.reranking(reranker.rerank(ranking, top_n=top_n, think_tokens=think_tokens))
        return trace.reranking(reranker.rerank(ranking, top_n=top_n))


async def ajudge(
    reranker: Reranker, ranking: Ranking, top_n: int | None = None, think_tokens: int | None = None
) -> Ranking:
    """Await the reranker's own async method; else as `judge`."""
    with span("mmrag.rerank", "RERANKER") as trace:
        trace.candidates(ranking, model_label(reranker), top_n)
        if think_tokens is not None and isinstance(reranker, ThinkingReranker):
            return trace.reranking(await reranker.arerank(ranking, top_n=top_n, think_tokens=think_tokens))
        return trace.reranking(await reranker.arerank(ranking, top_n=top_n))


def model_label(reranker: Reranker) -> str:
    """Return a name of the model that judges, for people: the server's, the weights', or the class."""
    client, weights = getattr(reranker, "client", None), getattr(reranker, "model_dir", None)
    name = getattr(client, "known_model", None) or (weights and Path(weights).name)
    return str(name or getattr(reranker, "name", None) or type(reranker).__name__)


def writable_folder(index: Path, name: str) -> Path | None:
    """Return the folder of this name in an index's folder, or None if that cannot be written to."""
    return index / name if os.access(index, os.W_OK) else None


@dataclass(frozen=True, slots=True)
class RerankStep:
    """Reranking of one search.

    Attributes:
        reranker: judges the candidates; None leaves them in their order.
        depth: candidates that are judged.
        think_tokens: most tokens of the reranker's thought per judgement. None: its own setting.

    Raises:
        ValueError: `think_tokens` is no count, or the reranker cannot think.
    """

    reranker: Reranker | None = None
    depth: int = DEFAULT_DEPTH
    think_tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse tokens for thoughts that nothing thinks; None and 0 ask for no thought."""
        check_whole("rerank_depth", self.depth)
        if self.think_tokens is None:
            return
        check_whole("think_tokens", self.think_tokens, 0)
        if self.think_tokens and not isinstance(self.reranker, ThinkingReranker):
            kind = "no reranker" if self.reranker is None else f"a {type(self.reranker).__name__}"
            raise ValueError(
                f"think_tokens must go with a reranker that can think, got {self.think_tokens} and {kind}. "
                "Pass reranker=ThinkReranker(URL), or leave think_tokens out."
            )

    def pool(self, k: int) -> int:
        """Return how many candidates a search for the best `k` must retrieve."""
        return k if self.reranker is None else max(k, self.depth)

    def apply(self, ranking: Ranking, k: int) -> Ranking:
        """Rerank the first `depth` candidates, append the others, and keep the best `k`.

        ``usage.seconds["rerank"]`` is set even if the reranker counts nothing, and the notes say how many
        candidates were judged. Raises what the reranker raises.
        """
        if self.reranker is None:
            return ranking
        start = time.perf_counter()
        verdicts = judge(self.reranker, self._head(ranking), k, self.think_tokens)
        return self._whole(verdicts, ranking, k, time.perf_counter() - start)

    async def aapply(self, ranking: Ranking, k: int) -> Ranking:
        """Await the reranker's own async method; else as `apply`."""
        if self.reranker is None:
            return ranking
        start = time.perf_counter()
        verdicts = await ajudge(self.reranker, self._head(ranking), k, self.think_tokens)
        return self._whole(verdicts, ranking, k, time.perf_counter() - start)

    def _head(self, ranking: Ranking) -> Ranking:
        return replace(ranking, candidates=ranking.candidates[: self.depth])

    def _whole(self, head: Ranking, ranking: Ranking, k: int, seconds: float) -> Ranking:
        """Append the candidates that were not judged to the reranked `head`."""
        if head.reranked:
            count = min(self.depth, len(ranking))
            head = replace(head, notes=(f"the first {count} candidates were judged", *head.notes))
        if "rerank" not in head.usage.seconds:
            head = replace(head, usage=head.usage + Usage({"rerank": seconds}))
        return append_rest(head, ranking.candidates[self.depth :], top_n=k)


class RerankStage:
    """The rerankers of one index: the default one, and those that searches name.

    A reranker that shows pages to a model and has no renderer gets `render`. It is then prepared once,
    however often it is named, so that it keeps what it has learned of its server.

    Args:
        reranker: of searches that name none; see `load_reranker`.
        depth: candidates that are judged.
        render: draws pages.
        replies: folder for the replies of servers that are named by their URL. None keeps none.

    Raises:
        ValueError: `depth` is not a whole number of at least 1, or the reranker's name is unknown.
        TypeError: the reranker is none.
    """

    def __init__(
        self,
        reranker: Reranker | str | None,
        *,
        depth: int = DEFAULT_DEPTH,
        render: Render,
        replies: Path | None = None,
    ) -> None:
        self.depth = check_whole("rerank_depth", depth)
        self._render = render
        self._replies = replies
        self._by_name: dict[str, Reranker | None] = {}
        self._copies: WeakKeyDictionary[Reranker, Reranker] = WeakKeyDictionary()
        self._lock = new_lock()  # a reranker is prepared once, also if two threads name it at once
        self.default = self.load(reranker)

    def load(self, reranker: Reranker | str | None) -> Reranker | None:
        """Return the reranker that is named, ready to draw pages; raises as `load_reranker` does."""
        with self._lock:
            if isinstance(reranker, str):
                if reranker not in self._by_name:
                    by_name = load_reranker(reranker, self._replies)
                    self._by_name[reranker] = with_page_renderer(by_name, self._render)
                return self._by_name[reranker]
            reranker = load_reranker(reranker)
            if reranker is not None and isinstance(reranker, ShowsPages) and reranker.render is None:
                return self._copy_with_renderer(reranker)
            return reranker

    def _copy_with_renderer(self, reranker: Reranker) -> Reranker:
        try:
            if reranker not in self._copies:
                self._copies[reranker] = with_page_renderer(reranker, self._render)
            return self._copies[reranker]
        except TypeError:  # it cannot be hashed or weakly referenced, so its copy cannot be kept
            return with_page_renderer(reranker, self._render)

    def step(self, rerank: Reranker | str | bool | None, think_tokens: int | None) -> RerankStep:
        """Return the reranking of one search; refused before any work if it is impossible.

        Args:
            rerank: a reranker as `load_reranker` takes it; None or True for the default; False for none.
            think_tokens: see `RerankStep`.

        Raises:
            ValueError: True without a default, or as `RerankStep`.
        """
        if rerank is True and self.default is None:
            raise ValueError(
                "rerank=True must have a reranker to use, got none. Open with reranker='local', or pass one."
            )
        if rerank is False:
            reranker = None
        else:
            reranker = self.default if rerank is None or rerank is True else self.load(rerank)
        return RerankStep(reranker, self.depth, think_tokens)
