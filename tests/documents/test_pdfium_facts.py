"""With PDFium: sections and attached files as with PyMuPDF, and a note for what it does not read."""

from __future__ import annotations

import pymupdf
import pytest
from made_documents import make_pdf, raw_pdf, stream

from mmrag.errors import DocumentError

pytest.importorskip("pypdfium2", reason="the extra 'pdfium' is not installed")

from mmrag.documents.pdf.pdfium_facts import COMMENTS_NOTE, FIELDS_NOTE
from mmrag.documents.pdf.pdfium_renderer import PdfiumRenderer


def test_sections_files_and_what_is_not_read():
    document = pymupdf.open(stream=make_pdf("a", "b"))
    document.set_toc([[1, "Start", 1], [2, "End", 2]])
    document.embfile_add("m", b"minutes", filename="minutes.txt")
    document[1].add_text_annot((50, 50), "a comment")
    widget = pymupdf.Widget()
    widget.field_type, widget.field_name = pymupdf.PDF_WIDGET_TYPE_TEXT, "n"
    widget.field_value, widget.rect = "Heron", pymupdf.Rect(100, 100, 200, 120)
    document[1].add_widget(widget)
    renderer = PdfiumRenderer("a.pdf", document.tobytes(), ())
    first, second = renderer.read(0), renderer.read(1)
    assert (first.section, second.section) == (("Start",), ("Start", "End"))
    assert first.attachment_names == tuple(name for name, _ in renderer.attached_files()) != ()
    assert [read() for _, read in renderer.attached_files()] == [b"minutes"]
    assert (first.notes, second.notes) == ((), (FIELDS_NOTE, COMMENTS_NOTE))
    renderer.close()


def test_fields_and_free_text_are_read_as_they_are_drawn_and_passwords_never():
    document = pymupdf.open(stream=make_pdf("Boat:"))
    for top, (value, flags) in zip(
        (45, 145, 245), (("Heron", 0), ("7391", 1 << 13), ("Whitby", 0)), strict=True
    ):
        widget = pymupdf.Widget()
        widget.field_type, widget.field_name = pymupdf.PDF_WIDGET_TYPE_TEXT, f"n{top}"
        widget.field_value, widget.field_flags = value, flags
        widget.rect = pymupdf.Rect(100, top, 200, top + 20)
        document[0].add_widget(widget)
    document[0].add_freetext_annot((100, 100, 300, 130), "Typed remark")
    renderer = PdfiumRenderer("a.pdf", document.tobytes(), ())
    page = renderer.read(0)
    assert sorted(word.text for word in page.words) == sorted(["Boat:", "Heron", "Typed", "remark", "Whitby"])
    assert FIELDS_NOTE in page.notes
    assert renderer.read(0).words == page.words
    renderer.close()


def test_a_dynamic_xfa_form_is_refused_with_the_reason():
    xml = "<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'></xdp:xdp>"
    data = raw_pdf(
        "<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[]/XFA 6 0 R>>/NeedsRendering true>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        stream("BT /F 11 Tf 40 250 Td (Please wait...) Tj ET"),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        stream(xml),
    )
    with pytest.raises(DocumentError, match="XFA"):
        PdfiumRenderer("form.pdf", data, ())
