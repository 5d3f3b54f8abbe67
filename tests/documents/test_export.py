"""Laws of what `mmrag read` writes: Markdown that reads back as the page's text, CSV, JSON, frames."""

from __future__ import annotations

import csv
import io
import json
import random
import sys

import pymupdf
import pytest

import mmrag
from mmrag.blocks import Block, Cell, Table
from mmrag.documents import ReaderSettings
from mmrag.documents.export import tables_of
from mmrag.documents.markdown import escape, markdown, table_markdown
from mmrag.documents.reading import page_numbers
from mmrag.errors import DocumentError, MissingExtraError
from mmrag.types import Page, Source

from .structure_pages import draw_paragraph, draw_table, new_page, saved

SETTINGS = ReaderSettings(workers=1, ocr="off")


def page_of(*blocks, number=0):
    source = Source("ab" * 32, "pdf", "a.pdf")
    size = (595.0, 842.0)
    return Page(source.page_id(number), source.document_id, number, "1", "", (), size, source, blocks=blocks)


def table_of(rows, header_rows=1, spans=None):
    cells = tuple(
        Cell(r, c, text, column_span=(spans or {}).get((r, c), 1))
        for r, row in enumerate(rows)
        for c, text in enumerate(row)
        if text is not None
    )
    return Table(len(rows), len(rows[0]), cells, header_rows)


def block_of(rows, **options):
    return Block("table", "", ((0.1, 0.1, 0.9, 0.5),), table=table_of(rows, **options))


# -- Markdown ----------------------------------------------------------------------------------


def test_markdown_by_eye():
    page = page_of(
        Block("header", "Annual report"),
        Block("title", "Weirs & locks", level=1),
        Block("heading", "1. Costs", level=4),
        Block("text", "It cost *much*, see [1]."),
        Block("list-item", "• stone"),
        Block("list-item", "2. timber"),
        Block("caption", "Table 1: Costs"),
        block_of([["Year", "Sum | net"], ["2022", "1,200"]]),
        Block("picture", ""),
        Block("comment", "[Comment] check"),
        Block("footer", "17"),
    )
    text = markdown([page])
    assert text == (
        "# Weirs \\& locks\n\n## 1\\. Costs\n\nIt cost \\*much\\*, see \\[1\\].\n\n- stone\n2. timber\n\n"
        "Table 1: Costs\n\n| Year | Sum \\| net |\n| --- | --- |\n| 2022 | 1,200 |\n\n![picture]()\n\n"
        "> \\[Comment\\] check\n"
    )
    assert "Annual report" in markdown([page], running_heads=True)
    assert markdown([]) == "" == markdown([page_of()])


def plain_text(source):
    """The text that a Markdown reader shows, by markdown-it (an independent implementation)."""
    from markdown_it import MarkdownIt

    texts = []
    for token in MarkdownIt("commonmark").enable("table").parse(source):
        if token.type == "inline":
            kinds = {child.type for child in token.children}
            assert kinds <= {"text", "softbreak"}, f"markup in {source!r}: {kinds}"
            texts.append("".join(child.content for child in token.children))
    return texts


ODD = list("abc123 \\`*_{}[]()<>#+-.!|~^$&;:=\"'/")


@pytest.mark.parametrize("seed", range(60))
def test_any_text_reads_back_as_itself(seed):
    pytest.importorskip("markdown_it")
    chance = random.Random(seed)
    for _ in range(40):
        text = " ".join("".join(chance.choice(ODD) for _ in range(chance.randint(1, 12))).split())
        if text:
            assert plain_text(escape(text)) == [text]
            rows = [[text, "b"], ["c", text]]
            assert plain_text(table_markdown(table_of(rows))) == [text, "b", "c", text]
            assert plain_text(markdown([page_of(Block("heading", text, level=2))])) == [text]


def test_rows_of_a_header_are_one_and_spans_are_repeated():
    table = table_of(
        [["Port", "Imports", None], ["", "2022", "2023"], ["Hull", "5", "6"]],
        header_rows=2,
        spans={(0, 1): 2},
    )
    assert table_markdown(table).splitlines()[0] == "| Port | Imports / 2022 | Imports / 2023 |"
    assert table_markdown(table_of([["Hull", "5"]], header_rows=0)).splitlines() == [
        "|  |  |",
        "| --- | --- |",
        "| Hull | 5 |",
    ]


# -- tables ------------------------------------------------------------------------------------


def test_a_table_by_eye():
    caption = Block("caption", "Table 2: Ports")
    rows = [["Port", "Sum", "Sum"], ["Hull", "=1+1", 'a "quoted" one'], ["Boston", "x,y", ""]]
    (table,) = tables_of([page_of(caption, block_of(rows), number=4)])
    assert (table.caption, table.pages, table.boxes) == ("Table 2: Ports", (4,), ((0.1, 0.1, 0.9, 0.5),))
    assert table.columns == ["Port", "Sum", "Sum (2)"]
    assert table.rows() == rows and table.body() == rows[1:]
    assert table.to_csv() == 'Port,Sum,Sum\r\nHull,=1+1,"a ""quoted"" one"\r\nBoston,"x,y",\r\n'
    assert list(csv.reader(io.StringIO(table.to_csv(), newline=""))) == rows


def test_captions_below_and_of_other_tables():
    below = [block_of([["a", "b"]]), Block("caption", "below"), Block("text", "x")]
    assert tables_of([page_of(*below)])[0].caption == "below"
    between = [block_of([["a", "b"]]), Block("caption", "of the next"), block_of([["c", "d"]])]
    assert [table.caption for table in tables_of([page_of(*between)])] == ["", "of the next"]


