"""Passages: pieces of a page that may be quoted, cut out of its blocks.

Running text gives windows of up to three lines or sentences, which overlap; a table gives its rows, each with
its headers. A passage is what the page says: its words in their order, and of a table ``row, column: cell;
...``. Running heads and feet give none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from mmrag.answer.words import sentence_spans
from mmrag.blocks import Block, Cell, Table, Word
from mmrag.types import Candidate

LINES = 3
LONGEST = 300
"""Most characters of a window of running text."""
LONGEST_ROW = 400
"""Most characters of a table's row with its headers."""
LONGEST_NUMBER = 6
"""Most digits of a line's number."""
LEAST_NUMBERS = 8
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
        is_outline: whether only the names of a table's columns are quoted, since all of it is too long.
        match_level: 2 if the question names its row and its column, 1 if its row alone, else 0.
    """

    candidate: int
    text: str
    words: tuple[Word, ...] = field(default=(), repr=False)
    block: Block | None = field(default=None, repr=False)
    title: str = ""
    row: int | None = None
    start: int = 0
    size: int = 0
    match_level: int = 0
    is_outline: bool = False

    @property
    def read_text(self) -> str:
        """Return what a model reads: the title, then the passage."""
        return f"{self.title}: {self.text}" if self.title and self.title not in self.text else self.text


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page outside tables, or a sentence of its running text."""

    words: tuple[str, ...]
    placed_words: tuple[Word, ...]
    block: Block | None
    title: str
    is_sentence: bool = False
    group: int = 0  # a table or picture stands between lines of two groups

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
    title, group = "", 0
    for block in blocks:
        if block.is_running:
            continue
        line_words = [page.words[position] for position in block.words]
        if block.kind == "picture" and 0 < len(block.text) <= LONGEST:
            yield Passage(number, block.text, tuple(line_words), block, title)
            group += 1
        elif block.table is not None:
            yield from table_rows(block, block.table, page.words, number, title)
            in_cells = {position for cell in block.table.cells for position in cell.words}
            rest = [page.words[position] for position in block.words if position not in in_cells]
            lines += _lines(block, rest, title, group + 1) if rest else []
            group += 2
        else:
            lines += _lines(block, line_words, "" if block.kind in TITLES else title, group)
        if block.kind in TITLES:
            title = block.text[:LONGEST]
    yield from windows(_without_numbers(lines), number)


def plain_lines(text: str, words: Sequence[Word]) -> list[Line]:
    """Return the lines of a text whose structure is not known; with words if they are those of the text."""
    lines, position = [], 0
    has_words = [word.text for word in words] == text.split()
    for line in text.splitlines():
        tokens = line.split()
        for span in sentence_spans(tokens) if len(line) > LONGEST else [range(len(tokens))]:
            for part in cut_words(tokens[span.start : span.stop]):
                line_words = tuple(words[position : position + len(part)]) if has_words else ()
                lines.append(Line(tuple(part), line_words, None, ""))
                position += len(part)
    return lines


def windows(lines: Sequence[Line], number: int) -> Iterator[Passage]:
    """Yield windows of up to `LINES` lines, one from each line on."""
    end = 0  # of the window before
    for start in range(len(lines)):
        size = 1
        while size < LINES and start + size < len(lines) and _fits(lines[start : start + size + 1]):
            size += 1
        if start + size == end == len(lines):
            continue
        end = start + size
        yield window(lines, number, start, size)


def window(lines: Sequence[Line], number: int, start: int, size: int) -> Passage:
    """Return the window of these lines."""
    part = lines[start : start + size]
    block = max((line.block for line in part), key=lambda b: sum(line.block is b for line in part))
    text = " ".join(line.text for line in part)
    words = tuple(word for line in part for word in line.placed_words)
    return Passage(number, text[:LONGEST], words, block, part[0].title, None, start, size)


def _fits(lines: Sequence[Line]) -> bool:
    """Check whether lines are short enough for a window, none a heading beside sentences, none parted."""
    last, before = lines[-1], lines[-2]
    if (last.is_sentence, last.group) != (before.is_sentence, before.group):
        return False
    return sum(len(line.text) + 1 for line in lines) <= LONGEST + 1


def _lines(block: Block, words: Sequence[Word], title: str, group: int) -> list[Line]:
    """Return the lines of words of a block; of running text its sentences, cut where they are too long."""
    if not words:
        return [Line(line.words, (), block, title, group=group) for line in plain_lines(block.text, ())]
    rows: list[list[Word]] = []
    for word in (word for word in words if word.text):
        if rows and _same_line(rows[-1][-1], word):
            rows[-1].append(word)
        else:
            rows.append([word])
    numbers = line_numbers([[word.text for word in row] for row in rows])
    rows = [row[1:] if at in numbers else row for at, row in enumerate(rows)]
    flat = [word for row in rows for word in row]
    is_running = block.kind not in TITLES and _is_running_text([word.text for word in flat])
    if len(rows) > 1 and is_running:
        spans = sentence_spans([word.text for word in flat])
        rows = [[flat[position] for position in span] for span in spans]
    lines = []
    for row in rows:
        start = 0
        for part in cut_words([word.text for word in row]):
            cut_row = tuple(row[start : start + len(part)])
            lines.append(Line(tuple(part), cut_row, block, title, is_running, group))
            start += len(part)
    return lines


