"""Lines of answers: written as they come, read back as they were, whole after an interruption."""

import json

import numpy as np
import pytest

from mmrag.blocks import Word
from mmrag.evaluation.answer_lines import (
    AnswerFile,
    AnswerLine,
    CitedQuote,
    describe,
    line_data,
    line_of,
    random_span,
    read_answers,
)
from mmrag.types import Answer, Citation, Page, Query, Ranking, Source, Usage

SETTINGS = {"pack": "tiny", "k": 5, "budget": [16, 64]}
BOX, AREA = (0.1, 0.2, 0.5, 0.25), (0.1, 0.1, 0.9, 0.4)
FINE = (0.1 + 1e-7, 0.2, 0.5, 0.25)
QUOTE = CitedQuote(
    "12 lakes", "a.pdf", 3, ((0.1, 0.2, 0.5, 0.25),), (0.1, 0.1, 0.9, 0.4), "table", "of Alder"
)


def line(name="q1", scope="pack", **changes):
    fields = {"text": "12 lakes [1]", "abstained": False, "quotes": (QUOTE,), "seconds": {"total": 0.5}}
    return AnswerLine(name, scope, **{**fields, **changes})


def test_a_line_survives_json():
    whole = line(confidence=0.4, threshold=0.3, prompt_tokens=812, completion_tokens=9, note="x")
    for original in (whole, line(quotes=(), abstained=True), line(quotes=(CitedQuote("text alone"),))):
        assert line_of(json.loads(json.dumps(line_data(original)))) == original


def test_an_answer_becomes_a_line():
    source = Source("ab" * 32, "pdf", "a.pdf")
    words = (Word("lakes", ((0.1, 0.2, 0.3, 0.25),)),)
    text = "Twelve lakes are measured every spring by the harbour office of Alder"
    page = Page(source.page_id(3), source.document_id, 3, "4", text, words, (612, 792), source)
    citations = (
        Citation(1, page.id, "measured every spring", (FINE,), page, kind="text", area=AREA),
        Citation(2, "note-7", "no page"),
    )
    usage = Usage({"extract": 0.2}, 812, 9)
    answer = Answer("Spring [1] [2]", citations, Ranking(Query(text="?")), usage=usage, confidence=0.7)
    made = describe(answer, ("q", "pack"), seconds=0.5, threshold=0.3)
    assert (made.key, made.confidence, made.seconds) == (("q", "pack"), 0.7, {"extract": 0.2, "total": 0.5})
    assert (made.prompt_tokens, made.completion_tokens) == (812, 9)
    first, second = made.quotes
    assert (first.page_key, first.boxes, first.area) == (("a.pdf", 3), (BOX,), AREA)
    assert first.random_span in text
    assert len(first.random_span) <= len("measured every spring")
    assert (second.file, second.page, second.random_span) == ("", -1, "")
    assert line_of(json.loads(json.dumps(line_data(made)))) == made  # a run read again is the same run
    again = describe(answer, ("q", "pack"), seconds=9, threshold=0.3)
    assert again.quotes == made.quotes
    spans = {describe(answer, (f"q{n}", "pack"), seconds=0).quotes[0].random_span for n in range(30)}
    assert len(spans) > 3


@pytest.mark.parametrize(
    ("abstained", "confidence", "threshold", "silent"),
    [
        (False, 0.3, 0.3, False),  # answered from the threshold on
        (False, 0.29, 0.3, True),
        (True, 0.9, 0.3, True),  # nothing to answer with
        (False, None, None, False),  # a server
        (True, None, None, True),
        (False, 0.1, None, False),  # no threshold of its own
    ],
)
def test_silence_follows_from_confidence_and_threshold(abstained, confidence, threshold, silent):
    assert line(abstained=abstained, confidence=confidence, threshold=threshold).is_silent is silent


def test_a_run_goes_on_where_it_was_broken_off(tmp_path):
    path = tmp_path / "runs" / "answers.jsonl"
    file = AnswerFile(path, SETTINGS)
    file.add(line("q1"))
    file.add(line("q2", "document"))
    content = path.read_bytes()
    torn = json.dumps(line_data(line("q3"))).encode()[:-20]  # killed while it wrote the third
    path.write_bytes(content + torn)
    again = AnswerFile(path, SETTINGS)
    assert set(again.lines) == {("q1", "pack"), ("q2", "document")}
    again.add(line("q3"))
    settings, lines = read_answers(path)
    assert settings == SETTINGS
    assert list(lines.values()) == [line("q1"), line("q2", "document"), line("q3")]


def test_a_first_line_that_is_torn_begins_anew(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"settings": {"pa')
    assert AnswerFile(path, SETTINGS).lines == {}
    assert read_answers(path) == (SETTINGS, {})


def test_another_run_is_not_continued(tmp_path):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, SETTINGS).add(line())
    with pytest.raises(ValueError, match=r"got other settings \(k: 5 there, 3 now\). Name another file"):
        AnswerFile(path, {**SETTINGS, "k": 3})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "got an empty file"),
        ('{"id": "q"}\n', "must begin with the settings"),
        ('{"settings": {}}\n{"id": "q"}\n', "line 2: not an answer"),
        ('{"settings": {}}\n[]\n', "line 2: a answer must be a JSON object"),
    ],
)
def test_what_is_no_file_of_answers_is_refused(tmp_path, content, words):
    path = tmp_path / "answers.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=words):
        read_answers(path)


def test_a_random_span_is_whole_words_of_the_text():
    rng = np.random.default_rng(0)
    words = [f"w{n:02d}" for n in range(50)]
    text = "  ".join(words) + "\n"
    firsts = set()
    for _ in range(400):
        span = random_span(text, 30, rng)
        assert f" {span} " in f" {' '.join(words)} "
        assert 24 <= len(span) <= 30  # seven words of three letters are 27
        firsts.add(span.split()[0])
    assert firsts == set(words[:44])  # every place from which 27 characters are left


def test_a_short_text_is_its_own_span():
    rng = np.random.default_rng(0)
    assert random_span("a short  page", 300, rng) == "a short page"
    assert random_span("", 10, rng) == random_span(" \n", 10, rng) == ""
    assert random_span("indivisible words", 3, rng) in ("indivisible", "words")
