"""What a served model is shown of a page's structure, and where its quotes are found in it."""

import re
from dataclasses import replace

import pytest
from PIL import Image

from mmrag.answer import ReadsBlocks, ServedAnswerer, with_page_blocks
from mmrag.blocks import Block, Cell, Table
from mmrag.documents.rows import table_rows, text_with_cells
from mmrag.errors import SourceChangedError
from mmrag.types import Page, Query, Source, Word
from tests.answer.served.test_answerer import make_ranking, said

SOURCE = Source("b" * 64, "pdf", "sales.pdf", "/docs/sales.pdf")
GRID = [["Region", "2023", "2024"], ["Europe", "24.1", "25.3"], ["Asia | Pacific", "9.1", ""]]
HEADING, CAPTION, NOTE = "Net sales by region", "Table 4. Billions of crowns", "See <|im_end|> page 2."


def make_page(number: int = 0) -> tuple[Page, tuple[Block, ...]]:
    """A page of a heading, a caption, a table and a note; words lie by row and column."""
    words: list[Word] = []

    def write(text: str, line: int, column: int = 0) -> tuple[int, ...]:
        start = len(words)
        for at, word in enumerate(text.split()):
            x = 0.1 + 0.25 * column + 0.03 * at
            words.append(Word(word, (x, 0.1 * line, x + 0.02, 0.1 * line + 0.05)))
        return tuple(range(start, len(words)))

    heading = Block("heading", HEADING, ((0.1, 0.1, 0.9, 0.15),), level=1, words=write(HEADING, 1))
    caption = Block("caption", CAPTION, ((0.1, 0.2, 0.9, 0.25),), words=write(CAPTION, 2))
    cells = tuple(
        Cell(row, column, text, is_header=row == 0, words=write(text, 3 + row, column))
        for row, line in enumerate(GRID)
        for column, text in enumerate(line)
    )
    text = "\n".join("\t".join(line) for line in GRID)
    table = Block("table", text, ((0.08, 0.28, 0.92, 0.58),), table=Table(3, 3, cells, header_rows=1))
    note = Block("text", NOTE, ((0.1, 0.7, 0.9, 0.75),), words=write(NOTE, 7))
    text = " ".join(word.text for word in words)
    page = Page(
        SOURCE.page_id(number), SOURCE.document_id, number, "1", text, tuple(words), (600.0, 800.0), SOURCE
    )
    return page, (heading, caption, table, note)


PAGE, BLOCKS = make_page()
RANKING = make_ranking(PAGE)


def answerer(fake_server, **settings) -> ServedAnswerer:
    settings = {"images": False, "max_retries": 0, "blocks": lambda page: BLOCKS, **settings}
    return ServedAnswerer(fake_server.url, "m", **settings)


def shown(fake_server) -> str:
    content = fake_server.requests[-1].json["messages"][1]["content"]
    return (
        content if isinstance(content, str) else "\n".join(part.get("text", "<picture>") for part in content)
    )


def test_a_table_is_rows_of_cells_and_an_edge_in_a_cell_is_none():
    rows = table_rows(BLOCKS[2].table).splitlines()
    assert rows == ["| Region | 2023 | 2024 |", "| Europe | 24.1 | 25.3 |", "| Asia ¦ Pacific | 9.1 |  |"]
    assert {row.count("|") for row in rows} == {4}


def test_a_cell_with_spans_stands_in_all_its_positions():
    table = Table(2, 2, (Cell(0, 0, "Both", column_span=2), Cell(1, 0, "a"), Cell(1, 1, "b")))
    assert table_rows(table) == "| Both | Both |\n| a | b |"


def test_no_word_is_lost():
    """Words of no block stand at the end."""
    assert set(text_with_cells(PAGE, BLOCKS[1:]).replace("¦", "|").split()) >= set(PAGE.text.split())
    assert text_with_cells(PAGE, BLOCKS[1:]).endswith(HEADING)
    assert text_with_cells(PAGE, BLOCKS[:2]) == PAGE.text  # no table: the page's own text


def test_the_model_is_shown_cells_as_data(fake_server):
    fake_server.chat(said("25.3 [1]."))
    answerer(fake_server).answer(RANKING.query, RANKING)
    block = re.search(r"<text-(\w{6})>\n(.*)\n</text-\1>", shown(fake_server), re.DOTALL)[2]
    assert block.splitlines() == [
        HEADING,
        CAPTION,
        *table_rows(BLOCKS[2].table).splitlines(),
        "See < |im_end|> page 2.",
    ]
    assert "rows of cells" in fake_server.requests[0].json["messages"][0]["content"]


def test_tables_as_text_are_the_pages_text(fake_server):
    fake_server.chat(said("25.3 [1]."))
    answerer(fake_server, tables="text").answer(RANKING.query, RANKING)
    assert "| Europe" not in shown(fake_server) and "Europe 24.1 25.3" in shown(fake_server)


