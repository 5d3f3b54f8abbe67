"""What one answer is worth: every measure of a question, by name; None where it does not apply.

Measures of what an answerer finds are taken of its quotes whether it would have stayed silent or not; those
under "as shipped" are of what a user sees. ``docs/evaluation-pack.md`` defines each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from mmrag.evaluation.answer_lines import AnswerLine, CitedQuote
from mmrag.evaluation.answers import anls, answer_matches, comparable, exact_match, without_marks
from mmrag.evaluation.boxes import THRESHOLDS, PlacedBox, on_shared_pages, score_boxes
from mmrag.evaluation.pack import Question
from mmrag.evaluation.quantities import asks_for_number, number_matches

Measures: TypeAlias = "dict[str, float | None]"

FIRST = 3
"""Quotes that are looked at: more is a page to read."""
JOINT_RECALL = 0.6
"""Box recall from which an answer counts as proven, as in CiteVQA's strict accuracy."""

STRINGS = ("first_quote", "three_quotes", "text", "random_first", "random_three", "anls", "exact")
NUMBERS = ("number_first", "number_text", "number_random")
PAGES = ("first_page", "any_page")
USER_VIEW = (
    "answered",
    "answered_first_page",
    "answered_page",
    "first_quote_shown",
    "false_answer",
    "right_silenced",
    "silent",
)
BOX_FIGURES = (
    *(f"{name}@{threshold}" for threshold in THRESHOLDS for name in ("recall", "precision", "f1")),
    "coverage",
    "centre",
    "inside",
)
PARTS = ("words", "area")
JOINT = tuple(f"joint_{part}" for part in PARTS)
BOX_SETS = tuple(
    f"{gold}{part}{pages}"
    for gold in ("", "value_")
    for part in PARTS
    for pages in ("", "_first", "_right_pages")
    if not (gold and part == "area")
)
"""Which cited boxes meet which marked ones: of all quotes, of the first alone, on right pages alone."""
NAMES = (
    *STRINGS,
    *NUMBERS,
    *PAGES,
    *USER_VIEW,
    *(f"{boxes}_{figure}" for boxes in BOX_SETS for figure in BOX_FIGURES),
    *JOINT,
)
"""Every measure's name, in the order of the report."""


def measure(question: Question, line: AnswerLine) -> Measures:
    """Compute every measure of a question's answer."""
    figures: Measures = dict.fromkeys(NAMES)
    if not question.answerable:
        figures["silent"] = float(line.is_silent)
        return figures
    figures |= _pages(question, line)
    if comparable(question):
        figures |= _strings(question, line)
    if asks_for_number(question):
        figures |= _numbers(question, line)
    is_right = _is_right(question, line, figures) if comparable(question) else None
    figures |= _user_view(figures, line, is_right)
    figures |= _boxes(question, line)
    figures |= _joint(figures, is_right)
    return {name: None if value is None else float(value) for name, value in figures.items()}


def _strings(question: Question, line: AnswerLine) -> Measures:
    quotes = [answer_matches(quote.quote, question) for quote in line.quotes[:FIRST]]
    spans = [answer_matches(quote.random_span, question) for quote in line.quotes[:FIRST]]
    references = question.answers
    if question.answer_items:
        references = (*references, ", ".join(question.answer_items))
    texts = [without_marks(line.text), *(quote.quote for quote in line.quotes[:1])]
    return {
        "first_quote": any(quotes[:1]),
        "three_quotes": any(quotes),
        "text": not line.abstained and answer_matches(line.text, question),
        "random_first": any(spans[:1]),
        "random_three": any(spans),
        "exact": not line.abstained and any(exact_match(text, references) for text in texts),
        "anls": 0.0 if line.abstained else max(anls(text, references) for text in texts),
    }


def _numbers(question: Question, line: AnswerLine) -> Measures:
    first = line.quotes[:1]
    return {
        "number_first": any(number_matches(quote.quote, question) for quote in first),
        "number_text": not line.abstained and number_matches(line.text, question),
        "number_random": any(number_matches(quote.random_span, question) for quote in first),
    }


def _pages(question: Question, line: AnswerLine) -> Measures:
    right = [question.key(quote.page_key) in question.evidence for quote in line.quotes]
    return {"first_page": any(right[:1]), "any_page": any(right)}


def _is_right(question: Question, line: AnswerLine, figures: Mapping[str, float | None]) -> bool:
    """Check whether text or quotes hold an accepted string, or the answer's own words an accepted number.

    Numbers of quotes do not count by themselves: a row of a table agrees with much within 1 %.
    """
    if figures["text"] or figures["three_quotes"]:
        return True
    return asks_for_number(question) and not line.abstained and number_matches(_claims(line), question)


def _claims(line: AnswerLine) -> str:
    """Return the answer's text without its quotes."""
    text = without_marks(line.text)
    for quote in sorted((" ".join(quote.quote.split()) for quote in line.quotes), key=len, reverse=True):
        text = text.replace(quote, " ") if quote else text
    return text


def _user_view(figures: Mapping[str, float | None], line: AnswerLine, is_right: bool | None) -> Measures:
    """Compute what a user sees: silence is a miss, and an answer in which nothing is right is false."""
    answered = not line.is_silent
    view: Measures = {"answered": answered}
    if answered:
        view |= {"answered_first_page": figures["first_page"], "answered_page": figures["any_page"]}
    if is_right is not None:
        view["first_quote_shown"] = bool(answered and figures["first_quote"])
        view["false_answer"] = answered and not is_right
        view["right_silenced"] = not answered if is_right else None
    return view


def _boxes(question: Question, line: AnswerLine) -> Measures:
    figures: Measures = {}
    parts: dict[str, Callable[[CitedQuote], list[PlacedBox]]] = {
        "words": CitedQuote.placed_words,
        "area": CitedQuote.placed_area,
    }
    for prefix, gold in (("", question.evidence_boxes), ("value_", question.value_boxes)):
        for part, boxes_of in parts.items():
            if not gold or f"{prefix}{part}" not in BOX_SETS:
                continue
            cited = [box for quote in line.quotes for box in boxes_of(quote)]
            first = [box for quote in line.quotes[:1] for box in boxes_of(quote)]
            figures |= _with_prefix(f"{prefix}{part}", score_boxes(cited, gold))
            figures |= _with_prefix(f"{prefix}{part}_first", score_boxes(first, gold))
            mine, gold_there = on_shared_pages(cited, gold)
            if mine:
                figures |= _with_prefix(f"{prefix}{part}_right_pages", score_boxes(mine, gold_there))
    return figures


def _with_prefix(prefix: str, figures: Mapping[str, float]) -> Measures:
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def _joint(figures: Mapping[str, float | None], is_right: bool | None) -> Measures:
    """Compute whether the answer is right and its boxes hit at IoU 0.5; of questions that have both."""
    joint: Measures = {}
    for part, name in zip(PARTS, JOINT, strict=True):
        recall = figures[f"{part}_recall@0.5"]
        if is_right is not None and recall is not None:
            joint[name] = is_right and recall >= JOINT_RECALL
    return joint
