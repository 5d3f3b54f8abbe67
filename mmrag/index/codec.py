"""How matrices, words and pages are written into a file: plain bytes and JSON, never pickle."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.index.base import DocumentEntry
from mmrag.types import Metadata, Page, Scalar, Source, Word

_BOX_STEPS = 65535
"""Boxes are whole steps of 1/65535 of the page: 0.01 points on A4."""


def encode_matrix(matrix: NDArray[np.float16]) -> bytes:
    """Encode a matrix as little-endian float16, row after row."""
    return matrix.astype("<f2", copy=False).tobytes()


def decode_matrix(data: bytes, dim: int) -> NDArray[np.float16]:
    """Decode a ``(rows, dim)`` float16 matrix, read-only."""
    return np.frombuffer(data, "<f2").reshape(-1, dim)


def encode_words(words: tuple[Word, ...]) -> bytes:
    """Encode words and boxes in about 6 bytes per word.

    zlib over: the number of words and their lengths in bytes (uint32), their UTF-8, then x0 of all
    words, y0 of all, x1, y1 (uint16 each). Boxes are cut to the page and come back within 1/65535.

    Raises:
        ValueError: a word is no text that UTF-8 can write, or a box is not finite.
    """
    if not words:
        return b""
    try:
        texts = [word.text.encode() for word in words]
    except UnicodeEncodeError as error:
        raise ValueError(f"words must be text that UTF-8 can write, got {error.object!r}.") from error
    boxes = np.array([word.box for word in words], np.float64).reshape(len(words), 4)
    if not np.isfinite(boxes).all():
        raise ValueError("boxes of words must be finite, got NaN or infinity. Leave such words out.")
    steps = np.rint(boxes.clip(0.0, 1.0) * _BOX_STEPS).astype("<u2")
    lengths = np.array([len(words), *map(len, texts)], "<u4")
    return zlib.compress(lengths.tobytes() + b"".join(texts) + steps.T.tobytes())


def decode_words(data: bytes) -> tuple[Word, ...]:
    """Invert `encode_words`."""
    if not data:
        return ()
    raw = zlib.decompress(data)
    count = int(np.frombuffer(raw, "<u4", 1)[0])
    ends = np.cumsum(np.frombuffer(raw, "<u4", count, offset=4))
    start = 4 * (count + 1)
    text = raw[start : start + int(ends[-1])]
    steps = np.frombuffer(raw, "<u2", offset=start + len(text)).reshape(4, count).T
    boxes = (steps / _BOX_STEPS).tolist()
    begin = 0
    words = []
    for end, box in zip(ends.tolist(), boxes, strict=True):
        words.append(Word(text[begin:end].decode(), (box[0], box[1], box[2], box[3])))
        begin = end
    return tuple(words)


def encode_page(page: Page, record_id: str, record_text: str) -> str:
    """Encode a page as JSON, without its image and words; what the record says already is not repeated."""
    values: dict[str, Any] = {
        "document_id": page.document_id,
        "number": page.number,
        "label": page.label,
        "size": list(page.size),
        "source": asdict(page.source),
        "total_pages": page.total_pages,
        "text_source": page.text_source,
        "notes": list(page.notes),
    }
    if page.id != record_id:
        values["id"] = page.id
    if page.text != record_text:
        values["text"] = page.text
    return json.dumps(values, separators=(",", ":"))


def decode_page(data: str, words: tuple[Word, ...], record_id: str, record_text: str) -> Page:
    """Invert `encode_page`."""
    values = json.loads(data)
    width, height = values.pop("size")
    return Page(
        id=values.pop("id", record_id),
        text=values.pop("text", record_text),
        words=words,
        size=(width, height),
        source=Source(**values.pop("source")),
        notes=tuple(values.pop("notes")),
        **values,
    )


def encode_metadata(metadata: Metadata) -> str:
    """Encode metadata as JSON; a tuple becomes a list."""
    return json.dumps(dict(metadata), separators=(",", ":"))


def decode_metadata(data: str) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """Invert `encode_metadata`."""
    values = json.loads(data)
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def encode_entry(entry: DocumentEntry) -> str:
    """Encode a document's entry as JSON."""
    return json.dumps(asdict(entry), separators=(",", ":"))


def decode_entry(data: str) -> DocumentEntry:
    """Invert `encode_entry`."""
    values = json.loads(data)
    names = tuple(values.pop("names"))
    skipped = tuple((int(number), str(reason)) for number, reason in values.pop("skipped"))
    return DocumentEntry(names=names, skipped=skipped, **values)
