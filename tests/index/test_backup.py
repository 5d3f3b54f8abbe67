"""A backup is the index at one moment, whole or not there: beside a writer, on a full disk, killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mmrag
from mmrag import DocumentQA, MemoryIndex
from mmrag.cli import main
from mmrag.errors import IndexDamagedError, IndexFormatError, IndexLockedError
from mmrag.index.backup import PART_ENDING, backup, restore
from mmrag.index.base import DocumentEntry
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import STORE_NAME
from mmrag.index.files_check import check_folder
from mmrag.index.lock import WriterLock

from .writing_process import BATCH, DIM, records, vector

SCRIPT = Path(__file__).with_name("writing_process.py")
MAKER = SimpleNamespace(name="tiny", fingerprint="0123456789abcdef" * 4, dim=DIM)


@pytest.fixture
def path(tmp_path):
    """An index of two batches, with bytes, an entry, a reply and a trace."""
    path = tmp_path / "index"
    index = ChromaIndex.open(path, MAKER)
    index.add(records(0) + records(1))
    index.put_blob("a" * 64, b"bytes whose document is about to come")
    index.put_document(DocumentEntry("d1", "d1" * 32, "pdf", ("a.pdf",), 1, "s"))
    index.close()
    for name in ("replies/ab/one.json", "traces/two.json", "pictures/three.png", "replies/four.json.1.part"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    (path / "replies" / "link").symlink_to("/etc/passwd")
    return path


def contents(path):
    index = ChromaIndex.open(path, MAKER, read_only=True)
    try:
        found = {record.id: record for record in index.get(index.ids(), matrices=True)}
        rows = {id: record.matrix.tobytes() for id, record in found.items()}
        texts = {id: (record.text, dict(record.metadata)) for id, record in found.items()}
        return rows, texts, index.documents(), index.get_blob("a" * 64)
    finally:
        index.close()


def test_a_backup_is_an_index_with_all_that_cannot_be_made_again(path, tmp_path) -> None:
    report = backup(path, tmp_path / "deep" / "copy")
    copy = report.target
    assert contents(copy) == contents(path)
    assert report.records == 2 * BATCH
    files = {str(each.relative_to(copy)) for each in copy.rglob("*") if each.is_file()}
    assert files == {STORE_NAME, "replies/ab/one.json", "traces/two.json"}
    assert report.files == 2
    assert [each.name for each in copy.parent.iterdir()] == ["copy"]
    assert check_folder(copy).faults == check_folder(path).faults


def test_a_restored_index_finds_and_writes_as_before(path, tmp_path) -> None:
    backup(path, tmp_path / "copy")
    before = contents(tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "again")
    assert contents(tmp_path / "again") == before == contents(tmp_path / "copy")
    report = check_folder(tmp_path / "again")
    assert {fault.part for fault in report.faults} == {"orphan"}  # as in the index
    assert not report.notes  # Chroma is there and compared
    old, new = (ChromaIndex.open(each, MAKER) for each in (path, tmp_path / "again"))
    question = vector(1, 7, 0).astype(np.float32)
    assert old.search_vectors(question, k=5) == new.search_vectors(question, k=5)
    assert old.search_text("number7", k=5) == new.search_text("number7", k=5)
    new.add(records(2))
    assert new.count() == 3 * BATCH
    old.close()
    new.close()


def test_beside_a_writer_each_backup_is_one_moment(path, tmp_path) -> None:
    """Batches are one transaction each: a copy has all of one or none."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), "until-killed", "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout.readline() == "opened\n"
        sizes = []
        for number in range(3):
            report = backup(path, tmp_path / f"copy{number}")
            texts = contents(report.target)[1]
            batches = [text.split()[1] for text, _ in texts.values()]
            assert set(map(batches.count, batches)) == {BATCH}
            sizes.append(len(texts))
            process.stdout.readline()  # it goes on writing
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    assert sizes == sorted(sizes)


def test_a_change_of_several_steps_is_waited_for(path, tmp_path, monkeypatch) -> None:
    """A document is complete, and its page is deleted: until its entry says so, the copy is not sound."""
    index = ChromaIndex.open(path, MAKER)
    entry = DocumentEntry("d2", "d2" * 32, "pdf", ("b.pdf",), 1, "s", complete=True)
    index.put_document(entry)

    def finish(seconds: float) -> None:
        index.remove_document("d2")

    monkeypatch.setattr("mmrag.index.backup.time.sleep", finish)
    with pytest.raises(IndexDamagedError, match="must be sound"):  # nobody writes: it is a fault
        backup(path, tmp_path / "copy")
    generation = iter([1, 2])
    monkeypatch.setattr("mmrag.index.backup._generation", lambda _: next(generation))
    backup(path, tmp_path / "copy")
    assert [each.id for each in contents(tmp_path / "copy")[2]] == ["d1"]
    index.close()


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(mmrag.__file__).parents[1])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, text=True, capture_output=True, env=environment, check=False)


