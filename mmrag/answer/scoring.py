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
  Without this rule a question about 2031 would be answered for 2024. A page that names one year only
  speaks of that year throughout.
* The subject words (neither names nor light) must be met near by `CORE` of their weight: a sentence with
  the right company and the right year is no answer about its employees. What is counted must be met.
* A term that heads another row or column of the same table cannot be met from far: "Asia" on the page
  does not make the row "Europe" answer.
* The type is a rule where it can be seen (a count needs a figure, "when" needs a date).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, TypeAlias

import numpy as np

from mmrag.answer.layout import Layout
from mmrag.answer.question import Question, Term
from mmrag.answer.units import NEIGHBOUR, PAGE, TITLE, Unit, document_name, gives_reason
from mmrag.answer.words import content_stems, equals
from mmrag.types import Candidate

ENOUGH = 0.5
OWN = 0.3
EQUAL = 0.75
"""An everyday equal ("revenue" for "sales") or a common beginning counts this share of the word itself."""
CLOSED = 0.6
CORE = 0.5
CORE_OF_CELL = 2 / 3
SHORTLIST = 16
"""Units whose similarity is asked for: encoding is the slow part of an answer."""

_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")

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
        precision: share of its own headers that the question has; for sentences, of its words.
        core: share of the subject words that is met near, 0..1.
        counted: whether what is counted is met near; True where nothing is counted.
        absent: whether a subject word is neither near nor on the unit's page or document.
    """

    unit: Unit
    score: float
    support: float
    own: float
    missing: tuple[str, ...]
    fits: bool | None
    precision: float = 1.0
    core: float = 1.0
    counted: bool = True
    absent: bool = False

    @property
    def passes(self) -> bool:
        """Whether it may be given as an answer."""
        enough = self.support >= ENOUGH and self.on_subject and self.stands
        return enough and self.counted and not self.missing and self.fits is not False

    @property
    def on_subject(self) -> bool:
        """Whether the subject words are met, or a cell's own headers meet half of the question.

        A cell or field says one thing only, so that a subject word that its page lacks counts for more there:
        "Policy holder" is no answer to "the holder's telephone number".
        """
        if not self.unit.precise:
            return self.core >= CORE
        return self.core >= CORE_OF_CELL if self.absent else self.core >= CORE or self.own >= ENOUGH

    @property
    def stands(self) -> bool:
        """Whether it answers by itself, not only by what stands over it."""
        if self.own >= OWN:
            return True
        if self.unit.precise:  # "Solar: 1,120" under a caption that says the rest
            return self.own > 0.05 and self.precision >= 0.5
        return self.fits is True and self.core >= 0.75  # "$25 a month" under the heading "Data plan"


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
        self._pages = [
            frozenset(content_stems(c.record.text or (c.page.text if c.page else ""))) for c in candidates
        ]
        self._pages = [
            page | frozenset(s for unit in part for s in unit.own)
            for page, part in zip(self._pages, units, strict=True)
        ]
        self._vocabulary = frozenset(s for page in self._pages for s in page)
        self._years = [frozenset(one for one in page if _YEAR.fullmatch(one)) for page in self._pages]
        self._far_cache: dict[tuple[str, str, int], float] = {}
        self._counts: dict[str, int] = {}
        self._headers: dict[int, frozenset[str]] = {}
        for unit in self.units:
            if unit.kind in {"table", "chart"}:
                self._headers[id(unit.source)] = self._headers.get(id(unit.source), frozenset()) | unit.own
            for one in unit.own.union(unit.context):
                self._counts[one] = self._counts.get(one, 0) + 1

    def rarity(self, term: str) -> float:
        """``log(1 + N / df)`` over units and what stands over them; df is 0.5 for a term none has."""
        return math.log(1 + (len(self.units) + 1) / (self._counts.get(term, 0) or 0.5))

    def weights(self, question: Question) -> dict[str, float]:
        """Weight of each term of the question, summing to 1."""
        raw: dict[str, float] = {}
        for term in question.terms:
            known = min(
                (self.rarity(t) for t in (term.stem, *equals(term.stem)) if t in self._counts), default=None
            )
            raw[term.stem] = term.weight * (self.rarity(term.stem) if known is None else known)
        total = sum(raw.values())
        return {stem: weight / total for stem, weight in raw.items()} if total else {}

    def score(self, question: Question, *, only: frozenset[int] | None = None) -> list[Scored]:
        """Every unit (of the candidates at positions ``only``), best first."""
        weights = self.weights(question)
        known = frozenset(term.stem for term in question.terms)
        terms = [(term, weights.get(term.stem, 0.0), self._alike(term)) for term in question.terms]
        units = [unit for unit in self.units if only is None or unit.place in only]
        scored = [self._make(self._meet(unit, question, terms), question, known, 0.0) for unit in units]
        scored.sort(key=_order)
        if self.encode is not None and scored:
            scored = self._with_similarity(question, scored, self.encode)
        return scored

    def _alike(self, term: Term) -> dict[str, float]:
        """Stems of the pool that meet the term, with how far: 1 for itself, `EQUAL` for equals and kin."""
        found = {one: EQUAL for one in self._vocabulary if _akin(term.stem, one)}
        found.update(dict.fromkeys(equals(term.stem), EQUAL))
        found.update(dict.fromkeys((term.stem, *term.short), 1.0))
        return found

    def _meet(
        self, unit: Unit, question: Question, terms: Sequence[tuple[Term, float, dict[str, float]]]
    ) -> Scored:
        own = coverage = core = core_weight = 0.0
        counted = not question.counted
        absent = False
        missing = []
        headers = self._headers.get(id(unit.source), frozenset())
        for term, weight, alike in terms:
            mine = max((v for one, v in alike.items() if one in unit.own), default=0.0)
            around = max((v * unit.context.get(one, 0.0) for one, v in alike.items()), default=0.0)
            around = max(mine, around)
            elsewhere = not around and any(one in headers for one in alike)
            far = 0.0 if elsewhere else self._far(term, alike, unit.place)
            own += weight * mine
            coverage += weight * max(around, far)
            if term.kind == "word":
                core += weight * max(around, far)
                core_weight += weight
                absent = absent or not (around or self._far(term, alike, unit.place))
            if term.stem in question.counted and around >= EQUAL * NEIGHBOUR:
                counted = True
            if term.is_anchor and not (self._has_anchor(term, around, far) or self._is_only_year(term, unit)):
                missing.append(term.surface)
        core = core / core_weight if core_weight else 1.0
        return Scored(
            unit, 0.0, coverage, own, tuple(missing), None, core=core, counted=counted, absent=absent
        )

    def _make(self, item: Scored, question: Question, known: frozenset[str], similarity: float) -> Scored:
        """Complete what the words alone gave by type, shape, rank and similarity."""
        unit = item.unit
        left = 1 - CLOSED * similarity
        support = 1 - (1 - item.support) * left
        core = 1 - (1 - item.core) * left
        fits = unit.fits(question.kind, known)
        if unit.kind == "sentence" and not _says_more(unit, known):
            fits = False
        typed = 0.5 if fits is None else float(fits)
        precision = _precision(unit, known)
        score = 0.62 * support + 0.14 * typed + 0.06 / (1 + 0.25 * unit.place)
        score += 0.10 * precision + 0.08 * _shape(unit, question) + 0.08 * similarity
        own = max(item.own, similarity * support)
        made = Scored(
            unit, score, support, own, item.missing, fits, precision, core, item.counted, item.absent
        )
        return replace(made, score=score - 0.25 * bool(item.missing) - 0.10 * (not made.on_subject))

    def _far(self, term: Term, alike: Mapping[str, float], place: int) -> float:
        """What the document's name and the page, or another retrieved page of it, give a term."""
        key = (term.stem, term.kind, place)
        if key not in self._far_cache:
            self._far_cache[key] = self._look_far(term, alike, place)
        return self._far_cache[key]

    def _look_far(self, term: Term, alike: Mapping[str, float], place: int) -> float:
        if term.stem in self._names[place]:
            return TITLE
        document = _document(self.candidates[place])
        near = any(
            _document(candidate) == document and any(one in page for one in alike)
            for candidate, page in zip(self.candidates, self._pages, strict=True)
        )
        return PAGE if near else 0.0

    def _is_only_year(self, term: Term, unit: Unit) -> bool:
        """Whether the page speaks of this year alone ("Month: March 1987" over a log)."""
        return self._years[unit.place] == {term.stem}

    @staticmethod
    def _has_anchor(term: Term, near: float, far: float) -> bool:
        if near > 0:
            return True
        if term.kind == "name" or (term.stem.isdigit() and len(term.stem) < 3):
            return far > 0  # "pump 2" is "P2" or "No. 2" elsewhere
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
            better.append(self._make(item, question, known, min(1.0, share)))
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


def _akin(term: str, other: str) -> bool:
    """Whether both share three quarters of the term, and more than four letters, at their beginning."""
    need = max(5, math.ceil(0.75 * len(term)))
    if len(term) < 5 or len(other) > len(term) + 4 or other[:need] != term[:need]:
        return False
    return not any(c.isdigit() for c in term)


def _precision(unit: Unit, known: frozenset[str]) -> float:
    """Share of a cell's own headers that the question has; for sentences, how much they are to the point."""
    stems = unit.names if unit.precise else unit.own
    if not stems:
        return 0.0
    met = sum(1 for one in stems if one in known or any(e in known for e in equals(one)))
    return met / len(stems) if unit.precise else min(1.0, (3 if len(stems) > 6 else 2) * met / len(stems))


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
    if unit.role == "caption":
        return 0.0
    says = unit.says.lower()
    if question.kind == "definition":
        words = [term.surface.lower() for term in question.terms if term.kind != "light"]
        heads = any(
            f"{w} {v} " in says for w in words for v in ("is", "are", "means", "refers to", "denotes")
        )
        return 1.0 if heads else 0.4
    if question.kind == "reason":
        return 1.0 if gives_reason(says) else 0.4
    return 0.6 if says[-1:] in ".!" else 0.3
