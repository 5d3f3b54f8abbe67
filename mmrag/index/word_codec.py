"""The words of a page as bytes: where they stand in the record's text, and their boxes.

The text of a page is that of its words with spaces between them, and it is stored anyway. So a word is
written as its distance from the one before it in that text, which is nearly always one letter, and what does
not stand there is written out. Boxes follow one another: a word's left edge is written as its distance from
the right edge of the word before it, its top as the distance from that one's top. All of it compresses to
3.5 bytes a word; written out with plain edges, as earlier code did, to 8.6 (on 2,029 pages).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmrag.index.stored import unzip_bytes, zip_bytes
from mmrag.types import Box, Word

_FORM = b"\x02"
"""First byte of words in this form; compressed data, as earlier code wrote them, begins otherwise."""

_BOX_STEPS = 65535
"""Boxes are whole steps of 1/65535 of the page: 0.01 points on A4."""

_CONFIDENCE_STEPS = 254
_NO_CONFIDENCE = 255

_MOST = 255
"""A distance or a length from which a word is written out."""

_SPACE = re.compile(r"[ \t\n\r\f\v]")


def encode_words(words: tuple[Word, ...], text: str) -> bytes:
    """Encode words and boxes in about 3.5 bytes a word.

    zlib over: the number of words (uint32); for each its distance from the end of the one before it in `text`
    (a byte; 255: it does not stand there); for each its length (a byte; 0: it ends at the next space);
    distances of boxes, see `_edges` (four times uint16 each); lengths in bytes (uint32) and UTF-8 of those
    that do not stand in `text`. Boxes are cut to the page and come back within 1/65535. Where words have a
    confidence or a tail, these follow: see `_extras`.

    Args:
        words: of the page.
        text: of its record; `decode_words` needs the same.

    Raises:
        ValueError: a word is no text that UTF-8 can write, or a box is not finite.
    """
    if not words:
        return b""
    distances, lengths, strays = _positions([word.text for word in words], text)
    try:
        stray_bytes = [stray.encode() for stray in strays]
    except UnicodeEncodeError as error:
        raise ValueError(f"words must be text that UTF-8 can write, got {error.object!r}.") from error
    sizes = np.array([len(data) for data in stray_bytes], "<u4")
    parts = [
        np.array([len(words)], "<u4").tobytes(),
        distances,
        lengths,
        _edges(_steps([word.box for word in words])),
        sizes.tobytes(),
        *stray_bytes,
        _extras(words),
    ]
    return _FORM + zip_bytes(b"".join(parts))


def decode_words(data: bytes, text: str) -> tuple[Word, ...]:
    """Invert `encode_words`, also what earlier code wrote.

    Raises:
        ValueError, IndexError, zlib.error: the bytes are no words.
    """
    if not data:
        return ()
    if data[:1] != _FORM:
        return _decode_old(data)
    raw = unzip_bytes(data[1:])
    count = int(np.frombuffer(raw, "<u4", 1)[0])
    distances, lengths = raw[4 : 4 + count], raw[4 + count : 4 + 2 * count]
    offset = 4 + 2 * count
    boxes = _boxes(_steps_of_edges(np.frombuffer(raw, "<u2", 4 * count, offset=offset).reshape(4, count)))
    offset += 8 * count
    stray_count = distances.count(_MOST)
    strays, offset = _texts_at(raw, stray_count, offset)
    return _words(_texts_of_positions(distances, lengths, strays, text), boxes, raw, offset)


def _words(texts: Sequence[str], boxes: Sequence[Box], raw: bytes, offset: int) -> tuple[Word, ...]:
    """Return the words of these texts and boxes, with what stands of them from `offset` on."""
    confidences, tails = _extras_of(raw, len(texts), offset)
    return tuple(
        Word(word, box, tails.get(position), confidences[position])
        for position, (word, box) in enumerate(zip(texts, boxes, strict=True))
    )


# ---- texts ---------------------------------------------------------------------------------------


def _positions(texts: Sequence[str], text: str) -> tuple[bytes, bytes, list[str]]:
    """Return for each word its distance and its length in `text`, and the words that do not stand there."""
    distances, lengths, strays = bytearray(), bytearray(), []
    end = 0
    for word in texts:
        start = text.find(word, end, end + _MOST - 1 + len(word))
        length = -1 if start < 0 else _length(word, text, start)
        if length < 0:
            distances.append(_MOST)
            lengths.append(0)
            strays.append(word)
        else:
            distances.append(start - end)
            lengths.append(length)
            end = start + len(word)
    return bytes(distances), bytes(lengths), strays


def _length(word: str, text: str, start: int) -> int:
    """Return 0 for a word that ends at the next space, else its length; -1 if it is too long or too short."""
    end = start + len(word)
    if not _SPACE.search(word) and (end == len(text) or _SPACE.match(text, end)):
        return 0
    return len(word) if 0 < len(word) <= _MOST else -1


def _texts_of_positions(distances: bytes, lengths: bytes, strays: Sequence[str], text: str) -> list[str]:
    """Invert `_positions`."""
    texts: list[str] = []
    rest = iter(strays)
    end = 0
    for distance, length in zip(distances, lengths, strict=True):
        if distance == _MOST:
            texts.append(next(rest))
            continue
        start = end + distance
        if length:
            end = start + length
        else:
            space = _SPACE.search(text, start)
            end = len(text) if space is None else space.start()
        texts.append(text[start:end])
    return texts


def _texts_at(raw: bytes, count: int, offset: int) -> tuple[list[str], int]:
    """Read texts that are written out: their lengths (uint32), then their UTF-8. Return the end, too."""
    ends = offset + 4 * count + np.cumsum(np.frombuffer(raw, "<u4", count, offset=offset), dtype=np.int64)
    texts, start = [], offset + 4 * count
    for end in ends.tolist():
        texts.append(raw[start:end].decode())
        start = end
    if start > len(raw):
        raise ValueError("words that end beyond their bytes")
    return texts, start


# ---- boxes ---------------------------------------------------------------------------------------


def _steps(boxes: Sequence[Box]) -> NDArray[np.uint16]:
    """Return the edges of boxes in steps, ``(4, boxes)``: x0 of all, y0 of all, x1, y1."""
    values = np.array(boxes, np.float64).reshape(len(boxes), 4)
    if not np.isfinite(values).all():
        raise ValueError("boxes of words must be finite, got NaN or infinity. Leave such words out.")
    steps: NDArray[np.uint16] = np.rint(values.clip(0.0, 1.0) * _BOX_STEPS).astype("<u2").T
    return steps


def _boxes(steps: NDArray[np.uint16]) -> list[Box]:
    """Invert `_steps`."""
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in (steps.T / _BOX_STEPS).tolist()]


def _edges(steps: NDArray[np.uint16]) -> bytes:
    """Write edges modulo 65536: x0 less the x1 before it, width, y0 less the y0 before it, height."""
    x0, y0, x1, y1 = steps
    return np.stack([x0 - _before(x1), x1 - x0, y0 - _before(y0), y1 - y0]).astype("<u2").tobytes()


def _before(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    return np.concatenate([np.zeros(1, np.uint16), values[:-1]])


def _steps_of_edges(edges: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Invert `_edges`."""
    gaps, widths, drops, heights = edges.astype(np.uint16)
    x1 = np.cumsum(gaps + widths, dtype=np.uint16)
    y0 = np.cumsum(drops, dtype=np.uint16)
    return np.stack([x1 - widths, y0, x1, y0 + heights])


# ---- what few words have -------------------------------------------------------------------------


def _extras(words: Sequence[Word]) -> bytes:
    """Encode a byte of confidence for each word, then positions and boxes of tails.

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
    return confidences + positions.tobytes() + _steps([tail for _, tail in tails]).tobytes()


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
        zip(positions, _boxes_at(data, tail_count, offset + 4 * tail_count), strict=True)
    )


def _boxes_at(data: bytes, count: int, offset: int) -> list[Box]:
    """Read boxes that are written as plain edges."""
    return _boxes(np.frombuffer(data, "<u2", 4 * count, offset=offset).reshape(4, count))


def _decode_old(data: bytes) -> tuple[Word, ...]:
    """Decode what earlier code wrote: all words with their lengths, then plain edges."""
    raw = unzip_bytes(data)
    count = int(np.frombuffer(raw, "<u4", 1)[0])
    texts, offset = _texts_at(raw, count, 4)
    boxes = _boxes_at(raw, count, offset)
    return _words(texts, boxes, raw, offset + 8 * count)
