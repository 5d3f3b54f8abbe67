"""What a model is shown of a candidate: its text, tables as cells, figures and tables cut out of the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from mmrag.answer import PageBlocks
from mmrag.answer.areas import block_title
from mmrag.blocks import Block
from mmrag.documents.rows import text_with_cells
from mmrag.errors import DocumentError
from mmrag.images import Render
from mmrag.types import Box, Candidate

if TYPE_CHECKING:
    from PIL.Image import Image

CUT_KINDS = ("picture", "table")
LEAST_AREA, MOST_AREA = 0.02, 0.5  # of the page: less is a logo, more is seen well enough on the page itself
SHORTEST_WORD = 4  # letters of a question's word that picks a figure
MARGIN = 0.01  # of the page around a cut, for axis labels that stand outside


class ShownPage:
    """One of the pages or texts that a model is shown.

    Args:
        candidate: with a page, or a plain text.
        read: returns a page's blocks; None if nobody can.
        cells: whether tables are shown as rows of cells.

    Attributes:
        note: why the blocks could not be read, or the page not drawn; ``""`` if they were, or were not
            asked for.
    """

    def __init__(self, candidate: Candidate, read: PageBlocks | None, *, cells: bool) -> None:
        self.candidate = candidate
        self.page = candidate.page
        self.note = ""
        self._read = read
        self._cells = cells

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Return the page's blocks; none where they cannot be read."""
        if self.page is None or self.page.blocks is not None or self._read is None:
            return (self.page.blocks or ()) if self.page is not None else ()
        try:
            return self._read(self.page)
        except DocumentError as error:
            note = f"No structure of page {self.page.number + 1} ({error})"
            self.note = "; ".join(filter(None, (self.note, note)))
            return ()

    @cached_property
    def plain_text(self) -> str:
        """Return the text as the reader has it."""
        return self.candidate.record.text if self.page is None else self.page.text

    @cached_property
    def text(self) -> str:
        """Return the text as the model is shown it."""
        if self.page is None or not self._cells:
            return self.plain_text
        return text_with_cells(self.page, self.blocks)


def best_cuts(question: str, pages: Sequence[ShownPage], most: int) -> list[tuple[int, Block]]:
    """Return the figures and tables whose words or caption the question names, best first.

    Args:
        question: in words.
        pages: shown as [1]..[n].
        most: blocks returned at most.

    Returns:
        Number of the page, and block.
    """
    words = _words(question)
    cuts: list[tuple[int, int, Block]] = []  # by how many of the question's words
    for number, page in enumerate(pages if most and words else (), start=1):
        for block in page.blocks:
            if block.kind in CUT_KINDS and LEAST_AREA <= _size(block) <= MOST_AREA:
                common = words & _words(f"{block_title(page.blocks, block)} {block.text}")
                cuts += [(-len(common), number, block)] if common else []
    return [(number, block) for _, number, block in sorted(cuts, key=lambda cut: cut[:2])[:most]]


def cut_out(page: ShownPage, block: Block, render: Render, pixels: int) -> Image:
    """Return a block's picture, drawn with about `pixels` of its own."""
    assert page.page is not None
    x0, y0, x1, y1 = _extent(block)
    image = render(page.page, min(4 * pixels, round(pixels / max(_size(block), 0.01))))
    left, top = max(0.0, x0 - MARGIN) * image.width, max(0.0, y0 - MARGIN) * image.height
    right, bottom = min(1.0, x1 + MARGIN) * image.width, min(1.0, y1 + MARGIN) * image.height
    return image.crop(
        (int(left), int(top), max(int(left) + 1, round(right)), max(int(top) + 1, round(bottom)))
    )


def _words(text: str) -> set[str]:
    return {
        word for word in re.findall(r"\w+", text.casefold()) if len(word) >= SHORTEST_WORD or word.isdigit()
    }


def _extent(block: Block) -> Box:
    lefts, tops, rights, bottoms = zip(*block.boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _size(block: Block) -> float:
    if not block.boxes:
        return 0.0
    x0, y0, x1, y1 = _extent(block)
    return (x1 - x0) * (y1 - y0)
