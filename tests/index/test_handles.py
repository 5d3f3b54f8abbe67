"""One process opens its own index again: one set of files, closed with the last handle."""

from __future__ import annotations

import gc
import shutil
import threading
from contextlib import ExitStack

import pytest

from mmrag.errors import IndexLockedError, IndexMismatchError, IndexReadOnlyError
from mmrag.index.chroma import ChromaIndex
from mmrag.index.lock import WriterLock

from .conftest import make_records

THREADS = 4


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index"


def is_locked(path) -> bool:
    """Whether somebody holds the lock, as another process would find."""
    try:
        WriterLock(path).release()
    except IndexLockedError:
        return True
    return False


def test_what_one_handle_writes_the_other_finds(path, identity) -> None:
    with_one, with_two = ChromaIndex.open(path, identity), ChromaIndex.open(path, identity)
    with_one.add(make_records(3))
    with_two.delete(["r0"])
    with_two.add(make_records(2, prefix="s", seed=1))
    assert with_one.ids() == with_two.ids() == ["r1", "r2", "s0", "s1"]
    record = make_records(3)[2]
    assert [index.search_vectors(record.matrix, k=1)[0].id for index in (with_one, with_two)] == ["r2"] * 2


def test_closing_one_keeps_the_other_and_the_last_frees_the_lock(path, identity) -> None:
    first, second = ChromaIndex.open(path, identity), ChromaIndex.open(path, identity)
    first.close()
    first.close()  # which takes nothing from the second
    with pytest.raises(ValueError, match="the index is closed"):
        first.ids()
    with pytest.raises(ValueError, match="the index is closed"):
        first.add(make_records(1))
    second.add(make_records(1))
    assert second.ids() == ["r0"]
    assert is_locked(path)
    second.close()
    assert not is_locked(path)


def test_a_cell_run_twice_leaves_one_handle_to_close(path, identity) -> None:
    class Store:
        """Holds an index in a circle, as `DocumentQA` does."""

        def __init__(self) -> None:
            self.index, self.itself = ChromaIndex.open(path, identity), self

    gc.disable()  # so that nothing but `close` looks for the first
    try:
        for _ in range(3):
            store = Store()
            store.index.add(make_records(1))
        store.index.close()
        assert not is_locked(path)
    finally:
        gc.enable()


def test_another_name_of_the_folder_is_the_same_index(path, identity) -> None:
    first = ChromaIndex.open(path, identity)
    link = path.with_name("link")
    link.symlink_to(path, target_is_directory=True)
    second = ChromaIndex.open(link, identity)
    first.add(make_records(1))
    assert second.ids() == ["r0"]
    first.close()
    second.close()
    assert not is_locked(path)


def test_another_embedder_is_refused_and_counts_as_no_handle(path, identity, make_identity) -> None:
    first = ChromaIndex.open(path, identity)
    with pytest.raises(IndexMismatchError):
        ChromaIndex.open(path, make_identity(fingerprint="f" * 64))
    first.close()
    assert not is_locked(path)


def test_a_reader_beside_the_writer_stays_a_reader(path, identity) -> None:
    writer = ChromaIndex.open(path, identity)
    reader = ChromaIndex.open(path, identity, read_only=True)
    writer.add(make_records(2))
    assert reader.ids() == ["r0", "r1"]
    with pytest.raises(IndexReadOnlyError):
        reader.delete(["r0"])
    reader.close()
    assert writer.count() == 2
    writer.close()


def test_a_folder_that_was_deleted_is_not_the_index_that_is_open(path, identity) -> None:
    old = ChromaIndex.open(path, identity)
    old.add(make_records(1))
    shutil.rmtree(path)
    new = ChromaIndex.open(path, identity)
    assert new.ids() == []
    new.add(make_records(1, prefix="new"))
    old.close()
    assert new.ids() == ["new0"]
    new.close()
    assert not is_locked(path)


def test_a_repair_through_one_handle_serves_the_other(path, identity) -> None:
    first, second = ChromaIndex.open(path, identity), ChromaIndex.open(path, identity)
    first.add(make_records(3))
    assert first.check(repair=True).is_sound
    second.add(make_records(1, prefix="later"))
    assert first.ids() == second.ids() == ["r0", "r1", "r2", "later0"]


def test_threads_that_open_and_close_at_once_share_or_take_turns(path, identity) -> None:
    barrier, errors = threading.Barrier(THREADS), []

    def work(number: int) -> None:
        barrier.wait()
        try:
            for round in range(2):
                index = ChromaIndex.open(path, identity)
                index.add(make_records(1, prefix=f"t{number}-{round}-", seed=number))
                index.close()
        except Exception as error:  # noqa: BLE001  a thread's error is the test's
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert not is_locked(path)
    with_all = ChromaIndex.open(path, identity)
    assert with_all.count() == 2 * THREADS
    with_all.close()


def test_connections_of_many_readers_at_once_are_not_all_kept(path, identity) -> None:
    """Each holds a descriptor and memory of SQLite: a burst of readers must not leave them behind."""
    index = ChromaIndex.open(path, identity)
    database = index._store.database
    with ExitStack() as readers:
        for _ in range(40):
            readers.enter_context(database.read())
    assert 1 <= len(database._pool) <= 8
    index.close()
