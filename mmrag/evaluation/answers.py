"""Compare an answer with the answers that a pack accepts, as strings.

A lower bound: a right answer in other words counts as a miss. Free answers (`Question.answer_format`
``"Free"``) are not compared at all.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence

from mmrag.evaluation.pack import Question

_CITATION = re.compile(r"\[\d+\]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")


WORST_SIMILARITY = 0.5
"""ANLS counts a string as wrong from this distance on, as its authors set it."""


def comparable(question: Question) -> bool:
    """Check whether string comparison can decide the question's answer."""
    return question.answerable and bool(question.answers) and question.answer_format.lower() != "free"


def answer_matches(text: str, question: Question) -> bool:
    """Check whether an accepted answer occurs in the text, as whole words in order.

    Compared after NFKC, in lower case, without punctuation, currency and percent signs, citation marks
    ``[n]`` and commas between thousands; ``18.29 %`` equals ``18.29%``, ``4`` is not in ``24.1``. For a
    list every item must occur somewhere.
    """
    tokens = tokenise(_CITATION.sub(" ", text))
    if question.answer_items:
        return all(_contains(tokens, tokenise(item)) for item in question.answer_items)
    return any(_contains(tokens, tokenise(answer)) for answer in question.answers)


def exact_match(text: str, references: Sequence[str]) -> bool:
    """Check whether the text is an accepted string, as SQuAD compares them.

    In lower case, without ASCII punctuation and the words a, an and the, with single spaces; nothing may
    stand around it. A strict measure for short answers.
    """
    return _squad(text) in {_squad(answer) for answer in references}


def anls(text: str, references: Sequence[str]) -> float:
    """Compute the best normalised Levenshtein similarity with an accepted string, 0..1.

    ``1 - distance / longer length`` in lower case, with single spaces; 0 where that is not above one half
    (the measure of DocVQA, by its paper's formula; its program lets exactly one half stand). Made for short
    answers: a sentence around the right string scores 0.
    """
    return max((_similarity(_plain(text), _plain(answer)) for answer in references), default=0.0)


def edit_distance(first: str, second: str) -> int:
    """Compute the Levenshtein distance: insertions, deletions and substitutions."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def without_marks(text: str) -> str:
    """Remove citation marks ``[n]``."""
    return " ".join(_CITATION.sub(" ", text).split())


def tokenise(text: str) -> list[str]:
    """Split a text into words and numbers, normalised for comparison."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return _TOKEN.findall(_THOUSANDS.sub("", text))


def _contains(tokens: list[str], part: list[str]) -> bool:
    size = len(part)
    return size > 0 and any(tokens[i : i + size] == part for i in range(len(tokens) - size + 1))


def _squad(text: str) -> str:
    letters = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", letters).split())


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _similarity(first: str, second: str) -> float:
    longer = max(len(first), len(second))
    # the lengths alone may be too far apart, which saves comparing a page with a word
    if not longer or abs(len(first) - len(second)) / longer >= WORST_SIMILARITY:
        return 0.0
    distance = edit_distance(first, second) / longer
    return 1 - distance if distance < WORST_SIMILARITY else 0.0
