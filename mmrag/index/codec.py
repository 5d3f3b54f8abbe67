"""How words and pages are written into a file: plain bytes and JSON, never pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.blocks import Block
from mmrag.index.base import DocumentEntry
from mmrag.index.stored import unzip_bytes, zip_bytes
from mmrag.types import Box, HiddenText, Metadata, Page, Scalar, Source, Word

_BOX_STEPS = 65535
"""Boxes are whole steps of 1/65535 of the page: 0.01 points on A4."""

_CONFIDENCE_STEPS = 254
_NO_CONFIDENCE = 255


def encode_words(words: tuple[Word, ...]) -> bytes:
    """Encode words and boxes in about 6 bytes per word.

    zlib over: the number of words and their lengths in bytes (uint32), their UTF-8, then x0 of all
    words, y0 of all, x1, y1 (uint16 each). Boxes are cut to the page and come back within 1/65535.
    Where words have a confidence or a tail, these follow: see `_extras`.

    Raises:
        ValueError: a word is no text that UTF-8 can write, or a box is not finite.
    """
    if not words:
        return b""
    try:
        texts = [word.text.encode() for word in words]
    except UnicodeEncodeError as error:
        raise ValueError(f"words must be text that UTF-8 can write, got {error.object!r}.") from error
    lengths = np.array([len(words), *map(len, texts)], "<u4")
    boxes = _box_bytes([word.box for word in words])
    return zip_bytes(lengths.tobytes() + b"".join(texts) + boxes + _extras(words))


def _box_bytes(boxes: Sequence[Box]) -> bytes:
    """Encode boxes, edge after edge (uint16 each)."""
    values = np.array(boxes, np.float64).reshape(len(boxes), 4)
    if not np.isfinite(values).all():
        raise ValueError("boxes of words must be finite, got NaN or infinity. Leave such words out.")
    steps: NDArray[np.uint16] = np.rint(values.clip(0.0, 1.0) * _BOX_STEPS).astype("<u2")
    return steps.T.tobytes()


def _boxes_of(data: bytes, count: int, offset: int) -> list[Box]:
    """Invert `_box_bytes`."""
    steps = np.frombuffer(data, "<u2", 4 * count, offset=offset).reshape(4, count).T
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in (steps / _BOX_STEPS).tolist()]


def _extras(words: Sequence[Word]) -> bytes:
    """Encode what few words have: a byte of confidence for each word, then positions and boxes of tails.

    Nothing where no word has either, which is how words were written before there was any. A confidence comes
    back within 1/508; 255 stands for none.
    """
    tails = [(position, word.tail) for position, word in enumerate(words) if word.tail is not None]
    if not tails and all(word.confidence is None for word in words):
        return b""
    confidences = bytes(
        _NO_CONFIDENCE if word.confidence is None else round(word.confidence * _CONFIDENCE_STEPS)
        for word in words
    )
    positions = np.array([position for position, _ in tails], "<u4")
    return confidences + positions.tobytes() + _box_bytes([tail for _, tail in tails])


def decode_words(data: bytes) -> tuple[Word, ...]:
    """Invert `encode_words`."""
    if not data:
        return ()
    raw = unzip_bytes(data)
    count = int(np.frombuffer(raw, "<u4", 1)[0])
    ends = np.cumsum(np.frombuffer(raw, "<u4", count, offset=4))
    start = 4 * (count + 1)
    text = raw[start : start + int(ends[-1])]
    boxes = _boxes_of(raw, count, start + len(text))
    confidences, tails = _extras_of(raw, count, start + len(text) + 8 * count)
    begin = 0
    words = []
    for position, (end, box) in enumerate(zip(ends.tolist(), boxes, strict=True)):
        words.append(Word(text[begin:end].decode(), box, tails.get(position), confidences[position]))
        begin = end
    return tuple(words)


def _extras_of(data: bytes, count: int, offset: int) -> tuple[list[float | None], dict[int, Box]]:
    """Invert `_extras`: the confidence of each word, and tails by position."""
    if offset == len(data):
        return [None] * count, {}
    steps = data[offset : offset + count]
    confidences = [None if step == _NO_CONFIDENCE else step / _CONFIDENCE_STEPS for step in steps]
    offset += count
    tail_count = (len(data) - offset) // 12  # a position (uint32) and four edges (uint16)
    positions = np.frombuffer(data, "<u4", tail_count, offset=offset).tolist()
    return confidences, dict(
        zip(positions, _boxes_of(data, tail_count, offset + 4 * tail_count), strict=True)
    )


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
    if page.confidence is not None:
        values["confidence"] = round(page.confidence, 4)
    if page.hidden:
        values["hidden"] = [
            [hidden.text, [round(edge, 5) for edge in hidden.box], hidden.reason] for hidden in page.hidden
        ]
    if page.section:
        values["section"] = list(page.section)
    if page.id != record_id:
        values["id"] = page.id
    if page.text != record_text:
        values["text"] = page.text
    return json.dumps(values, separators=(",", ":"))


def decode_page(
    data: str,
    words: tuple[Word, ...],
    record_id: str,
    record_text: str,
    blocks: tuple[Block, ...] | None = None,
) -> Page:
    """Invert `encode_page`."""
    values = json.loads(data)
    width, height = values.pop("size")
    return Page(
        id=values.pop("id", record_id),
        text=values.pop("text", record_text),
        words=words,
        blocks=blocks,
        size=(width, height),
        source=Source(**values.pop("source")),
        notes=tuple(values.pop("notes")),
        hidden=tuple(HiddenText(text, tuple(box), reason) for text, box, reason in values.pop("hidden", ())),
        section=tuple(values.pop("section", ())),
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
