"""Laws of marks: what a model cites, told from the brackets that pages print themselves."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrag.serving.marks import MARK, MarkStream, PrintedMarks, as_words, marks

OTHER = "The cafeteria closes at three. Tram line seven stops at the gate."
PAPER = "The Lantern model beats the ColBERT baseline [1] by four points; see [4, 12] and Smith [2]."
PRINTED = PrintedMarks([OTHER, PAPER])


def cited(text: str, printed: PrintedMarks = PRINTED) -> list[str]:
    return [mark.text for mark in marks(text, printed) if not mark.is_printed]


@pytest.mark.parametrize(
    ("text", "citations"),
    [
        ("It beats the ColBERT baseline [1] by four points [2].", ["[2]"]),  # copied with what stands behind
        ("It beats the ColBERT baseline [1] [2].", ["[2]"]),  # a mark behind it is the model's own
        ("It beats the ColBERT baseline [1].", []),  # page 1 has no such words, so it cannot be meant
        ("It beats the ColBERT baseline [2].", ["[2]"]),
        ("Trams stop at the gate [1].", ["[1]"]),
        ("Lanterns win, see [4, 12] and Smith [2] says so [1].", ["[2]", "[1]"]),
        ("Baseline [1] by far.", []),
        ("The tram [1] by the gate", ["[1]"]),
        ("[1]", ["[1]"]),
        ("In [2024] and [x] and [", []),
    ],
)
def test_what_a_page_prints_is_no_citation(text, citations):
    assert cited(text) == citations


def test_without_pages_every_bracket_with_numbers_is_a_mark():
    assert cited("a [1], b [2, 3], c [4 5] in [2024]", PrintedMarks()) == ["[1]", "[2, 3]", "[4 5]"]


WORDS = st.sampled_from(["beats", "the", "baseline", "by", "four", "gate"])


@given(st.lists(WORDS, min_size=3, max_size=6), st.integers(1, 9), st.lists(WORDS, min_size=1, max_size=3))
def test_a_passage_copied_with_its_bracket_never_cites_by_it(before, number, after):
    """Whatever is printed around it, as long as a word of the page follows in the copy."""
    page = f"{' '.join(before)} [{number}] {' '.join(after)}"
    assert cited(f"{page} [{number % 9 + 1}]", PrintedMarks([page]))[-1] == f"[{number % 9 + 1}]"
    assert f"[{number}]" not in cited(page + " end", PrintedMarks([page]))


@given(st.text(alphabet="ab []0123,;", max_size=40))
def test_words_are_never_taken_for_marks(text):
    spoken = MARK.sub(lambda match: as_words(match[0]), text)
    assert not MARK.search(spoken)
    assert spoken.replace("[ ", "[") == text.replace("[ ", "[")


def rewritten(text: str, cuts=(), printed: PrintedMarks | None = None) -> str:
    order: list[int] = []

    def rewrite(mark) -> str:
        if mark.is_printed:
            return as_words(mark.text)
        for number in mark.numbers:
            if number not in order:
                order.append(number)
        return "".join(f"[{order.index(number) + 1}]" for number in mark.numbers)

    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    stream = MarkStream(rewrite, printed)
    return "".join(stream.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + stream.finish()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [3] b [1] c [3]", "a [1] b [2] c [1]"),
        ("a [2, 4]", "a [1][2]"),
        ("  a\n", "a"),
        ("in [2023] and [x] and [", "in [2023] and [x] and ["),
        ("list[0x1] [1", "list[0x1] [1"),
    ],
)
def test_marks_count_in_the_order_they_come(text, expected):
    assert rewritten(text) == expected


PIECES = [
    "[",
    "]",
    "1",
    "2",
    "30",
    ", ",
    " ",
    "\n",
    "word",
    "the",
    "baseline",
    "[2]",
    "[1, 3]",
    "[1]",
    "by",
    "x" * 90,
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=20),
    st.lists(st.integers(0, 400), max_size=6),
    st.sampled_from([None, PRINTED, PrintedMarks(["the baseline [1] by", "word word [2] the [1, 3] word"])]),
)
def test_marks_do_not_depend_on_cuts(parts, cuts, printed):
    text = "".join(parts)
    every = range(len(text))
    assert rewritten(text, cuts, printed) == rewritten(text, (), printed) == rewritten(text, every, printed)


@given(st.lists(st.sampled_from(PIECES), max_size=20))
def test_a_stream_decides_as_the_whole_text_does(parts):
    text = "".join(parts).strip()
    seen = []
    stream = MarkStream(lambda mark: seen.append(mark.is_printed) or mark.text, PRINTED)
    assert stream.feed(text) + stream.finish() == text
    assert seen == [mark.is_printed for mark in marks(text, PRINTED)]


def test_text_without_printed_brackets_is_not_held_back():
    stream = MarkStream(lambda mark: mark.text, PRINTED)
    assert [stream.feed(piece) for piece in ("It fell [3]", " there")] == ["It fell [3]", " there"]
    assert stream.feed(" a [1]") == " a"  # page 2 prints [1]: what follows tells
    assert stream.feed(" and so ") == " [1] and so"
