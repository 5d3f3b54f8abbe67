"""Read one page: its text layer, and OCR where that has nothing (`mmrag.documents.ocr.text_choice` decides).

Reading a page is two jobs of one worker: the text layer (limit `page_seconds`), then OCR if needed (limit
`ocr_seconds` plus the time that the first job left). If OCR dies or takes too long, the page still comes
with its text layer, marked ``"unread"`` and with a note.

A page's picture comes with the first job, or, where it is wanted only of what has no text, in a third one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from mmrag.documents.conversion.base import Conversion, ConvertedPage
from mmrag.documents.inputs import LOST_PAGE, InputDocument, Skipped
from mmrag.documents.layout import join_text
from mmrag.documents.ocr.merge import Lines, words_of
from mmrag.documents.ocr.text_choice import OcrDiedError, TextChoice, TextChooser, mean_confidence
from mmrag.documents.pdf.attachments import attached_note, plain_names
from mmrag.documents.pool import Worker, WorkerDiedError, WorkerPool
from mmrag.documents.settings import ReaderSettings
from mmrag.documents.stamps import Stamp
from mmrag.errors import SourceChangedError
from mmrag.types import Box, HiddenText, Page, Source, Word

Blocks: TypeAlias = "list[list[list[tuple[str, Box, Box | None, float | None]]]]"
"""Blocks of lines of words as plain values: text, box, tail, confidence."""

Images: TypeAlias = Literal["all", "unread"]
"""Pages whose picture is wanted: all, or those with a part that may hold text and has not been read."""


@dataclass(frozen=True)
class Picture:
    """The pictures that are wanted: their largest area in pixels, and of which pages."""

    pixels: int
    images: Images


@dataclass(frozen=True)
class DocumentInfo:
    """Page count and title of a document.

    Attributes:
        total_pages: at least 1.
        title: the file's own title, ``""`` without one.
    """

    total_pages: int
    title: str = ""


@dataclass(frozen=True)
class OpenDocument:
    """A document, the key under which workers keep it open, and the passwords to try.

    Attributes:
        document: the document.
        key: differs with its content, its path and the passwords.
        passwords: tried in order.
        stamp: of its file when it had the document's digest (`mmrag.documents.stamps`); None: hash it again.
        conversion: its PDF, which is read in its place; None for a document whose pages are its own.
    """

    document: InputDocument
    key: str
    passwords: tuple[str, ...] = field(repr=False)
    stamp: Stamp | None = None
    conversion: Conversion | None = field(default=None, repr=False)

    def converted_page(self, number: int) -> ConvertedPage:
        """Return what the converter knows of a page."""
        return ConvertedPage() if self.conversion is None else self.conversion.page(number)


class PageReader:
    """Reads pages in the workers of a pool; usable from any thread."""

    def __init__(self, settings: ReaderSettings, pool: WorkerPool) -> None:
        """Read with these settings in this pool."""
        self._settings = settings
        self._pool = pool
        self._chooser = TextChooser(settings.ocr)

    def read(
        self, handle: OpenDocument, info: DocumentInfo, number: int, picture: Picture | None
    ) -> Page | Skipped:
        """Read one page in a worker; called in a thread of `DocumentReader`.

        Raises:
            SourceChangedError: as `ask` does.
        """
        source = handle.document.source
        reading = {
            "image_pixels": picture.pixels if picture is not None and picture.images == "all" else None,
            "finds_regions": picture is not None and picture.images == "unread",
        }
        try:
            with self._pool.worker() as worker:
                reply = self.ask(worker, handle, "read", number, **reading)
                if not reply["ok"]:
                    if reply["error"] == "memory":
                        raise WorkerDiedError(str(reply["message"]))
                    return Skipped(source.name, str(reply["message"]), number, source.document_id)
                choice = self._choose(worker, handle, number, reply)
        except OcrDiedError as death:
            choice = death.choice
        except WorkerDiedError as death:
            return Skipped(source.name, f"{LOST_PAGE}{death}", number, source.document_id)
        if reading["finds_regions"] and picture is not None and self._is_unread(choice, reply):
            failure = self._draw(handle, number, picture.pixels, reply)
            if failure and not choice.blocks:  # without words the picture is all there is
                return Skipped(source.name, failure, number, source.document_id)
            reply["notes"] = (*reply["notes"], *filter(None, [failure]))
        return _make_page(source, info, number, reply, choice, handle.converted_page(number))

    def _choose(self, worker: Worker, handle: OpenDocument, number: int, reply: dict[str, Any]) -> TextChoice:
        """Choose the text of a page; one that was drawn from words has these, and nothing for OCR."""
        blocks = handle.converted_page(number).blocks
        if blocks is not None:
            reply["regions"] = ()
            return TextChoice(
                [[list(line) for line in block] for block in blocks], "layer" if blocks else "none"
            )
        return self._chooser.choose(
            handle.key,
            _words(reply["blocks"]),
            reply.get("regions", ()),
            functools.partial(self._recognise, worker, handle, number, reply["size"]),
        )

    def _is_unread(self, choice: TextChoice, reply: dict[str, Any]) -> bool:
        """Check whether a page has no text, or parts that may hold text and that OCR has not read."""
        if not choice.blocks or choice.text_source == "unread":
            return True
        return bool(reply.get("regions")) and not self._settings.ocr_runs

    def _draw(self, handle: OpenDocument, number: int, pixels: int, reply: dict[str, Any]) -> str:
        """Add the picture of a page to what has been read of it; return why there is none, or nothing."""
        try:
            with self._pool.worker() as worker:  # not that of the OCR, which may have died of it
                drawing = self.ask(worker, handle, "render", number, max_pixels=pixels)
        except WorkerDiedError as death:
            return f"{LOST_PAGE}{death}"
        if not drawing["ok"]:
            return str(drawing["message"])
        reply["image"] = drawing["image"]
        return ""

    def _recognise(
        self,
        worker: Worker,
        handle: OpenDocument,
        number: int,
        size: tuple[float, float],
        regions: Sequence[Box] | None,
        known_boxes: Sequence[Box],
    ) -> dict[str, Any]:
        """Run OCR in a worker, which loads the models with its first page."""
        if not worker.has_ocr:
            reading = worker.last_seconds
            load_reply = worker.ask({"op": "load_ocr"}, self._settings.ocr_seconds)
            if not load_reply["ok"]:
                return load_reply
            worker.has_ocr = True
            worker.last_seconds += reading
        return self.ask(worker, handle, "ocr", number, size=size, regions=regions, known_boxes=known_boxes)

    def ask(
        self, worker: Worker, handle: OpenDocument, operation: str, number: int, **more: object
    ) -> dict[str, Any]:
        """Send a job; the bytes are sent only if the worker does not have this document open.

        Raises:
            SourceChangedError: the document's file is gone, or is not the file that was discovered.
        """
        source, data = handle.document.source, handle.document.data
        kind = source.kind
        if handle.conversion is not None:
            kind, data = "pdf", handle.conversion.pdf
        job = {
            "op": operation,
            "number": number,
            "key": handle.key,
            "kind": kind,
            "name": source.name,
            "path": source.path if data is None else None,
            "sha256": source.sha256,
            "stamp": handle.stamp,
            "data": data if worker.document_key != handle.key else None,
            "passwords": handle.passwords,
            **more,
        }
        seconds = self._settings.page_seconds
        if operation == "structure":
            seconds = self._settings.structure_seconds
        if operation == "ocr":  # what reading and loading the models left of the page's time
            seconds = max(0.1, seconds + self._settings.ocr_seconds - worker.last_seconds)
        worker.document_key = None
        reply = worker.ask(job, seconds)
        # after an error the document may not be open: its bytes are sent again with the next job
        worker.document_key = handle.key if reply["ok"] else None
        if not reply["ok"] and reply["error"] == "changed":
            where = source.name if operation == "info" else f"{source.name}, page {number + 1}"
            raise SourceChangedError(f"{where}: {reply['message']}")
        return reply


def _make_page(
    source: Source,
    info: DocumentInfo,
    number: int,
    reply: dict[str, Any],
    choice: TextChoice,
    converted_page: ConvertedPage,
) -> Page:
    """Build a page from a worker's plain values and the text that was chosen."""
    words = words_of(choice.blocks)
    image = None
    if reply.get("image") is not None:
        from PIL.Image import frombytes

        width, height, samples = reply["image"]
        image = frombytes("RGB", (width, height), samples)
    return Page(
        id=source.page_id(number),
        document_id=source.document_id,
        number=number,
        label=converted_page.label or reply["label"] or str(number + 1),
        text=join_text(choice.blocks),
        words=tuple(words),
        size=reply["size"],
        source=source,
        total_pages=info.total_pages,
        text_source=choice.text_source,
        notes=(
            *converted_page.notes,
            *reply["notes"],
            *choice.notes,
            *_attached_notes(reply["attachment_names"]),
        ),
        confidence=mean_confidence(words),
        hidden=tuple(HiddenText(text, box, reason) for text, box, reason in reply["hidden"]),
        section=reply["section"],
        anchors=converted_page.anchors,
        image=image,
    )


def _attached_notes(names: Sequence[str]) -> tuple[str, ...]:
    """Word the note of a page that carries attached files; none without."""
    return (attached_note(plain_names(names)),) if names else ()


def _words(blocks: Blocks) -> Lines:
    """Convert plain tuples to words."""
    return [[[Word(*values) for values in line] for line in block] for block in blocks]
