"""Laws of the whole path: add, search, ask, remove, as a user's script does it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest
from PIL import Image

from mmrag import (
    Answer,
    Budget,
    DocumentQA,
    MemoryIndex,
    Query,
    Ranking,
    ReaderSettings,
    ServedAnswerer,
)
from mmrag.errors import DocumentError, IndexReadOnlyError, SourceChangedError, UnsupportedInputError
from mmrag.samples import sample_documents

WHALES = "The blue whale is the largest animal.\nIt can weigh 150 tonnes."
TEA = "Green tea is steeped at 80 degrees.\nIt is drunk in Japan."
BRIDGES = "The Harbour Bridge in Sydney was opened in 1932.\nIt carries eight lanes."


@pytest.fixture
def folder(tmp_path, make_pdf):
    make_pdf(tmp_path / "docs" / "nature.pdf", [WHALES, TEA])
    make_pdf(tmp_path / "docs" / "city.pdf", [BRIDGES])
    return tmp_path / "docs"


def settings() -> ReaderSettings:
    return ReaderSettings(ocr="off", workers=1)


@pytest.fixture(params=["memory", "chroma"])
def qa(request, tmp_path, embedder):
    if request.param == "memory":
        made = DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reader=settings())
    else:
        made = DocumentQA.open(tmp_path / "index", embedder=embedder, reader=settings())
    with made:
        yield made


def pages(ranking: Ranking) -> list[tuple[str, int]]:
    return [(c.page.source.name, c.page.number) for c in ranking]


def test_a_question_finds_its_page_and_quotes_it(qa, folder):
    report = qa.add(folder)
    assert (report.pages, len(report.added), report.skipped) == (3, 2, [])
    assert pages(qa.search("How heavy is a blue whale?"))[0] == ("nature.pdf", 0)
    answer = qa.ask("How much can a blue whale weigh?")
    assert not answer.abstained
    assert "150 tonnes" in answer.text
    citation = answer.citations[0]
    assert (citation.page.source.name, citation.page.number) == ("nature.pdf", 0)
    assert citation.boxes
    assert citation.picture.startswith(b"\x89PNG")


def test_what_nothing_answers_is_not_answered(qa, folder):
    qa.add(folder)
    answer = qa.ask("Who won the chess championship of Reykjavik?")
    assert answer.abstained
    assert answer.citations == ()


def test_adding_again_changes_nothing(qa, folder):
    qa.add(folder)
    before = qa.status()
    report = qa.add(folder)
    assert (report.pages, len(report.unchanged), report.added) == (0, 2, [])
    assert qa.status() == before


def test_a_changed_file_replaces_its_pages(qa, folder, make_pdf):
    qa.add(folder)
    make_pdf(folder / "city.pdf", ["The tram line 7 runs to the airport."])
    report = qa.add(folder)
    assert len(report.replaced) == 1
    assert qa.status().records == 3
    assert "tram" in qa.search("Which tram goes to the airport?")[0].record.text
    assert not any("Sydney" in c.record.text for c in qa.search("Sydney bridge", k=10))


def test_the_same_content_under_two_names_keeps_both(qa, folder):
    qa.add(folder)
    shutil.copy(folder / "city.pdf", folder / "town.pdf")
    report = qa.add(folder)
    assert (report.pages, len(report.renamed)) == (0, 1)
    for name in ("city.pdf", "town.pdf"):
        assert len(qa.search("bridge", filter={"file_name": name})) == 1
    assert qa.remove("city.pdf") == 0
    assert len(qa.search("bridge", filter={"file_name": "city.pdf"})) == 0
    assert len(qa.search("bridge", filter={"file_name": "town.pdf"})) == 1
    assert qa.remove("town.pdf") == 1


def test_other_reader_settings_read_again_and_say_so(tmp_path, folder, embedder):
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reader=settings()) as qa:
        qa.add(folder)
    other = ReaderSettings(renderer="pdfium", ocr="off")
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reader=other) as qa:
        report = qa.add(folder)
        assert (len(report.reread), report.pages, qa.status().records) == (2, 3, 3)
        assert len(qa.add(folder).unchanged) == 2


def test_metadata_of_the_caller_filters(qa, folder):
    qa.add(folder / "nature.pdf", metadata={"team": "biology"})
    qa.add(folder / "city.pdf", metadata={"team": "roads"})
    assert pages(qa.search("water", filter={"team": "roads"})) == [("city.pdf", 0)]
    with pytest.raises(ValueError, match=r"metadata keys must not be .*got page"):
        qa.add(folder, metadata={"page": 3})


def test_remove_by_path_name_and_id(qa, folder):
    qa.add(folder)
    assert qa.remove(folder / "nature.pdf") == 2
    assert qa.remove(qa.status().documents[0].id) == 1
    with pytest.raises(ValueError, match=r"got 'nature.pdf'"):
        qa.remove("nature.pdf")


def test_a_bad_file_costs_no_other(qa, folder):
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    (folder / "notes.xyz").write_text("who knows")
    report = qa.add(folder)
    assert len(report.added) == 2
    assert sorted(s.name.rsplit("/", 1)[-1] for s in report.skipped) == ["broken.pdf", "notes.xyz"]
    assert all(s.reason for s in report.skipped)


def test_bytes_and_images_are_kept_by_the_index(qa, folder):
    data = (folder / "nature.pdf").read_bytes()
    qa.add([("mail.pdf", data), Image.new("RGB", (300, 200), "navy")])
    found = qa.search("blue whale")[0]
    assert found.page.source.path is None
    assert qa.render(found.page).size[1] > 500


def test_a_moved_source_is_an_error_and_a_second_name_helps(qa, folder):
    qa.add(folder / "city.pdf")
    page = qa.search("bridge")[0].page
    shutil.copy(folder / "city.pdf", folder / "town.pdf")
    (folder / "city.pdf").unlink()
    with pytest.raises(SourceChangedError, match=r"city\.pdf"):
        qa.render(page)
    (citation,) = qa.ask("In which year was the Harbour Bridge in Sydney opened?").citations
    assert (citation.picture, "No picture" in citation.note, "city.pdf" in citation.note) == (
        None,
        True,
        True,
    )
    qa.add(folder / "town.pdf")
    assert qa.render(page).size[0] > 300


def test_a_changed_source_is_not_shown(qa, folder, make_pdf):
    qa.add(folder / "city.pdf")
    page = qa.search("bridge")[0].page
    make_pdf(folder / "city.pdf", ["Something else entirely."])
    with pytest.raises(SourceChangedError, match=r"city\.pdf"):
        qa.render(page)


def test_an_image_query_needs_an_embedder_that_sees(qa, folder):
    qa.add(folder / "city.pdf")
    with pytest.raises(UnsupportedInputError, match="image"):
        qa.search(Query(image=Image.new("RGB", (10, 10))))


def test_the_budget_is_a_dial_of_one_index(qa, folder):
    qa.add(folder)
    for budget in (Budget(1, 1), Budget(1, 4), Budget(16, 64)):
        assert pages(qa.search("How hot should green tea be?", budget=budget))[0] == ("nature.pdf", 1)


async def test_async_twins_leave_the_loop_free(qa, folder, loop_gate, monkeypatch):
    for name in ("encode_query", "encode_document"):
        encode = getattr(qa.embedder, name)
        gated = lambda *args, encode=encode, **how: loop_gate() or encode(*args, **how)  # noqa: E731
        monkeypatch.setattr(qa.embedder, name, gated)
    await qa.aadd(folder)
    ranking = await qa.asearch("whale")
    assert pages(ranking)[0] == ("nature.pdf", 0)
    answer = await qa.aask("In which year was the Harbour Bridge in Sydney opened?")
    assert "1932" in answer.text
    pieces = [piece async for piece in qa.astream("Where is green tea drunk?")]
    assert isinstance(pieces[-1], Answer)
    assert loop_gate.beside >= 4 and not loop_gate.on_loop


def test_search_in_many_threads_while_another_adds(tmp_path, folder, embedder, make_pdf):
    from concurrent.futures import ThreadPoolExecutor

    with DocumentQA.open(tmp_path / "index", embedder=embedder, reader=settings()) as qa:
        qa.add(folder)
        many = make_pdf(tmp_path / "many.pdf", [f"Page about topic number {n}." for n in range(40)])
        with ThreadPoolExecutor(4) as pool:
            adding = pool.submit(qa.add, many)
            found = [pool.submit(qa.search, "How heavy is a blue whale?") for _ in range(30)]
            assert all(pages(f.result())[0] == ("nature.pdf", 0) for f in found)
            assert adding.result().pages == 40


def test_a_second_process_reads_while_this_one_writes(tmp_path, folder):
    script = textwrap.dedent(
        """
        import sys
        from mmrag import DocumentQA
        from mmrag.errors import IndexLockedError
        try:
            DocumentQA.open(sys.argv[1])
        except IndexLockedError as error:
            print(error)
        with DocumentQA.open(sys.argv[1], read_only=True) as qa:
            print(qa.search("blue whale")[0].page.source.name)
        """
    )
    with DocumentQA.open(tmp_path / "index", reader=settings()) as qa:
        qa.add(folder)
        run = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "index")],
            capture_output=True,
            text=True,
            check=True,
        )
    refusal, name = run.stdout.strip().rsplit("\n", 1)
    assert str(os.getpid()) in refusal
    assert "read_only" in refusal
    assert name == "nature.pdf"


def test_read_only_refuses_writes(tmp_path, folder, embedder):
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reader=settings()) as qa:
        qa.add(folder)
    with DocumentQA.open(tmp_path / "index", embedder=embedder, read_only=True) as qa:
        assert pages(qa.search("blue whale"))[0] == ("nature.pdf", 0)
        with pytest.raises(IndexReadOnlyError, match="read"):
            qa.remove("city.pdf")


def test_an_interrupted_add_goes_on_where_it_stopped(tmp_path, embedder, make_pdf):
    path = make_pdf(tmp_path / "long.pdf", [f"Chapter {n} tells of subject {n}." for n in range(40)])

    class StopError(Exception):
        pass

    def stop(progress) -> None:
        if progress.pages_done >= 16:
            raise StopError

    with DocumentQA.open(tmp_path / "index", embedder=embedder, reader=settings()) as qa:
        with pytest.raises(StopError):
            qa.add(path, progress=stop)
        assert [entry.complete for entry in qa.status().documents] == [False]
        there = qa.status().records
        assert there >= 16
        report = qa.add(path)
        assert report.pages == 40 - there
        assert (qa.status().records, qa.status().incomplete) == (40, ())


def test_the_package_asks_no_network(tmp_path, folder):
    """Index and ask with every connection refused, as on a machine without a network."""
    script = textwrap.dedent(
        """
        import socket, sys
        def refuse(*args, **kwargs):
            raise AssertionError(f"a connection was tried: {args[1:]}")
        socket.socket.connect = refuse
        socket.socket.connect_ex = refuse
        socket.getaddrinfo = refuse
        from mmrag import DocumentQA
        with DocumentQA.open(sys.argv[1]) as qa:
            qa.add(sys.argv[2])
            print(qa.ask("How much can a blue whale weigh?").text)
        """
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "index"), str(folder)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "150 tonnes" in run.stdout
    assert "connection" not in run.stderr


def test_pages_left_unread_by_a_slow_ocr_are_tried_again(tmp_path, embedder):
    scan = sample_documents() / "maintenance-log-scan.pdf"
    index = MemoryIndex.for_embedder(embedder)
    hurried = DocumentQA(index, embedder=embedder, reader=ReaderSettings(ocr_seconds=0.01, page_seconds=5))
    report = hurried.add(scan)
    assert report.pages == 3
    assert all("OCR took more than" in note for note in report.notes)
    assert "3 pages have not been read" in hurried.ask("What is the part number of the impeller?").note
    patient = DocumentQA(index, embedder=embedder, reader=ReaderSettings(ocr_seconds=60))
    again = patient.add(scan)
    assert (again.reread, again.pages) == ([str(scan)], 3)
    assert "impeller" in patient.search("impeller")[0].record.text.lower()
    assert patient.add(scan).unchanged == [str(scan)]
    hurried.reader.close()
    patient.close()


def test_a_photograph_is_found_by_its_name(qa, tmp_path):
    Image.new("RGB", (60, 40), "green").save(tmp_path / "lighthouse_Skagen-1904.png")
    qa.add(tmp_path / "lighthouse_Skagen-1904.png")
    (found,) = qa.search("Skagen lighthouse")
    assert found.page.text == ""
    assert found.scores["text"] > 0


def test_own_texts_and_images_stand_beside_pages(qa, folder, tmp_path):
    qa.add(folder / "city.pdf")
    picture = tmp_path / "photo.png"
    Image.new("RGB", (60, 40), "red").save(picture)
    qa.add_texts(["The ferry leaves at noon."], ids=["note"], metadata=[{"kind": "memo"}])
    qa.add_images([picture, picture.read_bytes()], ids=["by path", "by bytes"])
    assert qa.search("When does the ferry leave?")[0].id == "note"
    assert qa.search("ferry", filter={"kind": "memo"})[0].record.metadata == {"kind": "memo"}
    by_bytes = next(c.page for c in qa.search("photo", k=10) if c.id == "by bytes")
    assert qa.render(by_bytes).getpixel((5, 5)) == (255, 0, 0)
    assert qa.picture_path(by_bytes).read_bytes().startswith(b"\x89PNG")
    assert qa.remove("by bytes") == 1
    qa.add(picture)
    assert qa.remove(picture) == 1
    assert [r.id for r in qa.index.get(["by path", "note"])] == ["by path", "note"]
    with pytest.raises(DocumentError, match="no-such"):
        qa.add_images([tmp_path / "no-such.png"])
    with pytest.raises(ValueError, match="2 ids"):
        qa.add_texts(["one"], ids=["a", "b"])


def test_a_deleted_page_comes_back_with_its_file(qa, folder):
    qa.add(folder)
    page = qa.search("green tea")[0].page
    assert qa.delete([page.id, "nobody"]) == 1
    assert [entry.names[0] for entry in qa.status().incomplete] == [str(folder / "nature.pdf")]
    report = qa.add(folder / "nature.pdf")
    assert (report.pages, qa.status().incomplete) == (1, ())
    qa.delete([f"{page.document_id}#p{number}" for number in (0, 1)])
    assert [entry.names[0] for entry in qa.status().documents] == [str(folder / "city.pdf")]


def test_a_served_answerer_is_lent_the_pages(qa, folder, fake_server):
    """The model's words are recorded: what is shown is that the pipeline gives it pictures of the pages."""
    qa.add(folder)
    reply = {
        "answerable": True,
        "answer": "It opened in 1932 [1].",
        "citations": [{"page": 1, "quote": "opened in 1932"}],
    }
    fake_server.chat(json.dumps(reply))
    served = ServedAnswerer(fake_server.url, "recorded")
    answer = qa.ask("When was the Harbour Bridge opened?", k=1, answerer=served)
    parts = fake_server.requests[-1].json["messages"][-1]["content"]
    assert any(part["type"] == "image_url" for part in parts)
    assert (answer.text, answer.citations[0].quote) == ("It opened in 1932 [1].", "opened in 1932.")
    assert answer.citations[0].picture.startswith(b"\x89PNG")
    assert answer.usage.completion_tokens == 5


