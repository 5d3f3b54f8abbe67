"""Laws of structure read by PyMuPDF's models: on drawn pages, whose structure is known, in every position."""

from __future__ import annotations

import random
from dataclasses import replace

import pymupdf
import pytest

from mmrag.documents import DocumentReader, ReaderSettings, discover
from mmrag.errors import PageError

from .structure_pages import draw_paragraph, draw_table, new_page, saved

FREIGHT = [
    ["Port", "2021", "2022", "2023"],
    ["Harwich", "510", "534", "561"],
    ["Lowestoft", "87", "93", "90"],
    ["Felixstowe", "2,310", "2,405", "2,377"],
    ["Boston", "12", "14", "19"],
]


@pytest.fixture(scope="module")
def reader():
    with DocumentReader(ReaderSettings(workers=1, ocr="off")) as reader:
        yield reader


def read(reader, data, number=0):
    """A page with its blocks; the reader has the document's bytes."""
    (document,) = discover(("drawn.pdf", data))
    (page,) = reader.pages(document, numbers=[number])
    return reader.structure(page, data=data)


def report_page(rows=FREIGHT):
    document = pymupdf.open()
    page = new_page(document)
    page.insert_text((72, 40), "Harbour statistics 2023", fontsize=8)
    page.insert_text((72, 90), "Freight of the eastern ports", fontsize=20, fontname="hebo")
    _, bottom = draw_paragraph(page, 130)
    page.insert_text((72, bottom + 30), "Tonnes by port", fontsize=14, fontname="hebo")
    _, bottom = draw_paragraph(page, bottom + 56)
    page.insert_text((72, bottom + 22), "Table 1: Freight by port in thousand tonnes", fontsize=9)
    bottom = draw_table(page, bottom + 32, rows)
    draw_paragraph(page, bottom + 40)
    page.insert_text((290, 810), "17", fontsize=8)
    return saved(document)


def tables(page):
    return [block.table for block in page.blocks if block.table is not None]


def check_words(page):
    """Every word of a page is in one block, and the texts of blocks are those of their words."""
    assert sorted(position for block in page.blocks for position in block.words) == list(
        range(len(page.words))
    )
    for block in page.blocks:
        if block.table is None:
            assert block.text == " ".join(page.words[position].text for position in block.words)
            continue
        cells = block.table.cells
        assert sorted(position for cell in cells for position in cell.words) == sorted(block.words)
        for cell in cells:
            assert cell.text == " ".join(page.words[position].text for position in cell.words)
            assert cell.row + cell.row_span <= block.table.rows
            assert cell.column + cell.column_span <= block.table.columns


def check_boxes(page):
    """Words are where their blocks are."""
    for block in page.blocks:
        x0, y0, x1, y1 = block.boxes[0]
        for position in block.words:
            box = page.words[position].box
            assert x0 - 0.01 <= (box[0] + box[2]) / 2 <= x1 + 0.01
            assert y0 - 0.01 <= (box[1] + box[3]) / 2 <= y1 + 0.01


@pytest.mark.usefixtures("structure_models")
def test_a_page_by_eye(reader):
    page = read(reader, report_page())
    check_words(page)
    check_boxes(page)
    by_text = {block.text: block for block in page.blocks}
    title = by_text["Freight of the eastern ports"]
    heading = by_text["Tonnes by port"]
    assert title.kind in ("title", "heading") and heading.kind == "heading"
    assert 1 <= title.level < heading.level
    assert by_text["Harbour statistics 2023"].kind == "header"
    assert by_text["17"].kind == "footer"
    assert by_text["Table 1: Freight by port in thousand tonnes"].kind == "caption"
    (table,) = tables(page)
    assert table.grid() == FREIGHT
    assert (table.header_rows, table.header_columns) == (1, 1)
    assert table.column_header(2) == ("2022",) and table.row_header(3) == ("Felixstowe",)
    kinds = [block.kind for block in page.blocks]
    assert kinds.index("caption") < kinds.index("table")
    assert sum(block.kind == "text" for block in page.blocks) == 3


