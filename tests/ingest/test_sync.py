"""An index that follows a folder: moved, renamed, changed, gone; and folders that are not there."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings
from mmrag.cli import main
from mmrag.ingest.sync import SyncPlan, SyncReport, plan_sync
from mmrag.ingest.watch import wait_for_writers, watch

SETTINGS = ReaderSettings(ocr="off", office="off", workers=1)


class Counting:
    """An embedder that counts the pages that it is given."""

    def __init__(self, embedder) -> None:
        self._embedder, self.pages = embedder, 0

    def __getattr__(self, name: str):
        return getattr(self._embedder, name)

    def encode_document(self, documents, **options):
        self.pages += len(documents)
        return self._embedder.encode_document(documents, **options)


@pytest.fixture
def counter(embedder):
    return Counting(embedder)


@pytest.fixture
def qa(counter):
    with DocumentQA(
        MemoryIndex.for_embedder(counter), embedder=counter, reader=SETTINGS, reranker=None
    ) as qa:
        yield qa


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    for name, text in {
        "whales.txt": "blue whales",
        "tea.txt": "green tea",
        "sub/rain.md": "# Rain\n\nwet",
    }.items():
        (folder / name).write_text(text)
    return folder


def names(qa: DocumentQA, folder: Path) -> set[str]:
    return {os.path.relpath(name, folder) for entry in qa.status().documents for name in entry.names}


def short(plan: SyncPlan) -> dict[str, list]:
    root = plan.folder
    kinds = ("added", "replaced", "copies", "removed", "unchanged")
    lists = {kind: [os.path.relpath(name, root) for name in getattr(plan, kind)] for kind in kinds}
    lists["renamed"] = [tuple(os.path.relpath(name, root) for name in pair) for pair in plan.renamed]
    return {kind: value for kind, value in lists.items() if value}


def test_a_plan_counts_and_writes_nothing_and_the_sync_does_what_it_says(qa, counter, folder):
    assert short(qa.plan_sync(folder)) == {"added": ["sub/rain.md", "tea.txt", "whales.txt"]}
    assert (qa.index.count(), counter.pages) == (0, 0)
    report = qa.sync_folder(folder)
    assert (len(report.added), report.pages, counter.pages) == (3, 3, 3)
    (folder / "whales.txt").rename(folder / "sub" / "big animals.txt")
    (folder / "tea.txt").write_text("black tea")
    (folder / "copy.md").write_bytes((folder / "sub" / "rain.md").read_bytes())
    (folder / "new.csv").write_text("a;b\n1;2\n")
    plan = qa.plan_sync(folder)
    assert short(plan) == {
        "added": ["new.csv"],
        "replaced": ["tea.txt"],
        "copies": ["copy.md"],
        "renamed": [("whales.txt", "sub/big animals.txt")],
        "unchanged": ["sub/rain.md"],
    }
    assert "1 to add, 1 to replace" in str(plan) and "whales.txt -> " in str(plan)
    report = qa.sync_folder(folder)
    assert isinstance(report, SyncReport)
    assert [len(part) for part in (report.added, report.replaced, report.renamed, report.moves)] == [
        1,
        1,
        1,
        1,
    ]
    assert (len(report.unchanged), report.removed, report.pages) == (1, [], 2)
    assert counter.pages == 5  # the new and the changed file alone
    assert names(qa, folder) == {"sub/big animals.txt", "tea.txt", "sub/rain.md", "copy.md", "new.csv"}
    assert qa.plan_sync(folder).is_empty and qa.sync_folder(folder).pages == 0
    assert counter.pages == 5


def test_a_file_that_moved_is_found_and_cited_under_its_new_name(qa, folder):
    qa.sync_folder(folder)
    (folder / "whales.txt").rename(folder / "sub" / "marine giants.txt")
    qa.sync_folder(folder)
    record = next(record for record in qa.index.get(qa.index.ids()) if "blue" in record.text)
    assert record.page.source.name == "marine giants.txt"
    assert record.metadata["file_path"] == str(folder / "sub" / "marine giants.txt")
    assert "marine giants" in record.context and "whales" not in record.context
    assert qa.search("marine giants", k=1)[0].id == record.id
    assert qa.render(record.page).width > 10


def test_two_files_may_take_each_others_name(qa, counter, folder):
    qa.sync_folder(folder)
    (folder / "whales.txt").rename(folder / "x")
    (folder / "tea.txt").rename(folder / "whales.txt")
    (folder / "x").rename(folder / "tea.txt")
    report = qa.sync_folder(folder)
    assert (len(report.moves), counter.pages, qa.index.count()) == (2, 3, 3)
    texts = {record.page.source.name: record.text for record in qa.index.get(qa.index.ids())}
    assert (texts["tea.txt"], texts["whales.txt"]) == ("blue whales", "green tea")


def test_only_what_came_from_the_folder_is_touched(qa, folder, tmp_path):
    other = tmp_path / "docs-2"
    shutil.copytree(folder, other)
    qa.add(other)
    qa.add_texts(["a text of mine"], ids=["mine"])
    qa.add(("bytes.txt", b"bytes that have no file"))
    qa.sync_folder(folder)
    (folder / "tea.txt").unlink()
    report = qa.sync_folder(folder)
    assert (len(report.removed), report.pages_removed) == (1, 0)  # docs-2 has the same content
    (other / "tea.txt").unlink()
    assert (qa.sync_folder(other).pages_removed, qa.index.count()) == (1, 4)


def test_a_folder_that_is_not_there_or_mostly_gone_is_refused(qa, folder):
    qa.sync_folder(folder)
    moved = folder.rename(folder.with_name("away"))
    for make in (None, folder.mkdir):  # not there; there and empty, as a mount point is
        if make:
            make()
        with pytest.raises(ValueError, match=r"at least half of its files, got .* 3 of 3 to remove"):
            qa.sync_folder(folder)
    assert qa.index.count() == 3
    folder.rmdir()
    moved.rename(folder)
    (folder / "tea.txt").unlink()
    assert len(qa.sync_folder(folder).removed) == 1  # one of three is no accident
    (folder / "whales.txt").unlink()
    (folder / "sub" / "rain.md").unlink()
    with pytest.raises(ValueError, match="--allow-removal"):
        qa.sync_folder(folder)
    report = qa.sync_folder(folder, allow_removal=True)
    assert (len(report.removed), report.pages_removed, qa.index.count()) == (2, 2, 0)
    with pytest.raises(NotADirectoryError):
        qa.plan_sync(__file__)


def test_a_file_that_cannot_be_read_now_keeps_its_pages_and_is_named(qa, folder):
    qa.sync_folder(folder)
    (folder / "tea.txt").write_bytes(b"")  # half written
    (folder / "whales.txt").write_bytes(bytes([7, 200, 0, 3] * 30))
    plan = qa.plan_sync(folder)
    assert not plan.removed and len(plan.skipped) == 2
    assert len(qa.sync_folder(folder).skipped) == 2
    assert qa.index.count() == 3


def test_the_index_in_the_folder_is_no_file_of_it(embedder, folder):
    with DocumentQA.open(folder / "index", embedder=embedder, reader=SETTINGS, reranker=None) as qa:
        assert len(qa.sync_folder(folder).added) == 3
        assert qa.plan_sync(folder).is_empty and qa.sync_folder(folder).skipped == []


def test_any_changes_of_a_folder_leave_the_index_that_a_new_one_would_be(embedder, tmp_path):
    rng = random.Random(11)
    folder = tmp_path / "docs"
    folder.mkdir()
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reader=SETTINGS) as qa:
        for _ in range(8):
            for _ in range(rng.randint(1, 4)):
                files = sorted(folder.glob("*.txt"))
                what = rng.choice(["new", "change", "move", "copy", "remove"])
                path = folder / f"{rng.randrange(1000)}.txt"
                if what == "new" or not files:
                    path.write_text(f"text {rng.randrange(6)}")
                elif what == "change":
                    rng.choice(files).write_text(f"text {rng.randrange(6)}")
                elif what == "move":
                    rng.choice(files).rename(path)
                elif what == "copy":
                    shutil.copy(rng.choice(files), path)
                else:
                    rng.choice(files).unlink()
            plan = qa.plan_sync(folder)
            report = qa.sync_folder(folder, allow_removal=True)
            assert (len(report.moves), len(report.removed)) == (len(plan.renamed), len(plan.removed))
            assert len(report.unchanged) == len(plan.unchanged)
            new = DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reader=qa.reader.settings)
            new.add(folder)
            held, wanted = (
                {(entry.id, frozenset(entry.names)) for entry in one.status().documents} for one in (qa, new)
            )
            new.close()
            assert held == wanted
            for record in qa.index.get(qa.index.ids()):
                assert Path(record.page.source.path).read_text() == record.text


def test_the_entries_of_other_folders_are_not_compared(folder):
    plan = plan_sync([], folder, None)
    assert len(plan.documents) == 3 and not plan.is_empty


# ---- the command ----


def test_the_command_plans_then_syncs_then_refuses(capsys, embedder, folder, tmp_path):
    index = str(tmp_path / "index")
    assert main(["index", str(folder), "--sync", "--dry-run", "--index", index]) == 0
    assert "3 to add" in capsys.readouterr().out and not Path(index).exists()
    assert main(["index", str(folder), "--sync", "--index", index, "--ocr", "off"]) == 0
    assert "3 added" in capsys.readouterr().out
    (folder / "tea.txt").rename(folder / "green.txt")
    assert main(["index", str(folder), "--sync", "--dry-run", "--json", "--index", index]) == 0
    assert '"renamed": [' in capsys.readouterr().out
    shutil.rmtree(folder)
    assert main(["index", str(folder), "--sync", "--index", index]) == 1
    assert "--allow-removal" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--dry-run"], ["--allow-removal"], ["--watch", "--dry-run"], ["--sync", __file__]]
)
def test_options_that_do_not_fit_are_wrong_usage(capsys, tmp_path, options):
    assert main(["index", str(tmp_path), *options, "--index", str(tmp_path / "index")]) == 2
    assert "--sync" in capsys.readouterr().err or "--watch" in str(options)


# ---- watching ----


class Writing(threading.Event):
    """A stop that never comes: while it is waited for, somebody writes to a file, for the first few times."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__()
        self.path, self.times, self.waits = path, times, []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if len(self.waits) <= self.times:
            with self.path.open("a") as file:
                file.write("more")
        return False


