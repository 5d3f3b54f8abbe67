"""Opening an index in PostgreSQL: what is there is looked at whole before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

from mmrag.errors import IndexFormatError, IndexMismatchError
from mmrag.index.base import EmbedderIdentity, Manifest, RowType, manifest_for
from mmrag.index.lexical import LEXICAL_VERSION
from mmrag.index.postgres.connections import Connection
from mmrag.index.postgres.schema import (
    SCHEMA_VERSION,
    Tables,
    check_server,
    check_tables,
    create_tables,
    found_tables,
    lock_schema,
    manifest_of,
    migrate,
    read_state,
    vector_home,
)


@dataclass(frozen=True, slots=True)
class OpenSettings:
    """How an index is opened.

    Attributes:
        schema: of the index.
        embedder: what made or will make its vectors; None: whoever made it.
        read_only: nothing is made or brought up to date.
        row_type: see `mmrag.index.addresses.open_index`.
        rows: most rows of a record.
    """

    schema: str
    embedder: EmbedderIdentity | None
    read_only: bool
    row_type: RowType | None
    rows: int | None


def open_tables(connection: Connection, settings: OpenSettings, address: str) -> tuple[Tables, Manifest]:
    """Return the tables of an index and its manifest; for writing, make them where there are none.

    Raises:
        ServerUnfitError: the server is too old, or pgvector is missing.
        IndexFormatError: the schema holds something else, or there is no index to read.
        IndexMismatchError: another embedder made it.
        ValueError: the settings of rows are others.
    """
    check_server(connection, address)
    where = f"schema {settings.schema!r} of {address}"
    if not check_tables(found_tables(connection, settings.schema), where):
        if settings.read_only or settings.embedder is None:
            raise IndexFormatError(
                f"{where} must be an index{' to read' if settings.read_only else ''}, got none there. Make "
                "it first: open it for writing with an embedder and add documents."
            )
        _create(connection, settings, settings.embedder, address, where)
    tables = Tables(settings.schema, vector_home(connection, address, create=not settings.read_only))
    state = read_state(connection, tables)
    manifest = manifest_of(state, where)
    _check_embedder(where, manifest, settings.embedder)
    _check_rows(where, manifest, settings)
    if not settings.read_only:
        _bring_up_to_date(connection, tables, state)
    return tables, manifest


def _create(
    connection: Connection, settings: OpenSettings, embedder: EmbedderIdentity, address: str, where: str
) -> None:
    """Make the tables, unless another process just did."""
    with connection.transaction():
        lock_schema(connection, settings.schema)
        if check_tables(found_tables(connection, settings.schema), where):
            return
        tables = Tables(settings.schema, vector_home(connection, address, create=True))
        create_tables(connection, tables, manifest_for(embedder, settings.row_type, settings.rows))


def _bring_up_to_date(connection: Connection, tables: Tables, state: dict[str, str]) -> None:
    """Bring the tables of an earlier version up to this one, and the terms of records."""
    from mmrag.index.postgres.check import fill_words

    if int(state["tables"]) < SCHEMA_VERSION:
        with connection.transaction():
            lock_schema(connection, tables.schema)
            migrate(connection, tables, int(read_state(connection, tables)["tables"]))
    if state.get("lexical") != str(LEXICAL_VERSION):
        with connection.transaction():
            lock_schema(connection, tables.schema)
            if read_state(connection, tables).get("lexical") != str(LEXICAL_VERSION):
                fill_words(connection, tables)


def _check_embedder(where: str, manifest: Manifest, embedder: EmbedderIdentity | None) -> None:
    if embedder is None or (embedder.fingerprint, embedder.dim) == (manifest.fingerprint, manifest.dim):
        return
    raise IndexMismatchError(
        f"the index in {where} was built with {manifest.dim}-dim vectors from '{manifest.embedder}' "
        f"(fingerprint {manifest.fingerprint[:12]}), this embedder gives {embedder.dim}-dim from "
        f"'{embedder.name}' (fingerprint {embedder.fingerprint[:12]}). "
        "Load the matching embedder, or make an index for this one without reading the documents again: "
        "mmrag reembed ADDRESS FOLDER"
    )


def _check_rows(where: str, manifest: Manifest, settings: OpenSettings) -> None:
    for name in ("row_type", "rows"):
        value, own_value = getattr(settings, name), getattr(manifest, name)
        if value is not None and value != own_value:
            raise ValueError(
                f"{name} must be that of the index, {own_value!r}, got {value!r} for {where}. Leave it out, "
                "or copy the index into another schema."
            )
