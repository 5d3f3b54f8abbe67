"""Dynamic XFA: "please wait" is no page; the values are, or the reason says what it is."""

from __future__ import annotations

import pytest
from made_documents import raw_pdf, stream

from mmrag.documents.pdf.pymupdf_renderer import PyMuPdfRenderer
from mmrag.documents.pdf.xfa import NOTE, form_values
from mmrag.errors import DocumentError

WAIT = "Please wait... You can upgrade to the latest version of Adobe Reader."
HEAD = "<?xml version='1.0'?><xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'>"
TEMPLATE = (
    "<template><subform name='form1'>"
    "<field name='Who'><caption><value><text>Name of applicant</text></value></caption></field>"
    "<field name='SumWanted'/></subform></template>"
)
DATA = (
    "<xfa:datasets xmlns:xfa='http://www.xfa.org/schema/xfa-data/1.0/'><xfa:data><form1>"
    "<Who>Example &lt;Works&gt;</Who><SumWanted>7,300</SumWanted><Empty/></form1></xfa:data></xfa:datasets>"
)
TAIL = "</xdp:xdp>"


def form(*packets: str, text: str = WAIT, renders: bool = True, field: bool = False, pages: int = 1) -> bytes:
    """A PDF with XFA packets, one stream or an array of them."""
    number = 6 + pages
    names = "".join(f"(p{n}) {number + n} 0 R " for n in range(len(packets)))
    entry = f"[{names}]" if len(packets) > 1 else f"{number} 0 R"
    kids = " ".join(f"{6 + page} 0 R" for page in range(pages))
    annotations = (
        "/Annots[<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/V(typed in)/Rect[100 100 300 120]"
        "/DA(/F 11 Tf 0 g)>>]"
        if field
        else ""
    )
    page = (
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 300]/Contents 3 0 R{annotations}"
        "/Resources<</Font<</F 4 0 R>>>>>>"
    )
    return raw_pdf(
        f"<</Type/Catalog/Pages 2 0 R/AcroForm 5 0 R{'/NeedsRendering true' if renders else ''}>>",
        f"<</Type/Pages/Kids[{kids}]/Count {pages}>>",
        stream(f"BT /F 11 Tf 40 250 Td ({text}) Tj ET"),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        f"<</Fields[]/XFA {entry}/DR<</Font<</F 4 0 R>>>>>>",
        *[page] * pages,
        *(stream(packet) for packet in packets),
    )


def renderer(data: bytes) -> PyMuPdfRenderer:
    return PyMuPdfRenderer("form.pdf", "pdf", data, ())


@pytest.mark.parametrize("packets", [(HEAD + TEMPLATE + DATA + TAIL,), (HEAD, TEMPLATE, DATA, TAIL)])
def test_the_values_stand_in_for_the_page_that_says_wait(packets):
    opened = renderer(form(*packets))
    page = opened.read(0)
    assert page.text.split("\n\n") == ["Name of applicant: Example <Works>", "Sum Wanted: 7,300"]
    assert page.notes == (NOTE,)
    assert "XFA" in NOTE
    picture = opened.render(0, 500_000)
    dark = sum(value < 128 for value in picture.convert("L").tobytes())
    assert 200 < dark < 20_000, "the picture shows the values, and nothing of the other page"


def test_many_values_take_several_pages():
    rows = "".join(f"<Row{n}>value {n}</Row{n}>" for n in range(200))
    opened = renderer(form(f"<datasets><data>{rows}</data></datasets>"))
    assert opened.page_count > 2
    text = " ".join(opened.read(number).text for number in range(opened.page_count))
    assert [int(word) for word in text.split()[2::3]] == list(range(200))


@pytest.mark.parametrize(
    "xml",
    [
        "<datasets><data/></datasets>",
        "no xml",
        '<!DOCTYPE a [<!ENTITY e "boom">]><datasets><data><a>&e;</a></data></datasets>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><datasets><data><a>b</a></data></datasets>',
    ],
)
def test_without_values_the_reason_says_what_it_is_and_what_to_do(xml):
    with pytest.raises(DocumentError, match=r"form\.pdf: a dynamic XFA form, which only Adobe .* print it"):
        renderer(form(xml))


def test_deep_and_cut_xml_is_harmless():
    deep = "<datasets><data>" + "<a>" * 50_000 + "x"
    assert form_values(deep.encode()) == []
    cut = (HEAD + DATA)[:-60]
    assert form_values(cut.encode())[0] == ("Who", "Example <Works>")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"field": True}, "typed"),
        ({"renders": False, "text": "Minutes of the meeting"}, "Minutes"),
        ({"renders": False, "pages": 2}, "Please"),
    ],
)
def test_a_form_with_pages_of_its_own_is_read_from_these(options, word):
    page = renderer(form(HEAD + DATA + TAIL, **options)).read(0)
    assert word in page.text and page.notes == ()


def test_one_page_that_speaks_of_adobe_is_enough():
    page = renderer(form(HEAD + DATA + TAIL, renders=False, text="Bitte laden Sie Adobe Reader")).read(0)
    assert page.notes == (NOTE,)
