"""Indexes that earlier code wrote open for good.

``data/before-layout`` is what ``scripts/make_old_index.py`` drew at the last commit before the package was
laid out in twelve rooms. Its numbers are not compared, only what a user sees: other versions of ONNX Runtime
embed the questions a little differently.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from mmrag import DocumentQA
from mmrag.index.checksums import has_table
from mmrag.index.chroma import ChromaIndex
from mmrag.index.files_check import check_folder

DATA = Path(__file__).parent / "data"
OLD = sorted(folder.name for folder in DATA.iterdir())


@pytest.fixture(params=OLD)
def old_index(request, tmp_path):
    """A copy, since opening an index for writing writes."""
    return Path(shutil.copytree(DATA / request.param, tmp_path / "index"))


@pytest.mark.parametrize("read_only", [False, True])
def test_an_old_index_tells_what_it_holds_and_answers_with_its_evidence(old_index, read_only):
    with DocumentQA.open(old_index, read_only=read_only) as qa:
        status = qa.status()
        assert (status.embedder, status.records) == (qa.embedder.name, 5)
        assert [(entry.names, entry.total_pages, entry.complete) for entry in status.documents] == [
            (("handbook.pdf",), 3, True)
        ]

        first = qa.search("How often does the horn sound in fog?")[0].record
        assert (first.page.source.name, first.page.number) == ("handbook.pdf", 2)
        assert qa.search("What is the cat called?")[0].record.id == "note-cat"
        assert {hit.record.id for hit in qa.search("fog", filter={"shelf": "notes"})} == {
            "note-cat",
            "note-stairs",
        }

        answer = qa.ask("How many litres does the tank hold?")
        assert "900 litres" in answer.text
        citation = answer.citations[0]
        assert citation.page.number == 1 and citation.boxes
        assert citation.picture.startswith(b"\x89PNG")  # drawn from the bytes that the index keeps


def test_an_old_index_takes_more_and_gives_up_what_is_removed(old_index, make_pdf, tmp_path):
    with DocumentQA.open(old_index) as qa:
        report = qa.add(make_pdf(tmp_path / "paint.pdf", ["The railings are painted green every May."]))
        assert ([Path(name).name for name in report.added], report.pages) == (["paint.pdf"], 1)
        qa.add_texts(["The bell was cast in 1871."], ids=["note-bell"])
        assert qa.search("What colour are the railings?")[0].record.page.source.name == "paint.pdf"
        assert qa.remove("handbook.pdf") == 3

    with DocumentQA.open(old_index) as qa:  # and again, as the code of today left it
        assert qa.status().records == 4
        assert qa.search("When was the bell cast?")[0].record.id == "note-bell"
        assert all(entry.names != ("handbook.pdf",) for entry in qa.status().documents)


def test_the_file_that_an_old_index_holds_is_known_when_it_is_added_again(old_index):
    with DocumentQA.open(old_index) as qa:
        document = qa.status().documents[0]
        pdf = qa.index.get_blob(document.sha256)
        report = qa.add([("handbook.pdf", pdf)])
        # the reader reads more than it did then: the pages are read again, and are as many as before
        assert (report.reread, report.added, qa.status().records) == (["handbook.pdf"], [], 5)


def test_an_old_index_is_brought_up_to_this_code_and_its_rows_stay(old_index):
    with closing(ChromaIndex.open(old_index, None, read_only=True)) as index:
        before = index.get(index.ids(), matrices=True)
        texts = [index.search_text(query, k=9) for query in ("horn fog", "tank", "cat lamp")]
        assert (index.manifest.format_version, index.manifest.row_type, index.manifest.rows) == (
            1,
            "float16",
            None,
        )
        with index._store.database.read() as connection:
            assert index._store.changes(connection, 0) is None  # such a file does not say
    ChromaIndex.open(old_index, None).close()
    with closing(ChromaIndex.open(old_index, None, read_only=True)) as index:
        assert (index.manifest.format_version, index.manifest.row_type, index.manifest.rows) == (
            2,
            "float16",
            None,
        )
        after = index.get(index.ids(), matrices=True)
        assert [record.matrix.tobytes() for record in after] == [record.matrix.tobytes() for record in before]
        assert [
            [h.id for h in index.search_text(query, k=9)] for query in ("horn fog", "tank", "cat lamp")
        ] == [[hit.id for hit in hits] for hits in texts]
        with index._store.database.read() as connection:
            generation = index._store.generation(connection)
            assert index._store.changes(connection, generation) == []
            assert index._store.changes(connection, generation - 1) is None
            assert not has_table(connection, "lexical_content")
    assert check_folder(old_index).is_sound


def test_an_old_index_keeps_the_structure_of_its_pages(old_index):
    with DocumentQA.open(old_index, read_only=True) as qa:  # has no table for it, and cannot make one
        page = qa.search("How many litres does the tank hold?")[0].page
        blocks = qa.blocks(page)
        assert qa.index.get([page.id])[0].page.blocks is None

    with DocumentQA.open(old_index) as qa:
        assert qa.blocks(page) == blocks
        assert sorted(word for block in blocks for word in block.words) == list(range(len(page.words)))

    with DocumentQA.open(old_index, read_only=True) as qa:
        assert [block.text for block in qa.index.get([page.id])[0].page.blocks] == [b.text for b in blocks]
