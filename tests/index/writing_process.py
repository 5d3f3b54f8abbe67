"""A process that writes an index until it is told to stop, or is killed; run by test_processes.py.

Adds batches of `BATCH` records, named after their batch; every third batch it also replaces the batch
before, and deletes the one before that. Says "opened", then the number of each batch that is done.
"""

import sys
from types import SimpleNamespace

import numpy as np

from mmrag.index.chroma import ChromaIndex
from mmrag.types import Record

BATCH = 120
DIM = 8


def vector(batch, n, version):
    """The direction of a record, different for every version of it."""
    row = np.random.default_rng([batch, n, version]).standard_normal((2, DIM))
    return row / np.linalg.norm(row, axis=1, keepdims=True)


def records(batch, version=0):
    return [
        Record(
            f"b{batch}-{n}",
            vector(batch, n, version),
            f"zinc batch{batch} number{n} version{version}",
            {"b": batch},
        )
        for n in range(BATCH)
    ]


def write(index, start, say):
    batch = start
    while True:
        index.add(records(batch))
        if batch % 3 == 2:
            index.add(records(batch - 1, version=1))
            index.delete([f"b{batch - 2}-{n}" for n in range(BATCH)])
        say(batch)
        batch += 1


if __name__ == "__main__":
    identity = SimpleNamespace(name="tiny", fingerprint="0123456789abcdef" * 4, dim=DIM)
    index = ChromaIndex.open(sys.argv[1], identity)
    print("opened", flush=True)
    if sys.argv[2] == "until-killed":
        write(index, int(sys.argv[3]), lambda batch: print(batch, flush=True))
    for line in sys.stdin:  # one batch a line
        index.add(records(int(line)))
        print(int(line), flush=True)
    index.close()