def _is_running_text(words: Sequence[str]) -> bool:
    """Check whether most words are written in small letters, as in sentences and not in lists."""
    return 2 * sum(word.strip(".,;:!?()\"'").islower() for word in words) >= len(words)


def _without_numbers(lines: list[Line]) -> list[Line]:
    """Return the lines without their numbers; see `line_numbers`."""
    numbers = line_numbers([line.words for line in lines])
    return [
        replace(line, words=line.words[1:], placed_words=line.placed_words[1:]) if at in numbers else line
        for at, line in enumerate(lines)
    ]


def line_numbers(lines: Sequence[Sequence[str]]) -> set[int]:
    """Return the positions of the lines that begin with a number of their own, many in a row.

    Pleadings and transcripts number their lines; a number in the middle of a sentence is none of its words.
    """
    firsts = [
        int(words[0]) if len(words) > 1 and words[0].isdecimal() and len(words[0]) <= LONGEST_NUMBER else None
        for words in lines
    ]
    positions: set[int] = set()
    start = 0
    for end in range(1, len(lines) + 1):
        last = firsts[end - 1]
        if end < len(lines) and last is not None and firsts[end] == last + 1:
            continue
        if end - start >= LEAST_NUMBERS and firsts[start] is not None:
            positions.update(range(start, end))
        start = end
    return positions


def cut_words(words: Sequence[str], longest: int = LONGEST) -> Iterator[list[str]]:
    """Yield words in parts of at most `longest` characters; a longer word is a part of its own."""
    part: list[str] = []
    size = 0
    for word in words:
        if part and size + len(word) > longest:
            yield part
            part, size = [], 0
        part.append(word)
        size += len(word) + 1
    if part:
        yield part


def _same_line(last: Word, word: Word) -> bool:
    """Check whether a word follows another on its line; a word cut at the line's end is on the next one, too.

    Where text runs from right to left it follows close to the left.
    """
    left, top, _, bottom = last.boxes[-1]
    middle = (word.box[1] + word.box[3]) / 2
    is_near = 0 <= left - word.box[2] <= bottom - top
    return top <= middle <= bottom and (word.box[0] >= left or is_near)


def table_rows(
    block: Block, table: Table, words: Sequence[Word], number: int, title: str
) -> Iterator[Passage]:
    """Yield the rows of a table, each with its headers; a long row in parts, each with the row's own header.

    Args:
        block: of the table.
        table: whose rows below the header are read; all of them if it is nothing but header.
        words: of the page.
        number: of the candidate.
        title: of the table.
    """
    first = table.header_rows if table.header_rows < table.rows else 0
    names = [" ".join(table.column_header(column)) if first else "" for column in range(table.columns)]
    cells_by_row: list[list[Cell]] = [[] for _ in range(table.rows)]
    for cell in table.cells:
        for row in range(cell.row, min(table.rows, cell.row + cell.row_span)):
            cells_by_row[row].append(cell)
    for row in range(first, table.rows):
        cells = sorted(cells_by_row[row], key=lambda cell: cell.column)
        for text, positions in _row_quotes(cells, table.header_columns, names):
            yield Passage(number, text, tuple(words[at] for at in positions), block, title, row)


def _row_quotes(
    cells: Sequence[Cell], header_columns: int, names: Sequence[str]
) -> Iterator[tuple[str, list[int]]]:
    """Yield a row as ``row header, column header: cell; ...``, and the positions of its words.

    A row longer than `LONGEST_ROW` comes in parts. A header of half that length or more is read as a value.
    """
    heads = [cell for cell in cells if cell.column < header_columns and cell.text]
    header = ", ".join(dict.fromkeys(cell.text for cell in heads))
    if len(header) > LONGEST_ROW // 2:
        header, heads, header_columns = "", [], 0
    line_words = [at for cell in heads for at in cell.words]
    room = LONGEST_ROW - len(header) - 2
    parts: list[tuple[str, list[int]]] = []
    for cell in cells:
        if cell.column >= header_columns:
            parts += _cell_parts(cell, names[cell.column], room)
    if header and not parts:
        yield header, line_words
    start = 0
    for end in range(1, len(parts) + 1):
        if end == len(parts) or sum(len(text) + 2 for text, _ in parts[start : end + 1]) > room + 2:
            text = "; ".join(text for text, _ in parts[start:end])
            positions = [*line_words, *(at for _, piece in parts[start:end] for at in piece)]
            yield f"{header}, {text}" if header else text, positions
            start = end


def _cell_parts(cell: Cell, name: str, room: int) -> Iterator[tuple[str, list[int]]]:
    """Yield a cell with the name of its column, in parts if it is long, and the positions of their words."""
    lead = f"{name}: " if name and len(name) <= room // 2 else ""
    words = cell.text.split()
    has_positions = len(words) == len(cell.words)
    start = 0
    for part in cut_words(words, room - len(lead)):
        line_words = list(cell.words[start : start + len(part)] if has_positions else cell.words)
        yield (lead + " ".join(part))[:room], line_words
        start += len(part)
