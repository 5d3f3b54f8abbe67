"""Find tables by the alignment of their words, and read them by row and column header.

Decisions taken here:

* A *body row* has a row header with letters (or a period) and at least one figure, or three cells and
  more; a table has two body rows or more that stand close together.
* Columns are the unions of the horizontal extents of the body's cells. Cells that touch two columns
  (spanning headers) are looked at only afterwards.
* Rows above the body whose cells stand over its columns are header rows; a header cell belongs to the
  run of columns that it is centred over, so that "2024" over "Europe | Asia" names both.
* A row with text only is a group ("Europe:") where rows below are indented or it ends with a colon or
  the next row starts like a new one; it is the first half of a wrapped row header where the next
  begins in lower case.
* Ruled lines are not seen: a table without any alignment is not found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from mmrag.answer.lines import Row, Run, Token, is_number, is_period, is_value, union_box
from mmrag.types import Box, Word

CAPTION = re.compile(
    r"^\s*(?i:table|tab\.|figure|fig\.?|chart|exhibit|graph|panel|plate|tabelle|abbildung|tableau)"
    r"(?:\s*[0-9]+(?:[.\-\u2013][0-9]+)*[a-z]?\b|\s+(?:[A-Z](?:[.\-]?[0-9]+)*|[IVX]+)(?=\s*[:.|\u2013\u2014-]|\s*$))"
    r"\s*[:.|\u2013\u2014-]?"
)
_TOTAL = re.compile(
    r"(?i)^\s*(?:(?:grand |sub-?)?totals?\b|all\b|overall\b|sum\b|average\b|mean\b|net total)"
)
_UNITS = re.compile(
    r"(?i)^\(?\s*(?:(?:all )?(?:figures|amounts|numbers|values|dollars|data)\b.*\bin\b|"
    r"in\b.*(?:million|thousand|billion|\$|€|£|%|"
    r"percent|dollars|euros|usd|eur|tonnes|units|hours)|[$€£]\s*(?:million|thousand|billion|m|bn|000)|unit|(?:millions?|"
    r"thousands?|billions?) of\b|(?:percent|percentage|per cent|%) of\b)"
)


@dataclass(frozen=True)
class Cell:
    """A cell: its words as they stand, and its place among the columns.

    Attributes:
        text: the words joined by one space; ``""`` for an empty cell.
        words: the page's words.
    """

    text: str
    words: tuple[Word, ...] = ()

    @property
    def box(self) -> Box | None:
        """The box round the words in 0..1; None for an empty cell."""
        return union_box(self.words) if self.words else None


NO_CELL = Cell("")
"""What stands where nothing was found."""


@dataclass(frozen=True)
class TableRow:
    """A row: the groups it stands under (outermost first), its header, and one cell a column."""

    header: Cell
    cells: tuple[Cell, ...]
    groups: tuple[Cell, ...] = ()

    @property
    def is_total(self) -> bool:
        """Whether the header says that the row sums or averages others."""
        return bool(_TOTAL.match(self.header.text))


@dataclass(frozen=True)
class Table:
    """A table read by headers.

    Attributes:
        caption: the line that names it; empty where none was found.
        units: a line such as "in millions of dollars"; empty where none was found.
        corner: what stands over the row headers.
        columns: for each column its header cells, top to bottom.
        rows: the body rows, top to bottom.
        words: every word of the table, its headers included, caption and units not.
    """

    caption: Cell
    units: Cell
    corner: Cell
    columns: tuple[tuple[Cell, ...], ...]
    rows: tuple[TableRow, ...]
    words: tuple[Word, ...] = field(repr=False)

    def column_name(self, column: int) -> str:
        """The header of a column in one string, top to bottom."""
        return " ".join(cell.text for cell in self.columns[column] if cell.text)


def find_tables(rows: Sequence[Row], height: float) -> tuple[list[Table], list[Run]]:
    """Tables among the rows of one text column, and the runs that are in none of them.

    Args:
        rows: from `mmrag.answer.lines.make_rows`, top to bottom.
        height: height of ordinary text in points.

    Returns:
        The tables, top to bottom, and the other runs in their order.
    """
    split = [_cells(row) for row in rows]
    used: set[int] = set()
    tables: list[Table] = []
    for start, stop in _bodies(split, height):
        if start in used:
            continue
        table, taken = _read(split, _first_aligned(split, start, stop, height), stop, height, used)
        if table is not None:
            tables.append(table)
            used |= taken
    rest = [run for number, row in enumerate(rows) if number not in used for run in row]
    return tables, rest


def _cells(row: Row) -> Row:
    """Part figures that stand in one run, and join a currency sign with the figure that follows it."""
    parted: Row = []
    for run in row:
        parted.extend(_part(run))
    joined: Row = []
    for run in parted:
        last = joined[-1] if joined else None
        sign = last is not None and last.text in {"$", "€", "£", "¥", "($", "(", "-$"}
        tail = run.text in {")", "%", ")%", "*", "%)"}
        if last is not None and (
            (sign and is_value(run.text) and run.x0 - last.x1 < 5 * run.height)
            or (tail and is_number(last.text) and run.x0 - last.x1 < run.height)
        ):
            joined[-1] = Run(last.tokens + run.tokens)
        else:
            joined.append(run)
    return joined


def _part(run: Run) -> Row:
    """Split a run between two figures, or between a text and its run of figures where the space is wide."""
    parts: list[list[Token]] = [[run.tokens[0]]]
    for before, token in zip(run.tokens, run.tokens[1:], strict=False):
        gap = token.x0 - before.x1
        left, right = before.word.text, token.word.text
        figures = _figure_like(left) and _figure_like(right) and left not in {"$", "€", "£"}
        wide = gap > 0.62 * run.height and (_figure_like(right) or _figure_like(left))
        if wide or (figures and gap > 0.3 * run.height and right not in {"%", ")", ")%"}):
            parts.append([token])
        else:
            parts[-1].append(token)
    return [Run(tuple(part)) for part in parts]


def _figure_like(text: str) -> bool:
    return is_value(text) or is_period(text) or text in {"$", "€", "£"}


def _is_body(row: Row) -> bool:
    """Whether the row can be a row of a table's body."""
    if len(row) < 2 or len(row) > 40:
        return False
    values = [run for run in row[1:] if is_value(run.text)]
    periods = [run for run in row[1:] if is_period(run.text)]
    if len(periods) == len(row) - 1 or (len(periods) >= 2 and not values):
        return False
    first = row[0]
    named = any(c.isalpha() for c in first.text) or is_period(first.text) or len(row) >= 3
    if values and named and not (len(row) == 2 and first.is_prose and len(first.tokens) > 14):
        return True
    short = sum(1 for run in row if len(run.tokens) <= 4)
    return len(row) >= 3 and short >= len(row) - 1


