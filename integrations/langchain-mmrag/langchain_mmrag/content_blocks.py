"""Documents into a message, and the model's answer back to their pages and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.messages.content import (
    Annotation,
    Citation,
    ContentBlock,
    ImageContentBlock,
    TextContentBlock,
    create_citation,
    create_image_block,
)
from mmrag.hosts.answers import (
    cited_marks,
    numbered_text,
    source_image,
    source_origin,
    source_title,
    source_url,
)
from mmrag.hosts.items import without_note


def documents_to_content_blocks(
    documents: Sequence[Document], *, images: bool = True, text: bool = True
) -> list[ContentBlock]:
    """Return blocks of a message for a chat model that sees images: a numbered heading, text, picture.

    The heading ``[2] annual.pdf, page 4`` is what the model cites; `cite_documents` turns its marks back
    into pages and boxes. An image block also has the document's origin under ``extras``, which is not
    sent to providers. Pictures come from ``image_path``, or from ``image`` (a URL or data URI).

    Args:
        documents: of a retriever or any others; they are not changed.
        images: whether pictures are shown.
        text: whether text is.

    Raises:
        TypeError: something in the list is no document.
        ValueError: a document has nothing to show.
        FileNotFoundError: a picture is gone.

    Example:
        >>> page = Document("Twenty days.", metadata={"file_name": "a.pdf", "page": 3, "page_label": "4"})
        >>> print(documents_to_content_blocks([page], images=False)[0]["text"])
        [1] a.pdf, page 4
        Twenty days.
    """
    blocks: list[ContentBlock] = []
    for number, document in enumerate(_checked_documents(documents), start=1):
        picture = _picture(number, document) if images else None
        words = without_note(document.page_content.strip()) if text else ""
        title = source_title(document.metadata, document.id)
        if not words and picture is None:
            raise ValueError(
                f"document [{number}] must have text or a picture to show, got neither ({title}). "
                "Leave it out, or retrieve with images=True."
            )
        blocks.append(TextContentBlock(type="text", text=numbered_text(number, title, words)))
        if picture is not None:
            blocks.append(picture)
    return blocks


def cite_documents(
    answer: str | AIMessage, documents: Sequence[Document], *, strict: bool = False
) -> AIMessage:
    """Return the answer as a message whose marks ``[n]`` or ``[1, 3]`` are `Citation` annotations.

    A citation has the file as ``title``, its place in the answer, and page and boxes under ``extras``:
    ``page`` (from 0), ``page_label``, ``bbox`` (boxes in 0..1 of the page), ``image_path``. A bracket that a
    document prints and the answer copied is no mark. A mark of a document that was not shown is left as it
    stands and noted in the block, under ``extras["notes"]``.

    Args:
        answer: what a model wrote. All that is not text stays as it is: id, name, token usage, response
            metadata, tool calls, reasoning. The message itself is not changed.
        documents: those it was shown, in the same order.
        strict: refuse a mark of a document that was not shown.

    Raises:
        ValueError: a mark names a document that was not shown, and `strict` is set.

    Example:
        >>> page = Document("Twenty days.", metadata={"file_name": "a.pdf", "page": 3, "page_label": "4"})
        >>> message = cite_documents("It takes twenty days [1].", [page])
        >>> [citation["title"] for citation in message.content_blocks[0]["annotations"]]
        ['a.pdf, page 4']
    """
    message = AIMessage(content=answer) if isinstance(answer, str) else answer
    sources = _checked_documents(documents)
    blocks = [
        _cited_block(block, sources, strict=strict) if block["type"] == "text" else block
        for block in message.content_blocks or [TextContentBlock(type="text", text="")]
    ]
    update: dict[str, Any] = {"content": blocks}
    if message.response_metadata.get("model_provider"):
        # Else LangChain would read the blocks as the provider's own, which have citations of another form.
        update["response_metadata"] = {**message.response_metadata, "output_version": "v1"}
    return message.model_copy(update=update)


def _cited_block(block: TextContentBlock, documents: Sequence[Document], *, strict: bool) -> TextContentBlock:
    marks, notes = cited_marks(
        block["text"], [document.page_content for document in documents], strict=strict
    )
    citations: list[Annotation] = [
        _citation(documents[number - 1], mark.start, mark.end) for mark in marks for number in mark.numbers
    ]
    cited = TextContentBlock(**{**block, "annotations": [*block.get("annotations", []), *citations]})
    if notes:
        extras = block.get("extras", {})
        cited["extras"] = {**extras, "notes": [*extras.get("notes", []), *notes]}
    return cited


def _checked_documents(documents: Sequence[Document]) -> list[Document]:
    for document in documents:
        if not isinstance(document, Document):
            raise TypeError(
                f"documents must be LangChain Documents, got {type(document).__name__}. "
                "Pass what a retriever returns."
            )
    return list(documents)


def _picture(number: int, document: Document) -> ImageContentBlock | None:
    image = source_image(document.metadata, f"document [{number}]")
    return None if image is None else create_image_block(**image, **source_origin(document.metadata))


def _citation(document: Document, start: int, end: int) -> Citation:
    origin = source_origin(document.metadata)
    if "image_path" in document.metadata:
        origin["image_path"] = document.metadata["image_path"]
    return create_citation(
        title=source_title(document.metadata, document.id),
        url=source_url(document.metadata),
        start_index=start,
        end_index=end,
        document_id=document.id,
        **origin,
    )
