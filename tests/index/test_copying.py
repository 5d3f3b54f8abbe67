"""An index brought into another store: byte for byte, resumed after a kill, and nothing believed."""

import json
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mmrag.blocks import Block
from mmrag.cli import main
from mmrag.errors import IndexDamagedError, IndexFormatError, IndexMismatchError
from mmrag.index import ChromaIndex, MemoryIndex
from mmrag.index.addresses import open_index
from mmrag.index.base import DocumentEntry
from mmrag.index.copying import copy_between, copy_index, record_digest
from mmrag.index.qdrant import QdrantIndex
from mmrag.index.rows import RowCodec
from mmrag.types import Record

from .conftest import make_page, make_records

pytest.importorskip("qdrant_client", reason="needs the extra 'qdrant'")
pytest.importorskip("qdrant_edge", reason="needs the extra 'qdrant-edge'")


def fill(index, count=150):
    """Records of every kind: texts, pages with words and blocks, an image with bytes, documents."""
    index.add(make_records(count, text="zinc {n} of the report"))
    pages = [make_page(n, text=f"net sales {n}") for n in range(4)]
    index.add(
        [Record(p.id, np.eye(8)[n : n + 2], p.text, {"p": n}, p, "the report") for n, p in enumerate(pages)]
    )
    index.put_blocks(pages[1].id, (Block("heading", "net", ((0.0, 0.0, 1.0, 0.5),), level=1, words=(0,)),))
    image = replace(make_page(0, sha256="ef" * 32, path=None, id="picture"), document_id="picture")
    index.add([Record("picture", np.eye(8)[:1], "", {"tags": ("a", "b")}, image)])
    index.put_blob("picture", b"\x00\xff" * 70_000)
    index.put_blob("ab" * 32, b"the file")
    index.put_document(
        DocumentEntry("ab" * 8, "ab" * 32, "pdf", ("/x/a.pdf",), 4, "s1", True, ((9, "broken"),))
    )
    index.delete(["r3"])


def contents(index):
    rows = RowCodec.of(index.manifest)
    records = index.get(index.ids(), matrices=True)
    return (
        [record_digest(record, rows) for record in records],
        index.documents(),
        [index.get_blob(key) for key in ("picture", "ab" * 32)],
        index.search_text("zinc net sales", k=20),
        index.search_vectors(np.ones((2, 8)), k=20, exact=True),
    )


def test_every_store_holds_the_same_after_a_copy(tmp_path, identity):
    places = [str(tmp_path / "folder"), f"qdrant-edge://{tmp_path}/edge", str(tmp_path / "back")]
    with closing(open_index(places[0], identity)) as first:
        fill(first)
        expected = contents(first)
    reports = [copy_index(old, new, batch=40) for old, new in pairwise(places)]
    assert [(r.records, r.resumed, r.documents, r.blobs) for r in reports] == [(154, 0, 1, 2)] * 2
    assert len({report.digest for report in reports}) == 1
    for place in places:
        with closing(open_index(place, identity, read_only=True)) as index:
            assert contents(index) == expected


def test_a_digest_sees_every_part(identity):
    rows = RowCodec(8)
    page = replace(make_page(0), blocks=(Block("heading", "x"),))
    record = Record("a", np.eye(8)[:2], "text", {"n": 1}, page, "context")
    others = [
        replace(record, text="texts"),
        replace(record, context=""),
        replace(record, metadata={"n": 2}),
        replace(record, matrix=np.eye(8)[:1]),
        replace(record, page=replace(page, label="9")),
        replace(record, page=replace(page, words=page.words[:1])),
        replace(record, page=replace(page, blocks=None)),
        replace(record, page=None),
    ]
    digests = {record_digest(other, rows) for other in [record, *others]}
    assert len(digests) == 1 + len(others)
    assert record_digest(replace(record, metadata=dict(record.metadata)), rows) in digests


def test_a_copy_may_go_on_and_be_made_again(tmp_path, identity):
    old, new = MemoryIndex.for_embedder(identity), QdrantIndex.open(identity)
    fill(old)
    new = QdrantIndex.open(identity)
    new.add(old.get(old.ids()[:60], matrices=True))
    assert copy_between(old, new).resumed == 60
    assert contents(new) == contents(old)
    assert copy_between(old, new).resumed == 154
    old.add(make_records(3, prefix="later"))
    assert copy_between(old, new).records == 157
    assert new.ids() == old.ids()


