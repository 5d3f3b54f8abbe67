"""Decide whether a page's text layer is usable. Pure functions.

Decisions taken here (general rules, fixed before any evaluation):

* **No text** (no letter, digit or sign): none.
* **No Unicode map**: where at least a third of the visible characters are U+FFFD, private use,
  unassigned or control characters, the layer is garbage and counts as none.
* **One glyph repeated**: where at least 20 letters and digits are there and 60 % of them are the
  same one, or 20 visible characters hold no letter or digit at all, the layer counts as none.
  (Dots of a table of contents are no letters, so they do not make a page garbage.)
* **Nearly no text over a picture**: fewer than 100 letters and digits, while at least 2 % of the
  page's area is ink outside the words: a page number, stamp or watermark over a scan. OCR reads such
  a page, and the richer of the two texts is kept. A printed page has more than a thousand letters.
  An invisible layer is the work of someone else's OCR and is left as it is.
* **Blank**: no text and one even colour: nothing to read, OCR is not run.
"""

from __future__ import annotations

import unicodedata
from collections import Counter

GARBAGE_FRACTION = 1 / 3
REPEATED_FRACTION = 0.6
REPEATED_LEAST = 20
SPARSE_LETTERS = 100
SPARSE_INK = 0.02

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
