"""The child process that opens files, started by `pool.Worker`.

It keeps one document open at a time, answers one job after the other and enforces its own limits:

* address space (``RLIMIT_AS``), where the platform has it (`mmrag.documents.limits`);
* a file is read only while it is the one that was indexed: its digest is compared when it is opened, its
  stamp (`mmrag.documents.stamps`) before and after every job; a job during which it changed is done again;
* an alarm a few seconds after the longest the parent waits, which ends the process even where a library
  never comes back, so that a child cannot outlive a parent that was killed;
* no network: a connection is refused by an audit hook, whatever a library tries.

Standard output and error go nowhere once it is up: MuPDF and others write to them from C.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from mmrag.documents import pipes as pipes
from mmrag.documents.limits import limit_memory, resident_mb, set_alarm
from mmrag.documents.pdf.attachments import MOST_BYTES, MOST_FILES
from mmrag.documents.settings import PATIENCE
from mmrag.documents.stamps import FileDigest, FileDigests
from mmrag.errors import (
    DocumentError,
    MissingExtraError,
    PageError,
    PasswordRequiredError,
    SourceChangedError,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.documents.ocr.engine import OcrEngine
    from mmrag.documents.renderer import PageText, Renderer
    from mmrag.documents.structure.regions import StructureReader
    from mmrag.types import Box, Word

ALARM_GRACE = 5.0  # seconds after the parent's limit
THUMBNAIL_SIDE = 320  # pixels; picture on which ink is looked for
_MOST_CHANGES = 3  # times that a file may change during one job, its content staying the same
_ERROR_NAMES = (
    (SourceChangedError, "changed"),
    (PasswordRequiredError, "password"),
    (PageError, "page"),
    (DocumentError, "document"),
)


def main() -> None:
    """Serve jobs from standard input until it ends."""
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    jobs = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    try:
        settings = pipes.receive(jobs)
        limit_memory(settings["memory_mb"])
        sys.addaudithook(_refuse_network)
        _leave_out_layout_models()
        threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
        pipes.send(replies, {"ok": True})
        os.dup2(devnull, 2)
        _serve(jobs, replies, settings)
    except (EOFError, BrokenPipeError):
        pass
    os._exit(0)  # no clean-up of C libraries, which may hang or crash


def _serve(jobs: IO[bytes], replies: IO[bytes], settings: dict[str, Any]) -> None:
    """Answer jobs until the process ends."""
    handler = JobHandler(settings)
    while True:
        job = pipes.receive(jobs)
        set_alarm(PATIENCE * job["seconds"] + ALARM_GRACE)
        try:
            reply = {"ok": True, **handler.do(job)}
        except Exception as error:  # noqa: BLE001  (the parent gets it and names the page)
            reply = _failure(error)
        set_alarm(0)
        reply["rss_mb"] = resident_mb()
        pipes.send(replies, reply)


def _failure(error: Exception) -> dict[str, Any]:
    """Describe an exception as a reply of plain values."""
    if isinstance(error, MemoryError):
        return {"ok": False, "error": "memory", "message": "memory limit reached (memory_mb)"}
    if isinstance(error, MissingExtraError):
        return {"ok": False, "error": "extra", "message": error.feature, "extra": error.extra}
    for kind, name in _ERROR_NAMES:
        if isinstance(error, kind):
            return {"ok": False, "error": name, "message": str(error)}
    return {"ok": False, "error": "page", "message": f"{type(error).__name__}: {error}"[:300]}


class JobHandler:
    """Does jobs on the open document; loads OCR when first needed."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Take the settings; open nothing."""
        self._settings = settings
        self._key: str | None = None
        self._renderer: Renderer | None = None
        self._path: str | None = None  # of the open document; None where it was sent as bytes
        self._file: FileDigest | None = None
        self._digests = FileDigests()
        self._ocr: OcrEngine | None = None
        self._structure: StructureReader | None = None

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run one job; a file is opened for all but load_ocr, check and convert.

        Raises:
            SourceChangedError: the file at the job's path is not, or no more, the content with its digest.
        """
        if job["op"] == "load_ocr":
            self._load_ocr()
            return {}
        if job["op"] in ("check", "convert"):
            return _convert(job)
        for _ in range(_MOST_CHANGES):
            renderer, failure, reply = self._open(job), None, {}
            try:
                reply = self._do(renderer, job)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001  (raised below, unless the file is to blame)
                failure = error
            if self._is_unchanged():
                if failure is not None:
                    raise failure
                return reply
            self._close()
        raise SourceChangedError(f"the file at {job['path']} changes while it is read. Add it again.")

    def _do(self, renderer: Renderer, job: dict[str, Any]) -> dict[str, Any]:
        """Run one job on the open document."""
        if job["op"] == "info":
            return {"total_pages": renderer.page_count, "title": renderer.title}
        if job["op"] == "attachments":
            return {"names": [name for name, _ in islice(renderer.attached_files(), MOST_FILES)]}
        if job["op"] == "attachment":
            return _attachment(renderer, job["position"], job["most_bytes"])
        if job["op"] == "highlight":
            return self._highlight(renderer, job)
        number = job["number"]
        if not 0 <= number < renderer.page_count:
            raise PageError(f"there is no such page; the file has {renderer.page_count}", number)
        if job["op"] == "render":
            return {"image": _pack(renderer.render(number, job["max_pixels"]))}
        if job["op"] == "ocr":
            return self._recognise(renderer, job)
        if job["op"] == "structure":
            return self._read_structure(renderer, number, job["words"], job["is_exact"])
        return self._read(
            renderer, number, job["image_pixels"], finds_regions=job.get("finds_regions", False)
        )

    def _open(self, job: dict[str, Any]) -> Renderer:
        """Return the job's renderer, kept open from the last job if the document is the same.

        Raises:
            SourceChangedError: the file at the path is gone, or has other content.
        """
        from mmrag.documents.opening import open_renderer

        if self._renderer is not None and self._key == job["key"] and self._is_unchanged():
            return self._renderer
        self._close()
        file = None if job["path"] is None else self._check_file(job)
        self._renderer = open_renderer(
            self._settings["renderer"],
            job["kind"],
            job["name"],
            job["data"] if job["path"] is None else job["path"],
            job["passwords"],
            self._settings["max_pixels"],
        )
        self._key, self._path, self._file = job["key"], job["path"], file
        return self._renderer

    def _close(self) -> None:
        """Close the open document, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = self._key = self._path = self._file = None

    def _check_file(self, job: dict[str, Any]) -> FileDigest:
        """Return stamp and digest of the job's file if the digest is the job's."""
        path = job["path"]
        if job.get("stamp") is not None:  # the parent has hashed the file with this stamp
            self._digests.note(path, FileDigest(job["stamp"], job["sha256"], is_settled=True))
        file = _look(self._digests, path)
        if file.sha256 != job["sha256"]:
            file = _look(self._digests, path, is_fresh=True)
        if file.sha256 != job["sha256"]:
            raise SourceChangedError(f"the file at {path} has changed. Add it again.")
        return file

    def _is_unchanged(self) -> bool:
        """Check that the open document's file is as it was when it was opened."""
        if self._path is None:  # bytes, or closed by the job
            return True
        try:
            file = _look(self._digests, self._path)
        except SourceChangedError:
            return False
        return self._file is not None and file.is_same(self._file)

    def _read(
        self, renderer: Renderer, number: int, image_pixels: int | None, *, finds_regions: bool
    ) -> dict[str, Any]:
        """Read text, parts that may hold more and, with `image_pixels`, the picture of a page."""
        page = renderer.read(number)
        reply = _plain(page)
        # without words the picture is all there is: one that cannot be rendered is no page
        if self._settings["ocr"] == "auto" or finds_regions or not page.words:
            reply["regions"] = _regions(renderer, number, page)
        if image_pixels is not None:
            try:
                reply["image"] = _pack(renderer.render(number, image_pixels))
            except PageError as error:
                if not page.words:
                    raise
                reply["notes"] = (*page.notes, str(error))
        return reply

    def _read_structure(
        self, renderer: Renderer, number: int, words: list[Any], is_exact: bool
    ) -> dict[str, Any]:
        """Find the regions of a page, with models that are loaded for the first."""
        from mmrag.documents.opening import open_structure
        from mmrag.documents.structure.regions import to_plain
        from mmrag.types import Word

        if self._structure is None:
            self._structure = open_structure(self._settings["renderer"])
        of_words = [Word(*values) for values in words]
        return to_plain(self._structure.read(renderer, number, of_words, is_exact=is_exact))

    def _highlight(self, renderer: Renderer, job: dict[str, Any]) -> dict[str, Any]:
        """Return the document as PDF with places marked."""
        from mmrag.documents.pdf.highlights import Mark, highlighted_pdf

        try:
            data = highlighted_pdf(renderer, job["kind"], [Mark(*values) for values in job["marks"]])
            if len(data) > job["most_bytes"]:
                raise DocumentError(f"the marked document must have at most {job['most_bytes']} bytes")
            return {"data": data}
        finally:
            self._close()  # its marks are of this job alone

    def _load_ocr(self) -> OcrEngine:
        """Load the models once."""
        if self._ocr is None:
            from mmrag.documents.ocr.engine import OcrEngine

            self._ocr = OcrEngine(
                self._settings["ocr_max_side"],
                self._settings["ocr_model"],
                providers=self._settings["ocr_providers"],
            )
        return self._ocr

    def _recognise(self, renderer: Renderer, job: dict[str, Any]) -> dict[str, Any]:
        """Render the page and read it, or regions of it, by OCR."""
        from mmrag.documents.ocr.tiles import picture_side

        width, height = job["size"]
        side = picture_side(width, height, self._settings["ocr_max_side"])
        pixels = max(
            self._settings["ocr_max_side"] ** 2, side * side * min(width, height) / max(width, height)
        )
        picture = renderer.render(job["number"], min(self._settings["max_pixels"], round(pixels)), side)
        reading = self._load_ocr().read(
            picture, regions=job["regions"], known_boxes=job["known_boxes"], seconds=job["seconds"]
        )
        return {
            "blocks": _plain_blocks(reading.blocks),
            "noise_lines": reading.noise_lines,
            "unread_lines": reading.unread_lines,
            "foreign_lines": reading.foreign_lines,
        }