def test_what_differs_is_written_once_more(identity):
    old, new = MemoryIndex.for_embedder(identity), MemoryIndex.for_embedder(identity)
    fill(old)
    new.add(make_records(1, text="another text"))
    copy_between(old, new)
    assert contents(new) == contents(old)


class Forgetful(MemoryIndex):
    """A store that loses the last letter of every text."""

    def add(self, records):
        super().add([replace(record, text=record.text[:-1]) for record in records])


def test_a_store_that_changes_what_it_is_given_is_not_believed(identity):
    old, new = MemoryIndex.for_embedder(identity), Forgetful.for_embedder(identity)
    fill(old)
    with pytest.raises(IndexDamagedError, match="record 'r0' must come back from the new index"):
        copy_between(old, new)


def test_what_cannot_be_a_copy_is_refused(tmp_path, identity, make_identity):
    folder = tmp_path / "folder"
    with closing(ChromaIndex.open(folder, identity)) as index:
        index.add(make_records(3))
    with pytest.raises(ValueError, match="must be another"):
        copy_index(folder, folder)
    with pytest.raises(IndexFormatError, match="must be an index"):
        copy_index(tmp_path / "nothing", tmp_path / "new")
    with closing(
        ChromaIndex.open(tmp_path / "other", make_identity(name="b", fingerprint="b" * 64))
    ) as index:
        index.add(make_records(1))
    with pytest.raises(IndexMismatchError, match="was built with"):
        copy_index(folder, tmp_path / "other")
    with closing(ChromaIndex.open(tmp_path / "full", identity)) as index:
        index.add(make_records(1, prefix="stranger"))
    with pytest.raises(ValueError, match=r"got 'stranger0' in .*full, which .*folder does not hold"):
        copy_index(folder, tmp_path / "full")
    with closing(ChromaIndex.open(tmp_path / "halves", identity, row_type="float16")):
        pass
    with pytest.raises(ValueError, match="row_type must be that of the index"):
        copy_index(folder, tmp_path / "halves")


KILLED = """
import os, signal, sys, threading, time
from mmrag.index import copying

open_index, calls = copying.open_index, []

def open_dying(*arguments, **options):
    index = open_index(*arguments, **options)
    add = index.add

    def add_and_die(records):
        calls.append(records)
        if len(calls) == 50:  # in the middle of its writing
            threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGKILL)).start()
        if len(calls) == 150:  # a quick machine would be done before it
            time.sleep(600)
        add(records)

    index.add = add_and_die
    return index

copying.open_index = open_dying
copying.copy_index(sys.argv[1], sys.argv[2], batch=2)
"""


@pytest.mark.parametrize("scheme", ["", "qdrant-edge://"], ids=["folder", "qdrant-edge"])
def test_a_copy_that_is_killed_goes_on_where_it_was(tmp_path, identity, scheme):
    old, new = str(tmp_path / "old"), f"{scheme}{tmp_path}/new"
    with closing(open_index(old, identity)) as index:
        index.add(make_records(400, text="zinc {n}"))
        fill(index, 20)
        expected, ids = contents(index), index.ids()
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, old, new], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with closing(open_index(new, identity, read_only=True)) as index:
        assert index.documents() == []
        count = index.count()
        assert 96 <= count < 404
        assert index.ids() == ids[:count]
    report = copy_index(old, new)
    assert (report.records, report.resumed) == (404, count)
    with closing(open_index(new, identity, read_only=True)) as index:
        assert contents(index) == expected


def test_the_command_says_what_it_did(tmp_path, identity, capsys):
    with closing(open_index(tmp_path / "old", identity)) as index:
        fill(index, 10)
    new = f"qdrant-edge://{tmp_path}/new"
    assert main(["copy", str(tmp_path / "old"), new, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["records"], data["documents"], data["blobs"], data["new"]) == (14, 1, 2, new)
    assert main(["copy", str(tmp_path / "old"), new]) == 0
    assert "14 pages and records (14 of them there already), 1 files" in capsys.readouterr().out
    assert main(["copy", str(tmp_path / "old"), str(tmp_path / "old")]) == 1
