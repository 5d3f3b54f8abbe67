"""The comparison of readers: its drawn truth has the ink it says, and its scores tell what was done."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from PIL import ImageChops
from reading import consensus, score
from reading_pages import KINDS, drawn_pages
from reading_readers import Reading

from mmrag.types import HiddenText, Word

SEED = 5
SHEETS = drawn_pages(SEED)


def drawn(name: str):
    """The page as PDFium draws it, which has no part in making it, and 1 where there is ink."""
    pdfium = pytest.importorskip("pypdfium2", reason="the extra 'pdfium' is not installed")
    with pdfium.PdfDocument(SHEETS[name].to_bytes()) as document:
        document.init_forms()
        picture = document[0].render(scale=2).to_pil().convert("L")
    return ImageChops.invert(picture).point(lambda value: 255 * (value > 100))


@pytest.mark.parametrize("name", SHEETS)
def test_each_true_word_has_ink_in_its_box_and_nothing_else_has_any(name):
    ink = drawn(name)
    width, height = ink.size
    for word in SHEETS[name].words:
        x0, y0, x1, y1 = (round(side * scale) for side, scale in zip(word.box, 2 * ink.size, strict=True))
        assert ink.crop((x0, y0, x1, y1)).getbbox() is not None, word
        ink.paste(0, (x0 - 2, y0 - 2, x1 + 2, y1 + 2))
    if name.startswith("table") or name == "hyphens at line ends":  # lines, and second halves, are no words
        return
    left = sum(ink.histogram()[1:])
    assert left < 0.0005 * width * height


def some_words(seed: int, count: int = 40) -> tuple[Word, ...]:
    rng = random.Random(seed)
    return tuple(
        Word(str(rng.randrange(10, 999)), (0.1 * (i % 8), i / 50, 0.1 * (i % 8) + 0.08, (i + 0.8) / 50))
        for i in range(count)
    )


def test_a_reading_that_is_the_truth_is_without_fault():
    words = some_words(1)
    result = score(words, Reading(words), strict=True)
    assert (result.missed, result.extra, result.parted) == (0, 0, 0)
    assert (result.mean_iou, result.order) == (pytest.approx(1), 1)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_taken_away_is_missed_and_what_is_added_is_extra(seed):
    words, rng = some_words(seed), random.Random(seed)
    away, more = rng.randrange(1, 9), rng.randrange(1, 9)
    rest = list(words)
    for _ in range(away):
        rest.pop(rng.randrange(len(rest)))
    noise = [Word("noise", (0.9, i / 50, 0.99, (i + 0.8) / 50)) for i in range(more)]
    result = score(words, Reading((*rest, *noise)), strict=True)
    assert (result.missed, result.extra) == (away, more)


def test_order_is_the_share_of_neighbours_that_are_kept():
    words = some_words(2, 5)
    back = score(words, Reading(words[::-1]), strict=True)
    halves = score(words, Reading((*words[3:], *words[:3])), strict=True)
    assert (back.missed, back.order) == (0, 0)
    assert halves.order == pytest.approx(3 / 4)


def test_a_figure_joined_with_its_mark_is_parted_not_missed():
    figure = Word("250", (0.1, 0.1, 0.2, 0.12))
    mark = Word("9", (0.2, 0.1, 0.22, 0.12))
    joined = Word("2509", (0.1, 0.1, 0.22, 0.12))
    for truth, read in (((figure, mark), (joined,)), ((joined,), (figure, mark))):
        result = score(truth, Reading(read), strict=True)
        assert (result.missed, result.extra, result.parted) == (0, 0, len(truth))


def test_hidden_text_and_whole_words_are_not_missed_where_the_others_are_the_truth():
    truth = (
        Word("embank-", (0.8, 0.1, 0.9, 0.12)),
        Word("ment", (0.1, 0.13, 0.2, 0.15)),
        Word("secret", (0.1, 0.2, 0.2, 0.22)),
    )
    whole = Word("embankment", truth[0].box, tail=truth[1].box)
    reading = Reading((whole,), (HiddenText("secret", truth[2].box, "same colour as the paper"),))
    assert score(truth, reading, strict=False).missed == 0
    assert score(truth, reading, strict=True).missed == 1
    assert score(truth, reading, strict=False).extra == 0


def test_two_of_three_make_a_word():
    words = some_words(3, 12)
    first, second, third = words[:8], words[4:], (replace(words[0], text="other"), words[1])
    agreed = {word.text for word in consensus([first, second, third])}
    assert agreed == {word.text for word in (*words[4:8], words[1])}


def test_every_kind_is_drawn():
    assert set(KINDS) | {"/Rotate 90", "/Rotate 180", "/Rotate 270"} >= set(SHEETS)
    assert all(sheet.words for sheet in SHEETS.values())
