"""What is written comes back: boxes to 1/65535 of the page, text to the letter."""

import zlib
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrag.index import codec
from mmrag.index.base import DocumentEntry
from mmrag.index.word_codec import decode_words, encode_words
from mmrag.types import HiddenText, Word

from .conftest import make_page

STEP = 1 / 65535

places = st.floats(0, 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
boxes = st.tuples(places, places, places, places)
words = st.lists(
    st.builds(Word, texts, boxes, st.none() | boxes, st.none() | st.floats(0, 1)), max_size=20
).map(tuple)


def old_words(words):
    """Words as earlier code wrote them: all texts, then plain edges, confidences and tails."""

    def steps(boxes):
        return np.rint(np.array(boxes).reshape(-1, 4).clip(0, 1) * 65535).astype("<u2").T.tobytes()

    texts = [word.text.encode() for word in words]
    raw = np.array([len(words), *map(len, texts)], "<u4").tobytes() + b"".join(texts)
    raw += steps([word.box for word in words])
    tails = [(n, word.tail) for n, word in enumerate(words) if word.tail is not None]
    if tails or any(word.confidence is not None for word in words):
        raw += bytes(255 if w.confidence is None else round(w.confidence * 254) for w in words)
        raw += np.array([n for n, _ in tails], "<u4").tobytes() + steps([tail for _, tail in tails])
    return zlib.compress(raw)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(words, st.data())
def test_words_come_back(given_words, data):
    """Whatever the text is: theirs with other spaces, one with some of them missing, or another one."""
    present = [word.text for word in given_words if data.draw(st.booleans())]
    separator = data.draw(st.sampled_from(["", " ", "\n", "\u00a0", " \t "]))
    whole = separator.join(word.text for word in given_words)
    text = data.draw(st.sampled_from([whole, separator.join(present)]) | texts)
    versions = [encode_words(given_words, text)]
    if given_words:
        versions.append(old_words(given_words))
    for version in versions:
        back = decode_words(version, text)
        assert [word.text for word in back] == [word.text for word in given_words]
        for got, was in zip(back, given_words, strict=True):
            assert got.box == pytest.approx(was.box, abs=STEP / 2 + 1e-12)
            assert got.tail == (was.tail and pytest.approx(was.tail, abs=STEP / 2 + 1e-12))
            assert got.confidence == pytest.approx(was.confidence, abs=1 / 500)
    assert decode_words(versions[0], text) == decode_words(versions[-1], text)


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["a", "b", "c"], "a b\nc"),
        (["a", "", "b"], "a b"),
        (["b", "a", "b"], "a b"),  # not in the order of the text
        (["1", "2"], "12"),
        (["two words", "x"], "two words x"),
        (["x" * 300, "y" * 300], "x" * 300 + " " + "y" * 300 + "z"),
        (["here", "there"], "here" + " " * 400 + "there"),
        (["漢字", "é", "🙂"], "漢字 é 🙂"),
        (["a"], ""),
    ],
)
def test_every_word_comes_back_wherever_it_stands(texts, text):
    words = tuple(Word(t, (0.0, 0.0, 1.0, 1.0)) for t in texts)
    assert decode_words(encode_words(words, text), text) == words


def test_corners_of_the_page_come_back_exactly():
    (word,) = decode_words(encode_words((Word("w", (0.0, 0.0, 1.0, 1.0)),), "w"), "w")
    assert word.box == (0.0, 0.0, 1.0, 1.0)


def test_box_beyond_the_page_is_cut_to_it():
    (word,) = decode_words(encode_words((Word("w", (-0.01, 0.5, 1.2, 0.6)),), ""), "")
    assert word.box == pytest.approx((0.0, 0.5, 1.0, 0.6), abs=STEP)


def test_words_are_small():
    """A page of 400 words in lines of ten, which stand in its text, takes 2 bytes a word."""
    rng = np.random.default_rng(0)
    vocabulary = ["".join(rng.choice(list("abcdefghij"), 6)) for _ in range(200)]
    page = tuple(
        Word(
            vocabulary[rng.integers(200)],
            (0.1 + 0.08 * (i % 10), 0.02 * (i // 10), 0.17 + 0.08 * (i % 10), 0.02 * (i // 10) + 0.01),
        )
        for i in range(400)
    )
    text = " ".join(word.text for word in page)
    assert len(encode_words(page, text)) < 400 * 2
    assert len(encode_words(page, text)) < len(encode_words(page, "")) / 2


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_are_no_words_are_an_error_or_words(seed):
    """Damage is told by a checksum; here nothing but an error of these kinds may come of it."""
    rng = np.random.default_rng(seed)
    page = tuple(Word(f"w{n}", (0.1, 0.2, 0.3, 0.4), (0.0, 0.0, 0.5, 0.5), 0.5) for n in range(30))
    text = " ".join(word.text for word in page)
    raw = bytearray(zlib.decompress(encode_words(page, text)[1:]))
    for at in rng.integers(0, len(raw), 5):
        raw[at] = rng.integers(256)
    with suppress(ValueError, LookupError):
        back = decode_words(b"\x02" + zlib.compress(bytes(raw)), text)
        assert all(isinstance(word.text, str) for word in back)


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
