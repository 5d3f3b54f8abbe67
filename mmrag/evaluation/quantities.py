"""Numbers in texts, and whether one agrees with an accepted number within 1 %.

The measure of T²-RAGBench (number match), for texts that hold several numbers: one that agrees is enough, so
a figure means something only beside the same figure of a random span. Decisions:

* A numeral of the text is read in every way that its separators allow: ``1,204`` is 1204 and 1.204,
  ``1.234,5`` is 1234.5, ``1 234`` is 1234, and 1 and 234. An accepted one is read the English way if that is
  possible.
* ``30.8 %`` is 30.8 and 0.308; ``17 million`` is 17 and 17,000,000: a unit may be stated or understood.
* Brackets and a minus before or behind are negative. A number without a sign agrees with a negative one
  ("fell by 27 %"); a number with the wrong sign does not.
* Years (whole numbers from 1900 to 2100 without separator or unit) agree only with themselves: 1 % of one is
  20 years.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mmrag.evaluation.pack import Question

TOLERANCE = 0.01
_MARK = re.compile(r"\[\d+\]")
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_SCALES |= {"k": 1e3, "mn": 1e6, "mio": 1e6, "bn": 1e9, "tn": 1e12}
_SCALE = "|".join(sorted(_SCALES, key=len, reverse=True))
_MINUS = "-\u2212\u2012\u2013"
_DIGITS = r"\d+(?:[.,'\u2019]\d+)*"
_WITH_SPACES = r"\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?:[.,]\d+)?"
_TAIL = rf"(?P<behind>-(?!\w))?(?P<close>\))?\s?(?:(?P<percent>%|per ?cent\b)|(?P<scale>{_SCALE})\b)?"
_PATTERNS = tuple(
    re.compile(
        rf"(?P<open>\((?=[^()]*\)))?(?:(?<!\w)(?P<sign>[{_MINUS}+]))?\s?[$\u20ac\u00a3\u00a5]?\s?"
        rf"(?<![\w.,])(?P<digits>{digits})(?![\d]){_TAIL}",
        re.IGNORECASE,
    )
    for digits in (_DIGITS, _WITH_SPACES)
)
_WHOLE = re.compile(
    rf"[{_MINUS}\s$\u20ac\u00a3\u00a5(+]*(?:[A-Z]{{3}}\s)?(?:{_WITH_SPACES}|{_DIGITS})[\s)]*-?"
    rf"(?:(?:%|per ?cent|{_SCALE})\s*)?(?:[A-Z]{{3}}|[$\u20ac\u00a3\u00a5])?\s*",
    re.IGNORECASE,
)
# groups of digits, and the mark of decimals
_READINGS = tuple(
    re.compile(rf"(?P<whole>[1-9]\d{{0,2}}(?:{group}\d{{3}})+|\d+)(?:{decimal}(?P<part>\d+))?")
    for group, decimal in (
        (",", r"\."),
        (r"\.", ","),
        ("['\u2019]", "[.,]"),
        ("[ \u00a0\u2009\u202f]", "[.,]"),
    )
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as it is printed.

    Attributes:
        values: its readings, without sign.
        sign: 1, -1, or 0 where none is printed.
        is_year: a whole number from 1900 to 2100 without separator, sign or unit.
    """

    values: tuple[float, ...]
    sign: int
    is_year: bool = False


def quantities(text: str) -> list[Quantity]:
    """Return the numbers of a text, without citation marks ``[n]``."""
    text = _MARK.sub(" ", text)
    numbers = [_quantity(match) for pattern in _PATTERNS for match in pattern.finditer(text)]
    return [number for number in numbers if number.values]


def accepted_quantity(answer: str) -> Quantity | None:
    """Return the number that an accepted answer is; None for one that is not a number and nothing else.

    A sign, a currency, a percent sign or a word for a scale may stand with it.
    """
    if _WHOLE.fullmatch(answer) is None:
        return None
    matches = [match for pattern in reversed(_PATTERNS) for match in pattern.finditer(answer)]
    number = _quantity(matches[0], is_english=True) if matches else None
    return number if number is not None and number.values else None


def asks_for_number(question: Question) -> bool:
    """Check whether the first accepted answer is a number, and no code or date (by the answer's format)."""
    return (
        question.answerable
        and question.answer_format.lower() in ("int", "float", "")
        and bool(question.answers)
        and accepted_quantity(question.answers[0]) is not None
    )


def number_matches(text: str, question: Question) -> bool:
    """Check whether a number of the text agrees with an accepted one within 1 %."""
    references = [number for answer in question.answers if (number := accepted_quantity(answer)) is not None]
    return any(agree(number, reference) for number in quantities(text) for reference in references)


def agree(number: Quantity, reference: Quantity) -> bool:
    """Check whether a number is an accepted one, by the rules above."""
    if number.sign and number.sign != (reference.sign or 1):
        return False
    tolerance = 0.0 if reference.is_year else TOLERANCE
    return any(abs(a - b) <= tolerance * b + 1e-9 for a in number.values for b in reference.values)


def _quantity(match: re.Match[str], *, is_english: bool = False) -> Quantity:
    digits = match["digits"]
    readings = list(_readings(digits))
    values = set(readings[:1] if is_english else readings)
    is_year = digits.isdecimal() and len(digits) == 4 and 1900 <= int(digits) <= 2100
    if match["percent"]:
        values |= {value / 100 for value in values}
    if match["scale"]:
        values |= {value * _SCALES[match["scale"].casefold()] for value in values}
    is_bracketed = bool(match["open"] and match["close"])
    has_minus = bool(match["behind"]) or (match["sign"] or "+") != "+"
    sign = -1 if is_bracketed or has_minus else 1 if match["sign"] else 0
    has_unit = bool(match["percent"] or match["scale"] or sign)
    return Quantity(tuple(sorted(values)), sign, is_year and not has_unit)


def _readings(digits: str) -> Iterator[float]:
    """Yield what the digits and separators may mean, the English reading first."""
    for pattern in _READINGS:
        match = pattern.fullmatch(digits)
        if match is not None:
            yield float(re.sub(r"\D", "", match["whole"]) + "." + (match["part"] or "0"))