def _convert(job: dict[str, Any]) -> dict[str, Any]:
    """Check a file that another program is to open, or convert it to PDF."""
    from mmrag.documents.conversion import reading
    from mmrag.documents.conversion.base import to_plain

    if job["op"] == "check":
        reading.check(job["data"], job["kind"], job["name"])
        return {}
    return to_plain(reading.convert(job["data"], job["kind"], job["name"], job["printed"]))


def _attachment(renderer: Renderer, position: int, most_bytes: int) -> dict[str, Any]:
    """Return the bytes of an attached file.

    Raises:
        DocumentError: it is too large, damaged or not there.
    """
    _, read = next(islice(renderer.attached_files(), position, None), (None, None))
    if read is None:
        raise DocumentError("there is no such attached file")
    try:
        data = bytes(read())
    except MemoryError:
        raise
    except Exception as error:
        raise DocumentError(f"the attached file cannot be unpacked ({error})"[:200]) from error
    if len(data) > most_bytes:
        raise DocumentError(f"attached files must have at most {MOST_BYTES} bytes together")
    return {"data": data}


def _look(digests: FileDigests, path: str, *, is_fresh: bool = False) -> FileDigest:
    """Return a file's digest; a file that cannot be read is one that has changed."""
    try:
        return digests.look(path, is_fresh=is_fresh)
    except OSError as error:
        raise SourceChangedError(
            f"{path} cannot be read any more ({error.strerror}). Add it again."
        ) from error


