"""Late interaction against plain loops and torch, in one run: ratios, not absolute times.

OMP_NUM_THREADS=1 python benchmarks/scoring.py [--documents 2000]
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np

from mmrag.scoring import maxsim, maxsim_ragged, pad_matrices


def unit(array):
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def loops(query, documents):
    """The definition, a document at a time."""
    return np.array([(query @ document.astype(np.float32).T).max(1).sum() for document in documents])


def plain_loops(query, documents):
    """The definition, a number at a time."""
    return np.array([sum(max(float(q @ row) for row in document) for q in query) for document in documents])


def best_of(call, rounds=7):
    """Least processor time of some rounds, in milliseconds: the machine may be shared."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def main(count):
    rng = np.random.default_rng(0)
    query = unit(rng.standard_normal((16, 128))).astype(np.float32)
    full = [matrix.astype(np.float16) for matrix in unit(rng.standard_normal((count, 64, 128)))]
    cut = [matrix[: int(rows)] for matrix, rows in zip(full, rng.integers(1, 65, count), strict=True)]
    for name, documents in (("64 rows each", full), ("1 to 64 rows", cut)):
        padded, mask = pad_matrices(documents)
        flat = np.concatenate(documents), np.cumsum([0, *map(len, documents)])
        few = documents[: count // 100]
        times = {
            "plain loops (from 1 in 100)": 100 * best_of(lambda few=few: plain_loops(query, few), 1),
            "a document at a time": best_of(lambda d=documents: loops(query, d)),
            "maxsim, padded float32": best_of(lambda p=padded, m=mask: maxsim(query[None], p, None, m)),
            "maxsim_ragged, float16 matrices": best_of(lambda d=documents: maxsim_ragged(query, d)),
            "maxsim_ragged, float16 flat": best_of(lambda f=flat: maxsim_ragged(query, f)),
        }
        try:
            import torch
        except ImportError:
            print("torch is not installed: its line is left out")
        else:
            torch.set_num_threads(1)
            tensors = [torch.from_numpy(array) for array in (query[None], padded, mask)]
            times["maxsim, torch, padded float32"] = best_of(
                lambda t=tensors: maxsim(t[0], t[1], document_mask=t[2])
            )
        ours = times["maxsim_ragged, float16 matrices"]
        print(
            f"{count} documents, {name}, query of 16 rows, dim 128; CPU milliseconds, ratio to maxsim_ragged"
        )
        for what, took in times.items():
            print(f"  {what:32} {took:10.1f} {took / ours:10.2f}")
        np.testing.assert_allclose(maxsim_ragged(query, documents), loops(query, documents), atol=1e-4)
    tracemalloc.start()
    maxsim_ragged(query, full)
    peak = tracemalloc.get_traced_memory()[1]
    print(f"memory: maxsim_ragged peaks at {peak / 2**20:.1f} MiB, matrices {count * 16 / 1024:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=2000)
    main(parser.parse_args().documents)
