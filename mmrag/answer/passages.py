"""Passages: pieces of a page that may be quoted, cut out of its blocks.

Running text gives windows of up to three lines or sentences, which overlap; a table gives its rows, each with
its headers. A passage is what the page says: its words in their order, and of a table ``row, column: cell;
...``. Running heads and feet give none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mmrag.answer.words import sentence_spans
from mmrag.blocks import Block, Cell, Table, Word
from mmrag.types import Candidate

LINES = 3
LONGEST = 300
"""Most characters of a window of running text."""
LONGEST_ROW = 400
"""Most characters of a table's row with its headers."""
NUMBERED = 8
"""Fewest lines in a row whose numbers are taken for line numbers; shorter runs may be lists."""
TITLES = ("title", "heading", "caption")


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """A piece of a page that may be quoted.

    Attributes:
        candidate: position in the ranking.
        text: the quote.
        words: of the page, for their boxes; empty for a text without a page.
        block: the block that it is cut from; None for a text without a page.
        title: caption or heading above; ``""`` if there is none.
        row: of the block's table, 0-based; None for other passages, and for a table as a whole.
        start: position of its first line among the lines of its page, for what lies before and behind.
        size: its number of lines.
        named: 2 if the question names its row and its column, 1 if its row alone, else 0.
    """

    candidate: int
    text: str
    words: tuple[Word, ...] = field(default=(), repr=False)
    block: Block | None = field(default=None, repr=False)
    title: str = ""
    row: int | None = None
    start: int = 0
    size: int = 0
    named: int = 0

    @property
    def read_text(self) -> str:
        """Return what a model reads: the title, then the passage."""
        return f"{self.title}: {self.text}" if self.title and self.title not in self.text else self.text


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page outside tables, or a sentence of its running text."""

    words: tuple[str, ...]
    placed: tuple[Word, ...]
    block: Block | None
    title: str

    @property
    def text(self) -> str:
        """Return its words, separated by spaces."""
        return " ".join(self.words)


def passages_of(candidate: Candidate, number: int, blocks: Sequence[Block] | None) -> Iterator[Passage]:
    """Yield the passages of a candidate.

    Args:
        candidate: of a ranking.
        number: its position there.
        blocks: of its page. None: its structure is not known, and the lines of its text are used.
    """
    page = candidate.page
    if page is None or blocks is None:
        text = page.text if page is not None else candidate.record.text
        yield from windows(plain_lines(text, page.words if page is not None else ()), number)
        return
    lines: list[Line] = []
    title = ""
    for block in blocks:
        if block.is_running:
            continue
        if block.kind == "picture" and 0 < len(block.text) <= LONGEST:
            words = tuple(page.words[position] for position in block.words)
            yield Passage(number, block.text, words, block, title)
        elif block.table is not None:
            yield from _rows(block, block.table, page.words, number, title)
        else:
            lines += _lines(block, page.words, "" if block.kind in TITLES else title)
        if block.kind in TITLES:
            title = block.text[:LONGEST]
    yield from windows(_without_numbers(lines), number)


def plain_lines(text: str, words: Sequence[Word]) -> list[Line]:
    """Return the lines of a text whose structure is not known; with words if they are those of the text."""
    lines, position = [], 0
    matching = len(words) == len(text.split())
    for line in text.splitlines():
        tokens = tuple(line.split())
        if tokens:
            placed = tuple(words[position : position + len(tokens)]) if matching else ()
            lines.append(Line(tokens, placed, None, ""))
            position += len(tokens)
    return lines


def windows(lines: Sequence[Line], number: int) -> Iterator[Passage]:
    """Yield windows of up to `LINES` lines, one from each line on."""
    for start in range(len(lines)):
        size = 1
        while size < LINES and start + size < len(lines) and _fits(lines[start : start + size + 1]):
            size += 1
        if size < LINES and start > 0 and start + size == len(lines):
            continue  # the end of the window before
        yield window(lines, number, start, size)


def window(lines: Sequence[Line], number: int, start: int, size: int) -> Passage:
    """Return the window of these lines."""
    part = lines[start : start + size]
    block = max((line.block for line in part), key=lambda b: sum(line.block is b for line in part))
    text = " ".join(line.text for line in part)
    words = tuple(word for line in part for word in line.placed)
    return Passage(number, text[:LONGEST], words, block, part[0].title, None, start, size)


def _fits(lines: Sequence[Line]) -> bool:
    return sum(len(line.text) + 1 for line in lines) <= LONGEST + 1


def _lines(block: Block, words: Sequence[Word], title: str) -> list[Line]:
    """Return the lines of a block; of running text its sentences, cut where they are too long."""
    rows: list[list[Word]] = []
    for position in block.words:
        word = words[position]
        if rows and _same_line(rows[-1][-1], word):
            rows[-1].append(word)
        else:
            rows.append([word])
    if len(rows) > 1 and block.kind not in TITLES:
        flat = [word for row in rows for word in row]
        spans = sentence_spans([word.text for word in flat])
        if len(spans) > 1 or flat[-1].text[-1:] in ".!?":
            rows = [part for span in spans for part in _cut([flat[position] for position in span])]
    return [Line(tuple(word.text for word in row), tuple(row), block, title) for row in rows]


def _without_numbers(lines: list[Line]) -> list[Line]:
    """Return the lines without their numbers, where `NUMBERED` or more in a row begin with 1, 2, 3, ...

    Pleadings and transcripts number their lines; a number in the middle of a sentence is none of its words.
    """
    firsts = [
        int(line.words[0]) if len(line.words) > 1 and line.words[0].isdecimal() else None for line in lines
    ]
    kept = list(lines)
    start = 0
    for end in range(1, len(lines) + 1):
        last = firsts[end - 1]
        if end < len(lines) and last is not None and firsts[end] == last + 1:
            continue
        if end - start >= NUMBERED and firsts[start] is not None:
            kept[start:end] = [
                Line(line.words[1:], line.placed[1:], line.block, line.title) for line in lines[start:end]
            ]
        start = end
    return kept


def _cut(words: list[Word]) -> Iterator[list[Word]]:
    """Yield a sentence in parts of at most `LONGEST` characters."""
    part: list[Word] = []
    size = 0
    for word in words:
        if part and size + len(word.text) > LONGEST:
            yield part
            part, size = [], 0
        part.append(word)
        size += len(word.text) + 1
    yield part


def _same_line(last: Word, word: Word) -> bool:
    """Whether a word follows another on its line; a word cut at the line's end is on the next one, too."""
    box = last.boxes[-1]
    middle = (word.box[1] + word.box[3]) / 2
    return box[1] <= middle <= box[3] and word.box[0] >= box[0]


def _rows(block: Block, table: Table, words: Sequence[Word], number: int, title: str) -> Iterator[Passage]:
    for row in range(table.header_rows, table.rows):
        cells = row_cells(table, row)
        text = row_text(table, row, cells)
        if text:
            placed = tuple(words[position] for cell in cells for position in cell.words)
            yield Passage(number, text[:LONGEST_ROW], placed, block, title, row)


def row_cells(table: Table, row: int) -> list[Cell]:
    """Return the cells that cover a row, left to right, its headers included."""
    return [cell for cell in table.cells if cell.row <= row < cell.row + cell.row_span]


def row_text(table: Table, row: int, cells: Sequence[Cell]) -> str:
    """Return a row as ``row header, column header: cell; ...``."""
    header = ", ".join(table.row_header(row))
    parts = []
    for cell in cells:
        if cell.column >= table.header_columns and cell.text:
            name = " ".join(table.column_header(cell.column))
            parts.append(f"{name}: {cell.text}" if name else cell.text)
    return f"{header}, {'; '.join(parts)}" if header and parts else header or "; ".join(parts)
