"""Settings of a reader: renderer, OCR and limits.

Decisions taken here:

* A page costs at most ``page_seconds + ocr_seconds`` (28 s by default), whatever the file does. The
  seconds are processor time of the worker, so that a machine that is busy with other things does not
  cost pages their text; `PATIENCE` bounds the wait. A worker that hangs without working, or a platform
  that does not tell processor time, is held to the same seconds on the clock.
* The fingerprint covers what changes a page's text, not workers, limits or speed. Whether OCR is
  installed belongs to it: a scan read without it has no text, and should be read again with it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from mmrag.documents.ocr.languages import check_model, model_name, model_path
from mmrag.machine import default_workers
from mmrag.onnx_sessions import ProviderOrder, Providers, provider_order

if TYPE_CHECKING:
    from mmrag.documents.conversion.base import Converter

READER_VERSION = 2
"""Raised when a change of ours changes the text or the boxes of pages."""

PATIENCE = 4.0
"""A limit is processor time of the child; where it has to share its core, a job may take this many times
as long on the clock. A child that does nothing is given no patience."""

RendererName = Literal["pymupdf", "pdfium"]
OcrMode = Literal["auto", "off", "force"]
StructureMode = Literal["lazy", "full", "off"]
OfficeMode = Literal["auto", "off"]


def ocr_is_installed() -> bool:
    """Check whether the extra ``ocr`` is installed, without importing it."""
    return importlib.util.find_spec("rapidocr") is not None


def unread_hint(count: int) -> str:
    """Word the note of an answer that may be missing because pages have not been read."""
    pages = "1 page has" if count == 1 else f"{count} pages have"
    if ocr_is_installed():
        return f"{pages} not been read, since OCR took too long: add the file again to try once more."
    return f"{pages} not been read, since OCR is not installed: pip install 'mmrag[ocr]', then add again."


@dataclass(frozen=True)
class ReaderSettings:
    """Settings of a `DocumentReader`.

    Attributes:
        renderer: ``"pymupdf"`` (PDF, XPS, EPUB, SVG) or ``"pdfium"`` (PDF only, extra ``pdfium``).
            Image files are read by Pillow with either.
        ocr: ``"auto"`` reads a page by OCR where it has no usable text layer, ``"off"`` never,
            ``"force"`` always.
        ocr_max_side: longer side in pixels of the picture that is given to OCR; of tall and wide pages the
            shorter side is what it is on a page of usual shape.
        ocr_language: language or script of scans, as in `mmrag.documents.ocr.languages.MODELS`; ``""`` for
            the model in RapidOCR's wheel, which reads Latin letters, Chinese and Japanese. Others need a
            model that is to be downloaded: the error says which.
        ocr_models: folder of downloaded models; ``""`` for RapidOCR's own.
        ocr_providers: what computes OCR's models, as ``["CUDAExecutionProvider"]`` or ``"auto"``
            (`mmrag.onnx_sessions`). None: ``MMRAG_ONNX_PROVIDERS`` where set, else the CPU. CUDA reserves
            more address space than `memory_mb` lets a process have: set that to 0 beside it.
        structure: when the structure of pages (`Page.blocks`) is read: ``"lazy"`` where it is asked for,
            ``"full"`` with every page, ``"off"`` never.
        page_seconds: time limit for opening a file, and for reading or rendering one page.
        ocr_seconds: time limit for the OCR of one page; it may also use what reading left of its own.
        structure_seconds: time limit for the structure of one page, loading the models included.
        memory_mb: address space of a worker process in MiB; 0 for no limit. Kept where the
            platform has ``RLIMIT_AS`` (Linux).
        max_pixels: no page picture is larger, and no larger image file is decoded.
        workers: worker processes.
        attachments: read files that are attached to PDFs as documents of their own.
        office: ``"auto"`` converts office files by LibreOffice where it is installed, ``"off"`` never; see
            docs/formats.md for what is lost without it.
        office_seconds: time limit for the conversion of one file.
        converters: yours, tried before those of the package (`mmrag.documents.Converter`).

    Raises:
        ValueError: an unknown renderer, OCR mode or OCR language, a limit out of range, or an OCR language
            or provider that is not there.

    Example:
        >>> mmrag.read("report.pdf", settings=ReaderSettings(ocr="off", workers=1)).total_pages
        2
    """

    renderer: RendererName = "pymupdf"
    ocr: OcrMode = "auto"
    ocr_max_side: int = 1600
    ocr_language: str = ""
    ocr_models: str = ""
    ocr_providers: Providers = None
    structure: StructureMode = "lazy"
    page_seconds: float = 10.0
    ocr_seconds: float = 18.0
    structure_seconds: float = 20.0
    memory_mb: int = 4096
    max_pixels: int = 90_000_000
    workers: int = field(default_factory=default_workers)
    attachments: bool = False
    office: OfficeMode = "auto"
    office_seconds: float = 120.0
    converters: tuple[Converter, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that no reader can keep."""
        modes = {"renderer": RendererName, "ocr": OcrMode, "structure": StructureMode, "office": OfficeMode}
        for name, choices in ((name, get_args(mode)) for name, mode in modes.items()):
            if getattr(self, name) not in choices:
                choice_list = ", ".join(repr(choice) for choice in choices)
                raise ValueError(f"{name} must be one of {choice_list}, got {getattr(self, name)!r}.")
        least = {
            "ocr_max_side": 64,
            "page_seconds": 0.01,
            "ocr_seconds": 0.01,
            "structure_seconds": 0.01,
            "office_seconds": 0.01,
            "memory_mb": 0,
            "max_pixels": 10_000,
            "workers": 1,
        }
        for name, smallest in least.items():
            if not getattr(self, name) >= smallest:
                raise ValueError(f"{name} must be at least {smallest}, got {getattr(self, name)!r}.")
        check_model(self.ocr_language, self.ocr_models, is_needed=self.ocr_runs)
        _ = self.ocr_provider_order

    @property
    def ocr_model(self) -> str | None:
        """Path of the recogniser for `ocr_language`; None for that of RapidOCR's wheel."""
        path = model_path(self.ocr_language, self.ocr_models) if self.ocr_runs else None
        return None if path is None else str(path)

    @property
    def ocr_provider_order(self) -> ProviderOrder:
        """Providers of OCR's sessions, best first, as reading processes get them; empty without OCR."""
        return provider_order(self.ocr_providers) if self.ocr_runs else ()

    @property
    def ocr_runs(self) -> bool:
        """Whether pages that need OCR get it: it is wanted and installed."""
        return self.ocr != "off" and ocr_is_installed()

    def fingerprint(self) -> str:
        """Digest the settings that change a page's text: 16 hexadecimal digits."""
        content: dict[str, object] = {"version": READER_VERSION, "renderer": self.renderer, "ocr": "off"}
        if self.structure == "full":  # read later or never, blocks change nothing of what is read now
            content["structure"] = "full"
        if self.ocr != "off":
            content["ocr"] = self.ocr if ocr_is_installed() else "missing"
            content["ocr_max_side"] = self.ocr_max_side
            model = model_name(self.ocr_language)
            if model is not None:
                content["ocr_model"] = model
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
