"""Tables by PyMuPDF's models; several under each other that the models take for one are read one by one.

Where the rows of a table look like several tables (`stacks.bands`), the models read the page again once for
each, with the text above and below taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmrag.documents.structure.stacks import Band, GridRow, bands
from mmrag.types import Box

MOST_BANDS = 12
"""Readings of one page: each costs as much as the first."""


@dataclass(frozen=True, slots=True)
class TablesOfPage:
    """PyMuPDF's tables of a page, and boxes of titles between them, in points."""

    tables: tuple[Any, ...]
    titles: tuple[Box, ...] = ()


def read_tables(page: Any) -> TablesOfPage:  # noqa: ANN401  (PyMuPDF is not typed)
    """Find the tables of a page whose layout has been read."""
    tables: list[Any] = []
    titles: list[Box] = []
    for table in _find(page):
        rows = _rows(page, table)
        parts = bands(rows) if rows else []
        if not 1 < len(parts) <= MOST_BANDS:
            tables.append(table)
            continue
        for part in parts:
            box = _box(table, rows, part)
            if part.is_title:
                titles.append(box)
            else:
                tables += _read_band(page, box)
    return TablesOfPage(tuple(tables), tuple(titles))


def _find(page: Any) -> list[Any]:  # noqa: ANN401
    """Return PyMuPDF's tables that are more than a frame around text."""
    finder = page.find_tables(use_layout=True, union=True, refine=True)
    tables = getattr(finder, "tables", ())
    return [table for table in tables if table.placements and table.col_count > 1]


def _rows(page: Any, table: Any) -> list[GridRow]:  # noqa: ANN401
    """Return the rows of a table with the extent of their words; none where cells span rows."""
    if any(cell.rowspan > 1 for row in table.placements for cell in row):
        return []
    words = page.get_text("words", clip=table.bbox)
    rows = []
    for row in table.placements:
        cells = [cell for cell in row if cell.bbox is not None]
        texts = [text for cell in row for text in (cell.text.strip(), *[""] * (cell.colspan - 1))]
        middles = [word for word in words if _is_in_row(word, cells)]
        if middles:
            top, bottom = min(word[1] for word in middles), max(word[3] for word in middles)
            rows.append(GridRow(tuple(texts), top, bottom))
    width = max((len(row.texts) for row in rows), default=0)
    return rows if all(len(row.texts) == width for row in rows) else []


def _is_in_row(word: Sequence[Any], cells: Sequence[Any]) -> bool:
    """Decide whether the middle of a word is in one of the cells."""
    x, y = (word[0] + word[2]) / 2, (word[1] + word[3]) / 2
    return any(cell.bbox[0] <= x <= cell.bbox[2] and cell.bbox[1] <= y <= cell.bbox[3] for cell in cells)


def _box(table: Any, rows: Sequence[GridRow], part: Band) -> Box:  # noqa: ANN401
    return table.bbox[0], rows[part.start].top, table.bbox[2], rows[part.end - 1].bottom


def _read_band(page: Any, box: Box) -> list[Any]:  # noqa: ANN401
    """Find the tables in a part of a page, with all other text taken away."""
    import pymupdf

    copy = pymupdf.open()
    copy.insert_pdf(page.parent, from_page=page.number, to_page=page.number)
    alone = copy[0]
    margin = (box[3] - box[1]) * 0.01
    x0, y0, x1, y1 = alone.rect
    for rect in ((x0, y0, x1, box[1] - margin), (x0, box[3] + margin, x1, y1)):
        alone.add_redact_annot(pymupdf.Rect(rect))
    alone.apply_redactions(images=0, graphics=0)
    alone = copy.reload_page(alone)
    alone.get_layout(return_raw=True)
    return [table for table in _find(alone) if box[1] - 1 <= table.bbox[1] and table.bbox[3] <= box[3] + 1]
