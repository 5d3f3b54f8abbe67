"""Where an index lies: a folder or a server, and what of an address may be shown."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmrag.index import addresses
from mmrag.index.addresses import is_server, open_index, scheme_of, shown_address
from mmrag.index.chroma import ChromaIndex
from mmrag.index.memory import MemoryIndex
from mmrag.masking import mask_secrets


@pytest.fixture
def shelf(monkeypatch, identity):
    """A scheme ``shelf://`` whose store is in memory; the calls of its opening."""
    calls = []

    def open_address(address, embedder, **options):
        calls.append((address, options))
        return MemoryIndex.for_embedder(embedder or identity)

    monkeypatch.setitem(sys.modules, "shelf_of_tests", SimpleNamespace(open_address=open_address))
    monkeypatch.setitem(addresses.SCHEMES, "shelf", "shelf_of_tests")
    return calls


def test_a_folder_opens_as_ever(tmp_path, identity):
    with_path, with_text = tmp_path / "a", str(tmp_path / "b")
    for place in (with_path, with_text):
        index = open_index(place, identity, rows=2)
        assert isinstance(index, ChromaIndex) and index.manifest.rows == 2
        index.close()


def test_a_scheme_opens_its_store(shelf, identity):
    index = open_index("shelf://host/reports", identity, read_only=True, row_type="int8", rows=4)
    assert isinstance(index, MemoryIndex)
    options = {"read_only": True, "row_type": "int8", "rows": 4}
    assert shelf == [("shelf://host/reports", options)]


@pytest.mark.parametrize("folder", ["a", "./shelf:/x", "c:\\index", "http", "shelf", Path("shelf-of/x")])
def test_other_names_are_folders(shelf, folder):
    assert scheme_of(folder) is None and not is_server(folder)


@pytest.mark.parametrize("address", ["mysql://u:sesame-seed@h/db", "http://h", "shelff://h"])
def test_an_unknown_scheme_is_refused_without_its_password(shelf, address):
    with pytest.raises(ValueError, match=r"begin with .*shelf://") as caught:
        is_server(address)
    assert "sesame" not in str(caught.value)


def test_a_path_object_of_an_address_is_refused(shelf):
    with pytest.raises(ValueError, match="Pass it as str"):
        is_server(Path("shelf://host/reports"))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("my-index", "my-index"),
        ("shelf://host/db", "shelf://host/db"),
        ("shelf://ann@host/db", "shelf://ann@host/db"),
        ("shelf://ann:open-sesame@host/db?a=1", "shelf://ann:***@host/db?a=1"),
        ("shelf://ann:open:se/s@me?#@host/db", "shelf://ann:***@host/db"),
        ("shelf://:open-sesame@/db?host=%2Ftmp", "shelf://:***@/db?host=%2Ftmp"),
        ("shelf://h/db?password=open-sesame&schema=a", "shelf://h/db?password=***&schema=a"),
        ("shelf://h/db?a=1&api_key=open-sesame", "shelf://h/db?a=1&api_key=***"),
        (
            "shelf://h/db?read_url=shelf%3A%2F%2Fann%3Aopen-sesame%40two%2Fdb",
            "shelf://h/db?read_url=shelf://ann:***@two/db",
        ),
    ],
)
def test_a_password_is_never_shown(address, shown):
    assert shown_address(address) == shown


def test_a_password_that_was_shown_once_is_struck_out_of_errors():
    shown_address("shelf://ann:open%20sesame%2Dnow@host/db")
    assert mask_secrets("got open sesame-now and open%20sesame%2Dnow") == "got *** and ***"
