"""Files of other file systems, by fsspec: found, read and shown as those of this machine are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings, read
from mmrag.cli.app import main
from mmrag.documents import DocumentReader, InputDocument, Skipped, discover
from mmrag.documents.remote_cache import RemoteDocuments
from mmrag.errors import MissingExtraError, SourceChangedError

SETTINGS = ReaderSettings(ocr="off", workers=1, page_seconds=120)


@pytest.fixture
def store() -> Iterator[Any]:
    """The memory file system of fsspec, empty at first."""
    fsspec = pytest.importorskip("fsspec", reason="needs the extra 'fsspec'")
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()


@pytest.fixture
def folder(make_pdf, tmp_path) -> Path:
    """Files on the disk of this machine."""
    folder = tmp_path / "reports"
    make_pdf(folder / "a.pdf", ["green tea", "black tea"])
    make_pdf(folder / "deep" / "b.pdf", ["white tea"])
    (folder / "note.txt").write_text("Tea is steeped at 80 degrees.\n" * 9)
    (folder / "empty.pdf").write_bytes(b"")
    (folder / ".hidden.txt").write_text("not for readers")
    return folder


def upload(folder: Path, files: Any) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            files.pipe(f"/reports/{path.relative_to(folder)}", path.read_bytes())


def fresh(embedder) -> DocumentQA:
    index = MemoryIndex.for_embedder(embedder)
    return DocumentQA(index, embedder=embedder, reader=SETTINGS, reranker=None)


def plain(qa: DocumentQA) -> list[tuple[Any, ...]]:
    """Pages of an index without where they come from."""
    records = qa.index.get(qa.index.ids())
    return sorted((r.id, r.text, r.metadata["file_name"], r.context, r.page.words) for r in records)


def test_a_folder_is_found_as_on_a_disk(store, folder):
    upload(folder, store)
    found = list(discover("memory://reports"))
    names = [item.name.replace("memory:///", "memory://") for item in found]
    local = {item.name.replace(str(folder), "memory://reports"): item for item in discover(folder)}
    assert sorted(names) == sorted(local)
    for name, item in zip(names, found, strict=True):
        other = local[name]
        if isinstance(item, Skipped) or isinstance(other, Skipped):
            assert (item.reason, "a reason") == (other.reason, "a reason")  # type: ignore[union-attr]
        else:
            assert (item.source.sha256, item.source.kind) == (other.source.sha256, other.source.kind)


def test_patterns_and_single_files_are_found(store, folder):
    upload(folder, store)
    (one,) = discover("memory://reports/a.pdf")
    assert isinstance(one, InputDocument) and one.data is None and one.source.name == "a.pdf"
    matches = [item for item in discover("memory://reports/**/*.pdf") if isinstance(item, InputDocument)]
    assert [item.source.name for item in matches] == ["a.pdf", "b.pdf"]
    (absent,) = discover("memory://nowhere")
    assert isinstance(absent, Skipped) and "no such file" in absent.reason


def test_pages_are_those_of_the_same_files_on_a_disk_and_are_shown_again(store, folder, embedder):
    upload(folder, store)
    with fresh(embedder) as local, fresh(embedder) as qa:
        local.add(folder)
        report = qa.add("memory://reports")
        assert report.pages == 4 and plain(qa) == plain(local)
        assert qa.add("memory://reports").pages == 0
        store.store.clear()  # the store is away: the index has kept the files
        page = next(r.page for r in qa.index.get(qa.index.ids()) if r.text == "white tea")
        assert qa.render(page, max_pixels=90_000).size == (263, 341)


def test_a_file_that_changed_replaces_its_pages(store, folder, embedder, make_pdf, tmp_path):
    upload(folder, store)
    with fresh(embedder) as qa:
        qa.add("memory://reports/a.pdf")
        store.pipe("/reports/a.pdf", make_pdf(tmp_path / "new.pdf", ["red tea"]).read_bytes())
        report = qa.add("memory://reports/a.pdf")
        assert len(report.replaced) == 1 and [text for _, text, *_ in plain(qa)] == ["red tea"]


def test_a_file_is_known_by_all_digits_of_its_digest(store, folder):
    upload(folder, store)
    (document,) = discover("memory://reports/a.pdf")
    digits = document.source.sha256
    other = replace(document.source, sha256=digits[:-1] + ("0" if digits[-1] != "0" else "1"))
    with pytest.raises(SourceChangedError, match="has changed"):
        RemoteDocuments().fetch(replace(document, source=other))


def test_a_file_that_changes_or_goes_before_its_turn_is_told(store, folder):
    upload(folder, store)
    (document,) = discover("memory://reports/a.pdf")
    store.pipe("/reports/a.pdf", b"%PDF-1.7 other")
    with DocumentReader(SETTINGS) as reader:
        with pytest.raises(SourceChangedError, match="has changed"):
            reader.info(document)
        store.rm("/reports/a.pdf")
        with pytest.raises(SourceChangedError, match="cannot be read"):
            reader.info(document)


def test_a_url_of_this_machine_is_a_path(folder):
    (document,) = discover(f"file://{folder}/a.pdf")
    assert document == next(iter(discover(folder / "a.pdf")))
    assert [item.name for item in discover(f"file://{folder}")] == [item.name for item in discover(folder)]


def test_read_and_the_command_take_urls(store, folder, tmp_path, capsys):
    upload(folder, store)
    pages = read("memory://reports/a.pdf", settings=SETTINGS).pages
    assert [page.text for page in pages] == ["green tea", "black tea"]
    index = str(tmp_path / "index")
    assert main(["index", "memory://reports/a.pdf", "--index", index, "--ocr", "off"]) == 0
    assert "2 pages" in capsys.readouterr().out


def test_what_cannot_be_is_told(store, monkeypatch):
    (unknown,) = discover("nonsense://bucket/a.pdf")
    assert isinstance(unknown, Skipped) and "nonsense" in unknown.reason
    with pytest.raises(ValueError, match="no password"):
        list(discover("ftp://ann:secret@host/a.pdf"))
    with pytest.raises(ValueError, match="one file system"):
        list(discover("zip://a.pdf::s3://bucket/a.zip"))
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"s3:// files .* pip install 'mmrag\[fsspec\]'"):
        list(discover("s3://bucket/a.pdf"))
