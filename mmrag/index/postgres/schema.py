"""Tables of an index in one schema: how they are made, brought up to date, and told from another program's.

::

    state       manifest, version of the tables and of the terms
    records     number, key, id, document, metadata for filters, row 0 and the middle of the rows for the
                first stage
    contents    text, metadata, page, words, context: what a record is, with its checksum
    vectors     all rows, as `mmrag.index.rows` writes them
    lexical     terms of a record with how often it has them, and its length
    identities  terms that a document is known by, of its first page
    blocks      structure of a page
    documents, blobs
    totals      records and terms, as changes to be added up: no two writers wait for one counter

All of a record goes with its row of ``records``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from psycopg import sql

from mmrag.errors import IndexFormatError, ServerUnfitError
from mmrag.index.base import FORMAT_VERSION, Manifest
from mmrag.index.lexical import LEXICAL_VERSION
from mmrag.index.postgres.connections import Connection
from mmrag.index.record_codec import decode_manifest
from mmrag.index.stored import decode_guard

SCHEMA_VERSION = 1
"""Of the tables that this code makes."""

LEAST_SERVER = 140000
LEAST_PGVECTOR = (0, 8)

HNSW_DIM = 4000
"""Widest ``halfvec`` that pgvector indexes."""

TABLES = {
    "state": "key text PRIMARY KEY, value text NOT NULL",
    "records": (
        "seq bigint PRIMARY KEY, key bytea NOT NULL UNIQUE, id text NOT NULL, document text, "
        "metadata jsonb NOT NULL, first {halfvec}({dim}) NOT NULL, middle {halfvec}({dim}) NOT NULL"
    ),
    "contents": (
        "seq bigint PRIMARY KEY REFERENCES {records} ON DELETE CASCADE, text text NOT NULL, "
        "metadata text NOT NULL, page text, words bytea, context text, sum bigint NOT NULL"
    ),
    "vectors": (
        "seq bigint PRIMARY KEY REFERENCES {records} ON DELETE CASCADE, rows bytea NOT NULL, "
        "sum bigint NOT NULL"
    ),
    "lexical": (
        "seq bigint PRIMARY KEY REFERENCES {records} ON DELETE CASCADE, document text, "
        "length integer NOT NULL, terms jsonb NOT NULL"
    ),
    "identities": (
        "seq bigint PRIMARY KEY REFERENCES {records} ON DELETE CASCADE, document text NOT NULL, "
        "terms jsonb NOT NULL, date text NOT NULL, version text NOT NULL"
    ),
    "blocks": (
        "seq bigint PRIMARY KEY REFERENCES {records} ON DELETE CASCADE, data bytea NOT NULL, "
        "sum bigint NOT NULL"
    ),
    "documents": (
        "key bytea PRIMARY KEY, position bigint GENERATED ALWAYS AS IDENTITY, id text NOT NULL, "
        "entry text NOT NULL, sum bigint NOT NULL"
    ),
    "blobs": "key bytea PRIMARY KEY, name text NOT NULL, data bytea NOT NULL, sum bigint NOT NULL",
    "totals": (
        "number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, records bigint NOT NULL, "
        "terms bigint NOT NULL"
    ),
}

_INDEXES = (
    "CREATE SEQUENCE {numbers}",
    "ALTER TABLE {vectors} ALTER COLUMN rows SET STORAGE EXTERNAL",  # rows do not shrink, and are cut
    "ALTER TABLE {lexical} ALTER COLUMN terms SET STORAGE EXTERNAL",
    "ALTER TABLE {lexical} SET (toast_tuple_target = 8160)",  # terms stay in their row: read once a search
    "ALTER TABLE {blobs} ALTER COLUMN data SET STORAGE EXTERNAL",
    "CREATE INDEX ON {records} USING gin (metadata jsonb_path_ops)",
    "CREATE INDEX ON {records} (document) WHERE document IS NOT NULL",
    "CREATE INDEX ON {lexical} USING gin (terms)",
    "CREATE INDEX ON {identities} USING gin (terms)",
    "CREATE INDEX ON {blobs} (substr(name, 1, 16))",
)

MIGRATIONS: dict[int, Callable[[Connection, Tables], None]] = {}
"""By the version that they start from: each brings the tables to the next one, in one transaction."""


class Tables:
    """Names in one schema, as SQL that cannot be anything else.

    Args:
        schema: of the index.
        home: schema in which pgvector is.
    """

    def __init__(self, schema: str, home: str = "public") -> None:
        self.schema = schema
        names = {name: sql.Identifier(schema, name) for name in (*TABLES, "numbers")}
        self._names: dict[str, sql.Composable] = {
            **names,
            **{f"{name}_name": _literal(schema, name) for name in ("numbers", "records", "lexical")},
            "schema": sql.Identifier(schema),
            "halfvec": sql.Identifier(home, "halfvec"),
            "distance": sql.SQL("OPERATOR({}.<#>)").format(sql.Identifier(home)),
            "hnsw": sql.SQL("{}").format(sql.Identifier(home, "halfvec_ip_ops")),
        }
        self._statements: dict[str, sql.Composed] = {}

    def sql(self, text: str, **parts: sql.Composable) -> sql.Composed:
        """Put the names of tables in the place of ``{records}`` and the like.

        Args:
            text: a constant of this package, or a condition of `mmrag.index.postgres.conditions`.
            parts: further SQL by name.
        """
        if parts:
            return sql.SQL(text).format(**self._names, **parts)
        statement = self._statements.get(text)
        if statement is None:
            statement = sql.SQL(text).format(**self._names)
            if len(self._statements) < 200:
                self._statements[text] = statement
        return statement


def _literal(schema: str, name: str) -> sql.Literal:
    """Return the name of a table or sequence as a text, for functions that take one."""
    quoted_schema = schema.replace('"', '""')
    return sql.Literal(f'"{quoted_schema}".{name}')


def lock_schema(connection: Connection, schema: str) -> None:
    """Wait until no other process makes or changes the tables of this schema; until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"mmrag {schema}",))


