"""`DocumentReader`: documents to pages, in worker processes.

Decisions taken here:

* Reading a page is two jobs: its own text (limit `page_seconds`), then OCR where it is wanted (limit
  `ocr_seconds` and what reading left of its own). OCR that dies or takes too long costs the OCR, not
  the page: the page comes without text and says so.
* A job whose process dies costs that page; the next job gets a new process.
* At most two pages a worker are ahead of the one that is asked for, so memory does not grow with the
  length of a document.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmrag.documents.inputs import Found, Skipped, digest
from mmrag.documents.layout import join_text
from mmrag.documents.pool import Worker, WorkerDiedError, WorkerPool
from mmrag.documents.settings import ReaderSettings, ocr_is_installed
from mmrag.documents.textlayer import SPARSE_INK, count_letters, garbage_reason, is_sparse
from mmrag.errors import (
    DocumentError,
    MissingExtraError,
    MMRagError,
    PageError,
    PasswordRequiredError,
    SourceChangedError,
)
from mmrag.types import Page, Source, Word

if TYPE_CHECKING:
    from types import TracebackType

    from PIL.Image import Image

logger = logging.getLogger(__name__)

Password: TypeAlias = "str | Sequence[str] | Callable[[str], str | None] | None"
Blocks: TypeAlias = "list[list[list[tuple[str, float, float, float, float]]]]"

PASSWORD_VARIABLE = "MMRAG_PDF_PASSWORD"
RENDER_PIXELS = 2_200_000
"""Default budget of `DocumentReader.render`: a letter page at 150 dpi."""

OCR_MISSING = "no usable text layer, and OCR is not installed: pip install 'mmrag[ocr]'"
_AHEAD = 2  # pages a worker
_REMEMBERED = 256  # documents whose info and password, files whose digest are kept


@dataclass(frozen=True)
class DocumentInfo:
    """What a document says of itself.

    Attributes:
        total_pages: at least 1.
        title: the file's own title, ``""`` without one.
    """

    total_pages: int
    title: str = ""


@dataclass(frozen=True)
class _Document:
    """What every job about a document carries."""

    found: Found
    key: str
    passwords: tuple[str, ...] = field(repr=False)


class DocumentReader:
    """Reads documents page by page in its own worker processes.

    A context manager; usable from any thread. Workers start when they are first needed. It works
    in a script without a ``__main__`` guard and in a notebook.

    Args:
        settings: renderer, OCR and limits.
        password: for encrypted files: one, several, or a function of the file name that returns one
            or None. The environment variable ``MMRAG_PDF_PASSWORD`` is tried after it.
    """

    def __init__(self, settings: ReaderSettings | None = None, *, password: Password = None) -> None:
        """Start nothing yet."""
        self.settings = settings if settings is not None else ReaderSettings()
        self._password = password
        self._pool = WorkerPool(self.settings)
        self._lock = threading.Lock()
        self._threads: tuple[int, ThreadPoolExecutor] | None = None
        self._known: OrderedDict[str, tuple[DocumentInfo, tuple[str, ...]]] = OrderedDict()
        self._digests: OrderedDict[str, tuple[tuple[int, int], str]] = OrderedDict()

    def __enter__(self) -> DocumentReader:
        """Nothing to do: workers start when needed."""
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

    def info(self, found: Found) -> DocumentInfo:
        """Open a document and count its pages.

        Raises:
            DocumentError: it cannot be opened, or opening it breaks a limit.
            PasswordRequiredError: it is encrypted and no password fits.
            SourceChangedError: it is not the file that was found.
            WorkerError: no reading process can be started.
        """
        return self._open(found)[0]

    def pages(
        self, found: Found, *, numbers: Sequence[int] | None = None, image_pixels: int | None = None
    ) -> Iterator[Page | Skipped]:
        """Read a document.

        Args:
            found: the document.
            numbers: 0-based pages to read, in this order; None: all.
            image_pixels: also render each page within this many pixels, as `Page.image`.

        Yields:
            Each page, or a `Skipped` that names the page and the reason.

        Raises:
            DocumentError: see `info`; nothing has been yielded then.
            SourceChangedError: the file changed while it was read.
        """
        info, document = self._open(found)
        pixels = None if image_pixels is None else self._pixels(image_pixels)
        waiting: deque[Future[Page | Skipped]] = deque()
        try:
            for number in range(info.total_pages) if numbers is None else numbers:
                waiting.append(self._executor().submit(self._page, document, info, number, pixels))
                if len(waiting) >= _AHEAD * self.settings.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
        self._check_source(found.source)

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
        if data is None and source.path is None:
            raise SourceChangedError(
                f"{source.name}, page {page.number + 1}: its document was given as bytes. Pass data=..."
            )
        _, document = self._open(Found(source, data), page)
        with self._pool.worker() as worker:
            try:
                reply = self._ask(
                    worker, document, "render", page.number, max_pixels=self._pixels(max_pixels)
                )
            except WorkerDiedError as death:
                raise PageError(
                    f"{source.name}, page {page.number + 1}: rendering {death}.", page.number
                ) from death
        if not reply["ok"]:
            raise PageError(f"{source.name}, page {page.number + 1}: {reply['message']}.", page.number)
        width, height, samples = reply["image"]
        return frombytes("RGB", (width, height), samples)

    # ---- opening ----

    def _open(self, found: Found, page: Page | None = None) -> tuple[DocumentInfo, _Document]:
        """Info and the password that fits, from memory where the file is known."""
        source = found.source
        if found.data is None:
            self._check_source(source, page)
        with self._lock:
            known = self._known.get(source.sha256)
        if known is None:
            known = self._first_open(found)
            with self._lock:
                self._known[source.sha256] = known
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return known[0], self._document(found, known[1])

    def _document(self, found: Found, passwords: tuple[str, ...]) -> _Document:
        """A document with its key: the same bytes with the same passwords stay open in a worker."""
        return _Document(found, f"{found.source.sha256} {found.source.kind} {hash(passwords)}", passwords)

    def _first_open(self, found: Found) -> tuple[DocumentInfo, tuple[str, ...]]:
        """Try the passwords that are known, then ask the callback."""
        passwords = self._passwords()
        reply = self._info_job(self._document(found, passwords))
        if reply.get("error") == "password" and callable(self._password):
            answer = self._password(found.source.name)
            if answer is not None:
                passwords = (*passwords, answer)
                reply = self._info_job(self._document(found, passwords))
        if reply["ok"]:
            return DocumentInfo(int(reply["total_pages"]), str(reply["title"])), passwords
        raise _error_of(reply, found.source.name)

    def _info_job(self, document: _Document) -> dict[str, Any]:
        """Open a document in a worker."""
        with self._pool.worker() as worker:
            try:
                return self._ask(worker, document, "info", 0)
            except WorkerDiedError as death:
                raise DocumentError(f"{document.found.source.name}: opening it {death}.") from death

    def _passwords(self) -> tuple[str, ...]:
        """Passwords by argument, then by environment."""
        given: tuple[str, ...] = ()
        if isinstance(self._password, str):
            given = (self._password,)
        elif self._password is not None and not callable(self._password):
            given = tuple(self._password)
        variable = os.environ.get(PASSWORD_VARIABLE)
        return given if variable is None else (*given, variable)

    def _check_source(self, source: Source, page: Page | None = None) -> None:
        """Refuse a file that is gone or has other content; hashes it again only where its times changed."""
        if source.path is None:
            return
        where = source.name if page is None else f"{source.name}, page {page.number + 1}"
        try:
            status = Path(source.path).stat()
            stamp = (status.st_mtime_ns, status.st_size)
            with self._lock:
                cached = self._digests.get(source.path)
            if cached is None or cached[0] != stamp:
                cached = (stamp, digest(source.path))
                with self._lock:
                    self._digests[source.path] = cached
                    while len(self._digests) > _REMEMBERED:
                        self._digests.popitem(last=False)
        except OSError as error:
            raise SourceChangedError(
                f"{where}: {source.path} cannot be read any more ({error.strerror}). Add it again."
            ) from error
        if cached[1] != source.sha256:
            raise SourceChangedError(f"{where}: the file at {source.path} has changed. Add it again.")

    # ---- one page ----

    def _page(
        self, document: _Document, info: DocumentInfo, number: int, pixels: int | None
    ) -> Page | Skipped:
        """Read one page in a worker; runs in a thread of ours."""
        source = document.found.source
        try:
            with self._pool.worker() as worker:
                reply = self._ask(worker, document, "read", number, image_pixels=pixels)
                if not reply["ok"]:
                    if reply["error"] == "memory":
                        raise WorkerDiedError(str(reply["message"]))
                    return Skipped(source.name, str(reply["message"]), number, source.document_id)
                layer: Blocks = reply["blocks"]
                blocks, text_source, notes = self._choose_text(worker, document, number, reply, layer)
        except _OcrDiedError as death:
            blocks, text_source, notes = death.blocks, death.text_source, death.notes
        except WorkerDiedError as death:
            return Skipped(source.name, f"reading it {death}", number, source.document_id)
        return _make_page(source, info, number, reply, blocks, text_source, (*reply["notes"], *notes))

    def _choose_text(
        self, worker: Worker, document: _Document, number: int, reply: dict[str, Any], layer: Blocks
    ) -> tuple[Blocks, str, tuple[str, ...]]:
        """Own text or OCR: blocks, `Page.text_source` and notes. The rules stand in `textlayer`."""
        text = _text_of(layer)
        garbage = garbage_reason(text)
        reason = self._ocr_reason(text, garbage, reply)
        own: Blocks = [] if garbage else layer
        own_source = "layer" if own else "none"
        own_notes = (garbage,) if garbage and text else ()
        if reason is None:
            return own, own_source, own_notes
        if not ocr_is_installed():
            return own, own_source, (*own_notes, OCR_MISSING)
        try:
            result = self._recognise(worker, document, number)
        except WorkerDiedError as death:
            raise _OcrDiedError(own, own_source, (*own_notes, f"{reason}, and OCR {death}")) from death
        if not result["ok"]:
            return own, own_source, (*own_notes, f"{reason}, and OCR failed ({result['message']})")
        read: Blocks = result["blocks"]
        if count_letters(_text_of(read)) < count_letters(_text_of(own)):
            return own, own_source, (*own_notes, f"{reason}; OCR found less than the text layer")
        if not read:
            return own, own_source, (*own_notes, f"{reason}; OCR found no text")
        return read, "ocr", (f"{reason}, OCR used",)

    def _ocr_reason(self, text: str, garbage: str | None, reply: dict[str, Any]) -> str | None:
        """Why this page should be read by OCR; None where it should not."""
        mode = self.settings.ocr
        if mode == "off":
            return None
        if mode == "force":
            return "OCR was asked for"
        ink = reply.get("ink")
        if garbage is not None:
            return None if ink == 0.0 else garbage
        if ink is not None and ink >= SPARSE_INK and is_sparse(text):
            return "nearly no text over a picture"
        return None

    def _recognise(self, worker: Worker, document: _Document, number: int) -> dict[str, Any]:
        """OCR in a worker, which loads its models with its first page."""
        if not worker.has_ocr:
            reading = worker.last_seconds
            loaded = worker.ask({"op": "load_ocr"}, self.settings.ocr_seconds)
            if not loaded["ok"]:
                return loaded
            worker.has_ocr = True
            worker.last_seconds += reading
        return self._ask(worker, document, "ocr", number)

    def _ask(
        self, worker: Worker, document: _Document, operation: str, number: int, **more: object
    ) -> dict[str, Any]:
        """Send a job; the bytes travel only where the worker does not hold this document open."""
        source = document.found.source
        job = {
            "op": operation,
            "number": number,
            "key": document.key,
            "kind": source.kind,
            "name": source.name,
            "path": source.path,
            "data": document.found.data if worker.document_key != document.key else None,
            "passwords": document.passwords,
            **more,
        }
        seconds = self.settings.page_seconds
        if operation == "ocr":  # what reading and loading the models left of the page's time
            seconds = max(0.1, seconds + self.settings.ocr_seconds - worker.last_seconds)
        worker.document_key = None
        reply = worker.ask(job, seconds)
        # after an error the document may not be open: its bytes are sent again with the next job
        worker.document_key = document.key if reply["ok"] else None
        return reply

    def _pixels(self, asked: int) -> int:
        """A pixel budget within the limit."""
        if asked < 1:
            raise ValueError(f"a pixel budget must be at least 1, got {asked}.")
        return min(asked, self.settings.max_pixels)

    def _executor(self) -> ThreadPoolExecutor:
        """Threads that wait for workers; new ones after a fork."""
        with self._lock:
            if self._threads is None or self._threads[0] != os.getpid():
                executor = ThreadPoolExecutor(self.settings.workers, thread_name_prefix="mmrag-reader")
                self._threads = (os.getpid(), executor)
            return self._threads[1]


class _OcrDiedError(WorkerDiedError):
    """OCR took its process with it; carries what the page has without it."""

    def __init__(self, blocks: Blocks, text_source: str, notes: tuple[str, ...]) -> None:
        """Keep the page's own text."""
        super().__init__(notes[-1])
        self.blocks = blocks
        self.text_source = text_source
        self.notes = notes


