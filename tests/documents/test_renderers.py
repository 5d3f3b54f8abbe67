"""Words stand where their ink is, whatever the page's rotation and boxes; both renderers."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import numpy as np
import pymupdf
import pytest
from PIL import Image
from reportlab.pdfgen import canvas

from mmrag.documents.opening import open_renderer
from mmrag.errors import DocumentError, PageError, PasswordRequiredError

ENGINES = ["pymupdf", "pdfium"]
LIMIT = 4_000_000
PLACES = {"Alpha": (130, 640), "beta-7": (300, 500), "Gamma": (420, 250), "delta": (150, 160)}


def placed(rotation=0, media=(0, 0, 612, 792), crop=None) -> bytes:
    """Words at known places, with page boxes and rotation set in the page dictionary."""
    buffer = io.BytesIO()
    page = canvas.Canvas(buffer, pagesize=(612, 792))
    page.setFont("Helvetica", 18)
    for word, (x, y) in PLACES.items():
        page.drawString(x, y, word)
    page.drawString(20, 20, "outside")
    page.save()
    document = pymupdf.open(stream=buffer.getvalue())
    xref = document[0].xref
    document.xref_set_key(xref, "MediaBox", "[{:g} {:g} {:g} {:g}]".format(*media))
    if crop:
        document.xref_set_key(xref, "CropBox", "[{:g} {:g} {:g} {:g}]".format(*crop))
    document.xref_set_key(xref, "Rotate", str(rotation))
    return document.tobytes()


def open_pdf(engine, data, passwords=()):
    if engine == "pdfium":
        pytest.importorskip("pypdfium2", reason="the extra 'pdfium' is not installed")
    return open_renderer(engine, "pdf", "a.pdf", data, passwords, LIMIT)


def ink_in(picture, box):
    """Dark pixels inside a box, and their number on the whole page."""
    dark = np.asarray(picture.convert("L")) < 128
    height, width = dark.shape
    x0, y0, x1, y1 = box
    inside = dark[
        max(0, round(y0 * height) - 2) : round(y1 * height) + 2,
        max(0, round(x0 * width) - 2) : round(x1 * width) + 2,
    ]
    return int(inside.sum()), int(dark.sum())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(
    ("media", "crop"),
    [
        ((0, 0, 612, 792), None),
        ((0, 0, 612, 792), (100, 120, 560, 700)),
        ((50, 60, 612, 792), None),
        ((-100, -50, 512, 742), (90, 100, 512, 700)),
    ],
    ids=["plain", "crop", "offset", "offset-crop"],
)
def test_the_ink_of_each_word_is_inside_its_box(engine, rotation, media, crop):
    renderer = open_pdf(engine, placed(rotation, media, crop))
    page = renderer.read(0)
    picture = renderer.render(0, 1_000_000)
    words = {word.text: word.box for word in page.words}
    expected = set(PLACES) | ({"outside"} if crop is None and media[0] <= 0 else set())
    assert set(words) == expected
    total = 0
    for word, box in words.items():
        inside, everywhere = ink_in(picture, box)
        assert inside > 20, f"{word} has no ink in {box}"
        total += inside
    assert total == everywhere, "all ink of the page is inside the words' boxes"
    x0, y0, x1, y1 = crop or media
    shown = (x1 - x0, y1 - y0) if rotation in (0, 180) else (y1 - y0, x1 - x0)
    assert page.size == pytest.approx(shown)
    assert picture.width / picture.height == pytest.approx(shown[0] / shown[1], rel=0.01)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_both_renderers_agree_on_where_words_are(rotation):
    data = placed(rotation, (0, 0, 612, 792), (100, 120, 560, 700))
    first, second = (
        {word.text: np.array(word.box) for word in open_pdf(engine, data).read(0).words} for engine in ENGINES
    )
    assert first.keys() == second.keys()
    for word in first:
        # one box is as high as the font, the other as its glyphs: the middles are half a line apart
        middle = (first[word][:2] + first[word][2:] - second[word][:2] - second[word][2:]) / 2
        assert np.abs(middle).max() < 0.02, word


@pytest.mark.parametrize("engine", ENGINES)
def test_printed_labels_are_read(engine):
    document = pymupdf.open()
    for _ in range(4):
        document.new_page()
    document.set_page_labels(
        [
            {"startpage": 0, "prefix": "", "style": "r", "firstpagenum": 3},
            {"startpage": 2, "prefix": "A-", "style": "D", "firstpagenum": 1},
        ]
    )
    renderer = open_pdf(engine, document.tobytes())
    assert [renderer.read(n).label for n in range(4)] == ["iii", "iv", "A-1", "A-2"]


@pytest.mark.parametrize("engine", ENGINES)
def test_lines_and_columns_keep_their_order(engine):
    buffer = io.BytesIO()
    page = canvas.Canvas(buffer, pagesize=(612, 792))
    page.setFont("Helvetica", 10)
    left = [f"left line {n} of the first column, wide enough" for n in range(12)]
    right = [f"right line {n} of the second column, also wide" for n in range(12)]
    for n in range(12):  # written row by row, so the order of the file is the wrong one to trust blindly
        page.drawString(60, 700 - 12 * n, left[n])
    for n in range(12):
        page.drawString(330, 700 - 12 * n, right[n])
    page.save()
    text = open_pdf(engine, buffer.getvalue()).read(0).text
    assert [line for line in text.splitlines() if line] == left + right


@pytest.mark.parametrize("engine", ENGINES)
def test_table_cells_of_a_row_are_one_line(engine):
    document = pymupdf.open()
    page = document.new_page(width=400, height=200)
    page.insert_htmlbox(
        pymupdf.Rect(20, 20, 380, 180),
        "<table><tr><td>Region</td><td>2023</td></tr><tr><td>Europe</td><td>25.1</td></tr></table>",
    )
    text = open_pdf(engine, document.tobytes()).read(0).text
    assert text.split() == ["Region", "2023", "Europe", "25.1"]


@pytest.mark.parametrize("engine", ENGINES)
def test_invisible_text_layers_are_named(engine):
    document = pymupdf.open()
    document.new_page().insert_text((50, 50), "somebody's OCR", render_mode=3)
    document.new_page().insert_text((50, 50), "plain text")
    renderer = open_pdf(engine, document.tobytes())
    assert [renderer.read(n).invisible for n in (0, 1)] == [True, False]


@pytest.mark.parametrize("engine", ENGINES)
def test_passwords_are_tried_in_order(engine):
    document = pymupdf.open()
    document.new_page().insert_text((50, 50), "secret")
    data = document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="open", owner_pw="own")
    assert open_pdf(engine, data, ("wrong", "open")).read(0).text == "secret"
    with pytest.raises(PasswordRequiredError, match="encrypted, and none of the 1 passwords given opens it"):
        open_pdf(engine, data, ("wrong",))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("width", "height"), [(14_400, 14_400), (3, 9_000), (200_000, 200_000)])
def test_enormous_pages_are_rendered_scaled_down(engine, width, height):
    document = pymupdf.open()
    document.new_page(width=100, height=100)
    document.xref_set_key(document[0].xref, "MediaBox", f"[0 0 {width} {height}]")
    picture = open_pdf(engine, document.tobytes()).render(0, 500_000)
    assert 1 <= picture.width * picture.height <= 500_000


@pytest.mark.parametrize("engine", ENGINES)
def test_no_pixel_over_the_budget_and_small_pages_stay_small(engine):
    renderer = open_pdf(engine, placed())
    for budget in (1_000, 123_457, 2_000_000):
        picture = renderer.render(0, budget)
        assert 0.9 * budget < picture.width * picture.height <= budget
    small = pymupdf.open()
    small.new_page(width=72, height=72)
    assert max(open_pdf(engine, small.tobytes()).render(0, 4_000_000).size) == 300, "300 dpi at most"


def test_pdfium_says_what_it_does_not_read():
    with pytest.raises(
        DocumentError, match=r"'pdfium' reads PDF and images, got svg\. Use renderer='pymupdf'"
    ):
        open_renderer("pdfium", "svg", "a.svg", b"<svg/>", (), LIMIT)


def test_pdfium_never_imports_pymupdf():
    pytest.importorskip("pypdfium2", reason="the extra 'pdfium' is not installed")
    code = (
        "import sys; from mmrag.documents.opening import open_renderer;"
        "r = open_renderer('pdfium', 'pdf', 'a', sys.stdin.buffer.read(), (), 10**6);"
        "assert r.read(0).words and r.render(0, 10**4);"
        "print([m for m in sys.modules if m in ('pymupdf', 'fitz', 'torch', 'chromadb')])"
    )
    run = subprocess.run([sys.executable, "-c", code], input=placed(), capture_output=True, check=True)
    assert run.stdout.strip() == b"[]"


SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100">
<text x="20" y="50" font-family="Helvetica" font-size="20">drawn words</text></svg>"""


