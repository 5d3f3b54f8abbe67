"""A sentence that a page's end cuts is quoted whole, as two citations."""

import random

import pymupdf
import pytest

from mmrag import DocumentQA
from mmrag.answer import ExtractiveAnswerer, ReadsNextPage, with_next_page
from mmrag.answer.continuation import ends_open, rest_of_sentence
from mmrag.answer.passages import passages_of
from mmrag.blocks import Block
from mmrag.types import Candidate, Page, Record, Source, Word

FIRST = ["The council met twice in the spring.", "The weir at Holt will not be lowered before the new"]
SECOND = ["fish ladder has been inspected in May 2031. A survey follows.", "Anglers were told by letter."]


def draw(path, pages):
    document = pymupdf.open()
    for number, lines in enumerate(pages):
        page = document.new_page()
        page.insert_text((72, 40), "River board report", fontsize=8)
        for at, line in enumerate(lines):
            page.insert_text((72, (760 if number == 0 else 90) + 14 * at), line, fontsize=11)
        page.insert_text((300, 820), str(number + 1), fontsize=8)
    document.save(path)


def page_of(text, number=0):
    """A page of one text block, a word a box."""
    words = tuple(Word(word, (0.1, 0.1, 0.2, 0.2)) for word in text.split())
    block = Block("text", text, ((0.1, 0.1, 0.9, 0.9),), 0, tuple(range(len(words))))
    source = Source("f" * 64, "pdf", "a.pdf")
    return Page(
        source.page_id(number),
        source.document_id,
        number,
        str(number + 1),
        text,
        words,
        (600, 800),
        source,
        blocks=(block,),
    )


def last_passage(page):
    candidate = Candidate(Record(page.id, None, page.text, {}, page), 1.0, 1)
    return list(passages_of(candidate, 0, page.blocks))[-1]


@pytest.fixture(scope="module")
def river(tmp_path_factory):
    path = tmp_path_factory.mktemp("river") / "river.pdf"
    draw(path, [FIRST, SECOND])
    return path


@pytest.mark.usefixtures("structure_models")
def test_the_rest_stands_on_the_next_page(river, tmp_path):
    with DocumentQA.open(tmp_path) as qa:
        qa.add(river)
        answer = qa.ask("When will the weir at Holt be lowered?", evidence=False)
        first, rest = answer.citations[:2]
        assert first.quote.endswith(
            "not be lowered before the new fish ladder has been inspected in May 2031."
        )
        assert first.page.number == 0 and first.boxes and "[2]" in first.note
        assert rest.quote == "fish ladder has been inspected in May 2031." and rest.page.number == 1
        assert f"{first.quote} [1][2]" in answer.text
        assert rest.record_id == rest.page.id and rest.boxes and rest.area


def test_a_page_that_others_may_not_see_is_not_quoted(river, tmp_path):
    """The next page of the same file has another value under the caller's own key."""
    with DocumentQA.open(tmp_path) as qa:
        qa.add(river, metadata={"team": "a"})
        (behind,) = qa.index.ids({"page": 1})
        qa.index.update_metadata([behind], {"team": "b"})
        answer = qa.ask("When will the weir at Holt be lowered?", filter={"team": "a"}, evidence=False)
        assert {citation.page.number for citation in answer.citations} == {0}


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("The gate is closed until the new", True),
        ("The gate is closed until noon.", False),
        ("The gate is closed (until noon.)", False),
        ("They are as follows:", False),
    ],
)
def test_a_sentence_ends_open_without_its_stop(text, is_open):
    page = page_of(text)
    assert ends_open(last_passage(page), page, page.blocks) == is_open


def test_what_ends_before_its_page_does_is_not_open():
    page = page_of(
        "The gate is closed for years\u2014it is old and it leaks. " + "Nobody minds. " * 30 + "It"
    )
    candidate = Candidate(Record(page.id, None, page.text, {}, page), 1.0, 1)
    first = next(iter(passages_of(candidate, 0, page.blocks)))
    assert first.words[-1] is not page.words[-1]
    assert not ends_open(first, page, page.blocks)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("bridge is open. It is new.", "bridge is open."),
        ("Bridges are open.", None),
        ("", None),
        ("word " * 100, None),
    ],
)
def test_only_small_letters_go_on(text, rest):
    page = page_of(text, number=1)
    passage = rest_of_sentence(page, page.blocks, 0)
    assert (passage and passage.text) == rest


@pytest.mark.parametrize("seed", range(20))
def test_a_sentence_cut_anywhere_comes_back_whole(seed):
    noise = random.Random(seed)
    words = [noise.choice(["stone", "river", "mill", "gate", "boat"]) for _ in range(noise.randint(6, 30))]
    words[0] = words[0].title()
    at = noise.randrange(1, len(words))
    first, second = page_of(" ".join(words[:at])), page_of(f"{' '.join(words[at:])}. Then it rained.", 1)
    assert ends_open(last_passage(first), first, first.blocks)
    rest = rest_of_sentence(second, second.blocks, 0)
    assert f"{first.text} {rest.text}" == f"{' '.join(words)}."


def test_a_function_of_the_callers_own_stays():
    own = ExtractiveAnswerer(next_page=lambda page: None)
    assert isinstance(own, ReadsNextPage)
    assert with_next_page(own, lambda page: page) is own
    assert with_next_page(ExtractiveAnswerer(), own.next_page).next_page is own.next_page