def check_server(connection: Connection, address: str) -> None:
    """Refuse a server that is too old.

    Raises:
        ServerUnfitError: it is.
    """
    version = connection.info.server_version
    if version < LEAST_SERVER:
        raise ServerUnfitError(
            f"{address} must be PostgreSQL {LEAST_SERVER // 10000} or later, got {version // 10000}. "
            "Upgrade the server."
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ServerUnfitError(
            f"{address} must be a database in UTF8, got one in {encoding}, which does not hold every text. "
            "Make another: CREATE DATABASE mmrag ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0"
        )


def vector_home(connection: Connection, address: str, *, create: bool) -> str:
    """Return the schema in which pgvector is; where it is not, add it.

    Raises:
        ServerUnfitError: it is missing and may not be added, or is too old.
    """
    row = _extension(connection)
    if row is None and create:
        import psycopg

        try:
            with connection.transaction():
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            words = " ".join(str(error).split())
            raise ServerUnfitError(
                f"{address} must have the extension pgvector, got a database without it, and it cannot be "
                f"added ({words}). Install pgvector on the server, and have its administrator run in this "
                "database: CREATE EXTENSION vector"
            ) from error
        row = _extension(connection)
    if row is None:
        raise ServerUnfitError(
            f"{address} must have the extension pgvector, got a database without it. Open the index for "
            "writing first, or run: CREATE EXTENSION vector"
        )
    home, version = row
    if tuple(int(part) for part in version.split(".")[:2]) < LEAST_PGVECTOR:
        least = ".".join(map(str, LEAST_PGVECTOR))
        raise ServerUnfitError(
            f"{address} must have pgvector {least} or later, got {version}. Install it, and run: "
            "ALTER EXTENSION vector UPDATE"
        )
    return str(home)


def _extension(connection: Connection) -> tuple[str, str] | None:
    return connection.execute(
        "SELECT n.nspname, e.extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'vector'"
    ).fetchone()


def found_tables(connection: Connection, schema: str) -> dict[str, list[str]]:
    """Return the tables of a schema, each with its columns in order."""
    rows = connection.execute(
        "SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attnum > 0) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f') GROUP BY c.relname",
        (schema,),
    ).fetchall()
    return {name: columns or [] for name, columns in rows}


def columns_of(name: str) -> list[str]:
    """Return the columns of one of our tables, in order."""
    return [part.split()[0] for part in TABLES[name].split(", ")]


def check_tables(tables: dict[str, list[str]], where: str) -> bool:
    """Return whether a schema holds an index; refuse one that holds something else.

    Raises:
        IndexFormatError: it does, or one of the tables is of another shape.
    """
    if not tables:
        return False
    for name in TABLES:
        if name not in tables:
            raise IndexFormatError(
                f"{where} must be an index, empty or absent, got the tables {', '.join(sorted(tables)[:5])} "
                f"and no {name!r}. Name another schema; nothing was written."
            )
        if tables[name][: len(columns_of(name))] != columns_of(name):
            raise IndexFormatError(
                f"the table {name!r} of {where} must have the columns {', '.join(columns_of(name))}, got "
                f"{', '.join(tables[name])}. Name another schema, or restore the index; nothing was written."
            )
    return True


def create_tables(connection: Connection, tables: Tables, manifest: Manifest) -> None:
    """Make the schema and its tables, in the transaction of the caller."""
    exists = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (tables.schema,)).fetchone()
    if not exists:
        connection.execute(tables.sql("CREATE SCHEMA {schema}"))
    for name, columns in TABLES.items():
        text = f"CREATE TABLE {{{name}}} ({columns.replace('{dim}', str(int(manifest.dim)))})"
        connection.execute(tables.sql(text))
    for text in _INDEXES:
        connection.execute(tables.sql(text))
    state = {
        "manifest": json.dumps(asdict(manifest)),
        "tables": str(SCHEMA_VERSION),
        "lexical": str(LEXICAL_VERSION),
    }
    for key, value in state.items():
        connection.execute(tables.sql("INSERT INTO {state} VALUES (%s, %s)"), (key, value))