def test_svg_is_one_page_with_words():
    renderer = open_renderer("pymupdf", "svg", "a.svg", SVG, (), LIMIT)
    assert renderer.page_count == 1
    assert renderer.read(0).text == "drawn words"
    inside, everywhere = ink_in(renderer.render(0, 200_000), (0.05, 0.2, 0.95, 0.8))
    assert inside == everywhere > 50


def make_epub() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr(
            "META-INF/container.xml",
            '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/>'
            "</rootfiles></container>",
        )
        book.writestr(
            "book.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" version="2.0" unique-identifier="i"><metadata '
            'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A small book</dc:title>'
            '<dc:identifier id="i">1</dc:identifier><dc:language>en</dc:language></metadata><manifest>'
            '<item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="c"/></spine></package>',
        )
        paragraphs = "".join(
            f"<p>Paragraph {n} of the only chapter, long enough to fill lines.</p>" for n in range(80)
        )
        book.writestr(
            "c.xhtml",
            f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>c</title></head><body>{paragraphs}</body></html>',
        )
    return buffer.getvalue()


def test_epub_is_laid_out_in_pages():
    renderer = open_renderer("pymupdf", "epub", "a.epub", make_epub(), (), LIMIT)
    assert renderer.title == "A small book"
    assert renderer.page_count > 2
    assert "Paragraph 79" in renderer.read(renderer.page_count - 1).text


