"""The lexical channel in Qdrant: the terms and the BM25 of `mmrag.index.lexical`, as a sparse vector.

A point holds the terms of its text, each a number of 32 bits (a hash), how often each occurs, and the length
of the text in terms. Its sparse vector has, for each term, the part of BM25 that is the text's own::

    weight(t) = f (k1 + 1) / (f + k1 (1 - b + b * length / PIVOT))

The other part, the inverse document frequency, is in the query's vector, from exact counts of the whole index
at the time of the question: Qdrant's own IDF has another formula (it adds 1 inside the logarithm).

What a stored weight cannot know is the average length at the time of the question, so `PIVOT` stands in its
place, fixed when the index is made. With an average length A the score of BM25 is at most ``max(1, A /
PIVOT)`` times what the server computes; so the search asks for as many candidates as that bound leaves open,
computes the score of each with today's average in float64 as SQLite does, and the hits are those of SQLite:
same records, same order, same scores. The drift costs candidates, never a hit.

Limits, where hits can differ from `mmrag.index.lexical`: two terms with one hash (one pair in four thousand
million) count as one term; and a term with letters newer than SQLite's tables of Unicode is looked up by its
pieces, not as a phrase.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mmrag.forks import new_recursive_lock
from mmrag.index.lexical import FTS_TOKENIZER, lexical_terms, query_terms

K1 = 1.2
B = 0.75
LEAST_IDF = 1e-6
"""What FTS5 gives a term that more than half of the records have."""

_FIRST_UNSPACED = "\u0e00"


@dataclass(frozen=True, slots=True)
class TextTerms:
    """The terms of one text.

    Attributes:
        counts: how often, by the term's number.
        length: number of terms in the text; marks of `query_terms` do not count.
    """

    counts: Mapping[int, int]
    length: int

    def weights(self, pivot: float) -> tuple[list[int], list[float]]:
        """Return the sparse vector of the text."""
        numbers = sorted(self.counts)
        return numbers, [saturation(self.counts[number], self.length, pivot) for number in numbers]


class Tokenizer:
    """FTS5's half of the normaliser, by FTS5 itself: a table in memory that never keeps a text."""

    def __init__(self) -> None:
        self._lock = new_recursive_lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.execute(f"CREATE VIRTUAL TABLE texts USING fts5(terms, {FTS_TOKENIZER})")
        self._connection.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(texts, instance)")

    def tokens(self, texts: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the tokens of each list of terms, in order."""
        tokens: list[list[str]] = [[] for _ in texts]
        with self._lock:
            self._connection.executemany(
                "INSERT INTO texts(rowid, terms) VALUES (?, ?)",
                ((number, " ".join(terms)) for number, terms in enumerate(texts)),
            )
            rows = self._connection.execute(
                "SELECT doc, term FROM vocabulary ORDER BY doc, offset"
            ).fetchall()
            self._connection.execute("DELETE FROM texts")
        for number, token in rows:
            tokens[number].append(token or "")  # a combining mark by itself is an empty token, and counts
        return tokens

    def close(self) -> None:
        """Drop the table."""
        with self._lock:
            self._connection.close()


def text_terms(tokenizer: Tokenizer, texts: Sequence[str]) -> list[TextTerms]:
    """Return the terms of texts."""
    terms_of_texts = []
    for tokens in tokenizer.tokens([lexical_terms(text) for text in texts]):
        counts = Counter(map(term_number, tokens))
        # a query's single character of an unspaced script stands for every term that starts with it
        counts.update(term_number(f"{token[0]}*") for token in tokens if is_unspaced(token))
        terms_of_texts.append(TextTerms(counts, len(tokens)))
    return terms_of_texts


def query_numbers(
    tokenizer: Tokenizer, text: str, without: Collection[str] = ()
) -> list[tuple[str, list[int]]]:
    """Return the terms of a query in order, each with the numbers it is looked up by (mostly one).

    Terms in `without` are left out, unless there are no others.
    """
    terms = query_terms(text)
    terms = [term for term in terms if term not in without] or terms
    pieces = tokenizer.tokens([[term.removesuffix("*")] for term in terms])
    return [
        (term, [term_number(piece + ("*" if term.endswith("*") else "")) for piece in piece_list])
        for term, piece_list in zip(terms, pieces, strict=True)
    ]


def is_unspaced(token: str) -> bool:
    """Return whether a token is of a script without spaces: a pair, or a run's last letter."""
    return token[:1] >= _FIRST_UNSPACED and lexical_terms(token[:1], query=True)[:1] == [f"{token[:1]}*"]


def term_number(term: str) -> int:
    """Return the number of a term: 32 bits of a hash."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "big")


def saturation(count: int, length: int, average: float) -> float:
    """Return the part of BM25 that a text gives a term that it has `count` times."""
    return (count * (K1 + 1.0)) / (count + K1 * (1 - B + B * length / average))


def inverse_frequency(records: int, holders: int) -> float:
    """Return what a term weighs, as FTS5 does."""
    weight = math.log((records - holders + 0.5) / (holders + 0.5))
    return weight if weight > 0 else LEAST_IDF


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """A query with the statistics of the index.

    Attributes:
        terms: numbers of the query's terms in order, and what each weighs; a number may stand twice.
        average: average length of the index's texts.
    """

    terms: tuple[tuple[int, float], ...]
    average: float

    @property
    def vector(self) -> tuple[list[int], list[float]]:
        """The sparse vector."""
        weights: dict[int, float] = {}
        for number, weight in self.terms:
            weights[number] = weights.get(number, 0.0) + weight
        return list(weights), list(weights.values())

    def score(self, counts: Mapping[int, int], length: int) -> float:
        """Compute BM25 of a text, adding in the order in which FTS5 does."""
        score = 0.0
        for number, weight in self.terms:
            score += weight * saturation(counts.get(number, 0), length, self.average)
        return score

    def score_ratio(self, pivot: float) -> float:
        """Return how many times the server's score the score is at most."""
        return max(1.0, self.average / pivot) * (1 + 1e-5)
