"""The choice of passages: words make a shortlist, a cross-encoder reads it, and its best are quoted.

The score of a passage is the model's log-odds and a little more

* for the share of the question's words, and of its names and numbers, in it or at its page's head;
* for holding the kind of thing that is asked for;
* for a table's row or cell that the question names;
* where a name or an address is asked for, for standing at the head of a page: letters, invoices and title
  pages say there who they are from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
NAMES = 4.0
NAMED = (0.0, 2.0, 6.0)
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
    question: Question,
    passages: Sequence[Passage],
    candidates: Sequence[Candidate],
    score: Score | None,
    *,
    most: int = SHORTLIST,
) -> list[ScoredPassage]:
    """Return the best passages, best first; passages that overlap a better one are left out.

    Args:
        question: what is asked.
        passages: of all pages that are read.
        candidates: the pages.
        score: the model. None: words alone decide.
        most: how many passages the model reads.
    """
    heads = head_stems(passages, candidates)
    shares = word_shares(question, passages, heads)
    prior = [
        WORDS * share
        + KIND * question.has_kind(passage.text)
        + NAMES * _names_met(question, passage, heads)
        + NAMED[passage.match_level]
        + HEAD * _head(question, passage)
        for share, passage in zip(shares, passages, strict=True)
    ]
    order = sorted(range(len(passages)), key=lambda index: -prior[index])
    short = _apart([passages[index] for index in order], order, most)
    model = (
        [0.0] * len(short)
        if score is None
        else score(question.read_text, [_with_names(question, passages[index], heads) for index in short])
    )
    scored = [
        ScoredPassage(
            passages[index],
            max(value, FLOOR) + prior[index],
            value,
            shares[index],
            question.has_kind(passages[index].text),
        )
        for index, value in zip(short, model, strict=True)
    ]
    return sorted(scored, key=lambda one: -one.score)


def confidence(question: Question, scored: Sequence[ScoredPassage], candidates: Sequence[Candidate]) -> float:
    """Return how likely the first passage answers the question, 0..1."""
    if not scored:
        return 0.0
    missing = missing_names(question, candidates)
    odds = 0.4 * scored[0].score + 1.0 - 2.0 * len(missing)
    return 0.5 + 0.5 * math.tanh(odds / 2)  # the logistic function, without overflow


def missing_names(question: Question, candidates: Sequence[Candidate]) -> list[str]:
    """Return the question's names and numbers that no text has, neither as they are written nor by stems."""
    absent_names = list(question.names)
    for candidate in candidates if absent_names else ():
        text = " ".join(candidate.record.text.casefold().split())
        stems = frozenset(content_stems(candidate.record.text))
        absent_names = [
            name
            for name in absent_names
            if " ".join(name.casefold().split()) not in text and not stems.issuperset(content_stems(name))
        ]
    return absent_names


def head_stems(passages: Sequence[Passage], candidates: Sequence[Candidate]) -> dict[int, frozenset[str]]:
    """Return the stems of each page's file name, titles and first lines, by candidate.

    What they name holds for the whole page.
    """
    heads = {
        number: set(content_stems(candidate.page.source.name if candidate.page is not None else ""))
        for number, candidate in enumerate(candidates)
    }
    for passage in passages:
        stems = heads[passage.candidate]
        stems.update(content_stems(passage.title))
        if passage.size and not passage.start:
            stems.update(content_stems(passage.text))
    return {candidate: frozenset(stems) for candidate, stems in heads.items()}


def word_shares(
    question: Question, passages: Sequence[Passage], heads: Mapping[int, frozenset[str]]
) -> list[float]:
    """Return, for each passage, the share of the question's words in it and its page's head, by their weight.

    A word weighs ``log(1 + n / passages with it)``; one that no passage has weighs as much as one that a
    single passage has.
    """
    bags = [
        question.stems & (heads[passage.candidate] | set(content_stems(passage.read_text)))
        for passage in passages
    ]
    frequency = Counter(stem for bag in bags for stem in bag)
    weights = {stem: math.log(1 + len(bags) / max(1, frequency[stem])) for stem in question.stems}
    total = math.fsum(weights.values())
    return [math.fsum(weights[stem] for stem in bag) / total if total else 0.0 for bag in bags]


def _names_met(question: Question, passage: Passage, heads: Mapping[int, frozenset[str]]) -> float:
    """Return the share of the question's names that a passage or its page's head has; 1 if it has none."""
    stems = heads[passage.candidate] | set(content_stems(passage.read_text))
    is_met = [stems.issuperset(content_stems(name)) for name in question.names]
    return sum(is_met) / len(is_met) if is_met else 1.0


def _with_names(question: Question, passage: Passage, heads: Mapping[int, frozenset[str]]) -> str:
    """Return what the model reads: names of the question that the page's head has, title, passage."""
    stems = set(content_stems(passage.read_text))
    names = [
        name
        for name in question.names
        if not stems.issuperset(content_stems(name))
        and heads[passage.candidate].issuperset(content_stems(name))
    ]
    return ": ".join([*names, passage.read_text])


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
