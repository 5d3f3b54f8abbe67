"""What records are found by, and how a file of earlier code gets it: words, tables, columns, checksums."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace

from mmrag.files import name_words
from mmrag.index import checksums
from mmrag.index.base import FORMAT_VERSION, Manifest
from mmrag.index.checksums import has_context
from mmrag.index.codec import decode_metadata
from mmrag.index.database import Database, chunks
from mmrag.index.identity import IdentityTable
from mmrag.index.lexical import LEXICAL_VERSION, LexicalTable, lexical_text
from mmrag.index.schema import upgrade
from mmrag.index.stored import decode_guard


def upgrade_file(database: Database, manifest: Manifest) -> Manifest:
    """Bring a file of earlier code up to this one, in one transaction; return its manifest.

    Rows stay as they are. A file that is up to date is not written.
    """
    with database.read() as connection:
        has_sums = checksums.has_table(connection, "checksums")
        is_current = has_sums and has_context(connection) and checksums.has_table(connection, "changes")
        version = connection.execute("SELECT value FROM state WHERE key = 'lexical'").fetchone()
        if is_current and version == (str(LEXICAL_VERSION),):
            return manifest
    manifest = replace(manifest, format_version=FORMAT_VERSION)
    encoded_manifest = json.dumps(asdict(manifest))
    with database.write() as connection:
        had_context = has_context(connection)
        upgrade(connection)
        connection.execute("DROP TABLE lexical")
        LexicalTable.create(connection)
        connection.execute("DELETE FROM identities")
        seqs = [int(row[0]) for row in connection.execute("SELECT seq FROM records ORDER BY seq")]
        for marks, part in chunks(seqs):
            _fill_words(connection, marks, part, had_context=had_context)
        # what changed before this is in no table
        connection.execute(
            "INSERT OR REPLACE INTO state SELECT 'changes_since', value FROM state WHERE key = 'generation'"
        )
        values = {"lexical": str(LEXICAL_VERSION), "manifest": encoded_manifest}
        connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", values.items())
        if has_sums:
            checksums.put_sum(connection, "state", "manifest", [encoded_manifest.encode()])
        else:
            checksums.put_all_sums(connection)
    return manifest


def _fill_words(
    connection: sqlite3.Connection, marks: str, seqs: Sequence[int], *, had_context: bool
) -> None:
    """Make records findable by their words, and give them a context where earlier code kept none."""
    columns = "seq, context, text, page, metadata"
    rows = connection.execute(f"SELECT {columns} FROM records WHERE seq IN ({marks})", seqs).fetchall()
    for seq, context, text, page, metadata in rows:
        with decode_guard("record", f"number {seq}"):
            document_id = _first_page(page)
            if page is not None and not had_context:
                context = _name_words(metadata)
        if not had_context:
            connection.execute("UPDATE records SET context = ? WHERE seq = ?", (context, seq))
        put_words(connection, seq, context or "", text, document_id)


def _first_page(page: str | None) -> str | None:
    """Return the document's id of an encoded page if it is the first."""
    values = json.loads(page) if page is not None else {}
    return str(values["document_id"]) if values.get("number") == 0 else None


def _name_words(metadata: str) -> str:
    """Return the words of a record's file name; of earlier code, which kept no context."""
    name = decode_metadata(metadata).get("file_name", "")
    return " ".join(name_words(str(part)) for part in (name if isinstance(name, tuple) else (name,)))


def put_words(connection: sqlite3.Connection, seq: int, context: str, text: str, first: str | None) -> None:
    """Make a record findable by its words; `first` is the document's id if it is the first page of one."""
    LexicalTable.add(connection, [(seq, lexical_text(context, text))])
    if first is not None:
        IdentityTable.put(connection, seq, first, context, text)


def forget_words(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Take records out of the full text; they still have the words by which they are found."""
    for marks, part in chunks(seqs):
        rows = connection.execute(f"SELECT seq, context, text FROM records WHERE seq IN ({marks})", part)
        words = [(seq, lexical_text(context or "", text)) for seq, context, text in rows.fetchall()]
        LexicalTable.delete(connection, words)
    IdentityTable.delete(connection, seqs)
