"""What goes to ``/v1/embeddings`` and what comes back, as pure functions; `mmrag.embedders.served` talks.

From inputs to items, from items to chats, from answers to vectors.

An answer is held to what was asked: one finite vector for each input, each in its place. Whatever else
comes is a `ServerAnswerError` that quotes it.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmrag.embedders.base import Content, DocumentInput, QueryInput
from mmrag.errors import ServerAnswerError, UnsupportedInputError
from mmrag.serving.wire import BODY_KEPT, Json, quote
from mmrag.types import Page, Query

if TYPE_CHECKING:
    from PIL.Image import Image

Vectors: TypeAlias = NDArray[np.float32]

BLANK = "."
"""What is sent for no text: one token to every tokenizer."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is embedded as one vector."""

    text: str
    image: Image | None
    instruction: str


def query_item(query: QueryInput, at: int, instruction: str, *, images: bool) -> Item:
    """Query number `at` as an item; its own instruction comes before the one given.

    Raises:
        UnsupportedInputError: it has an image, and `images` is False.
        TypeError: it is neither `str` nor `Query`.
        ValueError: it is empty.
    """
    if isinstance(query, str):
        query = Query(text=query)
    elif not isinstance(query, Query):
        raise TypeError(f"a query must be str or Query, got {type(query).__name__} at {at}.")
    if query.image is not None and not images:
        raise UnsupportedInputError(
            f"this embedder takes text only, got an image in query {at}. Ask in words, or make the "
            "embedder of a model that sees with modalities=('text', 'image')."
        )
    _refuse_several(query.parts, "query", at)
    return Item(
        query.text or "", query.image, instruction if query.instruction is None else query.instruction
    )


def document_item(
    document: DocumentInput, at: int, instruction: str, *, images: bool, page_text: bool
) -> Item:
    """Document number `at` as an item; without `images` its text only.

    Raises:
        UnsupportedInputError: it is an image without text, and `images` is False.
        TypeError: it is neither `str`, `Page` nor `Content`.
    """
    if isinstance(document, str):
        return Item(document, None, instruction)
    if not isinstance(document, (Page, Content)):
        raise TypeError(f"a document must be str, Page or Content, got {type(document).__name__} at {at}.")
    image = document.image if images else None
    text = document.text
    if isinstance(document, Content):
        instruction = instruction if document.instruction is None else document.instruction
        if images:
            _refuse_several(document.parts, "document", at)
    if isinstance(document, Page):
        if image is not None and not page_text:
            text = ""
        elif image is None and not text.strip() and document.total_pages == 1:
            text = re.sub(r"[\W_]+", " ", Path(document.source.name).stem).strip()
    elif document.image is not None and image is None and not text.strip():
        raise UnsupportedInputError(
            f"this embedder takes text only, got an image without text as document {at}. Give the image's "
            "text, or make the embedder of a model that sees with modalities=('text', 'image')."
        )
    return Item(text, image, instruction)


def _refuse_several(parts: tuple[str | Image, ...], what: str, at: int) -> None:
    """A request has room for one picture, and words after it."""
    pictures = sum(not isinstance(part, str) for part in parts)
    if pictures > 1:
        raise UnsupportedInputError(
            f"this embedder takes one image an input, got {pictures} in {what} {at}. Embed them one by one."
        )


