"""Readers of PDF that `reading.py` compares: each gives a page's words in its order, with boxes as shown.

Ours go through `DocumentReader`, without OCR. The others are called as their own documentation shows it,
with their defaults. A reader whose package is not installed is left out.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymupdf

from mmrag import DocumentReader, Page, ReaderSettings
from mmrag.documents import InputDocument, discover
from mmrag.types import Box, HiddenText, Word


@dataclass
class Reading:
    """What a reader gives for one page.

    Attributes:
        words: in the reader's order; boxes in 0..1 as shown.
        hidden: text that the reader has marked as not seen.
        seconds: of this page; opening the file is part of it.
        error: why there is nothing.
    """

    words: tuple[Word, ...] = ()
    hidden: tuple[HiddenText, ...] = ()
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Reader:
    """A reader: its name, the package it needs, and a function ``(path, 0-based page) -> words``."""

    name: str
    package: str
    read: Callable[[Path, int], Reading] = field(repr=False)

    @property
    def is_installed(self) -> bool:
        """Whether its package is there."""
        return importlib.util.find_spec(self.package) is not None

    def timed(self, path: Path, number: int) -> Reading:
        """Read one page by the clock; an error is what it gives."""
        started = time.perf_counter()
        try:
            reading = self.read(path, number)
        except Exception as error:  # noqa: BLE001  (a reader that fails is compared as it is)
            reading = Reading(error=f"{type(error).__name__}: {error}"[:120])
            sys.stderr.write(f"{self.name}: {path.name}, page {number + 1}: {reading.error}\n")
        reading.seconds = time.perf_counter() - started
        return reading


class Ours:
    """Our reader with one renderer, its worker kept warm."""

    def __init__(self, renderer: str) -> None:
        self.reader = DocumentReader(ReaderSettings(renderer=renderer, ocr="off", workers=1))  # type: ignore[arg-type]

    def read(self, path: Path, number: int) -> Reading:
        (document,) = discover(path)
        if not isinstance(document, InputDocument):
            raise ValueError(document.reason)
        (page,) = self.reader.pages(document, numbers=[number])
        if not isinstance(page, Page):
            raise ValueError(page.reason)
        return Reading(page.words, page.hidden)


def readers() -> list[Reader]:
    """All readers, ours first."""
    return [
        Reader("mmrag, pymupdf", "pymupdf", Ours("pymupdf").read),
        Reader("mmrag, pdfium", "pypdfium2", Ours("pdfium").read),
        Reader("PyMuPDF", "pymupdf", by_pymupdf),
        Reader("pypdfium2", "pypdfium2", by_pypdfium2),
        Reader("pdfplumber", "pdfplumber", by_pdfplumber),
        Reader("pdfminer.six", "pdfminer", by_pdfminer),
    ]


ENGINES = ("PyMuPDF", "pypdfium2", "pdfplumber")
"""One reader for each parser of PDF: these vote. pdfplumber is built on pdfminer.six."""


def by_pymupdf(path: Path, number: int) -> Reading:
    """Read by ``page.get_text("words")``."""
    with pymupdf.open(path) as document:
        page = document[number]
        width, height = page.rect.width, page.rect.height
        words = []
        for *corners, text, _, _, _ in page.get_text("words"):
            rect = pymupdf.Rect(corners) * page.rotation_matrix
            words.append(Word(text, (rect.x0 / width, rect.y0 / height, rect.x1 / width, rect.y1 / height)))
        return Reading(tuple(words))


def by_pypdfium2(path: Path, number: int) -> Reading:
    """Read characters and their boxes; a word ends at white space."""
    import pypdfium2

    with pypdfium2.PdfDocument(path) as document:
        page = document[number]
        text_page = page.get_textpage()
        shown = _shown(page.get_cropbox(), page.get_rotation())
        text = text_page.get_text_range()
        if len(text) != text_page.count_chars():  # characters beyond 16 bits, or without a letter
            text = "".join(text_page.get_text_range(i, 1) or " " for i in range(text_page.count_chars()))
        characters = ((text[i], text_page.get_charbox(i, loose=True)) for i in range(len(text)))
        return Reading(tuple(_words(characters, shown)))


def by_pdfplumber(path: Path, number: int) -> Reading:
    """Read by ``page.extract_words()``."""
    import pdfplumber

    with pdfplumber.open(path) as document:
        page = document.pages[number]
        left, top, right, bottom = page.bbox
        width, height = right - left, bottom - top
        return Reading(
            tuple(
                Word(
                    word["text"],
                    (
                        (word["x0"] - left) / width,
                        (word["top"] - top) / height,
                        (word["x1"] - left) / width,
                        (word["bottom"] - top) / height,
                    ),
                )
                for word in page.extract_words()
            )
        )


def by_pdfminer(path: Path, number: int) -> Reading:
    """Read by ``extract_pages`` with its layout analysis; a word ends at white space or at the line's end."""
    from pdfminer.high_level import extract_pages
    from pdfminer.layout import LTChar

    (page,) = extract_pages(path, page_numbers=[number])
    shown = _shown(page.bbox, 0)
    return Reading(
        tuple(
            word
            for line in _pdfminer_lines(page)
            for word in _words(
                ((c.get_text(), c.bbox if isinstance(c, LTChar) else None) for c in line), shown
            )
        )
    )


def _pdfminer_lines(element: Any) -> Iterable[Any]:
    """Yield the lines of text below an element, in order."""
    from pdfminer.layout import LTContainer, LTTextLine

    if isinstance(element, LTTextLine):
        yield element
    elif isinstance(element, LTContainer):
        for child in element:
            yield from _pdfminer_lines(child)


def _shown(page: Sequence[float], rotation: int) -> Callable[[Sequence[float]], Box]:
    """Return a function from boxes in points, origin bottom left, to 0..1 as shown, origin top left."""
    left, bottom, right, top = page

    def turned(box: Sequence[float]) -> Box:
        x0, x1 = ((x - left) / (right - left) for x in (box[0], box[2]))
        y0, y1 = ((top - y) / (top - bottom) for y in (box[3], box[1]))
        if rotation == 90:
            return (1 - y1, x0, 1 - y0, x1)
        if rotation == 180:
            return (1 - x1, 1 - y1, 1 - x0, 1 - y0)
        if rotation == 270:
            return (y0, 1 - x1, y1, 1 - x0)
        return (x0, y0, x1, y1)

    return turned


def _words(
    characters: Iterable[tuple[str, Sequence[float] | None]], shown: Callable[[Sequence[float]], Box]
) -> Iterable[Word]:
    """Join characters between white space; a character without a box is a space."""
    text, box = "", None
    for character, edges in (*characters, (" ", None)):
        if edges is None or not character.strip():
            if text and box is not None:
                yield Word(text, shown(box))
            text, box = "", None
            continue
        text += character
        box = edges if box is None else (*map(min, box[:2], edges[:2]), *map(max, box[2:], edges[2:]))
