"""What is removed: by name, folder, id or filter, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings
from mmrag.index.base import DocumentEntry
from mmrag.ingest.removal import _entries_by_name


@pytest.fixture
def qa(embedder, make_pdf, tmp_path: Path):
    """Three files in two folders, one content under two names, and two notes."""
    make_pdf(tmp_path / "docs" / "a.pdf", ["first of a", "second of a"])
    make_pdf(tmp_path / "docs" / "deep" / "b.pdf", ["all of b"])
    make_pdf(tmp_path / "other" / "c.pdf", ["all of c"])
    (tmp_path / "other" / "a-again.pdf").write_bytes((tmp_path / "docs" / "a.pdf").read_bytes())
    index = MemoryIndex.for_embedder(embedder)
    reader = ReaderSettings(ocr="off", workers=1)
    with DocumentQA(index, embedder=embedder, reader=reader, reranker=None) as qa:
        qa.add(tmp_path / "docs", metadata={"shelf": "left"})
        qa.add(tmp_path / "other")
        qa.add_texts(["one", "two"], ids=["note", "ab"], metadata=[{"shelf": "left"}, {}])
        yield qa


def names(qa: DocumentQA) -> list[str]:
    return sorted(Path(name).name for entry in qa.status().documents for name in entry.names)


@pytest.mark.parametrize("as_given", [str, Path, "{}/".format])
def test_a_folder_takes_its_files_and_those_below_and_leaves_other_names(qa, tmp_path, as_given) -> None:
    assert qa.remove(as_given(tmp_path / "docs")) == 1  # b's page; a's are there under another name
    assert names(qa) == ["a-again.pdf", "c.pdf"]
    assert sorted(qa.search("first of a", k=1)[0].record.metadata["file_name"].split()) == ["a-again.pdf"]


def test_a_filter_takes_what_passes_it_and_documents_without_pages(qa) -> None:
    assert qa.remove(filter={"file_name": "a.pdf"}) == 2
    assert names(qa) == ["b.pdf", "c.pdf"]
    assert qa.remove(filter={"shelf": "left"}) == 2  # b's page and the note
    assert names(qa) == ["c.pdf"]
    assert qa.remove(filter={"shelf": "left"}) == 0
    assert "ab" in qa.index.ids()


def test_a_filter_that_takes_some_pages_leaves_the_file_to_be_completed(qa, tmp_path) -> None:
    assert qa.remove(filter={"$and": [{"file_name": "a.pdf"}, {"page": 0}]}) == 1
    (entry,) = qa.status().incomplete
    assert entry.total_pages == 2
    qa.add(tmp_path / "docs" / "a.pdf")
    assert qa.status().incomplete == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a name or a filter, got neither"),
        ({"target": "a.pdf", "filter": {"page": 0}}, "a name or a filter, got both"),
        ({"filter": {}}, "must have a condition"),
        ({"target": ""}, "must not be empty"),
        ({"target": "nothing.pdf"}, "must be in the index, got 'nothing.pdf'"),
    ],
)
def test_what_is_not_said_clearly_is_refused_and_nothing_goes(qa, arguments, message) -> None:
    ids = qa.index.ids()
    with pytest.raises(ValueError, match=message):
        qa.remove(**arguments)
    assert qa.index.ids() == ids


def test_one_id_is_one_id_and_not_its_letters(qa) -> None:
    qa.add_texts(["x", "y"], ids=["a", "b"])
    assert qa.delete("ab") == 1
    assert {"a", "b"} <= set(qa.index.ids())
    assert qa.delete(id for id in ("a", "b")) == 2


def test_a_name_that_is_not_utf8_is_found_as_it_is_and_as_it_is_shown() -> None:
    """By its path and by its last part; `utf8_name` writes bytes that are no text as escapes."""
    name = "/docs/caf\udce9.pdf"  # Python's form of the byte 0xE9
    entry = DocumentEntry("ab" * 8, "ab" * 32, "pdf", (name,), 1, "")
    for target in (name, r"/docs/caf\xe9.pdf", "caf\udce9.pdf", r"caf\xe9.pdf"):
        assert _entries_by_name([entry], target) == [(entry, name)]
    assert _entries_by_name([entry], "caf.pdf") == _entries_by_name([entry], "/other/caf\udce9.pdf") == []
