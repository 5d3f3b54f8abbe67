"""A page's text with its tables as rows of cells, as language models read them."""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.blocks import Block, Table
from mmrag.types import Page

EDGE = "|"
"""Between cells; one that is printed becomes `PRINTED_EDGE`."""
PRINTED_EDGE = "\N{BROKEN BAR}"


def text_with_cells(page: Page, blocks: Sequence[Block]) -> str:
    """Return the text of the blocks in reading order, a table as rows; `Page.text` if there is no table.

    Words that are in no block stand at the end.
    """
    if all(block.table is None for block in blocks):
        return page.text
    used = {position for block in blocks for position in _positions(block)}
    rest = " ".join(word.text for position, word in enumerate(page.words) if position not in used)
    texts = [block.text if block.table is None else table_rows(block.table) for block in blocks]
    return "\n".join(text for text in (*texts, rest) if text)


def table_rows(table: Table) -> str:
    """Return a table as lines ``| cell | cell |``; a cell with spans stands in all its positions."""
    return "\n".join(f"{EDGE} {f' {EDGE} '.join(_cell(text) for text in row)} {EDGE}" for row in table.grid())


def _cell(text: str) -> str:
    return " ".join(text.replace(EDGE, PRINTED_EDGE).split())


def _positions(block: Block) -> tuple[int, ...]:
    cells = block.table.cells if block.table is not None else ()
    return (*block.words, *(word for cell in cells for word in cell.words))
