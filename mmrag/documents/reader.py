"""`DocumentReader`: documents to pages, in worker processes.

Decisions taken here:

* A job whose process dies costs that page; the next job gets a new process.
* Workers read at most four pages each ahead of the consumer, so memory does not grow with the length of
  a document.
"""

from __future__ import annotations

import contextvars
import logging
import os
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from mmrag.documents.conversion.base import Conversion
from mmrag.documents.conversions import Conversions
from mmrag.documents.failures import FailureRun
from mmrag.documents.inputs import InputDocument, Skipped, discover
from mmrag.documents.page_reading import DocumentInfo, Images, OpenDocument, PageReader, Picture
from mmrag.documents.page_structure import read_blocks, read_blocks_or_note
from mmrag.documents.pdf.attachments import DEEPEST, MOST_BYTES, plain_names
from mmrag.documents.pool import WorkerDiedError, WorkerPool
from mmrag.documents.remote_cache import RemoteDocuments
from mmrag.documents.settings import ReaderSettings
from mmrag.documents.source_check import SourceCheck
from mmrag.documents.stamps import Stamp
from mmrag.errors import (
    DocumentError,
    MissingExtraError,
    MMRagError,
    PageError,
    PasswordRequiredError,
    SourceChangedError,
)
from mmrag.forks import new_lock
from mmrag.tracing.spans import span
from mmrag.types import Box, Page

if TYPE_CHECKING:
    from types import TracebackType

    from PIL.Image import Image

logger = logging.getLogger(__name__)

Password: TypeAlias = "str | Sequence[str] | Callable[[str], str | None] | None"

PASSWORD_VARIABLE = "MMRAG_PDF_PASSWORD"
RENDER_PIXELS = 2_200_000
"""Default budget of `DocumentReader.render`: a letter page at 150 dpi."""

_AHEAD = 4  # pages a worker
_CACHE_SIZE = 256  # documents whose info and password are kept


