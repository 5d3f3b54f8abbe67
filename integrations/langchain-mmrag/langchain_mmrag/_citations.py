"""The citations of an answer, as users read them."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage


def message_citations(message: BaseMessage) -> list[dict[str, Any]]:
    """Return the citations of a message in their order; none where nothing is cited.

    The host's `Citation` of each, as a plain dict, with ``extras`` in any case: type checkers know no key of
    `content_blocks` for certain.

    Args:
        message: of `cite_documents`, or any other whose text blocks have citations.

    Example:
        >>> page = Document("Twenty days.", metadata={"file_name": "a.pdf", "page": 3})
        >>> message = cite_documents("Twenty [1].", [page])
        >>> [citation["extras"]["page"] for citation in message_citations(message)]
        [3]
    """
    blocks: list[dict[str, Any]] = [dict(block) for block in message.content_blocks]
    annotations = [dict(note) for block in blocks for note in block.get("annotations") or ()]
    return [{"extras": {}, **note} for note in annotations if note.get("type") == "citation"]
