"""What a document says besides its pages, by PyMuPDF: outline, attached files, dynamic XFA.

Decisions taken here:

* The outline is read with the first page, and what is broken in it costs the sections only.
* A dynamic XFA form is replaced by a list of its values; without values it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from mmrag.documents.pdf import pymupdf_attachments as attachments
from mmrag.documents.pdf import pymupdf_xfa, xfa
from mmrag.documents.pdf.outline import Outline, OutlineEntry
from mmrag.documents.pdf.pymupdf_annotations import with_annotations
from mmrag.documents.renderer import PageText
from mmrag.errors import DocumentError


class DocumentFacts:
    """Facts of one open document.

    Attributes:
        document: the one whose pages are read: the file's own, or the list of an XFA form's values.

    Args:
        name: the file's, for messages.
        document: decrypted, open in PyMuPDF.

    Raises:
        DocumentError: a dynamic XFA form without values.
    """

    def __init__(self, name: str, document: Any) -> None:  # noqa: ANN401  (PyMuPDF is not typed)
        """Look for XFA; the other facts are read when they are asked for."""
        self._file = self.document = document
        self._notes: tuple[str, ...] = ()
        self.title = str((document.metadata or {}).get("title") or "").strip()
        if _is_dynamic_form(document):
            pages = _form_pages(document)
            if pages is None:
                raise DocumentError(f"{name}: {xfa.NO_VALUES}")
            self.document, self._notes = pages, (xfa.NOTE,)

    def complete(self, page: Any, text: PageText) -> PageText:  # noqa: ANN401
        """Return a page's text with form fields, comments, attached files, its section and notes."""
        if self._file.is_pdf:
            text = with_annotations(page, text)
        names, notes = self._attached_names(page)
        section = self._outline.section(page.number)
        return replace(text, section=section, attachment_names=names, notes=(*text.notes, *notes))

    def attached_files(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name of each attached file, and a function that returns its bytes."""
        if self._file.is_pdf:
            yield from attachments.attached_files(self._file)

    def _attached_names(self, page: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:  # noqa: ANN401
        """Return the names of the files attached to a page, and the page's further notes."""
        if not self._file.is_pdf:
            return (), ()
        try:
            names = attachments.file_names(self._file) if page.number == 0 else []
            return (*names, *attachments.page_file_names(page)), self._notes
        except Exception as error:  # noqa: BLE001  (broken attachments cost themselves)
            return (), (*self._notes, f"attached files cannot be listed ({error})"[:200])

    @cached_property
    def _outline(self) -> Outline:
        """The sections of the pages that are read; none where the outline is broken."""
        if self.document is not self._file:
            return Outline(())
        try:
            return Outline([_entry(self._file, *values) for values in self._file.get_toc(simple=False)])
        except Exception:  # noqa: BLE001  (a broken outline costs the sections)
            return Outline(())


def _entry(document: Any, level: int, title: str, page: int, target: dict[str, Any]) -> OutlineEntry:  # noqa: ANN401
    """Convert a row of PyMuPDF's table of contents."""
    return OutlineEntry(level, title, page - 1, _height(document, page - 1, target))


def _height(document: Any, number: int, target: dict[str, Any]) -> float | None:  # noqa: ANN401
    """Return how far down its page an entry points, 0..1; None where it does not say."""
    point = target.get("to")
    if point is None or not document.is_pdf or not 0 <= number < document.page_count:
        return None
    height = float(document.page_cropbox(number).height)
    if height <= 0 or not math.isfinite(point.y):
        return None
    down = float(point.y) / height
    # PyMuPDF leaves the point of a named target as the PDF has it, from the lower edge
    return min(max(1 - down if "nameddest" in target else down, 0.0), 1.0)


def _is_dynamic_form(document: Any) -> bool:  # noqa: ANN401
    try:
        return pymupdf_xfa.is_dynamic(document)
    except Exception:  # noqa: BLE001  (a damaged catalog: the pages are read as they are)
        return False


def _form_pages(document: Any) -> Any | None:  # noqa: ANN401
    try:
        return pymupdf_xfa.values_as_pages(document)
    except Exception:  # noqa: BLE001  (damaged packets are as none)
        return None