class DocumentReader:
    """Reads documents page by page in its own worker processes.

    A context manager; usable from any thread. Workers start when they are first needed. It works
    in a script without a ``__main__`` guard and in a notebook.

    Args:
        settings: renderer, OCR and limits.
        password: for encrypted files: one, several, or a function of the file name that returns one
            or None. The environment variable ``MMRAG_PDF_PASSWORD`` is tried after it.

    Example:
        >>> with DocumentReader() as reader:
        ...     [found] = discover("report.pdf")
        ...     [page.number for page in reader.pages(found)]
        [0, 1]
    """

    def __init__(self, settings: ReaderSettings | None = None, *, password: Password = None) -> None:
        """Start nothing yet."""
        self.settings = settings if settings is not None else ReaderSettings()
        self._password = password
        self._pool = WorkerPool(self.settings)
        self._pages = PageReader(self.settings, self._pool)
        self._conversions = Conversions(self.settings, self._pool)
        self._lock = new_lock()
        self._threads: tuple[int, ThreadPoolExecutor] | None = None
        self._infos: OrderedDict[str, tuple[DocumentInfo, tuple[str, ...]]] = OrderedDict()
        self._sources = SourceCheck()
        self._remote_documents = RemoteDocuments()

    def __enter__(self) -> DocumentReader:
        """Return self; workers start when needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the worker processes, also those at work; calling it twice is fine."""
        self._pool.close()
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None and threads[0] == os.getpid():
            threads[1].shutdown(wait=True, cancel_futures=True)

    def info(self, document: InputDocument) -> DocumentInfo:
        """Open a document and count its pages.

        Raises:
            DocumentError: it cannot be opened, or opening it breaks a limit.
            PasswordRequiredError: it is encrypted and no password fits.
            SourceChangedError: it is not the file that was discovered.
            WorkerError: no reading process can be started.
        """
        return self._open(document)[0]

    def pages(
        self,
        document: InputDocument,
        *,
        numbers: Sequence[int] | None = None,
        image_pixels: int | None = None,
        images: Images = "all",
    ) -> Iterator[Page | Skipped]:
        """Read a document.

        Args:
            document: the document.
            numbers: 0-based pages to read, in this order; None: all.
            image_pixels: also render pages within this many pixels, as `Page.image`.
            images: ``"all"`` renders every page, ``"unread"`` those that have no text, or a part that may
                hold text and that neither the layer nor OCR has read.

        Yields:
            Each page, or a `Skipped` that names the page and the reason.

        Raises:
            DocumentError: see `info`; nothing has been yielded then.
            SourceChangedError: the file changed while it was read.
            ValueError: a pixel budget below 1, or `images` is unknown.
        """
        if images not in get_args(Images):
            raise ValueError(f"images must be 'all' or 'unread', got {images!r}.")
        pixels = None if image_pixels is None else self._pixels(image_pixels)
        info, handle = self._open(document)
        picture = None if pixels is None else Picture(pixels, images)
        page_numbers = range(info.total_pages) if numbers is None else numbers
        run = FailureRun(document.source, page_numbers)
        for outcome in self._ahead(handle, info, page_numbers, picture):
            yield outcome
            rest = run.count(is_failure=isinstance(outcome, Skipped))
            if rest is not None:
                yield rest
                break
        self._sources.check(document.source, is_fresh=True)

    def _ahead(
        self, handle: OpenDocument, info: DocumentInfo, numbers: Sequence[int], picture: Picture | None
    ) -> Iterator[Page | Skipped]:
        """Read pages in parallel, a few ahead of the consumer; yield them in order."""
        futures: deque[Future[Page | Skipped]] = deque()
        try:
            for number in numbers:
                read = partial(self._read, handle, info, number, picture)
                futures.append(self._executor().submit(contextvars.copy_context().run, read))
                if len(futures) >= _AHEAD * self.settings.workers:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        finally:
            for future in futures:
                future.cancel()

    def _read(
        self, handle: OpenDocument, info: DocumentInfo, number: int, picture: Picture | None
    ) -> Page | Skipped:
        """Read a page, with its blocks if every page is to have them."""
        with span("mmrag.read_page", "CHAIN") as trace:
            outcome = self._pages.read(handle, info, number, picture)
            if isinstance(outcome, Skipped):
                trace.facts(file=handle.document.source.name, page=number, is_skipped=True)
                return outcome
            trace.facts(file=handle.document.source.name, page=number, text_source=outcome.text_source)
            if self.settings.structure != "full":
                return outcome
            return read_blocks_or_note(self._pages, self._pool, handle, outcome)

    def structure(self, page: Page, *, data: bytes | None = None) -> Page:
        """Read the structure of a page: headings, paragraphs, tables, pictures.

        Args:
            page: a page of this or an earlier reader.
            data: the document's bytes where its source has no path.

        Returns:
            The page with `Page.blocks`; unchanged if it has them.

        Raises:
            SourceChangedError: the file is gone or is not the file that was read.
            PageError: its structure cannot be read, or `structure_seconds` is not enough.
            ValueError: the reader's `ReaderSettings.structure` is ``"off"``.
        """
        if page.blocks is not None:
            return page
        if self.settings.structure == "off":
            raise ValueError(
                "structure must be 'lazy' or 'full' to read the structure of a page, got 'off'. "
                "Pass ReaderSettings(structure='lazy')."
            )
        _, handle = self._open(_document_of(page, data), page)
        return read_blocks(self._pages, self._pool, handle, page)

    def render(self, page: Page, *, max_pixels: int = RENDER_PIXELS, data: bytes | None = None) -> Image:
        """Render a page again from its source, within a pixel budget.

        Args:
            page: a page of this or an earlier reader.
            max_pixels: budget; never above `ReaderSettings.max_pixels`.
            data: the document's bytes where its source has no path.

        Returns:
            RGB picture of the page as shown.

        Raises:
            SourceChangedError: the file is gone or is not the file that was read.
            PageError: the page cannot be rendered.
        """
        from PIL.Image import frombytes

        source = page.source
        _, handle = self._open(_document_of(page, data), page)
        with self._pool.worker() as worker:
            try:
                reply = self._pages.ask(
                    worker, handle, "render", page.number, max_pixels=self._pixels(max_pixels)
                )
            except WorkerDiedError as death:
                raise PageError(
                    f"{source.name}, page {page.number + 1}: rendering {death}.", page.number
                ) from death
        if not reply["ok"]:
            raise PageError(f"{source.name}, page {page.number + 1}: {reply['message']}.", page.number)
        width, height, samples = reply["image"]
        return frombytes("RGB", (width, height), samples)

    def highlight(
        self,
        page: Page,
        marks: Sequence[tuple[int, tuple[Box, ...], Box | None, str]],
        *,
        data: bytes | None = None,
    ) -> bytes:
        """Return a page's whole document as PDF with places marked; see `mmrag.documents.pdf.highlights`.

        Args:
            page: any page of the document.
            marks: 0-based page, boxes of words, box of the block around them, note.
            data: the document's bytes where its source has no path.

        Raises:
            SourceChangedError: the file is gone or is not the file that was read.
            DocumentError: places cannot be marked in it, or it takes longer than a page may.
        """
        source = page.source
        _, handle = self._open(_document_of(page, data), page)
        with self._pool.worker() as worker:
            try:
                reply = self._pages.ask(
                    worker, handle, "highlight", page.number, marks=list(marks), most_bytes=MOST_BYTES
                )
            except WorkerDiedError as death:
                raise DocumentError(f"{source.name}: marking places in it {death}.") from death
            worker.document_key = None  # the marks are not the document's own: it is closed
        if not reply["ok"]:
            raise DocumentError(f"{source.name}: {reply['message']}.")
        pdf: bytes = reply["data"]
        return pdf

    def attachments(self, document: InputDocument) -> Iterator[InputDocument | Skipped]:
        """Read the files attached to a document, as documents of their own, and those attached to them.

        Yields:
            `InputDocument` with its bytes, named ``portfolio.pdf/a.pdf``, for each attached file that can be
            read; `Skipped` for each other. None for a document that carries no file.

        Raises:
            DocumentError: see `info`.
        """
        bytes_left = MOST_BYTES
        level = [document]
        for _ in range(DEEPEST):
            carriers, level = level, []
            for carrier in carriers:
                for item in self._attached_to(carrier, bytes_left):
                    if isinstance(item, InputDocument):
                        bytes_left -= len(item.data or b"")
                        level.append(item)
                    yield item

    def _attached_to(self, carrier: InputDocument, bytes_left: int) -> Iterator[InputDocument | Skipped]:
        """Read the files that a document itself carries, within a number of bytes."""
        if carrier.source.kind != "pdf":
            return
        try:
            _, handle = self._open(carrier)
        except DocumentError:
            if carrier.parent is None:
                raise
            return  # whoever reads it as a document says why it cannot be opened
        names = plain_names(self._attachment_job(handle, "attachments").get("names", ()))
        for position, name in enumerate(names):
            reply = self._attachment_job(handle, "attachment", position=position, most_bytes=bytes_left)
            if not reply["ok"]:
                yield Skipped(f"{carrier.name}/{name}", str(reply["message"]))
                continue
            bytes_left -= len(reply["data"])
            (item,) = discover((f"{carrier.source.name}/{name}", reply["data"]))
            if isinstance(item, Skipped):
                yield replace(item, name=f"{carrier.name}/{name}")
            else:
                yield replace(item, parent=carrier.name)

    def _attachment_job(self, handle: OpenDocument, operation: str, **more: object) -> dict[str, Any]:
        """Run one job on attached files; a process that dies costs this one."""
        with self._pool.worker() as worker:
            try:
                return self._pages.ask(worker, handle, operation, 0, **more)
            except WorkerDiedError as death:
                return {"ok": False, "message": f"reading it {death}"}

    # ---- opening ----

    def _open(self, document: InputDocument, page: Page | None = None) -> tuple[DocumentInfo, OpenDocument]:
        """Return info and an open handle, from the cache if the file was opened before."""
        document = self._remote_documents.fetch(document)
        source = document.source
        stamp = self._sources.check(source, page) if document.data is None else None
        conversion = self._conversions.of(document)
        with self._lock:
            info_and_passwords = self._infos.get(source.sha256)
        if info_and_passwords is None:
            info_and_passwords = self._first_open(document, stamp, conversion)
            with self._lock:
                self._infos[source.sha256] = info_and_passwords
                while len(self._infos) > _CACHE_SIZE:
                    self._infos.popitem(last=False)
        return info_and_passwords[0], self._handle(document, info_and_passwords[1], stamp, conversion)

    def stored_bytes(self, document: InputDocument) -> bytes | None:
        """Return what an index keeps to show a document's pages again: its PDF, if it was converted.

        Without a conversion these are the bytes of a document that has no file; None for one that has.

        Raises:
            DocumentError: see `info`.
        """
        handle = self._open(document)[1]
        return handle.document.data if handle.conversion is None else handle.conversion.pdf

    def _handle(
        self,
        document: InputDocument,
        passwords: tuple[str, ...],
        stamp: Stamp | None,
        conversion: Conversion | None,
    ) -> OpenDocument:
        """Build a handle: the same content at the same path with the same passwords stays open in a worker.

        The path belongs to it: a worker that has one name of a content open must not serve another name with
        it, since the first file may have been overwritten.
        """
        source = document.source
        path = source.path if document.data is None else None
        key = f"{source.sha256} {source.kind} {hash(passwords)} {path or ''}"
        if conversion is not None:  # what an index kept may be another PDF than what is made today
            key += f" {zlib.crc32(conversion.pdf)}"
        return OpenDocument(document, key, passwords, stamp, conversion)

    def _first_open(
        self, document: InputDocument, stamp: Stamp | None, conversion: Conversion | None
    ) -> tuple[DocumentInfo, tuple[str, ...]]:
        """Try the passwords that are known, then ask the callback."""
        passwords = self._passwords()
        reply = self._info_job(self._handle(document, passwords, stamp, conversion))
        if reply.get("error") == "password" and callable(self._password):
            answer = self._password(document.source.name)
            if answer is not None:
                passwords = (*passwords, answer)
                reply = self._info_job(self._handle(document, passwords, stamp, conversion))
        if reply["ok"]:
            title = (conversion.title if conversion is not None else "") or str(reply["title"])
            return DocumentInfo(int(reply["total_pages"]), title), passwords
        raise _error_of(reply, document.source.name)

    def _info_job(self, handle: OpenDocument) -> dict[str, Any]:
        """Open a document in a worker."""
        with self._pool.worker() as worker:
            try:
                return self._pages.ask(worker, handle, "info", 0)
            except WorkerDiedError as death:
                raise DocumentError(f"{handle.document.source.name}: opening it {death}.") from death

    def _passwords(self) -> tuple[str, ...]:
        """Collect the passwords of the argument and of the environment."""
        passwords: tuple[str, ...] = ()
        if isinstance(self._password, str):
            passwords = (self._password,)
        elif self._password is not None and not callable(self._password):
            passwords = tuple(self._password)
        variable = os.environ.get(PASSWORD_VARIABLE)
        return passwords if variable is None else (*passwords, variable)

    def _pixels(self, budget: int) -> int:
        """Clip a pixel budget to the reader's limit."""
        if budget < 1:
            raise ValueError(f"a pixel budget must be at least 1, got {budget}.")
        return min(budget, self.settings.max_pixels)

    def _executor(self) -> ThreadPoolExecutor:
        """Return the threads that wait for workers; new ones after a fork."""
        with self._lock:
            if self._threads is None or self._threads[0] != os.getpid():
                executor = ThreadPoolExecutor(self.settings.workers, thread_name_prefix="mmrag-reader")
                self._threads = (os.getpid(), executor)
            return self._threads[1]


def _document_of(page: Page, data: bytes | None) -> InputDocument:
    """Return the document of a page that has been read."""
    if data is None and page.source.path is None:
        raise SourceChangedError(
            f"{page.source.name}, page {page.number + 1}: its document was given as bytes. Pass data=..."
        )
    return InputDocument(page.source, data)


def _error_of(reply: dict[str, Any], name: str) -> MMRagError:
    """Convert a worker's error reply to an exception."""
    if reply["error"] == "password":
        return PasswordRequiredError(reply["message"])
    if reply["error"] == "extra":
        return MissingExtraError(reply["message"], reply["extra"])
    if reply["error"] == "document":
        return DocumentError(reply["message"])
    return DocumentError(f"{name}: {reply['message']}.")
