"""Open folders as a user would, each in a process with limits: ``python open_hostile.py FOLDER...``

Prints a line of JSON for each folder: what each step ended in, or the signal that ended its process.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

import chromadb  # noqa: F401  once, not in each process
import numpy as np

from mmrag.errors import IndexFormatError
from mmrag.index.chroma import ChromaIndex
from mmrag.index.files_check import check_folder
from mmrag.types import Record

CPU_SECONDS = 20
WALL_SECONDS = 100  # a pipe that is waited for takes no processor time
MEMORY = 4 << 30


def read(path: Path) -> None:
    search(ChromaIndex.open(path, None, read_only=True))


def write(path: Path) -> None:
    index = ChromaIndex.open(path, None)
    try:
        dim = index.manifest.dim
        index.add([Record("late", np.ones((1, dim)), "a late page", {"n": 99})])
        index.update_metadata(["r1"], {"n": 7})
    except BaseException:
        index.close()
        raise
    search(index)


def search(index: ChromaIndex) -> None:
    try:
        query = np.ones((2, index.manifest.dim))
        ids = index.ids()
        index.search_vectors(query, k=5)
        index.search_vectors(query[:1], k=5, filter={"kind": "report"})
        index.search_text("net sales page", k=5)
        index.count()
        index.values("n")
        index.documents()
        index.get_blob("cd" * 32)
        for record in index.get(ids, matrices=True):
            if record.page is not None:
                len(record.page.words)  # decodes them
            if record.page is not None and record.page.blocks:
                [block.table.grid() for block in record.page.blocks if block.table]
    finally:
        index.close()


def check(path: Path) -> None:
    check_folder(path)


def repair(path: Path) -> None:
    check_folder(path, repair=True)


def end_of(step, path: Path) -> str:
    """How a step ends: ``fine``, ``told``, or what else it raised."""
    try:
        step(path)
    except IndexFormatError:
        return "told"
    except BaseException as error:  # noqa: BLE001  said to the test
        return f"{type(error).__name__}: {error}"
    return "fine"


def main(paths: list[str]) -> None:
    for path in paths:
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            signal.alarm(WALL_SECONDS)
            for step in (read, check, write, repair):
                os.write(sender, (json.dumps({step.__name__: end_of(step, Path(path))}) + "\n").encode())
            os._exit(0)
        os.close(sender)
        with os.fdopen(receiver) as lines:
            ends = {name: end for line in lines for name, end in json.loads(line).items()}
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            ends["signal"] = signal.Signals(os.WTERMSIG(status)).name
        print(json.dumps([Path(path).parent.name, ends]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
