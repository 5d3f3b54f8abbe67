"""What is on a page: words with boxes, hidden text, and blocks (headings, paragraphs, tables, pictures).

Plain frozen data without input or output. `mmrag.types` builds pages of them. Words are facts of the file
(or of OCR); blocks are read from words by a model or by rules (`mmrag.documents.structure`), and refer to
words by position.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

Box: TypeAlias = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in 0..1 of the page, origin top left."""

BLOCK_KINDS = (
    "title",
    "heading",
    "text",
    "list-item",
    "table",
    "picture",
    "formula",
    "caption",
    "footnote",
    "field",
    "comment",
    "header",
    "footer",
    "watermark",
)
"""Kinds of blocks. ``"header"`` and ``"footer"`` are running heads and feet, page numbers among them;
``"field"`` is a form field with its label; ``"comment"`` is a note that a reader of the file has added."""

RUNNING_KINDS = frozenset({"header", "footer", "watermark"})
"""Kinds that are repeated on many pages and are never an answer."""


_MARK = re.compile(r"[\u00b9\u00b2\u00b3\u2070-\u207f\u02b0-\u02ff\u1d2c-\u1d6a()\[\],;*\u2020\u2021]*")


def is_footnote_mark(text: str) -> bool:
    """Check whether a word is nothing but superscript characters and signs such as * and a dagger.

    Readers write the raised mark after a figure so: "250" and "\u2079" are two words.
    """
    return bool(_MARK.fullmatch(text)) and any(c not in "()[],;" for c in text)


@dataclass(frozen=True, slots=True)
class Word:
    """A run of characters without white space, and its box on the page.

    Attributes:
        text: the characters. A word cut by a hyphen at the end of a line is whole.
        box: of the word; of its first part where it was cut at the end of a line.
        tail: box of the part on the next line; None for a word on one line.
        confidence: of OCR, 0..1; None for a word of the file's own text.

    Example:
        >>> [word.text for word in mmrag.read("report.pdf", pages=[1]).pages[0].words[:2]]
        ['The', 'board']
    """

    text: str
    box: Box
    tail: Box | None = None
    confidence: float | None = None

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Return the boxes of its parts, one or two."""
        return (self.box,) if self.tail is None else (self.box, self.tail)


class LateParts:
    """A page whose words and blocks are decoded when somebody first asks: most who search never do."""

    __slots__ = ("_decoders",)

    def put_off(self, decoders: Mapping[str, Callable[[], object]]) -> None:
        """Take attributes away; each is what its decoder returns."""
        object.__setattr__(self, "_decoders", decoders)
        for name in decoders:
            object.__delattr__(self, name)

    def decode(self) -> None:
        """Decode all that was put off, to see that it can be."""
        for name in getattr(self, "_decoders", {}):
            getattr(self, name)

    if not TYPE_CHECKING:  # a type checker would take every attribute for one that is there

        def __getattr__(self, name: str) -> object:
            """Decode an attribute; Python asks here for what an object has not got."""
            decoders = {} if name == "_decoders" else getattr(self, "_decoders", {})
            if name not in decoders:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            value = decoders[name]()
            object.__setattr__(self, name, value)
            return value


@dataclass(frozen=True, slots=True)
class HiddenText:
    """Text of the file that no eye sees on the page; it is never embedded, quoted or sent to a model.

    Attributes:
        text: words of one line, separated by spaces.
        box: of all of them.
        reason: ``"same colour as the paper"``, ``"covered"``, ``"too small"``, ``"struck out"``,
            ``"clipped"``, ``"transparent"`` or ``"invisible"`` (PDF render mode 3 without a scan under it;
            with PDFium, what else paints nothing, as a layer that is off).
    """

    text: str
    box: Box
    reason: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        row, column: 0-based position of its upper left corner.
        text: its words, separated by spaces; ``""`` for an empty cell.
        box: None where the cell has no extent of its own.
        row_span, column_span: rows and columns that it covers, at least 1.
        is_header: whether it names a column (or, in the first column, a row) instead of holding a value.
        words: positions in `Page.words`.
    """

    row: int
    column: int
    text: str
    box: Box | None = None
    row_span: int = 1
    column_span: int = 1
    is_header: bool = False
    words: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A grid of cells.

    Attributes:
        rows, columns: size of the grid.
        cells: by row, then column; a position covered by a span has no cell of its own.
        header_rows: number of rows at the top that name columns.
        header_columns: number of columns at the left that name rows.
        continues: True if it goes on from the page before: same columns, one logical table.
    """

    rows: int
    columns: int
    cells: tuple[Cell, ...]
    header_rows: int = 0
    header_columns: int = 0
    continues: bool = False

    def grid(self) -> list[list[str]]:
        """Return the texts row by row; a cell with spans is repeated in all the positions that it covers."""
        texts = [[""] * self.columns for _ in range(self.rows)]
        for cell in self.cells:
            for row in range(cell.row, min(self.rows, cell.row + cell.row_span)):
                for column in range(cell.column, min(self.columns, cell.column + cell.column_span)):
                    texts[row][column] = cell.text
        return texts

    def column_header(self, column: int) -> tuple[str, ...]:
        """Return the texts over a column, outermost first, without repetitions and blanks."""
        return _path(
            cell.text
            for cell in self.cells
            if cell.row < self.header_rows and cell.column <= column < cell.column + cell.column_span
        )

    def row_header(self, row: int) -> tuple[str, ...]:
        """Return the texts left of a row's values, outermost first, without repetitions and blanks."""
        left = [
            (cell.column, cell.text)
            for cell in self.cells
            if cell.column < self.header_columns and cell.row <= row < cell.row + cell.row_span
        ]
        return _path(text for _, text in sorted(left, key=lambda item: item[0]))


def _path(texts: Iterable[str]) -> tuple[str, ...]:
    """Drop blanks and repetitions, keep the order."""
    return tuple(dict.fromkeys(text for text in texts if text))


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a page, in reading order.

    Attributes:
        kind: one of `BLOCK_KINDS`.
        text: its words; of a table, its rows as lines with cells separated by tabs.
        boxes: usually one; a paragraph that goes on in the next column has two.
        level: of a heading, 1 is the outermost; 0 for the others.
        words: positions in `Page.words`, in reading order.
        table: the grid of a table; None for other kinds.
    """

    kind: str
    text: str
    boxes: tuple[Box, ...] = ()
    level: int = 0
    words: tuple[int, ...] = field(default=(), repr=False)
    table: Table | None = field(default=None, repr=False)

    @property
    def is_running(self) -> bool:
        """Whether it is repeated on many pages (running head or foot, page number, watermark)."""
        return self.kind in RUNNING_KINDS
