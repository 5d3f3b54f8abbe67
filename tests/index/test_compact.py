"""An index written anew holds and answers what it did, in less place."""

import shutil
import sqlite3
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from mmrag.blocks import Block
from mmrag.cli import main
from mmrag.errors import IndexFormatError, IndexLockedError, IndexMismatchError
from mmrag.index.base import DocumentEntry
from mmrag.index.chroma import ChromaIndex
from mmrag.index.compact import compact
from mmrag.index.directory import STORE_NAME
from mmrag.index.files_check import check_folder
from mmrag.types import Record

from .conftest import Identity, make_page, make_records

BYTES = b"%PDF"
SHA256 = sha256(BYTES).hexdigest()
OLD = Path(__file__).parent / "data" / "before-layout"


def contents(index):
    """All that an index gives, but for its rows."""
    records = index.get(index.ids())
    queries = ("report", "net sales", "5")
    return (
        records,
        index.documents(),
        index.get_blob(SHA256),
        [[hit.id for hit in index.search_text(query, k=50)] for query in queries],
        index.values("n"),
    )


@pytest.fixture
def path(tmp_path):
    """An index of float16 rows that had more records than it has."""
    index = ChromaIndex.open(tmp_path / "index", Identity(), row_type="float16")
    page = make_page(1, sha256=SHA256)
    index.add([*make_records(300, rows=6), *make_records(1, prefix="p")])
    index.add([Record(page.id, make_records(1)[0].matrix, page.text, {}, page)])
    index.put_blocks(page.id, [Block("text", page.text, words=(0, 1, 2))])
    index.put_document(DocumentEntry(SHA256[:16], SHA256, "pdf", ("report.pdf",), 9, "settings"))
    index.put_blob(SHA256, BYTES)
    index.delete([f"r{n}" for n in range(100)])
    index.close()
    return tmp_path / "index"


def read(path):
    index = ChromaIndex.open(path, Identity(), read_only=True)
    try:
        return contents(index), [r.matrix for r in index.get(index.ids(), matrices=True)], index.manifest
    finally:
        index.close()


def test_an_index_written_anew_holds_what_it_did(path):
    before, matrices, manifest = read(path)
    report = compact(path)
    after, compacted, new_manifest = read(path)
    assert after == before and (report.records, report.row_type, report.rows) == (202, "int8", None)
    assert (new_manifest.created, new_manifest.fingerprint) == (manifest.created, manifest.fingerprint)
    assert report.bytes_after < report.bytes_before
    for one, other in zip(matrices, compacted, strict=True):
        np.testing.assert_allclose(other, one, atol=np.abs(one).max() / 250, rtol=0)
    assert check_folder(path).is_sound
    assert compact(path).bytes_after <= report.bytes_after * 1.2
    assert [m.tobytes() for m in read(path)[1]] == [m.tobytes() for m in compacted], (
        "int8 rows stay as they are"
    )


def test_fewer_rows_are_the_first_ones(path):
    _, matrices, _ = read(path)
    assert compact(path, row_type="float16", rows=2, embedder=Identity()).rows == 2
    _, compacted, manifest = read(path)
    assert (manifest.row_type, manifest.rows) == ("float16", 2)
    assert [m.tobytes() for m in compacted] == [m[:2].tobytes() for m in matrices]
    with pytest.raises(ValueError, match="rows must be at most the 2 that the index holds, got 3"):
        compact(path, rows=3, embedder=Identity())


def test_what_an_index_cannot_give_is_refused_and_nothing_is_written(path):
    @dataclass(frozen=True)
    class Unnested(Identity):
        nested: bool = False

    compact(path)
    with pytest.raises(ValueError, match="row_type must be 'int8' for an index that holds no more"):
        compact(path, row_type="float16")
    with pytest.raises(ValueError, match="rows must come with the embedder"):
        compact(path, rows=2)
    with pytest.raises(ValueError, match="whose rows are not nested, got 2"):
        compact(path, rows=2, embedder=Unnested())
    with pytest.raises(IndexMismatchError):
        compact(path, rows=2, embedder=Identity(fingerprint="ff" * 32))
    with pytest.raises(IndexFormatError, match="must be an index to compact"):
        compact(path.parent / "nowhere")
    index = ChromaIndex.open(path, None)
    with pytest.raises(IndexLockedError):
        compact(path)
    index.close()
    connection = sqlite3.connect(path / STORE_NAME)
    with connection:
        connection.execute("DELETE FROM first WHERE seq = 200")
    connection.close()
    with pytest.raises(
        IndexFormatError, match=r"must be sound .* first r299: not there.*mmrag check --repair"
    ):
        compact(path)
    assert not list(path.glob("*.repaired*"))


def test_a_reader_that_is_open_goes_on_with_the_new_file(path):
    reader = ChromaIndex.open(path, Identity(), read_only=True)
    query = make_records(1, seed=3)[0].matrix
    before = [hit.id for hit in reader.search_vectors(query, k=5)]
    compact(path)
    writer = ChromaIndex.open(path, Identity())
    writer.add([Record("nearest", query * 2, "new words")])
    assert [hit.id for hit in reader.search_text("new words", k=1)] == ["nearest"]
    assert [hit.id for hit in reader.search_vectors(query, k=6)] == ["nearest", *before]
    reader.close()
    writer.close()


def test_an_old_index_becomes_small_by_the_command(tmp_path, capsys):
    path = shutil.copytree(OLD, tmp_path / "index")
    assert main(["compact", "--index", str(path)]) == 0
    assert "5 pages and records in int8, all rows" in capsys.readouterr().out
    index = ChromaIndex.open(path, None, read_only=True)
    assert (index.manifest.format_version, index.manifest.row_type) == (2, "int8")
    assert [hit.id for hit in index.search_text("cat", k=1)] == ["note-cat"]
    index.close()
    assert check_folder(path).is_sound
