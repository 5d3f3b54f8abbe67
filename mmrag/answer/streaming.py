"""Answers in pieces, from answerers that stream and from those that do not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from mmrag.answer import Answerer
from mmrag.tracing.spans import Span, apieces, pieces, span
from mmrag.types import Answer, Query, Ranking


@runtime_checkable
class StreamingAnswerer(Protocol):
    """An answerer that gives its text in pieces as it comes, and the `Answer` last."""

    def stream(self, query: Query, ranking: Ranking) -> Iterator[str | Answer]:
        """Yield the pieces of the text, then the answer."""
        ...

    def astream(self, query: Query, ranking: Ranking) -> AsyncIterator[str | Answer]:
        """Yield as `stream` does, without blocking the event loop."""
        ...


def write_answer(answerer: Answerer, query: Query, ranking: Ranking) -> Answer:
    """Return the answerer's answer; its time is a span of its own."""
    with span("mmrag.answer", "CHAIN") as trace:
        trace.question(query)
        return trace.answer(answerer.answer(query, ranking))


async def awrite_answer(answerer: Answerer, query: Query, ranking: Ranking) -> Answer:
    """Return the answerer's answer without blocking the event loop; see `write_answer`."""
    with span("mmrag.answer", "CHAIN") as trace:
        trace.question(query)
        return trace.answer(await answerer.aanswer(query, ranking))


def answer_pieces(answerer: Answerer, query: Query, ranking: Ranking) -> Iterator[str | Answer]:
    """Yield an answer's text in pieces, then the answer; in one piece if the answerer cannot stream."""

    def make(trace: Span) -> Iterator[str | Answer]:
        trace.question(query)
        if not isinstance(answerer, StreamingAnswerer):
            answer = trace.answer(answerer.answer(query, ranking))
            yield from (answer.text, answer)
            return
        for piece in answerer.stream(query, ranking):
            yield trace.answer(piece) if isinstance(piece, Answer) else piece

    yield from pieces("mmrag.answer", "CHAIN", make)


async def apieces_of_answer(
    answerer: Answerer, query: Query, ranking: Ranking
) -> AsyncGenerator[str | Answer, None]:
    """Yield as `answer_pieces` does, without blocking the event loop."""

    async def make(trace: Span) -> AsyncIterator[str | Answer]:
        trace.question(query)
        if not isinstance(answerer, StreamingAnswerer):
            answer = trace.answer(await answerer.aanswer(query, ranking))
            yield answer.text
            yield answer
            return
        async for piece in answerer.astream(query, ranking):
            yield trace.answer(piece) if isinstance(piece, Answer) else piece

    async with aclosing(apieces("mmrag.answer", "CHAIN", make)) as items:
        async for piece in items:
            yield piece
