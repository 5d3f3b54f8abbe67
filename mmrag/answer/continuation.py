"""The rest of a sentence that a page's end cuts: it stands at the head of the next page.

A half sentence says what the whole does not ("will not be rebuilt before the new"), so a quote that ends so
is followed by its rest, which is a citation of its own as well: places are of one page.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.answer.passages import LONGEST, TITLES, Passage
from mmrag.answer.words import CLOSERS, SENTENCE_ENDS, sentence_spans
from mmrag.blocks import Block
from mmrag.types import Page

_ENDS = f"{SENTENCE_ENDS}:;"
_WITHOUT_TEXT = (*TITLES, "picture")


def ends_open(passage: Passage, page: Page, blocks: Sequence[Block]) -> bool:
    """Check whether a quote ends in the middle of a sentence because its page ends there.

    Args:
        passage: of the page.
        page: whose running feet do not count.
        blocks: of the page.
    """
    body = _body(blocks)
    if not body or body[-1].table is not None or not body[-1].words or not passage.words:
        return False
    is_last = passage.words[-1] is page.words[body[-1].words[-1]]
    return is_last and passage.text.rstrip(CLOSERS)[-1:] not in _ENDS


def rest_of_sentence(page: Page, blocks: Sequence[Block], candidate: int) -> Passage | None:
    """Return the first words of a page up to the sentence's end if they go on with a sentence.

    They do if they are text and begin with a small letter: a heading, a table or a new sentence does not.

    Args:
        page: that the sentence goes on over to.
        blocks: of the page.
        candidate: position in the ranking that the passage is counted to.
    """
    body = _body(blocks)
    if not body or body[0].table is not None:
        return None
    words = [page.words[position] for position in body[0].words]
    words = [word for word in words if word.text]
    if not words or not words[0].text[:1].islower():
        return None
    rest = words[: sentence_spans([word.text for word in words])[0].stop]
    text = " ".join(word.text for word in rest)
    if len(text) > LONGEST:
        return None
    return Passage(candidate, text, tuple(rest), body[0])


def _body(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks of a page that text can go on from or to: no running lines, headings and pictures."""
    return [block for block in blocks if not block.is_running and block.kind not in _WITHOUT_TEXT]
