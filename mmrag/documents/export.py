"""Pages with blocks as JSON, and tables as rows, CSV and data frames.

The text of a cell is exact. A program that reads CSV may take a text that begins with ``=`` for a formula:
that is its reader's setting to make, not a change of what the page says.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmrag.blocks import Block, Table
from mmrag.documents.structure.joining import LogicalTable, TablePart, logical_tables
from mmrag.errors import MissingExtraError
from mmrag.types import Box, Page

HEADER_SEPARATOR = " / "
"""Between the rows of a header, in the name of a column."""


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """A table, on one page or over several.

    Attributes:
        caption: the caption next to it, ``""`` without one.
        pages: 0-based numbers of its pages.
        boxes: its box on each of them.
        parts: its grid on each of them.
    """

    caption: str
    pages: tuple[int, ...]
    boxes: tuple[Box, ...]
    parts: tuple[Table, ...]
    _logical: LogicalTable

    @property
    def columns(self) -> list[str]:
        """Return a name for each column: its header rows, or its number; no name is there twice."""
        header = self._logical.header()
        names: list[str] = []
        for column in range(self.parts[0].columns):
            texts = dict.fromkeys(row[column] for row in header if row[column])
            names.append(_unique(HEADER_SEPARATOR.join(texts) or f"column {column + 1}", names))
        return names

    def header(self) -> list[list[str]]:
        """Return the rows that name columns."""
        return self._logical.header()

    def body(self) -> list[list[str]]:
        """Return the rows of values; a cell with spans is repeated in all positions that it covers."""
        return self._logical.body()

    def rows(self) -> list[list[str]]:
        """Return header and values, row by row."""
        return [*self.header(), *self.body()]

    def to_csv(self) -> str:
        """Return the rows as CSV (RFC 4180: commas, double quotes, CRLF)."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\r\n").writerows(self.rows())
        return file.getvalue()

    def to_pandas(self) -> Any:  # noqa: ANN401  (pandas is optional)
        """Return a `pandas.DataFrame` of texts.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("A table as a pandas frame", "frames") from error
        return pd.DataFrame(self.body(), columns=self.columns, dtype=str)

    def to_polars(self) -> Any:  # noqa: ANN401  (polars is optional)
        """Return a `polars.DataFrame` of texts.

        Raises:
            MissingExtraError: polars is not installed.
        """
        try:
            import polars as pl
        except ImportError as error:
            raise MissingExtraError("A table as a polars frame", "frames") from error
        return pl.DataFrame(self.body(), schema=dict.fromkeys(self.columns, pl.String), orient="row")


def _unique(name: str, names: Sequence[str]) -> str:
    """Return a name with a number behind it if it is taken."""
    candidate, number = name, 2
    while candidate in names:
        candidate, number = f"{name} ({number})", number + 1
    return candidate


def tables_of(pages: Sequence[Page]) -> list[ExportedTable]:
    """List the tables of pages with their captions; a table over a page break is one."""
    tables = []
    for logical in logical_tables(pages):
        parts = logical.parts
        boxes = tuple(part.block.boxes[0] for part in parts)
        numbers = tuple(part.page.number for part in parts)
        grids = tuple(part.table for part in parts)
        tables.append(ExportedTable(_caption(parts[0]), numbers, boxes, grids, logical))
    return tables


def _caption(part: TablePart) -> str:
    """Return the caption before a table, or behind it if it belongs to no other."""
    blocks = part.page.blocks or ()
    if part.position and blocks[part.position - 1].kind == "caption":
        return blocks[part.position - 1].text
    after = blocks[part.position + 1 : part.position + 3]
    if after and after[0].kind == "caption" and not (len(after) > 1 and after[1].table is not None):
        return after[0].text
    return ""


def _short(box: Box) -> list[float]:
    """Return a box with five decimals: a hundredth of a point on a page."""
    return [round(edge, 5) for edge in box]


def page_data(page: Page) -> dict[str, Any]:
    """Return a page and its blocks as plain data for JSON."""
    return {
        "page": page.number,
        "page_label": page.label,
        "size": list(page.size),
        "text_source": page.text_source,
        "confidence": page.confidence,
        "section": list(page.section),
        "notes": list(page.notes),
        "hidden": [
            {"text": hidden.text, "box": _short(hidden.box), "reason": hidden.reason}
            for hidden in page.hidden
        ],
        "blocks": [block_data(block) for block in page.blocks or ()],
    }


def block_data(block: Block) -> dict[str, Any]:
    """Return a block as plain data for JSON."""
    data: dict[str, Any] = {
        "kind": block.kind,
        "text": block.text,
        "level": block.level,
        "boxes": [_short(box) for box in block.boxes],
    }
    return data if block.table is None else {**data, "table": table_data(block.table)}


def table_data(table: Table) -> dict[str, Any]:
    """Return a table as plain data for JSON."""
    return {
        "rows": table.rows,
        "columns": table.columns,
        "header_rows": table.header_rows,
        "header_columns": table.header_columns,
        "continues": table.continues,
        "cells": [
            {
                "row": cell.row,
                "column": cell.column,
                "row_span": cell.row_span,
                "column_span": cell.column_span,
                "is_header": cell.is_header,
                "text": cell.text,
                "box": None if cell.box is None else _short(cell.box),
            }
            for cell in table.cells
        ],
    }