# ---- pictures ----


def picture_bytes(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def open_picture(data, limit=LIMIT):
    return open_renderer("pymupdf", "image", "a", data, (), limit)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_respected(orientation):
    upright = Image.new("RGB", (8, 4), "white")
    upright.paste("black", (0, 0, 4, 2))  # top left quarter
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that undo the orientation
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    renderer = open_picture(picture_bytes(stored, "PNG", exif=exif))
    shown = renderer.render(0, 1000)
    assert shown.size == (8, 4)
    assert np.array_equal(np.asarray(shown), np.asarray(upright))
    assert renderer.read(0).size == (8.0, 4.0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LA", "RGBA", "I;16", "I", "F"])
def test_every_mode_becomes_rgb_with_dark_and_light(mode):
    data = np.zeros((4, 8), np.uint8)
    data[:, 4:] = 255
    grey = Image.fromarray(data)
    if mode == "I;16":
        image = Image.fromarray(data.astype(np.uint16) * 257)
    elif mode in ("I", "F"):
        image = Image.fromarray(data.astype(np.int32 if mode == "I" else np.float32) * 1000)
    else:
        image = grey.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr", "P") else grey.convert(mode)
    # before 13 Pillow cannot read the uncompressed YCbCr TIFF that it wrote
    stored = picture_bytes(image, "TIFF", **({"compression": "tiff_deflate"} if mode == "YCbCr" else {}))
    shown = np.asarray(open_picture(stored).render(0, 1000)).astype(int)
    assert shown.shape == (4, 8, 3)
    assert shown[:, :4].max() < 30 and shown[:, 4:].min() > 225


def test_twelve_bits_in_sixteen_are_not_black():
    image = Image.fromarray(np.array([[0, 4095]], np.uint16))
    shown = open_picture(picture_bytes(image, "TIFF")).render(0, 100)
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (255, 255, 255)]


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert open_picture(picture_bytes(clear, "PNG")).render(0, 100).getpixel((0, 0)) == (255, 255, 255)


def test_all_frames_of_a_tiff_are_pages():
    frames = [Image.new("RGB", (5, 5), color) for color in ("red", "lime", "blue")]
    renderer = open_picture(picture_bytes(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert renderer.page_count == 3
    colors = [renderer.render(n, 100).getpixel((2, 2)) for n in (2, 0, 1)]
    assert colors == [(0, 0, 255), (255, 0, 0), (0, 255, 0)]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_one_page_and_says_so(format):
    frames = [Image.new("RGB", (5, 5), (n * 20, 0, 0)) for n in range(12)]
    renderer = open_picture(picture_bytes(frames[0], format, save_all=True, append_images=frames[1:]))
    assert renderer.page_count == 1
    assert renderer.read(0).notes == (f"12 frames in this {format} file; the first is the page",)
    assert max(renderer.render(0, 100).getpixel((2, 2))) <= 12


def test_pictures_are_made_smaller_but_never_larger():
    renderer = open_picture(picture_bytes(Image.new("RGB", (100, 50)), "PNG"))
    assert renderer.render(0, 10_000_000).size == (100, 50)
    small = renderer.render(0, 200)
    assert small.width * small.height <= 200


def test_a_picture_over_the_pixel_limit_is_refused_before_it_is_decoded():
    data = picture_bytes(Image.new("1", (20_000, 20_000)), "PNG")  # 50 kB for 400 million pixels
    assert len(data) < 100_000
    with pytest.raises(PageError, match=r"at most 4000000 pixels .*, got 20000 x 20000"):
        open_picture(data).render(0, 1_000_000)


def test_a_large_jpeg_is_decoded_small():
    data = picture_bytes(Image.new("RGB", (3000, 3000), "navy"), "JPEG")
    picture = open_picture(data, limit=1_000_000).render(0, 1_000_000)
    assert 100_000 < picture.width * picture.height <= 1_000_000


def test_size_in_points_follows_a_credible_dpi():
    image = Image.new("RGB", (600, 300))
    assert open_picture(picture_bytes(image, "PNG", dpi=(300, 300))).read(0).size == pytest.approx(
        (144, 72), rel=0.01
    )
    assert open_picture(picture_bytes(image, "PNG", dpi=(1, 1))).read(0).size == (600, 300)


def test_without_pymupdf_the_way_out_is_named(monkeypatch):
    """Who uninstalls it for its licence and forgets the other renderer reads what to do."""
    monkeypatch.setitem(sys.modules, "pymupdf", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "mmrag.documents.pdf.pymupdf_renderer", raising=False)
    with pytest.raises(DocumentError, match=r"a\.pdf: .* needs PyMuPDF, .* renderer='pdfium'"):
        open_renderer("pymupdf", "pdf", "a.pdf", b"%PDF-", (), 1_000_000)
