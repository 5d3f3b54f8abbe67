"""What is written comes back: boxes to 1/65535 of the page, text to the letter."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrag.index import codec
from mmrag.index.base import DocumentEntry
from mmrag.types import HiddenText, Word

from .conftest import make_page

STEP = 1 / 65535

places = st.floats(0, 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
boxes = st.tuples(places, places, places, places)
words = st.lists(
    st.builds(Word, texts, boxes, st.none() | boxes, st.none() | st.floats(0, 1)), max_size=20
).map(tuple)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(words)
def test_words_come_back(given_words):
    back = codec.decode_words(codec.encode_words(given_words))
    assert [word.text for word in back] == [word.text for word in given_words]
    for got, was in zip(back, given_words, strict=True):
        assert got.box == pytest.approx(was.box, abs=STEP / 2 + 1e-12)
        assert got.tail == (was.tail and pytest.approx(was.tail, abs=STEP / 2 + 1e-12))
        assert got.confidence == pytest.approx(was.confidence, abs=1 / 500)


def test_corners_of_the_page_come_back_exactly():
    (word,) = codec.decode_words(codec.encode_words((Word("w", (0.0, 0.0, 1.0, 1.0)),)))
    assert word.box == (0.0, 0.0, 1.0, 1.0)


def test_box_beyond_the_page_is_cut_to_it():
    (word,) = codec.decode_words(codec.encode_words((Word("w", (-0.01, 0.5, 1.2, 0.6)),)))
    assert word.box == pytest.approx((0.0, 0.5, 1.0, 0.6), abs=STEP)


def test_words_without_confidence_and_tail_are_written_as_they_were_before_there_was_either():
    plain = (Word("a", (0.0, 0.0, 1.0, 1.0)), Word("b", (0.0, 1.0, 1.0, 1.0)))
    raw = zlib.decompress(codec.encode_words(plain))
    assert len(raw) == 4 * 3 + 2 + 2 * 8
    assert codec.decode_words(codec.encode_words(plain)) == plain


def test_words_are_small():
    """A page of 400 words in lines of ten takes less than a tenth of its JSON."""
    rng = np.random.default_rng(0)
    vocabulary = ["".join(rng.choice(list("abcdefghij"), 6)) for _ in range(200)]
    page = tuple(
        Word(
            vocabulary[rng.integers(200)],
            (0.1 + 0.08 * (i % 10), 0.02 * (i // 10), 0.17 + 0.08 * (i % 10), 0.5),
        )
        for i in range(400)
    )
    assert len(codec.encode_words(page)) < 400 * 6


def test_page_comes_back():
    page = replace(
        make_page(4, text="a b"),
        confidence=0.75,
        hidden=(HiddenText("pay me", (0.0, 0.25, 0.5, 1.0), "covered"),),
        section=("Accounts", "Income"),
    )
    plain = codec.encode_page(page, page.id, "a b")
    assert "a b" not in plain and page.id not in plain, "what the record says is not said twice"
    assert codec.decode_page(plain, page.words, page.id, "a b") == page
    other = codec.encode_page(page, "mine", "other text")
    assert codec.decode_page(other, page.words, "mine", "other text") == page


def test_page_from_bytes_and_odd_names_come_back():
    page = make_page(0, path=None, name="re\udc80port ü.pdf")  # a file name that is no UTF-8
    page = replace(page, label="iv", notes=(), text_source="ocr")
    assert (
        codec.decode_page(codec.encode_page(page, page.id, page.text), page.words, page.id, page.text) == page
    )


def test_metadata_and_entries_come_back():
    metadata = {"a": (1, "x", True), "b": 0.1, "c": False, "d": (), "e": 2**62}
    back = codec.decode_metadata(codec.encode_metadata(metadata))
    assert back == metadata and [type(v) for v in back["a"]] == [int, str, bool]
    entry = DocumentEntry("ab", "ab" * 32, "pdf", ("/x", "/y"), 3, "s", True, ((1, "broken"),))
    assert codec.decode_entry(codec.encode_entry(entry)) == entry
