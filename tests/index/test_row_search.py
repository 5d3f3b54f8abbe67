"""Laws of the search over rows in memory: exact where it claims to be, and never behind the file."""

import os
import threading
from itertools import product

import numpy as np
import pytest

from mmrag.index import row_search
from mmrag.index.chroma import ChromaIndex
from mmrag.index.mapped_rows import MappedRows, first_row_count
from mmrag.index.memory import MemoryIndex
from mmrag.index.resident_rows import HeldRows, ResidentRows, cut_block
from mmrag.index.row_search import strong_rows
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


@pytest.fixture(params=["whole", "mapped", "prefix"])
def held(request, monkeypatch):
    """Hold all rows in memory, or in a mapped file, or two of each record in memory."""
    if request.param != "whole":
        monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 0)
        monkeypatch.setattr("mmrag.index.resident_rows.RECORDS_AT_ONCE", 50)
    if request.param == "prefix":
        monkeypatch.setattr("mmrag.index.resident_rows.MAPPED_BYTES", 0)
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
    for name in ("SURVIVORS_A_HIT", "WHOLE_SURVIVORS_A_HIT", "CANDIDATES_A_HIT"):
        monkeypatch.setattr(row_search, name, 1)
    monkeypatch.setattr(row_search, "CANDIDATES", 2 * count)


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


def numbers(rows: HeldRows | MappedRows):
    """The rows held of each record, in order."""
    block = rows.cut(None, None)
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
        loaded = [] if held == "mapped" else [None]
        assert asked == [*loaded, [4, 8, 9, 51, 121, 122, 123]]
        assert resident.current(connection) is now
        assert numbers(now) == numbers(ResidentRows(store).current(connection))
    assert now.seqs.tolist() == sorted(now.seqs.tolist())
    assert now.is_whole == (held != "prefix" and store.manifest.row_type == "int8")
    assert isinstance(now, MappedRows) == (held == "mapped")


@pytest.fixture
def resident_of(tmp_path, identity):
    """Give the rows at hand of an index of ten records, and the index."""
    index = ChromaIndex.open(tmp_path / "index", identity)
    index.add(records(0, count=10))
    yield index, ResidentRows(index._store)
    index.close()


def current(index, resident):
    with index._store.database.read() as connection:
        return resident.current(connection)


def test_an_index_that_grows_too_large_for_memory_is_mapped(resident_of, monkeypatch):
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 10)
    index, resident = resident_of
    assert isinstance(current(index, resident), HeldRows)
    index.add(records(1, count=1, first=10))
    grown = current(index, resident)
    assert isinstance(grown, MappedRows)
    assert numbers(grown) == numbers(current(index, ResidentRows(index._store)))


def test_a_mapped_file_goes_with_its_process(resident_of, monkeypatch, tmp_path):
    """It has no name, so that nothing can be found of it, and nothing is left by a process that is killed."""
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    index, resident = resident_of
    assert isinstance(current(index, resident), MappedRows)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_where_rows_cannot_be_mapped_the_first_ones_are_held(resident_of, monkeypatch, caplog):
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 0)
    monkeypatch.setattr("mmrag.index.mapped_rows.FREE_SHARE", 1 << 60)
    index, resident = resident_of
    held = current(index, resident)
    assert isinstance(held, HeldRows) and not held.is_whole
    assert np.diff(held.block.starts).max() <= 8
    assert "cannot be mapped" in caplog.text and "TMPDIR" in caplog.text


def test_states_that_a_search_looks_at_stay_while_rows_are_added(resident_of, monkeypatch):
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 0)
    index, resident = resident_of
    states = [current(index, resident)]
    kept = [numbers(states[0])]
    for round in range(4):
        index.add(records(round, count=3, first=8 + round))  # replaces some, adds some
        states.append(current(index, resident))
        kept.append(numbers(states[-1]))
    assert len({id(state.file) for state in states}) == 1
    assert [numbers(state) for state in states] == kept


def test_a_file_of_rows_that_are_gone_is_written_anew(resident_of, monkeypatch):
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 0)
    index, resident = resident_of
    first = current(index, resident)
    for _ in range(3):
        index.add(records(2, count=10))
        last = current(index, resident)
    assert last.file is not first.file
    assert numbers(last) == numbers(current(index, ResidentRows(index._store)))


def test_a_write_that_fails_leaves_what_was_there(resident_of, monkeypatch):
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 0)
    index, resident = resident_of
    state = current(index, resident)
    kept = numbers(state)

    class FullDisk:
        def __getattr__(self, name):
            return getattr(state_file, name)

        def flush(self):
            raise OSError("no space left")

    state_file = state.file._file
    index.add(records(1, count=2, first=10))
    with monkeypatch.context() as context:
        context.setattr(state.file, "_file", FullDisk())
        assert current(index, resident).file is not state.file  # made anew, elsewhere
    assert numbers(state) == kept
    block = resident._store.block
    with index._store.database.read() as connection:
        later = state.follow(9, np.array([11, 12]), block(connection, [11, 12]))
    assert numbers(later) == numbers(current(index, ResidentRows(index._store)))


def test_after_a_fork_the_file_is_the_parents(resident_of, monkeypatch):
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 0)
    index, resident = resident_of
    before = current(index, resident)
    parent = os.getpid()
    monkeypatch.setattr("os.getpid", lambda: parent + 1)
    assert current(index, resident) is before  # what is there is read
    index.add(records(1, count=1, first=10))
    after = current(index, resident)
    assert after.file is not before.file
    assert len(before.file.first_rows[0]) == 10


def test_first_scores_are_of_the_first_rows(resident_of, monkeypatch):
    """Against loops; records that were replaced or deleted have none, and budgets cut."""
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 0)
    index, resident = resident_of
    current(index, resident)
    index.add(records(1, count=4, first=8))
    index.delete(["r2"])
    state = current(index, resident)
    rows = numbers(state)
    query = queries(4, count=1)[0][0]
    for most in (None, 1, 3):
        scores = state.first_scores(query, most)
        expected = [max(np.array(rows[seq][: most or 8]) @ query) for seq in sorted(rows)]
        np.testing.assert_allclose(scores / 127, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("records", "rows"), [(1, 8), (32_768, 8), (32_769, 4), (65_537, 2), (131_073, 1), (10**9, 1)]
)
def test_first_rows_in_memory(records, rows):
    assert first_row_count(records) == rows


def test_strong_rows_by_hand():
    query = np.array([[4, 0], [0, 1], [0.9, 0], [0, 0]], np.float32)
    assert strong_rows(query).tolist() == [[4, 0], [0, 1]]


def test_an_index_is_held_by_its_first_rows_where_it_is_too_large_to_be_mapped(
    tmp_path, identity, monkeypatch
):
    monkeypatch.setattr("mmrag.index.resident_rows.WHOLE_RECORDS", 10)
    monkeypatch.setattr("mmrag.index.resident_rows.MAPPED_BYTES", 0)
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
            assert len(resident.current(later).seqs) == COUNT - 1
        assert len(resident.current(earlier).seqs) == COUNT
        with store.database.read() as later:
            assert len(resident.current(later).seqs) == COUNT - 1


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
