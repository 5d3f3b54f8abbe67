"""The HNSW index of the first stage: made once there are enough records, beside reads and writes."""

from __future__ import annotations

import logging

import psycopg

from mmrag.index.base import Manifest
from mmrag.index.postgres import reading
from mmrag.index.postgres.connections import Connection, Connections
from mmrag.index.postgres.schema import HNSW_DIM, Tables
from mmrag.index.postgres.vectors import HNSW_FROM

logger = logging.getLogger(__name__)

NAME = "records_middle_hnsw"
_BUILD_SECONDS = 6 * 3600


def is_built(connection: Connection, tables: Tables) -> bool | None:
    """Return whether the index is whole: None where there is none, False where its making was broken off."""
    row = connection.execute(
        "SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        (tables.schema, NAME),
    ).fetchone()
    return None if row is None else bool(row[0])


def build_where_worth(connections: Connections, tables: Tables, manifest: Manifest) -> bool | None:
    """Make the index if there are enough records and no other process makes it; return whether it was made.

    It needs the owner of the tables: under another role the result is None, and a log says what the owner has
    to run.
    """
    if manifest.dim > HNSW_DIM:
        return False
    with connections.session("a look at the first stage") as connection:
        if reading.count_records(connection, tables, None) < HNSW_FROM or is_built(connection, tables):
            return False
        lock = (f"mmrag {tables.schema} hnsw",)
        row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 2))", lock).fetchone()
        if row is None or not row[0]:
            return False
        try:
            return _build(connection, tables)
        finally:
            if not connection.closed:
                connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 2))", lock)


def _build(connection: Connection, tables: Tables) -> bool | None:
    state = is_built(connection, tables)
    if state:
        return False
    text = f"CREATE INDEX CONCURRENTLY {NAME} ON {{records}} USING hnsw (middle {{hnsw}})"
    statement = tables.sql(text)
    try:
        connection.execute(f"SET statement_timeout = '{_BUILD_SECONDS}s'")
        connection.execute("SET maintenance_work_mem = '512MB'")
        if state is False:
            connection.execute(tables.sql(f"DROP INDEX {{schema}}.{NAME}"))
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        logger.warning(
            "searches look at all records: the index of the first stage needs the owner of the tables (%s). "
            "Let it run: %s",
            error,
            statement.as_string(connection),
        )
        return None
    finally:
        connection.close()  # so that no session keeps these settings; it gives up the lock, too
    return True
