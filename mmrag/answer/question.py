"""What a question asks for, by general patterns of English: its terms, its type, its parts.

Decisions taken here:

* Terms are compared by stems of a small suffix stripper and a short list of everyday equals ("sales" and
  "revenue", "fell" and "declined"). No dictionary, no model.
* *Anchors* are what an answer must not miss: names, quoted phrases, years and numbers. A capital at the
  start of the question, or in a question set in capitals throughout, names nothing.
* A question may have two parts ("..., and who ...?") or two sides ("compare A with B"); each side is a
  question of its own that needs its own evidence.
* Only English is analysed. Questions in other languages keep their terms; their type stays open.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

_STOP = frozenset(
    ["a", "an", "the", "of", "in", "on", "at", "to", "for", "from", "by", "with", "and", "or", "but", "as", "is", "are", "was", "were", "be", "been", "being", "do", "does", "did", "done", "has", "have", "had", "having", "it", "its", "this", "that", "these", "those", "there", "here", "he", "she", "they", "them", "his", "her", "their", "we", "our", "us", "you", "your", "i", "me", "my", "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "much", "many", "if", "then", "than", "so", "such", "not", "no", "nor", "can", "could", "will", "would", "shall", "should", "may", "might", "must", "about", "into", "over", "under", "between", "among", "during", "per", "each", "any", "all", "some", "more", "most", "other", "also", "only", "just", "very", "s", "t", "please", "tell", "give", "show", "according", "based", "within", "without", "via", "both", "either", "respectively", "versus", "vs", "compare", "compared", "comparison", "than", "while", "whereas", "up", "down", "out", "off", "one", "two"]
)
_LIGHT = frozenset(
    ["change", "report", "mention", "state", "describe", "say", "list", "name", "use", "show", "give", "find", "get", "make", "provide", "include", "contain", "call", "document", "page", "table", "figure", "chart", "section", "text", "paper", "file", "deck", "slide", "form", "number", "amount", "value", "total", "percentage", "percent", "share", "rate", "year", "month", "day", "date", "time", "people", "person", "thing", "kind", "type", "way", "part", "following", "different", "exist", "happen", "occur", "present", "particular", "specific", "current", "recent", "overall", "main", "major", "average", "mean", "term", "define", "definition", "explain", "indicate", "shown", "given", "company", "organisation", "organization", "question", "answer", "high", "low", "large", "small", "great", "big", "long", "old", "late", "early", "good", "best", "highest", "lowest", "largest", "smallest", "greatest", "biggest", "much", "least", "fewest", "exactly", "approximately", "roughly", "cost", "price"]
)
_EQUAL = (
    "sale revenue turnover",
    "employee staff headcount workforce personnel",
    "fall decline decrease drop reduce shrink lower",
    "rise increase grow growth gain climb higher",
    "change rise fall increase decrease grow growth decline drop",
    "buy purchase acquire acquisition",
    "expense cost spend expenditure",
    "profit earnings income",
    "start begin launch",
    "end finish close",
    "customer client",
    "power electricity",
    "generate produce output production generation",
    "phone telephone tel",
    "email e-mail mail",
    "address location",
    "birth born",
    "author write",
    "require need must",
    "quarter q1 q2 q3 q4",
    "goal aim objective target",
    "method approach",
    "result finding",
    "limit maximum cap",
    "minimum least",
    "price cost fee charge",
    "percent % percentage share proportion",
    "heavy weight",
    "tall height",
    "long length duration",
    "far distance",
    "deep depth",
    "wide width",
    "old age",
    "hot temperature",
    "us usa america american",
    "uk britain british",
)
_IRREGULAR = {
    "grew": "grow", "grown": "grow", "fell": "fall", "fallen": "fall", "rose": "rise", "risen": "rise",
    "sold": "sell", "paid": "pay", "made": "make", "bought": "buy", "spent": "spend", "began": "begin",
    "begun": "begin", "wrote": "write", "written": "write", "gave": "give", "given": "give", "took": "take",
    "taken": "take", "found": "find", "held": "hold", "won": "win", "lost": "lose", "led": "lead", "met": "meet",
    "ran": "run", "went": "go", "goes": "go", "gone": "go", "built": "build", "chose": "choose", "chosen": "choose",
    "people": "person", "children": "child", "men": "man", "women": "woman", "said": "say", "kept": "keep",
    "left": "leave", "sent": "send", "told": "tell", "thought": "think", "brought": "bring", "got": "get",
    "shown": "show", "born": "birth", "higher": "high", "lower": "low", "larger": "large",
}  # fmt: skip
_WORD = re.compile(r"%|\b[A-Z]&[A-Z]\b|[^\W_]+(?:[.,]\d+)*(?:['’]s\b)?")
_NUMBER_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty", "thirty", "hundred", "thousand"]


def _strip(word: str) -> str:
    """Cut the common endings of English off a lower-case word."""
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("sses"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if word.endswith("ation") and len(word) > 7:
        return word[:-3]
    for ending in ("ingly", "edly", "ing", "ed", "ly"):
        base = word[: -len(ending)]
        if word.endswith(ending) and len(base) >= 3 and re.search("[aeiouy]", base):
            word = base
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 3 else word


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The form under which a word is compared: lower case, no accents, common English endings cut."""
    word = unicodedata.normalize("NFKD", word).casefold()
    word = "".join(c for c in word if not unicodedata.combining(c))
    word = re.sub(r"['’]s?$", "", word)
    if any(c.isdigit() for c in word):
        return word.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", word) else word
    word = _IRREGULAR.get(word, word)
    return word if len(word) <= 3 else _strip(word)


