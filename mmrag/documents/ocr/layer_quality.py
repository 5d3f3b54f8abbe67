"""Decide whether a page's text layer is usable. Pure functions.

Decisions taken here (general rules, fixed before any evaluation):

* **No text** (no letter, digit or sign): none.
* **No Unicode map**: where at least a third of the visible characters are U+FFFD, private use,
  unassigned or control characters, the layer is garbage and counts as none.
* **One glyph repeated**: where at least 20 letters and digits are there and 60 % of them are the
  same one, or 20 visible characters hold no letter or digit at all, the layer counts as none.
  (Dots of a table of contents are no letters, so they do not make a page garbage.)
* **Nearly no text over a picture**: fewer than 100 letters and digits, while at least 2 % of the
  page's area is ink outside the words: a page number, stamp or watermark over a scan. OCR reads what
  the layer does not hold. A printed page has more than a thousand letters.
* **A layer that looks wrong**: of at least 12 tokens in Latin letters, less than half are words that are
  known (`lexicon`). That is a layer of another language, of codes and names, of spaced letters, of somebody's
  bad OCR, or of a font that maps its glyphs to other letters. The page is read by OCR too, and *agreement*
  decides, not the vocabulary. OCR's text is taken where OCR is sure of it (.85), the two share less than .6
  of their words, and either their letters do not agree at all (less than .4 of the pairs: shifted and junk
  layers have .0 to .14, a language whose accents OCR does not know .77) and more of OCR's words are known, or
  far more of OCR's words are known (by .3: spaced letters). Real English pages have .8 and more known
  words. Layers in other scripts are never judged.
* **Blank**: no text and one even colour: nothing to read, OCR is not run.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import pairwise

from mmrag.documents.lexicon import is_known, plain_letters

GARBAGE_FRACTION = 1 / 3
REPEATED_FRACTION = 0.6
REPEATED_LEAST = 20
SPARSE_LETTERS = 100
SPARSE_INK = 0.02
POOR_FRACTION = 0.5
POOR_LEAST = 12
LATIN_FRACTION = 0.6
AGREEMENT = 0.6
PAIR_AGREEMENT = 0.4
FAR_MORE = 0.3
SURE = 0.85

_MARKS = ".,;:!?()[]{}<>\"'\u2018\u2019\u201c\u201d\u00ab\u00bb*\u2022\u2013\u2014-/|"
_BETWEEN = re.compile(r"[-'\u2019/&.,]+")
_PLAIN = re.compile(r"\w+")
_SINGLE = frozenset("ais")  # "a", "I", and what is left of "it's"
_NO_MEANING = frozenset({"Co", "Cn", "Cc", "Cs"})


def count_letters(text: str) -> int:
    """Count letters and digits of any script."""
    return sum(character.isalnum() for character in text)


def garbage_reason(text: str) -> str | None:
    """Return the reason why a text layer is unusable, or None (see `is_sparse` too)."""
    visible = [character for character in text if not character.isspace()]
    if not visible:
        return "no text layer"
    broken_count = sum(
        character == "\N{REPLACEMENT CHARACTER}" or unicodedata.category(character) in _NO_MEANING
        for character in visible
    )
    if broken_count >= GARBAGE_FRACTION * len(visible):
        return "text layer is garbage (its font has no Unicode map)"
    letters = Counter(character for character in visible if character.isalnum())
    total = sum(letters.values())
    if total == 0:
        return "text layer has no letters" if len(visible) >= REPEATED_LEAST else None
    if total >= REPEATED_LEAST and max(letters.values()) >= REPEATED_FRACTION * total:
        return "text layer is garbage (one glyph repeated)"
    return None


def is_sparse(text: str) -> bool:
    """Check whether a layer is so short that it may be a page number or a stamp over a picture."""
    return count_letters(text) < SPARSE_LETTERS


def readable_fraction(text: str) -> tuple[float, int]:
    """Return the fraction of a text's tokens in Latin letters that are known words, and their number.

    A token is a run without white space that has a letter; it is known where it is made of known words and
    the marks between them ("mother-in-law's"). Single letters other than "a" and "I" are not.

    Returns:
        ``(0.0, 0)`` where the text is in another script, or has no letters.
    """
    tokens = [token.strip(_MARKS) for token in text.split()]
    tokens = [token for token in tokens if any(letter.isalpha() for letter in token)]
    letters = [letter for token in tokens for letter in token if letter.isalpha()]
    latin_count = sum(_is_latin(letter) for letter in letters)
    if not letters or latin_count < LATIN_FRACTION * len(letters):
        return 0.0, 0
    return sum(map(_is_readable, tokens)) / len(tokens), len(tokens)


def _is_readable(token: str) -> bool:
    """Check whether a token is one or several known words."""
    parts = [part for part in _BETWEEN.split(token) if part]
    return all(is_known(part) or (part.casefold() in _SINGLE) for part in parts)


def _is_latin(letter: str) -> bool:
    """Check whether a letter is Latin: what is before Greek, and the additions for other languages."""
    return letter < "\u0370" or "\u1e00" <= letter <= "\u1eff" or "\ufb00" <= letter <= "\ufb06"


def looks_poor(text: str) -> bool:
    """Check whether a layer looks so wrong that it is worth a comparison with OCR."""
    fraction, count = readable_fraction(text)
    return count >= POOR_LEAST and fraction < POOR_FRACTION


def agreement(first: str, second: str) -> float:
    """Measure how many words two texts share, whatever their order, case, accents and marks.

    Returns:
        Twice the shared words over all words, 0..1; 0 where either has none.
    """
    counts = [Counter(_PLAIN.findall(plain_letters(text))) for text in (first, second)]
    total = sum(counts[0].values()) + sum(counts[1].values())
    return 2 * sum((counts[0] & counts[1]).values()) / total if total else 0.0


def letter_agreement(first: str, second: str) -> float:
    """Measure how many pairs of neighbouring letters two texts share, without white space, case and accents.

    Returns:
        Twice the shared pairs over all pairs, 0..1; 0 where either has none.
    """
    counts = []
    for text in (first, second):
        letters = [letter for letter in plain_letters(text) if letter.isalpha()]
        counts.append(Counter(pairwise(letters)))
    total = sum(counts[0].values()) + sum(counts[1].values())
    return 2 * sum((counts[0] & counts[1]).values()) / total if total else 0.0


def ocr_is_better(layer: str, read: str, confidence: float) -> bool:
    """Check whether OCR's text is to be taken for a layer that looks wrong."""
    if confidence < SURE or agreement(layer, read) >= AGREEMENT:
        return False
    gain = readable_fraction(read)[0] - readable_fraction(layer)[0]
    return gain >= FAR_MORE or (gain > 0 and letter_agreement(layer, read) < PAIR_AGREEMENT)
