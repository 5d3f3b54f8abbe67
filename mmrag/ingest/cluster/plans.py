"""What is to be done of each document: batches of its pages, and how far each is."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmrag.documents.inputs import InputDocument, Skipped
from mmrag.documents.page_reading import DocumentInfo
from mmrag.errors import DocumentError
from mmrag.ingest.cluster.actors import ReadReply
from mmrag.ingest.pages import PageBatch
from mmrag.types import Matrix, Page

MOST_FAILURES = 2
"""Times that a batch may end its process, or fail, before it is taken apart."""


@dataclass(eq=False)
class Chunk:
    """Pages of a document that are read and embedded together.

    Attributes:
        plan: of the document.
        numbers: of the pages; None for the first ones of a document whose pages are not counted yet.
        failures: times that it ended its process, or could not be embedded.
        is_part: whether it is one page of a chunk that was taken apart.
        is_sent: whether it was given to a reader once: it takes room then, until it is taken.
        outcomes: reference to what was read; None again when it is embedded.
        pages: how many of them are to be embedded.
        result: the pages with their rows.
        error: why there are none.
        parts: its pages one by one, after it was taken apart.
    """

    plan: DocumentPlan
    numbers: tuple[int, ...] | None
    failures: int = 0
    is_part: bool = False
    is_sent: bool = False
    outcomes: Any = None
    pages: int = 0
    result: PageBatch | None = None
    error: DocumentError | None = None
    parts: list[Chunk] = field(default_factory=list)

    @property
    def is_suspect(self) -> bool:
        """Whether it must be alone in its process: another in it would be blamed, too."""
        return self.is_part or self.failures > 0

    @property
    def is_done(self) -> bool:
        """Whether it has a result or an error."""
        if self.parts:
            return all(part.is_done for part in self.parts)
        return self.result is not None or self.error is not None

    def outcome(self) -> PageBatch:
        """Return the pages with their rows, when it is done.

        Raises:
            DocumentError: it could not be read.
        """
        if not self.parts:
            if self.error is not None:
                raise self.error
            assert self.result is not None
            return self.result
        pages: list[Page] = []
        failures: list[Skipped] = []
        matrices: dict[int, Matrix] = {}
        reasons: dict[int, str] = {}
        for batch in (part.outcome() for part in self.parts):
            matrices |= {len(pages) + position: matrix for position, matrix in batch.matrices.items()}
            reasons |= {len(pages) + position: reason for position, reason in batch.reasons.items()}
            pages += batch.pages
            failures += batch.failures
        return PageBatch(pages, failures, matrices, reasons)

    def take_apart(self) -> list[Chunk]:
        """Make a chunk of each page."""
        self.parts = [Chunk(self.plan, (number,), is_part=True) for number in self.numbers or ()]
        self.outcomes = None
        return self.parts


@dataclass(eq=False)
class DocumentPlan:
    """The chunks of a document.

    Attributes:
        document: the document.
        held_pages: pages that are not read, where `numbers` are not known yet.
        batch_pages: of a chunk.
        reference: to the document in the object store, if it has bytes.
        reader: actor that has converted it, which has its pages at hand.
        info: page count and title, once it is open.
        stored_pdf: what the index keeps of it, where the driver has it not.
        error: why it cannot be opened.
        numbers: of its pages that are read, once it is open.
        chunks: in order; the first one is there before the pages are counted.
        unsent: chunks, and parts of chunks, that a reader is to get.
        opens_alone: whether it is opened before any page is read, since its process has ended.
        is_dropped: whether nobody wants it any more.
    """

    document: InputDocument
    held_pages: frozenset[int]
    batch_pages: int
    reference: Any = None
    reader: Any = None
    info: DocumentInfo | None = None
    stored_pdf: bytes | None = field(default=None, repr=False)
    error: DocumentError | None = None
    numbers: tuple[int, ...] | None = None
    chunks: deque[Chunk] = field(default_factory=deque)
    unsent: deque[Chunk] = field(default_factory=deque)
    opens_alone: bool = False
    is_dropped: bool = False

    def __post_init__(self) -> None:
        """Begin with the first pages, whichever they are."""
        self.chunks.append(Chunk(self, None))
        self.unsent.extend(self.chunks)

    @property
    def key(self) -> tuple[str, str]:
        """The document's name and digest."""
        return key_of(self.document)

    def note_opening(self, reply: ReadReply, first: Chunk) -> None:
        """Plan the other pages when the first are read."""
        assert reply.info is not None
        self.info, self.stored_pdf = reply.info, reply.stored_pdf
        self.numbers = tuple(n for n in range(reply.info.total_pages) if n not in self.held_pages)
        first.numbers = reply.numbers
        self._append(self.numbers[len(reply.numbers) :])

    def renumber(self, numbers: Sequence[int]) -> list[Chunk]:
        """Plan other pages than were expected; return the chunks that are of no use any more."""
        useless = list(self.chunks)
        self.chunks.clear()
        self.unsent.clear()
        self.numbers = tuple(numbers)
        self._append(self.numbers)
        return useless

    def _append(self, numbers: tuple[int, ...]) -> None:
        starts = range(0, len(numbers), self.batch_pages)
        chunks = [Chunk(self, numbers[start : start + self.batch_pages]) for start in starts]
        self.chunks.extend(chunks)
        self.unsent.extend(chunks)


def key_of(document: InputDocument) -> tuple[str, str]:
    """Return what tells a document of a call from the others."""
    return document.name, document.source.sha256
