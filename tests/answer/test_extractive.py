"""Laws of answers that quote: all that is said stands on the pages, or is one of a few fixed sentences."""

import asyncio
import copy
import pickle
import re
import threading
from dataclasses import replace

import pytest
from PIL import Image

from mmrag.answer import Answerer, ExtractiveAnswerer, ReadsBlocks, with_page_blocks
from mmrag.answer.extractive import NOT_ANSWERED, NOT_COMPUTED
from mmrag.answer.passages import LONGEST, LONGEST_ROW
from mmrag.blocks import Block
from mmrag.embedders.cross_encoder import CrossEncoder
from mmrag.errors import DocumentError, MissingExtraError, SourceChangedError
from mmrag.types import QUOTES_HEADING, Query, Ranking

ANSWERS = [
    ("letter", "Who keeps the list of the wheels that were replaced?", "Novotny keeps the list"),
    ("second_letter", "How many pads does the depot store?", "two hundred pads"),
    ("financial", "What were net sales in Europe in 2024?", "Europe, 2024: 24.1"),
    ("two_headers", "What was the operating profit of sensors in 2024?", "Operating profit 2024: 31"),
    ("two_columns", "Who suggested the heated lens?", "Prof. A. Keller suggested the heated lens"),
    ("bars", "When will the dam at Morvan return to service?", "in June 2025"),
    ("form", "What is the policy number?", "12-345"),
    ("slide", "How many service engineers will be trained?", "Train 40 service engineers"),
]
QUESTIONS = [question for _, question, _ in ANSWERS] + [
    "Which region had the highest net sales?",
    "What is the average revenue of all segments?",
    "What is the capital of Mongolia?",
    "Does Petra Holm like 1999?",
    "\u05de\u05d4?",
]


@pytest.fixture(scope="module")
def model():
    return CrossEncoder(threads=1)


@pytest.fixture(scope="module")
def quoting(model):
    """Answers whatever is asked."""
    return ExtractiveAnswerer(model, threshold=0)


@pytest.fixture(scope="module")
def ask(structured, ranked, quoting):
    """Ask with the named page first and the others behind it; the answer is kept."""
    kept = {}

    def asked(question, first="letter"):
        if (question, first) not in kept:
            order = [first, *(name for name in structured if name != first)][:5]
            ranking = ranked(question, *(structured[name] for name in order))
            kept[question, first] = quoting.answer(Query(question), ranking)
        return kept[question, first]

    return asked


def letters(text):
    return re.findall(r"[^\s,:;]+", text)


def check_laws(answer):
    """What holds for every answer that quotes."""
    lines = [f"{citation.quote} [{citation.number}]" for citation in answer.citations]
    assert answer.text in ("\n".join(lines), "\n".join([*lines, NOT_COMPUTED]))
    assert 1 <= len(answer.citations) <= 3 and answer.quoted and not answer.abstained
    assert [citation.number for citation in answer.citations] == list(range(1, len(lines) + 1))
    assert 0 <= answer.confidence <= 1
    records = {candidate.id: candidate.record for candidate in answer.ranking}
    for citation in answer.citations:
        record = records[citation.record_id]
        assert citation.page is record.page
        assert 0 < len(citation.quote) <= (LONGEST_ROW if citation.kind == "table" else LONGEST)
        assert set(letters(citation.quote)) <= set(letters(record.text))
        for x0, y0, x1, y1 in (*citation.boxes, *filter(None, [citation.area])):
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
        if citation.page is not None and citation.page.blocks:
            assert citation.kind not in ("header", "footer", "watermark")


def running_words(page):
    blocks = [block for block in page.blocks if block.is_running]
    kept = {at for block in page.blocks if not block.is_running for at in block.words}
    only = {page.words[at].text for block in blocks for at in block.words}
    return only - {page.words[at].text for at in kept}


@pytest.mark.usefixtures("structure_models")
@pytest.mark.parametrize(("name", "question", "said"), ANSWERS, ids=[question for _, question, _ in ANSWERS])
def test_the_first_quote_is_what_the_page_says(ask, structured, name, question, said):
    answer = ask(question, name)
    assert said in answer.citations[0].quote
    assert answer.citations[0].page is structured[name]


@pytest.mark.parametrize("question", QUESTIONS)
def test_nothing_is_said_that_no_page_says(ask, question):
    answer = ask(question)
    check_laws(answer)
    for citation in answer.citations:
        assert not running_words(citation.page) & set(letters(citation.quote))


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_quote_lies_where_its_boxes_are(ask, question):
    for citation in ask(question).citations:
        centres = [((a + c) / 2, (b + d) / 2) for word in citation.page.words for a, b, c, d in [word.box]]
        inside = [
            word.text
            for word, (x, y) in zip(citation.page.words, centres, strict=True)
            if any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in citation.boxes)
        ]
        assert set(letters(" ".join(inside))) <= set(letters(citation.page.text))
        if citation.boxes and citation.kind != "table":  # a row's columns are named, and not boxed
            assert set(letters(citation.quote)) <= set(letters(" ".join(inside)))


