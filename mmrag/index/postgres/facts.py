"""What the store is and what the index takes there, for `mmrag status`."""

from __future__ import annotations

from mmrag.index.base import StoreFacts
from mmrag.index.postgres import hnsw
from mmrag.index.postgres.connections import Connection
from mmrag.index.postgres.schema import TABLES, Tables

_SIZES = """
SELECT c.relname::text, pg_total_relation_size(c.oid) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r'
"""

_SERVER = """
SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
    pg_is_in_recovery(), current_database(), pg_database_size(current_database())
"""


def store_facts(connection: Connection, tables: Tables) -> StoreFacts:
    """Ask the server; the address is for the caller to fill in."""
    sizes = {name: int(size) for name, size in connection.execute(_SIZES, (tables.schema,)) if name in TABLES}
    row = connection.execute(_SERVER).fetchone()
    assert row is not None
    version, vector, is_standby, database, database_size = row
    stage = "HNSW index" if hnsw.is_built(connection, tables) else "exact, all records"
    largest = sorted(sizes, key=lambda name: -sizes[name])[:4]
    return StoreFacts(
        "",
        f"PostgreSQL {version.split()[0]}, pgvector {vector}, {'standby' if is_standby else 'primary'}",
        sum(sizes.values()),
        (
            f"schema {tables.schema} of database {database} ({database_size / 1e6:.1f} MB in all)",
            ", ".join(f"{name} {sizes[name] / 1e6:.1f} MB" for name in largest),
            f"first stage: {stage}",
        ),
    )