@pytest.mark.usefixtures("structure_models")
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_page_that_is_shown_turned_has_the_same_structure(reader, rotation):
    upright = read(reader, report_page())
    document = pymupdf.open("pdf", report_page())
    document[0].set_rotation(rotation)
    page = read(reader, saved(document))
    check_words(page)
    check_boxes(page)
    assert [table.grid() for table in tables(page)] == [FREIGHT]
    assert {(block.kind, block.text) for block in page.blocks} == {
        (block.kind, block.text) for block in upright.blocks
    }


@pytest.mark.usefixtures("structure_models")
@pytest.mark.parametrize("degrees", [90, 270])
def test_text_that_runs_along_the_page_is_read_as_if_upright(reader, degrees):
    """The file has no /Rotate: its text itself runs up, or down."""
    upright = pymupdf.open("pdf", report_page())
    document = pymupdf.open()
    page = document.new_page(width=842, height=595)
    page.show_pdf_page(page.rect, upright, 0, rotate=degrees)
    page = read(reader, saved(document))
    check_words(page)
    check_boxes(page)
    assert [table.grid() for table in tables(page)] == [FREIGHT]


@pytest.mark.usefixtures("structure_models")
def test_words_of_ocr_have_the_structure_that_exact_words_have(reader):
    """The page is a picture; the words are known, so that the engine's own faults do not count."""
    data = report_page()
    exact = read(reader, data)
    pixmap = pymupdf.open("pdf", data)[0].get_pixmap(dpi=150)
    scan = pymupdf.open()
    new_page(scan).insert_image(pymupdf.Rect(0, 0, 595, 842), pixmap=pixmap)
    scan_data = saved(scan)
    (document,) = discover(("scan.pdf", scan_data))
    (page,) = reader.pages(document)
    words = tuple(replace(word, confidence=0.9) for word in exact.words)
    page = reader.structure(
        replace(page, words=words, text=exact.text, text_source="ocr", notes=()), data=scan_data
    )
    check_words(page)
    check_boxes(page)
    assert [table.grid() for table in tables(page)] == [FREIGHT]
    assert {block.kind for block in page.blocks} >= {"heading", "text", "table"}


def random_table(chance):
    """A grid of names and figures."""
    rows, columns = chance.randint(3, 9), chance.randint(2, 6)
    header = ["Place", *(f"{year}" for year in range(2015, 2014 + columns))]
    names = chance.sample("Alder Birk Cold Dun Elm Fern Gorse Hazel Ivy Juniper".split(), rows)  # noqa: SIM905
    return [
        header,
        *([name, *(f"{chance.randint(10, 9999):,}" for _ in range(columns - 1))] for name in names),
    ]


@pytest.mark.usefixtures("structure_models")
@pytest.mark.parametrize("seed", range(4))
def test_ruled_tables_come_back_cell_by_cell(reader, seed):
    rows = random_table(random.Random(seed))
    page = read(reader, report_page(rows))
    check_words(page)
    assert [table.grid() for table in tables(page)] == [rows]


@pytest.mark.usefixtures("structure_models")
def test_tables_under_each_other_are_tables_of_their_own(reader):
    tides = [
        ["Gauge", "High", "Low"],
        ["North quay", "6.1", "0.8"],
        ["Sluice", "5.9", "1.1"],
        ["Mole", "6.4", "0.5"],
    ]
    crews = [
        ["Boat", "Skipper", "Mate", "Built"],
        ["Petrel", "Ann Vane", "Jo Reed", "1988"],
        ["Gannet", "Tom Bly", "Kit Orr", "2004"],
    ]
    document = pymupdf.open()
    page = new_page(document)
    bottom = draw_table(page, 80, tides, widths=[180, 120, 100], ruled=False, bold_rows=0)
    page.insert_text((76, bottom + 22), "Crews of the pilot boats", fontsize=11)
    draw_table(page, bottom + 30, crews, widths=[120, 130, 120, 60], ruled=False, bold_rows=0)
    page = read(reader, saved(document))
    check_words(page)
    assert [table.grid() for table in tables(page)] == [tides, crews]
    assert "Crews of the pilot boats" in [block.text for block in page.blocks]


