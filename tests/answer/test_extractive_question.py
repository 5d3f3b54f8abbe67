"""What a question is found to ask for."""

import pytest

from mmrag.answer.question import analyse
from mmrag.answer.words import content_stems, equals, stem


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sales", "sale"),
        ("cities", "city"),
        ("increased", "increases"),
        ("grew", "growing"),
        ("stopped", "stop"),
        ("generated", "generation"),
        ("Europe's", "Europe"),
        ("1,234", "1234"),
        ("café", "cafe"),
        ("yearly", "years"),
    ],
)
def test_forms_of_one_word_have_one_stem(one, other):
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    ("one", "other"), [("sales", "sailing"), ("2023", "2024"), ("us", "use"), ("part", "party")]
)
def test_different_words_keep_different_stems(one, other):
    assert stem(one) != stem(other)


def test_words_without_meaning_are_left_out_and_repeats_kept():
    assert content_stems("the sales of the US were the sales") == ["sal", "us", "sal"]


def test_a_change_is_met_by_rise_and_fall_but_a_rise_not_by_a_fall():
    assert {stem("rise"), stem("fell")} <= equals(stem("change"))
    assert stem("fell") not in equals(stem("rise"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("How many people work there?", "count"),
        ("What is the part number of the pump?", "open"),
        ("What percentage of homes was read?", "percent"),
        ("How much did the repair cost?", "money"),
        ("How long is the river?", "number"),
        ("In which year was it founded?", "year"),
        ("When does it open?", "date"),
        ("What did they pay when prices peaked?", "open"),
        ("Who signed the letter?", "person"),
        ("Why did sales fall?", "reason"),
        ("What is a budget?", "definition"),
        ("Is the bridge open?", "yes/no"),
    ],
)
def test_the_type_of_the_answer(text, kind):
    assert analyse(text).kind == kind


def test_names_years_and_quotes_are_anchors_and_the_first_word_is_none():
    question = analyse('Which report of Acme Ltd mentions "night shift" in 2024?')
    anchors = {term.surface for term in question.terms if term.is_anchor}
    assert anchors == {"Acme", "Ltd", "night", "shift", "2024"}


def test_a_question_in_capitals_names_nothing():
    assert not any(term.kind == "name" for term in analyse("WHAT IS THE POLICY NUMBER?").terms)


def test_what_is_counted_is_the_noun_phrase():
    assert analyse("How many service engineers will be trained?").counted == {
        stem("service"),
        stem("engineers"),
    }


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("Compare sales in Europe with costs in Asia", "sales in Europe", "costs in Asia"),
        ("What is the difference between the report and the paper?", "the report", "the paper"),
        ("Which is higher, the fee of 2023 or the fee of 2024?", "the fee of 2023", "the fee of 2024"),
        ("Compare sales in Europe and Asia", "sales in Europe", "sales in Asia"),
    ],
)
def test_a_comparison_has_two_sides(text, first, second):
    question = analyse(text)
    assert question.compares
    assert question.parts[0].text.endswith(first)
    assert question.parts[1].text.endswith(second)


def test_two_questions_are_two_parts_and_a_pronoun_keeps_its_name():
    question = analyse("Who founded Acme, and when was it sold?")
    assert not question.compares
    assert [part.kind for part in question.parts] == ["person", "date"]
    assert "acm" in {term.stem for term in question.parts[1].terms}


def test_a_plain_question_has_no_parts():
    assert analyse("What were sales and costs in 2024?").parts == ()
