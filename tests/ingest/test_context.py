"""Laws of the context: pages are found by what their document is called, and show nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pymupdf
import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings
from mmrag.ingest.records import MOST_CONTEXT, context_text, page_context
from mmrag.ingest.reembed import reembed

SETTINGS = ReaderSettings(ocr="off", workers=1)


@pytest.fixture
def qa(embedder) -> Iterator[DocumentQA]:
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reader=SETTINGS) as qa:
        yield qa


def make_report(path, title: str = "", outline: tuple[str, ...] = ()) -> None:
    """Two pages that say nothing of whose they are; outline entry n begins on page n."""
    with pymupdf.open() as document:
        for text in ("Revenue rose to 5.", "Debt fell to 3."):
            document.new_page().insert_text((72, 72), text)
        document.set_metadata({"title": title})
        document.set_toc([[1, name, number] for number, name in enumerate(outline, start=1)])
        document.save(path)


def test_a_page_knows_name_title_and_section(qa, tmp_path):
    make_report(tmp_path / "NorlandCables_2024-Q3.pdf", "Interim report", ("Income", "Balance"))
    qa.add(tmp_path)
    contexts = [record.context for record in qa.index.get(qa.index.ids())]
    assert contexts == [
        "Interim report Norland Cables 2024 Q3 Income",
        "Interim report Norland Cables 2024 Q3 Balance",
    ]
    best = qa.search("interim balance", channels=["text"])[0]
    assert (best.page.number, best.record.text) == (1, "Debt fell to 3.")


def test_no_word_of_the_context_is_quoted(qa, tmp_path):
    make_report(tmp_path / "norland.pdf", "Norland interim report")
    qa.add(tmp_path)
    answer = qa.ask("How much did the debt of Norland fall?", evidence=False)
    quotes = [citation.quote or "" for citation in answer.citations]
    assert quotes and not any("orland" in text for text in (*quotes, answer.text))


def test_metadata_of_the_caller_joins_by_name(qa, tmp_path):
    make_report(tmp_path / "scan1.pdf")
    qa.add(tmp_path, metadata={"author": "Ada Byron", "shelf": "Zurich"}, context=["author"])
    assert {hit.page.number for hit in qa.search("Byron", channels=["text"])} == {0, 1}
    assert not qa.search("Zurich", channels=["text"])
    qa.add_texts(["a note"], metadata=[{"title": "Kettle"}], context=["title"])
    (hit,) = qa.search("kettle", channels=["text"])
    assert (hit.record.text, hit.record.context) == ("a note", "Kettle")


@pytest.mark.parametrize("context", ["author", ["writer"]])
def test_context_that_is_no_metadata_is_refused(qa, tmp_path, context):
    make_report(tmp_path / "a.pdf")
    with pytest.raises(ValueError, match="context must list keys"):
        qa.add(tmp_path, metadata={"author": "Ada"}, context=context)
    assert qa.index.count() == 0


def test_what_is_said_twice_stands_once_and_nothing_is_longer_than_the_bound():
    assert context_text({}, (), name="/x/Annual_Report.pdf", title="Annual report") == "Annual report"
    assert context_text({"n": 7}, ("n",), name="a.pdf") == "7 a"
    assert len(context_text({}, (), title="word " * 1000)) <= MOST_CONTEXT


def test_a_page_has_its_sections_behind_its_documents_context(qa, tmp_path):
    make_report(tmp_path / "a.pdf")
    qa.add(tmp_path)
    page = qa.index.get(qa.index.ids())[0].page
    assert page_context("A report", replace(page, section=("Money", "Debt"))) == "A report Money Debt"
    assert page_context("", replace(page, section=())) == ""


def test_another_embedder_keeps_the_context(embedder, tmp_path):
    make_report(tmp_path / "norland.pdf", "Interim report")
    with DocumentQA.open(tmp_path / "old", embedder=embedder, reader=SETTINGS) as qa:
        qa.add(tmp_path / "norland.pdf")
        contexts = [record.context for record in qa.index.get(qa.index.ids())]
    reembed(tmp_path / "old", tmp_path / "new", embedder=embedder, reader=SETTINGS)
    with DocumentQA.open(tmp_path / "new", embedder=embedder, read_only=True) as qa:
        assert (
            [record.context for record in qa.index.get(qa.index.ids())]
            == contexts
            == ["Interim report norland"] * 2
        )
        assert qa.index.name_documents("Norland").scores


def test_pages_of_a_document_stand_together(qa, tmp_path):
    for name in ("oak", "elm", "ash"):
        make_report(tmp_path / f"{name}.pdf", f"{name} report")
    qa.add(tmp_path)
    ranking = qa.search("revenue and debt of elm", k=2, group_by="document")
    names = [candidate.page.source.name for candidate in ranking]
    assert names[:2] == ["elm.pdf", "elm.pdf"] and len(ranking.documents) == 2
    assert [candidate.rank for candidate in ranking] == [1, 2, 3, 4]
    assert [id for id, pages in ranking.documents.items() for _ in pages] == [
        candidate.document_id for candidate in ranking
    ]
    with pytest.raises(ValueError, match="group_by must be None or one of"):
        qa.search("elm", group_by="author")
