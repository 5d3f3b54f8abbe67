"""What a question asks for, by general patterns of English: its terms, its type, its parts.

Decisions taken here:

* Terms are compared by their stems and everyday equals (`mmrag.answer.words`).
* *Anchors* are what an answer must not miss: names, quoted phrases, years and numbers. A capital at the
  start of the question, or in a question set in capitals throughout, names nothing.
* A question may have two parts ("..., and who ...?") or two sides ("compare A with B"); each side is a
  question of its own that needs its own evidence.
* Only English is analysed. Questions in other languages keep their terms; their type stays open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mmrag.answer.words import LIGHT_STEMS, STOP, WORD, content_stems, stem


@dataclass(frozen=True)
class Term:
    """A word of the question.

    Attributes:
        stem: how it is compared.
        kind: ``"name"``, ``"number"``, ``"word"`` or ``"light"`` (says little by itself).
        surface: as it was written.
        short: other ways to write it: "P2" for the 2 of "pump 2", "Q3" for "quarter 3".
    """

    stem: str
    kind: str
    surface: str
    short: tuple[str, ...] = ()

    @property
    def weight(self) -> float:
        """How much missing it costs, before rarity: a name or number more, a light word little."""
        return {"name": 1.5, "number": 1.5, "word": 1.0, "light": 0.3}[self.kind]

    @property
    def is_anchor(self) -> bool:
        """Whether an answer must not miss it."""
        return self.kind in {"name", "number"}


@dataclass(frozen=True)
class Question:
    """A question taken apart.

    Attributes:
        text: as it was asked.
        terms: without repeats.
        kind: the type of answer: ``"percent"``, ``"money"``, ``"count"``, ``"number"``, ``"year"``,
            ``"date"``, ``"person"``, ``"place"``, ``"yes/no"``, ``"definition"``, ``"reason"`` or ``"open"``.
        is_list: several things are asked for.
        superlative: ``"max"``, ``"min"`` or ``""``.
        parts: questions to be answered one by one, for two parts or two sides; else empty.
        compares: the parts are two sides of one comparison, to be proved from two places.
        quoted: phrases in quotation marks.
        counted: for a count, stems of what is counted ("how many service engineers").
        by: stem of X in "by X", as in "sales by region".
    """

    text: str
    terms: tuple[Term, ...]
    kind: str = "open"
    is_list: bool = False
    superlative: str = ""
    parts: tuple[Question, ...] = ()
    compares: bool = False
    quoted: tuple[str, ...] = ()
    counted: frozenset[str] = frozenset()
    by: str = ""


_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "percent",
        (
            r"\b(?:what|which)\s+(?:\w+\s+){0,2}?(?:percent|percentage|share|proportion|fraction)\b",
            r"%|\bpercentage\b|\bhow (?:high|large) (?:is|was) the (?:share|rate)\b",
        ),
    ),
    ("count", (r"\bhow many\b", r"\bnumber of (?!the |an? |this |that )")),
    (
        "money",
        (
            r"\bwhat (?:did|does|do|will|would) .*\bcost\b",
            r"\bhow much (?:was|were|is|are) .*\b(?:paid|worth|charged)\b",
            r"\bhow much (?:money|did .*\b(?:cost|pay|spend|earn)|does .*\bcost|is the (?:fee|price|cost))",
            r"\bwhat (?:is|was|are|were) the (?:\w+ )?(?:price|cost|fee|salary|budget|premium)\b",
        ),
    ),
    (
        "number",
        (r"\bhow (?:much|long|far|tall|fast|old|large|big|deep|wide|heavy|high|often)\b", r"\bby how much\b"),
    ),
    ("year", (r"\b(?:what|which) year\b",)),
    (
        "date",
        (
            r"^\W*(?:(?:and|since|until|by|from) )?when\b",
            r"\b(?:what|which) (?:is the |was the )?(?:\w+ ){0,2}(?:date|deadline)\b",
            r"\bon (?:what|which) (?:day|date)\b",
        ),
    ),
    ("person", (r"^\W*(?:(?:and|to|by|for|with|of|from) )?who(?:m|se)?\b|, who\b",)),
    (
        "place",
        (
            r"^\W*(?:(?:and|from|to) )?where\b",
            r"\b(?:what|which) (?:city|country|state|place|town|location)\b",
        ),
    ),
    (
        "definition",
        (
            r"^\s*what (?:is|are) (?:an? )?(?:[\w-]+ ?){1,3}\??$",
            r"\bwhat does .* (?:mean|stand for)\b",
            r"^\s*define\b|\bdefinition of\b",
        ),
    ),
    ("reason", (r"\bwhy\b", r"\bwhat (?:is|was|were) the reasons?\b", r"\bwhat caused\b")),
    ("yes/no", (r"^\s*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may)\b",)),
)
_PATTERNS = tuple((kind, re.compile("|".join(patterns), re.I)) for kind, patterns in _KINDS)
_MAX = re.compile(
    r"(?i)\b(?:highest|largest|biggest|greatest|most|maximum|top|best|longest|fastest|strongest|heaviest|tallest|oldest|deepest|widest|steepest|richest)\b"
)
_MIN = re.compile(
    r"(?i)\b(?:lowest|smallest|least|fewest|minimum|worst|shortest|slowest|weakest|lightest|youngest|cheapest)\b"
)
_LIST = re.compile(
    r"(?i)^\s*(?:please )?(?:list|name|enumerate)\b"
    r"|\b(?:what|which) (?:are|were) (?:the|its|their|all)\b|\bwhich \w+s (?:are|were|do|have)\b"
    r"|\bwhat (?:\w+ )?(?:steps|types|kinds|features|benefits|options|reasons|goals|priorities|members)\b"
    r"|\bwhat (?:\w+ )?(?:items|requirements)\b"
)
_ASKS_HOW_LONG = re.compile(r"(?i)\bhow \w+$|\bhow long (?:do|does|did|will|can) .*\b(?:last|take)s?$")
"""The word after "how", and the verb of "how long does ... last": they ask, and stand in no answer."""
_QUOTED = re.compile(r"[\"“«]([^\"”»]{2,80})[\"”»]")
_PART = re.compile(
    r"(?i),?\s+and\s+(?=(?:what|who|when|where|which|why|how|in which|by how|to whom)\b)"
    r"|\?\s+(?=(?:and\s+)?(?:what|who|when|where|which|why|how)\b)"
)


def analyse(text: str) -> Question:
    """Take a question apart."""
    question = _simple(text)
    sides = _sides(text)
    if sides is not None:
        return replace(question, parts=tuple(_simple(side) for side in sides), compares=True)
    pieces = [piece.strip() for piece in _PART.split(text) if piece.strip()]
    if len(pieces) == 2 and all(len(content_stems(piece)) >= 1 for piece in pieces):
        return replace(question, parts=(_simple(pieces[0]), _with_context(pieces[1], pieces[0])))
    return question


def _simple(text: str) -> Question:
    kind = next((kind for kind, pattern in _PATTERNS if pattern.search(text)), "open")
    extreme = "max" if _MAX.search(text) else "min" if _MIN.search(text) else ""
    quoted = tuple(match.group(1) for match in _QUOTED.finditer(text))
    by = re.search(r"(?i)\bby (?:each )?([a-z]{3,})\b", text)
    return Question(
        text,
        _terms(text, quoted),
        kind,
        bool(_LIST.search(text)),
        extreme,
        quoted=quoted,
        counted=_counted(text) if kind == "count" else frozenset(),
        by=stem(by.group(1)) if by else "",
    )


def _counted(text: str) -> frozenset[str]:
    """Stems of the noun phrase after "how many" or "number of", up to the first word that says nothing."""
    match = re.search(r"(?i)\b(?:how many|number of)\s+(.*)", text)
    found: list[str] = []
    for word in match.group(1).split() if match else ():
        bare = word.strip("?,.;:")
        if bare.lower() in STOP and found:
            break
        if bare.lower() not in STOP:
            found.append(stem(bare))
        if len(found) == 3 or bare != word:
            break
    return frozenset(found)


def _with_context(piece: str, before: str) -> Question:
    """The second part; a pronoun in it stands for the names of the first."""
    question = _simple(piece)
    if re.search(r"(?i)\b(?:it|its|they|their|them|he|she|his|her|this|that|those)\b", piece):
        names = tuple(term for term in _simple(before).terms if term.kind == "name")
        known = {term.stem for term in question.terms}
        return replace(question, terms=question.terms + tuple(t for t in names if t.stem not in known))
    return question


def _terms(text: str, quoted: Iterable[str]) -> tuple[Term, ...]:
    found: dict[str, Term] = {}
    inside = " ".join(quoted)
    shouting = sum(c.isupper() for c in text) > 0.5 * max(1, sum(c.isalpha() for c in text))
    titled = sum(w[:1].isupper() for w in text.split()) > 0.6 * len(text.split()) and len(text.split()) > 4
    for match in WORD.finditer(text):
        word = match.group()
        before = text[: match.start()].rstrip()
        first = not before or before[-1] in '.?!:"“'
        capital = word[:1].isupper() and not shouting
        if word.lower() in STOP and not (word.isupper() and len(word) > 1 and not shouting):
            continue
        if _MAX.fullmatch(word) or _MIN.fullmatch(word):
            continue  # it says how to choose, not what
        base = stem(word)
        if word == "%":
            term = Term("%", "light", word)
        elif word[0].isdigit():
            left = re.search(r"([^\W\d_])[^\W\d_]*\s+$", text[: match.start()])
            term = Term(base, "number", word, (f"{left.group(1).lower()}{base}",) if left else ())
        elif (capital and not first and not titled) or (word.isupper() and len(word) > 1 and not shouting):
            term = Term(base, "name", word)
        elif (base in LIGHT_STEMS or _ASKS_HOW_LONG.search(f"{before} {word}")) and word not in inside:
            term = Term(base, "light", word)
        else:
            term = Term(base, "name" if word in inside.split() else "word", word)
        if base not in found or found[base].weight < term.weight:
            found[base] = term
    return tuple(found.values())


_BY = r"(?:in|of|by|for|from)"
_MORE = r"(?:higher|lower|larger|smaller|bigger|greater|longer|shorter|more|less|fewer|better|faster|cheaper)"
_COMPARISONS = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"^(?P<head>.*?)\bcompare[sd]?\s+(?P<a>.+?)\s+(?:with|to|and|against|versus|vs\.?)\s+(?P<b>.+?)\??$",
        r"^(?P<head>.*?)\b(?:difference|gap|differ)\s+between\s+(?P<a>.+?)\s+and\s+(?P<b>.+?)\??$",
        r"^(?P<head>.*?)\bhow (?:does|do|did) (?P<a>.+?)\s+compare\s+(?:with|to|against)\s+(?P<b>.+?)\??$",
        rf"^(?P<head>.+?)\b{_BY}\s+both\s+(?P<a>.+?)\s+and\s+(?P<b>.+?)\??$",
        rf"^(?P<head>.+?)\b{_BY}\s+(?P<a>(?:the )?\S+(?: \S+)?)\s+and\s+"
        rf"(?:{_BY} )?(?P<b>.+?),?\s+respectively\b",
        rf"^(?P<head>.+?{_MORE}\b.*?)[,:]\s*(?P<a>.+?),?\s+or\s+(?P<b>.+?)\??$",
        r"^(?P<head>)(?P<a>.+?)\s+(?:versus|vs\.?)\s+(?P<b>.+?)\??$",
    )
)


def _sides(text: str) -> tuple[str, str] | None:
    """The two sides of a comparison, each with what the question says of both; None for no comparison."""
    for pattern in _COMPARISONS:
        match = pattern.match(text.strip())
        if match is None:
            continue
        head, a, b = match["head"].strip(), match["a"].strip(), match["b"].strip(" ?.")
        if not content_stems(a) or not content_stems(b):
            continue
        # "compare sales in Europe and Asia": what stands before the last preposition is meant of both.
        share = re.match(r"(?i)^(?P<what>.+\b(?:in|of|for|by|at|from))\s+(?P<name>\S.*)$", a)
        if share and not re.search(r"(?i)\b(?:in|of|for|by|at|from)\b", b) and len(b.split()) <= 4:
            b = f"{share['what']} {b}"
        return f"{head} {a}".strip(), f"{head} {b}".strip()
    return None
