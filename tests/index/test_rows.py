"""Rows come back within half a step of their type, and encoded again they are the same bytes."""

from dataclasses import replace

import numpy as np
import pytest

from mmrag.index.base import ROW_TYPES, manifest_for
from mmrag.index.chroma import ChromaIndex
from mmrag.index.memory import MemoryIndex
from mmrag.index.rows import RowCodec
from mmrag.types import Budget

from .conftest import Identity, make_records, unit

CODECS = [RowCodec(dim, row_type) for row_type in ROW_TYPES for dim in (1, 3, 128)]
BOTH = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: f"{codec.row_type}-{codec.dim}")


def test_a_row_of_int8_is_its_peak_and_whole_steps():
    matrix = np.array([[1.0, -0.5, 0.0], [0.0, 0.0, 0.0], [-127.0, 3.4, 3.6]])
    data = RowCodec(3).encode(matrix)
    assert np.frombuffer(data, "<f4", 3).tolist() == [1.0, 0.0, 127.0]
    assert np.frombuffer(data, np.int8, offset=12).tolist() == [127, -64, 0, 0, 0, 0, -127, 3, 4]
    back = RowCodec(3).decode(data)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, np.float32([[1, -64 / 127, 0], [0, 0, 0], [-127, 3, 4]]))
    np.testing.assert_array_equal(RowCodec(3).decode(data, 1), back[:1])
    assert RowCodec(3).first(data) == data[:4] + data[12:15]


def draw(rng, dim):
    """Rows of every size that is stored, and of numbers of very different sizes."""
    matrix = rng.standard_normal((rng.integers(1, 9), dim)) * 10.0 ** rng.integers(-20, 4, (1, 1))
    return matrix * 10.0 ** rng.uniform(-3, 0, matrix.shape)


@pytest.mark.parametrize("dim", [1, 3, 128])
def test_numbers_come_back_within_half_a_step(dim):
    rng, codec = np.random.default_rng(dim), RowCodec(dim)
    for _ in range(200):
        matrix = draw(rng, dim)
        steps = np.abs(matrix).max(1, keepdims=True) / 127
        error = np.abs(codec.decode(codec.encode(matrix)) - matrix)
        assert (error <= steps * (0.5 + 1e-4)).all()


def test_scores_differ_by_no_more_than_the_steps_allow():
    """A product with a unit row is off by half a step of each number, so by sqrt(dim) / 254 of a peak."""
    rng, codec = np.random.default_rng(0), RowCodec(128)
    rows, query = unit(rng.standard_normal((500, 128))), unit(rng.standard_normal((16, 128)))
    error = np.abs((codec.decode(codec.encode(rows)) - rows) @ query.T)  # (rows, queries)
    assert (error <= np.sqrt(128) / 254 * np.abs(rows).max(1, keepdims=True)).all()
    assert error.mean() < 1e-3, "and mostly by far less, since the errors have both signs"


@BOTH
def test_what_comes_back_is_written_as_the_same_bytes(codec):
    rng = np.random.default_rng(codec.dim)
    for _ in range(200):
        matrix = draw(rng, codec.dim)
        data = codec.encode(matrix)
        assert len(data) == len(matrix) * codec.row_bytes
        assert codec.encode(codec.decode(data)) == data
        assert codec.decode(codec.first(data)).tobytes() == codec.decode(data, 1).tobytes()


def test_float16_comes_back_to_the_bit():
    matrix = np.array([[0.1, -65504.0, 6e-8], [-0.0, 1.0, 2.0]], np.float16)
    codec = RowCodec(3, "float16")
    back = codec.decode(codec.encode(matrix))
    assert back.dtype == np.float16 and back.tobytes() == matrix.tobytes()


def test_rows_too_small_for_a_step_are_zero():
    codec = RowCodec(2)
    assert codec.decode(codec.encode(np.array([[1e-37, -1e-40], [1e-35, 0]]))).any(1).tolist() == [
        False,
        True,
    ]


