"""What is ChromaIndex's own: files, locks, embedders, and Chroma made again from SQLite."""

import json
import logging
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys

import numpy as np
import pytest

from mmrag.errors import IndexDamagedError, IndexFormatError, IndexLockedError, IndexMismatchError
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import STORE_NAME
from mmrag.index.lock import WriterLock
from mmrag.types import Budget, Hit, Record

from .conftest import make_records

MANY = 356


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index"


@pytest.fixture
def filled(path, identity):
    """A closed index of `MANY` records."""
    index = ChromaIndex.open(path, identity)
    index.add(make_records(MANY))
    index.close()
    return path


def chroma_directory(path):
    (directory,) = path.glob("chroma-*")
    return directory


def assert_chroma_serves(index):
    """Chroma itself, not the exact search behind it, holds and finds every record."""
    assert index._vectors is not None and index._vectors.count() == index.count()
    assert index._store.pending_ids() == []
    for record in index.get(index.ids()[:: max(1, index.count() // 20)], matrices=True):
        found = index._vectors.search(record.matrix[0].astype(np.float32), 5)
        assert record.id in [id for id, _ in found]


def snapshot(directory):
    """Names, sizes and bytes of a directory."""
    return {p.relative_to(directory): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


# -- opening -------------------------------------------------------------------------------------


def test_reopened_index_gives_the_same_ranking(filled, identity):
    query = make_records(1, seed=7, rows=2)[0].matrix
    rankings = []
    for _ in range(2):
        with_chroma = ChromaIndex.open(filled, identity)
        assert_chroma_serves(with_chroma)
        rankings += [with_chroma.search_vectors(query, k=9), with_chroma.search_text("report 7", k=9)]
        with_chroma.close()
    assert rankings[:2] == rankings[2:]


def test_no_search_asks_chroma(filled, identity, monkeypatch):
    """The rows that SQLite has are searched themselves, whatever the budget."""
    index = ChromaIndex.open(filled, identity)
    monkeypatch.setattr(type(index._vectors), "search", None)
    query = make_records(1, seed=7, rows=2)[0].matrix
    for budget in (None, Budget(1, 1), Budget(2, 1)):
        hits = index.search_vectors(query, k=5, budget=budget)
        assert hits == index.search_vectors(query, k=5, budget=budget, exact=True)
    monkeypatch.undo()
    index.close()


def test_other_embedder_is_refused_with_both_named(filled, make_identity):
    other = make_identity(name="huge", fingerprint="ff" * 32, dim=9)
    before = sqlite_dump(filled)
    for read_only in (False, True):
        with pytest.raises(IndexMismatchError, match=r"8-dim vectors from 'tiny'.*9-dim from 'huge'"):
            ChromaIndex.open(filled, other, read_only=read_only)
    same_name = make_identity(fingerprint="ee" * 32)
    with pytest.raises(IndexMismatchError, match=r"fingerprint 0123456789ab.*fingerprint eeeeeeeeeeee"):
        ChromaIndex.open(filled, same_name)
    assert sqlite_dump(filled) == before
    ChromaIndex.open(filled, make_identity(name="renamed")).close()  # the fingerprint decides


def sqlite_dump(path):
    connection = sqlite3.connect(path / STORE_NAME)
    rows = connection.execute("SELECT * FROM state ORDER BY key").fetchall()
    connection.close()
    return rows


def test_opens_without_an_embedder_what_is_there(filled, path):
    index = ChromaIndex.open(filled, None)
    assert index.manifest.embedder == "tiny" and index.count() == MANY
    index.close()


def test_nothing_to_open_is_an_error_and_makes_nothing(path, identity):
    with pytest.raises(IndexFormatError, match="must be an index to read, got no index"):
        ChromaIndex.open(path, identity, read_only=True)
    with pytest.raises(IndexFormatError, match="must be an index, got no index"):
        ChromaIndex.open(path, None)
    assert not path.exists()


def test_directory_of_something_else_is_left_alone(path, identity):
    path.mkdir()
    (path / "thesis.docx").write_bytes(b"years of work")
    before = snapshot(path)
    for read_only in (False, True):
        with pytest.raises(IndexFormatError, match=r"got a directory with 'thesis\.docx'"):
            ChromaIndex.open(path, identity, read_only=read_only)
    assert snapshot(path) == before


def test_file_is_no_index(path, identity):
    path.write_bytes(b"a file")
    with pytest.raises(IndexFormatError, match="an index is a directory, got the file"):
        ChromaIndex.open(path, identity)
    assert path.read_bytes() == b"a file"


@pytest.mark.parametrize("content", [b"", b"not a database " * 100], ids=["empty", "text"])
def test_store_of_something_else_is_left_alone(path, identity, content):
    path.mkdir()
    (path / STORE_NAME).write_bytes(content)
    with pytest.raises(IndexFormatError, match="must be an index of this package"):
        ChromaIndex.open(path, identity)
    assert snapshot(path) == {(path / STORE_NAME).relative_to(path): content}


def test_other_programs_sqlite_file_is_left_alone(path, identity):
    path.mkdir()
    connection = sqlite3.connect(path / STORE_NAME)
    connection.execute("CREATE TABLE theirs(x)")
    connection.commit()
    connection.close()
    before = snapshot(path)
    with pytest.raises(IndexFormatError, match="a file that this package did not write"):
        ChromaIndex.open(path, identity)
    assert snapshot(path) == before


def test_truncated_store_is_refused(filled, identity):
    store = filled / STORE_NAME
    data = store.read_bytes()
    store.write_bytes(data[: len(data) // 2])
    for read_only in (False, True):
        with pytest.raises(IndexFormatError, match="that SQLite cannot read"):
            ChromaIndex.open(filled, identity, read_only=read_only)
    assert store.read_bytes() == data[: len(data) // 2]
    store.write_bytes(data)
    ChromaIndex.open(filled, identity).close()


def test_damage_inside_the_store_is_told_as_damage(filled, identity):
    store = filled / STORE_NAME
    data = bytearray(store.read_bytes())
    data[4096 * 20 :] = b"\xff" * (len(data) - 4096 * 20)
    store.write_bytes(data)
    with pytest.raises(IndexDamagedError, match=r"got one that is damaged .*mmrag check --repair"):
        ChromaIndex.open(filled, identity, read_only=True)


def test_full_disk_loses_the_call_and_nothing_else(filled, identity):
    index = ChromaIndex.open(filled, identity)
    writer = index._store.database._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
        index.add(make_records(500, prefix="new"))
    assert index.count() == MANY and index._store.pending_ids() == []
    writer.execute("PRAGMA max_page_count = 1000000")
    index.add(make_records(500, prefix="new"))
    assert_chroma_serves(index)
    index.close()


def test_lost_store_beside_its_chroma_is_refused(filled, identity):
    (filled / STORE_NAME).unlink()
    with pytest.raises(IndexFormatError, match="got a directory with 'chroma-"):
        ChromaIndex.open(filled, identity)


def test_newer_format_is_refused(filled, identity):
    connection = sqlite3.connect(filled / STORE_NAME)
    (manifest,) = connection.execute("SELECT value FROM state WHERE key = 'manifest'").fetchone()
    values = {**json.loads(manifest), "format_version": 3, "new": 1}
    connection.execute("UPDATE state SET value = ? WHERE key = 'manifest'", (json.dumps(values),))
    connection.commit()
    connection.close()
    with pytest.raises(IndexFormatError, match=r"must be of index format 2, got 3. Upgrade the package"):
        ChromaIndex.open(filled, identity)


def test_interrupted_making_is_made_again(path, identity):
    """What a process leaves that is killed before the first commit."""
    path.mkdir()
    for name in (
        STORE_NAME + ".new",
        STORE_NAME + ".new-journal",
        "writer.lock",
        "writer.json",
        "writer.json.7",
    ):
        (path / name).write_bytes(b"half")
    index = ChromaIndex.open(path, identity)
    index.add(make_records(2))
    assert index.count() == 2
    index.close()


def test_text_indexed_by_another_normaliser_is_indexed_again(filled, identity, caplog):
    connection = sqlite3.connect(filled / STORE_NAME)
    connection.execute("UPDATE state SET value = '0' WHERE key = 'lexical'")
    connection.execute("INSERT INTO lexical(lexical) VALUES ('delete-all')")
    connection.commit()
    connection.close()
    index = ChromaIndex.open(filled, identity)
    assert len(index.search_text("report", k=9999)) == MANY
    index.close()


# -- Chroma is made again ---------------------------------------------------------------------------


def break_by_removing(directory):
    shutil.rmtree(directory)


def break_its_database(directory):
    (directory / "chroma.sqlite3").write_bytes(b"nothing of the kind")


def break_by_truncating(directory):
    file = directory / "chroma.sqlite3"
    file.write_bytes(file.read_bytes()[:5000])


def break_by_emptying(directory):
    shutil.rmtree(directory)
    directory.mkdir()


def break_by_another_owner(directory):
    connection = sqlite3.connect(directory / "chroma.sqlite3")
    connection.execute("UPDATE collection_metadata SET str_value = 'someone' WHERE key = 'mmrag_index'")
    connection.commit()
    connection.close()


BREAKS = [
    break_by_removing,
    break_its_database,
    break_by_truncating,
    break_by_emptying,
    break_by_another_owner,
]


@pytest.mark.parametrize("break_it", BREAKS)
def test_broken_chroma_is_made_again_with_a_warning(filled, identity, break_it, caplog):
    break_it(chroma_directory(filled))
    with caplog.at_level(logging.WARNING):
        index = ChromaIndex.open(filled, identity)
    assert "Chroma is made again from SQLite, because" in caplog.text
    assert_chroma_serves(index)
    index.add(make_records(3, prefix="new"))
    assert_chroma_serves(index)
    index.close()
    assert chroma_directory(filled).is_dir(), "one directory is left"


def test_chroma_of_another_count_is_made_again(filled, identity, caplog):
    index = ChromaIndex.open(filled, identity)
    index._vectors.delete(["r5"])
    index.close()
    with caplog.at_level(logging.WARNING):
        index = ChromaIndex.open(filled, identity)
    assert f"it holds {MANY - 1} vectors of {MANY} records" in caplog.text
    assert_chroma_serves(index)
    index.close()


def test_chroma_copied_from_another_index_is_made_again(filled, identity, tmp_path, caplog):
    other = ChromaIndex.open(tmp_path / "other", identity)
    other.add(make_records(MANY, seed=5))
    other.close()
    mine = chroma_directory(filled)
    shutil.rmtree(mine)
    shutil.copytree(chroma_directory(tmp_path / "other"), mine)
    with caplog.at_level(logging.WARNING):
        index = ChromaIndex.open(filled, identity)
    assert "its collection belongs to index" in caplog.text
    assert_chroma_serves(index)
    index.close()


def test_pending_work_is_completed_on_open(filled, identity, caplog):
    """Replacing, adding and deleting that stopped between SQLite and Chroma; the count stays the same."""
    directory = chroma_directory(filled)
    index = ChromaIndex.open(filled, identity)
    # as if the process had died right after SQLite
    vectors, index._files.vectors = (
        index._files.vectors,
        None,
    )
    index.add([Record("r0", np.eye(8)[:1], "replaced"), Record("late", np.eye(8)[1:2], "late")])
    index.delete(["r1"])
    assert set(index._store.pending_ids()) == {"r0", "late", "r1"}
    assert vectors.count() == MANY
    vectors.close()
    index.close()
    index = ChromaIndex.open(filled, identity)
    assert chroma_directory(filled) == directory and not caplog.records, "completed, not made again"
    assert_chroma_serves(index)
    assert index._vectors.search(np.eye(8, dtype=np.float32)[0], 1)[0] == ("r0", pytest.approx(1.0))
    index.close()


def test_failing_chroma_costs_no_answer(filled, identity, caplog):
    index = ChromaIndex.open(filled, identity)
    query = make_records(1, seed=7, rows=2)[0].matrix
    expected = index.search_vectors(query, k=5, budget=Budget(1, 1), exact=True)
    index._vectors._client.delete_collection("records")
    with caplog.at_level(logging.WARNING):
        assert index.search_vectors(query, k=5, budget=Budget(1, 1)) == expected
        index.add([Record("new", np.eye(8)[:1], "new")])
    assert "Chroma failed" in caplog.text
    assert index.search_vectors(np.eye(8)[:1], k=1, budget=Budget(1, 1)) == [Hit("new", 1.0)]
    index.close()
    index = ChromaIndex.open(filled, identity)
    assert_chroma_serves(index)
    index.close()


def test_chroma_sends_nothing(path, identity):
    """No connection is tried while an index is made, filled, searched and closed."""
    code = f"""
import socket, sys
def refuse(*a, **k): raise SystemExit("a connection was tried: %r" % (a,))
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from types import SimpleNamespace
import numpy as np
from mmrag.index.chroma import ChromaIndex
from mmrag.types import Budget, Record
index = ChromaIndex.open({str(path)!r}, SimpleNamespace(name="e", fingerprint="f" * 64, dim=8))
index.add([Record(str(n), np.random.default_rng(n).standard_normal((1, 8)), "x") for n in range(300)])
assert len(index.search_vectors(np.ones((1, 8)), k=3, budget=Budget(1, 1))) == 3
settings = index._vectors._client.get_settings()
assert settings.anonymized_telemetry is False
assert "posthog" not in sys.modules
index.close()
"""
    environment = {**os.environ, "ANONYMIZED_TELEMETRY": "True"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


def test_first_stage_keeps_what_exact_search_finds(path, identity):
    """256 survivors of 3,000, for records whose rows lie around their row 0."""
    index = ChromaIndex.open(path, identity)
    index.add(make_records(3000, rows=4))
    kept = []
    for query in make_records(20, seed=8, rows=2):
        exact = index.search_vectors(query.matrix, k=10, exact=True)
        shortcut = index.search_vectors(query.matrix, k=10)
        assert {hit.id: hit.score for hit in shortcut}.items() >= {
            (hit.id, hit.score) for hit in exact if hit.id in {s.id for s in shortcut}
        }, "what survives is scored exactly"
        kept.append(len({hit.id for hit in exact} & {hit.id for hit in shortcut}) / 10)
    assert np.mean(kept) > 0.97
    index.close()


def test_leftovers_of_interrupted_fillings_go(filled, identity):
    (filled / "chroma-left").mkdir()
    ChromaIndex.open(filled, identity).close()
    assert chroma_directory(filled).name != "chroma-left"


# -- the lock ---------------------------------------------------------------------------------------


def test_stale_note_of_a_dead_process_blocks_nobody(filled, identity):
    (filled / "writer.json").write_text('{"pid": 999999, "host": "gone", "command": "x", "started": "then"}')
    (filled / "writer.lock").touch()
    index = ChromaIndex.open(filled, identity)
    note = json.loads((filled / "writer.json").read_text())
    assert note["pid"] == os.getpid() and note["host"] == socket.gethostname()
    index.close()
    assert not (filled / "writer.json").exists()


def test_the_note_holds_no_argument_and_is_for_its_user_alone(filled, identity, monkeypatch):
    """Any argument may be a password: of the program only the name is written, and shown to others."""
    monkeypatch.setattr(sys, "argv", ["/opt/bin/mmrag", "index", "a.pdf", "--password", "hunter2"])
    index = ChromaIndex.open(filled, identity)
    note = filled / "writer.json"
    assert json.loads(note.read_text())["program"] == "mmrag"
    assert "hunter2" not in note.read_text()
    assert os.name == "nt" or stat.S_IMODE(note.stat().st_mode) == 0o600
    old = {"pid": 1, "host": "h", "command": "mmrag index --password hunter2", "started": "then"}
    note.write_text(json.dumps(old))  # of a version that wrote whole commands
    with pytest.raises(IndexLockedError, match="process 1 on h") as caught:
        WriterLock(filled)
    assert "hunter2" not in str(caught.value)
    index.close()


def test_failed_opening_gives_the_lock_back(filled, identity, make_identity):
    with pytest.raises(IndexMismatchError):
        ChromaIndex.open(filled, make_identity(fingerprint="00" * 32))
    ChromaIndex.open(filled, identity).close()


# -- reading only -------------------------------------------------------------------------------------


def test_reading_needs_no_chroma(filled):
    """A reader starts without importing Chroma, and answers as the writer does."""
    code = f"""
import sys
from mmrag.index.chroma import ChromaIndex
index = ChromaIndex.open({str(filled)!r}, None, read_only=True)
import numpy as np
print(index.search_vectors(np.ones((1, 8)), k=3)[0].id, "chromadb" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    index = ChromaIndex.open(filled, None)
    assert done.stdout.split() == [index.search_vectors(np.ones((1, 8)), k=3)[0].id, "False"]
    index.close()


def test_reader_follows_the_writer(filled, identity):
    writer = ChromaIndex.open(filled, identity)
    reader = ChromaIndex.open(filled, identity, read_only=True)
    query = 3 * np.eye(8)[:1]
    first = reader.search_vectors(query, k=1, budget=Budget(1, 1))
    writer.add([Record("best", np.eye(8)[:1], "best")])
    assert reader.search_vectors(query, k=1, budget=Budget(1, 1)) == [Hit("best", 3.0)]
    writer.add([Record("best", -np.eye(8)[:1], "worst now")])
    assert reader.search_vectors(query, k=1, budget=Budget(1, 1)) == first
    writer.add([Record("best", np.eye(8)[:1], "best")])
    writer.delete(["best"])
    assert reader.search_vectors(query, k=1, budget=Budget(1, 1)) == first
    writer.close()
    assert reader.search_vectors(query, k=1, budget=Budget(1, 1)) == first
    reader.close()


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root writes everywhere")
def test_index_in_a_directory_that_cannot_be_written_is_read(filled):
    os.chmod(filled, 0o555)
    try:
        reader = ChromaIndex.open(filled, None, read_only=True)
        assert reader.count() == MANY
        reader.close()
    finally:
        os.chmod(filled, 0o755)


def test_read_block_sees_one_state(filled, identity):
    """A search is several statements; a commit between them must not show in the later ones."""
    index = ChromaIndex.open(filled, identity)
    with index._store.database.read() as connection:
        assert index._store.count(connection, None) == MANY
        index.delete(["r0"])
        assert index._store.count(connection, None) == MANY
        assert len(index._store.get(connection, ["r0"], matrices=True)) == 1
    assert index.count() == MANY - 1
    index.close()


def test_closed_index_says_so(filled, identity):
    index = ChromaIndex.open(filled, identity)
    index.close()
    with pytest.raises(ValueError, match="the index is closed"):
        index.count()
    with pytest.raises(ValueError, match="the index is closed"):
        index.add(make_records(1))