@pytest.mark.usefixtures("structure_models")
@pytest.mark.parametrize("offset", [0.0, 45.0], ids=["left", "centred"])
def test_a_name_over_a_group_of_columns_names_all_of_them(reader, offset):
    document = pymupdf.open()
    page = new_page(document)
    widths = [120.0, 80.0, 80.0, 80.0, 80.0]
    page.insert_text((76, 93), "Port", fontsize=9.5, fontname="hebo")
    for left, name in ((192 + 20, "Imports"), (352 + 20, "Exports")):
        page.insert_text((left + offset, 93), name, fontsize=9.5, fontname="hebo")
    body = [["", "2022", "2023", "2022", "2023"], *([*row[:3], *row[1:3]] for row in FREIGHT[1:])]
    draw_table(page, 98, body, widths=widths, ruled=False)
    page = read(reader, saved(document))
    check_words(page)
    (table,) = tables(page)
    assert table.header_rows == 2
    assert table.column_header(2) == ("Imports", "2023") and table.column_header(3) == ("Exports", "2022")


@pytest.mark.usefixtures("structure_models")
def test_a_watermark_over_a_table_is_a_block_of_its_own_and_the_table_stays(reader):
    document = pymupdf.open("pdf", report_page())
    page = document[0]
    for x in (80, 200, 320):  # across text and table, upwards
        start = pymupdf.Point(x, 620)
        turn = (start, pymupdf.Matrix(50))
        page.insert_text(
            start, "Licensed to A. Reader, order 774512", fontsize=11, color=(0.8,) * 3, morph=turn
        )
    marked = read(reader, saved(document))
    assert [block.text.split()[0] for block in marked.blocks if block.kind == "watermark"] == ["Licensed"]
    (table,), (plain_table,) = tables(marked), tables(read(reader, report_page()))
    assert table.grid() == plain_table.grid()
    check_words(marked)


def test_reading_structure_changes_nothing_of_what_is_read(reader):
    """PyMuPDF's models change its settings for the whole process."""
    data = report_page()
    (document,) = discover(("drawn.pdf", data))
    (before,) = reader.pages(document)
    reader.structure(before, data=data)
    (after,) = reader.pages(document)
    assert after == before


def test_full_reads_structure_with_the_page_and_off_never_does():
    data = report_page()
    (document,) = discover(("drawn.pdf", data))
    with DocumentReader(ReaderSettings(workers=1, ocr="off", structure="full")) as reader:
        (page,) = reader.pages(document)
        check_words(page)
        assert reader.structure(page) is page  # which has them: nothing is opened
    with (
        DocumentReader(ReaderSettings(workers=1, ocr="off", structure="off")) as reader,
        pytest.raises(ValueError, match="structure must be 'lazy' or 'full'"),
    ):
        reader.structure(replace(page, blocks=None), data=data)
    with pytest.raises(ValueError, match="structure must be one of"):
        ReaderSettings(structure="deep")


def test_full_is_another_reading_and_the_others_are_not():
    lazy, full, off = (ReaderSettings(structure=mode).fingerprint() for mode in ("lazy", "full", "off"))
    assert lazy == off != full


@pytest.mark.usefixtures("structure_models")
def test_a_page_whose_structure_takes_too_long_is_a_page_still():
    data = report_page()
    (document,) = discover(("drawn.pdf", data))
    settings = ReaderSettings(workers=1, ocr="off", structure="full", structure_seconds=0.01)
    with DocumentReader(settings) as reader:
        (page,) = reader.pages(document)
        assert page.blocks is None and "Harwich" in page.text
        assert any("its structure is not read" in note for note in page.notes)
        with pytest.raises(PageError, match="took more than"):
            reader.structure(page, data=data)


def test_pages_without_text_have_no_blocks_but_pictures(reader):
    document = pymupdf.open()
    new_page(document)
    assert read(reader, saved(document)).blocks == ()
