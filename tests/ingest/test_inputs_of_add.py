"""What users hand over to `add` is read, or refused in a short line before anything is written."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings


@pytest.fixture
def pdf(make_pdf, tmp_path: Path) -> Path:
    return make_pdf(tmp_path / "files" / "tea.pdf", ["Green tea is steeped at 80 degrees."])


@pytest.fixture
def qa(embedder, tmp_path: Path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    index = MemoryIndex.for_embedder(embedder)
    reader = ReaderSettings(ocr="off", workers=1)
    with DocumentQA(index, embedder=embedder, reader=reader, reranker=None) as qa:
        yield qa


class Upload(io.BytesIO):
    """As web frameworks hand over a file."""

    name = "folder/upload.pdf"


def test_a_file_object_is_read_whole_and_keeps_its_position(qa, pdf) -> None:
    with pdf.open("rb") as file:
        file.read(7)
        assert qa.add(file).added == ["tea.pdf"]
        assert file.tell() == 7
    (record,) = qa.index.get(qa.index.ids())
    pdf.unlink()
    assert qa.render(record.page, max_pixels=9_000).width > 0  # the index keeps the bytes


def test_file_objects_of_every_kind(qa, pdf) -> None:
    data = pdf.read_bytes()
    assert qa.add(Upload(data)).added == ["upload.pdf"]
    (nameless,) = qa.add(io.BytesIO(data)).renamed
    assert nameless.endswith(".pdf")
    with tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(data)
        assert qa.add([spooled]).unchanged == [nameless]

    class Stream:
        """Of a request: it can be read once."""

        def read(self) -> bytes:
            return data

    assert qa.add(Stream()).unchanged == [nameless]
    assert qa.index.count() == 1


@pytest.mark.parametrize("collect", [list, tuple, set, iter, lambda paths: (path for path in paths)])
def test_paths_in_any_collection(qa, pdf, collect) -> None:
    assert qa.add(collect([pdf])).added == [str(pdf)]


def test_what_is_named_twice_is_added_once(qa, pdf) -> None:
    report = qa.add([pdf.parent, str(pdf.parent), pdf, pdf.parent / "*.pdf", "missing.pdf", "missing.pdf"])
    assert (report.added, report.unchanged, len(report.skipped)) == ([str(pdf)], [], 1)


NOTHING = [
    ("", ValueError, "must name a file, a folder or a pattern, got ''. For the current folder pass '.'"),
    ("  ", ValueError, "must name a file"),
    (None, TypeError, "got NoneType"),
    (7, TypeError, "got int"),
    ({"a.pdf": b"x"}, TypeError, "got dict"),
    (io.StringIO("words"), TypeError, "must give bytes, got one of str .* Open the file with 'rb'"),
]


@pytest.mark.parametrize(("value", "kind", "message"), NOTHING)
def test_nothing_is_refused_in_one_short_line_before_anything_is_written(
    qa, pdf, value, kind, message
) -> None:
    for inputs in (value, [pdf, value], (pdf, value)):
        with pytest.raises(kind, match=message) as refused:
            qa.add(inputs)
        assert len(str(refused.value)) < 250
    assert (qa.index.count(), qa.status().documents) == (0, ())


def test_an_upload_that_must_be_awaited_says_so(qa) -> None:
    class Awaited:
        async def read(self) -> bytes:
            return b""

    with pytest.raises(TypeError, match=r"Pass its \.file"):
        qa.add(Awaited())


@pytest.mark.parametrize("text", ["word " * 30_000, "x" * 5_000, "a\x00b", "~nobody-of-this-name/a.pdf"])
def test_a_text_in_place_of_a_path_is_skipped_in_a_short_line(qa, text) -> None:
    (skipped,) = qa.add(text).skipped
    assert len(skipped.name) + len(skipped.reason) < 250


def test_bytes_that_are_no_image_are_refused_in_a_short_line(qa) -> None:
    with pytest.raises(ValueError, match="must be readable") as refused:
        qa.add_images([b"words " * 50_000])
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("method", ["add_texts", "add_images"])
def test_one_text_is_not_taken_for_a_list_of_its_letters(qa, method) -> None:
    with pytest.raises(TypeError, match=r"must be a list, got one str"):
        getattr(qa, method)("tea")
    with pytest.raises(TypeError, match=r"ids must be a list, got one str"):
        getattr(qa, method)(["tea"], ids="a")
    assert qa.index.count() == 0


def test_lists_and_none_in_metadata(qa, pdf) -> None:
    """A list is a key with several values, None is a key without one, as hosts' loaders write them."""
    qa.add(pdf, metadata={"tags": ["a", "b"], "author": None})
    qa.add_texts(
        iter(["note"]), ids=iter(["n"]), metadata=iter([{"tags": ["b"], "author": "Kim", "year": None}])
    )
    page, note = qa.index.get(qa.index.ids())
    assert page.metadata["tags"] == ("a", "b")
    assert "author" not in page.metadata
    assert note.metadata == {"tags": ("b",), "author": "Kim"}
    for filter, ids in (
        ({"tags": {"$contains": "a"}}, [page.id]),
        ({"tags": {"$not_contains": "a"}}, ["n"]),
        ({"author": None}, [page.id]),
        ({"author": {"$ne": None}}, ["n"]),
        ({"no such key": "x"}, []),
    ):
        assert qa.index.ids(filter) == ids
        assert [candidate.id for candidate in qa.search("note", filter=filter)] == ids
    qa.index.update_metadata(["n"], {"author": None, "tags": ["c"]})
    assert qa.index.get(["n"])[0].metadata == {"tags": ("c",)}


