"""Answers in pieces, from answerers that stream and from those that do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Protocol, runtime_checkable

from mmrag.answer import Answerer
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


def pieces(answerer: Answerer, query: Query, ranking: Ranking) -> Iterator[str | Answer]:
    """Yield an answer's text in pieces, then the answer; in one piece if the answerer cannot stream."""
    if isinstance(answerer, StreamingAnswerer):
        yield from answerer.stream(query, ranking)
    else:
        answer = answerer.answer(query, ranking)
        yield answer.text
        yield answer


async def apieces(answerer: Answerer, query: Query, ranking: Ranking) -> AsyncIterator[str | Answer]:
    """Yield as `pieces` does, without blocking the event loop."""
    if isinstance(answerer, StreamingAnswerer):
        async for piece in answerer.astream(query, ranking):
            yield piece
    else:
        answer = await answerer.aanswer(query, ranking)
        yield answer.text
        yield answer
