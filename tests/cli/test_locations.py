"""``--index`` with the address of a server, as a shell sees it."""

import json
import sys
from types import SimpleNamespace

import pytest

from mmrag.cli import main
from mmrag.index import addresses
from mmrag.index.base import StoreFacts
from mmrag.index.memory import MemoryIndex
from mmrag.pipeline import DocumentQA

ADDRESS = "shelf://ann:open-sesame@host/reports"


class ShelfIndex(MemoryIndex):
    """An index in memory that says it is on a server, and outlives its closing."""

    address = "shelf://ann:***@host/reports"

    def store_facts(self):
        return StoreFacts(self.address, "Shelf 9.1", 12_000, ("3 boards",))

    def close(self):
        """Stay open: the next command asks the same server."""


@pytest.fixture
def shelf(monkeypatch):
    """A server of the scheme ``shelf://`` that holds one index."""
    shelves = {}

    def open_address(address, embedder, *, read_only, row_type, rows):
        if address not in shelves:
            shelves[address] = ShelfIndex.for_embedder(embedder, row_type=row_type, rows=rows)
        return shelves[address]

    monkeypatch.setitem(sys.modules, "shelf_of_tests", SimpleNamespace(open_address=open_address))
    monkeypatch.setitem(addresses.SCHEMES, "shelf", "shelf_of_tests")
    return shelves


def call(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert "open-sesame" not in printed.out + printed.err
    return code, printed.out, printed.err


def test_commands_work_on_a_server(shelf, capsys, tmp_path, make_pdf):
    make_pdf(tmp_path / "ship.pdf", ["The ferry Aurora carries 420 passengers."])
    code, out, _ = call(capsys, "index", tmp_path / "ship.pdf", "--index", ADDRESS, "--ocr", "off")
    assert code == 0 and "1 pages and records in shelf://ann:***@host/reports" in out
    code, out, _ = call(capsys, "search", "ferry", "--index", ADDRESS, "--rerank", "none", "--json")
    assert code == 0 and json.loads(out)["candidates"][0]["file"] == "ship.pdf"
    code, out, _ = call(capsys, "ask", "How many passengers does the Aurora carry?", "--index", ADDRESS)
    assert code == 0 and "420" in out
    code, out, _ = call(capsys, "status", "--index", ADDRESS)
    assert code == 0
    assert out.splitlines()[0].startswith("shelf://ann:***@host/reports: 1 pages")
    assert "0.0 MB, 12.0 kB each" in out and "  Shelf 9.1\n  3 boards\n" in out
    code, out, _ = call(capsys, "status", "--index", ADDRESS, "--json")
    assert json.loads(out)["store"]["kind"] == "Shelf 9.1" and json.loads(out)["bytes"] == 12_000
    assert call(capsys, "check", "--index", ADDRESS)[0] == 0
    assert call(capsys, "remove", "ship.pdf", "--index", ADDRESS)[1].startswith("ship.pdf: 1 pages")


def test_the_address_may_come_from_the_environment(shelf, capsys, monkeypatch, tmp_path, make_pdf):
    make_pdf(tmp_path / "ship.pdf", ["The ferry Aurora carries 420 passengers."])
    monkeypatch.setenv("MMRAG_INDEX", ADDRESS)
    assert call(capsys, "index", tmp_path / "ship.pdf", "--ocr", "off")[0] == 0
    assert list(shelf) == [ADDRESS]


@pytest.mark.parametrize(
    "arguments",
    [("compact", "--index", ADDRESS), ("demo", "--to", ADDRESS), ("reembed", "old", ADDRESS)],
    ids=lambda arguments: arguments[0],
)
def test_what_works_on_a_folder_alone_says_so(shelf, capsys, arguments):
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert (
        f"mmrag {arguments[0]}: this command works on a directory, got shelf://ann:***@host/reports." in err
    )


def test_traces_of_a_server_want_a_local_folder(shelf, capsys, tmp_path, make_pdf):
    make_pdf(tmp_path / "ship.pdf", ["The ferry Aurora carries 420 passengers."])
    code, _, err = call(
        capsys, "index", tmp_path / "ship.pdf", "--index", ADDRESS, "--trace-url", "http://127.0.0.1:9/v1"
    )
    assert code == 2 and "give --cache DIR" in err


def test_a_cache_keeps_what_a_directory_would(shelf, tmp_path, make_pdf):
    make_pdf(tmp_path / "ship.pdf", ["The ferry Aurora carries 420 passengers."])
    with DocumentQA.open(ADDRESS, cache=tmp_path / "cache", reranker=None) as qa:
        qa.add(tmp_path / "ship.pdf")
        page = qa.index.get(qa.index.ids())[0].page
        assert qa.path == tmp_path / "cache"
        assert qa.picture_path(page).parent == tmp_path / "cache" / "pictures"
        assert (qa.replies_path, qa.traces_path) == (qa.path / "replies", qa.path / "traces")
        assert qa.status().store.kind == "Shelf 9.1"
        assert "shelf://ann:***@host/reports" in repr(qa)
    with DocumentQA.open(ADDRESS, reranker=None) as qa:
        assert (qa.path, qa.replies_path, qa.traces_path) == (None, None, None)
        assert qa.picture_path(page).is_file()
    with pytest.raises(ValueError, match="cache must be None"):
        DocumentQA.open(tmp_path / "folder", cache=tmp_path / "cache")
