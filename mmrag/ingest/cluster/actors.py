"""What runs in the processes of the cluster: a reader of pages, and an embedder.

Errors of files come back as values: an exception of a Ray task would hide whether the file or the process is
at fault. What is raised here is a fault of ours or of the machine.
"""

from __future__ import annotations

import os
import pickle
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import mmrag
from mmrag.documents import DocumentReader, InputDocument, ReaderSettings, Skipped
from mmrag.documents.conversion.base import CONVERTED_KINDS
from mmrag.documents.conversion.choice import fingerprint
from mmrag.documents.page_reading import DocumentInfo, Images
from mmrag.documents.reader import PASSWORD_VARIABLE
from mmrag.embedders.base import Embedder
from mmrag.errors import DocumentError, MMRagError
from mmrag.ingest.embedding import encode_documents
from mmrag.ingest.pages import PageBatch
from mmrag.types import Matrix, Page

Outcomes = list[Page | Skipped]


@dataclass(frozen=True)
class Fitness:
    """What a process is: its id, and the versions and settings that decide about pages and rows."""

    pid: int
    node: str
    version: str
    fingerprints: tuple[str, ...]


@dataclass(frozen=True)
class ReadRequest:
    """Which pages of a document, and how.

    Attributes:
        numbers: of the pages; None for the first `most` of those that are not `held_pages`.
        held_pages: pages that are not read.
        most: pages; 0 to open the document and read none.
        pixels: of their pictures; None for none.
        images: as of `DocumentReader.pages`.
    """

    numbers: tuple[int, ...] | None
    held_pages: frozenset[int]
    most: int
    pixels: int | None
    images: Images


@dataclass(frozen=True)
class ReadReply:
    """What became of a `ReadRequest`; the pages themselves stay in the object store.

    Attributes:
        info: of the document.
        stored_pdf: what the index keeps of it: the PDF of one that was converted, the bytes of one of a URL;
            with its first pages alone.
        numbers: pages that were read.
        pages: how many of them could be.
        seconds: of the process.
        error: why the document cannot be read.
    """

    info: DocumentInfo | None = None
    stored_pdf: bytes | None = field(default=None, repr=False)
    numbers: tuple[int, ...] = ()
    pages: int = 0
    seconds: float = 0.0
    error: DocumentError | None = None


@dataclass(frozen=True)
class EmbedReply:
    """The rows of some batches, or why there are none.

    Attributes:
        batches: one for each of the call, pages without pictures.
        seconds: of the process.
        error: an error of the package: no other batch would fare better.
        failure: another exception, in a line: a smaller batch may do.
    """

    batches: list[PageBatch] = field(default_factory=list)
    seconds: float = 0.0
    error: MMRagError | None = None
    failure: str = ""


class ReadingActor:
    """Reads pages.

    Args:
        data: its `ReaderSettings` and the password, as of `DocumentReader`, pickled.
        variable: value of ``MMRAG_PDF_PASSWORD`` in the driver.
    """

    def __init__(self, data: bytes, variable: str | None) -> None:
        settings, password = pickle.loads(data)  # noqa: S301  (our driver's)
        if variable is not None:
            os.environ[PASSWORD_VARIABLE] = variable
        self._reader = DocumentReader(settings, password=password)

    def fitness(self) -> Fitness:
        """Say what this process is, when it is up."""
        return fitness(reading_fingerprints(self._reader.settings))

    def read(self, document: InputDocument, request: ReadRequest) -> tuple[ReadReply, Outcomes]:
        """Read pages of a document; the two results are objects of their own."""
        start = time.monotonic()
        numbers, stored_pdf = request.numbers, None
        try:
            info = self._reader.info(document)
            if numbers is None:
                wanted_pages = (
                    number for number in range(info.total_pages) if number not in request.held_pages
                )
                numbers = tuple(number for _, number in zip(range(request.most), wanted_pages, strict=False))
                if document.source.kind in CONVERTED_KINDS or document.url is not None:
                    stored_pdf = self._reader.stored_bytes(document)
            pages = self._reader.pages(
                document, numbers=numbers, image_pixels=request.pixels, images=request.images
            )
            outcomes = list(pages)
        except DocumentError as error:
            return ReadReply(seconds=time.monotonic() - start, error=error), []
        count = sum(isinstance(outcome, Page) for outcome in outcomes)
        return ReadReply(info, stored_pdf, numbers, count, time.monotonic() - start), outcomes


class EmbeddingActor:
    """Computes rows of pages.

    Args:
        data: its embedder, pickled.
    """

    def __init__(self, data: bytes) -> None:
        self._embedder: Embedder = pickle.loads(data)  # noqa: S301  (our driver's)

    def fitness(self) -> Fitness:
        """Say what this process is, when it is up."""
        return fitness((self._embedder.fingerprint,))

    def embed(self, *parts: Outcomes) -> EmbedReply:
        """Compute the rows of several batches in one call of the embedder."""
        start = time.monotonic()
        outcomes = [outcome for part in parts for outcome in part]
        pages = [outcome for outcome in outcomes if isinstance(outcome, Page)]
        try:
            matrices, reasons = encode_documents(self._embedder, pages)
        except MMRagError as error:
            return EmbedReply(error=error, seconds=time.monotonic() - start)
        except Exception as error:  # noqa: BLE001  (memory, a device: the driver tries smaller batches)
            failure = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
            return EmbedReply(failure=failure, seconds=time.monotonic() - start)
        return EmbedReply(batches_of(parts, matrices, reasons), time.monotonic() - start)


def batches_of(
    parts: Sequence[Outcomes], matrices: dict[int, Matrix], reasons: dict[int, str]
) -> list[PageBatch]:
    """Share out rows by the position of their page among the pages of all parts; pictures are left out."""
    batches, first = [], 0
    for part in parts:
        pages = [replace(item, image=None) for item in part if isinstance(item, Page)]
        span = range(first, first + len(pages))
        batches.append(
            PageBatch(
                pages,
                [item for item in part if not isinstance(item, Page)],
                {position - first: matrices[position] for position in span if position in matrices},
                {position - first: reasons[position] for position in span if position in reasons},
            )
        )
        first += len(pages)
    return batches


def reading_fingerprints(settings: ReaderSettings) -> tuple[str, ...]:
    """Return what pages are read as here, for each kind of file."""
    return tuple(_fingerprint(kind, settings) for kind in ("pdf", *sorted(CONVERTED_KINDS)))


def _fingerprint(kind: str, settings: ReaderSettings) -> str:
    try:
        return f"{kind} {fingerprint(kind, settings)}"
    except DocumentError:
        return f"{kind} unread"


def fitness(fingerprints: tuple[str, ...]) -> Fitness:
    """Return what this process is."""
    return Fitness(os.getpid(), platform.node(), mmrag.__version__, fingerprints)
