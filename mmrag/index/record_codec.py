"""Stored bytes as records, entries and manifests whose every field is of its type.

JSON says nothing of types, and an index may come from anywhere: a page number that is text would fail far
from here. What breaks a rule raises TypeError or ValueError, which `mmrag.index.stored.decode_guard` turns
into the error that names the record.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mmrag.blocks import Block, Table
from mmrag.index import codec
from mmrag.index.base import DocumentEntry, Manifest, check_rows
from mmrag.index.block_codec import decode_blocks
from mmrag.index.checksums import StoredRecord
from mmrag.index.records import MAX_ROWS, check_metadata
from mmrag.index.rows import RowCodec
from mmrag.index.stored import decode_guard
from mmrag.index.word_codec import decode_words
from mmrag.types import Page, Record, Word

_DIGEST = re.compile(r"\w*", re.ASCII)

MOST_DIM = 1 << 16
"""Largest width of vectors."""

MOST_PAGES = 10_000_000
"""Most pages of a document."""

MOST_GRID = 4_000_000
"""Positions of a table's grid, and positions that its cells cover together."""


def decode_record(row: StoredRecord, rows: RowCodec) -> Record:
    """Decode a record; its matrix where it was read, words and blocks when they are first asked for.

    Args:
        row: of the file.
        rows: decodes its matrix.

    Raises:
        TypeError, ValueError, KeyError, zlib.error: the bytes are no record.
    """
    id, text = row.text("id"), row.text("text")
    page = None
    if row.column("page") is not None:
        page = codec.decode_page(row.text("page"), (), id, text)
        _check_page(page)
        decoders: dict[str, Callable[[], object]] = {}
        if words := row.column("words"):
            decoders["words"] = partial(_late_words, id, words, text)
        if row.blocks is not None:
            decoders["blocks"] = partial(_late_blocks, id, row.blocks, text)
        page.put_off(decoders)
    matrix = None
    if row.matrix is not None:
        matrix = rows.decode(row.matrix).copy()
        if not 1 <= len(matrix) <= MAX_ROWS:
            raise ValueError(f"a matrix of {len(matrix)} rows")
    metadata = codec.decode_metadata(row.text("metadata"))
    check_metadata(metadata, id)
    context = "" if row.column("context") is None else row.text("context")
    return Record(id=id, matrix=matrix, text=text, metadata=metadata, page=page, context=context)


def _late_words(id: str, data: bytes, text: str) -> tuple[Word, ...]:
    """Decode the words of a record's page, which has this text.

    Raises:
        IndexDamagedError: the bytes are no words.
    """
    with decode_guard("record", id):
        return decode_words(data, text)


def _late_blocks(id: str, data: bytes, text: str) -> tuple[Block, ...]:
    """Decode the blocks of a record's page, which has this text.

    Raises:
        IndexDamagedError: the bytes are no blocks.
    """
    with decode_guard("record", id):
        blocks = decode_blocks(data, text)
        for block in blocks:
            _check_block(block)
        return blocks


def decode_entry(key: str, data: bytes) -> DocumentEntry:
    """Decode the entry of the document under this id.

    Raises:
        TypeError, ValueError, KeyError: the bytes are no entry, or that of another document.
    """
    entry = codec.decode_entry(data.decode())
    _check_texts([entry.id, entry.sha256, entry.kind, entry.settings, *entry.names])
    _check_whole([entry.total_pages, *(number for number, _ in entry.skipped)], 0, MOST_PAGES)
    if entry.id != key:
        raise ValueError(f"the entry of document {entry.id!r}")
    if not isinstance(entry.complete, bool):
        raise TypeError(f"complete is {entry.complete!r}")
    return entry


def decode_manifest(values: Mapping[str, Any]) -> Manifest:
    """Build the manifest of what its JSON holds.

    Raises:
        TypeError, ValueError: a field is missing, unknown or of another type.
    """
    manifest = Manifest(**values)
    _check_texts([manifest.embedder, manifest.fingerprint, manifest.created])
    _check_whole([manifest.dim], 1, MOST_DIM)
    check_rows(manifest.row_type, manifest.rows)
    return manifest


def check_page(record: Record) -> None:
    """Refuse to store a page that `decode_record` would not take for one.

    Raises:
        ValueError: a field is of another type.
    """
    if record.page is not None:
        try:
            _check_page(record.page)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the page of record {record.id!r} must have the fields of mmrag.types.Page, got {error}. "
                "Make it with these types."
            ) from error


def _check_page(page: Page) -> None:
    """Refuse a page with a field of another type."""
    source = page.source
    texts = [page.id, page.document_id, page.label, page.text, page.text_source, *page.notes, *page.section]
    _check_texts([*texts, source.sha256, source.kind, source.name, source.path or ""])
    if "\0" in (source.path or ""):
        raise ValueError("a path with a zero byte")
    if not _DIGEST.fullmatch(source.sha256):  # names of files begin with it
        raise ValueError(f"{source.sha256!r:.80} where a digest stands")
    _check_whole([page.number, page.total_pages])
    _check_numbers(page.size)
    if page.confidence is not None:
        _check_numbers([page.confidence])
    for hidden in page.hidden:
        _check_texts([hidden.text, hidden.reason])
        _check_box(hidden.box)
    for anchor in page.anchors:
        _check_texts([anchor.kind, anchor.name])
        _check_box(anchor.box)
    for block in page.blocks or ():
        _check_block(block)


def _check_block(block: Block) -> None:
    _check_texts([block.kind, block.text])
    _check_whole([block.level, *block.words])
    for box in block.boxes:
        _check_box(box)
    if block.table is not None:
        _check_table(block.table)


def _check_table(table: Table) -> None:
    _check_whole([table.rows, table.columns, table.header_rows, table.header_columns])
    area = 0
    for cell in table.cells:
        _check_texts([cell.text])
        _check_whole([cell.row, cell.column, *cell.words])
        _check_whole([cell.row_span, cell.column_span], 1)
        if cell.box is not None:
            _check_box(cell.box)
        area += min(cell.row_span, table.rows) * min(cell.column_span, table.columns)
    if max(area, table.rows * table.columns) > MOST_GRID:
        raise ValueError(
            f"a table of {table.rows} rows, {table.columns} columns and cells over {area} positions"
        )


# A page has hundreds of numbers: the checks below look at all of a list at once.


def _check_texts(values: Sequence[object]) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values!r:.80} where text stands")


def _check_whole(values: Sequence[Any], least: int = 0, most: int = 1 << 53) -> None:
    if values and (set(map(type, values)) != {int} or min(values) < least or max(values) > most):
        raise ValueError(f"{values!r:.80} where whole numbers from {least} to {most} stand")


def _check_numbers(values: Sequence[Any]) -> None:
    if not set(map(type, values)) <= {int, float} or not math.isfinite(sum(values)):
        raise ValueError(f"{values!r:.80} where numbers stand")


def _check_box(box: Any) -> None:  # noqa: ANN401  as decoded
    if len(box) != 4:
        raise ValueError(f"a box of {len(box)} numbers")
    _check_numbers(box)
