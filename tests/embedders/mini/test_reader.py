"""Laws of the reader: cells to words, tiles of a picture, the order of words, the graph against torch."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrag.embedders.mini.embedder import MODEL_DIR
from mmrag.embedders.mini.letters import CLASSES, decode
from mmrag.embedders.mini.reader import (
    LetterReader,
    ReadWord,
    Tile,
    reading_order,
    tiles_of,
    words_of,
)

PROJECT = Path(__file__).parents[3]


class Page:
    """A grid of labels to write words into."""

    def __init__(self, rows=20, columns=120):
        self.letters = np.zeros((rows, columns), np.uint8)
        self.bits = np.zeros((3, rows, columns), bool)
        self.wanted = []

    def write(self, text, row, column, *, tall=1, width=3, slope=0.0, opens=True):
        """Write a word with its middle in `row`: letters `width` cells wide, `tall` rows to both sides."""
        start, ends = column, []
        for place, letter in enumerate(text):
            wide = width if isinstance(width, int) else width[place]
            for _ in range(wide):
                at = int(row + 0.5 + slope * (column - start))
                up = slice(max(at - tall, 0), at + tall + 1)
                self.letters[up, column] = CLASSES.index(letter)
                self.bits[0, up, column] = column == start + sum(ends)
                self.bits[1, up, column] = opens and column == start
                self.bits[2, up, column] = False
                self.bits[2, at, column] = True
                column += 1
            ends.append(wide)
        self.wanted.append(text)
        return column

    def words(self):
        return decode(self.letters, self.bits, np.ones(self.letters.shape, np.float32))

    def read(self):
        return sorted(word.text for word in self.words())


def test_a_word_and_its_box_by_eye():
    page = Page()
    page.write("cat", row=5, column=10)
    (word,) = page.words()
    assert word == ReadWord("cat", (10.0, 4.0, 19.0, 7.0), 1.0)


def test_nothing_written_is_nothing_read():
    assert Page().words() == []


def test_a_doubled_letter_is_two_letters():
    page = Page()
    page.write("balloon", row=5, column=3)
    page.write("ill", row=12, column=3, width=1)
    assert page.read() == ["balloon", "ill"]


def test_words_part_where_one_starts_even_without_a_gap():
    page = Page()
    column = page.write("in", row=5, column=3)
    page.write("out", row=5, column=column)
    assert page.read() == ["in", "out"]


@pytest.mark.parametrize(("gap", "read"), [(2, ["stone"]), (12, ["one", "st"])])
def test_a_word_whose_start_was_missed_parts_at_a_wide_gap_only(gap, read):
    page = Page()
    column = page.write("st", row=5, column=3)
    page.write("one", row=5, column=column + gap, opens=False)
    assert page.read() == read


@pytest.mark.parametrize("slope", [0.02 * 2 / 8, -0.02 * 2 / 8, 0.08, -0.08])
def test_a_skewed_word_is_one_word(slope):
    """2 in 100 pixels is a row of cells in 200 columns; the others change rows inside every word."""
    page = Page()
    page.write("extraordinarily", row=10, column=3, slope=slope)
    assert page.read() == ["extraordinarily"]


def test_near_lines_keep_their_words():
    """Middles one row apart, words that begin and end above each other."""
    page = Page()
    page.write("port", row=5, column=3, tall=0)
    page.write("the", row=6, column=12, tall=0)
    page.write("number", row=5, column=40, tall=0)
    page.write("resulting", row=6, column=55, tall=0)
    assert page.read() == ["number", "port", "resulting", "the"]


def test_equal_words_under_each_other_are_two():
    page = Page()
    for row, name in enumerate(("first", "other", "third")):
        page.write(name, row=5 + row, column=3, tall=0)
        page.write("yes", row=5 + row, column=30, tall=0)
    assert page.read() == ["first", "other", "third", "yes", "yes", "yes"]


def test_a_line_seen_in_two_rows_is_read_once():
    page = Page()
    page.write("between", row=5, column=3)
    page.bits[2, 6] = page.bits[2, 5]
    assert page.read() == ["between"]
    page.bits[2, 5, 8:14] = False  # and where only one of the rows has it
    page.bits[2, 6, 18:] = False
    assert page.read() == ["between"]


def test_a_blurred_border_is_no_letter():
    page = Page()
    page.write("moon", row=5, column=3)
    page.letters[4:7, 6] = CLASSES.index("i")  # the first cell of the second letter
    page.letters[4:7, 14] = CLASSES.index("u")  # the last of the fourth
    assert page.read() == ["moon"]


def test_a_start_that_was_missed_shows_in_the_classes():
    page = Page()
    page.write("moon", row=5, column=3)
    page.bits[0, :, 6] = False
    assert page.read() == ["moon"]


def test_a_start_that_is_said_twice_is_one():
    page = Page()
    page.write("moon", row=5, column=3)
    page.bits[0, 4:7, 7] = True
    assert page.read() == ["moon"]


def test_a_title_is_one_word_with_a_tall_box():
    page = Page()
    page.write("title", row=9, column=10, tall=4, width=14)
    (word,) = page.words()
    assert (word.text, word.box) == ("title", (10.0, 5.0, 80.0, 14.0))


@pytest.mark.parametrize("seed", range(20))
def test_any_layout_is_read_back_exactly(seed):
    """Random words on lines one to three rows apart, letters two to five cells wide, some skewed."""
    rng = random.Random(seed)
    page = Page(rows=90, columns=300)
    row = 4
    slope = rng.choice([0.0, 0.0, 0.005, -0.005])
    while row < 84:
        tall = rng.choice([0, 0, 1]) if slope == 0 else 1
        row += tall
        column = rng.randrange(0, 40)
        first = column
        while column < 250:
            text = "".join(rng.choice(CLASSES[1:]) for _ in range(rng.randrange(1, 10)))
            at = row + slope * (column - first)
            widths = [rng.randrange(2, 6) for _ in text]
            column = page.write(text, at, column, tall=tall, width=widths, slope=slope) + rng.randrange(1, 8)
        row += tall + rng.randrange(1, 4) + (3 if slope else 0)
    assert page.read() == sorted(page.wanted)
    for word in page.words():
        assert word.box[0] < word.box[2]
        assert word.box[1] < word.box[3]


def test_shapes_that_do_not_belong_together_are_refused():
    page = Page()
    with pytest.raises(ValueError, match=r"bits \(3, rows, columns\)"):
        decode(page.letters, page.bits[:2], np.ones(page.letters.shape))
    page.letters[0, 0] = len(CLASSES)
    with pytest.raises(ValueError, match="another alphabet"):
        page.words()


# ---- tiles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(595, 842), (842, 595), (2480, 3508), (1920, 1080)])
def test_a_page_is_one_tile_with_its_long_side_scaled(size):
    (tile,) = tiles_of(Image.new("L", size, 255))
    assert max(tile.pixels.shape) == 1024
    assert all(side % 16 == 0 for side in tile.pixels.shape)
    assert tile.box == tile.core == (0, 0, *size)


def test_a_small_picture_is_not_enlarged_more_than_twice():
    (tile,) = tiles_of(Image.new("L", (100, 60), 255))
    assert tile.scale == (0.5, 0.5)
    assert tile.pixels.shape == (128, 208)


@pytest.mark.parametrize("size", [(400, 3000), (3000, 400), (300, 1000), (80, 9000), (1, 5000)])
def test_tiles_of_a_long_picture_show_all_of_it(size):
    tiles = tiles_of(Image.new("RGB", size, "white"))
    assert len(tiles) > 1
    along = 1 if size[1] > size[0] else 0
    assert all(max(tile.pixels.shape) <= 1024 for tile in tiles)
    ends = [(tile.core[along], tile.core[along + 2]) for tile in tiles]
    assert ends[0][0] == 0
    assert ends[-1][1] == pytest.approx(size[along])
    assert all(one[1] == next_[0] for one, next_ in itertools.pairwise(ends))
    for one, next_ in itertools.pairwise(tiles):
        shared = (one.box[along + 2] - next_.box[along]) / one.scale[along]
        assert shared >= 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"])
def test_any_mode_is_white_paper_where_it_is_white(mode):
    image = Image.new(mode, (64, 32), {"CMYK": (0, 0, 0, 0), "YCbCr": (255, 128, 128)}.get(mode, "white"))
    if mode in ("I", "F", "I;16"):
        image = Image.new(mode, (64, 32), 255)
        image.putpixel((0, 0), 0)
    (tile,) = tiles_of(image)
    assert tile.pixels.dtype == np.float32
    assert np.median(tile.pixels) == pytest.approx(1, abs=0.01)


def test_a_word_in_an_overlap_is_given_once_and_none_is_lost():
    """Words written at every height of a long strip, seen by both of its tiles."""
    picture = Image.new("L", (512, 1700), 255)
    tiles = tiles_of(picture)
    assert len(tiles) == 2
    cells, wanted = [], set()
    for tile in tiles:
        page = Page(rows=tile.pixels.shape[0] // 8, columns=tile.pixels.shape[1] // 2)
        for row in range(2, 205, 5):
            local = row - round(tile.box[1] / tile.scale[1] / 8)
            text = "word" + "abcdefghijklmnopqrstuvwxyz"[row % 26] + str(row)
            wanted.add(text)
            if 1 <= local < page.letters.shape[0] - 1:
                page.write(text, local, 20)
        cells.append((page.letters, page.bits, np.ones(page.letters.shape, np.float32)))
    found = [word.text for word in words_of(tiles, cells)]
    assert len(found) == len(set(found))
    assert set(found) == wanted


def test_of_a_word_that_two_tiles_see_at_their_seam_the_surer_is_given():
    ground = np.ones((64, 64), np.float32)
    tiles = [
        Tile(ground, (0, 0, 64, 64), (0, 0, 64, 46), (1, 1)),
        Tile(ground, (0, 28, 64, 92), (0, 46, 64, 92), (1, 1)),
    ]
    upper, lower = Page(8, 32), Page(8, 32)
    upper.write("sean", 5, 3)  # its middle at 44: its own side of the seam
    lower.write("seam", 2, 3)  # the other tile has it at 48: on its own side too
    for sure, wanted in (((0.5, 0.9), "seam"), ((0.9, 0.5), "sean")):
        cells = [
            (page.letters, page.bits, np.full(page.letters.shape, one, np.float32))
            for page, one in zip((upper, lower), sure, strict=True)
        ]
        assert [word.text for word in words_of(tiles, cells)] == [wanted]


# ---- order ------------------------------------------------------------------------------------------


def laid(lines, x=0, y=0, line=14, space=4, letter=6):
    """Words of lines of text as a printer sets them."""
    made = []
    for number, text in enumerate(lines):
        left = x
        for word in text.split():
            top = y + number * line
            made.append(ReadWord(word, (left, top, left + letter * len(word), top + 12), 1.0))
            left += letter * len(word) + space
    return made


def read_in_order(words):
    order = reading_order(words)
    assert sorted(number for line in order for number in line) == list(range(len(words)))
    return [" ".join(words[number].text for number in line) for line in order]


LEFT = ["the left column has some", "lines of its own and they", "are read before the other"]
RIGHT = ["while the right one is read", "after it even if its lines", "stand at the same heights"]


def test_no_words_have_no_order():
    assert reading_order([]) == []


@pytest.mark.parametrize("shift", [0, 7])
def test_two_columns_are_read_one_after_the_other(shift):
    words = laid(RIGHT, x=200, y=shift) + laid(LEFT)
    assert read_in_order(words) == LEFT + RIGHT


def test_white_space_across_both_columns_does_not_part_them():
    words = laid(LEFT) + laid(LEFT, y=80) + laid(RIGHT, x=200) + laid(RIGHT, x=200, y=80)
    assert read_in_order(words) == LEFT + LEFT + RIGHT + RIGHT


def test_a_title_over_two_columns_comes_first():
    title = ["a title that is as wide as both of the columns are"]
    words = laid(LEFT, y=40) + laid(RIGHT, x=200, y=40) + laid(title, y=10)
    assert read_in_order(words) == title + LEFT + RIGHT


def test_a_row_of_a_table_stays_a_row():
    cells = [["name", "price", "sold"], ["apples", "1.20", "300"], ["green pears", "2.40", "12"]]
    words = [
        word
        for column in (2, 0, 1)
        for row in range(3)
        for word in laid([cells[row][column]], x=150 * column, y=16 * row)
    ]
    assert read_in_order(words) == [" ".join(row) for row in cells]


@pytest.mark.parametrize("slope", [0.02, -0.02])
def test_a_skewed_page_is_read_in_the_same_order(slope):
    words = laid(LEFT * 20) + laid(RIGHT * 20, x=165)  # over the page's height the gutter leans by 17 of 25
    skewed = []
    for word in words:
        x, y = (word.box[0] + word.box[2]) / 2, (word.box[1] + word.box[3]) / 2
        right, down = -slope * y, slope * x
        left, top, end, bottom = word.box
        skewed.append(ReadWord(word.text, (left + right, top + down, end + right, bottom + down), 1.0))
    assert read_in_order(skewed) == read_in_order(words) == LEFT * 20 + RIGHT * 20


@pytest.mark.parametrize("seed", range(5))
def test_order_does_not_depend_on_how_the_words_come(seed):
    words = laid(LEFT) + laid(RIGHT, x=200) + laid(["one", "two"], y=90)
    shuffled = random.Random(seed).sample(words, len(words))
    assert read_in_order(shuffled) == read_in_order(words)


# ---- the network ------------------------------------------------------------------------------------


@pytest.fixture
def reader_graph(monkeypatch):
    pytest.importorskip("torch", reason="the graph is compared with the network in torch")
    pytest.importorskip("onnx", reason="onnx writes the graph; it is a tool of development")
    pytest.importorskip("safetensors", reason="the weights of the graph are a safetensors file")
    monkeypatch.syspath_prepend(str(PROJECT / "scripts" / "mini"))
    import reader_graph

    yield reader_graph
    for name in ("reader_graph", "graph", "tower"):
        sys.modules.pop(name, None)


def exported(reader_graph, folder):
    """A random network with norms that do something, in torch and as a graph."""
    import torch
    from safetensors.numpy import save_file

    torch.manual_seed(0)
    tower, head = reader_graph.Letters(), reader_graph.LetterHead(len(CLASSES))
    for norm in [module for module in tower.modules() if isinstance(module, torch.nn.BatchNorm2d)]:
        torch.nn.init.normal_(norm.running_mean, 0, 0.2)
        torch.nn.init.uniform_(norm.running_var, 0.3, 2)
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
        torch.nn.init.normal_(norm.bias, 0, 0.2)
    save_file(reader_graph.reader_weights(tower, head), folder / "model.safetensors")
    reader_graph.reader(tower, folder / "model.safetensors", folder / "reader.onnx")
    return tower.eval(), head.eval()


def test_the_graph_says_what_the_network_says(reader_graph, tmp_path):
    import torch

    tower, head = exported(reader_graph, tmp_path)
    pixels = np.random.default_rng(0).random((96, 208), dtype=np.float32)
    with torch.no_grad():
        features = tower(torch.from_numpy(pixels)[None, None])
        logits, bits = (part[0] for part in head(features))
    (tile,) = tiles_of(Image.new("L", (208, 96)))
    seen = LetterReader(tmp_path).look(Tile(pixels, tile.box, tile.core, (1, 1)))
    assert seen.letters.shape == (12, 104)
    assert seen.features.shape == (96, 12, 52)
    np.testing.assert_allclose(seen.features, features[0], atol=1e-4)
    assert (seen.letters == logits.argmax(0).numpy()).mean() >= 0.999
    assert (seen.bits == (bits > 0).numpy()).mean() >= 0.999
    np.testing.assert_allclose(seen.confidence, logits.softmax(0).amax(0), atol=1e-4)
    assert len(np.unique(seen.letters)) > 2


def test_a_graph_for_another_alphabet_is_refused(reader_graph, tmp_path, monkeypatch):
    monkeypatch.setattr(reader_graph, "CLASSES", CLASSES[:-1])
    exported(reader_graph, tmp_path)
    with pytest.raises(ValueError, match="must be made for the classes"):
        LetterReader(tmp_path)


def test_a_folder_without_a_reader_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"needs reader\.onnx in its folder"):
        LetterReader(tmp_path)


@pytest.mark.parametrize("side", [1000, 256, 5000, 1024.0])
def test_a_long_side_out_of_range_is_refused(tmp_path, side):
    with pytest.raises(ValueError, match="long_side must be a multiple of 16"):
        LetterReader(tmp_path, long_side=side)


@pytest.mark.skipif(
    not (MODEL_DIR / "reader.onnx").is_file(), reason=f"the trained reader is not there yet: {MODEL_DIR.name}"
)
def test_a_printed_page_is_read():
    import pymupdf

    text = (
        "The committee met on Tuesday and agreed that the annual report should name every source of income. "
        "Members asked how the budget for travel had been spent, and whether printing could be moved to "
        "another company. The treasurer explained the figures of the last quarter, which show a small loss "
        "of 1250 euros. A new vote was planned for March. "
    )
    with pymupdf.open() as document:
        page = document.new_page()
        page.insert_textbox((72, 72, 523, 770), text * 4, fontsize=11)
        picture = page.get_pixmap(dpi=150)
        wanted = [word[4].lower() for word in page.get_text("words")]
    image = Image.frombytes("RGB", (picture.width, picture.height), picture.samples)
    read = [word.text for word in LetterReader().read(image)]
    found = sum(min(read.count(word), wanted.count(word)) for word in set(wanted))
    assert found >= 0.8 * len(wanted)