def parse_embeddings(answer: Json, count: int) -> tuple[Vectors, bool]:
    """The vectors of an answer of ``/v1/embeddings``, in the order of the inputs.

    Args:
        answer: its ``data`` may come in any order; ``index`` says which input each entry belongs to.
        count: inputs that were sent, at least 1.

    Returns:
        ``(count, dim)`` float32, finite, and whether they came as base64.

    Raises:
        ServerAnswerError: not one entry for each input, or vectors that are none, of different widths,
            empty or not finite.
    """
    data = answer.get("data")
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise wrong_answer("must list vectors as data[].embedding", "Check that base_url embeds.", answer)
    if len(data) != count:
        raise wrong_answer(f"must give {count} vectors for {count} inputs, got {len(data)}", "", answer)
    indices = [entry.get("index") for entry in data]
    if not all(type(index) is int for index in indices) or sorted(indices) != list(range(count)):
        raise wrong_answer(
            f"must number its vectors 0 to {count - 1} by index, got {indices[:20]}", "", answer
        )
    by_index = sorted(data, key=lambda entry: int(entry["index"]))
    encoded = isinstance(by_index[0].get("embedding"), str)
    rows = [_vector(entry.get("embedding"), at, answer) for at, entry in enumerate(by_index)]
    widths = sorted({len(row) for row in rows})
    if len(widths) != 1 or widths[0] == 0:
        raise wrong_answer(f"must give vectors of one width, at least 1, got {widths}", "", answer)
    vectors = np.stack(rows)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise wrong_answer(
            f"must give finite numbers, got NaN or infinity in the vector of input {bad[0]}",
            "Serve the model in bfloat16 or float32.",
            answer,
        )
    return vectors, encoded


def _vector(value: object, at: int, answer: Json) -> Vectors:
    if isinstance(value, str):
        try:
            return np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
        except (binascii.Error, ValueError) as error:
            raise wrong_answer(
                f"must give float32 in base64, got input {at} with {error}", "", answer
            ) from error
    if isinstance(value, list) and all(type(number) in (int, float) for number in value):
        with np.errstate(over="ignore"):  # what overflows is not finite, and refused as that
            return np.array([_real(number) for number in value], np.float64).astype(np.float32)
    if isinstance(value, list) and value and isinstance(value[0], list):
        raise wrong_answer(
            f"must give one vector an input, got {len(value)} for input {at}",
            "A multi-vector model cannot be used here; serve it with pooling to one vector.",
            answer,
        )
    raise wrong_answer(
        f"must give a list of numbers or base64, got {type(value).__name__} for input {at}", "", answer
    )


def _real(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number of more than 308 digits
        return float("inf")


def wrong_answer(what: str, remedy: str, answer: Json) -> ServerAnswerError:
    """The error of an answer that is not what was asked for; without a remedy it quotes the answer."""
    raw = json.dumps(answer, ensure_ascii=False)
    told = f" It said {quote(raw)}." if not remedy else f" {remedy}"
    return ServerAnswerError(f"the embedding server {what}.{told}", raw[:BODY_KEPT])


def messages(item: Item, role: str, pixels: int) -> list[Json]:
    """One item as a chat; the picture comes before the text.

    Args:
        item: any part of it may be empty.
        role: ``"system"`` gives the instruction a message of its own; ``"user"`` puts it before the text.
        pixels: largest area of a picture.
    """
    text, instruction = sent_text(item.text), item.instruction
    chat: list[Json] = []
    if instruction and role == "system":
        chat.append({"role": "system", "content": [{"type": "text", "text": instruction}]})
    elif instruction:
        text = instruction + text
    parts: list[Json] = []
    if item.image is not None:
        parts.append({"type": "image_url", "image_url": {"url": data_url(item.image, pixels)}})
    if text or not parts:
        parts.append({"type": "text", "text": text or BLANK})
    return [*chat, {"role": "user", "content": parts}]


def sent_text(text: str) -> str:
    """Text as UTF-8 can carry it; ``""`` for white space only. Lone surrogates occur in PDFs."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if text.strip() else ""


def data_url(image: Image, pixels: int) -> str:
    """A picture as a PNG data URL, at most `pixels` in area; what is transparent becomes white."""
    from PIL import Image as PILImage

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = PILImage.alpha_composite(PILImage.new("RGBA", rgba.size, "white"), rgba)
    image = image.convert("RGB")
    scale = (pixels / (image.width * image.height)) ** 0.5
    if scale < 1:
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        image = image.resize(size, PILImage.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
