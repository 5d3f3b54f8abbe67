"""Roles of PostgreSQL: an app that cannot drop, a reader, and tenants that see their own records alone.

The statements are those of docs/scale.md.
"""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="needs the extra 'postgres'")

import psycopg

from mmrag.errors import IndexReadOnlyError, ServerAccessError
from mmrag.index.addresses import open_index
from mmrag.index.base import DocumentEntry
from mmrag.index.memory import MemoryIndex
from mmrag.index.postgres import PostgresIndex, hnsw
from mmrag.types import Record

from .conftest import make_page, make_records
from .postgres_server import execute, fresh_schema

DOCS = Path(__file__).parents[2] / "docs" / "scale.md"


def statements(heading):
    """The SQL under a heading of docs/scale.md."""
    text = DOCS.read_text(encoding="utf-8").split(f"### {heading}\n")[1].split("\n### ")[0]
    (block,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    return block


@pytest.fixture
def roles(postgres, schema_url, identity):
    """An index of two documents, a function that runs SQL of the docs in its schema, and one that logs in."""
    index = open_index(schema_url, identity)
    schema = index._tables.schema
    name = fresh_schema()

    def run(sql):
        sql = re.sub(r"\bmmrag\.", f"{schema}.", sql)
        sql = re.sub(r"\bSCHEMA mmrag\b", f"SCHEMA {schema}", sql)
        sql = re.sub(r"\b(mmrag_app|mmrag_reader|acme|globex)\b", rf"{name}_\1", sql)
        execute(postgres, sql)

    def url(role):
        return schema_url.replace("postgres:@", f"{name}_{role}:secret@")

    yield index, run, url, name
    index.close()
    for role in ("mmrag_app", "mmrag_reader", "acme", "globex"):
        if execute(postgres, "SELECT 1 FROM pg_roles WHERE rolname = %s", f"{name}_{role}"):
            execute(postgres, f"DROP OWNED BY {name}_{role}")
            execute(postgres, f"DROP ROLE {name}_{role}")


def test_an_app_writes_and_reads_and_cannot_drop(roles, identity, monkeypatch, caplog):
    _, run, url, _ = roles
    run(statements("Roles"))
    app = open_index(url("mmrag_app"), identity)
    page = make_page(0)
    app.add([*make_records(20), Record(page.id, np.eye(8)[:2], page.text, {"n": 1}, page, "Annual report")])
    app.add(make_records(20, text="again {n}"))
    app.update_metadata(["r1"], {"n": 99})
    app.put_blocks(page.id, ())
    app.put_document(DocumentEntry("ab" * 8, "ab" * 32, "pdf", ("/x/a.pdf",), 2, "s"))
    app.put_blob("ab" * 32, b"bytes")
    assert app.count() == 21 and len(app.search_text("again", k=30)) == 20
    assert len(app.search_vectors(np.ones((1, 8)), k=30)) == 21
    assert app.remove_document("ab" * 8) == 1 and app.delete(["r1"]) == 1
    assert app.check().is_sound and app.check(repair=True).is_sound
    monkeypatch.setattr(hnsw, "HNSW_FROM", 5)
    assert hnsw.build_where_worth(app._primary, app._tables, app.manifest) is None
    assert "needs the owner of the tables" in caplog.text and "CREATE INDEX CONCURRENTLY" in caplog.text
    for statement in ("DROP TABLE {records}", "TRUNCATE {records} CASCADE", "DROP SCHEMA {schema} CASCADE"):
        with pytest.raises(ServerAccessError), app._primary.session("a test") as connection:
            connection.execute(app._tables.sql(statement))
    with pytest.raises(ServerAccessError), app._primary.session("a test") as connection:
        connection.execute(app._tables.sql("UPDATE {state} SET value = '0'"))
    app.close()


def test_a_reader_only_reads(roles, identity):
    index, run, url, _ = roles
    index.add(make_records(5))
    run(statements("Roles"))
    reader = PostgresIndex.open(url("mmrag_reader"), identity, read_only=True)
    assert reader.count() == len(reader.search_text("report", k=9)) == 5
    assert reader.check().is_sound and reader.store_facts().bytes
    with pytest.raises(IndexReadOnlyError):
        reader.add(make_records(1))
    writing = PostgresIndex.open(url("mmrag_reader"), identity)
    with pytest.raises(ServerAccessError, match=r"refused adding 1 records.*Grant the role"):
        writing.add(make_records(1))
    for opened in (reader, writing):
        opened.close()


def test_a_tenant_sees_its_own_records_and_scores(roles, identity):
    """Every channel, every list; scores are those of an index of the tenant's records alone."""
    index, run, url, name = roles
    own = {}
    for number, tenant in enumerate(("acme", "globex")):
        pages = [
            make_page(n, sha256=f"{number}{n % 2}".ljust(64, "a"), text=f"zinc report {n}") for n in range(4)
        ]
        records = [
            Record(
                page.id,
                np.eye(8)[[n, 7]],
                page.text,
                {"tenant": f"{name}_{tenant}"},
                page,
                f"{tenant} annual",
            )
            for n, page in enumerate(pages)
        ]
        records += make_records(
            6,
            seed=number,
            prefix=tenant,
            text="zinc {n}",
            metadata=lambda n, t=tenant: {"tenant": f"{name}_{t}"},
        )
        own[tenant] = records
        index.add(records)
        for page in pages[:2]:
            index.put_document(
                DocumentEntry(page.document_id, page.source.sha256, "pdf", (f"/{tenant}.pdf",), 2, "s")
            )
            index.put_blob(page.source.sha256, tenant.encode())
    run(statements("Tenants"))
    for tenant, records in own.items():
        reader = PostgresIndex.open(url(tenant), identity, read_only=True)
        alone = MemoryIndex.for_embedder(identity)
        alone.add(records)
        ids = {record.id for record in records}
        assert set(reader.ids()) == ids and reader.count() == len(ids)
        assert reader.search_text("zinc report 3", k=50) == alone.search_text("zinc report 3", k=50)
        for exact in (True, False):
            query = np.ones((2, 8))
            assert reader.search_vectors(query, k=50, exact=exact) == alone.search_vectors(query, k=50)
        everything = [record.id for part in own.values() for record in part]
        assert {record.id for record in reader.get(everything)} == ids
        assert {hit.id for hit in reader.score(query, everything)} == ids
        assert set(reader.document_ids(everything)) <= ids
        assert reader.values("tenant") == [f"{name}_{tenant}"]
        named = reader.name_documents("acme globex annual report")
        assert named.scores == alone.name_documents("acme globex annual report").scores
        assert [entry.names for entry in reader.documents()] == [(f"/{tenant}.pdf",)] * 2
        blobs = [reader.get_blob(record.page.source.sha256) for part in own.values() for record in part[:2]]
        assert sorted(filter(None, blobs)) == [tenant.encode()] * 2
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(url(tenant).partition("&schema")[0], f"DELETE FROM {index._tables.schema}.records")
        reader.close()
