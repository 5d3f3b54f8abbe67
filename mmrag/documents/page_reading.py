"""Read one page: its text layer, or OCR if the layer is missing or garbage.

Reading a page is two jobs of one worker: the text layer (limit `page_seconds`), then OCR if needed (limit
`ocr_seconds` plus the time that the first job left). If OCR dies or takes too long, the page still comes
with its text layer, marked ``"unread"`` and with a note.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mmrag.documents.inputs import InputDocument, Skipped
from mmrag.documents.layout import join_text
from mmrag.documents.pool import Worker, WorkerDiedError, WorkerPool
from mmrag.documents.settings import ReaderSettings, ocr_is_installed
from mmrag.documents.stamps import Stamp
from mmrag.documents.textlayer import SPARSE_INK, count_letters, garbage_reason, is_sparse
from mmrag.errors import SourceChangedError
from mmrag.types import Box, HiddenText, Page, Source, Word

Blocks: TypeAlias = "list[list[list[tuple[str, Box, Box | None, float | None]]]]"
"""Blocks of lines of words as plain values: text, box, tail, confidence."""

OCR_MISSING = "no usable text layer, and OCR is not installed: pip install 'mmrag[ocr]'"


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
    """

    document: InputDocument
    key: str
    passwords: tuple[str, ...] = field(repr=False)
    stamp: Stamp | None = None


class PageReader:
    """Reads pages in the workers of a pool; usable from any thread."""

    def __init__(self, settings: ReaderSettings, pool: WorkerPool) -> None:
        """Read with these settings in this pool."""
        self._settings = settings
        self._pool = pool

    def read(
        self, handle: OpenDocument, info: DocumentInfo, number: int, pixels: int | None
    ) -> Page | Skipped:
        """Read one page in a worker; called in a thread of `DocumentReader`.

        Raises:
            SourceChangedError: as `ask` does.
        """
        source = handle.document.source
        try:
            with self._pool.worker() as worker:
                reply = self.ask(worker, handle, "read", number, image_pixels=pixels)
                if not reply["ok"]:
                    if reply["error"] == "memory":
                        raise WorkerDiedError(str(reply["message"]))
                    return Skipped(source.name, str(reply["message"]), number, source.document_id)
                layer: Blocks = reply["blocks"]
                blocks, text_source, notes = self._choose_text(worker, handle, number, reply, layer)
        except _OcrDiedError as death:
            blocks, text_source, notes = death.blocks, death.text_source, death.notes
        except WorkerDiedError as death:
            return Skipped(source.name, f"reading it {death}", number, source.document_id)
        return _make_page(source, info, number, reply, blocks, text_source, (*reply["notes"], *notes))

    def _choose_text(
        self, worker: Worker, handle: OpenDocument, number: int, reply: dict[str, Any], layer: Blocks
    ) -> tuple[Blocks, str, tuple[str, ...]]:
        """Choose text layer or OCR: blocks, `Page.text_source` and notes; the rules are in `textlayer`."""
        text = _text_of(layer)
        garbage = garbage_reason(text)
        reason = self._ocr_reason(text, garbage, reply)
        layer_blocks: Blocks = [] if garbage else layer
        layer_notes = (garbage,) if garbage and text else ()
        if reason is None:
            return layer_blocks, "layer" if layer_blocks else "none", layer_notes
        if not ocr_is_installed():
            return layer_blocks, "unread", (*layer_notes, OCR_MISSING)
        return self._compare_with_ocr(worker, handle, number, reason, layer_blocks, layer_notes)

    def _compare_with_ocr(
        self,
        worker: Worker,
        handle: OpenDocument,
        number: int,
        reason: str,
        layer_blocks: Blocks,
        layer_notes: tuple[str, ...],
    ) -> tuple[Blocks, str, tuple[str, ...]]:
        """Run OCR and choose the richer of the two texts."""
        layer_source = "layer" if layer_blocks else "none"
        try:
            result = self._recognise(worker, handle, number)
        except WorkerDiedError as death:
            raise _OcrDiedError(
                layer_blocks, "unread", (*layer_notes, f"{reason}, and OCR {death}")
            ) from death
        if not result["ok"]:
            return (
                layer_blocks,
                layer_source,
                (*layer_notes, f"{reason}, and OCR failed ({result['message']})"),
            )
        read: Blocks = result["blocks"]
        if count_letters(_text_of(read)) < count_letters(_text_of(layer_blocks)):
            return layer_blocks, layer_source, (*layer_notes, f"{reason}; OCR found less than the text layer")
        if not read:
            return layer_blocks, layer_source, (*layer_notes, f"{reason}; OCR found no text")
        return read, "ocr", (f"{reason}, OCR used",)

    def _ocr_reason(self, text: str, garbage: str | None, reply: dict[str, Any]) -> str | None:
        """Return the reason to read this page by OCR, or None."""
        mode = self._settings.ocr
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

    def _recognise(self, worker: Worker, handle: OpenDocument, number: int) -> dict[str, Any]:
        """Run OCR in a worker, which loads the models with its first page."""
        if not worker.has_ocr:
            reading = worker.last_seconds
            load_reply = worker.ask({"op": "load_ocr"}, self._settings.ocr_seconds)
            if not load_reply["ok"]:
                return load_reply
            worker.has_ocr = True
            worker.last_seconds += reading
        return self.ask(worker, handle, "ocr", number)

    def ask(
        self, worker: Worker, handle: OpenDocument, operation: str, number: int, **more: object
    ) -> dict[str, Any]:
        """Send a job; the bytes are sent only if the worker does not have this document open.

        Raises:
            SourceChangedError: the document's file is gone, or is not the file that was discovered.
        """
        source, data = handle.document.source, handle.document.data
        job = {
            "op": operation,
            "number": number,
            "key": handle.key,
            "kind": source.kind,
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
            place = source.name if operation == "info" else f"{source.name}, page {number + 1}"
            raise SourceChangedError(f"{place}: {reply['message']}")
        return reply


class _OcrDiedError(WorkerDiedError):
    """OCR ended its process; carries the page's text layer."""

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
    """Build a page from a worker's plain values."""
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
        confidence=_confidence(words),
        hidden=tuple(HiddenText(text, box, reason) for text, box, reason in reply["hidden"]),
        section=reply["section"],
        image=image,
    )


def _words(blocks: Blocks) -> list[list[list[Word]]]:
    """Convert plain tuples to words."""
    return [[[Word(*values) for values in line] for line in block] for block in blocks]


def _confidence(blocks: list[list[list[Word]]]) -> float | None:
    """Return the mean confidence of OCR, weighted by letters; None without a word of OCR."""
    pairs = [
        (word.confidence, len(word.text))
        for block in blocks
        for line in block
        for word in line
        if word.confidence is not None
    ]
    total = sum(letters for _, letters in pairs)
    return sum(confidence * letters for confidence, letters in pairs) / total if total else None


def _text_of(blocks: Blocks) -> str:
    """Join the text of plain blocks, for counting."""
    return "\n".join(" ".join(word[0] for word in line) for block in blocks for line in block)