_STOP_STEMS = frozenset(stem(word) for word in _STOP) | _STOP
_LIGHT_STEMS = frozenset(stem(word) for word in _LIGHT)
_GROUPS: dict[str, frozenset[str]] = {}
for _line in _EQUAL:
    _stems = [stem(word) for word in _line.split()]
    # The first word of a line stands for the line only: "change" is met by "fell", but "rise" not by "fell".
    _GROUPS[_stems[0]] = _GROUPS.get(_stems[0], frozenset()) | frozenset(_stems)
    if _line.startswith("change"):
        for _stem in _stems[1:]:  # a column "Change" tells of a rise and of a fall
            _GROUPS[_stem] = _GROUPS.get(_stem, frozenset()) | {_stems[0]}
        continue
    for _stem in _stems:
        _GROUPS[_stem] = _GROUPS.get(_stem, frozenset()) | frozenset(_stems)


def equals(term: str) -> frozenset[str]:
    """Stems that count as the same, the term itself not included."""
    return _GROUPS.get(term, frozenset()) - {term}


def content_stems(text: str) -> list[str]:
    """Stems of the words that carry meaning, in their order, repeats kept."""
    found = []
    for match in _WORD.finditer(text):
        word = match.group()
        if word.lower() in _STOP and not (word.isupper() and len(word) > 1):
            continue
        found.append("%" if word == "%" else stem(word))
    return found


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


