"""Comments of a reader of the file (sticky notes, marked text, free text) as blocks of their own.

Decisions taken here:

* A comment is a line at the end of the page: ``[Comment by NAME on "the marked words"] its text``.
* Its words lie in a thin strip at the lower edge of the note's icon or of the marked text, so that a picture
  of the evidence shows the place and no reader of lines takes them for words of the line above.
* What the page shows already (text written on the page by a reader of it) is not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmrag.blocks import Box, Word
from mmrag.documents.layout import words_of_run
from mmrag.documents.pdf.fields import Blocks, holds_centre

MARKED_WORDS = 12
"""Most words of the marked text that a comment repeats."""

STRIP = 0.3
"""Height of a comment's words, as a part of its box."""

LARGEST_STRIP = 0.005
"""Of the page's height: 4 points of a letter page."""

SMALLEST = 0.01
"""Least width and height of a comment's box, of the page's."""


@dataclass(frozen=True)
class Comment:
    """A comment that is not hidden.

    Attributes:
        text: its words.
        box: of its icon or of what it marks, in 0..1 of the page as shown.
        author: ``""`` where the file names none.
        marks: boxes of the text that it marks, one a line; empty for a note beside the text.
        is_reply: whether it answers another comment.
    """

    text: str
    box: Box
    author: str = ""
    marks: tuple[Box, ...] = ()
    is_reply: bool = False


def with_comments(blocks: Blocks, comments: Sequence[Comment]) -> Blocks:
    """Add the comments that the page does not show by itself as blocks at the end."""
    words = [word for block in blocks for line in block for word in line]
    added = []
    for comment in comments:
        if not _is_shown(comment, words):
            added.append((_line(comment, words),))
    return (*blocks, *added)


def _is_shown(comment: Comment, words: Sequence[Word]) -> bool:
    """Check whether the letters of a comment are those that stand in its box."""
    letters = "".join(word.text for word in words if holds_centre(comment.box, word.box))
    return "".join(comment.text.split()) in letters


def _line(comment: Comment, words: Sequence[Word]) -> tuple[Word, ...]:
    """Return a comment as words in its strip."""
    x0, y0, x1, y1 = _on_page(comment.box)
    height = min(LARGEST_STRIP, STRIP * (y1 - y0))
    text = f"{_head(comment, words)} {comment.text}"
    return tuple(words_of_run(text, (x0, y1 - height, x1, y1)))


def _on_page(box: Box) -> Box:
    """Return a box on the page: one beside it, as in a margin for comments, at its edge."""
    x0, x1 = (min(max(edge, 0.0), 1.0) for edge in (box[0], box[2]))
    y0, y1 = (min(max(edge, 0.0), 1.0) for edge in (box[1], box[3]))
    x0, y0 = min(x0, 1.0 - SMALLEST), min(y0, 1.0 - SMALLEST)
    return x0, y0, max(x1, x0 + SMALLEST), max(y1, y0 + SMALLEST)


def _head(comment: Comment, words: Sequence[Word]) -> str:
    """Word what it is, by whom and on which words."""
    head = "Reply" if comment.is_reply else "Comment"
    if comment.author:
        head += f" by {comment.author}"
    marked_words = [
        word.text for word in words if any(holds_centre(mark, word.box) for mark in comment.marks)
    ]
    if marked_words:
        more = " …" if len(marked_words) > MARKED_WORDS else ""
        head += f" on “{' '.join(marked_words[:MARKED_WORDS])}{more}”"
    return f"[{head}]"