def _bodies(rows: Sequence[Row], height: float) -> list[tuple[int, int]]:
    """Stretches ``[start, stop)`` of rows that start and end with a body row and hold two or more."""
    found: list[tuple[int, int]] = []
    start = -1
    last = -1
    count = 0
    for number, row in enumerate(rows):
        if not _is_body(row):
            continue
        if start >= 0 and _continues(rows, last, number, height):
            last, count = number, count + 1
            continue
        if start >= 0 and count >= 2:
            found.append((start, last + 1))
        start, last, count = number, number, 1
    if start >= 0 and count >= 2:
        found.append((start, last + 1))
    return found


def _continues(rows: Sequence[Row], last: int, number: int, height: float) -> bool:
    """Whether two body rows belong to one table: near, with at most two short text rows between them."""
    between = rows[last + 1 : number]
    if len(between) > 2 or any(any(run.is_prose and len(run.tokens) > 9 for run in row) for row in between):
        return False
    if any(CAPTION.match(row[0].text) for row in between):
        return False
    for above, below in zip(rows[last:number], rows[last + 1 : number + 1], strict=True):
        if min(r.y0 for r in below) - max(r.y1 for r in above) > 2.2 * height:
            return False
    return True


def _first_aligned(rows: Sequence[Row], start: int, stop: int, height: float) -> int:
    """Index of the first body row whose cells line up with those of the next ones.

    A form's head ("Engineer ... Sheet 1 of 2") over a table is close to it, but stands in other places.
    """
    while stop - start > 3:
        mates = [rows[n] for n in range(start + 1, stop) if _is_body(rows[n])][:4]
        if len(mates) < 3 or sum(_lines_up(rows[start], mate, height) for mate in mates) >= 0.5 * len(mates):
            return start
        start = next(n for n in range(start + 1, stop) if _is_body(rows[n]))
    return start


