"""Blocks of a page as bytes: compressed JSON, boxes to five decimals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mmrag.blocks import Block, Box, Cell, Table
from mmrag.index.stored import unzip_bytes, zip_bytes

_DIGITS = 5  # of an edge in 0..1: a hundredth of a point


def encode_blocks(blocks: Sequence[Block]) -> bytes:
    """Encode blocks; see `decode_blocks`."""
    values = [
        [
            block.kind,
            block.text,
            [_edges(box) for box in block.boxes],
            block.level,
            list(block.words),
            None if block.table is None else _table_values(block.table),
        ]
        for block in blocks
    ]
    return zip_bytes(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())


def decode_blocks(data: bytes) -> tuple[Block, ...]:
    """Invert `encode_blocks`, but for what rounding takes from boxes."""
    return tuple(
        Block(
            kind, text, tuple(map(_box, boxes)), level, tuple(words), None if table is None else _table(table)
        )
        for kind, text, boxes, level, words, table in json.loads(unzip_bytes(data))
    )


def _table_values(table: Table) -> list[Any]:
    cells = [
        [
            cell.row,
            cell.column,
            cell.text,
            None if cell.box is None else _edges(cell.box),
            cell.row_span,
            cell.column_span,
            int(cell.is_header),
            list(cell.words),
        ]
        for cell in table.cells
    ]
    numbers = [table.rows, table.columns, table.header_rows, table.header_columns, int(table.continues)]
    return [*numbers, cells]


def _table(values: list[Any]) -> Table:
    rows, columns, header_rows, header_columns, continues, cells = values
    of_cells = tuple(
        Cell(
            row,
            column,
            text,
            None if box is None else _box(box),
            row_span,
            column_span,
            bool(is_header),
            tuple(words),
        )
        for row, column, text, box, row_span, column_span, is_header, words in cells
    )
    return Table(rows, columns, of_cells, header_rows, header_columns, bool(continues))


def _edges(box: Box) -> list[float]:
    return [round(edge, _DIGITS) for edge in box]


def _box(edges: Sequence[float]) -> Box:
    x0, y0, x1, y1 = edges
    return x0, y0, x1, y1
