"""A file that moved, and a folder that cannot be written: what is in the index is found and answered from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmrag import DocumentQA, ReaderSettings, ServedAnswerer, ThinkReranker
from mmrag.errors import SourceChangedError
from mmrag.ingest import pictures

QUESTION = "How hot should green tea be?"
PAGES = ["Green tea is steeped at 80 degrees.", "The blue whale weighs 150 tonnes."]


@pytest.fixture
def qa(embedder, make_pdf, tmp_path: Path):
    """Two files; the one that answers is gone."""
    reader = ReaderSettings(ocr="off", workers=1)
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reader=reader, reranker=None) as qa:
        for name, text in zip(("tea.pdf", "whale.pdf"), PAGES, strict=True):
            qa.add(make_pdf(tmp_path / name, [text]))
        (tmp_path / "tea.pdf").rename(tmp_path / "moved.pdf")
        yield qa


def test_a_search_and_an_answer_of_quotes_lack_the_picture_alone(qa: DocumentQA) -> None:
    answer = qa.ask(QUESTION)
    assert answer.text.startswith(PAGES[0])
    (citation,) = [citation for citation in answer.citations if citation.quote == PAGES[0]]
    assert (citation.picture, "No picture: tea.pdf" in citation.note) == (None, True)
    with pytest.raises(SourceChangedError):
        qa.render(citation.page)


def test_a_reranker_that_shows_pages_judges_the_text_and_says_so(qa: DocumentQA, length_reranker) -> None:
    reranker = ThinkReranker(length_reranker.url, mode="served", model="m")
    ranking = qa.search(QUESTION, rerank=reranker)
    assert ranking.reranked
    assert any("without a picture" in note for note in ranking.notes)
    notes = {candidate.page.source.name: candidate.verdict.note for candidate in ranking}
    assert "tea.pdf" in notes["tea.pdf"] and "without a picture" in notes["tea.pdf"]
    assert "without a picture" not in notes["whale.pdf"]
    texts = [json.dumps(request["documents"]) for request in length_reranker.requests]
    assert any(PAGES[0] in text for text in texts), "the page is judged by its words"


def test_a_served_answer_reads_the_text_and_says_so(qa: DocumentQA, fake_server) -> None:
    fake_server.chat("It should be 80 degrees hot [1].")
    answer = qa.ask(QUESTION, answerer=ServedAnswerer(fake_server.url, model="m", structured="none"), k=2)
    assert "80 degrees" in answer.text
    assert "No picture of [1] for the model" in answer.note
    (request,) = fake_server.requests
    content = json.loads(request.body)["messages"][-1]["content"]
    assert sum(part["type"] == "image_url" for part in content) == 1  # of the file that is there
    assert PAGES[0] in json.dumps(content)


def test_pictures_go_elsewhere_where_the_index_cannot_be_written(qa: DocumentQA, monkeypatch) -> None:
    (record,) = [record for record in qa.index.get(qa.index.ids()) if record.page.source.name == "whale.pdf"]
    write, folder = pictures.atomic_write, qa.path

    def refuse(path, mode="w"):
        if Path(path).is_relative_to(folder):
            raise OSError(30, "Read-only file system", str(path))
        return write(path, mode)

    monkeypatch.setattr(pictures, "atomic_write", refuse)
    path = qa.picture_path(record.page, max_pixels=9_000)
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert not path.is_relative_to(folder)
    assert qa.picture_path(record.page, max_pixels=9_000) == path, "it is drawn once"
    monkeypatch.undo()
    qa.close()
    assert not path.exists(), "the temporary folder goes with the index"


def test_a_picture_that_is_there_is_used_where_nothing_can_be_written(qa: DocumentQA, monkeypatch) -> None:
    (record,) = [record for record in qa.index.get(qa.index.ids()) if record.page.source.name == "whale.pdf"]
    path = qa.picture_path(record.page, max_pixels=9_000)
    assert path.is_relative_to(qa.path)
    monkeypatch.setattr(pictures, "atomic_write", lambda *_: pytest.fail("it is there already"))
    assert qa.picture_path(record.page, max_pixels=9_000) == path
