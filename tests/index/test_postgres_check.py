"""A damaged index in PostgreSQL: what a check says of it, and what a repair makes again."""

from dataclasses import replace

import numpy as np
import pytest

from mmrag.blocks import Block
from mmrag.errors import IndexDamagedError, IndexReadOnlyError
from mmrag.index.addresses import open_index
from mmrag.index.base import DocumentEntry
from mmrag.types import Record

from .conftest import make_page, make_records
from .postgres_server import execute


@pytest.fixture
def damaged(schema_url, identity, postgres):
    """An index of two pages and 20 texts, and a function that runs SQL in its schema."""
    index = open_index(schema_url, identity)
    pages = [replace(make_page(n), blocks=(Block("paragraph", "net sales 5"),)) for n in range(2)]
    index.add([Record(page.id, np.eye(8)[:2], page.text, {"n": 1}, page, "Annual report") for page in pages])
    index.add(make_records(20))
    index.put_document(DocumentEntry("ab" * 8, "ab" * 32, "pdf", ("/x/a.pdf",), 2, "s", complete=True))
    index.put_blob("ab" * 32, b"bytes")
    schema = schema_url.rpartition("schema=")[2]

    def damage(statement):
        return execute(postgres, statement.replace("mmrag.", f"{schema}."))

    yield index, damage, [page.id for page in pages]
    index.close()


def test_a_sound_index_has_no_faults(damaged):
    index, _, _ = damaged
    report = index.check()
    assert report.is_sound and report.records == 22


DERIVED = {
    "first": "UPDATE mmrag.records SET first = middle",
    "metadata": "UPDATE mmrag.records SET metadata = '{}'",
    "text": "DELETE FROM mmrag.lexical",
    "terms": "UPDATE mmrag.lexical SET terms = '{\"a\": 1}'",
    "length": "UPDATE mmrag.lexical SET length = length + 1",
    "identity": "DELETE FROM mmrag.identities",
    "totals": "UPDATE mmrag.totals SET records = records + 1",
}


@pytest.mark.parametrize("statement", DERIVED.values(), ids=DERIVED.keys())
def test_what_is_made_of_records_is_made_again(damaged, statement):
    index, damage, _ = damaged
    query = np.ones((2, 8))

    def answers():
        return (
            index.search_text("net report page 7", k=30),
            index.search_vectors(query, k=30),
            index.ids({"n": 1}),
            index.name_documents("annual report").scores,
        )

    before = answers()
    damage(statement)
    report = index.check()
    assert not report.is_sound and not report.is_repaired and report.records == 22
    assert not report.lost_ids
    report = index.check(repair=True)
    assert report.is_repaired and all(fault.repair for fault in report.faults)
    assert index.check().is_sound
    assert answers() == before


LOST = {
    "text": "UPDATE mmrag.contents SET text = 'other' WHERE page IS NOT NULL",
    "page": "UPDATE mmrag.contents SET page = '[]' WHERE page IS NOT NULL",
    "matrix": "UPDATE mmrag.vectors SET rows = rows || '\\x00' WHERE seq <= 2",
    "contents": "DELETE FROM mmrag.contents WHERE page IS NOT NULL",
    "no matrix": "DELETE FROM mmrag.vectors WHERE seq <= 2",
}


@pytest.mark.parametrize("statement", LOST.values(), ids=LOST.keys())
def test_a_lost_page_is_left_out_and_its_document_marked(damaged, statement):
    index, damage, pages = damaged
    damage(statement)
    assert set(index.check().lost_ids) == set(pages)
    report = index.check(repair=True)
    assert set(report.lost_ids) == set(pages) and report.records == 20
    assert index.count() == 20 and index.check().is_sound
    assert [entry.complete for entry in index.documents()] == [False]


def test_damaged_blocks_entries_and_bytes_are_left_out(damaged):
    index, damage, pages = damaged
    damage("UPDATE mmrag.blocks SET data = 'x'")
    damage("UPDATE mmrag.documents SET entry = '{}'")
    damage("UPDATE mmrag.blobs SET data = 'x'")
    for read in (lambda: index.get(pages), index.documents, lambda: index.get_blob("ab" * 32)):
        with pytest.raises(IndexDamagedError, match="mmrag check --repair"):
            read()
    parts = {fault.part for fault in index.check(repair=True).faults}
    assert parts == {"blocks", "document", "blob"}
    assert [record.page.blocks for record in index.get(pages)] == [None, None]
    assert (index.documents(), index.get_blob("ab" * 32), index.count()) == ([], None, 22)
    assert index.check().is_sound


def test_a_repair_needs_an_index_open_for_writing(damaged, schema_url, identity):
    index, _, _ = damaged
    reader = open_index(schema_url, identity, read_only=True)
    assert reader.check() == index.check()
    with pytest.raises(IndexReadOnlyError):
        reader.check(repair=True)
    reader.close()
