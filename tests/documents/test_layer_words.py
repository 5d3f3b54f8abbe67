"""What the text layer's words are: drawn twice, cut, spaced, turned, right to left; pages are drawn here."""

from __future__ import annotations

import random

import pymupdf
import pytest

from mmrag.documents.layer.direction import turn_box
from mmrag.documents.layer.hyphens import join_hyphens
from mmrag.documents.layer.right_to_left import logical_order
from mmrag.documents.opening import open_renderer
from mmrag.types import Word

PROSE = "The interest rate of the loan is 4.75 percent a year and is paid on the last day of a quarter"


def read(document):
    """Read the first page of an open PyMuPDF document."""
    return open_renderer("pymupdf", "pdf", "a.pdf", document.tobytes(), (), 4_000_000).read(0)


def lines(page):
    return [" ".join(word.text for word in line) for block in page.blocks for line in block]


def blank():
    document = pymupdf.open()
    return document, document.new_page(width=600, height=800)


@pytest.mark.parametrize("shift", [(0, 0), (0.4, 0), (-1.5, -1.5), (2, 1)])
def test_text_drawn_twice_is_read_once(shift):
    document, page = blank()
    for number, text in enumerate((PROSE, "Total 255 20,400")):
        for x, y in ((0, 0), shift):
            page.insert_text((72 + x, 100 + 20 * number + y), text, fontsize=12)
    assert lines(read(document)) == [PROSE, "Total 255 20,400"]


def test_a_word_that_stands_twice_is_read_twice():
    document, page = blank()
    rows = ["12 12 12", "that that had had", ". . . . . .", "12 12 12"]
    for number, row in enumerate(rows):
        page.insert_text((72, 100 + 11 * number), row, fontsize=10)
    assert lines(read(document)) == rows


CUT = {
    ("embank-", "ment is safe"): "embankment is safe",
    ("a well-", "known place"): "a well-known place",
    ("it out-", "performs all"): "it outperforms all",
    ("the Bishops-", "Gate road"): "the Bishops- Gate road",
    ("in 2019-", "20 it"): "in 2019- 20 it",
    ("pages 4-", "six"): "pages 4- six",
}


@pytest.mark.parametrize(("cut", "expected"), CUT.items())
def test_a_word_cut_at_a_line_end_is_whole(cut, expected):
    document, page = blank()
    page.insert_text((72, 100), "Some words before " + cut[0], fontsize=11)
    page.insert_text((72, 114), cut[1], fontsize=11)
    assert read(document).text.split() == ("Some words before " + expected).split()


def test_the_tail_of_a_cut_word_is_boxed_on_the_next_line():
    document, page = blank()
    page.insert_text((72, 100), "found that the embank-", fontsize=11)
    page.insert_text((72, 114), "ment has settled", fontsize=11)
    words = read(document).words
    word = words[3]
    assert [word.text for word in words] == ["found", "that", "the", "embankment", "has", "settled"]
    assert word.tail is not None
    assert word.box[1] * 800 < 96 < word.box[3] * 800 < 108 < word.tail[3] * 800
    assert word.tail[0] * 600 == pytest.approx(72, abs=1)
    assert word.boxes == (word.box, word.tail)


@pytest.mark.parametrize("hyphen", ["\u00ad", "\u2010", "-"])
def test_the_kinds_of_hyphen(hyphen):
    box = (0.1, 0.1, 0.2, 0.12)
    under = (0.1, 0.13, 0.2, 0.15)
    joined = join_hyphens([[Word("embank" + hyphen, box)], [Word("ment.", under), Word("So", under)]])
    assert joined == [[Word("embankment.", box, under)], [Word("So", under)]]


def test_soft_hyphens_inside_words_go():
    box = (0.1, 0.1, 0.2, 0.12)
    words = ["em\u00adbank\u00adment", "dis\u00adtrict", "well\u00adkept"]
    (line,) = join_hyphens([[Word(text, box) for text in words]])
    assert [word.text for word in line] == ["embankment", "district", "well-kept"]


def test_a_cut_cell_goes_on_in_its_own_column():
    cells = [
        [Word("Embank-", (0.1, 0.1, 0.2, 0.12))],
        [Word("42", (0.5, 0.1, 0.6, 0.12))],
        [Word("ment", (0.1, 0.13, 0.2, 0.15))],
        [Word("metres", (0.5, 0.13, 0.6, 0.15))],
    ]
    assert [[word.text for word in line] for line in join_hyphens(cells)] == [
        ["Embankment"],
        ["42"],
        ["metres"],
    ]


@pytest.mark.parametrize("seed", range(5))
def test_joining_loses_no_letter(seed):
    choose = random.Random(seed)
    block = []
    for row in range(8):
        texts = ["".join(choose.choices("abcD4-.\u2010\u00ad", k=choose.randrange(1, 6))) for _ in range(4)]
        block.append(
            [
                Word(t, (0.1 + 0.2 * i, 0.05 * row, 0.28 + 0.2 * i, 0.05 * row + 0.03))
                for i, t in enumerate(texts)
            ]
        )
    before = [c for line in block for word in line for c in word.text if c.isalnum()]
    after = [c for line in join_hyphens(block) for word in line for c in word.text if c.isalnum()]
    assert before == after


