"""Laws of numbers: how they are read, and which agree."""

import random
from fractions import Fraction

import pytest

from mmrag.evaluation.pack import Question
from mmrag.evaluation.quantities import accepted_quantity, asks_for_number, number_matches, quantities


def question(*answers, answer_format="Float"):
    return Question("q", "?", ("a.pdf",), True, frozenset({("a.pdf", 0)}), answers, answer_format)


@pytest.mark.parametrize(
    ("text", "accepted", "agrees"),
    [
        ("It was 18.3 %.", "18.29%", True),  # within 1 %
        ("It was 18.6 %.", "18.29%", False),
        ("a share of 0.1829", "18.29%", True),  # a fraction for a percentage
        ("a share of 18.29", "18.29%", True),
        ("30.8 percent", "0.30769", True),
        ("Sales of $1,204,000.", "1204000", True),
        ("1.204.000 EUR", "1,204,000", True),
        ("1'204'000.-", "1204000", True),
        ("1\u202f204\u202f000", "1204000", True),
        ("1 204 000", "1204000", True),
        ("1.204 million", "1204000", True),  # the unit stated
        ("1,204 (in thousands)", "1204", True),
        ("$ 17,966 million", "17966.0", True),
        ("net loss (1,399)", "-1399", True),
        ("net loss 1,399-", "-1399", True),
        ("it fell by 27 %", "-27.0%", True),  # no sign is stated
        ("it was -27 %", "27%", False),  # the wrong one is
        ("it was +27 %", "-27%", False),
        ("in 2019", "2018", False),  # years agree only with themselves
        ("in 2018", "2018", True),
        ("pages 5-10", "10", True),  # a range has no minus
        ("24.1", "4", False),
        ("room A4", "4", False),
        ("See [4].", "4", False),
        ("none", "4", False),
        ("0", "0", True),
        ("0.001", "0", False),
        ("3 of 5", "5", True),
    ],
)
def test_numbers_agree_within_one_per_cent(text, accepted, agrees):
    assert number_matches(text, question(accepted)) is agrees


@pytest.mark.parametrize(
    "answer", ["yes", "5 to 10", "A4", "03.04.2022", "14:04 CET", "[1, 2]", "", "18.7 ± 0.4"]
)
def test_what_is_not_a_number_alone_is_none(answer):
    assert accepted_quantity(answer) is None
    assert not asks_for_number(question(answer))


@pytest.mark.parametrize(
    "answer", ["669,40 EUR", "CHF 600", "$ 85,185.38", "(1,399)", "-27.0 %", "4", "12 200"]
)
def test_a_number_may_have_sign_currency_and_unit(answer):
    assert accepted_quantity(answer) is not None


def test_codes_are_compared_as_strings():
    assert not asks_for_number(question("62042", answer_format="Str"))
    assert asks_for_number(question("62042", answer_format="Int"))


def test_a_printed_number_is_read_back():
    """Every way to print a number has its value among the readings, and it agrees with the plain number."""
    rng = random.Random(3)
    for _ in range(300):
        value = rng.choice([rng.randrange(1, 10**7), round(rng.uniform(1, 10**6), 2)])
        english = f"{value:,}"
        european = english.translate(str.maketrans(",.", ".,"))
        swiss, french = english.replace(",", "'"), european.replace(".", "\u202f")
        for text in (english, european, swiss, french, str(value), f"({english})", f"$ {english}"):
            readings = [reading for number in quantities(text) for reading in number.values]
            assert any(reading == pytest.approx(value) for reading in readings), text
            assert number_matches(text, question(str(-value if "(" in text else value))), text


def test_plain_numbers_agree_as_the_definition_says():
    """Within 1 % of the accepted one, in exact fractions; years have a rule of their own and are left out."""
    rng = random.Random(3)
    agreements = 0
    for _ in range(500):
        accepted = Fraction(rng.randrange(1, 100_000), rng.choice([1, 10, 100]))
        given = Fraction(round(float(accepted) * rng.uniform(0.97, 1.03) * 100), 100)
        if any(value.denominator == 1 and 1900 <= value <= 2100 for value in (accepted, given)):
            continue
        expected = abs(given - accepted) <= accepted / 100
        agreements += expected
        text, answer = (f"{float(value):,.2f}" for value in (given, accepted))
        assert number_matches(f"It came to {text}.", question(answer)) == expected, (text, answer)
    assert 100 < agreements < 400
