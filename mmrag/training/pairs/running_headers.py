"""The part of a page that says something about it: without running headers, footers and page numbers.

Decisions taken here:

* Blocks that the reader calls a running head or foot, or a watermark, do not count.
* A reader without a layout model cannot tell, and a model may be wrong: a block in the outer tenth of the
  page, top or bottom, does not count either if it reads the same on three pages of the document, or on both
  of two, figures aside ("12 Annual report", "13 Annual report"), or is a page number. A block that repeats
  further in may be the head of a continued table; queries made of it are dropped as common ones.
* A page whose structure cannot be read has all its words, and no blocks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mmrag.blocks import Block
from mmrag.types import Page, Word

MARGIN = 0.1
REPEATS = 3

_PAGE_NUMBER = re.compile(r"^\W*(?:p\.?|page|seite)?\s*(?:#|[ivxlc]+)\s*(?:(?:of|/|von|-)\s*#)?\W*$")


@dataclass(frozen=True, slots=True)
class Body:
    """A page without its running headers.

    Attributes:
        blocks: in reading order.
        words: in the page's order.
    """

    blocks: tuple[Block, ...]
    words: tuple[Word, ...]


def without_running_headers(pages: Sequence[Page]) -> tuple[list[Body], int]:
    """Return each page without its running headers, and the number of blocks left out.

    Args:
        pages: of one document, in order, with their blocks.
    """
    pages_with: Counter[str] = Counter()
    for page in pages:
        pages_with.update({_key(block.text) for block in page.blocks or () if _is_at_edge(block)})
    least = min(REPEATS, max(2, len(pages)))
    repeated_texts = {key for key, count in pages_with.items() if count >= least}
    bodies: list[Body] = []
    count = 0
    for page in pages:
        blocks = page.blocks or ()
        running_blocks = [block for block in blocks if _is_running(block, repeated_texts)]
        positions = {position for block in running_blocks for position in block.words}
        words = tuple(word for position, word in enumerate(page.words) if position not in positions)
        bodies.append(Body(tuple(block for block in blocks if block not in running_blocks), words))
        count += len(running_blocks)
    return bodies, count


def _is_running(block: Block, repeated_texts: set[str]) -> bool:
    key = _key(block.text)
    return block.is_running or (
        _is_at_edge(block) and (key in repeated_texts or _PAGE_NUMBER.match(key) is not None)
    )


def _is_at_edge(block: Block) -> bool:
    """Decide whether a text is in the page's top or bottom margin; a table or picture never is."""
    middles = [(y0 + y1) / 2 for _, y0, _, y1 in block.boxes]
    is_text = bool(block.text) and block.table is None and block.kind != "picture"
    return is_text and all(y < MARGIN or y > 1 - MARGIN for y in middles)


def _key(text: str) -> str:
    """Return a text in lower case with its figures replaced by ``#``."""
    return re.sub(r"\d+", "#", " ".join(text.casefold().split()))
