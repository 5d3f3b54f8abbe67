"""Requests about the form of the answer: left out of a search, kept for whoever answers."""

from __future__ import annotations

import pytest
from PIL import Image

from mmrag.answer_form import without_answer_form
from mmrag.search_request import SearchRequest
from mmrag.types import Query

QUESTION = "How many sites are there in Asia?"


@pytest.mark.parametrize(
    "request_",
    [
        "Answer in one word.",
        "Please write the answer in int format.",
        "Please write down the answer in a list with ascending order, e.g., [1, 2]",
        "Give me an integer.",
        "Directly answer 'yes' or 'no'.",
        "Your answer should be in English.",
        'The output should be formatted as a list like ["a", "b"].',
        'For example: ["3.0", "2.0"].',
        "Format the date as YYYY-MM",
        "Round to two decimals.",
        "Return the result as JSON.",
        "Use three bullet points.",
        "Antworte in einem Satz.",
        "Bitte antworten Sie nur mit der Zahl.",
        "Réponds en français.",
        "Responde en una frase.",
    ],
)
def test_a_request_is_left_out(request_):
    assert without_answer_form(f"{QUESTION} {request_}") == QUESTION
    assert without_answer_form(f"{QUESTION} {request_} Answer briefly.") == QUESTION


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        "List the sites in Asia.",
        "Write a list of the sites in Asia.",
        f"I live in Asia. {QUESTION}",
        "We have two sites. Which is the older one?",
        f"{QUESTION} Use the table on page 3.",
        f"{QUESTION} List those in Japan, too.",
        "You are careful. Answer the question: how many sites are there?",
        "What does 'Answer in one word.' mean?",
        "Answer in one word.",
        "",
        "   ",
    ],
)
def test_what_is_no_request_stays(text):
    assert without_answer_form(text) == text


def test_a_request_may_stand_first():
    assert without_answer_form(f"Answer in one word. {QUESTION}") == QUESTION


def test_a_search_has_the_words_and_the_query_without_it():
    request = SearchRequest(Query(text=f"  {QUESTION} Answer in one word.", instruction="Find the page."))
    assert request.words == request.text == request.searched_query.text == QUESTION
    assert request.searched_query.instruction == "Find the page."
    assert request.query.text == f"  {QUESTION} Answer in one word."
    assert SearchRequest(request.query, channels=("vectors",)).words == ""


def test_a_query_of_a_picture_or_of_parts_is_encoded_as_it_is():
    red = Image.new("RGB", (4, 4), "red")
    for query in (Query(image=red), Query(parts=(red, f"{QUESTION} Answer in one word."))):
        assert SearchRequest(query).searched_query is query