@pytest.mark.parametrize(
    "metadata", [{"a": {"b": 1}}, {"a": object()}, {"$a": 1}, {"a": [None]}, {"a": 2**70}]
)
def test_metadata_that_cannot_be_stored_leaves_no_entry(qa, pdf, metadata) -> None:
    with pytest.raises(ValueError, match="metadata"):
        qa.add(pdf, metadata=metadata)
    assert qa.status().documents == ()


def test_lists_in_lists_are_refused(qa, pdf) -> None:
    with pytest.raises(TypeError, match="got list"):
        qa.add([[pdf]])


@pytest.mark.parametrize("inputs", ["{}", "{}/**/*", "{}/*"])
def test_another_index_in_a_folder_is_passed_over_and_counted(qa, embedder, pdf, inputs) -> None:
    folder = pdf.parent
    with DocumentQA.open(folder / "old-index", embedder=embedder, reranker=None) as old:
        old.add(pdf)
        (record,) = old.index.get(old.index.ids())
        picture = old.picture_path(record.page, max_pixels=9_000)
        report = qa.add(inputs.format(folder))
        assert report.added == [str(pdf)]
        (skipped,) = report.skipped
        assert (skipped.name, skipped.reason[:17]) == (str(folder / "old-index"), "an index of mmrag")
        assert old.add(folder).skipped == []  # its own folder is no news
        assert picture.is_file()


def test_bytes_are_added_wherever_the_process_stands_and_the_index_own_files_never(
    embedder, pdf, tmp_path, monkeypatch
) -> None:
    """A name given with bytes is no path: it was taken for one of the index's own files."""
    folder = tmp_path / "index"
    with DocumentQA.open(folder, embedder=embedder, reader=ReaderSettings(ocr="off", workers=1)) as qa:
        monkeypatch.chdir(folder)
        assert qa.add([("tea.pdf", pdf.read_bytes())]).added == ["tea.pdf"]
        assert [item.name for item in qa.add([("notes.bin", b"no document")]).skipped] == ["notes.bin"]
        own_files = qa.add(folder / "index.sqlite")
        assert (own_files.added, own_files.skipped) == ([], [])
