"""What a question asks for: its words, the names and numbers in it, the kind of thing, whether to compute.

Short lists of everyday words (English; the question words of German, French and Spanish), written down from
general knowledge of the languages. They only narrow what is read; the model chooses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from mmrag.answer.words import content_stems, stem

_MONTH = (
    r"jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|f[ée]vrier|mar(?:ch|s|zo)?|märz|maerz|apr(?:il)?|abril|avril|"
    r"may|mai|mayo|june?|juni|juin|july?|juli|juillet|aug(?:ust)?|août|sept?(?:ember)?|oct(?:ober)?|"
    r"okt(?:ober)?|nov(?:ember)?|de[cz](?:ember)?"
)
_SPANS = {
    "date": re.compile(
        rf"(?i)\b(?:\d{{1,2}}\W*)?(?:{_MONTH})\b\W*\d|(?<!\d)\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}"
    ),
    "place": re.compile(r"(?m)^(?=.*\d)(?=.*[A-Z]\w).*,"),  # a line that has all three
    "money": re.compile(
        r"[$€£¥]\s?\d|\d[.,]\d\d\b|(?i:\b(?:usd|eur|gbp|dollars?|euros?|pounds?|million|billion)\b)"
    ),
    "number": re.compile(
        r"(?i)\d|\b(?:no|none|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|"
        r"thirty|forty|fifty|hundreds?|thousands?|millions?|half|twice|dozen)\b"
    ),
    "name": re.compile(r"(?:^|[^.!?]\s)[\"'(]?[A-Z][\w&.'-]+|^[A-Z]"),
}
_WEAK_SPANS = {
    "date": re.compile(
        rf"(?i)\b(?:{_MONTH})\b|\b(?:1[5-9]|20)\d\d\b|\b\d{{1,2}}:\d\d\b|"
        r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:day|week|month|year)s?\b"
    ),
    "money": re.compile(r"\d"),
    "place": re.compile(r"\w"),  # a place has no form of its own
}
_KIND_PATTERNS = (
    (
        "date",
        r"\bwhen\b|\b(?:what|which|on what) (?:\w+ )?(?:date|day|year|month|time)\b|"
        r"^(?:wann|quand|cuándo)\b|\bdate\b",
    ),
    (
        "money",
        r"\bhow much\b.{0,300}\b(?:pay|paid|spen[dt]|charged?|owed?|cost|earned?)\b|"
        r"\b(?:price|costs?|fee|bill|rent|salary|worth|amount|net pay|gross pay|balance|preis|kosten|betrag|"
        r"prix|montant|precio|importe)\b",
    ),
    (
        "number",
        r"\bhow (?:many|much|high|wide|long|far|large|big|tall|deep|old|fast|often|heavy|thick|hot)\b|"
        r"\b(?:number|percentage|percent|proportion|share|rate|ratio|total|quantity|count|size|score) of\b|"
        r"\bwhat (?:percentage|percent|number|share|proportion)\b|"
        r"^(?:wie viele?|wie (?:hoch|lang|groß)|combien|cuántos?)\b",
    ),
    (
        "name",
        r"^(?:who|whom|whose|wer|wem|qui|quién)\b|"
        r"\b(?:which|what|name of the) (?:company|person|shop|store|firm|vendor)\b",
    ),
    ("place", r"^where\b|\baddress\b|^(?:wo|où|dónde)\b"),
)
_COMPUTES = re.compile(
    r"(?i)\b(?:most|least|fewest|best|worst|maximum|minimum|average|mean|median|sum|combined|altogether|"
    r"difference|ratio|compared?|comparison|differs?|add up|times (?:more|as|larger|higher)|"
    r"(?:greater|bigger|larger|smaller|higher|lower|more|less|fewer|older)\b[^?]{0,200}\b(?:or|than)|"
    r"(?:how (?:much|many)|which \w+|which is) (?:\w+ ){0,2}"
    r"(?:more|less|fewer|higher|lower|larger|smaller|bigger|longer|shorter|older|younger|cheaper|better|worse)|"
    r"rank(?:ed|s)?|growth rate|percent(?:age)? (?:change|increase|decrease)|"
    r"(?!(?:inter|for|har|re|requ|t|w|gu|near|wr|v|p|qu|b|proto|arr|honest|mod|lat)est\b)[a-z]{2,}est|"
    r"(?:höchs|größ|klein|niedrigs|meis|wenigs|läng|ältes|teuers)\w*te[nrs]?)\b"
)
_NAME = re.compile(
    r"\b\d[\d,.]*\d\b|\b\d+\b|(?<![.?!] )(?<!^)\b[A-ZÄÖÜÉ][\w&'\u2019-]*(?:\s+[A-Z][\w&'\u2019-]*)*"
)


_WHOLE = "amount bill come cost due invoice money owe paid pay price receipt spend sum total whole"
"""Words of a question on money that names nothing in particular: it asks for the total."""
_PLAIN = """
document page report letter form paper file table figure chart slide section text company firm shop store
business person people name address place date day month year time number value issue buy purchase sell sign
write send author mention state describe list show give find accord
long high wide far large big tall deep old fast often heavy thick hot small short
graph diagram image picture color colour percent percentage
wann wer wem wo wie viel viele was welche welcher welches ist sind war fand statt der die das den dem des ein
eine im am von fur mit auf quand qui quel quelle est le la les du un une cuando quien donde cual el los las
"""
"""Words that a page which answers need not have: of documents, of what is asked for, of saying."""
_WHOLE_STEMS = frozenset(content_stems(_WHOLE))
_PLAIN_STEMS = _WHOLE_STEMS | frozenset(content_stems(_PLAIN))
_ASKS_TOTAL = "What is the total amount?"


@dataclass(frozen=True)
class Question:
    """A question in words.

    Attributes:
        text: as it was asked.
    """

    text: str

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of its content words."""
        return frozenset(content_stems(self.text))

    @cached_property
    def specific(self) -> frozenset[str]:
        """The stems of the words that say what it is about; the rest a page need not have."""
        return self.stems - _PLAIN_STEMS - frozenset(stem(word) for word in self.extremes)

    @cached_property
    def kind(self) -> str:
        """The kind of thing: ``"date"``, ``"money"``, ``"number"``, ``"name"``, ``"place"`` or ``""``."""
        text = self.text.strip().casefold()
        return next((kind for kind, pattern in _KIND_PATTERNS if re.search(pattern, text)), "")

    @cached_property
    def computes(self) -> bool:
        """Whether it asks for a comparison, an extreme or arithmetic."""
        return _COMPUTES.search(self.text) is not None

    @cached_property
    def extremes(self) -> frozenset[str]:
        """The words that ask for a comparison, an extreme or arithmetic, in lower case."""
        return frozenset(
            word for match in _COMPUTES.finditer(self.text) for word in match[0].casefold().split()
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names and numbers in it, which an answer must be about; numbers alone if all is in capitals."""
        names = dict.fromkeys(match[0] for match in _NAME.finditer(self.text))
        has_small = any(word[0].islower() for word in self.text.split())
        return tuple(name for name in names if has_small or name[0].isdigit())

    @cached_property
    def read_text(self) -> str:
        """What a model reads: the question; a question on money that names nothing asks for the total."""
        return _ASKS_TOTAL if self.kind == "money" and self.stems <= _WHOLE_STEMS else self.text

    def kind_share(self, text: str) -> float:
        """Return 1 if a text holds the kind of thing asked for or none is, .5 for a hint of it, else 0."""
        if self.kind not in _SPANS or _SPANS[self.kind].search(text):
            return 1.0
        weak = _WEAK_SPANS.get(self.kind)
        return 0.5 if weak is not None and weak.search(text) else 0.0
