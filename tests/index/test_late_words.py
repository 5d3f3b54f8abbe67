"""Words and blocks of a page are decoded when somebody asks; until then and after, it is the same page."""

import copy
import pickle
from dataclasses import replace

import pytest

from mmrag.blocks import Block
from mmrag.errors import IndexDamagedError
from mmrag.index import record_codec
from mmrag.index.chroma import ChromaIndex
from mmrag.types import Page, Source, Word

from .conftest import make_records

WORDS = (Word("net", (0.0, 0.0, 0.5, 0.5)), Word("sales", (0.5, 0.5, 1.0, 1.0)))


@pytest.fixture
def index(tmp_path, identity):
    index = ChromaIndex.open(tmp_path / "index", identity)
    source = Source("ab" * 32, "pdf", "a.pdf")
    page = Page("p", "ab" * 8, 0, "1", "net sales", WORDS, (10.0, 10.0), source)
    (record,) = make_records(1)
    index.add([replace(record, id="p", page=page, text="net sales")])
    yield index
    index.close()


def is_decoded(page, part="words"):
    try:
        object.__getattribute__(page, part)
    except AttributeError:
        return False
    return True


def test_words_are_decoded_once_and_when_asked_for(index, monkeypatch):
    calls = []
    decode = record_codec.decode_words
    monkeypatch.setattr(record_codec, "decode_words", lambda *a: calls.append(1) or decode(*a))
    (record,) = index.get(["p"])
    assert record.page.text == "net sales" and not is_decoded(record.page) and calls == []
    assert [word.text for word in record.page.words] == ["net", "sales"]
    assert record.page.words is record.page.words and calls == [1]


def test_a_page_without_its_words_yet_is_equal_to_one_with_them(index):
    def page():
        return index.get(["p"])[0].page

    decoded = page()
    assert isinstance(decoded.words, tuple)
    for other in (page(), pickle.loads(pickle.dumps(page())), copy.deepcopy(page()), replace(page())):
        assert other == decoded and hash(other) == hash(decoded)
    assert "words" not in repr(page())


def test_other_attributes_are_missed_as_ever(index):
    with pytest.raises(AttributeError, match="'Page' object has no attribute 'wrods'"):
        index.get(["p"])[0].page.wrods  # noqa: B018


def test_damaged_words_name_the_record(index, monkeypatch):
    (record,) = index.get(["p"])

    def fail(data, text):
        raise ValueError("no words")

    monkeypatch.setattr(record_codec, "decode_words", fail)
    with pytest.raises(IndexDamagedError, match="record 'p'"):
        record.page.words  # noqa: B018


def test_blocks_are_decoded_when_asked_for(index):
    index.put_blocks("p", [Block("text", "net sales", ((0.0, 0.0, 1.0, 1.0),), words=(0, 1))])
    (record,) = index.get(["p"])
    assert not is_decoded(record.page, "blocks") and not is_decoded(record.page)
    (block,) = record.page.blocks
    assert (block.text, block.words) == ("net sales", (0, 1)) and record.page.blocks[0] is block
    assert not is_decoded(record.page)
    record.page.decode()
    assert is_decoded(record.page)


def test_a_page_without_blocks_says_so_at_once(index):
    assert is_decoded(index.get(["p"])[0].page, "blocks") and index.get(["p"])[0].page.blocks is None
