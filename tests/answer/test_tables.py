"""Laws of tables: a cell is singled out only if the question names its row and its column."""

import random
from itertools import product

import pytest

from mmrag.answer.passages import LONGEST_ROW, passages_of
from mmrag.answer.question import Question
from mmrag.answer.tables import narrow, whole_tables
from mmrag.blocks import Block, Cell, Table
from mmrag.types import Candidate, Record

NAMES = ("copper", "walnut", "harbor", "violin", "desert", "pepper", "canyon", "marble", "tulip", "falcon")


def rows_of(page):
    candidate = Candidate(Record(page.id, None, page.text, {}, page), 1.0, 1)
    return [p for p in passages_of(candidate, 0, page.blocks) if p.row is not None]


def narrowed(page, question):
    return [narrow(Question(question), passage, page.words) for passage in rows_of(page)]


def named(page, question):
    return [passage.text for passage in narrowed(page, question) if passage.match_level == 2]


def grid_page(drawing, texts, header_rows, header_columns, spans=()):
    """A page with one table; `spans` are cells (row, column) that cover the one to their right, too."""
    page = drawing(0)
    cells = []
    for row, column in product(range(len(texts)), range(len(texts[0]))):
        if (row, column - 1) not in spans:
            words = page.line(texts[row][column].split())
            cells.append(
                Cell(row, column, texts[row][column], None, 1, 1 + ((row, column) in spans), words=words)
            )
    placed = tuple(range(len(page.words)))
    grid = Table(len(texts), len(texts[0]), tuple(cells), header_rows, header_columns)
    page.blocks.append(Block("table", "", (page.box(placed),), 0, placed, grid))
    return page.page()


def test_a_cell_is_quoted_if_its_row_and_its_column_are_named(structured):
    page = structured["financial"]
    assert named(page, "What were net sales in Europe in 2024?") == ["Europe, 2024: 24.1"]
    assert named(page, "What were net sales in 2024?") == []
    assert named(page, "What were net sales in Europe?") == []
    assert named(page, "What were net sales in Africa in 2024?") == []
    assert named(page, "What were net sales in Europe in 2022?") == []
    assert named(page, "How did Europe do in 2024 and 2023?") == []


def test_a_column_of_two_headers_is_named_by_both(structured):
    page = structured["two_headers"]
    profit = "Sensors, Operating profit 2024: 31"
    assert named(page, "What was the operating profit of sensors in 2024?") == [profit]
    assert named(page, "What did sensors earn in 2024?") == []  # of two columns of 2024 none is meant


def test_the_words_of_a_cell_are_those_of_its_headers_and_its_own(structured):
    page = structured["financial"]
    (cell,) = (p for p in narrowed(page, "Net sales in Asia in 2023?") if p.match_level == 2)
    assert sorted(word.text for word in cell.words) == ["15.2", "2023", "Asia"]


def test_a_superlative_is_no_name_of_a_cell(drawing):
    page = grid_page(drawing, [["Pier", "Ships"], ["Harbor", "12"], ["Walnut", "7"]], 1, 1)
    assert named(page, "How many ships had harbor?") == ["Harbor, Ships: 12"]
    assert named(page, "Did harbor have the fewest ships?") == []
    hottest = grid_page(drawing, [["Place", "Lowest depth"], ["Harbor", "12"]], 1, 1)
    assert named(hottest, "What is the lowest depth of harbor?") == ["Harbor, Lowest depth: 12"]


def test_an_empty_cell_and_a_dash_are_no_answers(drawing):
    page = grid_page(drawing, [["", "Ships", "Boats"], ["Harbor", "", "-"]], 1, 1)
    assert named(page, "How many ships had harbor?") == named(page, "How many boats had harbor?") == []


def brute_force(table, asked):
    """Return (row, column) of each cell that these words name, from the grid alone."""
    grid = [[text.casefold().split() for text in row] for row in table.grid()]
    found = []
    first = table.header_columns
    over = [
        {word for row in grid[: table.header_rows] for word in row[column]} for column in range(table.columns)
    ]
    if not first or not all(over[first:]):
        return []
    for row in range(table.header_rows, table.rows):
        path = [cell for cell in grid[row][:first] if cell]
        if not path or not set(path[-1]) <= asked:
            continue
        rest = asked - set(path[-1]) - set().union(*over[:first])
        counts = [len(rest & over[column]) for column in range(first, table.columns)]
        if not any(counts) or counts.count(max(counts)) > 1:
            continue
        column = first + counts.index(max(counts))
        inner = [line[column] for line in grid[: table.header_rows] if line[column]][-1]
        if set(inner) <= asked and grid[row][column]:
            found.append((row, column))
    return found