def spaced(page, x, y, text, gap, size=12):
    """Draw each letter by itself, with a gap of `gap` sizes after it and a wide one between words."""
    for character in text:
        if character != " ":
            page.insert_text((x, y), character, fontsize=size)
        x += pymupdf.get_text_length(character, fontsize=size) + gap * size


@pytest.mark.parametrize("gap", [0.3, 0.4, 0.6])
def test_spaced_letters_are_words(gap):
    document, page = blank()
    spaced(page, 72, 100, "ANNUAL RENT", gap)
    page.insert_text((72, 140), "The rent is 1,350 pounds a month.", fontsize=12)
    assert lines(read(document)) == ["ANNUAL RENT", "The rent is 1,350 pounds a month."]


@pytest.mark.parametrize("row", ["A B C D E", "1 2 3 4 5", "x y z w", "Yes N N Y N Y"])
def test_single_letters_stay_single(row):
    document, page = blank()
    page.insert_text((72, 100), row, fontsize=12)
    assert lines(read(document)) == [row]


def sideways(rotate):
    """Rows of a table, drawn turned."""
    rows = [
        "Fluid Capacity Interval",
        "Engine oil 6.0 quarts",
        "Gearbox oil 11.3 quarts",
        "Axle oil 2.8 quarts",
    ]
    document, page = blank()
    for number, row in enumerate(rows):
        at = {90: (100 + 20 * number, 700), 270: (500 - 20 * number, 100), 180: (500, 700 - 20 * number)}[
            rotate
        ]
        page.insert_text(at, row, fontsize=12, rotate=rotate)
    return document, rows


@pytest.mark.parametrize("rotate", [90, 180, 270])
def test_turned_pages_are_read_in_their_own_direction(rotate):
    document, rows = sideways(rotate)
    assert lines(read(document)) == rows


@pytest.mark.parametrize("rotate", [90, 180, 270])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turned_words_stand_where_their_ink_is(rotate, rotation):
    document, _ = sideways(rotate)
    page = document[0]
    page.set_rotation(rotation)
    picture = page.get_pixmap(dpi=72, colorspace=pymupdf.csGRAY)
    for word in read(document).words:
        x0, y0, x1, y1 = (
            round(edge * side)
            for edge, side in zip(word.box, (picture.width, picture.height) * 2, strict=True)
        )
        assert any(picture.pixel(x, y)[0] < 150 for x in range(x0, x1) for y in range(y0, y1))


def test_turned_lines_come_after_upright_ones_and_watermarks_last():
    document, page = blank()
    rows = [f"Row {number} of the table has 12 hydrants" for number in range(8)]
    page.insert_text((40, 400), "Sideways label", fontsize=10, rotate=90)
    pivot = pymupdf.Point(150, 500)
    page.insert_text(pivot, "CONFIDENTIAL", fontsize=60, color=(0.8,) * 3, morph=(pivot, pymupdf.Matrix(45)))
    page.insert_text((72, 290), "DRAFT", fontsize=150, color=(0.9,) * 3)
    for number, row in enumerate(rows):
        page.insert_text((72, 200 + 20 * number), row, fontsize=11)
    found = lines(read(document))
    assert found[:9] == [*rows, "Sideways label"]
    assert sorted(found[9:]) == ["CONFIDENTIAL", "DRAFT"]


def test_four_quarter_turns_are_none():
    box = (0.1, 0.2, 0.4, 0.25)
    assert turn_box(box, 4) == box
    for quarter in range(4):
        assert turn_box(turn_box(box, quarter), -quarter) == pytest.approx(box)
    assert turn_box(box, 1) == pytest.approx((0.75, 0.1, 0.8, 0.4))


def test_right_to_left_words_are_in_reading_order():
    document, page = blank()
    text = "שלום עולם זה מבחן 123 ועוד"
    page.insert_htmlbox((72, 72, 400, 120), f"<p dir='rtl'>{text}</p>")
    page.insert_htmlbox((72, 172, 400, 220), f"<p>The words {text} in English</p>")
    assert lines(read(document)) == [text, f"The words {text} in English"]


def test_words_drawn_from_left_to_right_are_in_reading_order_too():
    boxes = [(0.1 * n, 0.1, 0.1 * n + 0.08, 0.12) for n in range(1, 6)]
    seen = ["לירות", "4,100", "הגדר", "של", "מחיר"]  # as they stand, from the left
    words = [Word(text, box) for text, box in zip(seen, boxes, strict=True)]
    assert [word.text for word in logical_order(words)] == ["מחיר", "של", "הגדר", "4,100", "לירות"]
    mixed = ["The", "price", "עולם", "שלום", "rose"]
    words = [Word(text, box) for text, box in zip(mixed, boxes, strict=True)]
    assert [word.text for word in logical_order(words)] == ["The", "price", "שלום", "עולם", "rose"]


def test_the_order_of_latin_words_does_not_change():
    words = [Word(text, (0.05 * n, 0.1, 0.05 * n + 0.04, 0.12)) for n, text in enumerate(PROSE.split())]
    assert [word.text for word in logical_order(words[::-1])] == PROSE.split()
