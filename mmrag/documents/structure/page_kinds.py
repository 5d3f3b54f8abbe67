"""Kinds of words that are known without a model: comments, and text that lies across other text.

Both are paragraphs of their own at the end of a page's text.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

from mmrag.documents.structure.assembly import paragraph_numbers
from mmrag.types import Box, Page, Word

_COMMENT = re.compile(r"\[(?:Comment|Reply)(?: |\]|$)")
LEAST_OVERLAP = 0.1
"""Part of the smaller of two words' boxes: words of one text touch each other less than that."""

LEAST_PART = 0.3
"""Of a watermark's words that lie across other words; of slanted text one word is enough."""

SLANT = (10, 80)
"""Degrees between which a line is slanted; scans lie askew by less."""


def known_kinds(page: Page) -> dict[int, str]:
    """Return ``"comment"`` and ``"watermark"`` by position of the word."""
    numbers = paragraph_numbers(page.text, len(page.words))
    paragraphs: dict[int, list[int]] = {}
    for position, number in enumerate(numbers):
        paragraphs.setdefault(number, []).append(position)
    kinds: dict[int, str] = {}
    for number in sorted(paragraphs, reverse=True):
        boxes = [
            word.box
            for position, word in enumerate(page.words)
            if numbers[position] != number and position not in kinds
        ]
        kind = _kind([page.words[position] for position in paragraphs[number]], boxes, page.size)
        if kind is None or len(paragraphs) == 1:
            break
        kinds |= dict.fromkeys(paragraphs[number], kind)
    return kinds


def _kind(words: Sequence[Word], boxes: Sequence[Box], size: tuple[float, float]) -> str | None:
    """Return the kind of a paragraph; None for one of the page's text.

    Args:
        words: of the paragraph.
        boxes: boxes of the page's words before it.
        size: of the page in points.
    """
    if _COMMENT.match(words[0].text):
        return "comment"
    across = sum(any(_overlap(word.box, box) for box in boxes) for word in words)
    if across >= LEAST_PART * len(words):
        return "watermark"
    # the slanted labels of a chart lie across nothing
    return "watermark" if across and _is_slanted(words, size) else None


def _is_slanted(words: Sequence[Word], size: tuple[float, float]) -> bool:
    """Check whether most words stand neither beside nor under the word before them, but askew."""
    middles = [
        ((word.box[0] + word.box[2]) / 2 * size[0], (word.box[1] + word.box[3]) / 2 * size[1])
        for word in words
    ]
    steps = [(x1 - x0, abs(y1 - y0)) for (x0, y0), (x1, y1) in itertools.pairwise(middles)]
    low, high = (math.tan(math.radians(angle)) for angle in SLANT)
    slanted_steps = sum(low * along < down < high * along for along, down in steps)
    return slanted_steps * 2 > len(steps)


def _overlap(box: Box, box_of_text: Box) -> bool:
    """Check whether two words' boxes share more than neighbours do."""
    width = min(box[2], box_of_text[2]) - max(box[0], box_of_text[0])
    height = min(box[3], box_of_text[3]) - max(box[1], box_of_text[1])
    if width <= 0 or height <= 0:
        return False
    smaller = min((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (box, box_of_text))
    return width * height >= LEAST_OVERLAP * smaller
