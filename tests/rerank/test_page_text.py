"""Laws of a page's text for a model without pictures: whole if it fits, else around the question's words."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from fake_model import SOURCE, candidates, drive, replies, text_of

from mmrag.blocks import Block, Cell, Table, Word
from mmrag.rerank.ecrr import TEXT_CHARS
from mmrag.rerank.page_text import GAP, PageText
from mmrag.rerank.pointwise import PointwiseMode
from mmrag.rerank.protocol import Settings
from mmrag.rerank.request import CUT_NOTE, text_input
from mmrag.types import Candidate, Page, Query, Record

LANDS = ("Norway", "Chile", "Japan", "Kenya", "Peru", "Iceland")


def page_of(blocks: tuple[Block, ...], *, context: str = "", words: tuple[Word, ...] = ()) -> Candidate:
    text = "\n".join(block.text for block in blocks) or " ".join(word.text for word in words)
    page = Page("p", "d", 0, "1", text, words, (60, 80), SOURCE, blocks=blocks or None)
    return Candidate(Record("p", None, text, page=page, context=context), 1.0, 1)


def text_page(text: str, *, context: str = "") -> Candidate:
    (candidate,) = candidates(text, images=False)
    return replace(candidate, record=replace(candidate.record, context=context))


def harvest() -> Candidate:
    """A page of two sections, the second with a table of six lands."""
    rows = [("Land", "Apples", "Pears"), *((land, str(10 + n), str(90 + n)) for n, land in enumerate(LANDS))]
    cells = tuple(
        Cell(row, column, text, is_header=row == 0)
        for row, texts in enumerate(rows)
        for column, text in enumerate(texts)
    )
    table = Table(len(rows), 3, cells, header_rows=1)
    return page_of(
        (
            Block("title", "Yearly review"),
            Block("heading", "Weather", level=2),
            Block("text", "It rained a lot. The wind was mild. Nobody was surprised by either of them."),
            Block("heading", "Harvest", level=2),
            Block("text", "All lands grow both kinds."),
            Block("table", "\n".join("\t".join(row) for row in rows), table=table),
        )
    )


def test_a_page_with_structure_by_hand() -> None:
    assert PageText(harvest()).whole.splitlines()[:7] == [
        "# Yearly review",
        "## Weather",
        "It rained a lot. The wind was mild. Nobody was surprised by either of them.",
        "## Harvest",
        "All lands grow both kinds.",
        "| Land | Apples | Pears |",
        "| Norway | 10 | 90 |",
    ]


def test_a_row_is_kept_with_its_header_row_and_its_headings_by_hand() -> None:
    assert PageText(harvest()).cut("How many pears grow in Kenya?", 95) == (
        "# Yearly review\n[…]\n## Harvest\n[…]\n| Land | Apples | Pears |\n[…]\n| Kenya | 13 | 93 |\n[…]"
    )


def test_a_page_that_fits_is_given_whole_and_a_plain_one_letter_for_letter() -> None:
    for text in ("one line", "a  b\n\n\tc", " x " * 40):
        plain = PageText(text_page(text))
        assert plain.cut("what?", len(text)) == plain.whole == text


def test_the_documents_name_stands_above_also_where_the_page_is_cut() -> None:
    text = "\n".join(f"Line {n} says nothing." for n in range(50))
    named = PageText(text_page(f"{text}\nThe whale sings.", context="Annual report\nof the sea"))
    assert named.whole.startswith("Annual report of the sea\nLine 0 says")
    cut = named.cut("Why does the whale sing?", 120)
    assert cut.startswith("Annual report of the sea\n[…]\n")
    assert "The whale sings." in cut


def test_what_the_question_names_is_kept_wherever_it_stands() -> None:
    """From the top, nothing behind the first hundred letters would ever be seen."""
    random_ = random.Random(3)
    for _ in range(40):
        lines = [f"Line {n} of the log says that all is well." for n in range(60)]
        place = random_.randrange(60)
        lines[place] = "The walrus sleeps until noon."
        cut = PageText(text_page("\n".join(lines))).cut("When does the walrus of the log wake?", 200)
        assert "walrus" in cut
        assert len(cut) <= 200
        assert f"Line {place - 1 if place else 1} of" in cut, "and what stands beside it"


def test_a_page_without_the_questions_words_is_cut_from_the_top() -> None:
    lines = [f"Line {n}." for n in range(60)]
    assert PageText(text_page("\n".join(lines))).cut("Zebra?", 40) == "\n".join(lines[:4]) + "\n[…]"


WORDS = ("whale", "sea", "net", "sales", "grew", "fell", "in", "the", "of", "Europe", "2021", "tax", "pears")


def random_page(random_: random.Random) -> Candidate:
    blocks = []
    for _ in range(random_.randrange(1, 12)):
        kind = random_.choice(["heading", "text", "text", "table", "list-item"])
        said = " ".join(random_.choices(WORDS, k=random_.randrange(1, 60)))
        if kind == "table":
            cells = tuple(Cell(row, column, random_.choice(WORDS)) for row in range(4) for column in range(3))
            blocks.append(Block("table", "", table=Table(4, 3, cells, header_rows=random_.randrange(4))))
        else:
            blocks.append(Block(kind, said, level=random_.randrange(1, 4) if kind == "heading" else 0))
    return page_of(tuple(blocks), context=random_.choice(["", "a name"]))


def test_a_cut_keeps_order_and_length_and_is_the_same_each_time() -> None:
    random_ = random.Random(5)
    for _ in range(150):
        candidate, question = random_page(random_), " ".join(random_.choices(WORDS, k=4))
        shown = PageText(candidate)
        limit = random_.randrange(1, len(shown.whole) + 20)
        cut = shown.cut(question, limit)
        assert len(cut) <= max(limit, len(GAP))
        assert cut == PageText(candidate).cut(question, limit)
        rest = shown.whole
        for part in filter(None, (part.strip() for part in cut.split(GAP))):
            assert part in rest, "each part stands in the page, behind the one before"
            rest = rest[rest.index(part) + len(part) :]


def test_nothing_of_a_whole_page_is_lost_and_words_without_a_block_stand_at_its_end() -> None:
    words = tuple(Word(word, (0, 0, 1, 1)) for word in ("Stray", "Kept", "words"))
    block = Block("text", "Kept", words=(1,))
    assert PageText(page_of((block,), words=words)).whole == "Kept\nStray words"
    random_ = random.Random(8)
    for _ in range(50):
        candidate = random_page(random_)
        said = " ".join(PageText(candidate).whole.split())
        for block in candidate.page.blocks:
            assert " ".join(block.text.split()) in said


def test_a_word_without_an_end_is_cut_somewhere() -> None:
    assert len(PageText(text_page("x" * 5000)).cut("x?", 1000)) <= 1000
    assert PageText(text_page("word " * 100)).cut("x?", 0) == GAP


def test_pointwise_sends_as_much_text_as_it_may_and_says_so() -> None:
    long_text = "\n".join([*(f"Line {n} says nothing at all." for n in range(99)), "The whale sings."])
    shown = candidates(long_text, "short", images=False)
    settings = Settings(images=False, text_chars=300)
    verdicts, asked, notes = drive(PointwiseMode(settings), Query("Does the whale sing?"), shown, replies())
    assert "The whale sings." in text_of(asked[0][-1])
    assert "Line 3 says" not in text_of(asked[0][-1])
    assert verdicts[0].note.endswith(f"of {len(long_text)} characters, around the question's words")
    assert verdicts[1].note == ""
    assert notes == [CUT_NOTE]


def test_a_page_too_long_for_the_model_keeps_what_the_question_names() -> None:
    shown = candidates("Nothing here.\n" * 900 + "The whale sings.", images=False)
    _, asked, _ = drive(
        PointwiseMode(Settings(images=False)), Query("Which whale?"), shown, replies(context=1000)
    )
    assert "The whale sings." in text_of(asked[0][-1])
    assert len(text_of(asked[0][-1])) // 4 <= 1000


def test_beside_a_picture_the_text_stays_as_the_file_has_it() -> None:
    candidate = harvest()
    assert candidate.page is not None
    page = replace(candidate.page, image=candidates("x")[0].page.image)
    with_picture = replace(candidate, record=replace(candidate.record, page=page))
    settings = Settings(text_chars=100)
    _, asked, _ = drive(PointwiseMode(settings), Query("Pears?"), [with_picture], replies())
    assert page.text.splitlines()[0] in text_of(asked[0][0])
    assert "# Yearly" not in text_of(asked[0][0])


@pytest.mark.parametrize("chars", [None, 150, TEXT_CHARS])
def test_the_length_that_is_asked_for_is_the_most(chars: int | None) -> None:
    shown = text_input(harvest(), Query("Pears in Kenya?"), Settings(text_chars=chars))
    whole = PageText(harvest()).whole
    assert len(shown.text) <= (chars or len(whole))
    assert (shown.text == whole) == (chars != 150) == (shown.cut_note == "")
