"""Where an `add` gets pages with their rows from: this process, or others (`mmrag.ingest.cluster`).

The ingest decides which pages of which document it wants and writes them; a source reads and embeds them. So
whatever reads them, ids, records and the report are made by the same lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from mmrag.documents.inputs import InputDocument, Skipped
from mmrag.ingest.embedding import encode_documents, image_pixels, images_wanted
from mmrag.ingest.report import Stage
from mmrag.types import Matrix, Page

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader
    from mmrag.documents.page_reading import DocumentInfo
    from mmrag.embedders.base import Embedder

BATCH_PAGES = 16
"""Pages embedded and committed together: the most that a crash can lose."""

LOST_ROWS = "embedding it "
"""How the reason of a page begins whose embedding ended a process; the next `add` tries it again."""


@dataclass(frozen=True, slots=True)
class PageBatch:
    """Some pages of a document in order, at most `BATCH_PAGES` unless a source says otherwise.

    Attributes:
        pages: those that could be read.
        failures: the others.
        matrices: rows ``(rows, dim)`` by position in `pages`, in order.
        reasons: why the other pages cannot be embedded, by position.
    """

    pages: Sequence[Page]
    failures: Sequence[Skipped]
    matrices: dict[int, Matrix]
    reasons: dict[int, str]

    @property
    def size(self) -> int:
        """Number of pages, failures among them."""
        return len(self.pages) + len(self.failures)


@dataclass(frozen=True, slots=True)
class WantedDocument:
    """A document of an `add` that is going to be read, as far as can be told before its turn.

    Attributes:
        document: the document.
        held_pages: numbers of the pages that the index holds and that are not read again.
    """

    document: InputDocument
    held_pages: frozenset[int]


class PageSource(Protocol):
    """Reads pages and computes their rows.

    `info`, `stored_bytes` and `batches` come document by document, in that order, also for documents that
    nobody expected, and raise as those of `mmrag.documents.DocumentReader` do.
    """

    def expect(self, documents: Iterable[WantedDocument]) -> None:
        """Take the documents to come, before their turn; a source may take them one by one and work ahead."""

    def info(self, document: InputDocument) -> DocumentInfo:
        """Return page count and title."""

    def stored_bytes(self, document: InputDocument) -> bytes | None:
        """Return what the index keeps to show the pages again."""

    def batches(self, document: InputDocument, numbers: Sequence[int]) -> Iterator[PageBatch]:
        """Yield these pages in order with their rows."""

    def stages(self) -> dict[str, Stage]:
        """Return the work of reading and embedding so far; nothing where they are not told apart."""


class LocalPages:
    """Pages read by the reader's own processes, a few ahead, and embedded in this one.

    Args:
        embedder: computes the rows.
        reader: reads the pages.
    """

    def __init__(self, embedder: Embedder, reader: DocumentReader) -> None:
        self._embedder = embedder
        self._reader = reader

    def expect(self, documents: Iterable[WantedDocument]) -> None:
        """Ignore them: what is read ahead is the next pages of the same document."""

    def info(self, document: InputDocument) -> DocumentInfo:
        """Return page count and title; raises as `DocumentReader.info` does."""
        return self._reader.info(document)

    def stored_bytes(self, document: InputDocument) -> bytes | None:
        """Return what the index keeps to show the pages again; raises as `info` does."""
        return self._reader.stored_bytes(document)

    def batches(self, document: InputDocument, numbers: Sequence[int]) -> Iterator[PageBatch]:
        """Yield these pages in order with their rows; raises as `DocumentReader.pages` does."""
        pixels, images = image_pixels(self._embedder), images_wanted(self._embedder)
        items = iter(self._reader.pages(document, numbers=numbers, image_pixels=pixels, images=images))
        while batch := list(islice(items, BATCH_PAGES)):
            yield embed_pages(self._embedder, batch)

    def stages(self) -> dict[str, Stage]:
        """Return nothing: reading and embedding overlap in one process and are not told apart."""
        return {}


def embed_pages(embedder: Embedder, outcomes: Sequence[Page | Skipped]) -> PageBatch:
    """Compute the rows of what was read; raises as the embedder does, but for inputs it cannot take."""
    pages = [item for item in outcomes if isinstance(item, Page)]
    failures = [item for item in outcomes if not isinstance(item, Page)]
    return PageBatch(pages, failures, *encode_documents(embedder, pages))
