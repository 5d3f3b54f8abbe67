"""The choice of passages: words make a shortlist, a cross-encoder reads it, and its first is how sure we are.

The score of a passage, in the model's log-odds, is its own plus a little for the share of the question's words
in it, for holding the kind of thing asked for, and, where a name or an address is asked for, for standing at
the head of a page, where letters, invoices and title pages name who they are from. The weights and the
calibration are fitted by ``benchmarks/answer_weights.py``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mmrag.answer.passages import Passage
from mmrag.answer.question import Question
from mmrag.answer.words import content_stems
from mmrag.types import Candidate

Score: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""``score(question, passages)`` gives a log-odds a passage."""

SHORTLIST = 24
WORDS = 3.0
KIND = 3.0
HEAD = 4.0
FLOOR = -8.0
"""Log-odds below which the model only says no: differences there mean nothing."""
HEAD_LINES = 3
HEAD_KINDS = ("name", "place")


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPassage:
    """A passage and its scores.

    Attributes:
        passage: the passage.
        score: larger is better; orders passages.
        model: the cross-encoder's log-odds.
        words: share of the question's words, by weight, that stand in it, 0..1.
        has_kind: whether it holds the kind of thing asked for.
    """

    passage: Passage
    score: float
    model: float
    words: float
    has_kind: bool


def choose(
    question: Question, passages: Sequence[Passage], score: Score | None, *, most: int = SHORTLIST
) -> list[ScoredPassage]:
    """Return the best passages, best first; passages that overlap a better one are left out.

    Args:
        question: what is asked.
        passages: of all pages that are read.
        score: the model. None: words alone decide.
        most: how many passages the model reads.
    """
    shares = word_shares(question, passages)
    prior = [
        WORDS * share + KIND * question.has_kind(passage.text) + HEAD * _head(question, passage)
        for share, passage in zip(shares, passages, strict=True)
    ]
    order = sorted(range(len(passages)), key=lambda index: -prior[index])
    short = _apart([passages[index] for index in order], order, most)
    model = [0.0] * len(short) if score is None else score(
        question.text, [passages[index].read_text for index in short]
    )
    scored = [
        ScoredPassage(
            passages[index], max(value, FLOOR) + prior[index], value, shares[index], question.has_kind(passages[index].text)
        )
        for index, value in zip(short, model, strict=True)
    ]
    return sorted(scored, key=lambda one: -one.score)


def confidence(question: Question, scored: Sequence[ScoredPassage], candidates: Sequence[Candidate]) -> float:
    """Return how likely the first passage answers the question, 0..1."""
    if not scored:
        return 0.0
    texts = [candidate.record.text.casefold() for candidate in candidates]
    missing = [name for name in question.names if not any(name.casefold() in text for text in texts)]
    return 1 / (1 + math.exp(-(0.4 * scored[0].score + 1.0 - 2.0 * len(missing))))


def word_shares(question: Question, passages: Sequence[Passage]) -> list[float]:
    """Return, for each passage, the share of the question's words in it and its title, by their weight.

    A word weighs ``log(1 + n / passages with it)``; one that no passage has weighs as much as one that a
    single passage has.
    """
    bags = [question.stems.intersection(content_stems(passage.read_text)) for passage in passages]
    frequency = Counter(stem for bag in bags for stem in bag)
    weights = {stem: math.log(1 + len(bags) / max(1, frequency[stem])) for stem in question.stems}
    total = math.fsum(weights.values())
    return [math.fsum(weights[stem] for stem in bag) / total if total else 0.0 for bag in bags]


def _head(question: Question, passage: Passage) -> float:
    """Return how near to the head of its page a passage begins, 1 to 0; 0 if that says nothing."""
    if question.kind not in HEAD_KINDS or not passage.size:
        return 0.0
    return max(0.0, 1 - passage.start / HEAD_LINES)


def _apart(passages: Sequence[Passage], order: Sequence[int], most: int) -> list[int]:
    """Return the positions of the first passages that share less than half of their lines with one before."""
    taken: list[Passage] = []
    chosen: list[int] = []
    for passage, index in zip(passages, order, strict=True):
        if len(chosen) == most:
            break
        if not any(overlap(passage, other) for other in taken):
            taken.append(passage)
            chosen.append(index)
    return chosen


def overlap(one: Passage, other: Passage) -> bool:
    """Check whether two windows of a page share more than half of the lines of the smaller."""
    if one.candidate != other.candidate or not one.size or not other.size:
        return False
    shared = min(one.start + one.size, other.start + other.size) - max(one.start, other.start)
    return 2 * shared > min(one.size, other.size)
