"""Records of the core as documents of the host; the host's documents and questions for the core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, convert_to_messages
from mmrag import DocumentQA
from mmrag.hosts import inputs
from mmrag.hosts.items import HostItem, text_or_note, without_note
from mmrag.hosts.metadata import (
    PAGE_ID,
    RELEVANCE_SCORE,
    RETRIEVAL_SCORE,
    caller_lists,
    candidate_scores,
    flat_metadata,
)
from mmrag.hosts.pages import picture_decoder
from mmrag.hosts.stores import page_image
from mmrag.types import Box, Candidate, Query, Record

from langchain_mmrag._scores import document_scores, set_scores

QUESTION_KEYS = ("query", "question", "input")
"""Keys under which a chain may carry the question; the first that is there counts."""


def to_documents(
    qa: DocumentQA,
    items: Iterable[Candidate | Record],
    *,
    images: bool,
    boxes: Mapping[str, Sequence[Box]] | None = None,
    scores: bool = False,
) -> list[Document]:
    """Return one new document per item, in order.

    Args:
        qa: renders the pages.
        items: candidates give `document_scores`, and ``page_id`` to texts, too; records do not.
        images: put the path of the page's picture under ``image_path``. A page whose file is gone or
            changed has the reason under ``image_error`` instead: a moved file costs no other page.
        boxes: of evidence by record id, for ``bbox``.
        scores: write the scores of candidates into the metadata, too.
    """
    return [_document(qa, item, images, (boxes or {}).get(item.id), scores) for item in items]


def _document(
    qa: DocumentQA, item: Candidate | Record, images: bool, boxes: Sequence[Box] | None, scores: bool
) -> Document:
    record = item.record if isinstance(item, Candidate) else item
    path, problem = page_image(qa, record) if images else (None, None)
    # Only the host's usual keys must be flat: lists of the caller's stay lists.
    flat = flat_metadata(item, image_path=path, bbox=boxes, scores=scores)
    metadata: dict[str, Any] = {**flat, **caller_lists(record)}
    if problem is not None:
        metadata["image_error"] = problem
    document = Document(id=record.id, page_content=text_or_note(record), metadata=metadata)
    if isinstance(item, Candidate):
        metadata.setdefault(PAGE_ID, item.id)
        set_scores(document, candidate_scores(item))
    return document


def as_query(value: Any, qa: DocumentQA | None = None) -> Query:
    """Return a question from text, ``{"text", "image"}``, a message, content blocks, or a `Query`.

    Args:
        value: of a user.
        qa: its reading processes decode the picture of a message. None: this process does.

    Raises:
        ValueError: an empty question, more than one image, an unknown key or kind of block, an image by name.
        TypeError: another type.
        FileNotFoundError: an image that is not there.
    """
    decode = None if qa is None else picture_decoder(qa)
    return inputs.as_query(value.content_blocks if isinstance(value, BaseMessage) else value, decode)


def question_and_turns(value: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Return a question and the messages before it, as ``(role, text)``.

    Args:
        value: a list of messages whose last is the question, ``{"input": ..., "chat_history": [...]}`` as
            the host's own chains carry it, or a question as `as_query` takes it.
    """
    if isinstance(value, Mapping) and "chat_history" in value:
        key = next((key for key in QUESTION_KEYS if key in value), None)
        if key is None:
            raise ValueError(f"beside 'chat_history' must stand one of {QUESTION_KEYS}, got {sorted(value)}.")
        return value[key], _turns(value["chat_history"])
    if isinstance(value, Sequence) and value and all(isinstance(each, BaseMessage) for each in value):
        return value[-1], _turns(value[:-1])
    return value, []


def _turns(messages: Sequence[Any]) -> list[tuple[str, str]]:
    roles = {"human": "user", "ai": "assistant"}
    known = [message for message in convert_to_messages(messages) if message.type in roles]
    return [(roles[message.type], message.text) for message in known]


def to_item(document: Document) -> HostItem:
    """Return a document as rerankers of the core read it."""
    metadata, scores = document.metadata, document_scores(document)
    return HostItem(
        text=without_note(document.page_content),
        image=metadata.get("image_path") or metadata.get("image"),
        score=scores.get(RELEVANCE_SCORE, scores.get(RETRIEVAL_SCORE)),
        id=document.id,
        metadata={**metadata, **scores},
    )


def documents_and_question(state: Any) -> tuple[Sequence[Document], Any]:
    """Return documents and question of a chain's state."""
    if isinstance(state, Mapping) and "documents" in state:
        key = next((key for key in QUESTION_KEYS if key in state), None)
        if key is not None:
            return state["documents"], state[key]
    keys = f"the keys {sorted(map(str, state))}" if isinstance(state, Mapping) else type(state).__name__
    raise TypeError(
        f"a reranker in a chain takes 'documents' and {' or '.join(map(repr, QUESTION_KEYS))}, got {keys}. "
        "Behind a retriever write reranker.after(retriever)."
    )
