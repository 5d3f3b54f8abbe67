"""Words cut at the end of a line become whole: one `Word` with the box of each part. Pure functions.

* Soft hyphens (U+00AD) inside a word go. A single one between two known words that make none together is
  a hyphen all the same: some fonts have but one glyph for both, and files name it U+00AD ("well-kept").
* A word that ends its line with U+00AD, U+2010 or "-" after a letter, and whose next line begins with a small
  letter, is one word; never over the end of a block, never before a capital or a figure.
* U+00AD always goes. The others are ambiguous: "well-" and "known" are parted by a hyphen that belongs to
  the word. It stays where both parts are known words and the whole is not, unless the first is a prefix
  (out-performs), and goes elsewhere.
* "The next line" is the first one below that starts under the cut one: in a table, the same cell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mmrag.documents.layout import bounds
from mmrag.documents.lexicon import is_known
from mmrag.types import Box, Word

SOFT = "\u00ad"
_CUT = re.compile(r"[^\W\d_]['\u2019]?[-\u2010\u00ad]$")
_LETTERS = re.compile(r"[^\W\d_]+")
_PREFIX = re.compile(
    "anti|co|counter|fore|inter|micro|mis|multi|non|out|over|post|pre|re|sub|super|trans|un|under",
    re.IGNORECASE,
)
WIDEST_LEADING = 2.5  # line heights from one line of a paragraph to the next, at most

Line = Sequence[Word]


def join_hyphens(block: Sequence[Line]) -> list[list[Word]]:
    """Join the cut words of one block's lines, top to bottom; lines left empty are gone.

    For upright lines with boxes in 0..1. Lines that stand beside each other (cells of a row) are best given
    as lines of their own.
    """
    lines = [[_without_soft_hyphens(word) for word in line] for line in block]
    for index, line in enumerate(lines):
        while line and _CUT.search(line[-1].text):
            next_line = _next_line(lines, index)
            if next_line is None or not _continues(next_line[0].text):
                break
            line[-1] = _join_parts(line[-1], next_line.pop(0))
    for line in lines:
        if line and line[-1].text.endswith(SOFT):
            line[-1] = replace(line[-1], text=line[-1].text.rstrip(SOFT) + "-")
    return [line for line in lines if line]


def _without_soft_hyphens(word: Word) -> Word:
    """Take soft hyphens out of a word, but for one at its end."""
    if SOFT not in word.text[:-1]:
        return word
    start, _, end = word.text.partition(SOFT)
    if SOFT not in end and _is_compound(start, end):
        return replace(word, text=f"{start}-{end}")
    return replace(word, text=word.text[:-1].replace(SOFT, "") + word.text[-1])


def _continues(text: str) -> bool:
    """Check whether a word may be the second part of a cut one."""
    return text[:1].islower()


def _next_line(lines: Sequence[list[Word]], index: int) -> list[Word] | None:
    """Return the line under a cut one in the same column; None without one."""
    x0, y0, x1, y1 = bounds(lines[index])
    height = y1 - y0
    for line in lines[index + 1 :]:
        if not line:
            continue
        left, top, right, bottom = bounds(line)
        if top < (y0 + y1) / 2 or min(x1, right) <= max(x0, left):
            continue  # beside it, or in another column
        return line if bottom - y1 <= WIDEST_LEADING * max(height, bottom - top) else None
    return None


def _join_parts(first: Word, second: Word) -> Word:
    """Make one word of its parts."""
    hyphen = first.text[-1]
    start = first.text[:-1]
    keeps = hyphen != SOFT and _is_compound(start, second.text)
    tail = second.box if first.tail is None else _union(first.tail, second.box)
    if second.tail is not None:
        tail = _union(tail, second.tail)
    confidence = first.confidence
    if confidence is not None and second.confidence is not None:
        confidence = min(confidence, second.confidence)
    return replace(
        first, text=start + (hyphen if keeps else "") + second.text, tail=tail, confidence=confidence
    )


def _is_compound(start: str, end: str) -> bool:
    """Check whether a hyphen at a line's end belongs to the word."""
    before, after = _LETTERS.findall(start), _LETTERS.match(end)
    if not before or after is None:
        return False
    last, first = before[-1], after.group()
    whole = last + first
    if _PREFIX.fullmatch(last):
        return False
    return is_known(last) and is_known(first) and not is_known(whole)


def _union(first: Box, second: Box) -> Box:
    """Return the smallest box that holds both."""
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )
