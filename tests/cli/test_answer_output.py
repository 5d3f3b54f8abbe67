"""What `ask` prints and writes of an answer: its confidence, and both boxes of a citation."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmrag.answer import ExtractiveAnswerer
from mmrag.cli.common import AnswererOptions, UsageError
from mmrag.cli.data import answer_data
from mmrag.cli.texts import answer_text
from mmrag.types import Answer, Citation, Page, Query, Ranking, Source

SOURCE = Source("ab" * 32, "pdf", "a.pdf", "/a.pdf")
PAGE = Page(SOURCE.page_id(1), SOURCE.document_id, 1, "2", "words", (), (612.0, 792.0), SOURCE)
WORDS, AREA = (0.1, 0.2, 0.3, 0.22), (0.1, 0.15, 0.9, 0.4)
CITATION = Citation(1, PAGE.id, "14 ships", (WORDS,), PAGE, kind="table", title="Ships by pier", area=AREA)
ANSWER = Answer("14 ships [1]", (CITATION,), Ranking(Query("ships")), confidence=0.8125)


def test_the_confidence_is_printed_where_the_answerer_states_one() -> None:
    assert answer_text(ANSWER, {}).splitlines() == [
        "  14 ships [1]",
        "  confidence 0.81",
        '  [1] a.pdf, page 2, table "Ships by pier"',
    ]
    assert "confidence" not in answer_text(replace(ANSWER, confidence=None), {})


def test_an_answer_of_quotes_says_that_it_is_one_above_its_lines() -> None:
    quoted = replace(ANSWER, quoted=True)
    assert answer_text(quoted, {}).splitlines()[:2] == [
        "  Quoted from the pages, best first:",
        "  14 ships [1]",
    ]
    assert answer_text(quoted, {}).splitlines()[1:] == answer_text(ANSWER, {}).splitlines()
    assert answer_data(quoted)["quoted"] and answer_data(quoted)["answer"] == ANSWER.text
    assert not answer_data(ANSWER)["quoted"]


@pytest.mark.parametrize(("area", "listed"), [(AREA, list(AREA)), (None, None)])
def test_data_have_the_words_boxes_and_the_area_around_them(area: tuple | None, listed: list | None) -> None:
    data = json.loads(json.dumps(answer_data(replace(ANSWER, citations=(replace(CITATION, area=area),)))))
    (citation,) = data["citations"]
    assert (citation["boxes"], citation["area"]) == ([list(WORDS)], listed)
    assert data["confidence"] == 0.8125


def test_a_threshold_is_that_of_quotes_and_not_of_a_server() -> None:
    answerer = AnswererOptions(threshold=0.2).load_answerer()
    assert isinstance(answerer, ExtractiveAnswerer) and answerer.threshold == 0.2
    assert AnswererOptions().load_answerer() is None
    with pytest.raises(UsageError, match="--answerer-url"):
        AnswererOptions(answerer_url="http://127.0.0.1:1", threshold=0.2).load_answerer()
