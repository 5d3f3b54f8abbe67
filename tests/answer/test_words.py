"""Stems under which words are compared, and where sentences end."""

from __future__ import annotations

import random

import pytest

from mmrag.answer.words import content_stems, sentence_spans, stem


def sentences(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[at] for at in span) for span in sentence_spans(words)]


@pytest.mark.parametrize(
    "parts",
    [
        ["The pump failed.", "It was mended by J. Miller on 3 May.", "No. 5 was not."],
        ["Why?", '"Rust." he said.', "See Fig. 3.", "Costs rose by 3.5 % (e.g. for salt)."],
        ["1. Open the lid.", "2. Close it.", "The U.S. Army left at 5 p.m.", "The end"],
        ["这是第一句。", "这是第二句。"],
        ["Er kam um 5 Uhr.", "Das kostet z.B. Geld!", "Wirklich …", "Ja."],
        [],
    ],
)
def test_sentences_by_hand(parts: list[str]) -> None:
    assert sentences(" ".join(parts)) == parts


def test_every_word_is_in_one_sentence_and_sentences_are_found_again() -> None:
    chance = random.Random(17)
    words = ["pump", "North", "3.5", "(old)", "water,", "12", "e.g.", "Mr.", "No. 7"]
    for _ in range(300):
        parts = [
            f"The {' '.join(chance.choices(words, k=chance.randrange(1, 8)))} pier{chance.choice('.!?…')}"
            for _ in range(chance.randrange(1, 5))
        ]
        assert sentences(" ".join(parts)) == parts
        noise = [chance.choice([*words, ".", "?!", "a.", "\u2019"]) for _ in range(chance.randrange(20))]
        spans = sentence_spans(noise)
        assert [at for span in spans for at in span] == list(range(len(noise)))
        assert all(spans)


FORMS = [
    ("sales", "sale"),
    ("cities", "city"),
    ("increased", "increases"),
    ("grew", "growing"),
    ("stopped", "stop"),
    ("shipped", "shipping"),
    ("generated", "generation"),
    ("Europe's", "Europe"),
    ("1,234", "1234"),
    ("café", "cafe"),
    ("yearly", "years"),
    ("Oct", "October"),
    ("SEPT", "September"),
    ("Thurs", "Thursday"),
]


@pytest.mark.parametrize(("one", "other"), FORMS)
def test_forms_of_one_word_have_one_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    ("one", "other"), [("sales", "sailing"), ("2023", "2024"), ("us", "use"), ("part", "party")]
)
def test_different_words_keep_different_stems(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_words_without_meaning_and_footnote_marks_are_left_out_and_repeats_kept() -> None:
    assert content_stems("the sales of the US were the sales") == ["sal", "us", "sal"]
    assert content_stems("1,250 \u00b3 people") == ["1250", "person"]
    assert content_stems("of the and us") == []
