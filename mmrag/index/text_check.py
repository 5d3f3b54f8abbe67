"""Whether the full-text tables of an index hold the words of its records, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from mmrag.index.identity import is_first
from mmrag.index.lexical import NO_CONTENT, joined_terms, lexical_text
from mmrag.types import Record

TERMS: dict[str, Callable[[Record], str | None]] = {
    "lexical": lambda record: joined_terms(lexical_text(record.context, record.text)),
    "identities": lambda record: joined_terms(record.context) if is_first(record) else None,
}
"""What the first column of a full-text table holds of a record, by the table's name; None: it has no row."""

_SHADOWS = ("data", "idx", "content", "docsize", "config")


class FullTextCheck:
    """Check of one full-text table, in a copy: FTS5's own check is an INSERT, and a reader must not write.

    A table that keeps its texts is compared with the records text by text. For one that keeps none, the texts
    are put into the copy, and FTS5 compares its words with them: it can tell that a word is wrong, not whose.

    Args:
        connection: one state of the file, whose layout was checked.
        table: the table's name.
        statement: that makes it.

    Raises:
        sqlite3.DatabaseError: the table cannot be read.
    """

    def __init__(self, connection: sqlite3.Connection, table: str, statement: str) -> None:
        self.table = table
        self._keeps_texts = NO_CONTENT not in statement
        columns = f"id, c0 FROM {table}_content" if self._keeps_texts else f"id, NULL FROM {table}_docsize"
        self._texts: dict[object, object] = dict(connection.execute(f"SELECT {columns}"))
        self._copy = sqlite3.connect("", isolation_level=None)  # a temporary file of SQLite's own
        try:
            self._copy.execute("BEGIN")
            self._copy.execute(statement.replace(NO_CONTENT, ""))
            for ending in _SHADOWS if self._keeps_texts else set(_SHADOWS) - {"content"}:
                self._copy.execute(f"DELETE FROM {table}_{ending}")
                shadow = connection.execute(f"SELECT * FROM {table}_{ending}")
                marks = ", ".join("?" * len(shadow.description))
                self._copy.executemany(f"INSERT INTO {table}_{ending} VALUES ({marks})", shadow)
        except BaseException:
            self.close()
            raise

    @property
    def seqs(self) -> set[object]:
        """Numbers of the records that the table has."""
        return set(self._texts)

    def problem(self, seq: int, record: Record) -> str | None:
        """Return what is wrong with the words of a record; None where nothing is, or `finish` tells."""
        terms = TERMS[self.table](record)
        if not self._keeps_texts and terms is not None:
            self._copy.execute(f"INSERT INTO {self.table}_content VALUES (?, ?)", (seq, terms))
        if (seq in self._texts) != (terms is not None):
            return f"{'a row too many' if terms is None else 'not there'} in {self.table}"
        if self._keeps_texts and terms is not None and _text(self._texts[seq]) != terms:
            return f"other words than the record's in {self.table}"
        return None

    def finish(self, *, is_whole: bool) -> None:
        """Let FTS5 compare its words with the texts.

        Args:
            is_whole: whether `problem` was asked of every record; without all texts nothing can be said of a
                table that keeps none.

        Raises:
            sqlite3.DatabaseError: they do not agree.
        """
        if is_whole or self._keeps_texts:
            self._copy.execute("COMMIT")
            self._copy.execute(f"INSERT INTO {self.table}({self.table}) VALUES ('integrity-check')")

    def close(self) -> None:
        """Drop the copy."""
        self._copy.close()


def _text(data: object) -> str:
    return data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else str(data)