@pytest.mark.parametrize("seed", range(20))
def test_csv_reads_back(seed):
    chance = random.Random(seed)
    rows = [["".join(chance.choice('ab,"\n;\t =') for _ in range(5)) for _ in range(3)] for _ in range(4)]
    (table,) = tables_of([page_of(block_of(rows, header_rows=chance.randint(0, 2)))])
    assert list(csv.reader(io.StringIO(table.to_csv(), newline=""))) == rows


def test_frames():
    (table,) = tables_of(
        [page_of(block_of([["Port", "", "Sum"], ["Hull", "5", "007"], ["Boston", "6", ""]]))]
    )
    pandas = pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["Port", "column 2", "Sum"]
    assert frame["Sum"].tolist() == ["007", ""]
    polars = pytest.importorskip("polars")
    assert isinstance(table.to_polars(), polars.DataFrame)
    assert table.to_polars().rows() == [("Hull", "5", "007"), ("Boston", "6", "")]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_without_its_library_says_what_to_install(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    (table,) = tables_of([page_of(block_of([["a", "b"]]))])
    with pytest.raises(MissingExtraError, match=r"pip install 'mmrag\[frames\]'"):
        getattr(table, f"to_{library}")()


# -- mmrag.read --------------------------------------------------------------------------------

LAKES = [["Lake", "Depth", "Area"], ["Alder", "12", "380"], ["Birk", "30", "1,204"], ["Cold", "7", "96"]]
MORE = [["Dun", "19", "210"], ["Elm", "45", "2,310"], ["Fern", "8", "77"]]


@pytest.fixture(scope="module")
def lakes_pdf():
    """Three pages: text, a table at the end, the table's rest without a header."""
    document = pymupdf.open()
    page = new_page(document)
    page.insert_text((72, 90), "Lakes of the north", fontsize=20, fontname="hebo")
    draw_paragraph(page, 130, lines=8)
    page = new_page(document)
    _, bottom = draw_paragraph(page, 80, lines=30)
    draw_table(page, bottom + 20, LAKES)
    page = new_page(document)
    bottom = draw_table(page, 80, MORE, bold_rows=0)
    draw_paragraph(page, bottom + 40, lines=8)
    return saved(document)


@pytest.fixture(scope="module")
def lakes(lakes_pdf):
    return mmrag.read(("lakes.pdf", lakes_pdf), settings=SETTINGS)


@pytest.mark.usefixtures("structure_models")
def test_a_document_is_read_with_one_table_over_two_pages(lakes):
    assert (lakes.total_pages, [page.number for page in lakes.pages], lakes.skipped) == (3, [0, 1, 2], ())
    (table,) = lakes.tables()
    assert table.rows() == [*LAKES, *MORE]
    assert table.pages == (1, 2) and [part.continues for part in table.parts] == [False, True]
    text = lakes.markdown()
    assert text.startswith("# Lakes of the north\n")
    assert text.count("| Lake | Depth | Area |") == 1 and "| Cold | 7 | 96 |\n| Dun | 19 | 210 |" in text
    assert "The weir was repaired" in lakes.text


@pytest.mark.usefixtures("structure_models")
def test_json_holds_all_that_was_read(lakes):
    data = json.loads(lakes.json())
    assert data["total_pages"] == 3 and [page["page"] for page in data["pages"]] == [0, 1, 2]
    blocks = [block for page in data["pages"] for block in page["blocks"]]
    assert [block["text"] for block in blocks] == [block.text for block in lakes.blocks]
    grids = [block["table"] for block in blocks if "table" in block]
    assert [[cell["text"] for cell in grid["cells"]] for grid in grids] == [sum(LAKES, []), sum(MORE, [])]  # noqa: RUF017
    for block in blocks:
        assert all(0 <= edge <= 1 for box in block["boxes"] for edge in box)


@pytest.mark.usefixtures("structure_models")
def test_some_pages(lakes_pdf):
    document = mmrag.read(("lakes.pdf", lakes_pdf), pages="3", settings=SETTINGS)
    assert [page.number for page in document.pages] == [2]
    assert document.tables()[0].pages == (2,)


@pytest.mark.parametrize(
    ("pages", "numbers"),
    [
        (None, [0, 1, 2, 3, 4]),
        ("2", [1]),
        ("2-4", [1, 2, 3]),
        ("4-, 1", [3, 4, 0]),
        ("1-2,2-3", [0, 1, 2]),
        ([4, 0], [4, 0]),
    ],
)
def test_pages_of_a_text_count_from_one_and_numbers_from_zero(pages, numbers):
    assert list(page_numbers(pages, 5)) == numbers


@pytest.mark.parametrize("pages", ["0", "6", "3-9", "a", "", "4-2", "1--2", [5], [-1], [], "99999999999-"])
def test_pages_that_are_not_there_are_refused(pages):
    with pytest.raises(ValueError, match="pages"):
        page_numbers(pages, 5)


def test_a_folder_is_no_document(tmp_path, lakes_pdf):
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_bytes(lakes_pdf + name.encode())
    with pytest.raises(DocumentError, match="one document, got 2"):
        mmrag.read(tmp_path, settings=SETTINGS)
    with pytest.raises(DocumentError, match="no such file"):
        mmrag.read(tmp_path / "c.pdf", settings=SETTINGS)