def test_an_index_inside_the_folder_is_not_indexed(folder, embedder, monkeypatch):
    monkeypatch.chdir(folder)
    with DocumentQA.open("mmrag-index", embedder=embedder, reader=settings()) as qa:
        qa.add(".")
        qa.picture_path(qa.search("bridge")[0].page)
        report = qa.add(".")
        assert (len(report.unchanged), report.added, report.skipped, qa.status().records) == (2, [], [], 3)


def test_a_name_is_no_embedder(tmp_path):
    with pytest.raises(TypeError, match=r"an embedder must have the methods .* got str"):
        DocumentQA.open(tmp_path / "index", embedder="a-name")
    assert not (tmp_path / "index").exists()


def test_the_structure_of_a_page_is_read_once(make_pdf, tmp_path):
    """The second look needs no file: the index has it."""
    path = make_pdf(tmp_path / "lakes.pdf", ["The lake is twelve metres deep in spring."])
    with DocumentQA.open(tmp_path / "index") as qa:
        qa.add(path)
        page = qa.search("lake")[0].page
        assert page.blocks is None
        blocks = qa.blocks(page)
        assert [block.text for block in blocks] == [page.text]
    path.unlink()
    with DocumentQA.open(tmp_path / "index", read_only=True) as qa:
        assert [block.text for block in qa.blocks(page)] == [page.text]
        assert qa.search("lake")[0].page.blocks is not None
