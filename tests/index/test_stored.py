"""Stored bytes: sums, limits, and one typed error that names the record."""

from __future__ import annotations

import random
import shutil
import sqlite3
import stat
import zlib
from pathlib import Path

import numpy as np
import pytest

from mmrag.blocks import Block
from mmrag.errors import IndexDamagedError, IndexFormatError
from mmrag.index import stored
from mmrag.index.checksums import RECORD_COLUMNS, stored_records, stored_values, sum_of
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import STORE_NAME
from mmrag.index.stored import decode_guard, unzip_bytes, zip_bytes
from mmrag.types import Record

from .conftest import make_page, make_records

OLD = Path(__file__).parent / "data" / "before-layout"


@pytest.fixture
def path(tmp_path, identity):
    """A closed index: three records, a page with blocks, a document's bytes."""
    with_page = Record("p", np.ones((2, 8)), "net sales 5", {"n": 9}, make_page(text="net sales 5"))
    index = ChromaIndex.open(tmp_path / "index", identity)
    index.add([*make_records(3), with_page])
    index.put_blocks("p", [Block("text", "net sales 5", words=(0, 1, 2))])
    index.put_blob("cd" * 32, b"%PDF")
    index.close()
    return tmp_path / "index"


def execute(path, statement, *parameters):
    connection = sqlite3.connect(path / STORE_NAME)
    with connection:
        rows = connection.execute(statement, parameters).fetchall()
    connection.close()
    return rows


# ---- sums ----------------------------------------------------------------------------------------


def test_the_sum_of_bytes_by_hand():
    assert sum_of([]) == sum_of([None]) == 0
    assert sum_of([b"a"]) == zlib.crc32(b"0:1:a")
    assert sum_of([b"a", None, b"bc"]) == zlib.crc32(b"0:1:a2:2:bc")