def _lines_up(row: Row, other: Row, height: float) -> bool:
    """Whether half of the row's cells share an edge or their centre with a cell of the other."""
    near = 0.7 * height
    same = sum(
        any(min(abs(a.x0 - b.x0), abs(a.x1 - b.x1), abs(a.centre - b.centre)) < near for b in other)
        for a in row
    )
    return same >= 0.5 * len(row)


Extent = tuple[float, float]


def _read(
    rows: Sequence[Row], start: int, stop: int, height: float, used: set[int]
) -> tuple[Table | None, set[int]]:
    """Read one table; None where the stretch turns out not to be one."""
    body = [row for row in rows[start:stop] if _is_body(row)]
    columns = _columns(body, height)
    if columns is None:
        return None, set()
    rows = [*rows[:start], *(_fit(row, columns) for row in rows[start:stop]), *rows[stop:]]
    body = [row for row in rows[start:stop] if _is_body(row)]
    first = start
    while start < stop - 2 and _is_header(rows[start], body[1:], columns):
        start += 1
    head_start = _header_start(rows, first, start, columns, height, used)
    while start > head_start and not _over_values(rows[start - 1], columns, height):
        start -= 1  # a group's name between header and body
    stop = _tail(rows, stop, columns, height, used)
    data = _data_rows(rows[start:stop], columns, height)
    if len(data) < 2 and not (data and head_start < start):
        return None, set()
    heads = [_fit(row, columns, space=0.45) for row in rows[head_start:start]]
    headers, corner = _column_headers(heads, columns, height)
    figures = any(is_value(cell.text) for row in data for cell in row.cells)
    if not _plausible(data, headers) or (not figures and len(data) < 3 and not any(headers)):
        return None, set()
    caption, units, lines = _caption(rows, head_start, stop, height, used)
    taken = set(range(head_start, stop)) | lines
    words = tuple(w for row in rows[head_start:stop] for run in row for w in run.words)
    return Table(caption, units, corner, headers, tuple(data), words), taken


def _columns(body: Sequence[Row], height: float) -> list[Extent] | None:
    """Extents of the columns, the row headers' first; None where the cells do not line up."""
    first = [row[0] for row in body]
    left = median(run.x0 for run in first)
    others = sorted(
        (run for row in body for run in row[1:] if run.x0 > left + height), key=lambda run: run.x1 - run.x0
    )
    values = [run for run in others if is_value(run.text)] or others
    extents = _merge([(run.x0, run.x1) for run in values], height)
    for run in others:
        if not any(_overlap((run.x0, run.x1), extent) > 0 for extent in extents):
            extents = _merge([*extents, (run.x0, run.x1)], height)
    extents.sort()
    if not extents:
        return None
    filled = [sum(1 for row in body if any(_overlap((r.x0, r.x1), e) > 0 for r in row[1:])) for e in extents]
    extents = [e for e, n in zip(extents, filled, strict=True) if n >= 2 or n >= 0.5 * len(body)]
    if not extents or len(extents) > 24:
        return None
    heads = [run for run in first if run.x0 < extents[0][0] - 1]
    if len(heads) < 0.6 * len(body):
        return None
    right = min(extents[0][0] - 0.1, max(run.x1 for run in heads))
    return [(min(run.x0 for run in heads), right), *extents]


def _merge(extents: Sequence[Extent], height: float) -> list[Extent]:
    """Unions of extents that overlap by more than a jitter."""
    merged: list[Extent] = []
    for x0, x1 in sorted(extents):
        if merged and min(merged[-1][1], x1) - x0 > 0.15 * min(height, x1 - x0):
            merged[-1] = (merged[-1][0], max(merged[-1][1], x1))
        else:
            merged.append((x0, x1))
    return merged


def _overlap(one: Extent, other: Extent) -> float:
    return min(one[1], other[1]) - max(one[0], other[0])


def _place(run: Run, columns: Sequence[Extent]) -> int:
    """The column that a body cell overlaps most, or the nearest."""
    return max(range(len(columns)), key=lambda n: _overlap((run.x0, run.x1), columns[n]))


def _fit(row: Row, columns: Sequence[Extent], space: float = 0.12) -> Row:
    """Split runs whose words stand in different columns with more than a narrow space between them."""
    fitted: Row = []
    for run in row:
        parts: list[list[Token]] = [[run.tokens[0]]]
        for before, token in zip(run.tokens, run.tokens[1:], strict=False):
            there = [n for n, e in enumerate(columns) if _overlap((token.x0, token.x1), e) > 0]
            here = [n for n, e in enumerate(columns) if _overlap((parts[-1][0].x0, before.x1), e) > 0]
            apart = bool(there and here) and not set(there) & set(here)
            if apart and token.x0 - before.x1 > space * run.height:
                parts.append([token])
            else:
                parts[-1].append(token)
        fitted.extend(Run(tuple(part)) for part in parts)
    return fitted


