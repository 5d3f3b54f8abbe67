"""Where the words that a model quotes stand: as a passage of the page, or as cells of one row of a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from mmrag.answer.areas import block_area, block_around, block_title
from mmrag.answer.quotes import find_quote, line_boxes
from mmrag.blocks import Block, Cell
from mmrag.documents.rows import EDGE
from mmrag.serving.wire import quote as in_quotes
from mmrag.types import Box, Page

MOST_POSITIONS = 4  # a quote that occurs more often on a page gets no box
MOST_CELLS = 20  # a quote of more is no row that anybody would read
_CELL_EDGE = re.compile(rf"\s*[{EDGE}\t\n]\s*|\s*[:=]\s+")


class QuoteSearch:
    """Looks for the quotes of one citation on its page.

    Args:
        page: None for a plain text.
        text: of the page, or the plain text.
        blocks: returns the page's blocks; called where they are needed.

    Attributes:
        quotes: in the page's own words.
        boxes: of their lines.
        notes: about quotes without a box.
    """

    def __init__(self, page: Page | None, text: str, blocks: Callable[[], Sequence[Block]]) -> None:
        self._words = page.words if page is not None else ()
        self._texts = [word.text for word in self._words] or text.split()
        self._blocks = blocks
        self._positions: list[int] = []
        self.quotes: list[str] = []
        self.boxes: list[Box] = []
        self.notes: list[str] = []

    def look_for(self, text: str) -> None:
        """Add the page's own words and boxes for a quote, or a note that the page lacks it."""
        if not text.strip():
            return
        ranges = find_quote(text, self._texts)
        pieces = [list(ranges[0])] if ranges else self._cells(text)
        if not pieces:
            reason = "" if self._texts else " (the page has no text)"
            self.notes.append(f"not found in the page's text{reason}: {in_quotes(text)}")
            return
        words = " … ".join(" ".join(self._texts[i] for i in piece) for piece in pieces)
        if words not in self.quotes:
            self.quotes.append(words)
        if len(ranges) > MOST_POSITIONS:
            self.notes.append(f"{in_quotes(words)} stands at {len(ranges)} places")
            return
        self._positions += [i for piece in pieces for i in piece]
        for piece in [list(positions) for positions in ranges] or pieces if self._words else ():
            new = line_boxes([self._words[i] for i in piece])
            self.boxes += [box for box in new if box not in self.boxes]

    def location(self) -> dict[str, Any]:
        """Return `Citation` kind, title and area: of the block that holds most of the words with boxes."""
        blocks = self._blocks() if self.boxes else ()
        block = block_around(blocks, self._positions)
        if block is None:
            return {"kind": "text" if self.quotes else "page"}
        title, area = block_title(blocks, block), block_area(block, self.boxes)
        return {"kind": block.kind, "title": title, "area": area}

    def _cells(self, text: str) -> list[list[int]]:
        """Return the words of the cells that a quote of a table is made of, all of a row or names of columns.

        A model copies the row's label and the value, seldom neighbours, and often the table's title.
        """
        parts = [part for part in _CELL_EDGE.split(text.strip(f"{EDGE} ")) if part]
        if not 2 <= len(parts) <= MOST_CELLS:
            return []
        blocks = self._blocks()
        for block in blocks:
            if (table := block.table) is None:
                continue
            title = block_title(blocks, block).split()
            values = [part for part in parts if not find_quote(part, title)]
            heads = [cell for cell in table.cells if cell.row < table.header_rows]
            for row in range(table.header_rows, table.rows if len(values) > 1 else 0):
                cells = [cell for cell in table.cells if cell.row <= row < cell.row + cell.row_span]
                matches = [_cell_with(part, (*cells, *heads)) for part in values]
                if None not in matches and any(match in cells for match in matches):
                    return [list(match.words) for match in matches if match is not None]
        return []


def _cell_with(text: str, cells: Sequence[Cell]) -> Cell | None:
    return next((cell for cell in cells if cell.words and find_quote(text, cell.text.split())), None)
