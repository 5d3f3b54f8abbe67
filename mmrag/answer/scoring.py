"""How well a unit answers a question, and when nothing does.

Decisions taken here, from general reasoning and not from any evaluation data:

* A question's term weighs its rarity among the units looked at (``log(1 + N / df)``), times 1.5 for
  names and numbers and 0.3 for words that say little. A term found nowhere weighs the most.
* *Coverage* is the weighed share of the terms that a unit meets: fully in itself, by 0.8 in caption or
  nearest heading, less further away (`mmrag.answer.units`). A table's cell has its headers for itself.
* *Support* is coverage, raised by similarity where an encoder is given. Similarity is taken relative to
  the pool: how far of the way from the median unit to identity. It can close at most 0.6 of the gap,
  since two sentences about one subject are similar whether or not one answers a question.
* `ENOUGH` is one half: what is missed would otherwise weigh more than what is met. `OWN` is the share
  a unit must meet by itself; else every cell under a fitting caption would answer.
* Anchors are a rule, not a weight: a name that the page, the document's name and its other retrieved
  pages lack, or a year or number that neither the unit nor what stands over it has, means no answer.
  Without this rule a question about 2031 would be answered for 2024.
* The type is a rule where it can be seen (a count needs a figure, "when" needs a date).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias

import numpy as np

from mmrag.answer.layout import Layout
from mmrag.answer.question import Question, Term, content_stems, equals
from mmrag.answer.units import PAGE, TITLE, Unit, document_name
from mmrag.types import Candidate

ENOUGH = 0.5
OWN = 0.3
EQUAL = 0.75
"""An everyday equal ("revenue" for "sales") or a common beginning counts this share of the word itself."""
CLOSED = 0.6
SHORTLIST = 24
"""Units whose similarity is asked for: encoding is the slow part, about 10 ms a unit on one core."""

Encode: TypeAlias = Callable[[Sequence[str], str], Sequence[Any]]
"""Texts and ``"query"`` or ``"document"`` to one vector each."""


@dataclass(frozen=True)
class Scored:
    """A unit and how it does on one question.

    Attributes:
        score: for ordering; roughly 0..1.
        support: share of the question met, 0..1.
        own: share met by the unit itself, 0..1.
        missing: surfaces of the anchors that it lacks.
        fits: whether it holds the type asked for; None where that cannot be seen.
        precision: share of its own headers that the question has; 1 for sentences.
    """

    unit: Unit
    score: float
    support: float
    own: float
    missing: tuple[str, ...]
    fits: bool | None
    precision: float = 1.0

    @property
    def passes(self) -> bool:
        """Whether it may be given as an answer."""
        return not self.missing and self.support >= ENOUGH and self.own >= OWN and self.fits is not False


class Pool:
    """The units of the candidates looked at, with what is needed to weigh terms.

    Args:
        candidates: best first.
        units: for each candidate its units.
        layouts: for each candidate its layout.
        encode: sentence vectors; None scores without.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        units: Sequence[Sequence[Unit]],
        layouts: Sequence[Layout],
        encode: Encode | None = None,
    ) -> None:
        self.candidates = candidates
        self.layouts = layouts
        self.units = [unit for page in units for unit in page]
        self.encode = encode
        self._names = [frozenset(content_stems(document_name(c))) for c in candidates]
        self._pages = [frozenset(content_stems(c.record.text or (c.page.text if c.page else ""))) for c in candidates]
        self._pages = [
            page | frozenset(s for unit in part for s in unit.own) for page, part in zip(self._pages, units, strict=True)
        ]
        self._counts: dict[str, int] = {}
        for unit in self.units:
            for one in unit.own:
                self._counts[one] = self._counts.get(one, 0) + 1

    def rarity(self, term: str) -> float:
        """``log(1 + N / df)`` over units; a term that no unit has counts as had by half a unit."""
        return math.log(1 + (len(self.units) + 1) / (self._counts.get(term, 0) or 0.5))

    def weights(self, question: Question) -> dict[str, float]:
        """Weight of each term of the question, summing to 1."""
        raw = {}
        for term in question.terms:
            known = min((self.rarity(t) for t in (term.stem, *equals(term.stem)) if t in self._counts), default=None)
            raw[term.stem] = term.weight * (self.rarity(term.stem) if known is None else known)
        total = sum(raw.values())
        return {stem: weight / total for stem, weight in raw.items()} if total else {}

    def score(self, question: Question, *, only: frozenset[int] | None = None) -> list[Scored]:
        """Every unit (of the candidates at positions ``only``), best first."""
        weights = self.weights(question)
        known = frozenset(term.stem for term in question.terms)
        units = [unit for unit in self.units if only is None or unit.place in only]
        scored = [self._score(unit, question, weights, known) for unit in units]
        scored.sort(key=_order)
        if self.encode is not None and scored:
            scored = self._with_similarity(question, scored, self.encode)
        return scored

    def _score(
        self, unit: Unit, question: Question, weights: Mapping[str, float], known: frozenset[str]
    ) -> Scored:
        own = 0.0
        coverage = 0.0
        missing = []
        for term in question.terms:
            weight = weights.get(term.stem, 0.0)
            mine = _meets(term.stem, unit.own)
            around = unit.context.get(term.stem, 0.0) or EQUAL * max(
                (unit.context.get(e, 0.0) for e in equals(term.stem)), default=0.0
            )
            far = self._far(term, unit.place)
            own += weight * mine
            coverage += weight * max(mine, around, far)
            if term.is_anchor and not self._has_anchor(term, unit, max(mine, around), far):
                missing.append(term.surface)
        return self._make(unit, question, coverage, own, tuple(missing), known, 0.0)

    def _make(
        self,
        unit: Unit,
        question: Question,
        coverage: float,
        own: float,
        missing: tuple[str, ...],
        known: frozenset[str],
        similarity: float,
    ) -> Scored:
        support = 1 - (1 - coverage) * (1 - CLOSED * similarity)
        fits = unit.fits(question.kind, known)
        if unit.kind == "sentence" and not _says_more(unit, known):
            fits = False
        typed = 0.5 if fits is None else float(fits)
        precision = _precision(unit, known)
        prior = 1 / (1 + 0.25 * unit.place)
        shape = _shape(unit, question)
        score = 0.62 * support + 0.14 * typed + 0.06 * prior + 0.10 * precision + 0.08 * shape
        score -= 0.25 if missing else 0.0
        score += 0.08 * similarity
        own = max(own, similarity * coverage)
        return Scored(unit, score, support, own, missing, fits, precision)

    def _far(self, term: Term, place: int) -> float:
        """What the document's name and the page, or another retrieved page of it, give a term."""
        if term.stem in self._names[place]:
            return TITLE
        if _meets(term.stem, self._pages[place]):
            return PAGE
        document = _document(self.candidates[place])
        for other, candidate in enumerate(self.candidates):
            if other != place and _document(candidate) == document and _meets(term.stem, self._pages[other]):
                return PAGE
        return 0.0

    @staticmethod
    def _has_anchor(term: Term, unit: Unit, near: float, far: float) -> bool:
        if near > 0:
            return True
        if term.kind == "name":
            return far > 0
        # A year or number elsewhere on the page may belong to another sentence; the document's name may not.
        return far >= TITLE

    def _with_similarity(self, question: Question, scored: list[Scored], encode: Encode) -> list[Scored]:
        first = _spread(scored)
        texts = [f"{item.unit.title}. {item.unit.text}"[:600] for item in first]
        vectors = np.asarray([np.asarray(v, dtype=np.float32) for v in encode(texts, "document")])
        query = np.asarray(encode([question.text], "query")[0], dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1) * float(np.linalg.norm(query))
        cosines = (vectors @ query) / np.maximum(norms, 1e-9)
        middle = median(float(c) for c in cosines) if len(first) > 4 else 0.5
        known = frozenset(term.stem for term in question.terms)
        better = []
        for item, cosine in zip(first, cosines, strict=True):
            share = max(0.0, (float(cosine) - middle) / max(1 - middle, 1e-6))
            coverage = item.support  # without similarity, support is coverage
            better.append(self._make(item.unit, question, coverage, item.own, item.missing, known, min(1.0, share)))
        seen = {id(item.unit) for item in first}
        better.extend(item for item in scored if id(item.unit) not in seen)
        better.sort(key=_order)
        return better


