"""Search for a quote on a page: exact up to white space, case, hyphens and punctuation, else approximate.

Decisions:

* A quote that the page lacks gets no position: a missing box is better than a wrong one.
* A match begins and ends with a word: "12" is not in "3,125".
* Signs, decimal points, per cent and currency count; other punctuation does not. An approximate
  match may differ in letters (a slip of OCR or of the model), never in its numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmrag.blocks import is_footnote_mark
from mmrag.types import Box, Word

SHORTEST_FUZZY = 16  # characters; a shorter quote one edit away is often another passage
LONGEST_FUZZY = 2000  # characters; work grows with the lengths of quote and page
LONGEST_FOUND = 64  # characters of a quote whose places are looked for one by one
EDIT_EVERY = 10  # one edit is allowed for so many characters of the quote
WIDE_GAP = 2  # letters, about an em: words of a line that far apart are boxed apart
_DASHES = frozenset("-\u2010\u2011\u2012\u2013\u2014\u2212")


@dataclass(slots=True)
class _FoldedText:
    """Text reduced to the characters that count, each with the word it came from."""

    text: str = ""
    word: list[int] = field(default_factory=list)  # index of the word
    starts: list[bool] = field(default_factory=list)  # a match may begin here
    ends: list[bool] = field(default_factory=list)  # a match may end here


def find_quote(quote: str, words: Sequence[str]) -> list[range]:
    """Return the ranges of `words` that hold a quote, in reading order.

    All exact matches; without one, the best approximate match. Empty if the page lacks the quote.
    """
    needle, page = _fold(quote.split()), _fold(words)
    if not needle.text:
        return []
    matches = []
    for at in _occurrences(needle.text, page.text):
        last = at + len(needle.text) - 1
        if page.starts[at] and page.ends[last]:
            matches.append(range(page.word[at], page.word[last] + 1))
    return matches or _approximate_match(quote, needle.text, words, page)


def _occurrences(needle: str, text: str) -> Iterator[int]:
    """Yield the positions of a piece of text in another, overlapping ones too, in linear time.

    A long piece that repeats itself ("aaa...") stands at many positions, each of which `str.find` would
    compare as a whole: it is looked for as Knuth, Morris and Pratt (1977) do.
    """
    if len(needle) <= LONGEST_FOUND:
        at = text.find(needle)
        while at >= 0:
            yield at
            at = text.find(needle, at + 1)
        return
    start = text.find(needle)
    if start < 0:
        return
    borders = [0] * len(needle)  # length of the longest part that begins and ends what ends at a position
    size = 0
    for at in range(1, len(needle)):
        while size and needle[at] != needle[size]:
            size = borders[size - 1]
        size += needle[at] == needle[size]
        borders[at] = size
    size = 0
    for at in range(start, len(text)):
        while size and (size == len(needle) or text[at] != needle[size]):
            size = borders[size - 1]
        size += text[at] == needle[size]
        if size == len(needle):
            yield at - size + 1


def line_boxes(words: Sequence[Word]) -> tuple[Box, ...]:
    """Return one box for each line of consecutive words; words far apart, as in a table, get their own.

    A gap is wide from `WIDE_GAP` letters of the word before it on: justified text has narrower ones.
    """
    boxes: list[Box] = []
    letter = 0.0  # width of one in the word before
    for text, box in ((word.text, box) for word in words for box in word.boxes):
        x0, y0, x1, y1 = box
        gap, letter = WIDE_GAP * letter, (x1 - x0) / max(1, len(text))
        if boxes:
            a0, b0, a1, b1 = boxes[-1]
            # Where text runs from right to left, the next word is close to the left.
            if b0 <= (y0 + y1) / 2 <= b1 and (a0 <= x0 <= a1 + gap or a0 - gap <= x1 <= a0):
                boxes[-1] = (min(a0, x0), min(b0, y0), max(a1, x1), max(b1, y1))
                continue
        boxes.append(box)
    return tuple(boxes)


def _fold(words: Sequence[str]) -> _FoldedText:
    page_text = _FoldedText()
    text: list[str] = []
    for index, word in enumerate(words):
        if is_footnote_mark(word):
            continue  # a quote may leave it out
        raw = unicodedata.normalize("NFKC", word).casefold()
        before_joins = False
        for at, char in enumerate(raw):
            counts, joins = _counts(raw, at, char)
            if counts:
                text.append("-" if char in _DASHES else char)
                page_text.word.append(index)
                page_text.starts.append(not (before_joins and joins))
                page_text.ends.append(True)
                if not page_text.starts[-1]:
                    page_text.ends[-2] = False
            # After a hyphen a match may begin; a soft hyphen is nothing.
            before_joins = joins or (before_joins and char == "\u00ad")
    page_text.text = "".join(text)
    return page_text


def _counts(raw: str, at: int, char: str) -> tuple[bool, bool]:
    """Return whether a character counts, and whether it joins its neighbours to one word."""
    if char.isalnum():
        return True, True
    before, after = raw[at - 1 : at], raw[at + 1 : at + 2]
    if char in ".," and before.isdigit() and after.isdigit():
        return True, True
    if char in _DASHES and after.isdigit() and not before.isalpha():
        return True, not before  # a sign belongs to its number, the dash of a range to neither
    # Marks above letters (Indic vowel signs) are part of the word; so are % and currency, as words.
    category = unicodedata.category(char)
    if category.startswith("M"):
        return True, True
    return char == "%" or category == "Sc", False


def _approximate_match(quote: str, needle: str, words: Sequence[str], page: _FoldedText) -> list[range]:
    allowed = len(needle) // EDIT_EVERY
    if not SHORTEST_FUZZY <= len(needle) <= LONGEST_FUZZY or not page.text:
        return []
    text = _codes(page.text)
    pattern = _codes(needle)
    row = _last_row(pattern, text, from_start=False)
    end = int(row.argmin())  # characters of the page before the match's end
    distance = int(row[end])
    if distance > allowed:
        return []
    back = _last_row(pattern[::-1], text[:end][::-1][: len(needle) + allowed], from_start=True)
    start = end - int(back.argmin())
    owners = page.word[start:end]
    if not owners:
        return []
    first, last = _whole_words(page.word, start, end)
    if _numbers(words[first : last + 1]) != _numbers(quote.split()):
        return []
    return [range(first, last + 1)]


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _last_row(
    pattern: NDArray[np.uint32], text: NDArray[np.uint32], *, from_start: bool
) -> NDArray[np.int32]:
    """Return the edit distance of the pattern to the best piece of text that ends before each position.

    Last row of the dynamic programme of Sellers (1980); `from_start`: the piece begins where the text begins.
    A row depends on itself only through insertions, which a running minimum settles at once. rapidfuzz has no
    such search: its best window always has the pattern's length.
    """
    columns = np.arange(len(text) + 1, dtype=np.int32)
    row = columns.copy() if from_start else np.zeros_like(columns)
    for i, code in enumerate(pattern, start=1):
        substitutions = row[:-1] + (text != code)
        row[1:] = np.minimum(row[1:] + 1, substitutions)
        row[0] = i
        row = np.minimum.accumulate(row - columns) + columns
    return row


def _whole_words(owners: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """Return the first and last word of a span; a word at its edge counts if half of it is inside."""
    first, last = owners[start], owners[end - 1]

    def fraction_inside(word: int) -> float:
        inside = sum(owner == word for owner in owners[start:end])
        return inside / sum(owner == word for owner in owners)

    if first < last and fraction_inside(first) < 0.5:
        first = next(owner for owner in owners[start:end] if owner != first)
    if first < last and fraction_inside(last) < 0.5:
        last = next(owner for owner in reversed(owners[start:end]) if owner != last)
    return first, last


def _numbers(words: Sequence[str]) -> list[str]:
    text = " ".join(_fold([word]).text for word in words)
    return [number.replace(" ", "") for number in re.findall(r"-?\d+(?:[.,]\d+)*(?: ?%)?", text)]