def read_state(connection: Connection, tables: Tables) -> dict[str, str]:
    """Return the table of states."""
    return dict(connection.execute(tables.sql("SELECT key, value FROM {state}")).fetchall())


def manifest_of(state: dict[str, str], where: str) -> Manifest:
    """Return the manifest of an index.

    Raises:
        IndexFormatError: it is damaged, or of a newer format.
    """
    version = state.get("tables", "")
    if not version.isdigit() or int(version) > SCHEMA_VERSION:
        raise IndexFormatError(
            f"{where} must have tables of version {SCHEMA_VERSION} at most, got {version or 'none'}. "
            "Upgrade the package, or name another schema."
        )
    with decode_guard("state", "manifest"):
        values: dict[str, Any] = dict(json.loads(state["manifest"]))
        manifest = decode_manifest(values)
    if manifest.format_version > FORMAT_VERSION:
        raise IndexFormatError(
            f"{where} must be of index format {FORMAT_VERSION} at most, got {manifest.format_version}. "
            "Upgrade the package, or name another schema."
        )
    return manifest


def migrate(connection: Connection, tables: Tables, version: int) -> None:
    """Bring tables of an earlier version up to this one, in the transaction of the caller."""
    for step in range(version, SCHEMA_VERSION):
        MIGRATIONS[step](connection, tables)
    connection.execute(
        tables.sql("UPDATE {state} SET value = %s WHERE key = 'tables'"), (str(SCHEMA_VERSION),)
    )
