"""Words of Arabic, Hebrew and their kind in the order in which they are read. Pure functions.

Libraries give the letters of such a word in reading order, but its words in the order of the file, which
is from left to right as often as not. The words of a line are put in their places from left to right, and
then read as Unicode's bidirectional algorithm reads whole words: the line's direction is that of the words
at both of its ends, else of most words; runs of the other direction, with the figures in them, are turned.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from mmrag.documents.layout import bounds
from mmrag.types import Word

_RIGHT = frozenset({"R", "AL", "RLE", "RLO", "RLI"})
_Item = TypeVar("_Item")


def word_direction(text: str) -> str:
    """Return ``"R"``, ``"L"``, or ``""`` for a word without letters, by its first letter."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in _RIGHT:
            return "R"
        if kind == "L":
            return "L"
    return ""


def has_right_to_left(lines: Sequence[Sequence[Word]]) -> bool:
    """Check whether any word is read from right to left."""
    return any(
        not word.text.isascii() and word_direction(word.text) == "R" for line in lines for word in line
    )


def logical_lines(lines: Sequence[Sequence[Word]]) -> list[list[Word]]:
    """Join lines that stand beside each other, on either side, and order their words for reading.

    For upright lines of one block. A word of presentation forms (the shapes that Arabic letters take) is
    written with its letters.
    """
    rows: list[list[Word]] = []
    for line in lines:
        if rows and _beside(rows[-1], line):
            rows[-1].extend(line)
        else:
            rows.append(list(line))
    return [[_letters(word) for word in logical_order(row)] for row in rows]


def logical_order(row: Sequence[Word]) -> list[Word]:
    """Order the words of one row for reading."""
    row_words = sorted(row, key=lambda word: word.box[0])
    directions = [word_direction(word.text) for word in row_words]
    rightwards = _is_rightwards([direction for direction in directions if direction])
    if not rightwards:
        row_words, directions = row_words[::-1], directions[::-1]
    return _turn_runs(row_words, directions, "R" if rightwards else "L")


def _is_rightwards(directions: Sequence[str]) -> bool:
    """Decide the direction of a line from its words' from the left: that of both ends, else of most words."""
    if directions and directions[0] == directions[-1]:
        return directions[0] == "L"
    return directions.count("L") >= directions.count("R")


def _turn_runs(items: Sequence[_Item], directions: Sequence[str], run_direction: str) -> list[_Item]:
    """Turn each run of items of the other direction; a run begins and ends with one that has letters."""
    result: list[_Item] = []
    at = 0
    while at < len(items):
        if directions[at] != run_direction:
            result.append(items[at])
            at += 1
            continue
        end = last = at
        while end < len(items) and directions[end] in (run_direction, ""):
            last = end if directions[end] == run_direction else last
            end += 1
        result += items[at : last + 1][::-1]
        at = last + 1
    return result


def _beside(row: Sequence[Word], line: Sequence[Word]) -> bool:
    """Check whether a line stands beside a row: no overlap, and more than half of the height shared."""
    left, top, right, bottom = bounds(row)
    x0, y0, x1, y1 = bounds(line)
    shared = min(bottom, y1) - max(top, y0)
    apart = x0 >= right or x1 <= left or _between(row, line)
    return apart and shared > 0.5 * min(bottom - top, y1 - y0)


def _between(row: Sequence[Word], line: Sequence[Word]) -> bool:
    """Check whether a line stands in a gap of a row."""
    x0, _, x1, _ = bounds(line)
    return all(word.box[2] <= x0 + 1e-3 or word.box[0] >= x1 - 1e-3 for word in row)


def _letters(word: Word) -> Word:
    """Write presentation forms of Arabic and Hebrew as their letters."""
    if word.text.isascii() or not any(
        "\ufb1d" <= c <= "\ufdff" or "\ufe70" <= c <= "\ufefc" for c in word.text
    ):
        return word
    text = "".join(
        unicodedata.normalize("NFKC", c) if "\ufb1d" <= c <= "\ufdff" or "\ufe70" <= c <= "\ufefc" else c
        for c in word.text
    )
    return replace(word, text=text)
