"""Bytes of a text file as text, and lines of it as pages.

Decisions taken here:

* The encoding is that of the byte order mark, else what the file itself declares (HTML), else UTF-8, else
  Windows-1252, which every byte is a letter of; the last is said in a note.
* A page holds `LINES` lines, fewer where they are long. Lines are counted as editors do, empty ones too.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from mmrag.anchors import Anchor, lines_label
from mmrag.documents.conversion.base import Conversion
from mmrag.documents.conversion.drawing import PAGE, Drawing, Piece
from mmrag.types import Box

LINES = 60
"""Most lines of a page."""

LETTERS = 5_000
"""Letters of a page; a longer line has pages of its own."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes, declared_encoding: str = "") -> tuple[str, tuple[str, ...]]:
    r"""Decode a text file.

    Args:
        data: all of it.
        declared_encoding: the encoding that the file itself names; ``""`` where it names none.

    Returns:
        The text with ``\n`` at the end of lines, and a note where the encoding is a guess.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), declared_encoding)
    notes: tuple[str, ...] = ()
    text = _strict(data, encoding) if encoding else None
    if text is None:
        text = _strict(data, "utf-8")
    if text is None:
        text = data.decode("cp1252", errors="replace")
        notes = ("the text is not UTF-8 and names no encoding: it was read as Windows-1252",)
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""), notes


def _strict(data: bytes, encoding: str) -> str | None:
    """Decode bytes, or return None where they are not of this encoding or it is unknown."""
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError, ValueError):
        return None


def from_text(data: bytes) -> Conversion:
    """Convert a plain text."""
    text, notes = decode(data)
    drawing = Drawing()
    for lines in _pages(text.rstrip("\n").split("\n")):
        pieces = [Piece("pre", (line,)) for _, line in lines]
        label = lines_label(lines[0][0], lines[-1][0])
        number, boxes = drawing.sheet(pieces, label=label, width=PAGE[0], notes=notes)
        anchors = [_line(count, box) for (count, _), box in zip(lines, boxes, strict=True) if box is not None]
        drawing.set_anchors(number, anchors)
    return drawing.finish()


def _pages(lines: list[str]) -> Iterator[list[tuple[int, str]]]:
    """Yield the lines of each page with their numbers from 1; a very long line is cut into parts."""
    page: list[tuple[int, str]] = []
    letters = 0
    for count, line in enumerate(lines, start=1):
        for start in range(0, max(1, len(line)), LETTERS):
            part = line[start : start + LETTERS].replace("\t", "    ")
            if page and (len(page) >= LINES or letters + len(part) > LETTERS):
                yield page
                page, letters = [], 0
            page.append((count, part))
            letters += len(part)
    if page:
        yield page


def _line(count: int, box: Box) -> Anchor:
    return Anchor("line", str(count), (0.0, round(box[1], 4), 1.0, round(box[3], 4)))
