"""A highlighted PDF shows what the original shows, and runs, sends, plays and carries nothing."""

from __future__ import annotations

import pymupdf
import pypdfium2
import pytest

from mmrag.documents.pdf.active_content import ACTIONS, ANNOTATIONS, remove_active_content


def new_document(pages=2):
    document = pymupdf.open()
    for number in range(pages):
        document.new_page().insert_text((72, 72), f"page {number} stays")
    return document


def add_object(document, text):
    number = document.get_new_xref()
    document.update_object(number, text)
    return number


def cleaned(document):
    """Return the copy without its active content, and that copy as plain bytes."""
    with pymupdf.open("pdf", document.tobytes()) as copy:
        remove_active_content(copy)
        data = copy.tobytes(garbage=1, deflate=True)
    with pymupdf.open("pdf", data) as plain:
        return data, plain.tobytes(expand=255, pretty=False)


# where an action may stand: the object that it is put into, and the key
PLACES = {
    "opening": lambda document: (document.pdf_catalog(), "OpenAction"),
    "event of the document": lambda document: (document.pdf_catalog(), "AA/WC"),
    "event of a page": lambda document: (document.page_xref(0), "AA/O"),
    "list of scripts": lambda document: (document.pdf_catalog(), "Names/JavaScript/Names"),
    "bookmark": lambda document: (_outline(document), "A"),
    "field": lambda document: (_field(document), "AA/K"),
    "link": lambda document: (_link(document), "A"),
    "after a jump": lambda document: (_link(document), "A/Next"),
}


def _outline(document):
    document.set_toc([[1, "chapter", 2]])
    return next(x for x in range(1, document.xref_length()) if "chapter" in document.xref_object(x))


def _field(document):
    widget = pymupdf.Widget()
    widget.field_name, widget.field_type = "sum", pymupdf.PDF_WIDGET_TYPE_TEXT
    widget.rect, widget.field_value = pymupdf.Rect(72, 200, 200, 220), "value stays"
    document[0].add_widget(widget)
    return next(document[0].widgets()).xref


def _link(document):
    jump = {
        "kind": pymupdf.LINK_GOTO,
        "page": 1,
        "from": pymupdf.Rect(0, 0, 50, 50),
        "to": pymupdf.Point(0, 0),
    }
    document[0].insert_link(jump)
    return document[0].get_links()[0]["xref"]


