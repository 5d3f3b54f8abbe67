"""What the SQLite file of an index may hold: our tables and indexes, word for word, and nothing else.

A file from anywhere may have a view that never ends, a trigger that writes when we do, or a column that is
computed. Its list of tables is compared with the one that this code makes, before anything is read from them.
"""

from __future__ import annotations

import re
import sqlite3
from functools import cache
from pathlib import Path

from mmrag.errors import IndexFormatError
from mmrag.index.schema import ADDED_TABLES, EARLIER_FORMS, create_tables

_SHADOWS = ("data", "idx", "content", "docsize", "config")
"""Tables that FTS5 makes for each table of its own; their wording is SQLite's."""

_SHADOW = re.compile(r"create table \w+\([\w ,]+(?:\([\w ,]+\))?\)(?: without rowid)?")
_ACTIVE = re.compile(r"\b(?:as|check|collate|default|generated|references)\b")


def check_layout(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file with views, triggers, tables of others, or ours in another form.

    Raises:
        IndexFormatError: it names what stands there; nothing was read from it.
    """
    our_forms = _layout()
    missing_tables = set(our_forms) - set(ADDED_TABLES)
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall():
        form = _plain(str(sql or ""))
        if (kind, name) in our_forms:
            is_ours = form in (our_forms[kind, name], *EARLIER_FORMS.get(name, ()))
        else:
            is_ours = _is_of_sqlite(kind, name, form, our_forms)
        if not is_ours:
            raise IndexFormatError(
                f"{path} must hold the tables of an index and nothing else, got the {kind} {name!r:.80}"
                f"{' in another form' if (kind, name) in our_forms else ''}. It is damaged, or somebody "
                "changed it: restore it from a copy, or index the documents again into a new directory."
            )
        missing_tables.discard((kind, name))
    if missing_tables:
        raise IndexFormatError(
            f"{path} must hold the tables of an index, got none named {sorted(missing_tables)[0][1]!r}. "
            "Restore it from a copy, or index the documents again into a new directory."
        )


def full_text_tables(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the statement that makes each full-text table, by its name; the layout was checked before."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: sql for name, sql in rows if "using fts5" in _plain(str(sql or ""))}


@cache
def _layout() -> dict[tuple[str, str], str]:
    """Return the wording of each table and index that this code makes, by kind and name."""
    connection = sqlite3.connect(":memory:")
    try:
        create_tables(connection)
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    finally:
        connection.close()
    tables = [name for _, name, sql in rows if "using fts5" in _plain(sql or "")]
    shadows = {f"{table}_{ending}" for table in tables for ending in _SHADOWS}
    return {
        (kind, name): _plain(sql)
        for kind, name, sql in rows
        if name not in shadows and not name.startswith("sqlite_")
    }


def _is_of_sqlite(kind: str, name: str, form: str, our_forms: dict[tuple[str, str], str]) -> bool:
    """Return whether SQLite itself makes such a table or index for ours, with plain columns."""
    if name.startswith("sqlite_"):  # a name that SQLite keeps for itself
        return kind in ("table", "index")
    table, _, ending = name.rpartition("_")
    return (
        kind == "table"
        and "using fts5" in our_forms.get(("table", table), "")
        and ending in _SHADOWS
        and _SHADOW.fullmatch(form) is not None
        and _ACTIVE.search(form) is None
    )


def _plain(sql: str) -> str:
    """Return a statement in one spelling: no quotes round names, one space, lower case."""
    words = re.sub(r"\s+", " ", re.sub(r"['\"`]", "", sql)).casefold()
    return re.sub(r" ?([(),]) ?", r"\1", words).replace(")without", ") without").strip()
