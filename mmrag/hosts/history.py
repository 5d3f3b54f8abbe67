"""A host's question with the messages before it, as the question that is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mmrag.types import Query

if TYPE_CHECKING:
    from mmrag.conversation.rewriting import StandaloneQuestion
    from mmrag.pipeline import DocumentQA

Turns = Sequence[tuple[str, str]]
"""``(role, text)`` of messages, oldest first; roles are ``"user"`` and ``"assistant"``."""


def standalone_query(qa: DocumentQA, query: Query, turns: Turns) -> Query:
    """Return the question as it is searched after these messages, as `mmrag.DocumentQA.chat` rewrites it.

    A question without words, or without messages before it, stays as it is.

    Raises:
        ServerError: the rewriter's server failed.
    """
    if not turns or not query.text:
        return query
    chat = qa.chat(_messages(turns))
    return _with_text(query, chat.rewriter.rewrite(query.text, chat.messages))


async def astandalone_query(qa: DocumentQA, query: Query, turns: Turns) -> Query:
    """Run `standalone_query` without blocking the event loop."""
    if not turns or not query.text:
        return query
    chat = qa.chat(_messages(turns))
    return _with_text(query, await chat.rewriter.arewrite(query.text, chat.messages))


def _messages(turns: Turns) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


def _with_text(query: Query, standalone: StandaloneQuestion) -> Query:
    if standalone.text == query.text:
        return query
    return replace(query, text=standalone.text, parts=())
