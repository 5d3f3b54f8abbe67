"""Laws of passages: what may be quoted is all that the page says, and nothing else."""

import random
import re
from collections import Counter

import pytest

from mmrag.answer.passages import LINES, LONGEST, LONGEST_ROW, passages_of, plain_lines, windows
from mmrag.blocks import Block, Cell, Table
from mmrag.types import Candidate, Record, Word

SEEDS = range(60)


def candidate(page):
    return Candidate(Record(page.id, None, page.text, {}, page), 1.0, 1)


def passages(page):
    return list(passages_of(candidate(page), 0, page.blocks))


def letters(text):
    return re.findall(r"[^\s,:;]+", text)


def headers(table):
    """Words that only name: of the header's rows, and over the columns that name rows."""
    if table.header_rows >= table.rows:
        return set()
    return {at for cell in table.cells if cell.row < table.header_rows for at in cell.words}


def check_laws(page):
    """What holds for every page, whatever is on it."""
    quotable = {at for block in page.blocks if not block.is_running for at in block.words}
    quotable -= {at for block in page.blocks if block.table for at in headers(block.table)}
    page_words = set(letters(" ".join(word.text for word in page.words)))
    seen = set()
    for passage in passages(page):
        assert passage.text.strip()
        assert len(passage.text) <= (LONGEST if passage.row is None else LONGEST_ROW)
        assert not passage.block.is_running
        assert all(0 <= edge <= 1 for word in passage.words for box in word.boxes for edge in box)
        seen |= {id(word) for word in passage.words}
        texts = Counter(letters(" ".join(word.text for word in passage.words)))
        long_words = [word for word in page_words if len(word) > LONGEST]
        for text in letters(passage.text):  # each is one of its own words, or the column's name
            assert texts[text] or text in page_words or any(word.startswith(text) for word in long_words)
    ids = {at: id(page.words[at]) for at in quotable}
    assert [page.words[at].text for at in quotable if ids[at] not in seen] == []
    running = {at for block in page.blocks if block.is_running for at in block.words}
    assert not any(id(page.words[at]) in seen for at in running)


def test_a_row_carries_its_headers_and_a_window_its_lines(structured):
    texts = [passage.text for passage in passages(structured["financial"])]
    assert "Europe, 2024: 24.1; 2023: 25.1; Change: (4.0)%" in texts
    titles = {passage.title for passage in passages(structured["financial"]) if passage.row is not None}
    assert titles == {"Table 3: Net sales by region"}
    assert any("Research spending rose" in text and text.endswith("before 2027.") for text in texts)
    two = [passage.text for passage in passages(structured["two_headers"])]
    assert "Pumps, Revenue 2024: 85; Revenue 2023: 90; Operating profit 2024: 12" in two


def test_running_heads_and_feet_give_no_passage(structured):
    for name in ("letter", "second_letter"):
        page = structured[name]
        assert any(block.is_running for block in page.blocks)
        text = " ".join(passage.text for passage in passages(page))
        assert "turned on a lathe" in text or "Brake pads" in text
        assert "Vitkovicka" not in text and "of 2" not in text


def test_the_laws_hold_on_pages_as_they_are_read(structured):
    for page in structured.values():
        check_laws(page)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_laws_hold_on_any_page(drawn_page, seed):
    check_laws(drawn_page(seed))


@pytest.mark.parametrize("seed", range(20))
def test_a_text_without_structure_loses_no_word(seed):
    noise = random.Random(seed)
    words = [
        noise.choice(("oak", "elm.", "7", "y" * noise.randint(1, 80))) for _ in range(noise.randint(0, 900))
    ]
    text = "".join(word + noise.choice((" ", " ", " ", "\n", "  ")) for word in words)
    boxes = [Word(word, (0.1, 0.1, 0.2, 0.2)) for word in words]
    lines = plain_lines(text, boxes)
    assert [word for line in lines for word in line.words] == words
    assert all(line.words == tuple(word.text for word in line.placed_words) for line in lines)
    found = list(windows(lines, 0))
    assert all(len(passage.text) <= LONGEST for passage in found)
    covered = {at for passage in found for at in range(passage.start, passage.start + passage.size)}
    assert covered == set(range(len(lines)))
    assert all(passage.text == " ".join(word.text for word in passage.words) for passage in found)


