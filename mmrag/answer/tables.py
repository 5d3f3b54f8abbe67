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

from collections.abc import Sequence
from statistics import median

from mmrag.answer.cells import (
    CAPTION,
    Cell,
    Extent,
    Table,
    TableRow,
    over_values,
    overlap,
    place_of,
)
from mmrag.answer.headers import column_headers, find_caption, header_start, is_header
from mmrag.answer.lines import Row, Run, Token, is_number, is_period, is_value
from mmrag.answer.rows import data_rows


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
    while start < stop - 2 and is_header(rows[start], body[1:], columns):
        start += 1
    head_start = header_start(rows, first, start, columns, height, used)
    while start > head_start and not over_values(rows[start - 1], columns, height):
        start -= 1  # a group's name between header and body
    stop = _tail(rows, stop, columns, height, used)
    data = data_rows(rows[start:stop], columns, height)
    if len(data) < 2 and not (data and head_start < start):
        return None, set()
    heads = [_fit(row, columns, space=0.45) for row in rows[head_start:start]]
    headers, corner = column_headers(heads, columns, height)
    figures = any(is_value(cell.text) for row in data for cell in row.cells)
    if not _plausible(data, headers) or (not figures and len(data) < 3 and not any(headers)):
        return None, set()
    caption, units, lines = find_caption(rows, head_start, stop, height, used)
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
        if not any(overlap((run.x0, run.x1), extent) > 0 for extent in extents):
            extents = _merge([*extents, (run.x0, run.x1)], height)
    extents.sort()
    if not extents:
        return None
    filled = [sum(1 for row in body if any(overlap((r.x0, r.x1), e) > 0 for r in row[1:])) for e in extents]
    extents = [e for e, n in zip(extents, filled, strict=True) if n >= 2 or n >= 0.5 * len(body)]
    if not extents or len(extents) > 24:
        return None
    heads = [run for run in first if run.x0 < extents[0][0] - 1]
    if len(heads) < 0.6 * len(body):
        return None
    inside = [run.x1 for run in heads if run.x1 < extents[0][0]]  # one that runs on tells no column's width
    right = max(inside, default=extents[0][0] - 0.1)
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


def _fit(row: Row, columns: Sequence[Extent], space: float = 0.12) -> Row:
    """Split runs whose words stand in different columns with more than a narrow space between them."""
    fitted: Row = []
    for run in row:
        parts: list[list[Token]] = [[run.tokens[0]]]
        for before, token in zip(run.tokens, run.tokens[1:], strict=False):
            there = [n for n, e in enumerate(columns) if overlap((token.x0, token.x1), e) > 0]
            here = [n for n, e in enumerate(columns) if overlap((parts[-1][0].x0, before.x1), e) > 0]
            apart = bool(there and here) and not set(there) & set(here)
            if apart and token.x0 - before.x1 > space * run.height:
                parts.append([token])
            else:
                parts[-1].append(token)
        fitted.extend(Run(tuple(part)) for part in parts)
    return fitted


def _tail(rows: list[Row], stop: int, columns: Sequence[Extent], height: float, used: set[int]) -> int:
    """Index after the last row, with lines that only go on with the texts of the last cells."""
    while stop < len(rows) and stop not in used:
        row = rows[stop]
        gap = min(run.y0 for run in row) - max(run.y1 for run in rows[stop - 1])
        inside = all(run.x0 > columns[1][0] - height and run.x1 < columns[-1][1] + 2 * height for run in row)
        above = [place_of(run, columns) for run in rows[stop - 1] if not is_value(run.text)]
        goes_on = all(place_of(run, columns) in above and not is_value(run.text) for run in row)
        if gap > 0.9 * height or not inside or not goes_on or len(row) > 0.5 * len(columns):
            break
        stop += 1
    return stop


def _plausible(data: Sequence[TableRow], headers: Sequence[tuple[Cell, ...]]) -> bool:
    """Row headers must name rows: letters or periods, unless the columns are named."""
    named = sum(1 for row in data if any(c.isalpha() for c in row.header.text) or is_period(row.header.text))
    if named >= 0.6 * len(data):
        return True
    return sum(1 for stack in headers if stack) >= 0.7 * len(headers) and len(headers) >= 2