@BOTH
def test_a_block_is_the_rows_of_its_records_one_after_the_other(codec):
    rng = np.random.default_rng(1)
    encoded = [codec.encode(draw(rng, codec.dim)) for _ in range(20)]
    for most in (None, 1, 3, 100):
        block = codec.block(range(20), encoded, most)
        decoded = [codec.decode(data, most) for data in encoded]
        np.testing.assert_array_equal(block.decode(), np.concatenate(decoded).astype(np.float32))
        assert np.diff(block.starts).tolist() == [len(matrix) for matrix in decoded]
        assert block.seqs.tolist() == list(range(20))
        if block.steps is None:
            assert codec.row_type == "float16"
        else:
            rows = block.numbers * block.steps[:, None]
            np.testing.assert_allclose(rows, block.decode(), rtol=1e-6)
    empty = codec.block([], [])
    assert empty.decode().shape == (0, codec.dim) and empty.starts.tolist() == [0]


@BOTH
def test_bytes_that_are_no_rows_are_refused(codec):
    whole = codec.encode(np.ones((2, codec.dim)))
    bad = [b"", whole[:-1], whole + b"\0", "text", None]
    if codec.row_type == "int8":
        bad += [np.float32([peak, 1]).tobytes() + whole[8:] for peak in (np.nan, np.inf, -1.0)]
    for data in bad:
        with pytest.raises(ValueError):
            codec.decode(data)
        with pytest.raises(ValueError):
            codec.block([1, 2], [whole, data])


# -- settings of an index -----------------------------------------------------------------------


def both_homes(path, **settings):
    return (
        ChromaIndex.open(path, Identity(), **settings),
        MemoryIndex.for_embedder(Identity(), **settings),
    )


@pytest.mark.parametrize("row_type", [None, *ROW_TYPES])
@pytest.mark.parametrize("rows", [None, 1, 2, 9])
def test_an_index_stores_what_it_was_made_for_in_every_home(tmp_path, row_type, rows):
    records = make_records(30)
    query = make_records(1, seed=9, rows=3)[0].matrix
    found = []
    for index in both_homes(tmp_path / "index", row_type=row_type, rows=rows):
        assert (index.manifest.row_type, index.manifest.rows) == (row_type or "int8", rows)
        index.add(records)
        stored = index.get([record.id for record in records], matrices=True)
        step = np.abs(records[0].matrix).max() / (254 if index.manifest.row_type == "int8" else 2048)
        for record, kept in zip(records, stored, strict=True):
            assert kept.matrix.shape == (min(rows or 4, 4), 8)
            np.testing.assert_allclose(kept.matrix, record.matrix[:rows], atol=max(step, 1 / 254), rtol=0)
        searches = [index.search_vectors(query, k=30, budget=b) for b in (None, Budget(1, 1), Budget(3, 2))]
        found.append(([record.matrix.tobytes() for record in stored], searches))
        index.close()
    assert found[0] == found[1]


def test_an_index_keeps_what_it_was_made_with(tmp_path):
    path = tmp_path / "index"
    ChromaIndex.open(path, Identity(), row_type="float16", rows=2).close()
    for settings in ({}, {"row_type": "float16"}, {"rows": 2}):
        for read_only in (False, True):
            index = ChromaIndex.open(path, Identity(), read_only=read_only, **settings)
            assert (index.manifest.row_type, index.manifest.rows) == ("float16", 2)
            index.close()
    with pytest.raises(ValueError, match="row_type must be that of the index, 'float16', got 'int8'"):
        ChromaIndex.open(path, Identity(), row_type="int8")
    with pytest.raises(ValueError, match="rows must be that of the index, 2, got 3"):
        ChromaIndex.open(path, Identity(), rows=3, read_only=True)


@pytest.mark.parametrize("rows", [0, -1, 1.5, True, "16"])
def test_rows_are_a_whole_number(tmp_path, rows):
    with pytest.raises(ValueError, match="rows must be a whole number of at least 1"):
        ChromaIndex.open(tmp_path / "index", Identity(), rows=rows)
    assert not (tmp_path / "index").exists()


def test_a_row_type_must_be_known(tmp_path):
    with pytest.raises(ValueError, match="row_type must be one of 'int8', 'float16', got 'int4'"):
        ChromaIndex.open(tmp_path / "index", Identity(), row_type="int4")


