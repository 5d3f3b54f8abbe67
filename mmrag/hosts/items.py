"""`HostItem`: a document of LangChain or a node of LlamaIndex, as far as the core looks at it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.types import Record

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | io.BytesIO | Image"
"""A path, ``file:`` or ``data:`` URI, bytes, or PIL image; see `mmrag.images.load_image`."""


@dataclass(frozen=True, slots=True)
class HostItem:
    """One document or node of a host.

    Attributes:
        text: its text; may be empty if it has an image.
        image: its image; an address on the network is not downloaded. None without an image.
        score: the score it was retrieved with, larger is better; None if the host gives none.
        id: the host's id; None if it has none.
        metadata: the host's; only ``doc_id``, ``page``, ``page_label``, ``file_path``, ``bbox``,
            ``retrieval_score`` and ``page_context`` are read.
    """

    text: str = ""
    image: ImageSource | None = None
    score: float | None = None
    id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def unique_ids(items: Sequence[HostItem]) -> list[str]:
    """Return one id per item: its own, else its position; a repeated id gets a number."""
    used: set[str] = set()
    ids = []
    for position, item in enumerate(items):
        name = item.id or f"item {position}"
        candidate, count = name, 1
        while candidate in used:
            count += 1
            candidate = f"{name} ({count})"
        used.add(candidate)
        ids.append(candidate)
    return ids


NO_TEXT = "[page without text"
"""Beginning of what stands in place of the text of a page without any."""


def text_or_note(record: Record) -> str:
    """Return a record's text; of a page without any, a note that names the page.

    Hosts tell items apart by their text, so that empty pages would be one.
    """
    if record.text.strip() or record.page is None:
        return record.text
    return f"{NO_TEXT}: {record.page.source.name}, page {record.page.label}]"


def without_note(text: str) -> str:
    """Return a text, or ``""`` for the note that `text_or_note` puts in its place."""
    return "" if text.startswith(NO_TEXT) and text.endswith("]") and "\n" not in text else text
