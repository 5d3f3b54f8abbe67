"""Parts of a page that are switched off, cut off by a clipping path or outside the crop box are no words."""

from __future__ import annotations

import pytest
from made_documents import raw_pdf, stream

from mmrag.documents.pymupdf_renderer import PyMuPdfRenderer

SHOWN = "BT /F 12 Tf 1 0 0 1 60 250 Tm (The weir was mended.) Tj ET\n"
SECRET = "BT /F 12 Tf 1 0 0 1 60 200 Tm (Zebra crossing) Tj ET\n"
LAYER = "/OC /L BDC\n" + SECRET + "EMC\n"


def words(contents: str, state: str = "ON", page: str = "") -> list[str]:
    """Words of a page of 400 x 300 points; object 6 is a layer in this state."""
    data = raw_pdf(
        f"<</Type/Catalog/Pages 2 0 R/OCProperties<</OCGs[6 0 R]/D<</{state}[6 0 R]>>>>>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 300]{page}/Contents 4 0 R"
        "/Resources<</Font<</F 5 0 R>>/Properties<</L 6 0 R>>>>>>",
        stream(SHOWN + contents),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        "<</Type/OCG/Name(L)>>",
    )
    renderer = PyMuPdfRenderer("page.pdf", "pdf", data, ())
    try:
        return [word.text for word in renderer.read(0).words]
    finally:
        renderer.close()


def test_a_layer_is_read_only_while_it_is_on():
    assert words(LAYER, "ON") == ["The", "weir", "was", "mended.", "Zebra", "crossing"]
    assert words(LAYER, "OFF") == ["The", "weir", "was", "mended."]


@pytest.mark.parametrize(
    ("box", "is_seen"), [("50 190 200 30", True), ("300 100 40 40", False), ("0 0 0 0", False)]
)
def test_a_clipping_path_cuts_words_off(box, is_seen):
    assert ("Zebra" in words(f"q {box} re W n\n{SECRET}Q\n")) == is_seen


@pytest.mark.parametrize(("box", "is_seen"), [("40 180 380 290", True), ("40 230 380 290", False)])
def test_the_crop_box_cuts_words_off(box, is_seen):
    assert ("Zebra" in words(SECRET, page=f"/CropBox[{box}]")) == is_seen