def test_a_file_is_waited_for_until_it_stands_still(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x")
    stop = Writing(path, times=5)
    assert wait_for_writers([str(path), str(tmp_path / "gone")], 0.2, stop)
    assert stop.waits == [0.2] * 6
    assert not wait_for_writers([str(path)], 0.2, stop, most_seconds=0.0)


def test_a_file_that_is_written_to_without_end_is_waited_for_no_longer_than_that(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x")
    assert not wait_for_writers([str(path)], 0.0, Writing(path, times=10**9), most_seconds=0.05)


def test_a_watch_syncs_after_changes_and_survives_errors(tmp_path):
    pytest.importorskip("watchfiles")
    stop = threading.Event()
    calls: list[int] = []
    seen: list[object] = []

    def sync(progress):
        calls.append(len(calls))
        if len(calls) == 2:
            raise ValueError("the folder is not mounted")
        return SyncReport()

    folder = tmp_path / "docs"
    folder.mkdir()
    for outcome in watch(folder, sync, stop=stop, index_folder=folder / "index", settle_seconds=0.05):
        seen.append(outcome)
        if len(seen) == 1:
            (folder / "index").mkdir()
            (folder / "index" / "own.txt").write_text("not looked at")
            (folder / ".hidden").write_text("not looked at")
            (folder / "a.txt").write_text("one")
        elif len(seen) == 2:
            (folder / "b.txt").write_text("two")
        else:
            stop.set()
    assert [type(outcome) for outcome in seen] == [SyncReport, ValueError, SyncReport]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_watches_until_it_is_told_to_end(folder, tmp_path, number):
    pytest.importorskip("watchfiles")
    index = tmp_path / "index"
    command = [sys.executable, "-m", "mmrag.cli", "index", str(folder), "--watch", "--index", str(index)]
    with subprocess.Popen(
        [*command, "--ocr", "off", "--office", "off"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline()
        assert "3 added" in line
        (folder / "late.txt").write_text("a late text")
        while "1 added" not in line and line:
            line = process.stdout.readline()
        assert "1 added" in line
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    with DocumentQA.open(index, read_only=True) as qa:
        assert qa.index.count() == 4 and not qa.status().incomplete
