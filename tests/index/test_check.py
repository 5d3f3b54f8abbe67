"""A check names whatever is wrong in an index, and a repair leaves what is whole and says what is not."""

from __future__ import annotations

import random
import shutil
import sqlite3
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from mmrag.blocks import Block
from mmrag.errors import IndexFormatError, IndexReadOnlyError
from mmrag.index.base import DocumentEntry
from mmrag.index.check_report import CheckReport, Fault
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import STORE_NAME
from mmrag.index.files_check import check_folder
from mmrag.types import Record, Source

from .conftest import make_page, make_records

OLD = Path(__file__).parent / "data" / "before-layout"
BYTES = b"%PDF of nine pages"
SOURCE = Source(sha256(BYTES).hexdigest(), "pdf", "report.pdf")
FLIPS = 40
DELETE = "lexical(lexical, rowid, terms) VALUES"


def fill(path, identity):
    """An index of 20 texts and a document of nine pages with blocks, of which it keeps the bytes."""
    pages = [
        make_page(n, sha256=SOURCE.sha256, path=None, text=f"net sales {n} rose in Norway") for n in range(9)
    ]
    rng = np.random.default_rng(1)
    with_pages = [
        Record(p.id, rng.standard_normal((3, 8)), p.text, {"doc_id": p.document_id, "kind": "report"}, p)
        for p in pages
    ]
    index = ChromaIndex.open(path, identity)
    index.add([*make_records(20), *with_pages])
    for page in pages:
        index.put_blocks(page.id, [Block("text", page.text, words=(0, 1, 2))])
    index.put_blob(SOURCE.sha256, BYTES)
    index.put_document(
        DocumentEntry(SOURCE.document_id, SOURCE.sha256, "pdf", ("report.pdf",), 9, "settings", complete=True)
    )
    index.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    from .conftest import Identity

    path = tmp_path_factory.mktemp("check") / "index"
    fill(path, Identity())
    return path


