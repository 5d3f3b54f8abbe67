"""Marks that are wrong, missing or a page's own: repaired where that is safe, else said; never an error."""

import json
import re

import pytest

from mmrag.answer.served.checked import MOST_QUOTES, NO_ANSWER, AnswerReader, CheckedAnswer
from mmrag.answer.served.shown import ShownPage
from mmrag.errors import ServerAnswerError
from mmrag.types import Candidate, Record

TRAMS = "The cafeteria closes at three. Tram line seven stops at the gate."
PAPER = "The Lantern model beats the ColBERT baseline [1] by four points on the harbour benchmark [12]."
LEAVE = "Full-time staff have 27 days of paid leave in a calendar year."


def read(content: str, *texts: str, finish: str | None = "stop", size: int = 5) -> CheckedAnswer:
    """What becomes of a reply that comes in pieces; what was shown meanwhile is the start of it."""
    candidates = [Candidate(Record(f"r{n}", None, text), 1.0, n) for n, text in enumerate(texts, start=1)]
    reader = AnswerReader([ShownPage(candidate, None, cells=True) for candidate in candidates], 99)
    shown = "".join(reader.feed(content[i : i + size]) for i in range(0, len(content), size))
    answer = reader.finish(finish)
    assert answer.text.startswith(shown) or not shown
    return answer


def said(answer: str, *citations: tuple, answerable: bool = True) -> str:
    listed = [{"page": page, "quote": quote} for page, quote in citations]
    return json.dumps({"answerable": answerable, "answer": answer, "citations": listed})


def cited(answer: CheckedAnswer) -> list[tuple[int, str, str]]:
    return [(c.number, c.record_id, c.quote) for c in answer.citations]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_bracket_of_the_page_is_words_and_the_models_mark_counts(size):
    content = said("It beats the ColBERT baseline [1] by four points [2].", (2, "by four points"))
    answer = read(content, TRAMS, PAPER, size=size)
    assert answer.text == "It beats the ColBERT baseline [ 1] by four points [1]."
    assert cited(answer) == [(1, "r2", "by four points")]
    assert answer.note == ""


def test_a_page_that_was_not_shown_is_said_and_the_answer_comes():
    answer = read(
        said("27 days [1], as all know [7]; list[0] [1, 3].", (1, "27 days"), (9, "x")), LEAVE, TRAMS
    )
    assert answer.text == "27 days [1], as all know [ 7]; list[ 0] [1]."
    assert cited(answer) == [(1, "r1", "27 days")]
    for mark in ("[ 7]", "[ 0]", "[1, 3]", "[ 9]"):
        assert f"the model cited {mark.replace('[1', '[ 1')}; it was shown 1 to 2" in answer.note


def test_a_number_that_the_page_prints_is_nobodys_fault():
    answer = read(said("On the harbour benchmark [12] it wins [2].", (2, "harbour benchmark")), TRAMS, PAPER)
    assert (answer.text, answer.note) == ("On the harbour benchmark [ 12] it wins [1].", "")


def test_marks_that_are_missing_come_from_the_list():
    answer = read(said("27 days.", (2, "27 days of paid leave")), TRAMS, LEAVE)
    assert (answer.text, answer.note) == (
        "27 days. [1]",
        "the model set no mark; the marks at the end are ours",
    )
    assert cited(answer) == [(1, "r2", "27 days of paid leave")]


def test_the_only_page_shown_is_meant():
    answer = read(said("27 days."), LEAVE)
    assert (answer.text, cited(answer)) == ("27 days. [1]", [(1, "r1", "")])


def test_an_answer_in_the_words_of_one_page_is_from_there():
    answer = read(said("Tram line seven stops at the gate."), LEAVE, TRAMS)
    assert cited(answer) == [(1, "r2", "Tram line seven stops at the gate.")]


@pytest.mark.parametrize("texts", [(LEAVE, TRAMS), (LEAVE, LEAVE)])
def test_an_answer_that_names_no_page_has_no_citation_and_says_so(texts):
    answer = read(said("27 days."), *texts)
    assert (answer.text, answer.citations, answer.abstained) == ("27 days.", (), False)
    assert answer.note == "the model named no page: nothing shown proves this answer"


