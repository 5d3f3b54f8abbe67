"""Search and ask."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from mmrag.apps.faults import describe
from mmrag.apps.results import AnswerModel, AskBody, RankingModel, SearchBody
from mmrag.apps.scope import Scope, ScopeOf
from mmrag.conversation.chat import Chat
from mmrag.pipeline import DocumentQA
from mmrag.types import Answer

router = APIRouter(prefix="/api/collections/{collection}", tags=["search"])


@router.post("/search")
async def search(body: SearchBody, scope: ScopeOf) -> RankingModel:
    """Rank the pages for a question."""
    ranking = await scope.server.within_time(
        scope.qa.asearch(
            body.question,
            filter=scope.filter(body.filter),
            channels=body.channels,
            group_by=body.group_by,
            **body.options(),
        )
    )
    return RankingModel.of(ranking, scope.base)


@router.post("/ask", response_model=AnswerModel, responses={200: {"content": {"text/event-stream": {}}}})
async def ask(body: AskBody, scope: ScopeOf) -> Any:  # noqa: ANN401  a model, or a stream of events
    """Answer a question from the documents, with the places that prove it.

    With ``"stream": true`` the answer is server-sent events: ``piece`` (``{"text": ...}``) as the text comes,
    then ``answer`` (as without it), or ``error``.
    """
    if body.stream:
        return StreamingResponse(_events(body, scope), media_type="text/event-stream")
    answer = await scope.server.within_time(
        _asks(body, scope).aask(body.question, evidence=False, **_options(body, scope))
    )
    return AnswerModel.of(answer, scope.base)


def _asks(body: AskBody, scope: Scope) -> DocumentQA | Chat:
    """Return what answers: the collection, or a chat that goes on from the history."""
    history = [message.model_dump(exclude_defaults=True) for message in body.history]
    return scope.qa.chat(history) if history else scope.qa


def _options(body: AskBody, scope: Scope) -> dict[str, Any]:
    return {"filter": scope.filter(body.filter), **body.options()}


async def _events(body: AskBody, scope: Scope) -> AsyncIterator[str]:
    """Yield an answer as server-sent events, each within the time of a request."""
    pieces = _asks(body, scope).astream(body.question, evidence=False, **_options(body, scope))
    try:
        while True:
            piece = await scope.server.within_time(anext(pieces, None))
            if piece is None:
                return
            if isinstance(piece, Answer):
                yield _event("answer", AnswerModel.of(piece, scope.base).model_dump(mode="json"))
            else:
                yield _event("piece", {"text": piece})
    except Exception as error:  # noqa: BLE001  the status has been sent: the error is an event
        yield _event("error", describe(error)[1]["error"])
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()  # a caller who has gone stops the answerer


def _event(name: str, data: Any) -> str:  # noqa: ANN401  JSON
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
