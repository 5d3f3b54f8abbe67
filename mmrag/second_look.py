"""Look again: where no page was judged to answer, a served model asks the index in other words.

The model rewrites the question or splits it (`mmrag.conversation.reformulation`); each query is searched
once, the lists are fused by reciprocal ranks with the first one, and the reranker judges the best of them for
the question as it was asked. That is one request to the model, at most N searches and one more reranking,
whatever they find: no loop.

NVIDIA's NeMo Retriever lets an agent search again as often as it likes and reports 69.2 nDCG@10 on ViDoRe v3
instead of 64.4 (March 2026); this is the smallest step of that kind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmrag.conversation.reformulation import PROMPT, query_requests
from mmrag.conversation.rewriting import PROMPTS
from mmrag.errors import ServerError
from mmrag.rerank.page_text import PageText
from mmrag.rerank.protocol import DecidingReranker
from mmrag.rerank.stage import RerankStep
from mmrag.retriever import Retriever
from mmrag.scoring import reciprocal_ranks
from mmrag.search_request import SearchRequest
from mmrag.serving.actions import Actions, arun, run
from mmrag.serving.client import ServerClient
from mmrag.serving.requests import Batch, ReplyCache, Runner
from mmrag.tracing.spans import span
from mmrag.types import Candidate, Query, Ranking, Usage

PASSAGES = 3
"""Pages that the model is shown a passage of, so that it knows the documents' words."""
PASSAGE_CHARS = 400
STAGE = "reciprocal_rank"
"""Key of `Candidate.scores` for the score of the fused lists."""


class SecondLook:
    """The second look of one search.

    Args:
        most: queries at most, at least 1.
        step: the reranking of the search; its verdicts say whether the evidence is weak.
        retriever: searches.
        parts: answerer and reranker; the first that has a chat server writes the queries.
        replies: folder for the server's replies. None keeps none.

    Raises:
        ValueError: no reranker whose verdicts say yes or no, or no chat server.
    """

    def __init__(
        self,
        most: int,
        step: RerankStep,
        retriever: Retriever,
        parts: Sequence[object],
        replies: Path | None = None,
    ) -> None:
        reranker: object = step.reranker
        threshold = reranker.threshold if isinstance(reranker, DecidingReranker) else None
        if threshold is None:
            name = "none" if reranker is None else getattr(reranker, "mode", type(reranker).__name__)
            raise ValueError(
                f"look_again must have a reranker whose verdicts say yes or no, got {name}. "
                "Use 'local', or a server by pointwise, ecrr, qar or likelihood."
            )
        client = _chat_client(parts)
        if client is None:
            raise ValueError(
                "look_again must have a server whose model writes queries, got none. "
                "Pass a ServedAnswerer, or a reranker at the URL of a chat server."
            )
        self.most = most
        self.threshold = threshold
        self._step = step
        self._retriever = retriever
        self._runner = Runner(
            client, None if replies is None else ReplyCache(replies), PROMPTS.digest([PROMPT])
        )

    def improve(self, request: SearchRequest, ranking: Ranking, first: Ranking, k: int) -> Ranking:
        """Return `first`, or what a second look finds if its evidence is weak; notes tell what was asked.

        Args:
            request: of the first search.
            ranking: what it found, not reranked.
            first: the same, reranked.
            k: most candidates.

        Raises:
            ServerError: the model's server failed, or the reranker's.
        """
        if not self.is_weak(first):
            return first
        with span("mmrag.look_again", "CHAIN") as trace:
            trace.question(request.query)
            return trace.ranking(run(self._improve(request, ranking, first, k)))

    async def aimprove(self, request: SearchRequest, ranking: Ranking, first: Ranking, k: int) -> Ranking:
        """Run `improve` without blocking the event loop."""
        if not self.is_weak(first):
            return first
        with span("mmrag.look_again", "CHAIN") as trace:
            trace.question(request.query)
            return trace.ranking(await arun(self._improve(request, ranking, first, k)))

    def is_weak(self, ranking: Ranking) -> bool:
        """Decide whether a reranked ranking has no page that was judged to help; also one without pages."""
        scores = [candidate.verdict.score for candidate in ranking if candidate.verdict is not None]
        if not scores:
            return not ranking.candidates
        return max(scores) < self.threshold

    def _improve(self, request: SearchRequest, ranking: Ranking, first: Ranking, k: int) -> Actions[Ranking]:
        question = (request.query.text or "").strip()
        if not question:
            return _with_note(first, "not looked again: the question has no words")
        passages = [PageText(candidate).cut(question, PASSAGE_CHARS) for candidate in first[:PASSAGES]]
        ((queries, usage),) = yield Batch(self._runner, [query_requests(question, passages, self.most)])
        if isinstance(queries, ServerError):
            raise queries
        usage = replace(usage, seconds={})  # they are of the search
        if not queries:
            return _with_note(first, "not looked again: the model has no other words for it", usage)
        rankings = [ranking]
        for query in queries:
            further = replace(request, query=Query(text=query, instruction=request.query.instruction))
            search, asearch = self._retriever.run, self._retriever.arun
            rankings.append((yield _Twins(partial(search, further), partial(asearch, further))))
        pool = fuse_rankings(rankings, request.k)
        apply, aapply = self._step.apply, self._step.aapply
        second: Ranking = yield _Twins(partial(apply, pool, k), partial(aapply, pool, k))
        usage += first.usage
        words = ", ".join(repr(query) for query in queries)
        if not second.reranked:
            note = f"looked again for {words}, in vain: {second.why_not}"
            return _with_note(replace(first, usage=Usage()), note, usage + second.usage)
        note = f"no page was judged to help: looked again for {words}"
        return _with_note(second, note, usage)


def fuse_rankings(rankings: Sequence[Ranking], k: int) -> Ranking:
    """Return the best `k` candidates of several rankings by reciprocal ranks, for the first one's query.

    A candidate keeps the scores of the first ranking that has it.
    """
    scores = reciprocal_ranks([[candidate.id for candidate in ranking] for ranking in rankings])
    by_id: dict[str, Candidate] = {}
    for ranking in rankings:
        for candidate in ranking:
            by_id.setdefault(candidate.id, candidate)
    ids = sorted(scores, key=lambda id: (-scores[id], id))[:k]
    candidates = tuple(
        replace(by_id[id], score=scores[id], rank=rank, scores={**by_id[id].scores, STAGE: scores[id]})
        for rank, id in enumerate(ids, start=1)
    )
    return replace(rankings[0], candidates=candidates)


def _with_note(ranking: Ranking, note: str, usage: Usage | None = None) -> Ranking:
    return replace(ranking, notes=(*ranking.notes, note), usage=ranking.usage + (usage or Usage()))


def _chat_client(parts: Sequence[object]) -> ServerClient | None:
    """Return the client of the first part that talks to a chat server."""
    for part in parts:
        client = getattr(part, "client", None)
        if isinstance(client, ServerClient) and getattr(part, "mode", "") != "served":
            return client
    return None


@dataclass(frozen=True, slots=True)
class _Twins:
    """One action that has a blocking function and an async one."""

    function: Callable[[], Any]
    coroutine: Callable[[], Awaitable[Any]]

    def run(self, stack: ExitStack) -> Any:  # noqa: ANN401  the function's
        """Call the function."""
        return self.function()

    async def arun(self, stack: AsyncExitStack) -> Any:  # noqa: ANN401
        """Await the coroutine."""
        return await self.coroutine()
