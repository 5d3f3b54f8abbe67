"""Laws of finding a quote on a page: a place that is right, or none."""

import random

import pytest

from mmrag.answer.quotes import _codes, _last_row, _occurrences, find_quote, line_boxes
from mmrag.types import Word

TEXT = (
    "Net sales in Europe fell 4 % to $24.1 billion (2023: $25.1 billion). The inter- national segment "
    "grew 3,125 units; margin \u22122.5% in Q-3. See “Outlook” on page 12."
)
PAGE = TEXT.split()


def found(quote: str, words=PAGE) -> list[str]:
    return [" ".join(words[i] for i in place) for place in find_quote(quote, words)]


def test_two_words_by_hand():
    assert find_quote("b c", ["a", "b", "c", "d"]) == [range(1, 3)]


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ("net  SALES\nin europe", "Net sales in Europe"),
        ("$24.1 billion", "$24.1 billion"),
        ("24.1 billion", "$24.1 billion"),
        ("2023: $25.1 billion", "(2023: $25.1 billion)."),
        ("international segment", "inter- national segment"),
        ("margin -2.5%", "margin \u22122.5%"),
        ("fell 4%", "fell 4 %"),
        ('See "Outlook"', "See “Outlook”"),
        ("Q3", "Q-3."),
    ],
)
def test_white_space_case_hyphens_and_quotation_marks_do_not_matter(quote, expected):
    assert found(quote) == [expected]


@pytest.mark.parametrize(
    "quote",
    [
        "",
        "…",
        "12 5",  # inside 3,125
        "125 units",
        "4.1 billion",  # the end of 24.1
        "et sales",
        "net sale",
        "margin 2.5%",  # the sign is gone
        "margin -2.5",  # fine as words: see below
        "€24.1 billion",
        "net sales in Asia",
        "sales fell in Europe",
    ],
)
def test_what_does_not_stand_there_has_no_place(quote):
    expected = ["margin \u22122.5%"] if quote == "margin -2.5" else []
    assert found(quote) == expected


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ("Net sales in Eurpe fell 4 % to $24.1 billion", "Net sales in Europe fell 4 % to $24.1 billion"),
        ("The internatlonal segment grew", "The inter- national segment grew"),
        ("the segments grew 3,125 units", None),  # too far
        ("Net sales in Europe fell 5 % to $24.1 billion", None),  # another number
        ("Net sales in Europe fell 4 % to $24.7 billion", None),
        ("Net sales in Europe fell 4 to $24.1 billion", None),
        ("Net salos", None),  # too short to be nearly
    ],
)
def test_a_slip_in_letters_is_forgiven_and_one_in_numbers_is_not(quote, expected):
    assert found(quote) == ([expected] if expected else [])


def test_a_word_at_the_edge_counts_where_half_of_it_is_meant():
    page = ["Omega", "net", "sales", "in", "Europe", "fell", "strongly"]
    assert found("a net sales in Europe fell", page) == ["net sales in Europe fell"]
    assert found("net sales in Europe fell st", page) == ["net sales in Europe fell"]
    assert found("mega net sales in Europe fell strong", page) == [" ".join(page)]


def test_every_exact_place_is_given():
    assert find_quote("1.5 m", ["a", "1.5", "m", "b", "1.5", "m", "11.5", "m"]) == [range(1, 3), range(4, 6)]


def test_no_words_no_place():
    assert find_quote("a long enough quote to be fuzzy", []) == []


def test_any_run_of_words_is_found_where_it_stands():
    rng = random.Random(7)
    words = [
        rng.choice(["alpha", "beta,", "(gamma)", "12.5", "$3", "Über", "naïve", "x-ray", "7%"])
        for _ in range(80)
    ]
    for _ in range(200):
        first = rng.randrange(80)
        last = min(80, first + rng.randrange(1, 8))
        quote = "  ".join(words[first:last]).upper()
        assert range(first, last) in find_quote(quote, words)


def plain_row(pattern: str, text: str, from_start: bool) -> list[int]:
    """Sellers' recurrence as plain loops."""
    row = [j if from_start else 0 for j in range(len(text) + 1)]
    for i, a in enumerate(pattern, start=1):
        new = [i]
        for j, b in enumerate(text, start=1):
            new.append(min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (a != b)))
        row = new
    return row


@pytest.mark.parametrize("from_start", [True, False])
def test_edit_distances_equal_plain_loops(from_start):
    rng = random.Random(3)
    for _ in range(100):
        pattern = "".join(rng.choices("abc", k=rng.randrange(1, 12)))
        text = "".join(rng.choices("abc", k=rng.randrange(0, 20)))
        assert _last_row(_codes(pattern), _codes(text), from_start=from_start).tolist() == plain_row(
            pattern, text, from_start
        )


def test_one_box_a_line():
    words = [
        Word("a", (0.1, 0.10, 0.2, 0.12)),
        Word("b", (0.25, 0.101, 0.3, 0.121)),
        Word("c", (0.1, 0.13, 0.2, 0.15)),
        Word("d", (0.6, 0.10, 0.7, 0.12)),  # the next column
    ]
    assert line_boxes(words) == ((0.1, 0.10, 0.3, 0.121), (0.1, 0.13, 0.2, 0.15), (0.6, 0.10, 0.7, 0.12))
    assert line_boxes([]) == ()


@pytest.mark.parametrize("longest", [0, 64])
def test_places_are_those_of_plain_loops(longest, monkeypatch):
    """Of long pieces and of short ones, which are looked for in two ways; overlapping places count."""
    monkeypatch.setattr("mmrag.answer.quotes.LONGEST_FOUND", longest)
    chance = random.Random(6)
    for _ in range(3000):
        text = "".join(chance.choices("ab", k=chance.randrange(25)))
        piece = "".join(chance.choices("ab", k=chance.randrange(1, 7)))
        assert list(_occurrences(piece, text)) == [
            at for at in range(len(text)) if text.startswith(piece, at)
        ]


class CountedText(str):
    """A text that counts how many characters `find` may compare: those of the piece, at each look."""

    compared = 0

    def find(self, piece, *places):
        self.compared += len(piece)
        return super().find(piece, *places)


@pytest.mark.parametrize("length", [1, 64, 65, 5000])
def test_a_piece_that_repeats_itself_costs_a_bounded_look_at_each_place(length):
    text = CountedText("a" * 20_000)
    assert len(list(_occurrences("a" * length, text))) == 20_000 - length + 1
    assert text.compared <= 64 * (len(text) + 1)