_KINDS = (
    ("percent", r"\b(?:what|which)\s+(?:\w+\s+){0,2}?(?:percent|percentage|share|proportion|fraction)\b|%|\bhow (?:high|large) (?:is|was) the (?:share|rate)\b|\bpercentage\b"),
    ("count", r"\bhow many\b|\bnumber of (?!the |an? |this |that )"),
    ("money", r"\bwhat (?:did|does|do|will|would) .*\bcost\b|\bhow much (?:was|were|is|are) .*\b(?:paid|worth|charged)\b|\bhow much (?:money|did .*\b(?:cost|pay|spend|earn)|does .*\bcost|is the (?:fee|price|cost))|\bwhat (?:is|was|are|were) the (?:\w+ )?(?:price|cost|fee|salary|budget|premium)\b"),
    ("number", r"\bhow (?:much|long|far|tall|fast|old|large|big|deep|wide|heavy|high|often)\b|\bby how much\b"),
    ("year", r"\b(?:what|which) year\b"),
    ("date", r"^\W*(?:(?:and|since|until|by|from) )?when\b|\bwhat (?:is the |was the )?(?:\w+ ){0,2}(?:date|deadline)\b|\bon (?:what|which) (?:day|date)\b"),
    ("person", r"^\W*(?:(?:and|to|by|for|with|of|from) )?who(?:m|se)?\b|, who\b"),
    ("place", r"^\W*(?:(?:and|from|to) )?where\b|\b(?:what|which) (?:city|country|state|place|town|location)\b"),
    ("definition", r"^\s*what (?:is|are) (?:an? )?(?:[\w-]+ ?){1,3}\??$|\bwhat does .* (?:mean|stand for)\b|^\s*define\b|\bdefinition of\b"),
    ("reason", r"\bwhy\b|\bwhat (?:is|was|were) the reasons?\b|\bwhat caused\b"),
    ("yes/no", r"^\s*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may)\b"),
)  # fmt: skip
_PATTERNS = tuple((kind, re.compile(pattern, re.I)) for kind, pattern in _KINDS)
_MAX = re.compile(r"(?i)\b(?:highest|largest|biggest|greatest|most|maximum|top|best|longest|fastest|strongest|heaviest|tallest|oldest|deepest|widest|steepest|richest)\b")
_MIN = re.compile(r"(?i)\b(?:lowest|smallest|least|fewest|minimum|worst|shortest|slowest|weakest|lightest|youngest|cheapest)\b")
_LIST = re.compile(
    r"(?i)^\s*(?:please )?(?:list|name|enumerate)\b|\b(?:what|which) (?:are|were) (?:the|its|their|all)\b|\bwhich \w+s (?:are|were|do|have)\b"
    r"|\bwhat (?:\w+ )?(?:steps|types|kinds|features|benefits|options|reasons|goals|priorities|members|items|requirements)\b"
)
_QUOTED = re.compile(r"[\"“«]([^\"”»]{2,80})[\"”»]")
_PART = re.compile(
    r"(?i),?\s+and\s+(?=(?:what|who|when|where|which|why|how|in which|by how|to whom)\b)|\?\s+(?=(?:and\s+)?(?:what|who|when|where|which|why|how)\b)"
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
        if bare.lower() in _STOP and found:
            break
        if bare.lower() not in _STOP:
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
    for match in _WORD.finditer(text):
        word = match.group()
        before = text[: match.start()].rstrip()
        first = not before or before[-1] in ".?!:\"“"
        capital = word[:1].isupper() and not shouting
        if word.lower() in _STOP and not (word.isupper() and len(word) > 1 and not shouting):
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
        elif (base in _LIGHT_STEMS or re.search(r"(?i)\bhow$", before)) and word not in inside:
            term = Term(base, "light", word)
        else:
            term = Term(base, "name" if word in inside.split() else "word", word)
        if base not in found or found[base].weight < term.weight:
            found[base] = term
    return tuple(found.values())


_COMPARISONS = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"^(?P<head>.*?)\bcompare[sd]?\s+(?P<a>.+?)\s+(?:with|to|and|against|versus|vs\.?)\s+(?P<b>.+?)(?P<tail>)\??$",
        r"^(?P<head>.*?)\b(?:difference|gap|differ)\s+between\s+(?P<a>.+?)\s+and\s+(?P<b>.+?)(?P<tail>)\??$",
        r"^(?P<head>.*?)\bhow (?:does|do|did) (?P<a>.+?)\s+compare\s+(?:with|to|against)\s+(?P<b>.+?)(?P<tail>)\??$",
        r"^(?P<head>.+?)\b(?:in|of|by|for|from)\s+both\s+(?P<a>.+?)\s+and\s+(?P<b>.+?)(?P<tail>)\??$",
        r"^(?P<head>.+?)\b(?:in|of|by|for|from)\s+(?P<a>(?:the )?\S+(?: \S+)?)\s+and\s+(?:(?:in|of|by|for|from) )?(?P<b>.+?)(?P<tail>),?\s+respectively\b.*$",
        r"^(?P<head>.+?(?:higher|lower|larger|smaller|bigger|greater|longer|shorter|more|less|fewer|better|faster|cheaper)\b.*?)[,:]\s*(?P<a>.+?),?\s+or\s+(?P<b>.+?)(?P<tail>)\??$",
        r"^(?P<head>)(?P<a>.+?)\s+(?:versus|vs\.?)\s+(?P<b>.+?)(?P<tail>)\??$",
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


def has_number_word(text: str) -> bool:
    """Whether a number is written out ("three", "twenty")."""
    return any(word in _NUMBER_WORDS for word in text.lower().split())
