"""An index made whole again: what is whole goes into a new file, which takes the place of the old one.

One way for every fault: whole records are added to a new file as `RecordStore` adds any, so that row 0,
values for filters, full text and checksums are made anew and what belongs to nothing stays behind. The new
file is complete before it takes the name, so a repair that is killed changes nothing. Where something is lost
the damaged file is kept beside it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mmrag.errors import IndexFormatError
from mmrag.index.base import FORMAT_VERSION, DocumentEntry, Manifest
from mmrag.index.check_report import LOST_PARTS, Fault
from mmrag.index.checksums import stored_values
from mmrag.index.integrity import Findings, missing_pages, read_record
from mmrag.index.record_codec import decode_record
from mmrag.index.rows import RowCodec
from mmrag.index.store import RecordStore
from mmrag.types import Matrix, Page, Record

DAMAGED_ENDING = ".damaged"

_BATCH = 64  # records in memory at once

_REPAIRS = {
    "file": "written anew",
    "record": "left out",
    "matrix": "record left out",
    "blocks": "left out; read from the file when they are asked for",
    "column": "made of the record",
    "first": "made of the matrix",
    "metadata": "made of the record",
    "text": "made of the records",
    "document": "marked incomplete: the next `mmrag index` of the file reads what is missing",
    "blob": "left out: add the file again",
    "checksum": "made of what is there, which decodes",
    "orphan": "left out",
    "state": "made anew",
    "chroma": "made of the records",
}
"""What the rewriting does about a fault, by part."""


def write_whole(
    connection: sqlite3.Connection, path: Path, findings: Findings, manifest: Manifest | None = None
) -> Path:
    """Write what is whole into a new file beside this one, and return its path.

    Args:
        connection: the state of the file that was read for `findings`.
        path: the file.
        findings: of `find_faults`.
        manifest: of the new file, which may store rows otherwise; None: that of the file.

    Raises:
        IndexFormatError: the manifest is damaged, and nothing says what the vectors are of.
    """
    if findings.manifest is None:
        raise IndexFormatError(
            f"{path} must have a manifest to be repaired, got one that is damaged. "
            "Restore the index from a copy, or index the documents again into a new directory."
        )
    draft = path.with_name(f"{path.name}.repaired")
    for left in path.parent.glob(f"{draft.name}*"):
        left.unlink()
    manifest = replace(manifest or findings.manifest, format_version=FORMAT_VERSION)
    store = RecordStore(draft, create=manifest, read_only=False)
    try:
        pages = _copy_records(connection, store, findings)
        lost_keys = {fault.key for fault in findings.faults if fault.part == "blob"}
        for entry in findings.entries:
            is_whole = (
                not missing_pages(entry, set(pages.get(entry.id, ()))) and entry.sha256 not in lost_keys
            )
            store.put_document(replace(entry, complete=entry.complete and is_whole))
        for document_id in findings.lost_entries:
            for page in list(pages.get(document_id, {}).values())[:1]:
                store.put_document(_entry_of(page))
        for key in findings.blob_keys:
            for value in stored_values(connection, "blob", key):
                store.put_blob(key, value.data)
        with store.database.read() as reader:
            generation = max(findings.generation, store.generation(reader)) + 1
        store.start_generation(generation)  # for readers that have the old file's rows
    finally:
        store.close()
    return draft


def put_in_place(draft: Path, path: Path, faults: Sequence[Fault]) -> list[str]:
    """Give the new file the name of the old one, which is kept under another name where something is lost.

    Nobody has the old one open for writing. Returns what there is to say.
    """
    notes = []
    if any(fault.part in (*LOST_PARTS, "document", "blob") for fault in faults):
        kept_path = path.with_name(path.name + DAMAGED_ENDING)
        kept_path.unlink(missing_ok=True)
        try:
            kept_path.hardlink_to(path)
        except OSError:  # a file system without links
            shutil.copy2(path, kept_path)
        notes.append(f"The damaged file is kept as {kept_path.name}; delete it when nothing is missed.")
    for ending in ("-wal", "-shm"):  # or SQLite would write what they hold into the new file
        path.with_name(path.name + ending).unlink(missing_ok=True)
    draft.replace(path)
    return notes


def with_repairs(faults: Sequence[Fault]) -> list[Fault]:
    """Return the faults with what was done about each."""
    return [replace(fault, repair=_REPAIRS[fault.part]) for fault in faults]


def _copy_records(
    connection: sqlite3.Connection, store: RecordStore, findings: Findings
) -> dict[str, dict[int, Page]]:
    """Copy the whole records; return the pages of each document by number, without words and blocks."""
    pages: dict[str, dict[int, Page]] = {}
    blockless_ids = {fault.key for fault in findings.faults if fault.part == "blocks"}
    for start in range(0, len(findings.whole_seqs), _BATCH):
        pairs = []
        seqs = findings.whole_seqs[start : start + _BATCH]
        for record, matrix in _records(connection, store, findings, seqs, blockless_ids):
            pairs.append((record, matrix))
            page = record.page
            if page is not None and page.id != page.document_id:
                bare_page = replace(page, words=(), blocks=None, text="")
                pages.setdefault(page.document_id, {})[page.number] = bare_page
        store.add(pairs)
    return pages


def _records(
    connection: sqlite3.Connection,
    store: RecordStore,
    findings: Findings,
    seqs: Sequence[int],
    blockless_ids: set[str],
) -> Iterator[tuple[Record, Matrix]]:
    """Yield whole records with the rows that the new file is to hold."""
    assert findings.manifest is not None  # or nothing is written
    codec = RowCodec.of(findings.manifest)
    for seq in seqs:
        row = read_record(connection, seq)
        assert row is not None and row.matrix is not None  # it was there for the findings
        if row.id in blockless_ids:
            row = row._replace(blocks=None)
        record = decode_record(row, codec)
        assert record.matrix is not None  # as above
        yield record, record.matrix[: store.manifest.rows]


def _entry_of(page: Page) -> DocumentEntry:
    """Return an entry in place of one that is lost; it names no settings, so that the file is read again."""
    source = page.source
    return DocumentEntry(
        id=page.document_id,
        sha256=source.sha256,
        kind=source.kind,
        names=(source.path or source.name,),
        total_pages=page.total_pages,
        settings="",
    )
