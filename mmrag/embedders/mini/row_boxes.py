"""Where on a page the words lie that each row of mmrag-mini has seen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from mmrag.embedders.base import searchable_text
from mmrag.embedders.mini.located import parts_of
from mmrag.types import Box, Page, Word

if TYPE_CHECKING:
    from mmrag.embedders.onnx import WordPieces

LINE_OVERLAP = 0.5
"""Share of the lower of two words' heights that they have in common on one line."""


def row_boxes(tokenizer: WordPieces, page: Page, most: int) -> list[tuple[Box, ...]]:
    """Return the boxes of the words that each row has seen, line by line, in the order of rows.

    Empty where the rows cannot be laid on the page: its words have no boxes, or its text is not its words.

    Args:
        tokenizer: of the model.
        page: as it was embedded from its text.
        most: rows of a page.
    """
    pieces = tokenizer.tokenize_words([word.text for word in page.words])
    ends = list(accumulate(map(len, pieces)))
    tokens = tokenizer.tokenize(searchable_text(page))
    if not ends or ends[-1] != len(tokens):
        return []
    starts = [0, *ends[:-1]]
    boxes = []
    for part in parts_of(len(tokens), most=most):
        words = [
            word
            for word, start, end in zip(page.words, starts, ends, strict=True)
            if start < part.end and end > part.start
        ]
        boxes.append(tuple(line_boxes(words)))
    return boxes


def line_boxes(words: Sequence[Word]) -> list[Box]:
    """Join the boxes of words that follow each other on one line."""
    lines: list[Box] = []
    for box in (box for word in words for box in word.boxes):
        if lines and _is_same_line(lines[-1], box):
            last = lines[-1]
            lines[-1] = (last[0], min(last[1], box[1]), max(last[2], box[2]), max(last[3], box[3]))
        else:
            lines.append(box)
    return lines


def _is_same_line(line: Box, box: Box) -> bool:
    common = min(line[3], box[3]) - max(line[1], box[1])
    lower = min(line[3] - line[1], box[3] - box[1])
    return box[0] >= line[0] and common >= LINE_OVERLAP * lower