def _is_header(row: Row, body: Sequence[Row], columns: Sequence[Extent]) -> bool:
    """Whether a row at the top of the body is a header: no figures where the rows below have them."""
    numeric = [0] * len(columns)
    for other in body:
        for run in other[1:]:
            numeric[_place(run, columns)] += is_value(run.text)
    below = [n for n in range(1, len(columns)) if numeric[n] >= 0.5 * len(body)]
    mine = {_place(run, columns) for run in row if is_value(run.text)}
    texts = {_place(run, columns) for run in row if not is_value(run.text)}
    if not mine and row[0].centre > columns[0][1] and len(row) >= 0.6 * (len(columns) - 1):
        return True  # nothing over the row headers, names over the other columns
    if not below and not mine and len(row) >= len(columns) - 1:
        return _heads_texts(row, body, columns)
    return bool(below) and not mine.intersection(below) and bool(texts.intersection(below))


def _heads_texts(row: Row, body: Sequence[Row], columns: Sequence[Extent]) -> bool:
    """Whether the first row of a table of texts is a header: in capitals, or without digits over digits."""
    texts = [run.text for run in row]
    others = [run.text for other in body for run in other]
    if all(text.isupper() for text in texts) and sum(text.isupper() for text in others) < 0.7 * len(others):
        return True
    if any(c.isdigit() for text in texts for c in text):
        return False
    digits = [0] * len(columns)
    for other in body:
        for run in other:
            digits[_place(run, columns)] += any(c.isdigit() for c in run.text)
    return max(digits) >= 0.7 * len(body)


def _header_start(
    rows: Sequence[Row], first: int, start: int, columns: Sequence[Extent], height: float, used: set[int]
) -> int:
    """Index of the first header row; ``first..start`` are known to be headers, ``start`` is the body."""
    top = first
    last = first
    right = columns[-1][1]
    for number in range(first - 1, max(-1, first - 6), -1):
        row = rows[number]
        gap = min(run.y0 for run in rows[last]) - max(run.y1 for run in row)
        if number in used or gap > 1.8 * height or CAPTION.match(row[0].text):
            break
        last = number
        if not _over_values(row, columns, height):
            if top < start or row[0].x1 > columns[1][0] or len(row[0].tokens) > 6:
                break
            continue  # perhaps the name of the first group
        if top < start and not _heads_columns(row, rows[top], columns, height):
            break
        if any(run.x0 > right + 6 * height or _too_long(run, columns) for run in row):
            break
        if len(row) == 1 and (_UNITS.match(row[0].text) or run_ends_sentence(row[0])):
            break
        top = number
    return top


def _heads_columns(row: Row, below: Row, columns: Sequence[Extent], height: float) -> bool:
    """Whether all of a row over the header is in line with it, or centred over several columns."""
    fits = 0
    for run in row:
        lined = any(
            min(abs(run.x0 - o.x0), abs(run.x1 - o.x1), abs(run.centre - o.centre)) < 0.7 * height
            for o in below
        )
        spans = any(
            abs(run.centre - (columns[i][0] + columns[j][1]) / 2) < 1.5 * height
            for i in range(1, len(columns))
            for j in range(i + 1, len(columns))
        )
        fits += lined or spans
    return fits == len(row)


def _over_values(row: Row, columns: Sequence[Extent], height: float) -> bool:
    """Whether something in the row stands over the value columns."""
    return any(run.x1 > columns[1][0] - 2 * height and run.centre > columns[0][1] for run in row)


def run_ends_sentence(run: Run) -> bool:
    """Whether the run reads as the end of a sentence."""
    return run.is_prose and run.text.rstrip()[-1:] in ".!?;:"


def _too_long(run: Run, columns: Sequence[Extent]) -> bool:
    """A line of prose that happens to stand over the columns."""
    return len(run.tokens) > 9 or (run.x0 < columns[0][1] and run.x1 > columns[1][1] and run.is_prose)


