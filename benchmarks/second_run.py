"""Adding a folder again that has not changed: seconds for many small files, and where they go.

    python benchmarks/second_run.py [--files 10000] [--json second_run.json] [--profile] [--small]

Writes that many PDFs of one page in a temporary folder, adds them with an embedder that computes nothing,
and adds the folder again. The row beside it is the least that has to be done: every file's bytes are hashed,
since a file is known by its content. ``--small`` takes 40 files and checks that all of them are unchanged.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import pstats
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pymupdf

from mmrag import Budget, DocumentQA, ReaderSettings


class NoEmbedder:
    """One fixed row for every input."""

    name = "none"
    fingerprint = "0" * 32
    dim = 8
    budget = Budget(query=1, document=1)
    modalities = frozenset({"text"})

    def encode_query(self, queries, **options):
        return [np.eye(1, self.dim, dtype=np.float32) for _ in queries]

    encode_document = encode_query


def write_files(folder: Path, count: int) -> None:
    for number in range(count):
        document = pymupdf.open()
        page = document.new_page(width=300, height=200)
        page.insert_text((30, 60), f"Note {number}: paid {number * 7} euros.")
        (folder / f"{number // 1000:03d}").mkdir(exist_ok=True)
        document.save(folder / f"{number // 1000:03d}" / f"note-{number:05d}.pdf")


def hash_files(folder: Path) -> float:
    start = time.perf_counter()
    for path in sorted(folder.rglob("*.pdf")):
        hashlib.sha256(path.read_bytes()).hexdigest()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--files", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--json", "--to", dest="to", type=Path, help="write the figures as JSON")
    parser.add_argument("--profile", action="store_true", help="where the second run spends its time")
    parser.add_argument("--small", action="store_true", help="40 files; for correctness, not for figures")
    options = parser.parse_args()
    count = 40 if options.small else options.files
    with tempfile.TemporaryDirectory() as scratch:
        folder, index = Path(scratch) / "files", Path(scratch) / "index"
        folder.mkdir()
        write_files(folder, count)
        settings = ReaderSettings(ocr="off")
        with DocumentQA.open(index, embedder=NoEmbedder(), reader=settings, reranker=None) as qa:
            first = qa.add(folder)
        least = hash_files(folder)
        with DocumentQA.open(index, embedder=NoEmbedder(), reader=settings, reranker=None) as qa:
            profiler = cProfile.Profile()
            if options.profile:
                profiler.enable()
            second = qa.add(folder)
            profiler.disable()
    if len(first.added) != count or len(second.unchanged) != count or second.pages:
        sys.exit(f"{count} files must be added, then unchanged, got:\n{first}\n{second}")
    print(f"{count} files: first {first.seconds:.1f} s, second {second.seconds:.2f} s, hashing {least:.2f} s")
    if options.profile:
        pstats.Stats(profiler).sort_stats("cumtime").print_stats(30)
    if options.to:
        row = {"files": count, "first": first.seconds, "second": second.seconds, "hashing": least}
        options.to.write_text(json.dumps({"rows": [row]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
