"""What goes over the wire between `ServedMLLMEmbedder` and its vLLM plugin, as pure functions.

A request is the ``data`` of vLLM's ``POST /pooling`` with ``"task": "plugin"``::

    {"side": "document", "rows": 64, "form": "float16",
     "inputs": [{"parts": [{"text": "..."}, {"image": "<base64 PNG>"}], "instruction": "...", "thought": ""}]}

and a reply's ``data`` is::

    {"identity": {...}, "matrices": [{"rows": 64, "numbers": "<base64>"}], "cut": [false]}

Rows are bytes in base64, not JSON numbers: float16, or int8 with a peak a row as an index stores them
(`mmrag.index.rows`). A request without inputs asks for the identity alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from mmrag.index.rows import RowCodec
from mmrag.models.inputs import Item
from mmrag.types import Matrix

if TYPE_CHECKING:
    from PIL.Image import Image

PROTOCOL = 1
"""Raised when a client of today would read tomorrow's reply wrongly."""

ROWS_FORMS = ("float16", "int8")
"""How rows travel; int8 costs a step of 1/127 of a row's largest number, and half the bytes."""

RowsForm: TypeAlias = Literal["float16", "int8"]

SIDES = ("query", "document")
MOST_INPUTS = 256
"""Of a request."""


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """A request as the server reads it.

    Attributes:
        side: ``"query"`` or ``"document"``.
        rows: of each input.
        form: of the reply's rows.
        items: the inputs, their pictures still encoded as bytes that Pillow opens.
    """

    side: str
    rows: int
    form: RowsForm
    items: tuple[Item, ...]


# ---- requests --------------------------------------------------------------------------------------


def request_data(items: Sequence[Mapping[str, Any]], side: str, rows: int, form: str) -> dict[str, Any]:
    """Return the ``data`` of a request; `items` are those of `item_data`."""
    return {"side": side, "rows": rows, "form": form, "inputs": list(items)}


def item_data(item: Item) -> dict[str, Any]:
    """Return an input as JSON; its pictures are upright RGB already and travel without loss."""
    parts = [{"text": part} if isinstance(part, str) else {"image": _png(part)} for part in item.parts]
    return {"parts": parts, "instruction": item.instruction, "thought": item.thought}


def _png(image: Image) -> str:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # the network is local: fast beats small
    return base64.b64encode(buffer.getvalue()).decode()


def read_request(data: object) -> EmbedRequest:
    """Read the ``data`` of a request; pictures are opened and not decoded.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(data, dict):
        raise ValueError(f"data must be a JSON object, got {type(data).__name__}.")
    side, rows, form, inputs = (data.get(name) for name in ("side", "rows", "form", "inputs"))
    if side not in SIDES:
        raise ValueError(f"side must be 'query' or 'document', got {side!r}.")
    if form not in ROWS_FORMS:
        raise ValueError(f"form must be one of {', '.join(ROWS_FORMS)}, got {form!r}.")
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise ValueError(f"rows must be a whole number of at least 1, got {rows!r}.")
    if not isinstance(inputs, list) or len(inputs) > MOST_INPUTS:
        count = len(inputs) if isinstance(inputs, list) else type(inputs).__name__
        raise ValueError(f"inputs must be a list of at most {MOST_INPUTS}, got {count}.")
    items = tuple(_item(value, at) for at, value in enumerate(inputs))
    return EmbedRequest(str(side), rows, form, items)


def _item(value: object, at: int) -> Item:
    if not isinstance(value, dict) or not isinstance(value.get("parts"), list):
        raise ValueError(f"input {at} must be an object with a list of parts, got {type(value).__name__}.")
    instruction, thought = value.get("instruction", ""), value.get("thought", "")
    if not isinstance(instruction, str) or not isinstance(thought, str):
        raise ValueError(f"instruction and thought of input {at} must be text.")
    return Item(tuple(_part(part, at) for part in value["parts"]), instruction, thought)


def _part(part: object, at: int) -> str | Image:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    if not isinstance(part, dict) or not isinstance(part.get("image"), str):
        raise ValueError(f"a part of input {at} must be a text or an image, got {type(part).__name__}.")
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(BytesIO(base64.b64decode(part["image"], validate=True)), formats=("PNG",))
    except (binascii.Error, UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise ValueError(f"an image of input {at} must be a PNG in base64, got one that is not.") from error


# ---- replies ---------------------------------------------------------------------------------------


def reply_data(
    identity: Mapping[str, Any], matrices: Sequence[Matrix], cut: Sequence[bool], form: RowsForm
) -> dict[str, Any]:
    """Return the ``data`` of a reply."""
    return {
        "identity": dict(identity),
        "matrices": [_matrix_data(matrix, form) for matrix in matrices],
        "cut": list(cut),
    }


def _matrix_data(matrix: Matrix, form: RowsForm) -> dict[str, Any]:
    if form == "float16":
        numbers = matrix.astype("<f2").tobytes()
    else:
        numbers = RowCodec(matrix.shape[1], "int8").encode(np.nan_to_num(matrix, nan=0.0))
    return {"rows": len(matrix), "numbers": base64.b64encode(numbers).decode()}


def read_matrices(data: Mapping[str, Any], count: int, rows: int, dim: int, form: RowsForm) -> list[Matrix]:
    """Return the matrices of a reply, each ``(rows, dim)`` float32 with rows of length 1.

    Raises:
        ValueError: not `count` of them, or one is of another shape or not finite; says what is wrong.
    """
    entries = data.get("matrices")
    if not isinstance(entries, list) or len(entries) != count:
        number = len(entries) if isinstance(entries, list) else type(entries).__name__
        raise ValueError(f"must give a matrix for each of {count} inputs, got {number}")
    return [_read_matrix(entry, rows, dim, form) for entry in entries]


def _read_matrix(entry: object, rows: int, dim: int, form: RowsForm) -> Matrix:
    numbers = entry.get("numbers") if isinstance(entry, dict) else None
    if not isinstance(numbers, str):
        raise ValueError("must give the numbers of each matrix in base64")
    try:
        matrix = RowCodec(dim, form).decode(base64.b64decode(numbers, validate=True)).astype(np.float32)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"must give matrices of {rows} x {dim} numbers, got {error}") from error
    if len(matrix) != rows:
        raise ValueError(f"must give matrices of {rows} rows, got {len(matrix)}")
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise ValueError("must give finite rows that are not all zero")
    unit: Matrix = matrix / norms  # rounding on the way made them a little longer or shorter
    return unit


def read_cut(data: Mapping[str, Any], count: int) -> list[bool]:
    """Return which inputs were cut; none where the reply does not say."""
    cut = data.get("cut")
    return [bool(value) for value in cut] if isinstance(cut, list) and len(cut) == count else [False] * count
