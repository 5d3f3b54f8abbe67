"""The snippet of a page: the window with most of the query's stems, whole words, matches marked."""

from __future__ import annotations

import random

from mmrag.answer.words import content_stems
from mmrag.cli.snippets import Snippet, _best_window, snippet

FILLER = "Lorem ipsum dolor sit amet consectetur adipiscing elit sed tempor. " * 6


def words(piece: Snippet) -> list[str]:
    return [piece.text[start:end] for start, end in piece.matches]


def test_a_short_text_is_shown_whole_with_its_matches() -> None:
    piece = snippet("The ferry Aurora\ncarries 420 passengers.", "How many passengers does a ferry carry?")
    assert piece.text == "The ferry Aurora carries 420 passengers."
    assert words(piece) == ["ferry", "carries", "passengers"]


def test_the_window_with_most_different_stems_is_chosen() -> None:
    text = f"Ferry, ferry, ferry. {FILLER} The ferry was built in Turku. {FILLER}"
    piece = snippet(text, "Where was the ferry built?")
    assert "The ferry was built in Turku." in piece.text
    assert words(piece) == ["ferry", "built"]
    assert piece.text.startswith("… ") and piece.text.endswith(" …")


def test_without_a_match_the_beginning_is_shown_and_without_a_text_nothing() -> None:
    piece = snippet(FILLER, "submarines")
    assert piece.text.startswith("Lorem ipsum")
    assert piece.matches == ()
    assert snippet("", "ferry") == snippet("  \n ", "ferry") == Snippet("")


def test_a_piece_is_of_the_text_in_whole_words_and_no_longer_than_its_width() -> None:
    chance = random.Random(5)
    vocabulary = ["ferry", "built", "harbour", "a", "of", "Turku", "passengers", "x" * 30, "420", "naïve"]
    for _ in range(300):
        text = " ".join(chance.choices(vocabulary, k=chance.randrange(1, 120)))
        query = " ".join(chance.sample(vocabulary, 2))
        width = chance.randrange(40, 200)
        piece = snippet(text, query, width=width)
        core = piece.text.removeprefix("… ").removesuffix(" …")
        assert len(core) <= width
        assert f" {core} " in f" {text} "
        stems = set(content_stems(query))
        assert all(set(content_stems(word)) & stems for word in words(piece))
        assert bool(words(piece)) == bool(set(content_stems(text)) & stems)


def best_by_brute_force(text: str, query: str, width: int) -> int:
    stems = set(content_stems(query))
    starts = [0, *(i + 1 for i, c in enumerate(text) if c == " ")]
    ends = [*(i for i, c in enumerate(text) if c == " "), len(text)]
    windows = (text[a:b] for a in starts for b in ends if 0 < b - a <= width)
    return max((len(stems & set(content_stems(window))) for window in windows), default=0)


def test_no_other_window_has_more_stems() -> None:
    chance = random.Random(6)
    vocabulary = ["ferry", "built", "harbour", "of", "Turku", "passengers", "tempor", "elit", "amet"]
    for _ in range(40):
        text = " ".join(chance.choices(vocabulary, k=60))
        query = " ".join(chance.sample(vocabulary[:6], 3))
        piece = snippet(text, query, width=60)
        assert len({*content_stems(query)} & {*content_stems(piece.text)}) == best_by_brute_force(
            text, query, 60
        )


def plain_window(hits: list[tuple[int, int, frozenset[str]]], width: int) -> tuple[int, int]:
    """The first window with most stems, every window looked at by itself."""
    best, window = 0, (0, 0)
    for position, (start, _, _) in enumerate(hits):
        inside = [hit for hit in hits[position:] if hit[1] - start <= width]
        count = len(frozenset().union(*(stems for _, _, stems in inside)))
        if count > best:
            best, window = count, (start, inside[-1][1])
    return window


def test_the_window_is_that_of_plain_loops() -> None:
    chance = random.Random(8)
    for _ in range(2000):
        hits, end = [], 0
        for _ in range(chance.randrange(9)):
            start = end + chance.randrange(1, 5)
            end = start + chance.randrange(1, 12)
            hits.append((start, end, frozenset(chance.sample("abcde", chance.randrange(1, 4)))))
        width = chance.randrange(1, 30)
        assert _best_window(hits, width) == plain_window(hits, width)
