"""Footnote marks: raised small characters after a word or figure become words of their own.

"250" with a raised 9 is 250 with note 9, and never 2509. Decided by geometry, since few files say it:

* A part is *raised* if it is at most 0.85 of the size of what stands before it (a superscript is 0.58 to
  0.7 of it, a small capital 0.8, but on the baseline) and its baseline is higher by 0.12 to 0.9 of that size.
* A *mark* is digits with commas or dashes between them, one small letter, or signs such as * and a dagger.
* After exactly "10" a figure is an exponent, written with superscript characters in the same word. After a
  word of at most three letters 2 and 3 (and a signed figure) are of a unit (m2, km2, s-1) or a formula, and
  stay as the layer has them, as a lowered figure does (CO2). All others are words of their own, in
  superscript characters where Unicode has them.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from mmrag.documents.layer.glyphs import LayerLine, LayerWord, Part, word_of

SMALL = 0.85
RISE = (0.12, 0.9)

_SUPERSCRIPTS = str.maketrans(
    "0123456789+-\u2212\u2013()abcdefghijklmnoprstuvwxyz",
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ",
)
_MARK = re.compile(
    r"[(\[]?(?:\d{1,3}(?:[,;\u2013-]\d{1,3})*|[a-z](?:,[a-z])*|[*\u2020\u2021\u00a7#\u00b6]+)[)\],]?"
)
_EXPONENT = re.compile(r"[+\u2212\u2013-]?\d{1,3}")
_OF_UNIT = re.compile(r"[23]|[+\u2212\u2013-]\d{1,2}|\d?[+\u2212\u2013-]")
_UNIT_LETTERS = 3
_TEN = re.compile(r"(?<![\d.,])10$")  # exactly 10, no end of a longer number
_LETTERS = re.compile(r"[^\W\d_]+$")
_SIGNS = "*\u2020\u2021\u00a7#\u00b6"


def split_marks(line: LayerLine) -> LayerLine:
    """Split raised marks off the words of a line; a line of one style is returned as it is."""
    sizes = {part.size for word in line.words for part in word.parts}
    if min(sizes) > SMALL * max(sizes):
        return line
    across = _across(line.angle)
    words: list[LayerWord] = []
    before: Part | None = None
    for word in line.words:
        words += _split(word, before, across)
        before = max((*((before,) if before else ()), *word.parts), key=lambda part: part.size)
    return replace(line, words=tuple(words))


def _across(angle: float) -> tuple[float, float]:
    """Return the unit vector that points upwards for a reader of the line."""
    radians = math.radians(angle)
    return math.sin(radians), -math.cos(radians)


def is_raised(part: Part, base: Part, across: tuple[float, float]) -> bool:
    """Check whether a part is a superscript of what stands before it."""
    rise = sum((p - b) * u for p, b, u in zip(part.origin, base.origin, across, strict=True))
    return part.size <= SMALL * base.size and RISE[0] * base.size <= rise <= RISE[1] * base.size


def _split(word: LayerWord, before: Part | None, across: tuple[float, float]) -> list[LayerWord]:
    """Split one word at its raised marks; `before` is the largest part of the line so far."""
    largest = max(word.parts, key=lambda part: part.size)
    base = largest if len(word.parts) > 1 or before is None else before
    groups: list[tuple[bool, list[Part]]] = []
    for part in word.parts:
        has_risen = is_raised(part, base, across)
        if groups and groups[-1][0] == has_risen:
            groups[-1][1].append(part)
        else:
            groups.append((has_risen, [part]))
    if not any(has_risen for has_risen, _ in groups):
        return [word]
    return _words_of_groups(groups)


def _words_of_groups(groups: list[tuple[bool, list[Part]]]) -> list[LayerWord]:
    """Join what belongs together, and part marks from words."""
    words: list[list[Part]] = []
    joins = True  # whether the next group goes on with the last word
    for index, (has_risen, parts) in enumerate(groups):
        text = _text(parts)
        kind = _kind(text, words, groups[index + 1 :]) if has_risen else "plain"
        if kind in ("exponent", "mark"):
            parts = [_superscript(part) for part in parts]
        if kind in ("mark", "numerator") or not words or not (joins or _goes_on(text)):
            words.append(list(parts))
        else:
            words[-1] += parts
        joins = kind != "mark"
    return [word_of(parts) for parts in words]


def _kind(text: str, words: list[list[Part]], next_groups: list[tuple[bool, list[Part]]]) -> str:
    """Decide what a raised text is: ``"mark"``, ``"exponent"``, ``"numerator"`` or ``"attached"``."""
    lead = _text(words[-1]) if words else ""
    if next_groups and _text(next_groups[0][1])[:1] in ("/", "\u2044"):
        return "numerator"
    if _EXPONENT.fullmatch(text) and _TEN.search(lead):
        return "exponent"
    if not _MARK.fullmatch(text):
        return "attached"
    letters = _LETTERS.search(lead)
    if letters is None or len(letters.group()) > _UNIT_LETTERS or text[0] in _SIGNS:
        return "mark"
    return "attached" if len(letters.group()) == 1 or _OF_UNIT.fullmatch(text) else "mark"


def _text(parts: list[Part]) -> str:
    """Join the texts of parts."""
    return "".join(part.text for part in parts)


def _goes_on(text: str) -> bool:
    """Check whether a text after a mark is the end of the word before it: a full stop, a bracket."""
    return not any(character.isalnum() for character in text)


def _superscript(part: Part) -> Part:
    """Write a part in superscript characters; what Unicode lacks stays."""
    return replace(part, text=part.text.translate(_SUPERSCRIPTS))
