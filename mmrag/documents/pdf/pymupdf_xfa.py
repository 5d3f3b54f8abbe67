"""Dynamic XFA forms by PyMuPDF: found out, and drawn as a plain list of their values."""

from __future__ import annotations

import html
import io
from typing import Any

import pymupdf

from mmrag.documents.pdf.xfa import form_values, packet_numbers, speaks_of_waiting

_MOST_PAGES = 50  # that are looked through for fields
_PAPER = pymupdf.Rect(0, 0, 595, 842)  # points: A4
_PRINT = pymupdf.Rect(56, 56, 539, 786)  # inside its margins


def is_dynamic(document: Any) -> bool:  # noqa: ANN401  (PyMuPDF is not typed)
    """Check for a form whose pages do not show it; see `mmrag.documents.pdf.xfa`."""
    if not document.is_pdf or _xfa_entry(document)[0] == "null":
        return False
    for number in range(min(document.page_count, _MOST_PAGES)):
        if any(kind == pymupdf.PDF_ANNOT_WIDGET for _, kind, *_ in document[number].annot_xrefs()):
            return False
    if document.xref_get_key(document.pdf_catalog(), "NeedsRendering")[1] == "true":
        return True
    return document.page_count == 1 and speaks_of_waiting(document[0].get_text())


def values_as_pages(document: Any) -> Any | None:  # noqa: ANN401
    """Return a document that lists a form's labels and values; None if it has none that can be read."""
    pairs = form_values(_xml(document))
    if not pairs:
        return None
    lines = [f"<p><b>{html.escape(label)}:</b> {html.escape(value)}</p>" for label, value in pairs]
    story = pymupdf.Story(html="".join(lines), user_css="p {font-family: sans-serif; font-size: 11px}")
    buffer = io.BytesIO()
    writer = pymupdf.DocumentWriter(buffer)
    more = 1
    while more:
        device = writer.begin_page(_PAPER)
        more, _ = story.place(_PRINT)
        story.draw(device)
        writer.end_page()
    writer.close()
    return pymupdf.open(stream=buffer.getvalue(), filetype="pdf")


def _xfa_entry(document: Any) -> tuple[str, str]:  # noqa: ANN401
    kind, value = document.xref_get_key(document.pdf_catalog(), "AcroForm/XFA")
    return str(kind), str(value)


def _xml(document: Any) -> bytes:  # noqa: ANN401
    """Return all packets, joined: together they are one XML document."""
    kind, entry = _xfa_entry(document)
    numbers = packet_numbers(entry)
    if kind == "xref" and not document.xref_is_stream(numbers[0]):
        numbers = packet_numbers(document.xref_object(numbers[0]))
    return b"".join(document.xref_stream(number) or b"" for number in numbers)
