"""Documents into a message, and the model's answer back to their pages and boxes."""

from __future__ import annotations

import base64
import json
import mimetypes
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.messages.content import (
    Citation,
    ContentBlock,
    ImageContentBlock,
    TextContentBlock,
    create_citation,
    create_image_block,
)

PLACE_KEYS = ("source", "file_path", "file_name", "doc_id", "page", "page_label", "total_pages")
_MARK = re.compile(r"\[(\d{1,2}(?:\s*,\s*\d{1,2})*)\]")  # [2], [1, 3]; not a year


def documents_to_content_blocks(
    documents: Sequence[Document], *, images: bool = True, text: bool = True
) -> list[ContentBlock]:
    """Blocks of a message for any chat model that sees images: a numbered heading, text, picture.

    The heading ``[2] annual.pdf, page 4`` is what the model cites; `cite_documents` turns its marks back
    into pages and boxes. An image block also has the place under ``extras``, which providers are not
    sent. Pictures come from ``image_path``, or from ``image`` (a URL or data URI).

    Args:
        documents: of a retriever or any others; they are not changed.
        images: whether pictures are shown.
        text: whether text is.

    Raises:
        TypeError: something in the list is no document.
        ValueError: a document has nothing to show.
        FileNotFoundError: a picture is gone.
    """
    blocks: list[ContentBlock] = []
    for number, document in _numbered(documents):
        picture = _picture(number, document) if images else None
        words = document.page_content.strip() if text else ""
        if not words and picture is None:
            raise ValueError(
                f"document [{number}] must have text or a picture to show, got neither ({_title(document)}). "
                "Leave it out, or retrieve with images=True."
            )
        heading = f"[{number}] {_title(document)}"
        blocks.append(TextContentBlock(type="text", text=f"{heading}\n{words}" if words else heading))
        if picture is not None:
            blocks.append(picture)
    return blocks


def cite_documents(answer: str | AIMessage, documents: Sequence[Document]) -> AIMessage:
    """The answer as a message whose marks ``[n]`` or ``[1, 3]`` are `Citation` annotations.

    A citation has the file as ``title``, its place in the answer, and page and boxes under ``extras``:
    ``page`` (from 0), ``page_label``, ``bbox`` (boxes in 0..1 of the page), ``image_path``.

    Args:
        answer: what a model wrote.
        documents: those it was shown, in the same order.

    Raises:
        ValueError: a mark names a document that was not shown.
    """
    written = answer if isinstance(answer, str) else str(answer.text)
    shown = dict(_numbered(documents))
    citations = []
    for mark in _MARK.finditer(written):
        for number in map(int, mark[1].split(",")):
            if number not in shown:
                raise ValueError(
                    f"an answer may cite [1] to [{len(shown)}], the documents shown, got {mark[0]}. "
                    "Pass the documents that the model saw, or ask again."
                )
            citations.append(_citation(shown[number], mark.start(), mark.end()))
    block = TextContentBlock(type="text", text=written, annotations=list(citations))
    return AIMessage(content_blocks=[block])


def _numbered(documents: Sequence[Document]) -> list[tuple[int, Document]]:
    documents = list(documents)
    for document in documents:
        if not isinstance(document, Document):
            raise TypeError(
                f"documents must be LangChain Documents, got {type(document).__name__}. "
                "Pass what a retriever returns."
            )
    return list(enumerate(documents, start=1))


def _title(document: Document) -> str:
    """File, page and printed label; the source or id of a document that is no page."""
    metadata = document.metadata
    name = (
        metadata.get("file_name") or metadata.get("title") or metadata.get("source") or document.id or "text"
    )
    page = metadata.get("page")
    if not isinstance(page, int):
        return str(name)
    label = str(metadata.get("page_label", page + 1))
    return f"{name}, page {page + 1}" + (f" (label {label})" if label != str(page + 1) else "")


def _picture(number: int, document: Document) -> ImageContentBlock | None:
    metadata = document.metadata
    if path := metadata.get("image_path"):
        file = Path(str(path))
        if not file.is_file():
            raise FileNotFoundError(
                f"image_path of document [{number}] must be a file, got {path}. "
                "Retrieve again, or pass images=False."
            )
        data = base64.b64encode(file.read_bytes()).decode("ascii")
        kind = mimetypes.guess_type(file.name)[0] or "image/png"
        return create_image_block(base64=data, mime_type=kind, **_place(document))
    if image := metadata.get("image"):
        head, _, body = str(image).partition(";base64,")
        if body and head.startswith("data:"):
            return create_image_block(base64=body, mime_type=head.removeprefix("data:"), **_place(document))
        return create_image_block(url=str(image), **_place(document))
    return None


def _place(document: Document) -> dict[str, Any]:
    """Where the document comes from, boxes as lists of numbers."""
    place = {key: document.metadata[key] for key in PLACE_KEYS if key in document.metadata}
    boxes = document.metadata.get("bbox")
    if boxes is not None:
        place["bbox"] = json.loads(boxes) if isinstance(boxes, str) else boxes
    return place


def _citation(document: Document, start: int, end: int) -> Citation:
    place = _place(document)
    if "image_path" in document.metadata:
        place["image_path"] = document.metadata["image_path"]
    source = document.metadata.get("source")
    url = Path(str(source)).as_uri() if source and Path(str(source)).is_absolute() else source
    return create_citation(
        title=_title(document), url=url, start_index=start, end_index=end, document_id=document.id, **place
    )
