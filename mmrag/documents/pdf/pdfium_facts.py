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

from mmrag.documents.pdf.outline import Outline, OutlineEntry
from mmrag.documents.pdf.xfa import NO_VALUES, speaks_of_waiting
from mmrag.documents.renderer import PageText

FIELDS_NOTE = "form fields are read as they are drawn (renderer='pymupdf' reads states and values)"
COMMENTS_NOTE = "comments are not read (renderer='pymupdf' reads them)"
_PASSWORD = 1 << 13  # of a field's flags
_MOST_PAGES = 50  # that are looked through for fields
_COMMENTS = (
    raw.FPDF_ANNOT_TEXT,
    raw.FPDF_ANNOT_HIGHLIGHT,
    raw.FPDF_ANNOT_UNDERLINE,
    raw.FPDF_ANNOT_SQUIGGLY,
    raw.FPDF_ANNOT_STRIKEOUT,
)


_WITH_TEXT = (raw.FPDF_ANNOT_WIDGET, raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_STAMP)


def draws_text(kinds: Counter[int]) -> bool:
    """Check whether annotations of a page may draw text on it, which PDFium reads from flat pages only."""
    return any(kinds[kind] for kind in _WITH_TEXT)


class DocumentFacts:
    """Facts of one open document.

    Args:
        document: open in pypdfium2.
    """

    def __init__(self, document: Any) -> None:  # noqa: ANN401  (pypdfium2 is not typed)
        """Read nothing but the form, which PDFium has to know before a page is loaded."""
        self._document = document
        if raw.FPDF_GetFormType(document) in (raw.FORMTYPE_ACRO_FORM, raw.FORMTYPE_XFA_FOREGROUND):
            document.init_forms()

    def refusal(self) -> str | None:
        """Return why the document cannot be read: a dynamic XFA form; None if it can."""
        if raw.FPDF_GetFormType(self._document) != raw.FORMTYPE_XFA_FULL:
            return None
        for number in range(min(len(self._document), _MOST_PAGES)):
            if annotation_kinds(self._document[number])[raw.FPDF_ANNOT_WIDGET]:
                return None
        if len(self._document) == 1 and speaks_of_waiting(_text(self._document[0])):
            return f"{NO_VALUES} The renderer 'pymupdf' may read its values."
        return None

    def drop_passwords(self, page: Any) -> None:  # noqa: ANN401
        """Take password fields off a page, in memory: what some writers draw in them is the password."""
        if self._document.formenv is None:
            return
        for position in reversed(range(raw.FPDFPage_GetAnnotCount(page))):
            annotation = raw.FPDFPage_GetAnnot(page, position)
            flags = raw.FPDFAnnot_GetFormFieldFlags(self._document.formenv, annotation)
            raw.FPDFPage_CloseAnnot(annotation)
            if flags > 0 and flags & _PASSWORD:
                raw.FPDFPage_RemoveAnnot(page, position)

    def complete(self, kinds: Counter[int], number: int, text: PageText) -> PageText:
        """Return a page's text with its section, the names of attached files, and notes.

        Args:
            kinds: of the page's annotations.
            number: 0-based position of the page.
            text: of the page.
        """
        notes = list(text.notes)
        if kinds[raw.FPDF_ANNOT_WIDGET]:
            notes.append(FIELDS_NOTE)
        if any(kinds[kind] for kind in _COMMENTS):
            notes.append(COMMENTS_NOTE)
        names = self._attached_names() if number == 0 else ()
        section = self._outline.section(number)
        return replace(text, section=section, attachment_names=names, notes=tuple(notes))

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


def annotation_kinds(page: Any) -> Counter[int]:  # noqa: ANN401
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
