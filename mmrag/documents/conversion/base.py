"""The `Converter` protocol, and what a converter returns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from mmrag.anchors import Anchor
from mmrag.types import Word

OFFICE_KINDS = ("docx", "pptx", "xlsx", "odt", "odp", "ods")
TEXT_KINDS = ("html", "md", "txt", "csv", "tsv", "eml")
CONVERTED_KINDS = frozenset(OFFICE_KINDS + TEXT_KINDS)
"""Kinds of files (`Source.kind`) that are read through a converter."""

CONVERSION_VERSION = 1
"""Raised when a change of ours changes the pages of converted files."""

Blocks: TypeAlias = "tuple[tuple[tuple[Word, ...], ...], ...]"
"""Blocks of lines of words, as `mmrag.documents.PageText.blocks`."""


@dataclass(frozen=True)
class ConvertedPage:
    """What a converter knows of one page of its PDF.

    Attributes:
        label: name of the page in the original (``"slide 3"``); ``""``: its number.
        anchors: named parts; `mmrag.anchors.Anchor`.
        blocks: of lines of words in reading order, boxes in 0..1; None: those of the PDF's text layer.
        notes: what should be known of this page ("2 hidden rows are left out").
    """

    label: str = ""
    anchors: tuple[Anchor, ...] = ()
    blocks: Blocks | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversion:
    """A file as PDF.

    Attributes:
        pdf: the bytes of the PDF.
        pages: one for each page of it, or none where there is nothing to say of any.
        title: the original's own title, ``""`` without one.
    """

    pdf: bytes = field(repr=False)
    pages: tuple[ConvertedPage, ...] = ()
    title: str = ""

    def page(self, number: int) -> ConvertedPage:
        """Return what is known of the page with this 0-based number."""
        return self.pages[number] if number < len(self.pages) else ConvertedPage()


@runtime_checkable
class Converter(Protocol):
    """Turns files of some kinds into PDFs; pass yours as ``ReaderSettings(converters=(yours,))``.

    It runs in the calling process, from several threads at once, and must keep its own limits.

    Attributes:
        name: without spaces; written in the index, so that a file is read again by another converter.
        kinds: of the files that it takes, of `CONVERTED_KINDS`.
    """

    name: str
    kinds: Collection[str]

    def convert(self, data: bytes, *, kind: str, name: str) -> Conversion:
        """Convert a file.

        Args:
            data: the whole file.
            kind: one of `kinds`.
            name: the file's name, for messages.

        Raises:
            DocumentError: it cannot be converted.
        """
        ...


def to_plain(conversion: Conversion) -> dict[str, Any]:
    """Return a conversion as plain values, which a pipe between processes carries."""
    return {
        "pdf": conversion.pdf,
        "title": conversion.title,
        "pages": [
            {
                "label": page.label,
                "anchors": [(anchor.kind, anchor.name, anchor.box) for anchor in page.anchors],
                "blocks": None
                if page.blocks is None
                else [[[(word.text, word.box) for word in line] for line in block] for block in page.blocks],
                "notes": list(page.notes),
            }
            for page in conversion.pages
        ],
    }


def from_plain(values: dict[str, Any]) -> Conversion:
    """Invert `to_plain`."""
    pages = [
        ConvertedPage(
            label=str(page["label"]),
            anchors=tuple(Anchor(*anchor) for anchor in page["anchors"]),
            blocks=None if page["blocks"] is None else _blocks(page["blocks"]),
            notes=tuple(page["notes"]),
        )
        for page in values["pages"]
    ]
    return Conversion(values["pdf"], tuple(pages), str(values["title"]))


def _blocks(blocks: Sequence[Sequence[Sequence[tuple[str, Any]]]]) -> Blocks:
    return tuple(tuple(tuple(Word(text, box) for text, box in line) for line in block) for block in blocks)