def test_a_quote_of_another_page_is_cited_from_there():
    answer = read(said("27 days [1].", (1, "staff have 27 days of paid leave")), TRAMS, LEAVE)
    (citation,) = answer.citations
    assert (citation.record_id, citation.quote) == ("r2", "staff have 27 days of paid leave")
    assert citation.note == "the model named another page for these words"
    assert answer.text == "27 days [1]."


@pytest.mark.parametrize(
    ("quote", "texts"), [("27 days", (TRAMS, LEAVE)), ("27 days of paid leave", (TRAMS, LEAVE, LEAVE))]
)
def test_a_quote_that_may_stand_there_by_chance_moves_nothing(quote, texts):
    (citation,) = read(said("27 days [1].", (1, quote)), *texts).citations
    assert (citation.record_id, citation.kind, citation.quote) == ("r1", "page", "")
    assert "not found" in citation.note


def test_an_answer_of_marks_alone_is_an_abstention():
    """So a model of 1.5 billion parameters answered a question about a table."""
    answer = read(said("[1][1]", (1, "27 days")), LEAVE)
    assert (answer.text, answer.abstained) == (f"[1][1] {NO_ANSWER}", True)
    assert "wrote none" in answer.note


def test_an_answer_without_words_is_an_abstention():
    answer = read(said("  ", (1, "27 days")), LEAVE)
    assert (answer.text, answer.abstained) == (NO_ANSWER, True)
    assert answer.note == "the model said that it had an answer and wrote none"


WHOLE = said("27 days [1].", (1, "27 days of paid leave"), (2, "Tram line seven"))


@pytest.mark.parametrize(
    ("content", "quotes"),
    [
        (WHOLE + "\n\nI hope that helps!", 2),
        ("Here is the answer:\n```json\n" + WHOLE + "\n```\n", 2),
        ("```json\n" + WHOLE, 2),
        (WHOLE[:-2], 2),
        (WHOLE[: WHOLE.index('"Tram')], 1),
        (WHOLE[: WHOLE.index('"citations"')], 0),
        (WHOLE.replace('"page": 1', '"page": "1"').replace('"page": 2', '"page": "[2]"'), 2),
        ('{"answer": "27 days [1]."}', 0),
        ('{"answerable": "yes", "answer": "27 days [1].", "citations": {}}', 0),
        ("27 days [1].", 0),
    ],
)
def test_a_reply_that_is_not_quite_json_still_has_its_answer(content, quotes):
    answer = read(content, LEAVE, TRAMS)
    assert (answer.text, answer.abstained) == ("27 days [1].", False)
    assert [c.record_id for c in answer.citations] == ["r1", "r2"][: max(1, quotes)]
    assert sum(bool(c.quote) for c in answer.citations) == quotes


def test_citations_that_were_cut_off_are_said():
    answer = read(WHOLE[: WHOLE.index('"Tram')], LEAVE, TRAMS, finish="length")
    assert answer.text == "27 days [1]."
    assert "citations may be missing" in answer.note


@pytest.mark.parametrize("cut", range(0, len(WHOLE), 9))
def test_wherever_a_reply_breaks_off_it_is_an_answer_or_a_typed_error(cut):
    from mmrag.errors import ServerAnswerError

    try:
        answer = read(WHOLE[:cut], LEAVE, TRAMS, finish="length")
    except ServerAnswerError as error:
        assert re.search(r"finish_reason 'length'; max_tokens is 99\)\.", str(error))
    else:
        assert answer.text == "27 days [1]."


def test_of_quotes_without_end_the_first_are_looked_for_and_that_is_said():
    answer = read(said("27 days [1].", *[(1, "27 days")] * (MOST_QUOTES + 5)), LEAVE, size=10_000)
    assert f"the model listed {MOST_QUOTES + 5} quotes; {MOST_QUOTES} were looked for" in answer.note
    assert cited(answer) == [(1, "r1", "27 days")]
    answer = read(said("27 days [1].", *[(1, "27 days")] * MOST_QUOTES), LEAVE, size=10_000)
    assert answer.note == ""


@pytest.mark.parametrize("escape", ["\\q", "\\u12", "\\"])
def test_an_escape_that_stands_for_nothing_is_one_typed_error(escape):
    with pytest.raises(ServerAnswerError):
        read('{"answer": "27 days%s [1].", "citations": [' % escape, LEAVE)  # noqa: UP031  JSON has braces
