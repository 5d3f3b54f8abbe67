"""ANLS against a plain recursion, exact match against SQuAD's definition, word by word."""

import random
import string
from functools import cache

import pytest

from mmrag.evaluation.answers import anls, edit_distance, exact_match, without_marks


def plain_distance(first, second):
    @cache
    def distance(i, j):
        if not i or not j:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (first[i - 1] != second[j - 1]),
        )

    return distance(len(first), len(second))


def test_distance_by_hand_and_by_recursion():
    assert edit_distance("kitten", "sitting") == 3
    rng = random.Random(0)
    for _ in range(200):
        first, second = ("".join(rng.choices("abc ", k=rng.randrange(9))) for _ in range(2))
        assert edit_distance(first, second) == plain_distance(first, second)


def test_similarity_by_hand():
    assert anls("Florida", ["florida"]) == 1
    assert anls("floridas", ["Ohio", "Florida"]) == pytest.approx(1 - 1 / 8)
    assert anls("flo", ["florida"]) == 0  # four of seven are missing: not above one half
    assert anls("It was Florida, as the report says.", ["Florida"]) == 0
    assert anls("", ["Florida"]) == anls("Florida", [""]) == anls("Florida", []) == 0


def test_similarity_equals_its_definition():
    rng = random.Random(1)
    for _ in range(200):
        first, second = ("".join(rng.choices("ab", k=rng.randrange(1, 7))) for _ in range(2))
        similarity = 1 - plain_distance(first, second) / max(len(first), len(second))
        assert anls(first, [second]) == pytest.approx(similarity if similarity > 0.5 else 0)


def test_marks_are_not_words():
    assert without_marks("It fell [1], then rose [12].\nWhy?") == "It fell , then rose . Why?"


@pytest.mark.parametrize(
    ("text", "accepted", "similarity"),
    [
        ("University of California", "university of california", 1),
        ("Univ. of California", "University of California", 1 - 6 / 24),
        ("$1,204", "$1,024", 1 - 2 / 6),
        ("2", "3", 0),
        ("ab", "ad", 0),  # exactly one half: nothing by the paper's formula
        ("  New\n York ", "new york", 1),
    ],
)
def test_worked_cases_of_docvqa(text, accepted, similarity):
    """By ``1 - NL if NL < 0.5 else 0``, NL the distance over the longer length."""
    first, second = (" ".join(value.lower().split()) for value in (text, accepted))
    nl = plain_distance(first, second) / max(len(first), len(second))
    assert (1 - nl if nl < 0.5 else 0) == pytest.approx(similarity)
    assert anls(text, ["something else entirely", accepted]) == pytest.approx(similarity)


def squad(text):
    """Drop punctuation, then articles, then spaces, each letter and word by itself."""
    letters = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return [word for word in letters.split() if word not in ("a", "an", "the")]


def test_exact_match_by_hand_and_by_its_definition():
    assert exact_match("The Florida Keys!", ["florida keys"])
    assert exact_match("30.8%", ["308", "30.8 %"])  # punctuation is dropped: a known weakness of the measure
    assert not exact_match("It was Florida.", ["Florida"])
    assert not exact_match("Florida", [])
    rng = random.Random(2)
    pieces = ["the ", "a ", "An ", "cat", "Dog", " ", ".", "-", "'s", "\n"]
    matches = 0
    for _ in range(2000):
        first, second = ("".join(rng.choices(pieces, k=rng.randrange(1, 6))) for _ in range(2))
        matches += squad(first) == squad(second)
        assert exact_match(first, [second]) == (squad(first) == squad(second)), (first, second)
    assert matches > 100
