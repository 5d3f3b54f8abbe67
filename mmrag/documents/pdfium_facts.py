"""What a PDF says besides its text, by PDFium: outline, attached files, and what this renderer does not read.

PDFium gives what fields draw; states of boxes to tick, values that are not drawn and comments are read with
``renderer="pymupdf"``, and a note says so on each page that has them. A dynamic XFA form is refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from typing import Any

import pypdfium2.raw as raw

from mmrag.documents.outline import Outline, OutlineEntry
from mmrag.documents.renderer import PageText
from mmrag.documents.xfa import NO_VALUES, speaks_of_waiting

FIELDS_NOTE = "form fields are read as they are drawn (renderer='pymupdf' reads states and values)"
COMMENTS_NOTE = "comments are not read (renderer='pymupdf' reads them)"
_MOST_PAGES = 50  # that are looked through for fields
_COMMENTS = (
    raw.FPDF_ANNOT_TEXT,
    raw.FPDF_ANNOT_HIGHLIGHT,
    raw.FPDF_ANNOT_UNDERLINE,
    raw.FPDF_ANNOT_SQUIGGLY,
    raw.FPDF_ANNOT_STRIKEOUT,
)


class DocumentFacts:
    """Facts of one open document.

    Args:
        document: open in pypdfium2.
    """

    def __init__(self, document: Any) -> None:  # noqa: ANN401  (pypdfium2 is not typed)
        """Read nothing yet."""
        self._document = document

    def refusal(self) -> str | None:
        """Return why the document cannot be read: a dynamic XFA form; None if it can."""
        if raw.FPDF_GetFormType(self._document) != raw.FORMTYPE_XFA_FULL:
            return None
        for number in range(min(len(self._document), _MOST_PAGES)):
            if _annotation_kinds(self._document[number])[raw.FPDF_ANNOT_WIDGET]:
                return None
        if len(self._document) == 1 and speaks_of_waiting(_text(self._document[0])):
            return f"{NO_VALUES} The renderer 'pymupdf' may read its values."
        return None

    def complete(self, page: Any, number: int, text: PageText) -> PageText:  # noqa: ANN401
        """Return a page's text with its section, the names of attached files, and notes."""
        kinds = _annotation_kinds(page)
        notes = list(text.notes)
        if kinds[raw.FPDF_ANNOT_WIDGET]:
            notes.append(FIELDS_NOTE)
        if any(kinds[kind] for kind in _COMMENTS):
            notes.append(COMMENTS_NOTE)
        names = self._attached_names() if number == 0 else ()
        return replace(text, section=self._outline.section(number), attached=names, notes=tuple(notes))

    def _attached_names(self) -> tuple[str, ...]:
        document = self._document
        count = document.count_attachments()
        return tuple(str(document.get_attachment(position).get_name()) for position in range(count))

    @cached_property
    def _outline(self) -> Outline:
        """The sections of the pages; none where the outline is broken."""
        try:
            return Outline([_entry(bookmark) for bookmark in self._document.get_toc()])
        except Exception:  # noqa: BLE001  (a broken outline costs the sections)
            return Outline(())


def _entry(bookmark: Any) -> OutlineEntry:  # noqa: ANN401
    """Convert a bookmark; where on its page it points to is not asked for."""
    target = bookmark.get_dest()
    page = None if target is None else target.get_index()
    return OutlineEntry(bookmark.level + 1, str(bookmark.get_title() or ""), -1 if page is None else page)


def _annotation_kinds(page: Any) -> Counter[int]:  # noqa: ANN401
    """Count the annotations of a page by kind."""
    kinds: Counter[int] = Counter()
    for position in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, position)
        kinds[raw.FPDFAnnot_GetSubtype(annotation)] += 1
        raw.FPDFPage_CloseAnnot(annotation)
    return kinds


def _text(page: Any) -> str:  # noqa: ANN401
    text_page = page.get_textpage()
    try:
        return str(text_page.get_text_bounded())
    finally:
        text_page.close()