def test_rows_that_are_no_nested_prefix_are_not_cut():
    class Unnested(Identity):
        nested = False

    assert manifest_for(Unnested()).rows is None
    with pytest.raises(
        ValueError, match="rows must be None for an embedder whose rows are not nested, got 16"
    ):
        manifest_for(Unnested(), rows=16)


@pytest.mark.parametrize("row_type", ROW_TYPES)
def test_the_rows_of_many_records_are_read_at_once(tmp_path, row_type):
    index = ChromaIndex.open(tmp_path / "index", Identity(), row_type=row_type)
    records = make_records(700, rows=3)
    index.add(records)
    index.delete(["r5"])
    with index._store.database.read() as connection:
        seqs = index._store.seqs(connection, ["r9", "r2", "r600"])
        for most in (None, 1, 2):
            block = index._store.block(connection, most=most)
            assert block.seqs.tolist() == [n + 1 for n in range(700) if n != 5]
            some = index._store.block(connection, [seqs["r9"], 6, seqs["r2"], 9999], most)
            assert some.seqs.tolist() == [seqs["r9"], seqs["r2"]]
            expected = [matrix for _, matrix in index._store.matrices(connection, block.seqs.tolist(), most)]
            np.testing.assert_array_equal(block.decode(), np.concatenate(expected))
    index.close()


# -- what changed ---------------------------------------------------------------------------------


class Follower:
    """Rows by number, kept up to date by what the file says has changed."""

    def __init__(self):
        self.generation, self.rows, self.full_loads = -1, {}, 0

    def follow(self, store):
        with store.database.read() as connection:
            changes = store.changes(connection, self.generation) if self.generation >= 0 else None
            block = store.block(connection, changes)
            self.generation = store.generation(connection)
        self.full_loads += changes is None
        if changes is None:
            self.rows = {}
        for seq in changes or ():
            self.rows.pop(seq, None)
        for n, seq in enumerate(block.seqs.tolist()):
            self.rows[seq] = block.decode()[block.starts[n] : block.starts[n + 1]].tobytes()


def stored_rows(index):
    records = index.get(index.ids(), matrices=True)
    return sorted(record.matrix.astype(np.float32).tobytes() for record in records)


def test_who_follows_the_changes_has_the_rows_of_the_file(tmp_path):
    """Random writes by one process, followed by a reader of each of them and a reader of every third."""
    rng = np.random.default_rng(0)
    index = ChromaIndex.open(tmp_path / "index", Identity())
    reader = ChromaIndex.open(tmp_path / "index", Identity(), read_only=True)
    followers = [Follower(), Follower()]
    for step in range(40):
        ids = [f"r{n}" for n in rng.choice(30, rng.integers(1, 6), replace=False)]
        if rng.random() < 0.3:
            index.delete(ids)
        else:
            records = make_records(len(ids), seed=step, rows=int(rng.integers(1, 5)))
            index.add([replace(record, id=id) for record, id in zip(records, ids, strict=True)])
        for follower in followers[: 2 if step % 3 == 0 else 1]:
            follower.follow(reader._store)
            assert sorted(follower.rows.values()) == stored_rows(index)
    assert [follower.full_loads for follower in followers] == [1, 1]
    reader.close()
    index.close()


def test_after_a_repair_all_is_read_again(tmp_path):
    index = ChromaIndex.open(tmp_path / "index", Identity())
    reader = ChromaIndex.open(tmp_path / "index", Identity(), read_only=True)
    index.add(make_records(5))
    index.delete(["r0"])  # so that the numbers of a new file are others
    follower = Follower()
    follower.follow(reader._store)
    with index._store.database.write() as connection:
        connection.execute("DELETE FROM first WHERE seq = 3")
    assert index.check(repair=True).is_repaired
    follower.follow(reader._store)
    assert follower.full_loads == 2 and sorted(follower.rows.values()) == stored_rows(index)
    index.add(make_records(1, prefix="late"))
    follower.follow(reader._store)
    assert follower.full_loads == 2 and sorted(follower.rows.values()) == stored_rows(index)
    reader.close()
    index.close()