@pytest.mark.usefixtures("structure_models")
def test_a_comparison_gets_the_table_and_is_not_made(ask):
    answer = ask("Which region had the highest net sales?", "financial")
    assert answer.citations[0].kind == "table"
    assert all(region in answer.citations[0].quote for region in ("Europe", "Asia", "North America"))
    assert answer.text.endswith(NOT_COMPUTED) and "--answerer-url" in NOT_COMPUTED
    assert not ask("What is the policy number?", "form").text.endswith(NOT_COMPUTED)


@pytest.mark.parametrize("question", QUESTIONS[:2])
def test_the_threshold_is_all_that_makes_it_silent(ask, model, question):
    sure = ask(question).confidence
    ranking = ask(question).ranking
    for threshold in (max(0.0, sure - 0.01), min(1.0, sure + 0.01)):
        answer = ExtractiveAnswerer(model, threshold=threshold).answer(Query(question), ranking)
        assert answer.abstained == (sure < threshold)
        assert answer.confidence == pytest.approx(sure, abs=1e-3)


@pytest.mark.parametrize("question", ["*", "\0", "???", "'", "and the of", "Is it?", "..."])
def test_what_asks_for_nothing_is_not_answered(structured, ranked, question):
    answer = ExtractiveAnswerer(threshold=0).answer(Query(question), ranked(question, structured["form"]))
    assert answer.abstained and not answer.quoted and answer.confidence == 0
    assert "no word that says what to look for" in answer.text


@pytest.mark.parametrize("question", ["When?", "How much?", "Who?"])
def test_a_kind_of_thing_is_enough_to_ask_for(structured, ranked, question):
    quoting = ExtractiveAnswerer(threshold=0)
    assert quoting.answer(Query(question), ranked(question, structured["form"])).quoted


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_abstention_is_true(structured, ranked, question):
    silent = ExtractiveAnswerer(threshold=1)
    pages = [structured[name] for name in ("letter", "form", "financial")]
    answer = silent.answer(Query(question), ranked(question, *pages))
    assert answer.abstained and answer.citations == () and not answer.quoted
    assert answer.text.startswith(NOT_ANSWERED)
    text = " ".join(" ".join(page.text.casefold().split()) for page in pages)
    for name in re.findall("“(.*?)”", answer.text):
        assert name in question and name.casefold() not in text
    (nearest,) = re.findall(r"The nearest is drawn.pdf, page (\d+)", answer.text)
    assert int(nearest) - 1 in [page.number for page in pages]


def test_an_abstention_names_what_is_missing_and_not_too_much(structured, ranked):
    silent = ExtractiveAnswerer(threshold=1)
    ranking = ranked("x", structured["letter"], structured["form"])
    text = silent.answer(Query("Does Petra Holm know Mr Novotny?"), ranking).text
    assert "None of the 2 pages read has “Petra Holm” in its text." in text and "“Mr Novotny”" not in text
    long = silent.answer(Query(" ".join(f"is Depot {n}x, there;" for n in range(2000))), ranking)
    assert len(long.text) < 600
    one = silent.answer(Query("Does Petra know?"), ranked("x", structured["letter"])).text
    assert "The page read has no “Petra” in its text." in one


def test_a_question_without_words_and_a_ranking_without_pages_are_answered_so(quoting, ranked):
    picture = Query(image=Image.new("RGB", (8, 8)))
    answer = quoting.answer(picture, Ranking(picture, ranked("x", "A text.").candidates))
    assert answer.abstained and "question in words" in answer.text
    query = Query("Who?")
    empty = quoting.answer(query, Ranking(query))
    assert empty.abstained and "No page was found" in empty.text and empty.confidence == 0
    blank = quoting.answer(query, ranked("Who?", "", " \n "))
    assert blank.abstained and "have no text" in blank.text


def test_texts_without_pages_are_quoted_without_boxes(quoting, ranked):
    long = " ".join(f"Sentence number {n} of the note speaks of nothing." for n in range(400))
    ranking = ranked("q", "The pump was mended in May by Mr Hall.\nIt cost $ 40.", long, "x" * 3000)
    answer = quoting.answer(Query("Who mended the pump?"), ranking)
    check_laws(answer)
    first = answer.citations[0]
    assert "Mr Hall" in first.quote
    assert (first.page, first.boxes, first.area, first.record_id) == (None, (), None, "note-1")
    late = quoting.answer(Query("What does sentence number 399 speak of?"), ranking)
    assert "399" in late.citations[0].quote


