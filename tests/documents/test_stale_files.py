"""A page is read and drawn from the content that was indexed, whatever lies at its path, or refused."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_documents import make_pdf

from mmrag.documents import DocumentReader, InputDocument, ReaderSettings, discover
from mmrag.documents.conversions import _bytes_of
from mmrag.documents.source_check import SourceCheck
from mmrag.documents.stamps import FileDigests, digest
from mmrag.documents.worker import JobHandler
from mmrag.errors import SourceChangedError
from mmrag.index import MemoryIndex
from mmrag.pipeline import DocumentQA
from mmrag.types import Page

from ..patience import wait_until

SETTINGS = ReaderSettings(ocr="off", workers=1, page_seconds=120)


def prices(price: str, pages: int = 4) -> bytes:
    return make_pdf(*(f"price {price} page {number}" for number in range(pages)))


def overwrite(path: Path, data: bytes) -> None:
    """Write into the same inode, as an editor or a download in place does."""
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(data)


def rename_over(path: Path, data: bytes) -> None:
    path.with_suffix(".new").write_bytes(data)
    path.with_suffix(".new").replace(path)


def overwrite_with_old_times(path: Path, data: bytes) -> None:
    status = path.stat()
    overwrite(path, data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.truncate(len(data) // 2)


CHANGES = [overwrite, rename_over, overwrite_with_old_times, truncate]


def find_file(path: Path) -> InputDocument:
    (found,) = discover(path)
    assert isinstance(found, InputDocument)
    return found


@pytest.fixture(params=[False, True], ids=["fresh", "settled"])
def pair(request, tmp_path, monkeypatch) -> tuple[Path, Path]:
    """Two names of one content; `settled`: stamps are trusted without hashing the file again."""
    if request.param:
        monkeypatch.setattr("mmrag.documents.stamps.SETTLED_SECONDS", 0.0)
    a, b = tmp_path / "a.pdf", tmp_path / "b.pdf"
    data = prices("100")
    for path in (a, b):
        path.write_bytes(data)
    if request.param:
        # within one step of the file system's clock every write has the same stamp; no settled file is so new
        wait_until(lambda: b.stat().st_ctime_ns < written_now(tmp_path / "clock"))
    return a, b


def written_now(path: Path) -> int:
    """Return the time that a file written now has, in nanoseconds."""
    path.write_bytes(b"")
    now = path.stat().st_mtime_ns
    path.unlink()
    return now


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_gives_no_page_of_another_content(pair, change):
    path, _ = pair
    path.write_bytes(prices("100", pages=40))
    found = find_file(path)
    texts = []
    with DocumentReader(SETTINGS) as reader:
        pages = reader.pages(found)
        texts.append(next(pages).text)
        change(path, prices("999", pages=40))
        with pytest.raises(SourceChangedError, match=r"a\.pdf.* has changed\. Add it again"):
            texts += [page.text for page in pages if isinstance(page, Page)]
    assert all(text.startswith("price 100") for text in texts)


@pytest.mark.parametrize("change", CHANGES)
def test_two_names_of_one_content_never_stand_for_each_other(pair, change):
    a, _ = pair
    with DocumentReader(SETTINGS) as reader:
        (page, *_), (other, *_) = (list(reader.pages(find_file(path))) for path in pair)
        before = np.asarray(reader.render(page))
        change(a, prices("999"))
        with pytest.raises(SourceChangedError, match=r"a\.pdf, page 1: .*a\.pdf has changed"):
            reader.render(page)
        assert np.array_equal(np.asarray(reader.render(other)), before)
        a.unlink()
        with pytest.raises(SourceChangedError, match=r"cannot be read any more \(No such file"):
            reader.render(page)


def test_a_touched_file_is_the_same_file(pair):
    a, _ = pair
    with DocumentReader(SETTINGS) as reader:
        pages = reader.pages(find_file(a))
        texts = [next(pages).text]
        a.touch()
        texts += [page.text for page in pages]
        assert texts == [f"price 100 page {number}" for number in range(4)]


def job(path: Path, data: bytes | None = None) -> dict:
    found = find_file(path)
    return {
        "op": "read",
        "number": 0,
        "key": "the same",
        "kind": "pdf",
        "name": path.name,
        "path": str(path),
        "sha256": found.source.sha256,
        "stamp": None,
        "data": data,
        "passwords": (),
        "image_pixels": None,
    }


class TouchingRenderer:
    """The real renderer of a file that is changed during the first jobs on it."""

    def __init__(self, renderer, change, changes: list[int]) -> None:
        self._renderer, self._change, self._changes = renderer, change, changes
        self.page_count, self.title = renderer.page_count, renderer.title

    def read(self, number):
        page = self._renderer.read(number)
        if self._changes:
            self._changes.pop()
            self._change()
        return page

    def __getattr__(self, name):
        return getattr(self._renderer, name)


def handler(monkeypatch, change, times: int) -> JobHandler:
    from mmrag.documents import opening

    opened, changes = opening.open_renderer, [0] * times
    monkeypatch.setattr(
        opening, "open_renderer", lambda *values: TouchingRenderer(opened(*values), change, changes)
    )
    return JobHandler(
        {"renderer": "pymupdf", "ocr": "off", "ocr_max_side": 800, "max_pixels": 10_000_000, "memory_mb": 0}
    )


def test_a_job_during_which_the_file_changed_is_no_result(pair, monkeypatch):
    """The worker alone: no look of the parent comes between reading and the reply."""
    a, _ = pair
    work = job(a)
    jobs = handler(monkeypatch, lambda: overwrite(a, prices("999")), times=1)
    with pytest.raises(SourceChangedError, match="has changed"):
        jobs.do(work)
    with pytest.raises(SourceChangedError, match="has changed"):
        jobs.do(work)  # the same key, and nothing open under it


def test_a_job_during_which_the_file_was_touched_is_done_again(pair, monkeypatch):
    a, _ = pair
    data = a.read_bytes()
    reply = handler(monkeypatch, lambda: rename_over(a, data), times=1).do(job(a))
    assert [word[0] for word in reply["blocks"][0][0]][:2] == ["price", "100"]


def test_a_file_that_never_rests_is_given_up(pair, monkeypatch):
    a, _ = pair
    data = a.read_bytes()
    jobs = handler(monkeypatch, lambda: rename_over(a, data), times=9)
    with pytest.raises(SourceChangedError, match="changes while it is read"):
        jobs.do(job(a))


def test_digests_are_those_of_the_file_as_it_is(tmp_path):
    """Random writes, renames and touches; the cache always says what hashing says."""
    rng = np.random.default_rng(5)
    path, digests = tmp_path / "f", FileDigests()
    path.write_bytes(b"start")
    for _ in range(200):
        data = bytes(rng.integers(0, 3, size=4, dtype=np.uint8))
        change = CHANGES[rng.integers(len(CHANGES))]
        if rng.random() < 0.3:
            path.touch()
        else:
            change(path, data)
        assert digests.look(str(path)).sha256 == digest(str(path))


@pytest.fixture
def qa(embedder):
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reader=SETTINGS) as qa:
        yield qa


def test_evidence_is_drawn_from_the_name_that_still_has_the_content(qa, pair, tmp_path):
    a, b = pair
    other = tmp_path / "other.pdf"
    other.write_bytes(prices("999"))
    qa.add([a, b])
    (record,) = qa.index.get(qa.index.ids({"page": 0}))
    before = np.asarray(qa.render(record.page)).copy()
    overwrite(a, prices("999"))
    assert np.array_equal(np.asarray(qa.render(record.page)), before)
    overwrite(b, prices("999"))
    with pytest.raises(SourceChangedError):
        qa.render(record.page)


def test_a_file_overwritten_while_it_is_added_is_added_as_it_is_then(qa, pair):
    a, _ = pair
    a.write_bytes(prices("100", pages=60))
    changed = []

    def change(progress) -> None:
        if progress.pages_done and not changed:
            changed.append(progress.pages_done)
            overwrite(a, prices("999", pages=50))

    report = qa.add(a, progress=change)
    assert changed, "the change came in the middle"
    assert (report.pages, report.skipped) == (50, [])
    texts = [record.text for record in qa.index.get(qa.index.ids())]
    assert len(texts) == 50 and all(text.startswith("price 999") for text in texts)
    (entry,) = qa.status().documents
    assert entry.complete
    assert qa.add(a).unchanged == [str(a)]


def test_a_file_that_changes_again_is_named_and_leaves_nothing(qa, pair):
    a, _ = pair
    a.write_bytes(prices("0", pages=60))
    versions = iter(range(1, 100))

    def change(progress) -> None:
        if progress.pages_done:
            overwrite(a, prices(str(next(versions)), pages=60))

    report = qa.add(a, progress=change)
    (skipped,) = report.skipped
    assert "has changed. Add it again." in skipped.reason
    assert qa.index.count() == 0 and report.pages == 0
    assert qa.add(a).pages == 60


@pytest.mark.skipif(sys.platform == "win32", reason="st_ctime is the time of making there")
def test_a_time_of_change_that_is_set_back_hides_no_change(tmp_path, monkeypatch):
    """Same inode, size and mtime; the time of the last change in state is the kernel's alone."""
    monkeypatch.setattr("mmrag.documents.stamps.SETTLED_SECONDS", 0.0)
    path, digests = tmp_path / "f", FileDigests()
    path.write_bytes(b"before")
    first, known = path.stat(), digests.look(str(path))
    while path.stat().st_ctime_ns == first.st_ctime_ns:  # until the clock of the file system has gone on
        overwrite_with_old_times(path, b"behind")
    now = path.stat()
    assert (now.st_ino, now.st_size, now.st_mtime_ns) == (first.st_ino, first.st_size, first.st_mtime_ns)
    assert digests.look(str(path)).sha256 == digest(str(path)) != known.sha256


