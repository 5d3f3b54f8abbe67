"""Boxes of words and footnote marks of the text layer; pages are drawn here."""

from __future__ import annotations

import random
import struct

import pymupdf
import pytest
from PIL import ImageFont

from mmrag.documents.opening import open_renderer


def read(document, engine="pymupdf", number=0):
    """Read one page of an open PyMuPDF document."""
    if engine == "pdfium":
        pytest.importorskip("pypdfium2", reason="the extra 'pdfium' is not installed")
    return open_renderer(engine, "pdf", "a.pdf", document.tobytes(), (), 4_000_000).read(number)


def texts(page):
    return [word.text for word in page.words]


def raised(page, x, y, text, mark, *, size=11, after=""):
    """Draw a text at a baseline, a raised mark after it, then the rest of the line."""
    page.insert_text((x, y), text, fontsize=size)
    x += pymupdf.get_text_length(text, fontsize=size)
    page.insert_text((x, y - 0.35 * size), mark, fontsize=0.6 * size)
    x += pymupdf.get_text_length(mark, fontsize=0.6 * size)
    page.insert_text((x, y), after, fontsize=size)


MARKED = {
    ("250", "9"): ["250", "⁹"],
    ("2019", "4"): ["2019", "⁴"],
    ("1,250", "3"): ["1,250", "³"],
    ("customers", "10"): ["customers", "¹⁰"],
    ("station.", "12,13"): ["station.", "¹²,¹³"],
    ("7", "a"): ["7", "ᵃ"],
    ("7", "*"): ["7", "*"],
    ("m", "2"): ["m2"],
    ("km", "2"): ["km2"],
    ("10", "6"): ["10⁶"],
    ("10", "-5"): ["10⁻⁵"],
    ("110", "6"): ["110", "⁶"],
    ("19", "th"): ["19th"],
    ("Acme", "TM"): ["AcmeTM"],
}


@pytest.mark.parametrize("engine", ["pymupdf", "pdfium"])
@pytest.mark.parametrize(("drawn", "expected"), MARKED.items())
def test_a_raised_mark_never_becomes_a_digit_of_the_figure_before_it(drawn, expected, engine):
    if engine == "pdfium":  # it gives a raised small letter or sign as a line of its own
        expected = {"a": ["7", "a"], "*": ["*", "7"]}.get(drawn[1], expected)
    document = pymupdf.open()
    raised(document.new_page(), 72, 100, *drawn, after=" people")
    assert texts(read(document, engine)) == [*expected, "people"]


def test_a_lowered_figure_stays_in_its_formula():
    document = pymupdf.open()
    page = document.new_page()
    page.insert_text((72, 100), "CO", fontsize=11)
    page.insert_text((72 + pymupdf.get_text_length("CO", fontsize=11), 102), "2", fontsize=7)
    assert texts(read(document)) == ["CO2"]


def test_a_figure_and_its_mark_have_boxes_beside_each_other():
    document = pymupdf.open()
    raised(document.new_page(), 72, 100, "250", "9")
    figure, mark = read(document).words
    edge = (72 + pymupdf.get_text_length("250", fontsize=11)) / 595
    assert figure.box[2] == pytest.approx(edge, abs=0.002)
    assert mark.box[0] == pytest.approx(edge, abs=0.002)
    assert mark.box[3] < figure.box[3]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_marks_are_told_on_rotated_pages(rotation):
    document = pymupdf.open()
    page = document.new_page()
    raised(page, 72, 100, "1,250", "3", after=" people")
    page.set_rotation(rotation)
    assert texts(read(document)) == ["1,250", "³", "people"]


def test_random_figures_keep_their_digits():
    choose = random.Random(5)
    document = pymupdf.open()
    page = document.new_page()
    expected = []
    for line in range(25):
        figure = f"{choose.randrange(1, 10 ** choose.randrange(2, 7)):,}"
        figure = figure.replace("10", "20") if figure.endswith("10") else figure
        size = choose.uniform(7, 14)
        raised(page, 72, 60 + 28 * line, figure, str(choose.randrange(1, 30)), size=size, after=" units")
        expected.append(figure)
    assert texts(read(document))[::3] == expected


def tall_font(factor=4.5):
    """A page in a font (Pillow's own) that says that its line is `factor` sizes high."""
    document = pymupdf.open()
    page = document.new_page()
    buffer = ImageFont.load_default(size=10).path.getvalue()
    page.insert_font(fontname="tall", fontbuffer=stretched(buffer, factor))
    for line in range(8):
        page.insert_text((72, 100 + 16 * line), f"Line number {line} of the tall font", fontname="tall")
    return document


def stretched(font: bytes, factor: float) -> bytes:
    """Set ascent and descent of a TrueType font's hhea and OS/2 tables."""
    data = bytearray(font)
    tables = {}
    for index in range(struct.unpack(">H", data[4:6])[0]):
        tag, _, offset, _ = struct.unpack(">4sIII", data[12 + 16 * index : 28 + 16 * index])
        tables[tag] = offset
    units = struct.unpack(">H", data[tables[b"head"] + 18 : tables[b"head"] + 20])[0]
    up, down = int(units * factor * 0.8), int(units * factor * 0.2)
    struct.pack_into(">hh", data, tables[b"hhea"] + 4, up, -down)
    if b"OS/2" in tables:
        struct.pack_into(">hhh", data, tables[b"OS/2"] + 68, up, -down, 0)
        struct.pack_into(">HH", data, tables[b"OS/2"] + 74, up, down)
    return bytes(data)


def test_boxes_of_a_font_with_a_huge_line_are_as_high_as_its_glyphs():
    page = read(tall_font())
    assert len(page.words) == 8 * 7
    for number, line in enumerate(line for block in page.blocks for line in block):
        assert " ".join(word.text for word in line) == f"Line number {number} of the tall font"
        for word in line:
            assert (word.box[3] - word.box[1]) * page.size[1] < 1.45 * 11
            assert word.box[1] < (100 + 16 * number - 3) / page.size[1] < word.box[3]
