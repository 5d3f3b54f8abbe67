"""The tables of an index's SQLite file, how it is made, and how it is told from another program's."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from dataclasses import asdict
from pathlib import Path

from mmrag.errors import IndexFormatError
from mmrag.index.base import Manifest
from mmrag.index.checksums import CHECKSUMS, has_context, has_table, put_all_sums
from mmrag.index.identity import IdentityTable
from mmrag.index.lexical import LEXICAL_VERSION, LexicalTable

APPLICATION_ID = 0x6D6D7261
"""``mmra``, in the header of the file: says whose file it is."""

_SCHEMA = """
CREATE TABLE state(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    document_id TEXT,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,
    page TEXT,
    words BLOB,
    context TEXT
);
CREATE INDEX records_by_document ON records(document_id) WHERE document_id IS NOT NULL;
CREATE TABLE vectors(seq INTEGER PRIMARY KEY, matrix BLOB NOT NULL);
CREATE TABLE first(seq INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE metadata(seq INTEGER NOT NULL, key TEXT NOT NULL, kind INTEGER NOT NULL, value NOT NULL);
CREATE INDEX metadata_by_value ON metadata(key, kind, value, seq);
CREATE INDEX metadata_by_record ON metadata(seq);
CREATE TABLE pending(id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE documents(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, entry TEXT NOT NULL);
CREATE TABLE blobs(key TEXT PRIMARY KEY, data BLOB NOT NULL);
"""


BLOCKS = "CREATE TABLE IF NOT EXISTS blocks(seq INTEGER PRIMARY KEY, data BLOB NOT NULL)"
"""Blocks of pages; an index that earlier code wrote gets the table when it is opened for writing."""


CHANGES = (
    "CREATE TABLE IF NOT EXISTS changes(seq INTEGER PRIMARY KEY, generation INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS changes_by_generation ON changes(generation)",
)
"""When a record was last added, replaced or deleted, by generation: what a reader reads after a commit."""

ADDED_TABLES = frozenset(
    {
        ("table", "blocks"),
        ("table", "changes"),
        ("index", "changes_by_generation"),
        ("table", "checksums"),
        ("table", "identities"),
    }
)
"""What a file of earlier code may lack when it is open for reading only."""

EARLIER_FORMS = {
    "records": (
        "create table records(seq integer primary key autoincrement,id text not null unique,document_id text,"
        "text text not null,metadata text not null,page text,words blob)",
    ),
    "lexical": (
        "create virtual table lexical using fts5(terms,tokenize = porter unicode61 remove_diacritics 2 "
        "categories l* n* m* co tokenchars .)",
    ),
}
"""Wordings of a table in files of earlier code, by its name, as `mmrag.index.layout` spells them."""


def has_blocks(connection: sqlite3.Connection) -> bool:
    """Return whether the file has the table of blocks, which files of earlier code lack."""
    return has_table(connection, "blocks")


def upgrade(connection: sqlite3.Connection) -> None:
    """Add to a file of earlier code the tables and columns that have come since."""
    connection.execute(BLOCKS)
    for statement in CHANGES:
        connection.execute(statement)
    if not has_context(connection):
        connection.execute("ALTER TABLE records ADD COLUMN context TEXT")
    IdentityTable.create(connection)


def check_header(path: Path) -> None:
    """See in the first bytes of a file whether this package wrote it, without opening it as SQLite.

    Raises:
        IndexFormatError: it did not.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if header[:15] != b"SQLite format 3" or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        content = "an empty file" if not header else "a file that this package did not write"
        raise IndexFormatError(
            f"{path} must be an index of this package, got {content}. Name another directory, or restore the "
            "index from a copy; nothing was written."
        )


def create_tables(connection: sqlite3.Connection) -> None:
    """Make every table and index of a new file."""
    for statement in filter(str.strip, _SCHEMA.split(";\n")):
        connection.execute(statement)
    connection.execute(CHECKSUMS)
    LexicalTable.create(connection)
    upgrade(connection)


def create_file(path: Path, manifest: Manifest) -> None:
    """Make the file under another name and move it, so that a file with this name is complete.

    It can be read and written by its user alone, and so can what SQLite puts beside it.
    """
    draft = path.with_name(path.name + ".new")
    for left in path.parent.glob(draft.name + "*"):
        left.unlink()
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        create_tables(connection)
        state = {
            "manifest": json.dumps(asdict(manifest)),
            "uuid": uuid.uuid4().hex,
            "lexical": str(LEXICAL_VERSION),
            "generation": "0",
        }
        connection.executemany("INSERT INTO state VALUES (?, ?)", state.items())
        put_all_sums(connection)
        connection.execute("COMMIT")
    finally:
        connection.close()
    draft.replace(path)
