"""Kinds of words that are known without a model: comments, and text that lies across other text.

Both are paragraphs of their own at the end of a page's text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmrag.documents.structure.assembly import paragraph_numbers
from mmrag.types import Box, Page, Word

_COMMENT = re.compile(r"\[(?:Comment|Reply)(?: |\]|$)")
LEAST_WORDS = 3
"""Other words in the box of one that lies across the page's text."""


def known_kinds(page: Page) -> dict[int, str]:
    """Return ``"comment"`` and ``"watermark"`` by position of the word."""
    numbers = paragraph_numbers(page.text, len(page.words))
    paragraphs: dict[int, list[int]] = {}
    for position, number in enumerate(numbers):
        paragraphs.setdefault(number, []).append(position)
    kinds: dict[int, str] = {}
    for number in sorted(paragraphs, reverse=True):
        kind = _kind(page.words, paragraphs[number])
        if kind is None or len(paragraphs) == 1:
            break
        kinds |= dict.fromkeys(paragraphs[number], kind)
    return kinds


def _kind(words: Sequence[Word], positions: Sequence[int]) -> str | None:
    """Return the kind of a paragraph; None for one of the page's text."""
    if _COMMENT.match(words[positions[0]].text):
        return "comment"
    across = [position for position in positions if _lies_across(words, position, set(positions))]
    return "watermark" if len(across) * 2 > len(positions) else None


def _lies_across(words: Sequence[Word], position: int, own_positions: set[int]) -> bool:
    """Decide whether a word's box holds several words of other paragraphs."""
    box = words[position].box
    count = sum(number not in own_positions and _is_in(word.box, box) for number, word in enumerate(words))
    return count >= LEAST_WORDS


def _is_in(inner: Box, outer: Box) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]
