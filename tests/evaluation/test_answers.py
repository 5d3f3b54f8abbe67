"""ANLS against a plain recursion."""

import random
from functools import cache

import pytest

from mmrag.evaluation.answers import anls, edit_distance, without_marks


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