@pytest.mark.parametrize("seed", range(150))
def test_a_cell_is_singled_out_where_a_search_by_hand_finds_it(drawing, seed):
    noise = random.Random(seed)
    rows, columns = noise.randint(2, 6), noise.randint(2, 5)
    top, left = noise.randint(1, 2), noise.randint(0, 2)
    texts = [
        [
            " ".join(noise.sample(NAMES, noise.choice((0, 1, 1, 1, 2))))
            if row < top or column < left
            else noise.choice(("", str(100 + 10 * row + column)))
            for column in range(columns)
        ]
        for row in range(rows)
    ]
    spans = [(0, column) for column in range(left, columns - 1, 2) if noise.random() < 0.5]
    page = grid_page(drawing, texts, min(top, rows - 1), min(left, columns - 1), spans)
    table = page.blocks[0].table
    for _ in range(10):
        asked = noise.sample(NAMES, noise.randint(1, 5))
        expected = [
            f"{', '.join(table.row_header(row))}, {' '.join(table.column_header(column))}: {grid_text}"
            for row, column in brute_force(table, set(asked))
            for grid_text in [table.grid()[row][column]]
        ]
        assert named(page, f"what about {' '.join(asked)}?") == expected


@pytest.mark.parametrize("seed", range(60))
def test_names_of_rows_and_columns_are_those_of_the_grid(seed):
    noise = random.Random(seed)
    rows, columns = noise.randint(1, 6), noise.randint(1, 6)
    free, cells = set(product(range(rows), range(columns))), []
    for row, column in product(range(rows), range(columns)):
        if (row, column) in free:
            height, width = noise.choice((1, 1, 2)), noise.choice((1, 1, 2, 3))
            covered = {(row + y, column + x) for y in range(height) for x in range(width)}
            if not covered <= free:
                covered, height, width = {(row, column)}, 1, 1
            free -= covered
            cells.append(Cell(row, column, noise.choice((*NAMES[:4], "")), None, height, width))
    table = Table(rows, columns, tuple(cells), noise.randint(0, rows), noise.randint(0, columns))
    grid = table.grid()
    for column in range(columns):
        over = [grid[row][column] for row in range(table.header_rows)]
        assert table.column_header(column) == tuple(dict.fromkeys(filter(None, over)))
    for row in range(rows):
        assert table.row_header(row) == tuple(dict.fromkeys(filter(None, grid[row][: table.header_columns])))


def test_a_table_is_quoted_as_a_whole_or_by_the_names_of_its_columns(structured, drawing):
    rows = rows_of(structured["financial"])
    (whole,) = whole_tables(rows)
    assert whole.text.split("\n") == [row.text for row in rows]
    assert whole.row is None and {word.text for word in whole.words} >= {"Europe", "24.1", "Asia", "4.4%"}
    long = [["Pier", *(f"Ships {year}" for year in range(2010, 2016))]]
    long += [[f"{name} pier", *("1,234,567" for _ in range(6))] for name in NAMES]
    (whole,) = whole_tables(rows_of(grid_page(drawing, long, 1, 1)))
    assert whole.text == "; ".join(long[0]) and whole.words == ()


def test_a_named_cell_stays_beside_its_table(structured):
    page = structured["financial"]
    passages = whole_tables(narrowed(page, "What were net sales in Europe in 2024?"))
    assert sorted(passage.match_level for passage in passages) == [0, 2]


@pytest.mark.parametrize("seed", range(40))
def test_whole_tables_are_no_longer_than_a_row_may_be(drawn_page, seed):
    rows = rows_of(drawn_page(seed))
    whole = whole_tables(rows)
    assert len(whole) == len({id(row.block) for row in rows})
    assert all(0 < len(passage.text) <= LONGEST_ROW for passage in whole)
