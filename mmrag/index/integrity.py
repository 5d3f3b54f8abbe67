"""What is wrong in the SQLite file of an index, findings by reading all of it.

Every part is held against another one: SQLite's structure against itself, records against their checksums and
their types, row 0, the values for filters and the full text against the records, and what belongs to nothing.
A file that SQLite can read in part is read in part: each record is fetched by itself, and one that cannot be
is a fault among others. Nothing is written, and nothing of the file is changed.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmrag.documents.conversion.base import CONVERTED_KINDS
from mmrag.errors import IndexDamagedError, IndexFormatError
from mmrag.index.base import DocumentEntry, Manifest
from mmrag.index.check_report import LOST_PARTS, Fault
from mmrag.index.checksums import OTHER_BYTES, StoredRecord, has_table, stored_records, stored_values
from mmrag.index.filters import metadata_rows
from mmrag.index.layout import full_text_tables
from mmrag.index.record_codec import decode_entry, decode_manifest, decode_record
from mmrag.index.rows import RowCodec
from mmrag.index.stored import decode_guard
from mmrag.index.text_check import FullTextCheck
from mmrag.types import Record

_RECORD_TABLES = ("vectors", "first", "metadata", "blocks")
"""Tables whose rows belong to a record of the same number."""

_TYPES = (
    "SELECT typeof(id), typeof(text), typeof(metadata), typeof(coalesce(page, '')), "
    "typeof(coalesce(document_id, '')) FROM records WHERE seq = ?"
)

_LEAST_ROW = 4  # bytes that a row takes at least: a file of a size has only so many


@dataclass
class Findings:
    """Faults, and what is whole.

    Attributes:
        manifest: None where it is damaged.
        faults: in the order of reading.
        whole_seqs: numbers of records to be kept, in the order of adding.
        entries: documents to be kept.
        lost_entries: ids of documents whose entry is damaged or gone.
        blob_keys: keys of bytes to be kept.
        has_checksums: False in a file of earlier code that was not written since.
        generation: number of changes; 0 where it cannot be read.
    """

    manifest: Manifest | None = None
    faults: list[Fault] = field(default_factory=list)
    whole_seqs: list[int] = field(default_factory=list)
    entries: list[DocumentEntry] = field(default_factory=list)
    lost_entries: list[str] = field(default_factory=list)
    blob_keys: list[str] = field(default_factory=list)
    has_checksums: bool = True
    generation: int = 0

    def note(self, part: str, key: str, problem: str) -> None:
        """Add a fault."""
        self.faults.append(Fault(part, key, problem))


def find_faults(connection: sqlite3.Connection, path: Path) -> Findings:
    """Read all of a file and say what is wrong.

    Args:
        connection: one state of the file, whose layout was checked.
        path: the file, for messages.
    """
    findings = Findings()
    _check_pages(connection, path, findings)
    findings.has_checksums = has_table(connection, "checksums")
    _check_state(connection, findings)
    if findings.manifest is None:
        return findings
    pages: dict[str, set[int]] = {}
    texts = _full_texts(connection, findings)
    seqs = _seqs(connection)
    for seq in seqs:
        record = _check_record(connection, seq, findings, texts)
        if record is not None:
            findings.whole_seqs.append(seq)
            if record.page is not None and record.page.id != record.page.document_id:
                pages.setdefault(record.page.document_id, set()).add(record.page.number)
    _finish_full_texts(texts, findings, is_whole=len(findings.whole_seqs) == len(seqs))
    ids = set(_texts_of(connection, "SELECT CAST(id AS BLOB) FROM records"))
    _check_documents(connection, findings, pages)
    _check_blobs(connection, findings, ids)
    _check_orphans(connection, findings, set(seqs), texts)
    return findings


def _check_pages(connection: sqlite3.Connection, path: Path, findings: Findings) -> None:
    """Let SQLite check its own structure; from 3.44 on this looks into full-text tables too."""
    try:
        rows = connection.execute("PRAGMA integrity_check(100)").fetchall()
    except sqlite3.DatabaseError as error:
        rows = [(error,)]
    for (row,) in rows:
        if row != "ok":
            findings.note("file", path.name, str(row).replace("\n", ", "))


def _check_state(connection: sqlite3.Connection, findings: Findings) -> None:
    try:
        rows = list(stored_values(connection, "state"))
        with decode_guard("state", "manifest"):
            findings.manifest = decode_manifest(json.loads(rows[0].data))
        if rows[0].sum is None and findings.has_checksums:
            findings.note("checksum", "manifest", "no checksum")
        else:
            rows[0].verify()
    except (IndexFormatError, sqlite3.DatabaseError) as error:
        findings.manifest = None
        findings.note("state", "manifest", _problem(error))
    try:
        ((value,),) = connection.execute("SELECT value FROM state WHERE key = 'generation'").fetchall()
        findings.generation = int(value)
    except (ValueError, TypeError, sqlite3.DatabaseError) as error:
        findings.note("state", "generation", _problem(error))


def _problem(error: Exception) -> str:
    """Return what an error says was read, without the rule and the remedy."""
    text = str(error)
    if isinstance(error, IndexDamagedError):
        return text.partition(", got ")[2].partition(". Run: ")[0]
    return f"cannot be read ({text})"


# ---- records -------------------------------------------------------------------------------------


def _seqs(connection: sqlite3.Connection) -> list[int]:
    """List the numbers of all records that can be reached, from either end and by the index of ids."""
    seqs: set[int] = set()
    for order in ("seq", "seq DESC", "id"):
        rows = _rows(connection, f"SELECT seq FROM records ORDER BY {order}")
        seqs.update(row[0] for row in rows if isinstance(row[0], int))
    return sorted(seqs)


def _rows(connection: sqlite3.Connection, query: str) -> Iterator[tuple[object, ...]]:
    """Yield rows until SQLite meets damage, and no more than a file of this size can hold."""
    try:
        (pages,), (size,) = (
            connection.execute(f"PRAGMA {k}").fetchone() for k in ("page_count", "page_size")
        )
        yield from connection.execute(f"{query} LIMIT {pages * size // _LEAST_ROW}")
    except sqlite3.DatabaseError:
        return  # `_check_pages` says what is wrong there


def _texts_of(connection: sqlite3.Connection, query: str) -> Iterator[str]:
    for row in _rows(connection, query):
        yield _text(row[0])


def _text(data: object) -> str:
    return data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else str(data)


def read_record(connection: sqlite3.Connection, seq: int) -> StoredRecord | None:
    """Read a record as bytes, without its blocks and sums if these cannot be; None if it is not there.

    Raises:
        sqlite3.DatabaseError: it cannot be read at all.
    """
    try:
        return next(stored_records(connection, "seq = ?", [seq], matrices=True), None)
    except sqlite3.DatabaseError:
        return next(stored_records(connection, "seq = ?", [seq], matrices=True, beside=False), None)


def _check_record(
    connection: sqlite3.Connection, seq: int, findings: Findings, texts: Sequence[FullTextCheck]
) -> Record | None:
    """Check a record and what was made of it; return it if it can be kept."""
    assert findings.manifest is not None  # or nothing is decoded
    try:
        row = read_record(connection, seq)
    except sqlite3.DatabaseError as error:
        findings.note("record", f"number {seq}", _problem(error))
        return None
    if row is None:
        findings.note("record", f"number {seq}", "not there, though other tables have it")
        return None
    missing_sums = row.missing_sums()
    if missing_sums:
        findings.note("checksum", row.id, f"no checksum of its {' and '.join(missing_sums)}")
    wrong_parts = [part for part in row.wrong_parts() if part not in missing_sums]
    for part in wrong_parts:
        is_there = part == "record" or getattr(row, part) is not None
        findings.note(part, row.id, OTHER_BYTES if is_there else "not there")
    record = _decode(row, findings)
    if record is None or LOST_PARTS & set(wrong_parts):
        return None
    _check_made(connection, row, record, findings)
    for text in texts:
        problem = text.problem(seq, record)
        if problem is not None:
            findings.note("text", record.id, problem)
    return record


def _decode(row: StoredRecord, findings: Findings) -> Record | None:
    """Return the record; without its blocks if these alone do not decode."""
    assert findings.manifest is not None  # or nothing is decoded
    failure: IndexFormatError | None = None
    for version in (row, row._replace(blocks=None)):
        try:
            with decode_guard("record", row.id):
                record = decode_record(version, RowCodec.of(findings.manifest))
                if record.page is not None:
                    record.page.decode()
                if record.matrix is None:
                    raise ValueError("no matrix")
        except IndexFormatError as error:
            failure = failure or error
            continue
        if failure is not None and not any(f.part == "blocks" and f.key == row.id for f in findings.faults):
            findings.note("blocks", row.id, _problem(failure))
        return record
    if not any(fault.part in ("record", "matrix") and fault.key == row.id for fault in findings.faults):
        findings.note("record", row.id, _problem(failure or ValueError("it does not decode")))
    return None


def _check_made(
    connection: sqlite3.Connection, row: StoredRecord, record: Record, findings: Findings
) -> None:
    """Check types, row 0 and the values for filters against the record.

    A text that is stored as bytes looks the same when it is read, and no search finds it.
    """
    assert findings.manifest is not None and row.matrix is not None  # the record has decoded
    try:
        types = connection.execute(_TYPES, (row.seq,)).fetchone()
        if set(types) != {"text"}:
            findings.note("column", row.id, "a text that is stored as another type")
        first = connection.execute("SELECT vector FROM first WHERE seq = ?", (row.seq,)).fetchone()
        if first is None or first[0] != RowCodec.of(findings.manifest).first(row.matrix):
            findings.note("first", record.id, "not there" if first is None else "not row 0 of the matrix")
        values = connection.execute("SELECT key, kind, value FROM metadata WHERE seq = ?", (row.seq,))
        if sorted(map(repr, values)) != sorted(map(repr, metadata_rows(record.metadata))):
            findings.note("metadata", record.id, "values for filters that are not the record's")
        if record.page is not None and row.column("document_id") != record.page.document_id.encode():
            findings.note("column", record.id, "the document of another page")
    except sqlite3.DatabaseError as error:
        findings.note("first", record.id, _problem(error))


# ---- full text -----------------------------------------------------------------------------------


def _full_texts(connection: sqlite3.Connection, findings: Findings) -> list[FullTextCheck]:
    """Begin the check of each full-text table that can be read."""
    checks = []
    for table, statement in full_text_tables(connection).items():
        try:
            checks.append(FullTextCheck(connection, table, statement))
        except sqlite3.DatabaseError as error:
            _note_words(findings, table, error)
    return checks


def _finish_full_texts(checks: list[FullTextCheck], findings: Findings, *, is_whole: bool) -> None:
    """End the checks; `is_whole` where all records could be read."""
    for check in checks:
        try:
            check.finish(is_whole=is_whole)
        except sqlite3.DatabaseError as error:
            _note_words(findings, check.table, error)


def _note_words(findings: Findings, table: str, error: sqlite3.DatabaseError) -> None:
    findings.note("text", table, f"an index of words that is not of its texts ({error})")


# ---- documents, bytes, orphans -------------------------------------------------------------------


def _check_documents(connection: sqlite3.Connection, findings: Findings, pages: dict[str, set[int]]) -> None:
    """Check the entries, and that a complete document has its pages."""
    try:
        rows = list(stored_values(connection, "document"))
    except sqlite3.DatabaseError as error:
        findings.note("document", "all", _problem(error))
        findings.lost_entries += pages
        return
    for row in rows:
        try:
            with decode_guard("document", row.key):
                entry = decode_entry(row.key, row.data)
            if row.sum is None and findings.has_checksums:
                findings.note("checksum", row.key, "no checksum of the document's entry")
            else:
                row.verify()
        except IndexFormatError as error:
            findings.note("document", row.key, _problem(error))
            findings.lost_entries.append(row.key)
            continue
        findings.entries.append(entry)
        if entry.complete and (count := missing_pages(entry, pages.get(entry.id, set()))):
            findings.note("document", entry.id, f"{count} of its {entry.total_pages} pages are not there")
    lone_keys = _sum_keys(connection, "document") - {row.key for row in rows}
    for key in sorted(lone_keys):
        findings.note("document", key, "no entry, though there is a checksum of one")
        findings.lost_entries.append(key)


def missing_pages(entry: DocumentEntry, numbers: set[int]) -> int:
    """Count the pages of a document that are neither there nor left out with a reason."""
    known_numbers = numbers | {number for number, _ in entry.skipped}
    return entry.total_pages - sum(number < entry.total_pages for number in known_numbers)


def _check_blobs(connection: sqlite3.Connection, findings: Findings, ids: set[str]) -> None:
    """Check kept bytes, and that a document or a record has them."""
    owners = ids | {entry.sha256 for entry in findings.entries}
    starts = {entry.id for entry in findings.entries} | set(findings.lost_entries)
    # under the digest of an office file stands what it was converted to
    own_digests = {entry.sha256 for entry in findings.entries if entry.kind not in CONVERTED_KINDS}
    keys = list(_texts_of(connection, "SELECT CAST(key AS BLOB) FROM blobs ORDER BY key"))
    for key in keys:
        try:
            row = next(iter(stored_values(connection, "blob", key)), None)
            if row is None:
                findings.note("blob", key, "bytes that their key does not find")
                continue
            if row.sum is None and findings.has_checksums:
                findings.note("checksum", key, "no checksum of the bytes")
            else:
                row.verify()
            is_digest = len(key) == 64 and key not in ids
            if is_digest and key in own_digests and hashlib.sha256(row.data).hexdigest() != key:
                findings.note("blob", key, "bytes of another digest")
                continue
        except (IndexFormatError, sqlite3.DatabaseError) as error:
            findings.note("blob", key, _problem(error))
            continue
        if key not in owners and not (is_digest and key[:16] in starts):
            findings.note("orphan", key, "bytes of no document or record")
        else:
            findings.blob_keys.append(key)
    for key in sorted(_sum_keys(connection, "blob") - set(keys)):
        findings.note("blob", key, "not there, though there is a checksum of it")


def _sum_keys(connection: sqlite3.Connection, part: str) -> set[str]:
    if not has_table(connection, "checksums"):
        return set()
    query = f"SELECT CAST(key AS BLOB) FROM checksums WHERE part = '{part}'"
    return set(_texts_of(connection, query))


def _check_orphans(
    connection: sqlite3.Connection, findings: Findings, seqs: set[object], texts: Sequence[FullTextCheck]
) -> None:
    """Find rows that belong to no record."""
    for table in (table for table in _RECORD_TABLES if has_table(connection, table)):
        rows = _rows(connection, f"SELECT DISTINCT seq FROM {table}")
        for seq in sorted({row[0] for row in rows} - seqs, key=str):
            findings.note("orphan", f"number {seq} in {table}", "belongs to no record")
    for text in texts:
        for seq in sorted(text.seqs - seqs, key=str):
            findings.note("orphan", f"number {seq} in {text.table}", "belongs to no record")
        text.close()
    for key in sorted(_sum_keys(connection, "record") - {str(seq) for seq in seqs}):
        findings.note("record", f"number {key}", "not there, though there is a checksum of it")
    for part in ("matrix", "blocks"):
        for key in sorted(_sum_keys(connection, part) - {str(seq) for seq in seqs}):
            findings.note("orphan", f"number {key} in checksums", f"belongs to no {part}")
