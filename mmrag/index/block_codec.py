"""Blocks of a page as bytes: compressed JSON, boxes to five decimals.

Texts of blocks stand in the record's text, which is stored anyway: it is the dictionary of the compression.
The words of a block follow one another, so that first and number of each run say which they are. On 2,029
pages this takes a third of what earlier code took, which did neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from mmrag.blocks import Block, Box, Cell, Table
from mmrag.index.stored import unzip_bytes, zip_bytes

_FORM = b"\x02"
"""First byte of blocks in this form; compressed data, as earlier code wrote them, begins otherwise."""

_DIGITS = 5  # of an edge in 0..1: a hundredth of a point

_MOST_WORDS = 1 << 22
"""Words of the blocks of a page, together."""

_WordReader: TypeAlias = Callable[[Sequence[int]], tuple[int, ...]]


def encode_blocks(blocks: Sequence[Block], text: str) -> bytes:
    """Encode blocks; see `decode_blocks`.

    Args:
        blocks: of the page.
        text: of its record; `decode_blocks` needs the same.
    """
    values = [
        [
            block.kind,
            block.text,
            [_edges(box) for box in block.boxes],
            block.level,
            _runs(block.words),
            None if block.table is None else _table_values(block.table),
        ]
        for block in blocks
    ]
    data = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return _FORM + zip_bytes(data, text.encode())


def decode_blocks(data: bytes, text: str) -> tuple[Block, ...]:
    """Invert `encode_blocks`, but for what rounding takes from boxes; also what earlier code wrote.

    Raises:
        TypeError, ValueError, zlib.error: the bytes are no blocks of a page with this text.
    """
    is_old = data[:1] != _FORM
    values = json.loads(unzip_bytes(data) if is_old else unzip_bytes(data[1:], text.encode()))
    read_words: _WordReader = tuple if is_old else _RunReader().read
    return tuple(
        Block(
            kind,
            block_text,
            tuple(map(_box, boxes)),
            level,
            read_words(words),
            None if table is None else _table(table, read_words),
        )
        for kind, block_text, boxes, level, words, table in values
    )


def _runs(words: Sequence[int]) -> list[int]:
    """Write positions as runs: the first of each and their number."""
    runs: list[int] = []
    for word in words:
        if runs and word == runs[-2] + runs[-1]:
            runs[-1] += 1
        else:
            runs += [word, 1]
    return runs


class _RunReader:
    """Reads runs, of all blocks of a page no more than `_MOST_WORDS`: a few bytes could name a billion."""

    def __init__(self) -> None:
        self._left = _MOST_WORDS

    def read(self, runs: Sequence[int]) -> tuple[int, ...]:
        """Invert `_runs`."""
        counts = runs[1::2]
        self._left -= sum(map(abs, counts))
        if self._left < 0:
            raise ValueError(f"blocks with more than {_MOST_WORDS} words")
        pairs = zip(runs[::2], counts, strict=True)
        return tuple(word for first, count in pairs for word in range(first, first + count))


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
            _runs(cell.words),
        ]
        for cell in table.cells
    ]
    numbers = [table.rows, table.columns, table.header_rows, table.header_columns, int(table.continues)]
    return [*numbers, cells]


def _table(values: list[Any], read_words: _WordReader) -> Table:
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
            read_words(words),
        )
        for row, column, text, box, row_span, column_span, is_header, words in cells
    )
    return Table(rows, columns, of_cells, header_rows, header_columns, bool(continues))


def _edges(box: Box) -> list[float]:
    return [round(edge, _DIGITS) for edge in box]


def _box(edges: Sequence[float]) -> Box:
    x0, y0, x1, y1 = edges
    return x0, y0, x1, y1