def _tail(rows: list[Row], stop: int, columns: Sequence[Extent], height: float, used: set[int]) -> int:
    """Index after the last row, with lines that only go on with the texts of the last cells."""
    while stop < len(rows) and stop not in used:
        row = rows[stop]
        gap = min(run.y0 for run in row) - max(run.y1 for run in rows[stop - 1])
        inside = all(run.x0 > columns[1][0] - height and run.x1 < columns[-1][1] + 2 * height for run in row)
        above = [_place(run, columns) for run in rows[stop - 1] if not is_value(run.text)]
        goes_on = all(_place(run, columns) in above and not is_value(run.text) for run in row)
        if gap > 0.9 * height or not inside or not goes_on or len(row) > 0.5 * len(columns):
            break
        stop += 1
    return stop


def _column_headers(
    rows: Sequence[Row], columns: Sequence[Extent], height: float
) -> tuple[tuple[tuple[Cell, ...], ...], Cell]:
    """Header cells of each value column, top to bottom, and what stands over the row headers."""
    stacks: list[list[Cell]] = [[] for _ in columns[1:]]
    corner: list[Word] = []
    for number, row in enumerate(rows):
        heads = [run for run in row if run.x1 > columns[0][1] + 1 and run.centre > columns[0][1]]
        corner.extend(w for run in row if run not in heads for w in run.words)
        nested = number + 1 < len(rows)
        for run, (first, last) in zip(heads, _spans(heads, columns[1:], height, nested), strict=True):
            for position in range(first, last + 1):
                stacks[position].append(Cell(run.text, run.words))
    text = " ".join(word.text for word in corner)
    return tuple(tuple(stack) for stack in stacks), Cell(text, tuple(corner))


def _spans(
    heads: Sequence[Run], columns: Sequence[Extent], height: float, nested: bool
) -> list[tuple[int, int]]:
    """For each header cell the run of columns it is centred over.

    A row of headers right above the body names one column each.
    """
    touched = []
    for run in heads:
        hit = [n for n, e in enumerate(columns) if _overlap((run.x0, run.x1), e) > 0]
        nearest = min(range(len(columns)), key=lambda n: abs(run.centre - sum(columns[n]) / 2))
        touched.append((hit[0], hit[-1]) if hit else (nearest, nearest))
    if not nested or len(heads) >= len(columns):
        return touched
    spans: list[tuple[int, int]] = []
    for number, run in enumerate(heads):
        low = max(spans[-1][1] + 1 if spans else 0, 0)
        high = touched[number + 1][0] - 1 if number + 1 < len(heads) else len(columns) - 1
        first, last = touched[number]
        best, best_cost = (first, last), float("inf")
        for i in range(min(low, first), first + 1):
            for j in range(last, max(high, last) + 1):
                cost = abs(run.centre - (columns[i][0] + columns[j][1]) / 2) - 0.1 * height * (j - i)
                if cost < best_cost - 1e-6:
                    best, best_cost = (i, j), cost
        spans.append(best if best_cost < 2.5 * height else (first, last))
    return spans


def _data_rows(rows: Sequence[Row], columns: Sequence[Extent], height: float) -> list[TableRow]:
    """Body rows with their groups; wrapped row headers are put together."""
    data: list[TableRow] = []
    groups: list[tuple[float, Cell, bool]] = []  # indent, cell, whether its rows are indented
    pending: list[Word] = []
    for number, row in enumerate(rows):
        slots: list[list[Word]] = [[] for _ in columns]
        for run in row:
            slots[_place(run, columns)].extend(run.words)
        indent = min(run.x0 for run in row)
        head = tuple(pending) + tuple(slots[0])
        text = " ".join(word.text for word in head)
        if not any(slots[1:]):
            following = rows[number + 1] if number + 1 < len(rows) else None
            if _wraps(text, following):
                pending = list(head)
                continue
            if data and text[:1].islower() and not _is_group(row, following, height):
                data[-1] = _lengthen(data[-1], head)
                continue
            groups = [g for g in groups if g[0] < indent - 0.4 * height]
            inner = following is not None and min(r.x0 for r in following) > indent + 0.4 * height
            groups.append((indent, Cell(text, head), inner))
            pending = []
            continue
        pending = []
        if data and not text and _continues_cells(slots[1:], data[-1]):
            data[-1] = _append_cells(data[-1], slots[1:])
            continue
        total = bool(_TOTAL.match(text))
        groups = [g for g in groups if not ((g[2] and indent <= g[0] + 0.4 * height) or (total and not g[2]))]
        cells = tuple(Cell(" ".join(w.text for w in slot), tuple(slot)) for slot in slots[1:])
        header = Cell(text, head)
        if not text:  # "Amount claimed" in the second column of a numbered list
            header = next((cell for cell in cells if cell.text and not is_value(cell.text)), header)
        data.append(TableRow(header, cells, tuple(g[1] for g in groups)))
    return data


