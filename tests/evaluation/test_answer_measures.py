"""Measures of one answer, by hand: which apply, and what they are."""

import pytest

from mmrag.evaluation.answer_lines import AnswerLine, CitedQuote
from mmrag.evaluation.answer_measures import BOX_SETS, NAMES, measure
from mmrag.evaluation.boxes import PlacedBox
from mmrag.evaluation.pack import Question

PAGE = ("a.pdf", 3)
BLOCK, ROW, VALUE = (0.1, 0.1, 0.9, 0.5), (0.1, 0.2, 0.9, 0.25), (0.6, 0.2, 0.7, 0.25)


def question(**changes):
    fields = {
        "answers": ("1,204",),
        "answer_format": "Int",
        "evidence_boxes": (PlacedBox(*PAGE, BLOCK),),
        "value_boxes": (PlacedBox(*PAGE, VALUE),),
    }
    return Question("q", "How many?", ("a.pdf",), True, frozenset({PAGE}), **{**fields, **changes})


def cite(quote, page=3, boxes=(ROW,), area=BLOCK, random_span=""):
    return CitedQuote(quote, "a.pdf", page, boxes, area, "table", random_span)


def line(*quotes, text=None, **changes):
    said = " ".join(f"{quote.quote} [{n}]" for n, quote in enumerate(quotes, 1)) if text is None else text
    return AnswerLine("q", "pack", said, **{"abstained": False, "quotes": quotes, **changes})


def test_the_right_row_of_a_table():
    """The row is quoted, its table is the area: the area hits the block, the value lies in the row."""
    figures = measure(question(), line(cite("Lakes: 1204", random_span="of 1204 lakes")))
    expected = {
        "first_quote": 1,
        "three_quotes": 1,
        "text": 1,
        "random_first": 1,
        "anls": 0,
        "exact": 0,
        "number_first": 1,
        "first_page": 1,
        "answered": 1,
        "answered_page": 1,
        "false_answer": 0,
        "right_silenced": 0,
        "silent": None,
        "area_recall@0.5": 1,
        "area_first_coverage": 1,
        "words_recall@0.25": 0,
        "words_coverage": 1,
        "words_right_pages_centre": 1,
        "value_words_inside": 1,
        "value_words_recall@0.25": 0,  # a row is ten times its cell
        "joint_area": 1,
        "joint_words": 0,
    }
    assert {name: figures[name] for name in expected} == expected
    assert set(figures) == set(NAMES)


def test_the_right_quote_comes_second():
    wrong = cite("Rivers: 77", page=5)
    figures = measure(question(), line(wrong, cite("Lakes: 1,204")))
    names = ("first_quote", "three_quotes", "first_page", "any_page", "false_answer")
    assert [figures[name] for name in names] == [0, 1, 0, 1, 0]
    assert (figures["area_recall@0.5"], figures["area_first_recall@0.5"]) == (1, 0)
    assert (figures["area_precision@0.5"], figures["area_right_pages_precision@0.5"]) == (0.5, 1)


def test_a_fourth_quote_is_not_looked_at():
    figures = measure(question(), line(*[cite("77")] * 3, cite("1204"), text=""))
    assert (figures["three_quotes"], figures["false_answer"]) == (0, 1)


def test_a_model_says_the_number_in_its_own_words():
    """1,210 is within 1 % of 1,204 and no accepted string; the quote alone does not make it right."""
    quote = cite("1000 and 210")
    figures = measure(question(), line(quote, text="There are 1,210 [1]."))
    assert (figures["text"], figures["number_text"], figures["number_first"]) == (0, 1, 0)
    assert (figures["false_answer"], figures["joint_area"]) == (0, 1)
    row = cite("Lakes: 1,210")
    figures = measure(question(), line(row))
    assert (figures["number_first"], figures["number_text"], figures["false_answer"]) == (1, 1, 1)


def test_silence_hides_what_was_found():
    figures = measure(question(), line(cite("1204"), confidence=0.2, threshold=0.3))
    assert (figures["first_quote"], figures["text"], figures["first_page"]) == (1, 1, 1)
    names = ("answered", "answered_page", "first_quote_shown", "false_answer", "right_silenced")
    assert [figures[name] for name in names] == [0, None, 0, 0, 1]


def test_an_abstention_has_nothing():
    figures = measure(question(), line(text="No page speaks of 1204.", abstained=True))
    assert {figures[name] for name in ("text", "anls", "number_text", "first_page", "answered")} == {0}
    assert figures["words_recall@0.5"] == 0
    assert figures["words_right_pages_recall@0.5"] is None


def test_an_unanswerable_question_asks_for_silence_alone():
    unanswerable = Question("q", "?", ("a.pdf",), False)
    for confidence, silent in ((0.2, 1), (0.4, 0)):
        figures = measure(unanswerable, line(cite("1204"), confidence=confidence, threshold=0.3))
        assert {name: value for name, value in figures.items() if value is not None} == {"silent": silent}


def test_free_answers_have_pages_and_boxes_alone():
    figures = measure(question(answer_format="Free"), line(cite("1204")))
    assert {figures[name] for name in ("first_quote", "text", "anls", "number_first", "joint_area")} == {None}
    assert (figures["first_page"], figures["area_recall@0.5"], figures["answered"]) == (1, 1, 1)


@pytest.mark.parametrize("boxes", BOX_SETS)
def test_box_measures_need_marked_boxes(boxes):
    figures = measure(question(evidence_boxes=(), value_boxes=()), line(cite("1204")))
    assert figures[f"{boxes}_recall@0.5"] is None
    assert measure(question(), line(cite("1204")))[f"{boxes}_recall@0.5"] is not None


def test_a_list_is_in_one_quote_or_in_the_text():
    both = question(answers=("['ash', 'oak']",), answer_items=("ash", "oak"), answer_format="List")
    figures = measure(both, line(cite("ash trees"), cite("oak trees")))
    assert (figures["three_quotes"], figures["text"]) == (0, 1)
    assert measure(both, line(text="ash, oak"))["anls"] == 1
