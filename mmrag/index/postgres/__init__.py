"""An index in PostgreSQL, with pgvector: for teams that have it, and for many machines.

::

    PostgresIndex.open("postgresql://user@host/database", embedder, schema="mmrag")

    index.py        `PostgresIndex`, the protocol
    connections.py  one server's connections: pool, time-outs, forks; `addresses` reads the URL
    schema.py       tables, versions, what is refused
    writing.py      what an `add` and a `delete` do, in one transaction
    reading.py      records, values, entries
    vectors.py      first stage in SQL, exact late interaction here
    words.py        terms of FTS5, BM25 in SQL
    conditions.py   filters as SQL
    faults.py       what the server says, as the package's errors
    check.py        damage and its repair
    development.py  a server in a folder, for laptops

The client needs the extra ``postgres``. Tables, roles and replicas: ``docs/scale.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrag.errors import MissingExtraError

if TYPE_CHECKING:
    from mmrag.index.base import EmbedderIdentity, RowType
    from mmrag.index.postgres.index import PostgresIndex

__all__ = ["PostgresIndex", "open_address"]


def open_address(
    address: str,
    embedder: EmbedderIdentity | None,
    *,
    read_only: bool = False,
    row_type: RowType | None = None,
    rows: int | None = None,
) -> PostgresIndex:
    """Open the index at an address; see `mmrag.index.addresses.open_index`.

    Raises:
        MissingExtraError: the client of PostgreSQL is not installed.
    """
    index_class = _index_class()
    from mmrag.index.postgres.development import is_development, start_server

    url = start_server(address) if is_development(address) else address
    return index_class.open(url, embedder, read_only=read_only, row_type=row_type, rows=rows)


def _index_class() -> type[PostgresIndex]:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("An index in PostgreSQL", "postgres") from error
    from mmrag.index.postgres.index import PostgresIndex

    return PostgresIndex


def __getattr__(name: str) -> object:
    """Import the index's class when it is first used."""
    if name == "PostgresIndex":
        return _index_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
