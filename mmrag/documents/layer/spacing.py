"""Letter-spaced text: "r e n t" set with wide gaps is one word, not four.

Libraries put a space wherever a gap is wider than a fifth of the font size, so that spaced letters come as
words of one letter. They are joined where the line speaks for it:

* At least four words of one character follow each other, in one size, and most of them are letters.
* Their gaps are narrower than `WIDEST` font sizes (the columns of a table stand further apart).
* Either the gaps are of two kinds, of which the wider part words; or all are alike, and what they spell is
  a known word. Single letters with ordinary spaces ("options A B C D") are of one kind and spell none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from mmrag.documents.layer.glyphs import LayerLine, LayerWord, quarter_of, word_of
from mmrag.documents.lexicon import is_known

LEAST = 4  # words of one character
WIDEST = 1.6  # font sizes
WIDER = 1.5  # times the gap between letters
_LEAST_KNOWN = 0.5  # of the words that come out


def join_spaced(line: LayerLine) -> LayerLine:
    """Join letters that are set apart; a line without them is returned as it is."""
    words = line.words
    quarter = quarter_of(line.angle)
    if quarter is None or sum(len(word.text) == 1 for word in words) < LEAST:
        return line
    result: list[LayerWord] = []
    at = 0
    while at < len(words):
        end = at
        while end < len(words) and _goes_on(words, at, end, quarter):
            end += 1
        run = words[at:end]
        result += _join(run, quarter) if len(run) >= LEAST else (run or words[at : at + 1])
        at = max(end, at + 1)
    return line if len(result) == len(words) else replace(line, words=tuple(result))


def _goes_on(words: Sequence[LayerWord], start: int, index: int, quarter: int) -> bool:
    """Check whether a word continues a run of single characters of one size, without a wide gap."""
    word = words[index]
    if len(word.text) > (1 if index == start else 2) or (
        len(word.text) == 2 and word.text[0].isalnum() and word.text[1].isalnum()
    ):
        return False
    if index == start:
        return True
    before = words[index - 1]
    size = word.parts[0].size
    return (
        abs(size - before.parts[0].size) <= 0.1 * size
        and -0.5 * size <= _gap(before, word, quarter) <= WIDEST * size
    )


def _gap(before: LayerWord, word: LayerWord, quarter: int) -> float:
    """Return the distance between two words along the line."""
    box, next_box = before.box, word.box
    return (next_box[0] - box[2], next_box[1] - box[3], box[0] - next_box[2], box[1] - next_box[3])[quarter]


def _join(run: Sequence[LayerWord], quarter: int) -> list[LayerWord]:
    """Join a run of single characters at its narrow gaps, if that makes words."""
    letters = sum(word.text[0].isalpha() for word in run)
    if 2 * letters < len(run):
        return list(run)
    gaps = [_gap(a, b, quarter) for a, b in pairwise(run)]
    limit = _word_gap(gaps)
    words: list[list[LayerWord]] = [[run[0]]]
    for gap, word in zip(gaps, run[1:], strict=True):
        if gap > limit:
            words.append([word])
        else:
            words[-1].append(word)
    new_words = [word_of([part for word in group for part in word.parts]) for group in words]
    spelt = ["".join(c for c in word.text if c.isalpha()) for word in new_words]
    long = [text for text in spelt if len(text) >= 3]
    if not long or sum(map(is_known, long)) < _LEAST_KNOWN * len(long):
        return list(run)
    return new_words


def _word_gap(gaps: Sequence[float]) -> float:
    """Return the widest gap inside a word: all gaps, or those up to the largest jump between two kinds."""
    by_width = sorted(gaps)
    narrow = max(median(by_width[: max(1, len(by_width) // 2)]), 1e-6)
    return next(
        (before for before, after in pairwise(by_width) if after > WIDER * max(before, narrow)),
        by_width[-1],
    )
