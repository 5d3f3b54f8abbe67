"""Laws of a question: what kind of thing it asks for, whom it names, whether it wants a computation."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrag.answer.question import Question

KINDS = [
    ("When was the lathe bought?", "date"),
    ("What year did the depot open?", "date"),
    ("Wann wurde die Drehbank gekauft?", "date"),
    ("How much was paid for the lathe?", "money"),
    ("What is the monthly rent?", "money"),
    ("How many trams are there?", "number"),
    ("What percentage of riders is older than sixty?", "number"),
    ("Wie viele Wagen gibt es?", "number"),
    ("Who keeps the list?", "name"),
    ("Quién guarda la lista?", "name"),
    ("Where are the pads stored?", "place"),
    ("Why are wheels turned?", ""),
    ("Describe the depot.", ""),
]


@pytest.mark.parametrize(("question", "kind"), KINDS)
def test_the_kind_of_thing(question, kind):
    assert Question(question).kind == kind


@pytest.mark.parametrize(
    ("question", "text", "has"),
    [
        ("When was it bought?", "It was bought on 3 March 1998.", True),
        ("When was it bought?", "It was bought by the town.", False),
        ("How much was paid?", "They paid $ 40.", True),
        ("How much was paid?", "They did not pay at all.", False),
        ("How many are there?", "There are seven.", True),
        ("How many are there?", "There are several.", False),
        ("Who keeps it?", "It is kept by Mr Novotny.", True),
        ("Who keeps it?", "it is kept by a clerk.", False),
        ("Why?", "", True),
    ],
)
def test_a_text_holds_the_kind_of_thing_or_not(question, text, has):
    assert (Question(question).kind_share(text) == 1) is has


@pytest.mark.parametrize(
    "question",
    [
        "Which line has the most riders?",
        "What is the average age of the trams?",
        "Which depot is the oldest?",
        "What is the difference between the two lines?",
        "Which line is longer?",
        "Welche Linie hat die meisten Fahrgäste?",
    ],
)
def test_a_comparison_or_a_computation_is_told(question):
    assert Question(question).computes


@pytest.mark.parametrize(
    "question",
    [
        "What interest is paid?",
        "Who is the guest of honour?",
        "When is the next test?",
        "In which forest does the line end?",
        "What is the latest report about?",
        "Who are the nearest neighbours?",
        "What is the request of the town?",
    ],
)
def test_words_that_only_look_like_superlatives_compute_nothing(question):
    assert not Question(question).computes


def test_names_and_numbers_are_what_an_answer_must_be_about():
    question = Question("In 2019, how many trams did Ostrava Tram Works order from Skoda for 1,250 riders?")
    assert question.names == ("2019", "Ostrava Tram Works", "Skoda", "1,250")
    assert Question("How many trams are there?").names == ()
    assert Question("Trams?").names == ()
    assert Question("HOW MANY TRAMS WERE THERE IN 2019?").names == ("2019",)  # capitals say nothing there


def test_money_that_is_asked_for_by_no_name_is_the_total():
    vague = Question("How much was paid?")
    assert "total" in vague.read_text
    exact = Question("How much was paid for the lathe?")
    assert exact.read_text == exact.text


ALPHABET = "aA1.,-' \n?\u00e9\u05d0\u200b\u0301$%€"


@given(st.text(alphabet=ALPHABET, max_size=120) | st.text(max_size=40))
def test_any_text_is_a_question(text):
    question = Question(text)
    assert question.kind in ("date", "money", "number", "name", "place", "")
    assert all(name in text for name in question.names)
    assert all(word in text.casefold() for word in question.extremes)
    assert question.computes == bool(question.extremes)
    assert question.kind_share(text) in (0, 0.5, 1)
    assert all(question.stems)


LONG = [
    "how much " * 1200,
    "1," * 5000 + "x",
    "1" * 10_000,
    "A " * 5000,
    "a" * 10_000,
    "Ab-" * 3400,
    "which " * 1700,
    "what " * 2000,
    "how many x " * 900,
    "name of the " * 900,
    "\n" * 10_000,
    "(" * 10_000,
]


@pytest.mark.parametrize("text", LONG, ids=[text[:8].strip() for text in LONG])
def test_a_question_of_ten_thousand_letters_is_read(text):
    question = Question(text)
    assert question.kind is not None and question.names is not None
    assert question.computes in (True, False) and question.kind_share(text) in (0, 0.5, 1)


def test_a_long_random_question_is_read():
    noise = random.Random(5)
    for _ in range(20):
        words = ["how", "many", "most", "Which", "in", "2019", "1,2", "A", "is", "est", "best", "paid", "'s"]
        question = Question(" ".join(noise.choice(words) for _ in range(2500)))
        assert question.names and question.computes
