"""Open a document with the renderer that reads its kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmrag.documents.renderer import Renderer
from mmrag.documents.structure.regions import StructureReader
from mmrag.errors import DocumentError

if TYPE_CHECKING:
    from collections.abc import Sequence


def open_renderer(
    engine: str, kind: str, name: str, source: str | bytes, passwords: Sequence[str], max_pixels: int
) -> Renderer:
    """Open a document by path or bytes.

    Args:
        engine: ``"pymupdf"`` or ``"pdfium"``.
        kind: `Source.kind`.
        name: the file's name, for messages.
        source: path, or the bytes themselves.
        passwords: tried in order where the file is encrypted.
        max_pixels: largest image that is decoded.

    Raises:
        DocumentError: it cannot be opened, or this engine does not read this kind.
        PasswordRequiredError: it is encrypted and no password fits.
        MissingExtraError: the engine is an extra that is not installed.
    """
    source = _by_utf8_name(source)
    if kind == "image":
        from mmrag.documents.image_renderer import ImageRenderer

        return ImageRenderer(name, source, max_pixels)
    if engine == "pdfium":
        if kind != "pdf":
            raise DocumentError(
                f"{name}: the renderer 'pdfium' reads PDF and images, got {kind}. "
                "Use renderer='pymupdf' for this file."
            )
        from mmrag.documents.pdf.pdfium_renderer import PdfiumRenderer

        return PdfiumRenderer(name, source, passwords)
    return _pymupdf(name, kind, source, passwords)


def _by_utf8_name(source: str | bytes) -> str | bytes:
    """Return the bytes of a file whose name is not UTF-8, which libraries in C cannot open by name."""
    if isinstance(source, str):
        try:
            source.encode("utf-8")
        except UnicodeEncodeError:
            return Path(source).read_bytes()
    return source


def open_structure(engine: str) -> StructureReader:
    """Return the reader of structure that goes with a renderer; its models are loaded here.

    Args:
        engine: ``"pymupdf"`` or ``"pdfium"``.
    """
    if engine == "pymupdf":
        from mmrag.documents.structure.pymupdf_layout import PyMuPdfLayout, is_available

        if is_available():
            return PyMuPdfLayout()
    from mmrag.documents.structure.plain import OLD_PYMUPDF, PlainStructure

    return PlainStructure(OLD_PYMUPDF if engine == "pymupdf" else "")


def _pymupdf(name: str, kind: str, source: str | bytes, passwords: Sequence[str]) -> Renderer:
    try:
        from mmrag.documents.pdf.pymupdf_renderer import PyMuPdfRenderer
    except ModuleNotFoundError as error:
        if error.name != "pymupdf":
            raise
        raise DocumentError(
            f"{name}: the renderer 'pymupdf' needs PyMuPDF, which is not installed. "
            "Run: pip install pymupdf, or use renderer='pdfium' (PDF only)."
        ) from error

    return PyMuPdfRenderer(name, kind, source, passwords)
