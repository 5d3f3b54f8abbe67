"""What users of a host write (budgets, questions, ids, metadata) as nouns of the core."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmrag.embedders.base import Content
from mmrag.hosts.items import ImageSource
from mmrag.images import Decode, load_image, message_image
from mmrag.types import Budget, Query


def as_budget(value: Any) -> Budget | None:  # noqa: ANN401  a user's value
    """Return a `Budget`, or one made of ``(query, document)``, which is how it is written in JSON.

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


def budget_pair(value: Any) -> tuple[int, int] | None:  # noqa: ANN401  a user's value
    """Return a budget as two numbers, checked as by `as_budget`."""
    budget = as_budget(value)
    return None if budget is None else (budget.query, budget.document)


def text_image_query(text: str | None, image: ImageSource | None = None) -> Query:
    """Return the question of a text, an image or both; the image is opened.

    Raises:
        ValueError: both are empty.
        FileNotFoundError: the image is gone.
    """
    return Query(text=text or None, image=None if image is None else load_image(image))


def as_query(value: Any, decode: Decode | None = None) -> Query:  # noqa: ANN401  a user's value
    """Return a question from text, ``{"text", "image"}``, content blocks, or a `Query`.

    Messages may be written by anyone, so a text in the place of an image must be a data URI; a path is opened
    only as a `pathlib.Path`, which no message can hold. See `mmrag.images.message_image`.

    Args:
        value: of a user.
        decode: decodes pictures, such as `mmrag.hosts.pages.picture_decoder`. None: this process does.

    Raises:
        ValueError: an empty question, more than one image, an unknown key or block, or an image by name.
        TypeError: another type.
        FileNotFoundError: an image that is not there.
    """
    if isinstance(value, Query):
        return value
    if isinstance(value, str):
        return Query(text=value)
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - {"text", "image"}, key=str)
        if unknown:
            raise ValueError(f"a question has the keys 'text' and 'image', got {unknown[0]!r}.")
        image = value.get("image")
        return Query(text=value.get("text"), image=None if image is None else message_image(image, decode))
    if isinstance(value, Sequence) and all(isinstance(block, (str, Mapping)) for block in value):
        return _query_of_blocks(value, decode)
    raise TypeError(
        "a question must be text, {'text': ..., 'image': ...}, a message or content blocks, "
        f"got {type(value).__name__}."
    )


def _query_of_blocks(blocks: Sequence[Any], decode: Decode | None) -> Query:
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
            images.append(_block_image(block))
        else:
            raise ValueError(f"a question's blocks must be text or image, got {kind!r}. Leave it out.")
    if len(images) > 1:
        raise ValueError(f"a question may have one image, got {len(images)}. Ask once for each.")
    return Query(text="\n".join(texts), image=message_image(images[0], decode) if images else None)


def _block_image(block: Mapping[str, Any]) -> str:
    if block.get("url"):
        return str(block["url"])
    if block.get("base64"):
        return f"data:{block.get('mime_type', 'image/png')};base64,{block['base64']}"
    raise ValueError(f"an image block must have 'url' or 'base64', got the keys {sorted(block)}.")


def as_texts(texts: Iterable[str]) -> list[str]:
    """Return the caller's texts as a list.

    Raises:
        TypeError: one text alone, whose letters would be texts.
    """
    if isinstance(texts, str):
        raise TypeError(f"texts must be a list of texts, got the text {texts[:40]!r}. Write [text].")
    return list(texts)


def as_images(images: Any) -> list[Any]:  # noqa: ANN401  a user's value
    """Return the caller's images as a list; one image alone is a list of one."""
    return list(images) if isinstance(images, (list, tuple, Iterator)) else [images]


def as_ids(ids: str | Sequence[str | None] | None) -> list[str] | None:
    """Return the caller's ids; None among them becomes a new random id, as LangChain does."""
    if ids is None or isinstance(ids, str):
        return None if ids is None else [ids]
    return [str(uuid.uuid4()) if id is None else id for id in ids]


def as_metadata(metadatas: Sequence[Mapping[str, Any] | None] | None) -> list[dict[str, Any]] | None:
    """Return the caller's metadata as `metadata_values` does."""
    return None if metadatas is None else [metadata_values(values or {}) for values in metadatas]


def metadata_values(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as the core writes it: copied, a list as a tuple, and no key without a value.

    None is no value, so the key is left out, as Chroma does: a filter finds the record as one without it.
    """
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in metadata.items()
        if value is not None
    }


def image_contents(images: Sequence[ImageSource]) -> list[Content]:
    """Return images as inputs of an embedder; each is opened.

    Raises:
        FileNotFoundError: there is no such file.
        DocumentError: a file is no image.
    """
    return [Content(image=load_image(image)) for image in images]
