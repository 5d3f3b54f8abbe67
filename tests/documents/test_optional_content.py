"""What is switched off, cut off by a path or the crop box, or written over, is no word; what is seen is."""

from __future__ import annotations

import pytest
from made_documents import raw_pdf, stream

from mmrag.documents.opening import open_renderer

ENGINES = pytest.mark.parametrize("engine", ["pymupdf", "pdfium"])
SHOWN = "BT /F 12 Tf 1 0 0 1 60 250 Tm (The weir was mended.) Tj ET\n"
SECRET = "BT /F 12 Tf 1 0 0 1 60 200 Tm (Zebra crossing) Tj ET\n"
LAYER = "/OC /L BDC\n" + SECRET + "EMC\n"


def words(
    engine: str, contents: str, state: str = "ON", page: str = "", form: str = "", entries: str = ""
) -> list[str]:
    """Words of a page of 400 x 300 points; object 6 is a layer in this state, 8 one that is on, 7 a form."""
    data = raw_pdf(
        f"<</Type/Catalog/Pages 2 0 R/OCProperties<</OCGs[6 0 R 8 0 R]/D<</{state}[6 0 R]>>>>>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 300]{page}/Contents 4 0 R"
        "/Resources<</Font<</F 5 0 R>>/XObject<</X 7 0 R>>/Properties<</L 6 0 R/K 8 0 R>>"
        "/ExtGState<</M<</BM/Multiply>>/Z<</ca 0>>>>>>>>",
        stream(SHOWN + contents),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        "<</Type/OCG/Name(L)>>",
        stream(form, f"/Type/XObject/Subtype/Form/BBox[0 0 400 300]/Resources<</Font<</F 5 0 R>>>>{entries}"),
        "<</Type/OCG/Name(K)>>",
    )
    if engine == "pdfium":
        pytest.importorskip("pypdfium2", reason="the extra 'pdfium' is not installed")
    renderer = open_renderer(engine, "pdf", "page.pdf", data, (), 4_000_000)
    try:
        return [word.text for word in renderer.read(0).words]
    finally:
        renderer.close()


@ENGINES
def test_a_layer_is_read_only_while_it_is_on(engine):
    assert words(engine, LAYER, "ON") == ["The", "weir", "was", "mended.", "Zebra", "crossing"]
    assert words(engine, LAYER, "OFF") == ["The", "weir", "was", "mended."]


@pytest.mark.parametrize(
    ("box", "is_seen"), [("50 190 200 30", True), ("300 100 40 40", False), ("0 0 0 0", False)]
)
@ENGINES
def test_a_clipping_path_cuts_words_off(box, is_seen, engine):
    assert ("Zebra" in words(engine, f"q {box} re W n\n{SECRET}Q\n")) == is_seen


@pytest.mark.parametrize(("box", "is_seen"), [("40 180 380 290", True), ("40 230 380 290", False)])
@ENGINES
def test_the_crop_box_cuts_words_off(box, is_seen, engine):
    assert ("Zebra" in words(engine, SECRET, page=f"/CropBox[{box}]")) == is_seen


PATCH = "1 g 50 190 200 25 re f 0 g\n"
BAR = "0 g 50 190 200 25 re f\n"


@pytest.mark.parametrize(
    ("patch", "ink", "text"),
    [(PATCH, "0 g", "Lion gate"), (BAR, "1 g", "Redacted now"), (BAR, "1 g", "Zebra stripes")],
)
@ENGINES
def test_what_was_written_over_a_patch_replaces_what_is_under_it(patch, ink, text, engine):
    new = f"BT {ink} /F 12 Tf 1 0 0 1 60 200 Tm ({text}) Tj ET\n"
    read = words(engine, SECRET + patch + new)
    assert "crossing" not in read
    assert read[4:] == text.split()


@ENGINES
def test_a_highlighter_replaces_nothing_and_neither_does_a_watermark(engine):
    marker = "q /M gs 1 1 0 rg 50 190 200 25 re f Q\n"
    large = "BT .9 g /F 60 Tf 1 0 0 1 40 180 Tm (DRAFT) Tj ET\n"
    assert {"Zebra", "crossing"} <= set(words(engine, SECRET + marker))
    assert {"Zebra", "crossing"} <= set(words(engine, SECRET + marker + large))


@ENGINES
def test_white_letters_with_a_dark_outline_are_seen(engine):
    outlined = "BT 1 g 0 G .5 w 2 Tr /F 24 Tf 1 0 0 1 60 200 Tm (Zebra) Tj ET\n"
    assert "Zebra" in words(engine, outlined)


@ENGINES
def test_an_axis_through_its_labels_strikes_nothing_out_and_a_line_through_words_does(engine):
    labels = "".join(f"BT 0 g /F 12 Tf 1 0 0 1 {60 + 60 * i} 200 Tm ({2010 + i}) Tj ET\n" for i in range(5))
    assert {"2010", "2014"} <= set(words(engine, labels + "0 G .8 w 50 204 m 350 204 l S"))
    assert "crossing" not in words(engine, SECRET + "0 G .8 w 58 204 m 140 204 l S")


TOP = "BT /F 12 Tf 1 0 0 1 60 250 Tm (Zebra) Tj ET\n"  # where other words stand


@ENGINES
def test_a_layer_that_is_off_is_not_read_where_others_show_ink_and_covers_nothing(engine):
    assert "Zebra" not in words(engine, f"/OC /L BDC\n{TOP}EMC\n", "OFF")
    other = SECRET.replace("Zebra", "Heron")
    assert words(engine, f"{LAYER}/OC /K BDC\n{other}EMC\n", "OFF")[4:] == ["Heron", "crossing"]
    assert words(engine, f"{SECRET}/OC /L BDC\n{PATCH}{other}EMC\n", "OFF")[4:] == ["Zebra", "crossing"]


@pytest.mark.parametrize(
    ("place", "ink", "entries", "is_seen"),
    [
        ("1 0 0 1 0 0", "0 g", "", True),
        ("1.5 0 0 1.5 20 -80", "0 g", "/Matrix[1 0 0 1 0 -20]", True),
        ("1.5 0 0 1.5 20 -80", "1 g", "/Matrix[1 0 0 1 0 -20]", False),
        ("0.06 0 0 0.06 20 80", "0 g", "", False),
        ("1 0 0 1 500 0", "0 g", "", False),
        ("1 0 0 1 0 0", "0 g", "/OC 6 0 R", False),
    ],
)
@ENGINES
def test_words_of_a_form_are_judged_where_and_how_it_is_placed(engine, place, ink, entries, is_seen):
    form = f"{ink} {SECRET}"
    read = words(engine, f"q {place} cm /X Do Q\n", "OFF", form=form, entries=entries)
    assert ("Zebra" in read) == is_seen


@ENGINES
def test_a_form_covers_what_is_under_it(engine):
    assert "Zebra" not in words(engine, f"{SECRET}/X Do\n", form=BAR)
    assert "Zebra" in words(engine, f"/X Do\n{SECRET}", form=PATCH)
    assert "Zebra" in words(engine, f"q 1 0 0 1 0 60 cm /X Do Q\n{SECRET}", form=BAR)


@pytest.mark.parametrize("contents", ["/Z gs /X Do\n", f"q 7 Tr {SECRET}Q\n"])
def test_pdfium_tells_a_transparent_form_and_text_that_is_only_a_clip(contents):
    read = words("pdfium", contents, form=SECRET, entries="/Group<</S/Transparency>>")
    assert "Zebra" not in read
