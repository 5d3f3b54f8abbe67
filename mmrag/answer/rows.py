"""Body rows of a table with their groups; wrapped row headers and cells are put together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmrag.answer.cells import (
    TOTAL,
    Cell,
    Extent,
    TableRow,
    place_of,
)
from mmrag.answer.lines import Row, is_value
from mmrag.types import Word


def data_rows(rows: Sequence[Row], columns: Sequence[Extent], height: float) -> list[TableRow]:
    """Body rows with their groups; wrapped row headers are put together."""
    data: list[TableRow] = []
    groups: list[tuple[float, Cell, bool]] = []  # indent, cell, whether its rows are indented
    pending: list[Word] = []
    for number, row in enumerate(rows):
        slots: list[list[Word]] = [[] for _ in columns]
        for run in row:
            slots[place_of(run, columns)].extend(run.words)
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
        total = bool(TOTAL.match(text))
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
