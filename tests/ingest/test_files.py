"""Laws of adding files: lost pages come back, contents are never mixed, digests are compared whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings
from mmrag.documents import DocumentReader, InputDocument, discover
from mmrag.documents.pool import Worker, WorkerDiedError
from mmrag.errors import DocumentError, SourceChangedError
from mmrag.index.base import DocumentEntry
from mmrag.ingest.files import BATCH_PAGES, _check_digest
from mmrag.types import Page, Source

SETTINGS = ReaderSettings(ocr="off", workers=1, page_seconds=120)


@pytest.fixture
def qa(embedder) -> Iterator[DocumentQA]:
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reader=SETTINGS) as qa:
        yield qa


def stored_pages(qa: DocumentQA) -> dict[int, str]:
    """Number and text of every page of the index, which holds one document."""
    records = qa.index.get(qa.index.ids())
    return {record.page.number: record.text for record in records if record.page is not None}


def lose_pages(monkeypatch, numbers: set[int], *, by_signal: bool = False) -> None:
    """Have the process that reads one of these pages end, by a real signal or as the time limit says it."""
    ask = Worker.ask

    def lost(worker: Worker, job, seconds):
        if job["op"] == "read" and job["number"] in numbers:
            if not by_signal:
                raise WorkerDiedError("took more than 10 s")
            os.kill(worker.pid, signal.SIGKILL)
        return ask(worker, job, seconds)

    monkeypatch.setattr(Worker, "ask", lost)


def test_a_page_whose_process_was_killed_is_read_with_the_next_add(qa, make_pdf, tmp_path, monkeypatch):
    path = make_pdf(tmp_path / "a.pdf", ["zero", "one", "two"])
    numbers = {1}
    lose_pages(monkeypatch, numbers, by_signal=True)
    report = qa.add(path)
    (skipped,) = report.skipped
    assert (skipped.page, skipped.reason) == (1, "reading it its reading process ended (SIGKILL)")
    assert stored_pages(qa) == {0: "zero", 2: "two"}
    numbers.clear()
    again = qa.add(path)
    assert (again.reread, again.pages, again.skipped) == ([str(path)], 1, [])
    assert stored_pages(qa) == {0: "zero", 1: "one", 2: "two"}
    assert qa.status().documents[0].skipped == ()
    assert qa.add(path).unchanged == [str(path)]


def test_every_add_reads_the_pages_that_were_lost_before_it(qa, make_pdf, tmp_path, monkeypatch):
    """Random losses: after each add the index lacks the pages that it lacked and that were lost once more."""
    rng = np.random.default_rng(7)
    path = make_pdf(tmp_path / "a.pdf", [f"page {number}" for number in range(12)])
    numbers: set[int] = set()
    lose_pages(monkeypatch, numbers)
    absent = set(range(12))
    for _ in range(6):
        numbers.clear()
        numbers.update(int(n) for n in rng.choice(12, size=4, replace=False))
        qa.add(path)
        absent &= numbers
        assert stored_pages(qa) == {n: f"page {n}" for n in range(12) if n not in absent}
        assert {number for number, _ in qa.status().documents[0].skipped} == absent
    numbers.clear()
    qa.add(path)
    assert len(stored_pages(qa)) == 12 and qa.add(path).unchanged == [str(path)]


def test_a_page_that_is_damaged_is_not_read_with_every_add(qa, make_pdf, tmp_path, monkeypatch):
    """It would be as damaged again: what ended no process is no reason to look once more."""
    path = make_pdf(tmp_path / "a.pdf", ["zero", "one"])
    ask = Worker.ask

    def damaged(worker: Worker, job, seconds):
        reply = ask(worker, job, seconds)
        is_damaged = job["op"] == "read" and job["number"] == 1
        return {"ok": False, "error": "page", "message": "no such font"} if is_damaged else reply

    monkeypatch.setattr(Worker, "ask", damaged)
    assert [item.page for item in qa.add(path).skipped] == [1]
    assert qa.add(path).unchanged == [str(path)]


@pytest.fixture
def timeless(monkeypatch) -> None:
    """A file system that keeps no times: every file always has the same stamp, and it counts as settled."""
    monkeypatch.setattr("mmrag.documents.stamps.stamp_of", lambda path: (1, 1, 1, 1, 1))


def find_file(path: Path) -> InputDocument:
    (found,) = discover(path)
    assert isinstance(found, InputDocument)
    return found


@pytest.mark.usefixtures("timeless")
def test_other_content_of_the_same_size_and_time_is_read_and_not_refused(make_pdf, tmp_path):
    path = make_pdf(tmp_path / "a.pdf", ["price 100"])
    with DocumentReader(SETTINGS) as reader:
        (before,) = reader.pages(find_file(path))
        assert isinstance(before, Page)
        for price in ("999", "100", "555"):
            make_pdf(path, [f"price {price}"])
            (page,) = reader.pages(find_file(path))
            assert isinstance(page, Page) and page.text == f"price {price}"
        with pytest.raises(SourceChangedError, match="has changed"):
            reader.render(before)


@pytest.mark.usefixtures("timeless")
def test_a_file_replaced_behind_its_last_page_is_added_as_it_is_then(qa, make_pdf, tmp_path):
    """No stamp tells, and every page has been read: only its digest says that they are of another content."""
    path = make_pdf(tmp_path / "a.pdf", [f"old {number}" for number in range(BATCH_PAGES)])
    replaced: list[int] = []

    def replace_file(progress) -> None:
        if progress.pages_done == BATCH_PAGES and not replaced:
            replaced.append(progress.pages_done)
            make_pdf(path, ["new 0", "new 1"])

    report = qa.add(path, progress=replace_file)
    assert replaced and (report.pages, report.skipped) == (2, [])
    assert stored_pages(qa) == {0: "new 0", 1: "new 1"}
    (entry,) = qa.status().documents
    assert entry.sha256 == find_file(path).source.sha256


def test_ids_that_clash_are_an_error_and_never_one_document(qa, make_pdf, tmp_path, monkeypatch):
    """As if the first 64 bits of every digest were the same."""
    monkeypatch.setattr(Source, "document_id", property(lambda source: "0123456789abcdef"))
    a, b = make_pdf(tmp_path / "a.pdf", ["of a"]), make_pdf(tmp_path / "b.pdf", ["of b", "more of b"])
    qa.add(a)
    report = qa.add([b, a])
    (skipped,) = report.skipped
    assert skipped.name == str(b)
    assert "must stand for one content, got 0123456789abcdef for sha256" in skipped.reason
    assert find_file(a).source.sha256 in skipped.reason and find_file(b).source.sha256 in skipped.reason
    assert report.unchanged == [str(a)]
    assert stored_pages(qa) == {0: "of a"}
    assert qa.status().documents[0].names == (str(a),)


def test_a_content_is_known_by_all_digits_of_its_digest(make_pdf, tmp_path):
    """The id is the first 16 of them, so that these alone would never tell."""
    document = find_file(make_pdf(tmp_path / "a.pdf", ["of a"]))
    digits = document.source.sha256
    entry = DocumentEntry(document.source.document_id, digits, "pdf", ("a.pdf",), 1, "")
    _check_digest(document, entry)
    with pytest.raises(DocumentError, match="must stand for one content"):
        _check_digest(document, replace(entry, sha256=digits[:-1] + ("0" if digits[-1] != "0" else "1")))


def test_a_folder_that_has_not_changed_lists_the_index_once(qa, make_pdf, tmp_path, monkeypatch):
    folder = tmp_path / "papers"
    folder.mkdir()
    for number in range(4):
        make_pdf(folder / f"{number}.pdf", [f"page of {number}"])
    qa.add(folder)
    calls: list[str] = []
    for name in ("documents", "ids", "put_document"):
        method = getattr(qa.index, name)
        monkeypatch.setattr(qa.index, name, lambda *args, n=name, m=method: (calls.append(n), m(*args))[1])
    report = qa.add(folder)
    assert len(report.unchanged) == 4 and calls == ["documents", "ids"]  # for any number of files

    calls.clear()
    (folder / "copy.pdf").write_bytes((folder / "2.pdf").read_bytes())  # a name more, in a call of its own
    make_pdf(folder / "3.pdf", ["another page"])
    report = qa.add(folder)
    assert (len(report.unchanged), len(report.renamed), len(report.replaced)) == (3, 1, 1)
    assert calls.count("documents") <= 4  # once, and for the name that another content has now
    assert sorted(Path(name).name for entry in qa.index.documents() for name in entry.names) == [
        "0.pdf",
        "1.pdf",
        "2.pdf",
        "3.pdf",
        "copy.pdf",
    ]
    assert "page of 3" not in {record.text for record in qa.index.get(qa.index.ids())}
