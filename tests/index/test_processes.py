"""Several processes and one index: killing the writer, reading beside it, writing twice."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmrag.errors import IndexLockedError
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import STORE_NAME
from mmrag.types import Budget

from .writing_process import BATCH, records

SCRIPT = Path(__file__).with_name("writing_process.py")
ROUNDS = 4


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index"


def start(path, *arguments):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def kill(process):
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.stdin.close()
    process.stdout.close()
    process.wait()
    return rest


def assert_consistent(index, path):
    """Records, words, row 0 in SQLite and row 0 in Chroma are the same set, and all are found."""
    ids = index.ids()
    connection = sqlite3.connect(path / STORE_NAME)
    for table in ("vectors", "first", "lexical"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (len(ids),)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.execute("INSERT INTO lexical(lexical) VALUES ('integrity-check')")
    connection.close()
    assert index._vectors is not None
    assert set(index._vectors._collection.get(include=[])["ids"]) == set(ids)
    assert {hit.id for hit in index.search_text("zinc", k=len(ids) + 1)} == set(ids)
    for record in index.get(ids[:: max(1, len(ids) // 100)] + ids[-20:], matrices=True):
        first = record.matrix[0].astype(np.float32)
        assert record.id in [id for id, _ in index._vectors.search(first, 8)]
    for record in index.get(ids[:: max(1, len(ids) // 20)], matrices=True):
        query = record.matrix[:1]
        assert index.search_vectors(query, k=1, budget=Budget(1, 1))[0].id == record.id
        assert record.id in {hit.id for hit in index.search_text(record.text, k=2)}


def batches(index):
    """Batches that are there, each whole, with the version its records say."""
    found = {}
    for batch in index.values("b"):
        texts = [record.text for record in index.get(index.ids({"b": batch}))]
        assert len(texts) == BATCH, "a batch is there whole or not at all"
        versions = {text.split()[-1] for text in texts}
        assert len(versions) == 1, "a batch is replaced whole or not at all"
        found[batch] = versions.pop()
    return found


def expected(done):
    """The batches that are there after the writer has said `done`, from the first one on."""
    state = {}
    for batch in range(done + 1):
        state[batch] = "version0"
        if batch % 3 == 2:
            state[batch - 1] = "version1"
            del state[batch - 2]
    return state


def states_in_flight(done):
    """What may be there when the writer was killed after saying `done`: each write of the next batch."""
    state = expected(done)
    allowed = [dict(state)]
    state[done + 1] = "version0"
    allowed.append(dict(state))
    if (done + 1) % 3 == 2:
        state[done] = "version1"
        allowed.append(dict(state))
        del state[done - 1]
        allowed.append(dict(state))
    return allowed


def test_kill_at_any_moment_loses_at_most_the_batch_in_flight(path, identity):
    chance = random.Random(20)
    done = -1
    for round in range(ROUNDS):
        process = start(path, "until-killed", str(done + 1))
        # every round gets further into the writer's life; then a moment that nobody chose
        said = -1
        if round:
            assert process.stdout.readline() == "opened\n"
            for _ in range(chance.randrange(1, 5)):
                said = int(process.stdout.readline())
        time.sleep(chance.random() * (0.3 if round else 1.5))
        rest = [line for line in kill(process).split() if line.isdigit()]
        done = max([done, said, *map(int, rest)])

        index = ChromaIndex.open(path, identity)
        there = batches(index)
        assert there in states_in_flight(done)
        assert_consistent(index, path)
        # and it can go on: bring it to the end of the batch that was in flight
        done += 1
        index.add(records(done))
        if done % 3 == 2:
            index.add(records(done - 1, version=1))
            index.delete([f"b{done - 2}-{n}" for n in range(BATCH)])
        assert batches(index) == expected(done)
        index.close()
    index = ChromaIndex.open(path, identity)
    assert_consistent(index, path)
    index.close()
    assert done >= ROUNDS


def test_second_writing_process_is_told_who_writes_and_readers_work(path, identity):
    process = start(path, "by-line")
    try:
        assert process.stdout.readline() == "opened\n"
        with pytest.raises(IndexLockedError) as refused:
            ChromaIndex.open(path, identity)
        message = str(refused.value)
        assert f"process {process.pid} on " in message
        assert "writing_process.py" in message and "read_only=True" in message

        reader = ChromaIndex.open(path, identity, read_only=True)
        for batch in range(3):
            assert reader.count() == batch * BATCH
            process.stdin.write(f"{batch}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{batch}\n"
            wanted = records(batch)[-1]
            assert reader.search_vectors(wanted.matrix[:1], k=1, budget=Budget(1, 1))[0].id == wanted.id
            assert reader.search_text(f"batch{batch} number7", k=1)[0].id == f"b{batch}-7"

        process.stdin.write("3\n")
        process.stdin.flush()
        kill(process)
        assert reader.count() in (3 * BATCH, 4 * BATCH)
        writer = ChromaIndex.open(path, identity)  # the dead one's note stands, its lock does not
        assert_consistent(writer, path)
        writer.add(records(9))
        assert reader.count() == writer.count()
        reader.close()
        writer.close()
    finally:
        process.kill()
        process.wait()
