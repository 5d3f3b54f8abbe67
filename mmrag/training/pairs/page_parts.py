"""The parts of a page that queries are made of: headings, captions, sentences, named cells, labelled values.

They are read off the page's blocks (`mmrag.blocks`), so what the reader does not tell apart is not there:
without its layout model there are no headings, and only tables with ruled lines. A page without blocks has no
parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmrag.answer.words import content_stems, sentence_spans
from mmrag.blocks import Block, Cell, Table
from mmrag.documents.structure.figures import YEAR
from mmrag.types import Word

LONGEST = 24
"""Largest number of words of a query made of a heading, a caption or a cell."""
LABEL, VALUE = 5, 12
"""Largest number of words of a label and of its value; longer ones are sentences with a colon in them."""

_HEADING_NUMBER = re.compile(
    r"^\s*(?:(?i:chapter|section|part|appendix|annex)\s+(?:\d+|[A-Z]|[IVXLC]+)[.):]?|"
    r"\d{1,2}(?:\.\d{1,2})*[.):]?|(?:[A-Z]|[IVXLC]+)[.):]|[B-HJ-Z](?=\s+[A-Z]))\s+(?=\S)"
)
_CAPTION_NUMBER = re.compile(
    r"^\s*(?i:table|tab\.|figure|fig\.?|chart|exhibit|panel|plate|tabelle|abbildung|abb\.|tableau)"
    r"\s*(?:[0-9]+(?:[.\-\u2013][0-9]+)*[a-z]?|[A-Z](?:[.\-]?[0-9]+)*|[IVX]+)(?=\s*[:.|\u2013\u2014-]|\s+[A-Z]|\s*$)"
    r"\s*[:.|\u2013\u2014-]?\s*"
)
_NO_VALUE = frozenset(["n/a", "n.a.", "na", "n.m.", "nm", "nil", "none", "k.a."])
Passage = tuple[Word, ...]
"""Words of the page that are read together."""


@dataclass(frozen=True, slots=True)
class NamedCell:
    """A cell of a table whose row and column have names.

    Attributes:
        row, column: the names, outermost first.
        value: what is in the cell.
        passages: of the cells that name it, and of the cell itself, the last.
    """

    row: str
    column: str
    value: str
    passages: tuple[Passage, ...]


class PageParts:
    """The parts of a page that queries are made of."""

    def __init__(self, words: Sequence[Word], blocks: Sequence[Block]) -> None:
        self._words = words
        self._blocks = blocks

    def headings(self) -> Iterator[Passage]:
        """Yield titles and headings that are specific without their numbers."""
        for block in self._of_kinds("title", "heading"):
            passage = self._passage(block.words)
            if not _is_caption(block) and is_specific(without_number(passage_text(passage))):
                yield passage

    def captions(self) -> Iterator[Passage]:
        """Yield captions, and texts that are numbered like one, if they are specific without the number."""
        for block in self._of_kinds("caption", "text", "heading"):
            passage = self._passage(block.words)
            if _is_caption(block) and is_specific(without_label(passage_text(passage))):
                yield passage

    def sentences(self) -> Iterator[Passage]:
        """Yield the sentences of paragraphs and list items."""
        for block in self._of_kinds("text", "list-item"):
            passage = self._passage(() if _is_caption(block) else block.words)
            for span in sentence_spans([word.text for word in passage]):
                yield _without_bullet(passage[span.start : span.stop])

    def cells(self) -> Iterator[NamedCell]:
        """Yield the cells of tables that rows and columns with names cross in."""
        for block in self._blocks:
            if block.table is not None:
                yield from self._cells_of(block.table)

    def _cells_of(self, table: Table) -> Iterator[NamedCell]:
        heads = [cell for cell in table.cells if cell.is_header and cell.text]
        for cell in table.cells:
            if cell.is_header or not _has_value(cell):
                continue
            over, beside = _headers(table, heads, cell)
            column = " ".join(part.text for part in over)
            row = ", ".join(part.text.rstrip(":") for part in beside)
            if _is_name(row) and _is_name(column) and is_specific(f"{row} {column}", least=1):
                passages = tuple(self._passage(part.words) for part in (*beside, *over, cell))
                yield NamedCell(row, column, cell.text, passages)

    def fields(self) -> Iterator[tuple[str, tuple[Passage, ...]]]:
        """Yield labels with the passages of label and value.

        These are "Label: value" in a block of its own, and the rows of a table of names and values alone.
        """
        for block in self._of_kinds("text", "list-item", "field"):
            passage = self._passage(block.words)
            colon = next((at for at, word in enumerate(passage[:LABEL], 1) if word.text.endswith(":")), None)
            if colon is not None and 0 < len(passage) - colon <= VALUE and not _is_caption(block):
                yield passage_text(passage[:colon]).rstrip(": "), (passage[:colon], passage[colon:])
        for block in self._blocks:
            if block.table is not None:
                yield from self._fields_of(block.table)

    def _fields_of(self, table: Table) -> Iterator[tuple[str, tuple[Passage, ...]]]:
        if (table.header_rows, table.header_columns, table.columns) != (0, 1, 2):
            return
        heads = [cell for cell in table.cells if cell.is_header and cell.text]
        for cell in table.cells:
            _, beside = _headers(table, heads, cell)
            if not cell.is_header and beside and _has_value(cell):
                yield beside[0].text.rstrip(": "), (self._passage(beside[0].words), self._passage(cell.words))

    def _of_kinds(self, *kinds: str) -> Iterator[Block]:
        return (block for block in self._blocks if block.kind in kinds and block.table is None)

    def _passage(self, positions: Sequence[int]) -> Passage:
        return tuple(self._words[position] for position in positions)


def _headers(table: Table, heads: Sequence[Cell], cell: Cell) -> tuple[list[Cell], list[Cell]]:
    """Return the cells that name the column of a cell, and those that name its row, outermost first.

    Args:
        table: that the cells are of.
        heads: its header cells that have a text.
        cell: with a value.
    """
    over = [
        head
        for head in heads
        if head.row < table.header_rows and head.column <= cell.column < head.column + head.column_span
    ]
    beside = [
        head
        for head in heads
        if head.column < table.header_columns and head.row <= cell.row < head.row + head.row_span
    ]
    return _without_repetitions(over), _without_repetitions(beside)


def _without_repetitions(cells: Sequence[Cell]) -> list[Cell]:
    """Return the first cell of each text."""
    texts = [cell.text for cell in cells]
    return [cell for at, cell in enumerate(cells) if cell.text not in texts[:at]]


def _is_caption(block: Block) -> bool:
    """Decide whether a text is a caption by the model, or by a number at its beginning."""
    return block.kind == "caption" or _CAPTION_NUMBER.match(block.text) is not None


def _has_value(cell: Cell) -> bool:
    """Decide whether a cell says something: no dash, and no sign for nothing."""
    return any(c.isalnum() for c in cell.text) and cell.text.casefold() not in _NO_VALUE


def _is_name(text: str) -> bool:
    """Decide whether a row or column is named: by words, or by a year."""
    return any(c.isalpha() for c in text) or YEAR.search(text) is not None


# ---- texts ------------------------------------------------------------------------------------------


def is_specific(text: str, *, least: int = 2, most: int = LONGEST) -> bool:
    """Return whether a text has five letters, `least` content words, and at most `most` words."""
    letters = sum(c.isalpha() for c in text)
    return letters >= 5 and len(text.split()) <= most and len(content_stems(text)) >= least


def without_number(heading: str) -> str:
    """Return a heading without its "2.1" or "Chapter 3:"."""
    return _HEADING_NUMBER.sub("", heading, count=1)


def without_label(caption: str) -> str:
    """Return a caption without its "Table 3:"."""
    return _CAPTION_NUMBER.sub("", caption, count=1).strip()


def _without_bullet(passage: Passage) -> Passage:
    """Return the words without a bullet at the beginning."""
    start = next((at for at, word in enumerate(passage) if any(c.isalnum() for c in word.text)), 0)
    return passage[start:]


def passage_text(passage: Passage) -> str:
    """Return the words joined by one space."""
    return " ".join(word.text for word in passage)