@pytest.mark.usefixtures("structure_models")
def test_structure_is_asked_for_where_a_page_has_none(model, structured, ranked):
    page = structured["financial"]
    seen = []

    def blocks(asked):
        seen.append(asked.id)
        return page.blocks

    bare = replace(page, blocks=None)
    answerer = with_page_blocks(ExtractiveAnswerer(model, threshold=0), blocks)
    ranking = ranked("q", bare, structured["letter"])
    answer = answerer.answer(Query("What were net sales in Europe in 2024?"), ranking)
    assert seen == [bare.id]  # the other has its own
    assert answer.citations[0].quote == "Europe, 2024: 24.1" and answer.citations[0].area is not None


@pytest.mark.parametrize(
    "error",
    [
        DocumentError("it is gone"),
        SourceChangedError("it is gone"),
        MissingExtraError("structure", "it is gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_pages_whose_structure_cannot_be_read_are_quoted_by_their_lines(model, structured, ranked, error):
    def blocks(_):
        raise error

    bare = [replace(structured[name], blocks=None) for name in ("letter", "second_letter")]
    answerer = ExtractiveAnswerer(model, threshold=0, blocks=blocks)
    answer = answerer.answer(Query("Who keeps the list of the wheels?"), ranked("q", *bare))
    check_laws(answer)
    assert "keeps the list" in answer.citations[0].quote and answer.citations[0].boxes
    assert answer.note.count(str(error)) == 1 and "drawn.pdf" in answer.note


def test_a_page_with_nothing_on_it_costs_no_other(quoting, structured, ranked):
    bare = replace(structured["form"], blocks=(Block("text", ""), Block("picture", "")), words=(), text="")
    answer = quoting.answer(
        Query("How many pads are stored?"), ranked("q", bare, structured["second_letter"])
    )
    assert "two hundred" in answer.citations[0].quote


@pytest.mark.parametrize("seed", range(12))
def test_the_laws_hold_on_any_page(drawn_page, ranked, seed):
    pages = [replace(drawn_page(seed + 100 * n), id=f"{n}#p0") for n in range(3)]
    question = "Which falcon of 2019 is the largest in the harbor?" if seed % 2 else "How many falcon ember?"
    check_laws(ExtractiveAnswerer(threshold=0).answer(Query(question), ranked(question, *pages)))


def test_it_reads_as_many_candidates_and_gives_as_many_quotes_as_it_is_told(structured, ranked):
    ranking = ranked("q", *structured.values())
    answer = ExtractiveAnswerer(threshold=0, candidates=1, quotes=1).answer(Query("policy number"), ranking)
    assert [citation.record_id for citation in answer.citations] == [ranking[0].id]


def test_wrong_settings_are_refused():
    for name in ("candidates", "quotes"):
        with pytest.raises(ValueError, match=name):
            ExtractiveAnswerer(**{name: 0})
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"threshold must be within 0\.\.1"):
            ExtractiveAnswerer(threshold=threshold)


def test_it_is_an_answerer_and_copies_and_pickles(quoting, ask):
    assert isinstance(quoting, Answerer) and isinstance(quoting, ReadsBlocks)
    question = "Who keeps the list of the wheels that were replaced?"
    answer = ask(question)
    for twin in (pickle.loads(pickle.dumps(quoting)), copy.deepcopy(quoting)):
        assert (twin.threshold, twin.candidates, twin.quotes) == (0, 5, 3)
    assert twin.answer(Query(question), answer.ranking).text == answer.text
    assert quoting.with_blocks(lambda page: ()).blocks is not None and quoting.blocks is None


def test_threads_and_the_event_loop_give_the_same(quoting, ask):
    question = "How many pads does the depot store?"
    answer, texts = ask(question), []

    def work():
        texts.append(quoting.answer(Query(question), answer.ranking).text)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    texts.append(asyncio.run(quoting.aanswer(Query(question), answer.ranking)).text)
    assert texts == [answer.text] * 4


def test_a_notebook_shows_that_it_quotes_and_how_sure_it_is(ask, structured, ranked):
    answer = ask("What is the policy number?", "form")
    shown = answer._repr_html_()
    assert QUOTES_HEADING in shown and f"confidence {answer.confidence:.2f}" in shown
    assert QUOTES_HEADING not in answer.text
    silent = ExtractiveAnswerer(threshold=1).answer(Query("Who?"), ranked("Who?", structured["form"]))
    assert QUOTES_HEADING not in silent._repr_html_()