def _regions(renderer: Renderer, number: int, page: PageText) -> tuple[Box, ...]:
    """List the parts of a page that may hold text without a word of the layer.

    Raises:
        PageError: the page has no text and cannot be rendered either: there is nothing to index.
    """
    from mmrag.documents.ocr.layer_quality import is_sparse
    from mmrag.documents.ocr.regions import regions_to_read

    try:
        picture = renderer.render(number, THUMBNAIL_SIDE * THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    except PageError:
        if not page.words:
            raise
        return ()
    boxes = [box for word in page.words for box in word.boxes]
    return regions_to_read(picture, boxes, page.pictures, is_sparse(page.text))


def _plain(page: PageText) -> dict[str, Any]:
    """Convert a page text to plain values."""
    return {
        "size": tuple(float(side) for side in page.size),
        "label": page.label,
        "blocks": _plain_blocks(page.blocks),
        "invisible": page.invisible,
        "notes": tuple(page.notes),
        "hidden": tuple((hidden.text, _plain_box(hidden.box), hidden.reason) for hidden in page.hidden),
        "pictures": tuple(map(_plain_box, page.pictures)),
        "section": tuple(page.section),
        "attachment_names": tuple(page.attachment_names),
    }


def _plain_blocks(blocks: Any) -> list[Any]:  # noqa: ANN401
    """Convert words to (text, box, tail, confidence) with plain floats."""
    return [[[_plain_word(word) for word in line] for line in block] for block in blocks]


def _plain_word(word: Word) -> tuple[str, Box, Box | None, float | None]:
    """Convert a word to plain values."""
    tail = None if word.tail is None else _plain_box(word.tail)
    confidence = None if word.confidence is None else float(word.confidence)
    return word.text, _plain_box(word.box), tail, confidence


def _plain_box(box: Box) -> Box:
    """Convert a box's edges, which may be numpy's, to plain floats."""
    x0, y0, x1, y1 = box
    return float(x0), float(y0), float(x1), float(y1)


def _pack(picture: Image) -> tuple[int, int, bytes]:
    """Return width, height and RGB bytes."""
    return picture.width, picture.height, picture.tobytes()


def _refuse_network(event: str, args: tuple[object, ...]) -> None:
    """Refuse every connection (an audit hook): a worker only reads files."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise PermissionError(f"a reading process may not use the network ({event})")


def _leave_out_layout_models() -> None:
    """Keep PyMuPDF 2 from loading its layout models with itself: 1.4 CPU-s and 90 MB that are not used."""
    os.environ["PYMUPDF_SUGGEST_LAYOUT_ANALYZER"] = "0"
    blocked_modules: dict[str, Any] = {
        "pymupdf.layout": None,
        "pymupdf4llm": None,
    }  # None: import raises ImportError
    sys.modules.update(blocked_modules)


def _follow_parent(parent: int) -> None:
    """End this process when its parent has ended."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(0)


if __name__ == "__main__":
    main()
