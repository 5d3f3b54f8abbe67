"""Laws of the parts of structure that need no model: words, grids, tables over pages, directions."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mmrag.blocks import Block, Cell, Table
from mmrag.documents.layout import join_text
from mmrag.documents.structure.assembly import assemble
from mmrag.documents.structure.figures import has_values
from mmrag.documents.structure.joining import join_tables, logical_tables
from mmrag.documents.structure.page_kinds import known_kinds
from mmrag.documents.structure.regions import Grid, GridCell, Layout, Region, from_plain, to_plain
from mmrag.documents.structure.stacks import Band, GridRow, bands
from mmrag.documents.structure.turning import turn_box, turn_of
from mmrag.types import Page, Source, Word


def word(text, x0, y0, x1, y1):
    return Word(text, (x0, y0, x1, y1))


def page_of(*paragraphs, number=0, blocks=None):
    source = Source("ab" * 32, "pdf", "a.pdf")
    words = tuple(word for paragraph in paragraphs for line in paragraph for word in line)
    return Page(
        source.page_id(number), source.document_id, number, str(number + 1), join_text(paragraphs), words,
        (595.0, 842.0), source, blocks=blocks,
    )  # fmt: skip


# -- words to blocks ---------------------------------------------------------------------------


def test_a_word_belongs_to_the_smallest_box_that_holds_its_centre():
    words = (
        word("Figure", 0.1, 0.1, 0.2, 0.12),
        word("12", 0.3, 0.3, 0.34, 0.32),
        word("axis", 0.4, 0.5, 0.5, 0.52),
        word("alone", 0.1, 0.9, 0.2, 0.92),
    )
    picture = Region("picture", (0.05, 0.05, 0.95, 0.7))
    caption = Region("caption", (0.05, 0.05, 0.5, 0.15))
    blocks = assemble([caption, picture], words)
    assert [(block.kind, block.text) for block in blocks] == [
        ("caption", "Figure"),
        ("picture", "12 axis"),
        ("text", "alone"),
    ]


def test_words_without_a_region_follow_the_word_before_them_by_paragraph():
    words = tuple(word(text, 0.1, 0.1 * n, 0.2, 0.1 * n + 0.05) for n, text in enumerate("abcdef"))
    regions = [Region("text", (0.0, 0.35, 0.5, 0.46)), Region("heading", (0.0, 0.09, 0.5, 0.16))]
    blocks = assemble(regions, words, [0, 1, 2, 3, 4, 5])
    # the regions' own order is kept; what they lack is put in
    assert [block.text for block in blocks] == ["a", "e", "f", "b", "c", "d"]
    assert [block.kind for block in blocks] == ["text", "text", "text", "heading", "text", "text"]


def test_levels_are_those_of_html():
    sizes = [2.4, 2.0, 1.6, 1.2, 1.0, 0.8]
    regions = [Region("heading", (0.0, n / 10, 1.0, n / 10 + 0.1), size) for n, size in enumerate(sizes)]
    words = [word("x", 0.1, n / 10 + 0.02, 0.2, n / 10 + 0.04) for n in range(len(sizes))]
    assert [block.level for block in assemble(regions, words)] == [1, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(40))
def test_no_word_is_lost_or_doubled_whatever_the_regions(seed):
    chance = random.Random(seed)

    def box(most):
        x, y = chance.random(), chance.random()
        return (x, y, min(1.0, x + chance.random() * most), min(1.0, y + chance.random() * most))

    words = [Word(f"w{n}", box(0.1)) for n in range(chance.randint(0, 60))]
    regions = []
    for _ in range(chance.randint(0, 8)):
        kind = chance.choice(["text", "heading", "table", "picture", "footer"])
        grid = None
        if kind == "table":
            rows, columns = chance.randint(1, 5), chance.randint(1, 5)
            cells = [
                GridCell(r, c, box(0.4) if chance.random() < 0.9 else None)
                for r in range(rows)
                for c in range(columns)
            ]
            grid = Grid(rows, columns, tuple(cells))
        regions.append(Region(kind, box(0.9), chance.random() * 3, grid))
    paragraphs = sorted(chance.randint(0, 5) for _ in words)
    blocks = assemble(regions, words, paragraphs)
    assert sorted(position for block in blocks for position in block.words) == list(range(len(words)))
    for block in blocks:
        assert list(block.words) == sorted(block.words)
        if block.table is not None:
            inside = [position for cell in block.table.cells for position in cell.words]
            assert sorted(inside) == list(block.words)
            assert block.text == "\n".join("\t".join(row) for row in block.table.grid())
    assert from_plain(to_plain(Layout(tuple(regions), ("note",)))) == Layout(tuple(regions), ("note",))


def test_a_head_over_nothing_is_the_text_of_its_page():
    words = (word("Chapter", 0.1, 0.05, 0.2, 0.07), word("7", 0.5, 0.95, 0.52, 0.97))
    regions = [Region("header", (0.0, 0.0, 1.0, 0.1)), Region("footer", (0.0, 0.9, 1.0, 1.0))]
    assert [block.kind for block in assemble(regions, words)] == ["text", "text"]
    words += (word("It", 0.1, 0.5, 0.2, 0.52),)
    assert [block.kind for block in assemble(regions, words)] == ["header", "footer", "text"]


def test_comments_and_text_across_the_page_are_of_their_own_kinds():
    lines = [[word(f"w{n}", 0.1, 0.1 * n, 0.3, 0.1 * n + 0.03)] for n in range(1, 6)]
    comment = [
        [
            word("[Comment", 0.5, 0.2, 0.6, 0.21),
            word("by", 0.6, 0.2, 0.62, 0.21),
            word("me]", 0.6, 0.2, 0.7, 0.21),
        ]
    ]
    draft = [[word("DRAFT", 0.05, 0.05, 0.95, 0.95)]]
    page = page_of(lines, comment, draft)
    kinds = known_kinds(page)
    assert kinds == {5: "comment", 6: "comment", 7: "comment", 8: "watermark"}
    blocks = assemble([Region("text", (0.0, 0.0, 1.0, 1.0))], page.words, (), kinds)
    assert [block.kind for block in blocks] == ["text", "comment", "watermark"]
    assert [block.is_running for block in blocks] == [False, False, True]
    assert known_kinds(page_of(lines)) == {}


# -- several tables in one grid ----------------------------------------------------------------


def rows_of(*rows, gaps=()):
    """Rows of height 10, 5 apart; `gaps` are further apart from the row above."""
    result, top = [], 0.0
    for number, texts in enumerate(rows):
        top += 10.0 if number in gaps else 0.0
        result.append(GridRow(tuple(texts), top, top + 10.0))
        top += 15.0
    return result


def test_one_table_is_one_band():
    rows = rows_of(
        ("Item", "2022", "2023"),
        ("Assets", "", ""),
        ("Cash", "12", "13"),
        ("Debts", "", ""),
        ("Loans", "4", "5"),
        gaps=(1, 3),
    )
    assert bands(rows) == [Band(0, 5)]


def test_rows_in_other_columns_are_another_table():
    rows = rows_of(
        ("Item", "Sum", ""),
        ("Rope", "12", ""),
        ("Claims", "", ""),
        ("Kind", "", "Owner"),
        ("Loss", "", "Ann"),
        gaps=(2,),
    )
    assert bands(rows) == [Band(0, 2), Band(2, 3, is_title=True), Band(3, 5)]


def test_a_title_and_a_header_begin_another_table():
    rows = rows_of(
        ("Item", "Sum"),
        ("Rope", "12"),
        ("Cleat", "15"),
        ("Crew", ""),
        ("Name", "Age"),
        ("Ann", "31"),
        ("Bo", "44"),
        gaps=(3,),
    )
    assert bands(rows) == [Band(0, 3), Band(3, 4, is_title=True), Band(4, 7)]


@pytest.mark.parametrize(
    ("texts", "below", "values"),
    [
        (("Port", "2021", "2022"), ("Hull", "7", "9"), False),
        (("Port", "2021", "2019"), ("Hull", "7", "9"), False),
        (("Hull", "1931", "1988", "1902"), ("Boston", "8", "9", "1"), True),
        (("Petrel", "1988"), ("Gannet", "2004"), True),
        (("Hull", "7"), (), True),
        (("Name", "Owner"), ("Ann", "Bo"), False),
    ],
)
def test_years_in_order_are_names(texts, below, values):
    assert has_values(texts, below) is values


# -- tables over a page break ------------------------------------------------------------------


def table_block(rows, header_rows=1, left=0.1, width=0.2):
    cells = tuple(
        Cell(
            r,
            c,
            text,
            (left + width * c, 0.1 * r, left + width * (c + 1), 0.1 * r + 0.1),
            is_header=r < header_rows,
        )
        for r, row in enumerate(rows)
        for c, text in enumerate(row)
    )
    table = Table(len(rows), len(rows[0]), cells, header_rows)
    return Block("table", "", ((left, 0.0, 1.0, 1.0),), table=table)


HEAD = ("Lake", "Depth")
FIRST = [HEAD, ("Alder", "12"), ("Birk", "30")]
FOOT = Block("footer", "17")
TOP = Block("header", "Lakes of the north")


def joined(first, second, *, number=1, between=()):
    pages = [
        page_of(number=0, blocks=(TOP, *first, FOOT)),
        page_of(number=number, blocks=(TOP, *between, *second, FOOT)),
    ]
    result = join_tables(pages)
    assert result[0] == pages[0]
    return [[row for row in (*table.header(), *table.body())] for table in logical_tables(result)]


def test_a_table_goes_on_with_its_header_repeated():
    second = table_block([HEAD, ("Cold", "7")])
    assert joined([table_block(FIRST)], [second]) == [[list(row) for row in (*FIRST, ("Cold", "7"))]]


def test_a_table_goes_on_without_a_header():
    second = table_block([("Cold", "7"), ("Dun", "9")], header_rows=0)
    assert joined([table_block(FIRST)], [second]) == [[*map(list, FIRST), ["Cold", "7"], ["Dun", "9"]]]


def test_a_first_row_of_values_that_was_taken_for_a_header_is_values():
    second = table_block([("Cold", "7"), ("Dun", "9")], header_rows=1)
    assert joined([table_block(FIRST)], [second]) == [[*map(list, FIRST), ["Cold", "7"], ["Dun", "9"]]]


def test_a_repeated_title_is_no_obstacle():
    title = Block("caption", "Table 4: Lakes")
    again = Block("caption", "Table 4: Lakes (continued)")
    second = table_block([HEAD, ("Cold", "7")])
    assert len(joined([title, table_block(FIRST)], [second], between=(again,))) == 1


@pytest.mark.parametrize(
    ("second", "number", "between"),
    [
        (table_block([("Ship", "Crew"), ("Petrel", "9")]), 1, ()),  # a header of its own
        (table_block([("Cold", "7", "1")], header_rows=0), 1, ()),  # other columns
        (table_block([("Cold", "7")], header_rows=0, left=0.5), 1, ()),  # other places
        (table_block([("Cold", "7")], header_rows=0), 2, ()),  # not the next page
        (table_block([("Cold", "7")], header_rows=0), 1, (Block("text", "A paragraph."),)),
    ],
    ids=["header", "columns", "places", "page", "text"],
)
def test_other_tables_are_other_tables(second, number, between):
    assert len(joined([table_block(FIRST)], [second], number=number, between=between)) == 2


def test_text_after_a_table_ends_it():
    end = Block("text", "So much for lakes.")
    second = table_block([("Cold", "7")], header_rows=0)
    assert len(joined([table_block(FIRST), end], [second])) == 2


def test_three_pages_are_one_table():
    pages = [page_of(number=n, blocks=(table_block(FIRST),)) for n in range(3)]
    (table,) = logical_tables(join_tables(pages))
    assert [part.page.number for part in table.parts] == [0, 1, 2]
    assert table.body() == [list(row) for row in FIRST[1:]] * 3
    assert [part.table.continues for part in table.parts] == [False, True, True]


# -- directions --------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_the_direction_of_reading_is_seen_in_the_words(degrees):
    upright = [
        word("reading", 0.1 + 0.2 * k, 0.1 + 0.05 * line, 0.25 + 0.2 * k, 0.12 + 0.05 * line)
        for line in range(5)
        for k in range(4)
    ]
    turned = [replace(one, box=turn_box(one.box, -degrees % 360)) for one in upright]
    assert turn_of(turned, 1.0) == degrees
    for one, before in zip(turned, upright, strict=True):
        assert turn_box(one.box, degrees) == pytest.approx(before.box)


def test_words_from_right_to_left_are_upright():
    line = [word("שלום", 0.7 - 0.2 * k, 0.1, 0.85 - 0.2 * k, 0.12) for k in range(4)]
    assert turn_of(line, 1.0) == 0
    assert turn_of([], 1.0) == 0