def _make_page(
    source: Source,
    info: DocumentInfo,
    number: int,
    reply: dict[str, Any],
    blocks: Blocks,
    text_source: str,
    notes: tuple[str, ...],
) -> Page:
    """A page from a worker's plain values."""
    words = _words(blocks)
    image = None
    if reply.get("image") is not None:
        from PIL.Image import frombytes

        width, height, samples = reply["image"]
        image = frombytes("RGB", (width, height), samples)
    return Page(
        id=source.page_id(number),
        document_id=source.document_id,
        number=number,
        label=reply["label"] or str(number + 1),
        text=join_text(words),
        words=tuple(word for block in words for line in block for word in line),
        size=reply["size"],
        source=source,
        total_pages=info.total_pages,
        text_source=text_source,
        notes=notes,
        image=image,
    )


def _words(blocks: Blocks) -> list[list[list[Word]]]:
    """Plain tuples to words."""
    return [
        [[Word(text, (x0, y0, x1, y1)) for text, x0, y0, x1, y1 in line] for line in block]
        for block in blocks
    ]


def _text_of(blocks: Blocks) -> str:
    """Text of plain blocks, for counting."""
    return "\n".join(" ".join(word[0] for word in line) for block in blocks for line in block)


def _error_of(reply: dict[str, Any], name: str) -> MMRagError:
    """The exception that a worker's refusal stands for."""
    if reply["error"] == "password":
        return PasswordRequiredError(reply["message"])
    if reply["error"] == "extra":
        return MissingExtraError(reply["message"], reply["extra"])
    if reply["error"] == "document":
        return DocumentError(reply["message"])
    return DocumentError(f"{name}: {reply['message']}.")