def test_any_flipped_bit_and_any_moved_border_change_the_sum():
    rng = random.Random(0)
    for _ in range(200):
        values = [rng.randbytes(rng.randrange(1, 40)) for _ in range(3)]
        total = sum_of(values)
        which, bit = rng.randrange(3), rng.randrange(8 * len(values[0]))
        data = bytearray(values[which])
        data[bit // 8 % len(data)] ^= 1 << bit % 8
        assert sum_of([*values[:which], bytes(data), *values[which + 1 :]]) != total
        assert sum_of([values[0] + values[1], b"", values[2]]) != total
        assert sum_of([*values, None]) == total  # a column added later


def test_the_sum_is_over_all_columns_of_a_record(path):
    columns = tuple(row[1] for row in execute(path, "PRAGMA table_info(records)"))
    assert columns == ("seq", *RECORD_COLUMNS)


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("UPDATE records SET text = 'net sales 6' WHERE id = 'p'", "record"),
        ("UPDATE records SET metadata = '{\"n\":8}' WHERE id = 'p'", "record"),
        ("UPDATE records SET page = replace(page, '595.0', '595.1') WHERE id = 'p'", "record"),
        ("UPDATE records SET document_id = NULL WHERE id = 'p'", "record"),
        ("UPDATE vectors SET matrix = zeroblob(32) WHERE seq = 4", "matrix"),
        ("DELETE FROM vectors WHERE seq = 4", "matrix"),
        ("UPDATE blocks SET data = (SELECT words FROM records WHERE id = 'p')", "blocks"),
        ("DELETE FROM blocks", "blocks"),
        ("DELETE FROM checksums WHERE part = 'record' AND key = 4", "record"),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_change_that_we_did_not_make_is_told_with_the_record(path, identity, statement, part, read_only):
    execute(path, statement)
    index = ChromaIndex.open(path, identity, read_only=read_only)
    with pytest.raises(IndexDamagedError, match=r"record 'p' must be as it was written.*mmrag check") as told:
        index.get(["r0", "p"], matrices=True)
    assert (told.value.part, told.value.key) == (part, "p")
    assert [record.id for record in index.get(["r0", "r1"], matrices=True)] == ["r0", "r1"]
    index.close()


def test_bytes_and_entries_have_sums_too(path, identity):
    execute(path, "UPDATE blobs SET data = x'25504447'")
    index = ChromaIndex.open(path, identity, read_only=True)
    with pytest.raises(IndexDamagedError, match=f"the bytes kept under '{'cd' * 32}'"):
        index.get_blob("cd" * 32)
    index.close()
    execute(path, "UPDATE state SET value = replace(value, 'tiny', 'tinx') WHERE key = 'manifest'")
    with pytest.raises(IndexDamagedError, match="the manifest of the index must be as it was written"):
        ChromaIndex.open(path, identity)


def test_metadata_of_a_damaged_record_is_not_written_over_with_a_good_sum(path, identity):
    execute(path, "UPDATE records SET text = 'net sales 6' WHERE id = 'p'")
    index = ChromaIndex.open(path, identity)
    with pytest.raises(IndexDamagedError, match="record 'p'"):
        index.update_metadata(["p"], {"n": 1})
    index.update_metadata(["r0"], {"n": 1})
    assert index.get(["r0"])[0].metadata == {"n": 1}
    index.close()


def test_an_index_without_sums_opens_and_has_them_after_the_next_opening_for_writing(tmp_path):
    path = Path(shutil.copytree(OLD, tmp_path / "index"))
    reader = ChromaIndex.open(path, None, read_only=True)
    before = reader.get(reader.ids(), matrices=True)
    reader.close()
    ChromaIndex.open(path, None).close()
    assert execute(path, "SELECT part, count(*) FROM checksums GROUP BY part ORDER BY part") == [
        ("blob", 1),
        ("document", 1),
        ("matrix", 5),
        ("record", 5),
        ("state", 1),
    ]
    reader = ChromaIndex.open(path, None, read_only=True)
    after = reader.get(reader.ids(), matrices=True)
    assert [(r.id, r.text, r.metadata, r.page) for r in after] == [
        (r.id, r.text, r.metadata, r.page) for r in before
    ]
    reader.close()


# ---- decoding ------------------------------------------------------------------------------------


def test_whatever_decoding_raises_names_the_record():
    def deep():
        return deep()

    for fail in (
        lambda: zlib.decompress(b"x"),
        lambda: {}["a"],
        lambda: b"\xff".decode(),
        lambda: int("x"),
        deep,
    ):
        with (
            pytest.raises(IndexDamagedError, match="record 'a' must be as it was written"),
            decode_guard("record", "a"),
        ):
            fail()


def test_what_a_few_bytes_decompress_to_has_a_limit(monkeypatch):
    assert unzip_bytes(zip_bytes(b"words")) == b"words"
    monkeypatch.setattr(stored, "MOST_UNZIPPED", 1000)
    assert unzip_bytes(zip_bytes(b"a" * 1000)) == b"a" * 1000
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        unzip_bytes(zlib.compress(b"a" * 1001))
    with pytest.raises(ValueError, match="must be at most 1000 bytes, got 1001"):
        zip_bytes(b"a" * 1001)
    for wrong in (zlib.compress(b"abc")[:-1], zlib.compress(b"abc") + b"d", zlib.compress(b"a" * 1000)[:-2]):
        with pytest.raises(ValueError, match="cut short or followed"):
            unzip_bytes(wrong)


# ---- files ---------------------------------------------------------------------------------------


def test_a_new_index_is_for_its_user_alone(path):
    def mode(file):
        return stat.S_IMODE(file.stat().st_mode)

    assert mode(path) == 0o700
    files = [file for file in path.iterdir() if file.is_file()]
    assert {file.name for file in files} >= {STORE_NAME}
    assert {file.name: oct(mode(file)) for file in files if mode(file) != 0o600} == {}


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_deleted_while_open_is_told_by_the_next_write(path, identity, replaced):
    index = ChromaIndex.open(path, identity)
    kept = index.get(["r0"])
    shutil.copytree(path, path.with_name("copy"))
    shutil.rmtree(path)
    if replaced:
        path.with_name("copy").rename(path)
    with pytest.raises(IndexFormatError, match="must stay while it is open, got it deleted or replaced"):
        index.add(make_records(1, prefix="late"))
    assert index.get(["r0"]) == kept or replaced
    index.close()


def test_a_sum_is_found_by_its_key_and_not_by_reading_all_of_them(path):
    connection = sqlite3.connect(path / STORE_NAME)
    statements = []
    connection.set_trace_callback(statements.append)
    list(stored_records(connection, "seq = 1", [], matrices=True))
    for part in ("document", "blob", "state"):
        list(stored_values(connection, part))
    connection.set_trace_callback(None)
    plans = [
        step[3]
        for statement in statements
        if "FROM checksums" in statement
        for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        if "checksums" in step[3]
    ]
    assert plans == ["SEARCH checksums USING PRIMARY KEY (part=? AND key=?)"] * 6
    connection.close()