@pytest.mark.parametrize("indirect", [False, True], ids=["in place", "by reference"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", sorted(ACTIONS))
def test_no_action_survives_wherever_it_stands(kind, place, indirect):
    document = new_document()
    number, key = PLACES[place](document)
    action = f"<</S/{kind}/JS(planted)/F(planted)/URI(planted)/Next<</S/Launch/F(planted)>>>>"
    value = f"{add_object(document, action)} 0 R" if indirect else action
    document.xref_set_key(number, key, f"[(one) {value}]" if key.endswith("/Names") else value)
    data, plain = cleaned(document)
    assert b"planted" not in plain and b"/" + kind.encode() + b"/" not in plain
    pdf = pypdfium2.PdfDocument(data)
    assert pypdfium2.raw.FPDFDoc_GetJavaScriptActionCount(pdf) == 0
    assert [pdf[n].get_textpage().get_text_range().strip() for n in range(2)] == [
        "page 0 stays",
        "page 1 stays",
    ]
    pdf.close()


@pytest.mark.parametrize("subtype", sorted(ANNOTATIONS))
def test_no_annotation_carries_or_plays_a_file(subtype):
    document = new_document()
    stream = add_object(document, "<<>>")
    document.update_stream(stream, b"planted program")
    spec = f"<</Type/Filespec/F(planted.exe)/EF<</F {stream} 0 R>>>>"
    annotation = (
        f"<</Type/Annot/Subtype/{subtype}/Rect[0 0 50 50]/FS {spec}/RichMediaContent<</Assets {spec}>>>>"
    )
    document.xref_set_key(
        document.page_xref(0), "Annots", f"[{add_object(document, annotation)} 0 R {annotation}]"
    )
    assert b"planted" not in cleaned(document)[1]


def test_attached_files_and_the_second_form_go():
    document = new_document()
    document.embfile_add("planted.exe", b"planted program")
    form = add_object(document, "<<>>")
    document.update_stream(form, b"<script>planted</script>")
    document.xref_set_key(document.pdf_catalog(), "AcroForm", f"<</Fields[]/XFA {form} 0 R>>")
    loose = add_object(document, "<<>>")
    document.update_stream(loose, b"planted, of no list")
    document.xref_set_key(document.page_xref(1), "AF", f"[<</F(x)/EF<</UF {loose} 0 R>>>>]")
    data, plain = cleaned(document)
    assert b"planted" not in plain
    assert pypdfium2.raw.FPDFDoc_GetAttachmentCount(pypdfium2.PdfDocument(data)) == 0


@pytest.mark.parametrize(
    ("address", "is_kept"),
    [
        ("https://example.org/a?b=c", True),
        ("HTTP://example.org", True),
        ("mailto:ann@example.org", True),
        ("javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("vbscript:x", False),
        ("\\\\server\\share\\x", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_links_to_the_web_and_jumps_stay(address, is_kept):
    document = new_document()
    jump = _link(document)
    assert document.xref_get_key(jump, "A/S")[1] == "/GoTo"
    web = f"<</Type/Annot/Subtype/Link/Rect[0 0 9 9]/A<</S/URI/URI{pymupdf.get_pdf_str(address)}>>>>"
    document.xref_set_key(document.page_xref(0), "Annots", f"[{jump} 0 R {add_object(document, web)} 0 R]")
    data, plain = cleaned(document)
    assert (b"/S/URI" in plain) == is_kept
    with pymupdf.open("pdf", data) as copy:
        kinds = [link["kind"] for link in copy[0].get_links()]
        assert kinds.count(pymupdf.LINK_GOTO) == 1


NAMES = ("AA", "JS", "EF", "AF", "XFA", "OpenAction", "JavaScript")


def test_what_is_shown_stays():
    """Fonts, pictures and layers whose names in a page are those of the keys above."""
    document = new_document()
    _field(document)
    document.set_toc([[1, "chapter", 2]])
    resources = add_object(document, "<</Type/Font/Subtype/Type1/BaseFont/Courier>>")
    names = "".join(f"/{name} {resources} 0 R" for name in NAMES)
    own = document.xref_get_key(document.page_xref(0), "Resources")[1].split()[0]
    document.xref_set_key(int(own), "Font", f"<</helv {resources} 0 R{names}>>")
    lines = (f"BT /{name} 9 Tf 72 {300 + 20 * n} Td (drawn in {name}) Tj ET " for n, name in enumerate(NAMES))
    content = document[0].read_contents() + "".join(lines).encode()
    document.update_stream(document[0].get_contents()[0], content)
    element = add_object(document, "<</Type/StructElem/S/Sound/Alt(an alternative text)>>")
    document.xref_set_key(document.pdf_catalog(), "StructTreeRoot", f"<</K {element} 0 R>>")
    before = document.tobytes()
    data, plain = cleaned(document)
    with pymupdf.open("pdf", before) as old, pymupdf.open("pdf", data) as new:
        assert new.get_toc() == old.get_toc() and new.page_count == 2
        for one, other in zip(old, new, strict=True):
            assert one.get_text() == other.get_text()
            assert one.get_pixmap(dpi=50).samples == other.get_pixmap(dpi=50).samples
        assert [field.field_value for field in new[0].widgets()] == ["value stays"]
    assert b"an alternative text" in plain


def test_a_damaged_object_is_left_out():
    data = new_document().tobytes()
    document = pymupdf.open("pdf", data)
    number = add_object(document, "<</Type/Annot/Subtype/Link/Rect[0 0 9 9]/A<</S/Launch/F(planted)>>>>")
    document.xref_set_key(document.page_xref(0), "Annots", f"[{number} 0 R]")
    broken = document.tobytes().replace(b"/S/Launch/F(planted)>>", b"/S/Launch/F(planted)]]")
    with pymupdf.open("pdf", broken) as copy:
        with pytest.raises(RuntimeError, match="dict"):
            copy.xref_object(number)
        remove_active_content(copy)
        assert b"planted" not in copy.tobytes(garbage=1, expand=255)
