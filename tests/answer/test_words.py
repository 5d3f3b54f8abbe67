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


def test_words_that_mean_the_same_have_one_stem() -> None:
    for forms in (["ship", "ships", "Shipped", "shipping"], ["city", "cities"], ["sold", "sells", "selling"]):
        assert len({stem(form) for form in forms}) == 1, forms
    assert stem("1,250") == stem("1250")
    assert content_stems("What is the harbour's size in 1,250 ³ m\u00b2?") == content_stems(
        "harbour size 1250 m²"
    )
    assert content_stems("of the and") == []
    assert content_stems("US") == ["us"]
    assert content_stems("us") == []