@pytest.fixture
def path(sound, tmp_path):
    """A copy of a sound index, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "index"))


def execute(path, *statements):
    connection = sqlite3.connect(path / STORE_NAME)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def answers(path):
    """All that an index gives of what it holds, read as a searching process does."""
    index = ChromaIndex.open(path, None, read_only=True)
    try:
        ids = index.ids()
        records = index.get(ids, matrices=True)
        query = np.linspace(-1, 1, 16).reshape(2, 8)
        return [
            ids,
            [(r.id, r.text, dict(r.metadata), r.page, r.matrix.tobytes()) for r in records],
            index.search_vectors(query, k=50),
            index.search_vectors(query[:1], k=50, filter={"kind": "report"}),
            [index.search_text(text, k=50) for text in ("page report", "sales Norway", "7")],
            [index.values(key) for key in ("n", "kind", "doc_id")],
            [index.count({"n": n}) for n in range(5)],
            index.documents(),
            index.get_blob(SOURCE.sha256),
        ]
    finally:
        index.close()


def parts(report):
    return {fault.part for fault in report.faults}


def test_a_sound_index_has_no_faults(path, identity):
    report = check_folder(path)
    assert report == CheckReport(path, 29)
    assert report.is_sound and str(report) == "29 records, no faults"
    index = ChromaIndex.open(path, identity)
    assert index.check() == report
    assert index.check(repair=True) == report
    index.close()


@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_flipped_bit_never_changes_an_answer_without_a_fault(path, seed):
    rng = random.Random(seed)
    expected = answers(path)
    store = path / STORE_NAME
    data = bytearray(store.read_bytes())
    data[rng.randrange(100, len(data))] ^= 1 << rng.randrange(8)
    store.write_bytes(data)
    try:
        result = answers(path)
    except IndexFormatError:
        result = None  # told at once
    try:
        report = check_folder(path)
    except IndexFormatError:
        return
    assert result == expected or not report.is_sound


# ---- each kind of fault, and its repair ------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "key", "statement"),
    [
        ("first", "r3", "DELETE FROM first WHERE seq = 4"),
        ("first", "r3", "UPDATE first SET vector = (SELECT vector FROM first WHERE seq = 5) WHERE seq = 4"),
        ("metadata", "r3", "UPDATE metadata SET value = 4 WHERE seq = 4"),
        ("metadata", "r3", "DELETE FROM metadata WHERE seq = 4"),
        ("text", "r3", f"INSERT INTO {DELETE} ('delete', 4, 'page 3 of the report')"),
        ("text", "lexical", f"INSERT INTO {DELETE} ('delete', 4, 'report')"),
        ("text", "lexical", "INSERT INTO lexical(rowid, terms) VALUES (4, 'page')"),
        ("text", "r3", "DELETE FROM lexical_docsize WHERE id = 4"),
        ("text", "lexical", "DELETE FROM lexical_data WHERE id > 10"),
        ("checksum", "r3", "DELETE FROM checksums WHERE part = 'record' AND key = 4"),
        ("orphan", "number 99 in vectors", "INSERT INTO vectors VALUES (99, x'0000')"),
        ("orphan", "number 99 in blocks", "INSERT INTO blocks VALUES (99, x'0000')"),
        ("orphan", "number 99 in metadata", "INSERT INTO metadata VALUES (99, 'kind', 2, 'report')"),
        ("orphan", "ef" * 32, f"INSERT INTO blobs VALUES ('{'ef' * 32}', x'00')"),
        ("column", "r3", "UPDATE records SET id = CAST(id AS BLOB) WHERE seq = 4"),
        ("state", "generation", "UPDATE state SET value = 'many' WHERE key = 'generation'"),
    ],
)
def test_what_can_be_made_again_is(path, part, key, statement):
    expected = answers(path)
    execute(path, statement)
    report = check_folder(path)
    assert (part, key) in {(fault.part, fault.key) for fault in report.faults}
    assert not report.is_repaired and {fault.repair for fault in report.faults} == {None}

    repaired = check_folder(path, repair=True)
    assert repaired.is_repaired and [f.problem for f in repaired.faults] == [f.problem for f in report.faults]
    assert all(fault.repair for fault in repaired.faults) and repaired.lost_ids == ()
    ChromaIndex.open(path, None).close()
    assert check_folder(path).is_sound
    assert answers(path) == expected


def test_a_damaged_tree_of_names_is_made_again(path):
    expected = answers(path)
    connection = sqlite3.connect(path / STORE_NAME)
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records_by_document'")
    connection.close()
    data = bytearray((path / STORE_NAME).read_bytes())
    data[4096 * (page - 1) : 4096 * page] = b"\xff" * 4096
    (path / STORE_NAME).write_bytes(data)
    assert "file" in parts(check_folder(path))
    check_folder(path, repair=True)
    ChromaIndex.open(path, None).close()
    assert check_folder(path).is_sound and answers(path) == expected


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("record", "UPDATE records SET text = 'hello' WHERE id LIKE '%#p4'"),
        ("record", "UPDATE records SET words = x'789c00' WHERE id LIKE '%#p4'"),
        ("matrix", "UPDATE vectors SET matrix = zeroblob(48) WHERE seq = 25"),
        ("matrix", "DELETE FROM vectors WHERE seq = 25"),
        ("document", "DELETE FROM records WHERE seq = 25"),
        ("blob", "UPDATE blobs SET data = x'00'"),
    ],
)
def test_a_document_with_a_loss_is_left_incomplete_and_the_damaged_file_kept(path, part, statement):
    execute(path, statement)
    damaged_bytes = (path / STORE_NAME).read_bytes()
    report = check_folder(path, repair=True)
    assert part in parts(report)
    assert any(STORE_NAME + ".damaged" in note for note in report.notes)
    assert (path / (STORE_NAME + ".damaged")).read_bytes() == damaged_bytes
    index = ChromaIndex.open(path, None)
    assert index.check().is_sound
    (entry,) = index.documents()
    assert not entry.complete and entry.names == ("report.pdf",)
    pages = index.ids({"kind": "report"})
    assert len(pages) == (9 if part == "blob" else 8)
    assert index.count() == report.records == 20 + len(pages)
    index.close()


def test_a_lost_entry_is_made_of_a_page_so_that_the_file_is_read_again(path):
    execute(path, "UPDATE documents SET entry = '{}'")
    report = check_folder(path, repair=True)
    assert parts(report) == {"document"}
    index = ChromaIndex.open(path, None)
    (entry,) = index.documents()
    assert (entry.id, entry.complete, entry.settings) == (SOURCE.document_id, False, "")
    assert (entry.names, entry.total_pages) == (("report.pdf",), 9)
    assert index.get_blob(SOURCE.sha256) == BYTES
    index.close()


def test_damaged_blocks_cost_the_blocks_alone(path):
    execute(path, "UPDATE blocks SET data = x'789c00' WHERE seq = 25")
    report = check_folder(path, repair=True)
    assert parts(report) == {"blocks"} and report.lost_ids == ()
    index = ChromaIndex.open(path, None, read_only=True)
    assert [record.page.blocks is None for record in index.get(index.ids({"kind": "report"}))] == [
        n == 4 for n in range(9)
    ]
    index.close()


def test_vectors_of_chroma_are_compared_with_the_records(path, identity):
    index = ChromaIndex.open(path, identity)
    index._vectors.delete(["r1"])
    index._vectors.upsert(["r2", "other"], np.ones((2, 8), np.float32))
    problems = [fault.problem for fault in index.check().faults]
    assert problems == [
        "1 vectors are not there, such as 'r1'",
        "1 vectors are of no record, such as 'other'",
        "1 vectors are not row 0 of their record, such as 'r2'",
    ]
    report = index.check(repair=True)
    assert parts(report) == {"chroma"} and index.check().is_sound
    assert not (path / (STORE_NAME + ".damaged")).exists()
    index.close()
    shutil.rmtree(next(path.glob("chroma-*")))
    assert [fault.problem for fault in check_folder(path).faults] == ["missing"]


def test_an_open_index_goes_on_after_its_repair(path, identity):
    index = ChromaIndex.open(path, identity)
    reader = ChromaIndex.open(path, identity, read_only=True)
    assert reader.count() == 29
    execute(path, "UPDATE records SET text = 'hello' WHERE id = 'r3'")
    with pytest.raises(IndexReadOnlyError):
        reader.check(repair=True)
    report = index.check(repair=True)
    assert report.lost_ids == ("r3",) and parts(report) >= {"record"}
    index.add(make_records(1, prefix="late"))
    assert index.count() == reader.count() == 29  # the reader follows into the new file
    assert [hit.id for hit in reader.search_vectors(np.ones((1, 8)), k=30)] == [
        hit.id for hit in index.search_vectors(np.ones((1, 8)), k=30)
    ]
    index.close()
    reader.close()


def test_an_index_without_checksums_is_checked_all_the_same(tmp_path):
    path = Path(shutil.copytree(OLD, tmp_path / "old"))
    report = check_folder(path)
    assert report.records == 5 and parts(report) == {"chroma"}  # which was left out of the folder
    assert any("no checksums yet" in note for note in report.notes)
    execute(path, "UPDATE records SET page = '{' WHERE seq = 1", "DELETE FROM first WHERE seq = 2")
    assert parts(check_folder(path)) >= {"record", "first"}
    assert check_folder(path, repair=True).records == 4
    ChromaIndex.open(path, None).close()
    assert check_folder(path) == CheckReport(path, 4)


def test_a_damaged_manifest_is_not_guessed_at(path):
    execute(path, "UPDATE state SET value = replace(value, 'tiny', 'tinx') WHERE key = 'manifest'")
    assert parts(check_folder(path)) == {"state"}
    before = (path / STORE_NAME).read_bytes()
    with pytest.raises(IndexFormatError, match=r"must have a manifest to be repaired.*Restore the index"):
        check_folder(path, repair=True)
    assert (path / STORE_NAME).read_bytes() == before


def test_a_report_reads_as_lines_and_shows_what_a_terminal_would_act_on():
    faults = (Fault("record", "a\x1b[2J", "other bytes", "left out"), Fault("matrix", "b", "not there"))
    report = CheckReport(None, 3, faults, ("A note.",), is_repaired=True)
    assert report.lost_ids == ("a\x1b[2J", "b") and not report.is_sound
    assert str(report).splitlines() == [
        "3 whole records, 2 faults, repaired",
        "  record a\\x1b[2J: other bytes; left out",
        "  matrix b: not there",
        "A note.",
    ]


def test_there_must_be_an_index_to_check(tmp_path):
    with pytest.raises(IndexFormatError, match="must be an index to check, got no index"):
        check_folder(tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_a_repair_keeps_what_is_whole_whatever_is_damaged(path, seed):
    rng = random.Random(seed)
    shutil.rmtree(next(path.glob("chroma-*")))
    expected = {record[0]: record for record in answers(path)[1]}
    data = bytearray((path / STORE_NAME).read_bytes())
    for _ in range(rng.randrange(1, 4)):
        start = rng.randrange(4096, len(data) - 100)
        data[start : start + 100] = rng.randbytes(100)
    (path / STORE_NAME).write_bytes(data)
    try:
        report = check_folder(path, repair=True)
    except IndexFormatError:
        return  # what says which tables there are, or whose vectors, is gone
    assert all(fault.repair for fault in report.faults)
    ids, records, *_, documents, _ = answers(path)
    assert [id for id in expected if id in ids] == ids and len(ids) == report.records
    for record in records:
        assert record[:3] == expected[record[0]][:3] and record[4] == expected[record[0]][4]
    if sum("#p" in id for id in ids) < 9:
        assert not any(entry.complete for entry in documents)
