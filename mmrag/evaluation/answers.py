"""Compare an answer with the answers that a pack accepts, as strings.

A lower bound: a right answer in other words counts as a miss. Free answers (`Question.answer_format`
``"Free"``) are not compared at all.
"""

from __future__ import annotations

import re
import unicodedata

from mmrag.evaluation.pack import Question

_CITATION = re.compile(r"\[\d+\]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")


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


def tokenise(text: str) -> list[str]:
    """Split a text into words and numbers, normalised for comparison."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return _TOKEN.findall(_THOUSANDS.sub("", text))


def _contains(tokens: list[str], part: list[str]) -> bool:
    size = len(part)
    return size > 0 and any(tokens[i : i + size] == part for i in range(len(tokens) - size + 1))