KILLED = """
import os, signal, sys
import mmrag.index.backup as module
module.PAGES_A_STEP = 1
steps = 0
def die(*_):
    global steps
    steps += 1
    if steps == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
module._interruptible = die
module.backup(sys.argv[1], sys.argv[2])
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("step", [1, 20])
def test_a_killed_backup_is_not_there_and_the_next_one_is_whole(path, tmp_path, step) -> None:
    ended = run(KILLED, path, tmp_path / "copy", step)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "copy").exists()
    assert (tmp_path / f"copy{PART_ENDING}").is_dir()
    backup(path, tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(path)
    assert not (tmp_path / f"copy{PART_ENDING}").exists()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from mmrag.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("most_bytes", [0, 20_000])
def test_on_a_full_disk_nothing_is_left(path, tmp_path, most_bytes) -> None:
    pytest.importorskip("resource", reason="this system has no limit of file sizes")
    faults = check_folder(path).faults
    ended = run(LIMITED, most_bytes, "backup", path, tmp_path / "copy")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("mmrag backup: ")
    assert [each.name for each in tmp_path.iterdir()] == ["index"]
    assert check_folder(path).faults == faults


def test_ctrl_c_leaves_nothing(path, tmp_path, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmrag.index.backup._interruptible", interrupt)
    with pytest.raises(KeyboardInterrupt):
        backup(path, tmp_path / "copy")
    assert [each.name for each in tmp_path.iterdir()] == ["index"]


def test_of_two_runs_to_one_target_the_second_is_refused(path, tmp_path) -> None:
    part = tmp_path / f"copy{PART_ENDING}"
    part.mkdir()
    lock = WriterLock(part)
    with pytest.raises(IndexLockedError):
        backup(path, tmp_path / "copy")
    assert part.is_dir()
    lock.release()
    backup(path, tmp_path / "copy")


def test_a_damaged_index_is_not_backed_up_in_silence(path, tmp_path) -> None:
    with sqlite3.connect(path / STORE_NAME) as connection:
        connection.execute("UPDATE records SET text = 'other words' WHERE id = 'b1-7'")
    connection.close()
    with pytest.raises(IndexDamagedError, match=r"must be sound to be copied, got .*b1-7"):
        backup(path, tmp_path / "copy")
    assert [each.name for each in tmp_path.iterdir()] == ["index"]


def test_nothing_is_overwritten(path, tmp_path) -> None:
    full, file, foreign = tmp_path / "full", tmp_path / "file", tmp_path / f"new{PART_ENDING}"
    full.mkdir()
    (full / "mine").write_text("x")
    file.write_text("x")
    foreign.mkdir()
    (foreign / "mine").write_text("x")
    cases = [
        (full, "must be absent or empty"),
        (file, "must be a directory or absent"),
        (path / "inside", "must be outside of the index"),
        (path, "must be outside of the index"),
        (tmp_path / "new", "must be what an interrupted backup left"),
    ]
    for target, words in cases:
        with pytest.raises(ValueError, match=words):
            backup(path, target)
    assert (full / "mine").read_text() == file.read_text() == (foreign / "mine").read_text() == "x"
    (tmp_path / "empty").mkdir()
    backup(path, tmp_path / "empty")
    with pytest.raises(IndexFormatError, match="must be an index"):
        backup(full, tmp_path / "copy")


def test_the_commands(path, tmp_path, capsys) -> None:
    assert main(["backup", str(path), str(tmp_path / "copy")]) == 0
    assert f"{2 * BATCH} pages and records, 2 replies and traces" in capsys.readouterr().out
    assert main(["restore", str(tmp_path / "copy"), str(tmp_path / "again")]) == 0
    assert contents(tmp_path / "again") == contents(path)
    assert main(["restore", str(tmp_path / "copy"), str(tmp_path / "again")]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err
    assert main(["backup", "postgresql://me@host/db", str(tmp_path / "x")]) == 2
    assert "pg_dump" in capsys.readouterr().err


async def test_a_collection_backs_itself_up(embedder, tmp_path) -> None:
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reranker=None) as qa:
        qa.add_texts(["Green tea is steeped at 80 degrees."], ids=["tea"])
        assert qa.backup(tmp_path / "one").records == 1
        assert (await qa.abackup(tmp_path / "two")).records == 1
    with DocumentQA.open(tmp_path / "two", embedder=embedder, read_only=True, reranker=None) as qa:
        assert qa.search("How hot is tea?")[0].id == "tea"
    memory = DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder)
    with pytest.raises(ValueError, match="must be in a directory to be backed up"):
        memory.backup(tmp_path / "three")
