"""Pages read by the real engine: turned, merged with a layer, tall, wrong layers, languages."""

from __future__ import annotations

import io

import pymupdf
import pytest
from PIL import Image, ImageDraw, ImageFont

pytest.importorskip("rapidocr", reason="the extra 'ocr' is not installed")

from mmrag.documents import DocumentReader, ReaderSettings, discover
from mmrag.documents.ocr import languages

LINES = ("Minutes of the harbour board", "The crane was sold for 4,150 pounds", "Next meeting on 12 May")


def drawn(lines=LINES, size=(700, 260), font_size: int = 26) -> Image.Image:
    """Lines of black text on white."""
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for row, text in enumerate(lines):
        draw.text((30, 30 + 60 * row), text, fill="black", font=ImageFont.load_default(font_size))
    return picture


def stream_of(picture: Image.Image) -> bytes:
    """A picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def read_one(reader, *inputs):
    """The only page of a document."""
    (found,) = discover(*inputs)
    (page,) = reader.pages(found)
    return page


@pytest.mark.parametrize("turns", range(4))
def test_a_turned_picture_is_read_and_its_boxes_are_as_it_lies(ocr_reader, turns):
    transposes = [None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270]
    picture = drawn() if transposes[turns] is None else drawn().transpose(transposes[turns])
    page = read_one(ocr_reader, picture)
    assert page.text.split() == " ".join(LINES).split()
    assert page.confidence > 0.9
    grey = picture.convert("L")
    for word in page.words:
        x0, y0, x1, y1 = (round(edge * side) for edge, side in zip(word.box, picture.size * 2, strict=True))
        assert grey.crop((x0, y0, x1, y1)).getextrema()[0] < 128, word
    across, down = page.words[1].box[0] - page.words[0].box[0], page.words[1].box[1] - page.words[0].box[1]
    assert [across > abs(down), down < -abs(across), across < -abs(down), down > abs(across)][turns]


def test_a_scan_with_a_digital_header_is_read(ocr_reader):
    document = pymupdf.open()
    page = document.new_page(width=420, height=260)
    header = "Received at the registry of the harbour company on 4 May 2024, file 22 of 90, "
    page.insert_textbox((20, 5, 400, 60), header + "kept for ten years by order of the board", fontsize=10)
    page.insert_image(pymupdf.Rect(0, 60, 420, 216), stream=stream_of(drawn()))
    page = read_one(ocr_reader, ("scan.pdf", document.tobytes()))
    assert page.text_source == "both"
    words = page.text.split()
    assert words[: len(header.split())] == header.split()
    assert words[-len(" ".join(LINES).split()) :] == " ".join(LINES).split()
    assert all(word.confidence is None for word in page.words[: len(header.split())])
    assert page.words[-1].confidence > 0.8


def test_a_layer_that_says_something_else_is_replaced(ocr_reader):
    """Text whose letters are shifted by one lies invisibly over the scan."""
    lines = ("The monthly rent of the unit is 450 pounds", "The tenant must give three months notice")
    lines += ("Pets are allowed with written consent only",)
    document = pymupdf.open()
    page = document.new_page(width=420, height=156)
    page.insert_image(page.rect, stream=stream_of(drawn(lines)))
    for row, text in enumerate(lines):
        shifted = "".join(chr(ord(letter) + 1) if letter.isalpha() else letter for letter in text)
        page.insert_text((18, 30 + 36 * row), shifted, fontsize=12, render_mode=3)
    page = read_one(ocr_reader, ("scan.pdf", document.tobytes()))
    assert page.text_source == "ocr"
    assert page.text.split() == " ".join(lines).split()
    assert any("of its words are known" in note for note in page.notes)


def test_a_tall_picture_is_read_to_its_last_line(ocr_reader):
    lines = [f"Entry {number} paid {number * 7}.50" for number in range(1, 46)]
    picture = drawn(lines, size=(420, 60 * len(lines) + 60), font_size=18)
    page = read_one(ocr_reader, picture)
    assert page.text.split() == " ".join(lines).split()


def test_time_that_runs_out_costs_lines_and_is_told():
    from mmrag.documents.ocr.engine import OcrEngine

    reading = OcrEngine(640).read(drawn(), seconds=0.0)
    assert (reading.blocks, reading.unread_lines) == ((), len(LINES))


def test_a_language_without_its_model_says_what_to_download(tmp_path):
    with pytest.raises(ValueError, match=r"eslav_PP-OCRv5_rec_mobile\.onnx") as caught:
        ReaderSettings(ocr_language="ru", ocr_models=str(tmp_path))
    assert "https://" in str(caught.value) and str(tmp_path) in str(caught.value)
    (tmp_path / "eslav_PP-OCRv5_rec_mobile.onnx").write_bytes(b"")
    settings = ReaderSettings(ocr_language="ru", ocr_models=str(tmp_path))
    assert settings.ocr_model == str(tmp_path / "eslav_PP-OCRv5_rec_mobile.onnx")
    assert settings.fingerprint() != ReaderSettings().fingerprint()
    for language in ("de", "ja", "PL"):
        assert ReaderSettings(ocr_language=language).fingerprint() == ReaderSettings().fingerprint()
    with pytest.raises(ValueError, match=r"ocr_language must be one of .*got 'klingon'"):
        ReaderSettings(ocr_language="klingon")


def test_a_model_in_a_folder_is_used(tmp_path):
    """The wheel's own recogniser under the name of another language reads as it did."""
    own_model = languages.models_folder("") / "PP-OCRv6_rec_small.onnx"
    if not own_model.is_file():
        pytest.skip("this version of RapidOCR has another model")
    (tmp_path / "el_PP-OCRv5_rec_mobile.onnx").symlink_to(own_model)
    settings = ReaderSettings(ocr_language="el", ocr_models=str(tmp_path), workers=1, ocr_seconds=600)
    with DocumentReader(settings) as reader:
        assert read_one(reader, drawn(LINES[:1])).text == LINES[0]


def test_a_script_that_the_model_cannot_read_is_not_lost_in_silence(ocr_reader):
    """Cyrillic: RapidOCR's model reads the figures only, and is sure of them."""
    document = pymupdf.open()
    page = document.new_page(width=420, height=160)
    page.insert_htmlbox(
        (20, 5, 400, 155), "<p>Плотина построена в 1968 году.</p><p>Высота стены 85 метров.</p>"
    )
    picture = page.get_pixmap(dpi=150)
    scan = Image.frombytes("RGB", (picture.width, picture.height), picture.samples)
    assert any("another script" in note for note in read_one(ocr_reader, scan).notes)
    (found,) = discover(("text.pdf", document.tobytes()))
    (layer,) = ocr_reader.pages(found)
    assert "Плотина" in layer.text and (layer.text_source, layer.notes) == ("layer", ())
