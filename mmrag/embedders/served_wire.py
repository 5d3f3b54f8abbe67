"""Requests to and replies of ``/v1/embeddings`` as pure functions; `mmrag.embedders.served` sends them.

From inputs to items, from items to chats, from replies to vectors.

A reply is held to the request: one finite vector for each input, each in its place. Any other reply
is a `ServerAnswerError` that quotes it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmrag.embedders.base import Content, searchable_text
from mmrag.errors import ServerAnswerError, UnsupportedInputError
from mmrag.images import data_url
from mmrag.serving.escaping import as_data
from mmrag.serving.wire import BODY_KEPT, Json, quote
from mmrag.types import Page, Query

if TYPE_CHECKING:
    from PIL.Image import Image

Vectors: TypeAlias = NDArray[np.float32]

BLANK = "."
"""Sent in place of no text: one token to every tokenizer."""


@dataclass(frozen=True, slots=True)
class Item:
    """Text, image and instruction that become one vector."""

    text: str
    image: Image | None
    instruction: str


def query_item(query: Query, position: int, instruction: str) -> Item:
    """Return a query as an item; its own instruction replaces the one given.

    Raises:
        UnsupportedInputError: the query has several images.
    """
    _refuse_several_images(query.parts, "query", position)
    if query.instruction is not None:
        instruction = query.instruction
    return Item(query.text or "", query.image, instruction)


def document_item(document: Page | Content, position: int, instruction: str, *, images: bool) -> Item:
    """Return a document as an item: its image, if `images` is set and it has one, and its text.

    A page with an image gives no text; see `mmrag.embedders.served`.

    Raises:
        UnsupportedInputError: the document has several images and `images` is set.
    """
    image = document.image if images else None
    if isinstance(document, Page):
        return Item("" if image is not None else searchable_text(document), image, instruction)
    if images:
        _refuse_several_images(document.parts, "document", position)
    if document.instruction is not None:
        instruction = document.instruction
    return Item(document.text, image, instruction)


def _refuse_several_images(parts: tuple[str | Image, ...], kind: str, position: int) -> None:
    """Refuse a second image: a request has room for one, and words after it."""
    number = sum(not isinstance(part, str) for part in parts)
    if number > 1:
        raise UnsupportedInputError(
            f"this embedder takes one image an input, got {number} in {kind} {position}. "
            "Embed them one by one."
        )


def parse_embeddings(answer: Json, count: int) -> tuple[Vectors, bool]:
    """Return the vectors of a reply of ``/v1/embeddings``, in the order of the inputs.

    Args:
        answer: its ``data`` may come in any order; ``index`` names the input of each entry.
        count: inputs that were sent, at least 1.

    Returns:
        ``(count, dim)`` float32, finite, and whether they came as base64.

    Raises:
        ServerAnswerError: not one entry for each input, or an entry that is no vector, is empty, is not
            finite or has another width than the others.
    """
    entries = _entries(answer, count)
    in_base64 = isinstance(entries[0].get("embedding"), str)
    rows = [_vector(entry.get("embedding"), at, answer) for at, entry in enumerate(entries)]
    widths = sorted({len(row) for row in rows})
    if len(widths) != 1 or widths[0] == 0:
        raise reply_error(f"must give vectors of one width, at least 1, got {widths}", "", answer)
    vectors = np.stack(rows)
    invalid = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(invalid):
        raise reply_error(
            f"must give finite numbers, got NaN or infinity in the vector of input {invalid[0]}",
            "Serve the model in bfloat16 or float32.",
            answer,
        )
    return vectors, in_base64


def _entries(answer: Json, count: int) -> list[Json]:
    """Return the entries of a reply in the order of their index, which must run from 0 to ``count - 1``."""
    data = answer.get("data")
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise reply_error("must list vectors as data[].embedding", "Check that base_url embeds.", answer)
    if len(data) != count:
        raise reply_error(f"must give {count} vectors for {count} inputs, got {len(data)}", "", answer)
    indices = [entry.get("index") for entry in data]
    if not all(type(index) is int for index in indices) or sorted(indices) != list(range(count)):
        raise reply_error(
            f"must number its vectors 0 to {count - 1} by index, got {indices[:20]}", "", answer
        )
    return sorted(data, key=lambda entry: int(entry["index"]))


def _vector(value: object, at: int, answer: Json) -> Vectors:
    if isinstance(value, str):
        try:
            return np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
        except (binascii.Error, ValueError) as error:
            raise reply_error(
                f"must give float32 in base64, got input {at} with {error}", "", answer
            ) from error
    if isinstance(value, list) and all(type(number) in (int, float) for number in value):
        with np.errstate(over="ignore"):  # what overflows is not finite, and refused as that
            return np.array([_real(number) for number in value], np.float64).astype(np.float32)
    if isinstance(value, list) and value and isinstance(value[0], list):
        raise reply_error(
            f"must give one vector an input, got {len(value)} for input {at}",
            "A multi-vector model cannot be used here; serve it with pooling to one vector.",
            answer,
        )
    raise reply_error(
        f"must give a list of numbers or base64, got {type(value).__name__} for input {at}", "", answer
    )


def _real(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number of more than 308 digits
        return float("inf")


def reply_error(rule: str, remedy: str, answer: Json) -> ServerAnswerError:
    """Return the error of a reply that breaks a rule; without a remedy it quotes the reply."""
    raw = json.dumps(answer, ensure_ascii=False)
    end = f" It said {quote(raw)}." if not remedy else f" {remedy}"
    return ServerAnswerError(f"the embedding server {rule}.{end}", raw[:BODY_KEPT])


def messages(item: Item, role: str, pixels: int) -> list[Json]:
    """Return one item as a chat; the image comes before the text.

    Args:
        item: any part of it may be empty.
        role: ``"system"`` gives the instruction a message of its own; ``"user"`` puts it before the text.
        pixels: largest area of an image.
    """
    text, instruction = sent_text(item.text), item.instruction
    chat: list[Json] = []
    if instruction and role == "system":
        chat.append({"role": "system", "content": [{"type": "text", "text": instruction}]})
    elif instruction:
        text = instruction + text
    parts: list[Json] = []
    if item.image is not None:
        parts.append({"type": "image_url", "image_url": {"url": data_url(item.image, pixels, lossless=True)}})
    if text or not parts:
        parts.append({"type": "text", "text": text or BLANK})
    return [*chat, {"role": "user", "content": parts}]


def sent_text(text: str) -> str:
    """Return text as data that UTF-8 can carry (PDFs have lone surrogates); ``""`` for white space only."""
    if not text.strip():
        return ""
    return as_data(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