def nearly(digits: str) -> str:
    """Return a digest that differs in its last digit alone."""
    return digits[:-1] + ("0" if digits[-1] != "0" else "1")


def test_digests_are_compared_whole(pair, monkeypatch):
    """By who checks a file, who reads it, and who converts it: ids are 16 digits, and can be made to meet."""
    a, _ = pair
    document = find_file(a)
    other = replace(document.source, sha256=nearly(document.source.sha256))
    assert other.document_id == document.source.document_id
    with pytest.raises(SourceChangedError, match="has changed"):
        SourceCheck().check(other)
    with pytest.raises(SourceChangedError, match="has changed"):
        handler(monkeypatch, lambda: None, times=0).do(job(a) | {"sha256": other.sha256})
    with pytest.raises(SourceChangedError, match="has changed"):
        _bytes_of(replace(document, source=other))
    file = FileDigests().look(str(a))
    assert not file.is_same(replace(file, sha256=other.sha256))


def test_only_the_digests_of_the_files_looked_at_last_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("mmrag.documents.stamps._MOST_FILES", 3)
    digests = FileDigests()
    for number in range(9):
        (path := tmp_path / str(number)).write_bytes(b"%d" % number)
        digests.look(str(path))
    assert [Path(path).name for path in digests._files] == ["6", "7", "8"]
