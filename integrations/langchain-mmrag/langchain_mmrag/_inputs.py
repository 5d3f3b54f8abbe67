"""What users of the host write, as nouns of the core."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from mmrag.images import load_image
from mmrag.types import Budget, Query


def as_budget(value: Any) -> Budget | None:  # what a user wrote
    """A `Budget`, or ``(query, document)``, which is how one is written in JSON.

    Raises:
        ValueError: it is neither.
    """
    if value is None or isinstance(value, Budget):
        return value
    if isinstance(value, Mapping) and set(value) == {"query", "document"}:
        return Budget(**value)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return Budget(*value)
    raise ValueError(f"budget must be Budget(query, document) or a pair of numbers, got {value!r}.")


def as_query(value: Any) -> Query:  # what a user wrote
    """A question from text, ``{"text", "image"}``, a message, content blocks, or a `Query`.

    Raises:
        ValueError: an empty question, more than one image, an unknown key or kind of block.
        TypeError: none of these.
        FileNotFoundError: an image that is not there.
    """
    if isinstance(value, Query):
        return value
    if isinstance(value, str):
        return Query(text=value)
    if isinstance(value, BaseMessage):
        return _from_blocks(value.content_blocks)
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - {"text", "image"}, key=str)
        if unknown:
            raise ValueError(f"a question has the keys 'text' and 'image', got {unknown[0]!r}.")
        image = value.get("image")
        return Query(text=value.get("text"), image=None if image is None else load_image(image))
    if isinstance(value, Sequence) and all(isinstance(block, (str, Mapping)) for block in value):
        return _from_blocks(value)
    raise TypeError(
        "a question must be text, {'text': ..., 'image': ...}, a message or content blocks, "
        f"got {type(value).__name__}."
    )


def _from_blocks(blocks: Sequence[Any]) -> Query:
    texts: list[str] = []
    images: list[Any] = []
    for block in blocks:
        kind = "text" if isinstance(block, str) else block.get("type")
        if kind == "text":
            texts.append(block if isinstance(block, str) else block["text"])
        elif kind == "image_url":
            address = block["image_url"]
            images.append(address if isinstance(address, str) else address["url"])
        elif kind == "image":
            images.append(_image_of(block))
        else:
            raise ValueError(f"a question's blocks must be text or image, got {kind!r}. Leave it out.")
    if len(images) > 1:
        raise ValueError(f"a question may have one image, got {len(images)}. Ask once for each.")
    return Query(text="\n".join(texts), image=load_image(images[0]) if images else None)


def _image_of(block: Mapping[str, Any]) -> str:
    if block.get("url"):
        return str(block["url"])
    if block.get("base64"):
        return f"data:{block.get('mime_type', 'image/png')};base64,{block['base64']}"
    raise ValueError(f"an image block must have 'url' or 'base64', got the keys {sorted(block)}.")


def as_ids(ids: Sequence[str | None] | None) -> list[str] | None:
    """The caller's ids; None among them is a new random one, as everywhere in the host."""
    return None if ids is None else [str(uuid.uuid4()) if id is None else id for id in ids]


def as_metadata(metadatas: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The caller's metadata, copied; a list is several values, which the core writes as a tuple."""
    if metadatas is None:
        return None
    return [
        {key: tuple(value) if isinstance(value, list) else value for key, value in (one or {}).items()}
        for one in metadatas
    ]