def _order(item: Scored) -> tuple[float, int]:
    return (-item.score, item.unit.place)


def _spread(scored: Sequence[Scored]) -> list[Scored]:
    """The best units, with few of any one table, so that the median is that of different things."""
    chosen: list[Scored] = []
    per_source: dict[int, int] = {}
    for item in scored:
        count = per_source.get(id(item.unit.source), 0)
        if count < 4:
            chosen.append(item)
            per_source[id(item.unit.source)] = count + 1
        if len(chosen) == SHORTLIST:
            break
    return chosen


def _document(candidate: Candidate) -> str:
    return candidate.page.document_id if candidate.page is not None else candidate.id


def _meets(term: str, stems: frozenset[str]) -> float:
    """1 for the stem itself, `EQUAL` for an everyday equal or a long common beginning, else 0."""
    if term in stems:
        return 1.0
    if any(one in stems for one in equals(term)):
        return EQUAL
    if len(term) >= 5 and not any(c.isdigit() for c in term):
        need = max(4, math.ceil(0.75 * len(term)))
        head = term[:need]
        if any(one.startswith(head) and len(one) <= len(term) + 4 for one in stems):
            return EQUAL
    return 0.0


def _precision(unit: Unit, known: frozenset[str]) -> float:
    """Share of a cell's own headers that the question has; for sentences, how much they are to the point."""
    if not unit.own:
        return 0.0
    met = sum(1 for one in unit.own if one in known or any(e in known for e in equals(one)))
    if unit.precise:
        return met / len(unit.own)
    return min(1.0, 3 * met / len(unit.own)) if len(unit.own) > 6 else min(1.0, 2 * met / len(unit.own))


def _says_more(unit: Unit, known: frozenset[str]) -> bool:
    """Whether a sentence holds anything that the question does not say already."""
    return any(one not in known for one in content_stems(unit.says))


def _shape(unit: Unit, question: Question) -> float:
    """Small preferences: lists for lists, definitions for definitions, whole sentences over scraps."""
    if question.is_list:
        return 1.0 if unit.role == "list" else 0.3
    if unit.role == "list":
        return 0.2
    if unit.kind != "sentence":
        return 0.7
    says = unit.says.lower()
    if question.kind == "definition":
        words = [term.surface.lower() for term in question.terms if term.kind != "light"]
        heads = any(f"{w} {v} " in says for w in words for v in ("is", "are", "means", "refers to", "denotes"))
        return 1.0 if heads else 0.4
    if question.kind == "reason":
        return 1.0 if any(w in says for w in ("because", "due to", "owing to", "reason", "caused by")) else 0.4
    return 0.6 if says[-1:] in ".!" else 0.3
