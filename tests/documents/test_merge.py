"""Words of OCR beside those of a layer: nothing twice, nothing of the layer lost, order by place."""

from __future__ import annotations

import random

import pytest

from mmrag.documents.ocr import merge
from mmrag.documents.ocr.merge import insert_blocks, without_known, words_of
from mmrag.types import Word


def line(text: str, y: float, x: float = 0.1, height: float = 0.02, confidence: float | None = None):
    """A line of words, each .01 wide a letter."""
    words = []
    for piece in text.split():
        words.append(Word(piece, (x, y, x + 0.01 * len(piece), y + height), None, confidence))
        x += 0.01 * (len(piece) + 1)
    return words


def text_of(blocks):
    """The words of each block, joined."""
    return [" ".join(word.text for part in block for word in part) for block in blocks]


def test_a_scan_between_header_and_footer_goes_between_them():
    layer = [[line("Received 4 May", 0.02)], [line("page 7", 0.96)]]
    read = [[line("The valve opened", 0.3), line("at 11.4 bar", 0.33)], [line("signed", 0.6)]]
    merged = insert_blocks(layer, read)
    assert text_of(merged) == ["Received 4 May", "The valve opened at 11.4 bar", "signed", "page 7"]


def test_a_picture_in_a_column_goes_after_the_text_above_it():
    left = [[line("left top", 0.1)], [line("left bottom", 0.8)]]
    right = [[line("right top", 0.1, x=0.6)], [line("right bottom", 0.8, x=0.6)]]
    read = [[line("chart", 0.4, x=0.6)]]
    merged = insert_blocks([*left, *right], read)
    assert text_of(merged) == ["left top", "left bottom", "right top", "chart", "right bottom"]


def test_words_of_the_layer_are_not_read_twice():
    layer = [[line("-8 Beech", 0.5)]]
    read = [[line("1 Beech", 0.503, height=0.016, confidence=0.9)], [line("Change in trees", 0.1)]]
    assert text_of(without_known(read, layer)) == ["Change in trees"]


@pytest.mark.parametrize(
    ("words", "share"),
    [
        ([], 0.0),
        ([(0.1, 0.5, 0.3, 0.52)], 0.5),
        ([(0.1, 0.5, 0.3, 0.52), (0.2, 0.5, 0.5, 0.52)], 1.0),  # overlapping, and beyond
        ([(0.1, 0.6, 0.5, 0.62)], 0.0),  # another line
        ([(0.1, 0.52, 0.5, 0.56)], 0.0),  # touches it from below
    ],
)
def test_share_of_a_line_under_words(words, share):
    assert merge.covered_share((0.1, 0.495, 0.5, 0.53), words) == pytest.approx(share)


def test_share_of_a_line_that_runs_downwards():
    assert merge.covered_share((0.5, 0.1, 0.53, 0.5), [(0.5, 0.1, 0.52, 0.3)]) == pytest.approx(0.5)


def test_the_order_of_the_layer_stays_and_every_word_comes_once():
    randomness = random.Random(7)
    for _ in range(100):
        layer = [
            [line(f"l{index}", randomness.random() * 0.9, x=randomness.random() * 0.8)] for index in range(8)
        ]
        read = [
            [line(f"r{index}", randomness.random() * 0.9, x=randomness.random() * 0.8)] for index in range(5)
        ]
        merged = text_of(insert_blocks(layer, read))
        assert sorted(merged) == sorted(text_of(layer) + text_of(read))
        assert [text for text in merged if text[0] == "l"] == text_of(layer)


def test_words_inside_regions():
    read = [[line("above", 0.1), line("within page", 0.5)], [line("below", 0.9)]]
    assert text_of(merge.words_inside(read, [(0.0, 0.4, 0.165, 0.6)])) == ["within"]
    assert merge.words_inside(read, []) == []


def test_what_is_left_overlaps_nothing():
    """Against a count of pixels: a word is left exactly where less than half of the smaller is shared."""
    randomness = random.Random(8)
    for _ in range(60):
        boxes = []
        for _ in range(6):
            x, y = randomness.randrange(60), randomness.randrange(60)
            boxes.append((x, y, x + randomness.randint(3, 30), y + randomness.randint(3, 12)))
        layer = [[[Word("l", box) for box in boxes[:4]]]]
        read = [[[Word(str(index), box) for index, box in enumerate(boxes[4:])]]]
        left = {word.text for word in words_of(without_known(read, layer))}
        for index, box in enumerate(boxes[4:]):
            own = {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
            others = [
                {(x, y) for x in range(one[0], one[2]) for y in range(one[1], one[3])} for one in boxes[:4]
            ]
            is_same = any(2 * len(own & other) > min(len(own), len(other)) for other in others)
            assert (str(index) in left) is not is_same