def _continues_cells(slots: Sequence[Sequence[Word]], row: TableRow) -> bool:
    """Whether a row without header only goes on with texts of the row above ("packing adjusted.")."""
    filled = [(n, " ".join(word.text for word in slot)) for n, slot in enumerate(slots) if slot]
    if len(filled) > 0.5 * len(slots) and len(slots) > 1:
        return False
    return all(
        row.cells[n].text and not is_value(text) and not is_value(row.cells[n].text) for n, text in filled
    )


def _append_cells(row: TableRow, slots: Sequence[Sequence[Word]]) -> TableRow:
    cells = []
    for cell, slot in zip(row.cells, slots, strict=True):
        words = (*cell.words, *slot)
        cells.append(Cell(" ".join(word.text for word in words), words))
    return TableRow(row.header, tuple(cells), row.groups)


def _wraps(text: str, following: Row | None) -> bool:
    if following is None or len(following) < 2:
        return False
    start = following[0].text[:1]
    return start.islower() or bool(re.search(r"(?:,|-|\b(?:and|of|for|to|in|the|on|from|by|per))$", text))


def _is_group(row: Row, following: Row | None, height: float) -> bool:
    if row[0].text.endswith(":"):
        return True
    return following is not None and min(r.x0 for r in following) > row[0].x0 + 0.4 * height


def _lengthen(row: TableRow, words: tuple[Word, ...]) -> TableRow:
    header = row.header.words + words
    return TableRow(Cell(" ".join(w.text for w in header), header), row.cells, row.groups)


def _plausible(data: Sequence[TableRow], headers: Sequence[tuple[Cell, ...]]) -> bool:
    """Row headers must name rows: letters or periods, unless the columns are named."""
    named = sum(1 for row in data if any(c.isalpha() for c in row.header.text) or is_period(row.header.text))
    if named >= 0.6 * len(data):
        return True
    return sum(1 for stack in headers if stack) >= 0.7 * len(headers) and len(headers) >= 2


def _caption(
    rows: Sequence[Row], top: int, bottom: int, height: float, used: set[int]
) -> tuple[Cell, Cell, set[int]]:
    """The caption (above, else below) and the line of units, with the indices of their rows."""
    units = Cell("")
    lines: set[int] = set()
    above: list[int] = []
    edge = top
    for number in range(top - 1, max(-1, top - 5), -1):
        gap = min(run.y0 for run in rows[edge]) - max(run.y1 for run in rows[number])
        if number in used or gap > 2.5 * height:
            break
        edge = number
        text = " ".join(run.text for run in rows[number])
        if not units.text and _UNITS.match(text) and not CAPTION.match(text):
            units = Cell(text, _words(rows[number]))
            lines.add(number)
            continue
        above.append(number)
        if CAPTION.match(text):
            chosen = sorted(above)
            return _joined(rows, chosen), units, lines | set(chosen)
    if len(above) > 1 and _is_title(rows[above[0]]) and _is_title(rows[above[1]]):
        first, second = rows[above[1]][0], rows[above[0]][0]
        if second.height < 0.96 * first.height and second.y0 - first.y1 < height and not units.text:
            return _joined(rows, above[1:2]), _joined(rows, above[:1]), lines | set(above[:2])
    if above and _is_title(rows[above[0]]):
        return _joined(rows, above[:1]), units, lines | {above[0]}
    for number in range(bottom, min(len(rows), bottom + 2)):
        text = " ".join(run.text for run in rows[number])
        if number not in used and CAPTION.match(text) and text.lower().startswith("tab"):
            return _joined(rows, [number]), units, lines | {number}
    return Cell(""), units, lines


def _words(row: Row) -> tuple[Word, ...]:
    return tuple(word for run in row for word in run.words)


def _joined(rows: Sequence[Row], numbers: Sequence[int]) -> Cell:
    words = tuple(word for number in numbers for word in _words(rows[number]))
    return Cell(" ".join(word.text for word in words), words)


def _is_title(row: Row) -> bool:
    """A short line that does not read as a sentence's end."""
    text = " ".join(run.text for run in row)
    return len(text.split()) <= 12 and text[:1].isupper() and text[-1:] not in ".,;" and len(row) == 1
