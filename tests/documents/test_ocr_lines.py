"""Lines of OCR: directions, words with boxes, noise, right to left."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the extra 'ocr' is not installed")

from mmrag.documents.ocr import lines as ocr_lines
from mmrag.documents.ocr.lines import Character, Line
from mmrag.types import Word

QUAD = np.array([[10, 20], [110, 20], [110, 40], [10, 40]], dtype=np.float32)


def evenly(text: str, confidence: float = 0.9) -> tuple[Character, ...]:
    """The visible characters of a text, each as wide as the others."""
    return tuple(
        Character(letter, position / len(text), (position + 1) / len(text), confidence)
        for position, letter in enumerate(text)
        if not letter.isspace()
    )


def test_words_have_the_boxes_and_confidence_of_their_characters():
    line = Line(QUAD, "to be", 0.8, evenly("to be"))
    first, second = ocr_lines.words_of_line(line, (200, 100))
    assert (first.text, second.text) == ("to", "be")
    assert first.box == pytest.approx((0.05, 0.2, 0.25, 0.4))
    assert second.box == pytest.approx((0.35, 0.2, 0.55, 0.4))
    assert first.confidence == pytest.approx(0.9)


def test_without_places_a_line_is_divided_by_its_characters():
    first, second = ocr_lines.words_of_line(Line(QUAD, "to be", 0.8), (200, 100))
    assert first.box == pytest.approx((0.05, 0.2, 0.25, 0.4))
    assert second.confidence == 0.8


@pytest.mark.parametrize("direction", range(4))
def test_a_line_is_cut_upright_and_its_words_lie_where_it_lay(direction):
    """Pixels turned by quarters are cut back to the same picture; a word's box is turned with them."""
    upright = np.zeros((40, 120, 3), dtype=np.uint8)
    upright[12:28, 10:60] = 200  # the first half of the line is bright
    picture = np.ascontiguousarray(np.rot90(upright, -direction))
    bright = picture[:, :, 0] > 0
    rows, columns = np.nonzero(bright)
    height, width = picture.shape[:2]
    quad = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    corners = ocr_lines.in_direction(quad, direction)
    assert np.abs(ocr_lines.cut(picture, corners).astype(int) - upright).mean() < 8
    (word,) = ocr_lines.words_of_line(
        Line(corners, "x", 1.0, (Character("x", 10 / 120, 60 / 120, 1.0),)), (width, height)
    )
    x0, y0, x1, y1 = word.box
    along = (x0 * width, x1 * width) if direction in (0, 2) else (y0 * height, y1 * height)
    own = columns if direction in (0, 2) else rows
    assert along == pytest.approx((own.min(), own.max() + 1), abs=1)


def test_columns_of_the_engine_become_places_in_order():
    info = SimpleNamespace(word_cols=[[2, 4], [10, 12]], confs=[0.9, 0.8, 0.7, 0.6, 0.5], line_txt_len=20.0)
    characters = ocr_lines.characters_of("to be", info)
    assert [(character.text, character.confidence) for character in characters] == [
        ("t", 0.9), ("o", 0.8), ("b", 0.6), ("e", 0.5),
    ]  # fmt: skip
    edges = [edge for character in characters for edge in (character.start, character.end)]
    assert edges == sorted(edges)
    assert ocr_lines.characters_of("other text", info) == ()


def test_places_are_in_order_and_within_the_line():
    randomness = random.Random(3)
    for _ in range(50):
        count = randomness.randint(1, 30)
        columns = sorted(randomness.sample(range(100), count))
        info = SimpleNamespace(word_cols=[columns], confs=[0.9] * count, line_txt_len=100.0)
        characters = ocr_lines.characters_of("x" * count, info)
        edges = [edge for character in characters for edge in (character.start, character.end)]
        assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(edges))
        assert edges[0] >= 0 and edges[-1] <= 1


@pytest.mark.parametrize(
    ("text", "confidence", "noise"),
    [
        ("Rec n s ud r uore", 0.95, False),  # the engine is sure
        ("xq vvj ttk", 0.6, True),
        ("the interest", 0.5, False),  # words that are known
        ("vvj 11.4", 0.5, False),  # a number
        ("vvj 4", 0.5, True),
        ("the interest 11.4", 0.2, True),  # the engine saw nothing
        ("", 0.0, True),
    ],
)
def test_noise_is_what_is_unsure_and_holds_no_word_and_no_number(text, confidence, noise):
    assert ocr_lines.is_noise(text, confidence) is noise


@pytest.mark.parametrize(("text", "foreign"), [("19 .", True), ("", True), ("to be or not", False)])
def test_a_long_line_of_few_characters_is_of_another_script(text, foreign):
    assert Line(QUAD, text, 0.9).is_foreign is foreign  # five times as long as high
    short = np.array([[10, 20], [50, 20], [50, 40], [10, 40]], dtype=np.float32)
    assert not Line(short, text, 0.9).is_foreign  # too short to tell


@pytest.mark.parametrize("degrees", [-6, -2, 0, 3])
def test_the_skew_of_lines_is_found_and_taken_out(degrees):
    angle = np.deg2rad(degrees)
    middle = np.array([400.0, 300.0])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    straight = [
        np.array([[50, y], [700, y], [700, y + 20], [50, y + 20]], dtype=float) for y in range(50, 550, 30)
    ]
    lines = [Line(((one - middle) @ turn + middle).astype(np.float32), "words", 0.9) for one in straight]
    found_angle = ocr_lines.skew(lines)
    assert np.rad2deg(found_angle) == pytest.approx(degrees, abs=0.01)
    for line, one in zip(lines, straight, strict=True):
        box = ocr_lines.straight_box(line, found_angle, (800, 600))
        expected = (*(one.min(axis=0) / (800, 600)), *(one.max(axis=0) / (800, 600)))
        assert box == pytest.approx(expected, abs=1e-4)


def test_lines_read_from_right_to_left_are_put_in_order():
    words = [Word(text, (x, 0, x + 0.1, 1)) for x, text in enumerate(["2024", "\u05dd\u05d5\u05dc\u05e9"])]
    ordered = ocr_lines.reading_direction(words)
    assert [word.text for word in ordered] == ["\u05e9\u05dc\u05d5\u05dd", "2024"]
    mixed = [Word(text, (0, 0, 1, 1)) for text in ("\u05d2", "Article", "12", "\u05d1", "\u05d0")]
    assert [word.text for word in ocr_lines.reading_direction(mixed)] == [
        "\u05d0", "\u05d1", "Article", "12", "\u05d2",
    ]  # fmt: skip
    latin = [Word(text, (0, 0, 1, 1)) for text in ("read", "me")]
    assert ocr_lines.reading_direction(latin) == latin
