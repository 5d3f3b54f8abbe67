"""Headers of a table's columns, its caption and its line of units."""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.answer.cells import (
    CAPTION,
    UNITS,
    Cell,
    Extent,
    joined,
    over_values,
    overlap,
    place_of,
    words_of,
)
from mmrag.answer.lines import Row, Run, is_value
from mmrag.types import Word


def is_header(row: Row, body: Sequence[Row], columns: Sequence[Extent]) -> bool:
    """Whether a row at the top of the body is a header: no figures where the rows below have them."""
    numeric = [0] * len(columns)
    for other in body:
        for run in other[1:]:
            numeric[place_of(run, columns)] += is_value(run.text)
    below = [n for n in range(1, len(columns)) if numeric[n] >= 0.5 * len(body)]
    mine = {place_of(run, columns) for run in row if is_value(run.text)}
    texts = {place_of(run, columns) for run in row if not is_value(run.text)}
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
            digits[place_of(run, columns)] += any(c.isdigit() for c in run.text)
    return max(digits) >= 0.7 * len(body)


def header_start(
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
        if not over_values(row, columns, height):
            if top < start or row[0].x1 > columns[1][0] or len(row[0].tokens) > 6:
                break
            continue  # perhaps the name of the first group
        if top < start and not _heads_columns(row, rows[top], columns, height):
            break
        if any(run.x0 > right + 6 * height or _too_long(run, columns) for run in row):
            break
        if len(row) == 1 and (UNITS.match(row[0].text) or run_ends_sentence(row[0])):
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


def run_ends_sentence(run: Run) -> bool:
    """Whether the run reads as the end of a sentence."""
    return run.is_prose and run.text.rstrip()[-1:] in ".!?;:"


def _too_long(run: Run, columns: Sequence[Extent]) -> bool:
    """A line of prose that happens to stand over the columns."""
    return len(run.tokens) > 9 or (run.x0 < columns[0][1] and run.x1 > columns[1][1] and run.is_prose)


def column_headers(
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
        hit = [n for n, e in enumerate(columns) if overlap((run.x0, run.x1), e) > 0]
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


def find_caption(
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
        if not units.text and UNITS.match(text) and not CAPTION.match(text):
            units = Cell(text, words_of(rows[number]))
            lines.add(number)
            continue
        above.append(number)
        if CAPTION.match(text):
            chosen = sorted(above)
            return joined(rows, chosen), units, lines | set(chosen)
    if len(above) > 1 and _is_title(rows[above[0]]) and _is_title(rows[above[1]]):
        first, second = rows[above[1]][0], rows[above[0]][0]
        if second.height < 0.96 * first.height and second.y0 - first.y1 < height and not units.text:
            return joined(rows, above[1:2]), joined(rows, above[:1]), lines | set(above[:2])
    if above and _is_title(rows[above[0]]):
        return joined(rows, above[:1]), units, lines | {above[0]}
    for number in range(bottom, min(len(rows), bottom + 2)):
        text = " ".join(run.text for run in rows[number])
        if number not in used and CAPTION.match(text) and text.lower().startswith("tab"):
            return joined(rows, [number]), units, lines | {number}
    return Cell(""), units, lines


def _is_title(row: Row) -> bool:
    """A short line that does not read as a sentence's end."""
    text = " ".join(run.text for run in row)
    return len(text.split()) <= 12 and text[:1].isupper() and text[-1:] not in ".,;" and len(row) == 1
