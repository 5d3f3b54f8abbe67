"""Laws of the search over rows in memory: exact where it claims to be, and never behind the file."""

import threading
from itertools import product

import numpy as np
import pytest

from mmrag.index import row_search
from mmrag.index.chroma import ChromaIndex
from mmrag.index.memory import MemoryIndex
from mmrag.index.resident_rows import HeldRows, ResidentRows, cut_block
from mmrag.index.rows import RowBlock
from mmrag.types import Budget, Record

COUNT, DIM = 120, 8


def records(seed, count=COUNT, first=0):
    """Records of 1 to 12 rows that lie around their row 0, each with a number to filter by."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(first, first + count):
        centre = rng.standard_normal(DIM)
        rows = centre + 0.5 * rng.standard_normal((int(rng.integers(1, 13)), DIM))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        made.append(Record(f"r{number}", rows.astype(np.float32), f"text {number}", {"n": number}))
    return made


def queries(seed, count=6):
    rng = np.random.default_rng(seed)
    return list(rng.standard_normal((count, 3, DIM)).astype(np.float32))


@pytest.fixture(params=["int8", "float16"])
def row_type(request):
    return request.param


@pytest.fixture(params=["whole", "prefix"])
def held(request, monkeypatch):
    """Hold all rows in memory, or two of each record."""
    if request.param == "prefix":
        monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 0)
        monkeypatch.setattr("mmrag.index.resident_rows.PREFIX_ROWS", 2)
    return request.param


@pytest.fixture
def index(tmp_path, identity, row_type):
    index = ChromaIndex.open(tmp_path / "index", identity, row_type=row_type)
    index.add(records(0))
    yield index
    index.close()


def few_survivors(monkeypatch, count):
    for name in ("SURVIVORS", "WHOLE_SURVIVORS"):
        monkeypatch.setattr(row_search, name, count)
    for name in ("SURVIVORS_A_HIT", "WHOLE_SURVIVORS_A_HIT"):
        monkeypatch.setattr(row_search, name, 1)


FILTERS = [None, {"n": {"$lt": 7}}, {"n": {"$lt": 100}}, {"n": 1000}]
BUDGETS = [None, Budget(1, 1), Budget(3, 1), Budget(2, 3)]


def test_exact_search_is_that_of_the_reference(index, identity, row_type, held):
    reference = MemoryIndex.for_embedder(identity, row_type=row_type)
    reference.add(records(0))
    for query, budget, filter in product(queries(1, count=2), BUDGETS, FILTERS):
        expected = reference.search_vectors(query, k=9, budget=budget, filter=filter)
        assert index.search_vectors(query, k=9, budget=budget, filter=filter, exact=True) == expected
        # as many survivors as records
        assert index.search_vectors(query, k=9, budget=budget, filter=filter) == expected


def test_survivors_have_exact_scores_and_are_mostly_the_best(index, held, monkeypatch):
    few_survivors(monkeypatch, 40)
    kept = []
    for query, budget, filter in product(queries(2), BUDGETS, FILTERS):
        exact = index.search_vectors(query, k=5, budget=budget, filter=filter, exact=True)
        hits = index.search_vectors(query, k=5, budget=budget, filter=filter)
        scores = {hit.id: hit.score for hit in index.score(query, [hit.id for hit in hits], budget=budget)}
        assert scores == {hit.id: hit.score for hit in hits}
        assert len(hits) == len(exact)
        kept += [hit in exact for hit in hits]
    assert np.mean(kept) > 0.7


def test_against_single_vectors_the_first_stage_is_the_whole_score(index, held, monkeypatch):
    few_survivors(monkeypatch, 12)
    for query in queries(3):
        hits = index.search_vectors(query, k=5, budget=Budget(3, 1))
        assert hits == index.search_vectors(query, k=5, budget=Budget(3, 1), exact=True)


def numbers(rows: HeldRows):
    """The rows held of each record, in order."""
    block = rows.block
    parts = np.split(block.decode(), block.starts[1:-1])
    return {int(seq): part.tolist() for seq, part in zip(block.seqs, parts, strict=True)}


def test_rows_follow_the_file_and_only_changes_are_read(index, held, monkeypatch):
    """Added, replaced and deleted records, beside a fresh reading of all."""
    store = index._store
    resident = ResidentRows(store)
    asked = []
    block = store.block
    monkeypatch.setattr(
        store, "block", lambda c, seqs=None, most=None: asked.append(seqs) or block(c, seqs, most)
    )
    with store.database.read() as connection:
        resident.current(connection)
    index.add(records(5, count=3, first=COUNT))
    index.add(records(6, count=2, first=7))  # r7 and r8 again, with other rows
    index.delete(["r3", "r50"])
    with store.database.read() as connection:
        now = resident.current(connection)
        assert asked == [None, [4, 8, 9, 51, 121, 122, 123]]
        assert resident.current(connection) is now
        assert numbers(now) == numbers(ResidentRows(store).current(connection))
    assert now.block.seqs.tolist() == sorted(now.block.seqs.tolist())
    assert now.is_whole == (held == "whole" and store.manifest.row_type == "int8")


def test_an_index_that_grows_too_large_is_held_by_its_first_rows(tmp_path, identity, monkeypatch):
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 10)
    index = ChromaIndex.open(tmp_path / "index", identity)
    index.add(records(0, count=10))
    resident = ResidentRows(index._store)
    with index._store.database.read() as connection:
        assert resident.current(connection).is_whole
    index.add(records(1, count=1, first=10))
    with index._store.database.read() as connection:
        grown = resident.current(connection)
    assert not grown.is_whole and len(grown.block.seqs) == 11
    assert np.diff(grown.block.starts).max() <= 8
    index.close()


def test_a_search_that_began_before_a_commit_sees_the_state_it_began_with(index, held):
    store = index._store
    resident = ResidentRows(store)
    with store.database.read() as earlier:
        store.generation(earlier)  # SQLite takes its snapshot with the first statement
        index.delete(["r0"])
        with store.database.read() as later:
            assert len(resident.current(later).block.seqs) == COUNT - 1
        assert len(resident.current(earlier).block.seqs) == COUNT
        with store.database.read() as later:
            assert len(resident.current(later).block.seqs) == COUNT - 1


def test_readers_of_other_handles_see_each_commit(index, held, identity, tmp_path):
    reader = ChromaIndex.open(tmp_path / "index", identity, read_only=True)
    query = np.eye(DIM, dtype=np.float32)[:1]
    for round in range(5):
        index.add([Record(f"best{round}", (2 + round) * np.eye(DIM, dtype=np.float32)[:1], "x")])
        assert reader.search_vectors(query, k=1)[0].id == f"best{round}"
    index.delete(["best4"])
    assert reader.search_vectors(query, k=1)[0].id == "best3"
    reader.close()


def test_threads_search_while_another_adds_and_deletes(index, held, monkeypatch):
    few_survivors(monkeypatch, 30)
    failures = []

    def search():
        for query in queries(4, count=12):
            hits = index.search_vectors(query, k=5)
            if len(hits) != 5 or [hit.score for hit in hits] != sorted(
                (hit.score for hit in hits), reverse=True
            ):
                failures.append(hits)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for round in range(6):
        index.add(records(10 + round, count=4, first=200 + 4 * round))
        index.delete([f"r{200 + 4 * round}"])
    for thread in threads:
        thread.join()
    assert failures == []


def test_cut_by_hand():
    """Three records of 1, 3 and 2 rows."""
    block = RowBlock(
        np.array([4, 6, 9]),
        np.array([0, 1, 4, 6]),
        np.arange(6, dtype=np.int8)[:, None],
        np.arange(6, dtype=np.float32),
    )
    cut = cut_block(block, None, 2)
    assert (cut.starts.tolist(), cut.numbers[:, 0].tolist()) == ([0, 1, 3, 5], [0, 1, 2, 4, 5])
    cut = cut_block(block, np.array([2, 0]), None)
    assert (cut.seqs.tolist(), cut.starts.tolist()) == ([9, 4], [0, 2, 3])
    assert (cut.numbers[:, 0].tolist(), cut.peaks.tolist()) == ([4, 5, 0], [4, 5, 0])
    assert cut_block(block, None, 3) is block
    assert cut_block(block, np.array([], np.intp), 1).starts.tolist() == [0]


def test_positions_of_records_that_are_not_there_are_left_out():
    def held(seqs):
        starts, codes = np.arange(len(seqs) + 1), np.zeros((len(seqs), 1), np.int8)
        return HeldRows(1, RowBlock(np.array(seqs, np.int64), starts, codes, None), is_whole=False)

    assert held([2, 5, 7]).positions(np.array([1, 2, 6, 7, 9])).tolist() == [0, 2]
    assert held([]).positions(np.array([1])).tolist() == []
