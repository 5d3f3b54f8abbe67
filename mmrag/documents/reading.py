"""`mmrag.read`: a file in; its pages, blocks and tables out, without an index."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmrag.blocks import Block
from mmrag.documents.export import ExportedTable, page_data, tables_of
from mmrag.documents.inputs import Input, InputDocument, Skipped, discover
from mmrag.documents.markdown import markdown
from mmrag.documents.structure.joining import join_tables
from mmrag.errors import DocumentError
from mmrag.types import Page, Source

if TYPE_CHECKING:
    from mmrag.documents.reader import DocumentReader, Password
    from mmrag.documents.settings import ReaderSettings

_RANGE = re.compile(r"\s*(\d+)\s*(?:-\s*(\d*)\s*)?")


@dataclass(frozen=True)
class ParsedDocument:
    """A file as it was read.

    Attributes:
        source: the file.
        total_pages: pages in the file.
        pages: those that were read, with their blocks.
        skipped: pages that could not be read, and why.

    Example:
        >>> mmrag.read("report.pdf", pages="2").text.splitlines()[-1]
        'Ingrid Thorne chairs the board.'
    """

    source: Source
    total_pages: int
    pages: tuple[Page, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks of all pages in reading order."""
        return tuple(block for page in self.pages for block in page.blocks or ())

    @property
    def text(self) -> str:
        """Return the text of all pages, an empty line between two."""
        return "\n\n".join(page.text for page in self.pages if page.text)

    @property
    def notes(self) -> dict[int, tuple[str, ...]]:
        """Return the reader's notes by 0-based page."""
        return {page.number: page.notes for page in self.pages if page.notes}

    def markdown(self, *, running_heads: bool = False) -> str:
        """Return the blocks as Markdown; `running_heads` keeps them, feet and watermarks."""
        return markdown(self.pages, running_heads=running_heads)

    def data(self) -> dict[str, Any]:
        """Return everything as plain data; pages are counted from 0, boxes are in 0..1."""
        return {
            "file": self.source.name,
            "path": self.source.path,
            "document_id": self.source.document_id,
            "kind": self.source.kind,
            "total_pages": self.total_pages,
            "pages": [page_data(page) for page in self.pages],
            "skipped": [{"page": skipped.page, "reason": skipped.reason} for skipped in self.skipped],
        }

    def json(self, *, indent: int | None = 2) -> str:
        """Return `data` as JSON."""
        return json.dumps(self.data(), ensure_ascii=False, indent=indent)

    def tables(self) -> list[ExportedTable]:
        """Return the tables; one over a page break is one table."""
        return tables_of(self.pages)


def read(
    document: Input,
    *,
    pages: str | Iterable[int] | None = None,
    settings: ReaderSettings | None = None,
    password: Password = None,
) -> ParsedDocument:
    """Read a file with its structure: headings, paragraphs, lists, tables with cells, pictures.

    Args:
        document: path, bytes, ``(name, bytes)`` or PIL image: one of what `DocumentReader` reads.
        pages: ``"3-5, 8"`` counts from 1, as people do; numbers are those of `Page.number`, from 0.
            None: all.
        settings: of the reader; its own `structure` is not looked at.
        password: for an encrypted file; see `DocumentReader`.

    Returns:
        The document; pages that cannot be read are in `ParsedDocument.skipped`.

    Raises:
        DocumentError: the file cannot be read, or `document` is a folder or pattern of several.
        ValueError: a page that the file does not have.

    Example:
        >>> document = mmrag.read("report.pdf")
        >>> document.total_pages, document.source.kind
        (2, 'pdf')
    """
    from dataclasses import replace

    from mmrag.documents.reader import DocumentReader
    from mmrag.documents.settings import ReaderSettings

    full = replace(settings or ReaderSettings(), structure="full")
    with DocumentReader(full, password=password) as reader:
        return read_with(reader, _only_document(document), pages)


def read_with(
    reader: DocumentReader, document: InputDocument, pages: str | Iterable[int] | None = None
) -> ParsedDocument:
    """Read a document with an open reader, whose settings say ``structure="full"``; see `read`."""
    total = reader.info(document).total_pages
    outcomes = list(reader.pages(document, numbers=page_numbers(pages, total)))
    read_pages = [outcome for outcome in outcomes if isinstance(outcome, Page)]
    skipped = tuple(outcome for outcome in outcomes if isinstance(outcome, Skipped))
    return ParsedDocument(document.source, total, join_tables(read_pages), skipped)


def page_numbers(pages: str | Iterable[int] | None, total: int) -> Sequence[int]:
    """Return 0-based page numbers.

    Args:
        pages: ``"3-5, 8, 10-"`` from 1; numbers from 0; None for all.
        total: pages in the file.

    Raises:
        ValueError: not of this form, or a page that the file does not have.
    """
    if pages is None:
        return range(total)
    numbers = _parse(pages, total) if isinstance(pages, str) else list(pages)
    absent = [number for number in numbers if not 0 <= number < total]
    if absent or not numbers:
        wanted_pages = pages if isinstance(pages, str) else absent or numbers
        raise ValueError(f"pages must be among the {total} of the file, got {wanted_pages!r}.")
    return list(dict.fromkeys(numbers))


def _parse(text: str, total: int) -> list[int]:
    """Parse ranges of pages that count from 1."""
    numbers: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"pages must be numbers and ranges like '3-5, 8', got {text!r}.")
        first, last = int(match.group(1)), match.group(2)
        end = first if last is None else int(last) if last else max(first, total)
        if end < first:
            raise ValueError(f"a range of pages must go up, got {part.strip()!r}.")
        numbers += range(first - 1, min(end, max(total, first) + 1))
    return numbers


def _only_document(document: Input) -> InputDocument:
    """Return the one document that an input names."""
    documents = list(discover(document))
    for outcome in documents:
        if isinstance(outcome, Skipped):
            raise DocumentError(f"{outcome.name}: {outcome.reason}.")
    if len(documents) != 1:
        raise DocumentError(
            f"read takes one document, got {len(documents)} in {document!r}. Read each by itself."
        )
    only = documents[0]
    assert isinstance(only, InputDocument)  # what is skipped has been raised
    return only
