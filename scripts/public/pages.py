"""Lines and blocks of a document's pages, read plainly: what the templates make their questions of.

PyMuPDF's text as it lies in the file, not this project's reader: questions must not depend on what is
measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pymupdf

SENTENCE_END = re.compile(r"(?<=[a-z)\]][.!?])\s+(?=[A-Z])")
_FLAGS = pymupdf.TEXTFLAGS_DICT & ~pymupdf.TEXT_PRESERVE_LIGATURES & ~pymupdf.TEXT_PRESERVE_IMAGES
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A block of a page: its lines as they are printed, its box in points, and whether it is code."""

    lines: tuple[str, ...]
    box: Box
    is_code: bool

    @property
    def text(self) -> str:
        """The lines joined, words that are divided at a line's end put together."""
        joined = ""
        for line in self.lines:
            divided = joined.endswith("-") and len(joined) > 1 and joined[-2].islower() and line[:1].islower()
            joined = joined[:-1] + line if divided else f"{joined} {line}".strip()
        return joined

    @property
    def sentences(self) -> list[str]:
        """The sentences, by full stops before capitals."""
        return SENTENCE_END.split(self.text)


@dataclass(frozen=True, slots=True)
class TextPage:
    """A page: its blocks in the file's order, its size in points."""

    number: int
    blocks: tuple[TextBlock, ...]
    size: tuple[float, float]

    @property
    def text(self) -> str:
        """All blocks, a line each."""
        return "\n".join(block.text for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Document:
    """A document of the pack: file name, what questions call it, pages, outline (title, 0-based page)."""

    file: str
    title: str
    pages: tuple[TextPage, ...]
    outline: tuple[tuple[str, int], ...]


def read(path: Path, title: str) -> Document:
    """Read a PDF."""
    with pymupdf.open(path) as pdf:
        outline = tuple((tidy(entry[1]), entry[2] - 1) for entry in pdf.get_toc() if entry[2] > 0)
        pages = tuple(_page(pdf[number], number) for number in range(len(pdf)))
    return Document(path.name, title, pages, outline)


def tidy(text: str) -> str:
    """Return the text with single blanks and without control characters."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def _page(page: pymupdf.Page, number: int) -> TextPage:
    blocks = []
    for block in page.get_text("dict", flags=_FLAGS)["blocks"]:
        spans = [[span for span in line["spans"] if span["text"].strip()] for line in block.get("lines", ())]
        lines = tuple(tidy(" ".join(span["text"] for span in line)) for line in spans if line)
        if lines:
            fonts = [span["font"].lower() for line in spans for span in line]
            code = sum(any(word in font for word in ("mono", "tt", "cour", "typewriter")) for font in fonts)
            blocks.append(TextBlock(lines, tuple(block["bbox"]), code * 2 > len(fonts)))
    return TextPage(number, tuple(blocks), (page.rect.width, page.rect.height))