def test_words_that_are_not_those_of_the_text_give_no_boxes():
    assert (
        plain_lines("red green", [Word("red", (0, 0, 1, 1)), Word("blue", (0, 0, 1, 1))])[0].placed_words
        == ()
    )
    assert list(windows([], 0)) == []


def test_a_long_line_hides_none_behind_it():
    lines = plain_lines("\n".join(["a" * 290, "b" * 50, "c"]), ())
    assert {text for passage in windows(lines, 0) for text in passage.text.split()} == {
        "a" * 290,
        "b" * 50,
        "c",
    }
    assert max(passage.size for passage in windows(plain_lines("a\nb\nc\nd\ne", ()), 0)) == LINES


def test_numbers_of_lines_are_no_words_but_those_of_short_lists_are(drawing):
    def texts(count):
        page = drawing(0)
        positions = [at for row in range(count) for at in page.line([str(row + 4), f"word{row}", "so"])]
        page.blocks.append(Block("text", "numbered", (page.box(positions),), 0, tuple(positions)))
        return " ".join(passage.text for passage in passages(page.page()))

    assert "7" not in texts(12).split()
    assert "7" in texts(5).split()


def test_a_number_too_long_to_be_one_is_a_word(drawing):
    page = drawing(0)
    positions = [*page.line(["9" * 5000, "and", "so"]), *page.line(["on"])]
    page.blocks.append(Block("text", "digits", (page.box(positions),), 0, tuple(positions)))
    assert "and so on" in " ".join(passage.text for passage in passages(page.page()))


def test_a_line_from_right_to_left_is_one_line(drawing):
    page = drawing(0)
    positions = []
    for row in range(5):
        for column in range(6):
            positions.append(len(page.words))
            x = 0.8 - 0.1 * column
            box = (x, 0.1 + 0.03 * row, x + 0.09, 0.12 + 0.03 * row)
            page.words.append(Word(f"\u05d0{row}{column}", box))
    page.blocks.append(Block("text", "rtl", (page.box(positions),), 0, tuple(positions)))
    first = passages(page.page())[0]
    assert len(first.words) == LINES * 6


def test_a_long_row_comes_in_parts_that_each_have_its_header(drawing):
    page = drawing(0)
    cells = [Cell(0, 0, "Year", words=page.line(["Year"]), is_header=True)]
    cells += [Cell(0, n, f"{n}", words=page.line([f"{n}"]), is_header=True) for n in range(1, 200)]
    cells += [Cell(1, 0, "Rain", words=page.line(["Rain"]), is_header=True)]
    cells += [Cell(1, n, f"mm{n}", words=page.line([f"mm{n}"])) for n in range(1, 200)]
    grid = Table(2, 200, tuple(cells), 1, 1)
    placed = tuple(range(len(page.words)))
    page.blocks.append(Block("table", "", (page.box(placed),), 0, placed, grid))
    parts = passages(page.page())
    assert len(parts) > 3
    assert all(part.text.startswith("Rain, ") and len(part.text) <= LONGEST_ROW for part in parts)
    values = [value for part in parts for value in part.text.removeprefix("Rain, ").split("; ")]
    assert values == [f"{n}: mm{n}" for n in range(1, 200)]


def test_a_table_that_is_nothing_but_header_gives_its_rows(drawing):
    page = drawing(0)
    cells = (Cell(0, 0, "red", words=page.line(["red"])), Cell(0, 1, "blue", words=page.line(["blue"])))
    page.blocks.append(Block("table", "", (page.box((0, 1)),), 0, (0, 1), Table(1, 2, cells, 1, 0)))
    assert [passage.text for passage in passages(page.page())] == ["red; blue"]


def test_blocks_without_words_are_read_by_their_text_and_empty_ones_give_nothing(drawing):
    page = drawing(0)
    page.blocks += [
        Block("comment", "Checked by Ines.\nSee the annex."),
        Block("text", ""),
        Block("picture", ""),
        Block("table", "", table=Table(0, 0, ())),
        Block("table", "", table=Table(1, 1, (Cell(0, 0, ""),))),
    ]
    assert [passage.text for passage in passages(page.page())] == ["Checked by Ines. See the annex."]
    page.blocks = []
    assert passages(page.page()) == []


def test_a_word_without_letters_is_no_obstacle(drawing):
    page = drawing(0)
    positions = page.line(["red", "", "blue"])
    page.blocks.append(Block("text", "red blue", (page.box(positions),), 0, positions))
    assert [passage.text for passage in passages(page.page())] == ["red blue"]