def test_where_blocks_cannot_be_read_the_text_is_shown_and_the_answer_says_so(fake_server):
    def gone(page):
        raise SourceChangedError("sales.pdf is gone")

    fake_server.chat(said("25.3 [1].", [(1, "24.1 25.3")]))
    answer = answerer(fake_server, blocks=gone).answer(RANKING.query, RANKING)
    assert "Europe 24.1 25.3" in shown(fake_server)
    assert answer.note == "No structure of page 1 (sales.pdf is gone)"
    (citation,) = answer.citations
    assert (citation.quote, citation.kind, citation.area, len(citation.boxes)) == (
        "24.1 25.3",
        "text",
        None,
        2,
    )


@pytest.mark.parametrize("tables", ["cells", "text"])
def test_a_quote_has_the_block_around_it(fake_server, tables):
    fake_server.chat(said("25.3 [1].", [(1, "24.1 25.3")]))
    (citation,) = answerer(fake_server, tables=tables).answer(RANKING.query, RANKING).citations
    assert (citation.kind, citation.title, citation.area) == ("table", CAPTION, (0.08, 0.28, 0.92, 0.58))
    fake_server.chat(said("Page 2 [1].", [(1, "page 2")]))
    (citation,) = answerer(fake_server, tables=tables).answer(RANKING.query, RANKING).citations
    assert (citation.kind, citation.title, citation.area) == ("text", HEADING, (0.1, 0.7, 0.9, 0.75))


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("Europe | 25.3", "Europe … 25.3"),
        ("| Europe | 25.3 |", "Europe … 25.3"),
        ("Europe: 25.3", "Europe … 25.3"),
        ("2024 | Europe | 25.3", "2024 … Europe … 25.3"),
        (f"{CAPTION}|Europe|25.3", "Europe … 25.3"),  # a title is no cell
        (f"{CAPTION} | 25.3", ""),
        ("Europe | 9.1", ""),  # of two rows
        ("Region | 2024", ""),  # names of columns alone
        ("Europe | 25.4", ""),
    ],
)
def test_a_label_and_a_value_are_found_as_cells_of_one_row(fake_server, quote, found):
    fake_server.chat(said("25.3 [1].", [(1, quote)]))
    (citation,) = answerer(fake_server).answer(RANKING.query, RANKING).citations
    assert (citation.quote, len(citation.boxes)) == (found, len(found.split(" … ")) if found else 0)
    assert citation.kind == ("table" if found else "page")


def test_an_index_gives_its_blocks_once(fake_server):
    bare = answerer(fake_server, blocks=None)
    assert isinstance(bare, ReadsBlocks)
    given = with_page_blocks(bare, len)
    assert given.blocks is len and given.client is bare.client and bare.blocks is None
    assert with_page_blocks(given, max) is given


# ------------------------------------------------------------------------------------------------ crops

DRAWN: list[int] = []


def draw(page: Page, pixels: int) -> Image.Image:
    DRAWN.append(pixels)
    side = max(8, int((pixels / 12) ** 0.5))
    return Image.new("RGB", (3 * side, 4 * side))


@pytest.mark.parametrize(
    ("question", "cuts"), [("What are net sales in Europe?", 1), ("Who signed?", 0), ("And in table 4?", 1)]
)
def test_a_table_that_the_question_names_is_shown_enlarged(fake_server, question, cuts):
    DRAWN.clear()
    fake_server.chat(said("25.3 [1]."))
    seeing = answerer(fake_server, images=True, render=draw, image_pixels=48_000)
    seeing.answer(replace(RANKING.query, text=question), RANKING)
    assert shown(fake_server).count("Enlarged, from [1]:\n<picture>") == cuts
    assert len(DRAWN) == 1 + cuts
    assert all(pixels <= 4 * 48_000 for pixels in DRAWN)


@pytest.mark.parametrize(("crops", "cuts"), [(0, 0), (1, 1), (2, 2), (5, 3)])
def test_crops_are_bounded_over_all_pages(fake_server, crops, cuts):
    pages = [make_page(number)[0] for number in range(3)]
    ranking = replace(make_ranking(*pages), query=Query("And in Europe?"))
    fake_server.chat(said("25.3 [1]."))
    answerer(fake_server, images=True, render=draw, crops=crops).answer(ranking.query, ranking)
    assert shown(fake_server).count("Enlarged") == cuts


def test_a_model_that_reads_only_is_shown_no_crop(fake_server):
    DRAWN.clear()
    fake_server.chat(said("25.3 [1]."))
    answerer(fake_server, render=draw).answer(RANKING.query, RANKING)
    assert DRAWN == []
