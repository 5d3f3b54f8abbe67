"""Rules that make queries of a page: of headings, captions, table cells, fields and sentences, with boxes.

A query must be specific to its page: it has letters and at least two content words. Queries that several
pages give are dropped later, over all documents (`mmrag.training.pairs.select`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from string import Template

from mmrag.answer.quotes import line_boxes
from mmrag.serving.prompts import Prompts
from mmrag.training.pairs.corrupt import corrupt
from mmrag.training.pairs.page_parts import (
    LABEL,
    PageParts,
    Passage,
    is_specific,
    passage_text,
    without_label,
    without_number,
)
from mmrag.training.pairs.running_headers import Body
from mmrag.training.pairs.settings import Pair, PairSettings
from mmrag.types import Page, Word

SENTENCE = (8, 50)
"""Least and largest number of words of a sentence that a query is made of."""
PACKAGE = "mmrag.training.pairs"

_VARIABLES = {
    "cell": {"row", "column"},
    "caption": {"caption"},
    "heading": {"heading"},
    "field": {"label"},
}


class Templates:
    """Wordings of template questions by kind.

    Args:
        prompts: their file ``templates`` has one line ``KIND: WORDING`` per wording.

    Raises:
        ValueError: a line is malformed, or has a variable that its kind does not fill.
    """

    def __init__(self, prompts: Prompts) -> None:
        self._by_kind: dict[str, list[Template]] = {kind: [] for kind in _VARIABLES}
        for number, line in enumerate(prompts.text("templates").splitlines(), 1):
            if not line.strip():
                continue
            kind, _, wording = line.partition(":")
            variables = set(re.findall(r"\$\{?([a-z]+)", wording))
            if kind.strip() not in _VARIABLES or not variables or variables - _VARIABLES[kind.strip()]:
                kinds = "; ".join(f"{k}: ${', $'.join(sorted(names))}" for k, names in _VARIABLES.items())
                raise ValueError(
                    f"templates, line {number}: must be a kind with its variables ({kinds}), got {line!r}."
                )
            self._by_kind[kind.strip()].append(Template(wording.strip()))

    def question(self, kind: str, rng: random.Random, **variables: str) -> tuple[str, str] | None:
        """Return a question in a random wording of a kind, and the wording; None for a kind without."""
        if not self._by_kind[kind]:
            return None
        wording = rng.choice(self._by_kind[kind])
        return wording.substitute(variables), wording.template


def pairs_of_page(
    page: Page, body: Body, vocabulary: Sequence[str], settings: PairSettings, templates: Templates
) -> dict[str, list[Pair]]:
    """Return the pairs of a page by rule, in reading order.

    Args:
        page: the page.
        body: of the page, without running headers.
        vocabulary: words of the document, for `corrupt`.
        settings: which rules; the seed.
        templates: wordings of the rule ``question``.
    """
    parts = PageParts(page.words, body.blocks)
    rng = random.Random(f"{settings.seed}:{page.id}")
    pairs_by_rule = {
        "heading": list(_headings(parts)),
        "caption": list(_captions(parts)),
        "cell": list(_cells(parts)),
        "sentence": list(_sentences(parts, vocabulary, settings, rng)),
        "question": list(_questions(parts, templates, rng)),
    }
    return {rule: pairs for rule, pairs in pairs_by_rule.items() if rule in settings.rules}


def take_turns(by_rule: Mapping[str, Sequence[Pair]], settings: PairSettings, page_id: str) -> list[Pair]:
    """Return at most `PairSettings.per_page` pairs: the rules take turns, each in a random order."""
    rng = random.Random(f"{settings.seed}:{page_id}:choice")
    orders = {rule: rng.sample(list(by_rule[rule]), len(by_rule[rule])) for rule in sorted(by_rule)}
    pairs: dict[str, Pair] = {}
    while len(pairs) < settings.per_page and any(orders.values()):
        for rule in settings.rules:
            if orders.get(rule) and len(pairs) < settings.per_page:
                pair = orders[rule].pop()
                pairs.setdefault(pair.text.casefold(), pair)
    return list(pairs.values())


def vocabulary_of(pages: Sequence[Sequence[Word]]) -> list[str]:
    """Return the lower-case words of four letters or more in these pages, each once, sorted."""
    texts = {word.text.strip(".,;:!?()[]\"'") for words in pages for word in words}
    return sorted(word for word in texts if len(word) >= 4 and word.isalpha() and word.islower())


# ---- the rules ---------------------------------------------------------------------------------------


def _headings(parts: PageParts) -> Iterator[Pair]:
    for passage in parts.headings():
        yield Pair(
            without_number(passage_text(passage)), "heading", line_boxes(passage), passage_text(passage)
        )


def _captions(parts: PageParts) -> Iterator[Pair]:
    for passage in parts.captions():
        yield Pair(
            without_label(passage_text(passage)), "caption", line_boxes(passage), passage_text(passage)
        )


def _cells(parts: PageParts) -> Iterator[Pair]:
    for cell in parts.cells():
        details = {"row": cell.row, "column": cell.column, "value": cell.value}
        yield _pair_of(cell.passages, f"{cell.row}, {cell.column}", "cell", details)


def _sentences(
    parts: PageParts, vocabulary: Sequence[str], settings: PairSettings, rng: random.Random
) -> Iterator[Pair]:
    fewest, most = SENTENCE
    for passage in parts.sentences():
        words = [word.text for word in passage]
        # Letters set apart (T I T L E) come as words of one letter.
        letters = sum(len(word) > 1 and word[:1].isalpha() for word in words)
        if not fewest <= len(words) <= most or letters < 0.7 * len(words):
            continue
        query = corrupt(words, vocabulary, drop=settings.drop, replace=settings.replace, rng=rng)
        if query is not None and is_specific(query.text, least=3, most=most):
            details = {
                "dropped": list(query.dropped_words),
                "replaced": [list(pair) for pair in query.replacements],
            }
            yield Pair(query.text, "sentence", line_boxes(passage), passage_text(passage), details)


def _questions(parts: PageParts, templates: Templates, rng: random.Random) -> Iterator[Pair]:
    def question(kind: str, passages: Sequence[Passage], value: str = "", **variables: str) -> Iterator[Pair]:
        filled_wording = templates.question(kind, rng, **variables)
        if filled_wording is not None:
            text, wording = filled_wording
            details = {"template": wording, "kind": kind, **({"value": value} if value else {})}
            yield _pair_of(passages, text, "question", details)

    for passage in parts.headings():
        yield from question("heading", [passage], heading=without_number(passage_text(passage)))
    for passage in parts.captions():
        yield from question("caption", [passage], caption=without_label(passage_text(passage)).rstrip(". "))
    for cell in parts.cells():
        yield from question("cell", cell.passages, cell.value, row=cell.row, column=cell.column)
    for label, passages in parts.fields():
        if is_specific(label, most=LABEL):
            yield from question("field", passages, passage_text(passages[-1]), label=label)


# ---- shared ------------------------------------------------------------------------------------------


def _pair_of(passages: Sequence[Passage], text: str, rule: str, details: Mapping[str, object]) -> Pair:
    """Return a pair with the boxes of the lines of each passage, each once."""
    boxes = tuple(dict.fromkeys(box for passage in passages for box in line_boxes(passage)))
    return Pair(text, rule, boxes, " ".join(passage_text(passage) for passage in passages), details)
