"""Cut words and footnote marks where text is searched, quoted and boxed."""

from __future__ import annotations

import pytest

from mmrag.answer.quotes import find_quote, line_boxes
from mmrag.answer.words import content_stems
from mmrag.blocks import is_footnote_mark
from mmrag.index.lexical import lexical_terms
from mmrag.types import Word

CUT = [
    Word("the", (0.7, 0.1, 0.78, 0.12)),
    Word("embankment", (0.8, 0.1, 0.9, 0.12), (0.1, 0.13, 0.2, 0.15)),
    Word("has", (0.22, 0.13, 0.28, 0.15)),
]


def test_a_cut_word_is_boxed_on_both_of_its_lines():
    assert line_boxes(CUT) == ((0.7, 0.1, 0.9, 0.12), (0.1, 0.13, 0.28, 0.15))
    assert line_boxes(CUT[1:2]) == (CUT[1].box, CUT[1].tail)
    assert line_boxes(CUT[:1]) == (CUT[0].box,)


@pytest.mark.parametrize(("text", "answer"), [("⁹", True), ("[¹²]", True), ("*", True), ("ᵃ", True)])
def test_marks_are_words_of_superscripts(text, answer):
    assert is_footnote_mark(text) is answer


@pytest.mark.parametrize("text", ["9", "m²", "10⁶", "", "(", "250", "a", "[1]"])
def test_other_words_are_no_marks(text):
    assert not is_footnote_mark(text)


def test_marks_are_no_terms_and_units_are():
    assert lexical_terms("employed 1,250 ³ people on 640 m²") == [
        "employed",
        "1250",
        "people",
        "on",
        "640",
        "m2",
    ]
    assert content_stems("1,250 ³ people") == content_stems("1,250 people")


def test_a_word_cut_by_a_soft_hyphen_is_one_term():
    assert lexical_terms("the embank\u00ad\nment has") == ["the", "embankment", "has"]
    assert lexical_terms("em\u00adbank\u00adment") == ["embankment"]


def test_a_quote_matches_with_and_without_the_mark():
    words = ["employed", "1,250", "³", "people"]
    assert find_quote("employed 1,250 people", words) == [range(4)]
    assert find_quote("employed 1,250 ³ people", words) == [range(4)]
    assert find_quote("1,2503 people", words) == []
