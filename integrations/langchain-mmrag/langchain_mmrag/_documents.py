"""Records of the core as documents of the host; the host's documents and questions for the core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from mmrag import DocumentQA
from mmrag.hosts import inputs
from mmrag.hosts.items import HostItem
from mmrag.hosts.metadata import caller_lists, flat_metadata
from mmrag.hosts.stores import page_image
from mmrag.types import Box, Candidate, Query, Record

QUESTION_KEYS = ("query", "question", "input")
"""Keys under which a chain may carry the question; the first that is there counts."""


def to_documents(
    qa: DocumentQA,
    items: Iterable[Candidate | Record],
    *,
    images: bool,
    boxes: Mapping[str, Sequence[Box]] | None = None,
) -> list[Document]:
    """Return one new document per item, in order.

    Args:
        qa: renders the pages.
        items: candidates give their scores, records do not.
        images: put the path of the page's picture under ``image_path``. A page whose file is gone or
            changed has the reason under ``image_error`` instead: a moved file costs no other page.
        boxes: of evidence by record id, for ``bbox``.
    """
    return [_document(qa, item, images, (boxes or {}).get(item.id)) for item in items]


def _document(
    qa: DocumentQA, item: Candidate | Record, images: bool, boxes: Sequence[Box] | None
) -> Document:
    record = item.record if isinstance(item, Candidate) else item
    path, problem = page_image(qa, record) if images else (None, None)
    # Only the host's usual keys must be flat: lists of the caller's stay lists.
    metadata: dict[str, Any] = {**flat_metadata(item, image_path=path, bbox=boxes), **caller_lists(record)}
    if problem is not None:
        metadata["image_error"] = problem
    return Document(id=record.id, page_content=record.text, metadata=metadata)


def as_query(value: Any) -> Query:
    """Return a question from text, ``{"text", "image"}``, a message, content blocks, or a `Query`.

    Raises:
        ValueError: an empty question, more than one image, an unknown key or kind of block, an image by name.
        TypeError: another type.
        FileNotFoundError: an image that is not there.
    """
    return inputs.as_query(value.content_blocks if isinstance(value, BaseMessage) else value)


def to_item(document: Document) -> HostItem:
    """Return a document as rerankers of the core read it."""
    metadata = document.metadata
    score = metadata.get("relevance_score", metadata.get("retrieval_score"))
    return HostItem(
        text=document.page_content,
        image=metadata.get("image_path") or metadata.get("image"),
        score=None if score is None else float(score),
        id=document.id,
        metadata=metadata,
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
