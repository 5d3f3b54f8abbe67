"""Late interaction of one query with many documents: ours against peers, paired in one run.

OMP_NUM_THREADS=1 python benchmarks/scoring.py [--documents 5000] [--rows 64] [--query 16] [--json FILE]

Each line is processor time of one core, the least and the median of the rounds; every round runs all of them,
so that what else the machine does meets all alike. What counts are the ratios. Peers that are not installed
are left out. `--small` is a run of a second that checks results and says nothing of time.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from pathlib import Path

import numpy as np

from mmrag.scoring import Int8Rows, int8_engine, maxsim, maxsim_int8, maxsim_ragged, quantisation_error


def unit(array):
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def contenders(query, matrices):
    """Name each way to score, as ``(ours or peer, call)``; `matrices` is ``(N, T, D)`` float32."""
    count, length, dim = matrices.shape
    rows = matrices.reshape(-1, dim)
    offsets = np.arange(0, len(rows) + 1, length)
    half = rows.astype(np.float16)
    coded = Int8Rows.of(rows)
    calls = {
        "numpy float32, one product and max": (
            "peer",
            lambda: (rows @ query.T).reshape(count, length, -1).max(1).sum(1),
        ),
        "ours: maxsim, padded float32": ("ours", lambda: maxsim(query[None], matrices)[0]),
        "ours: maxsim_ragged, float32": ("ours", lambda: maxsim_ragged(query, (rows, offsets))),
        "ours: maxsim_ragged, float16": ("ours", lambda: maxsim_ragged(query, (half, offsets))),
        "ours: maxsim_int8, numpy": ("ours", lambda: maxsim_int8(query, coded, offsets, engine="numpy")),
    }
    if int8_engine() == "numkong":
        import numkong

        coded_query = Int8Rows.of(query)
        packed = numkong.dots_pack(coded_query.codes, dtype="int8")

        def peer():  # without the scales of rows: what the least of code does
            products = np.asarray(numkong.dots_packed(coded.codes, packed))
            return (products.reshape(count, length, -1).max(1) * coded_query.scales).sum(1)

        calls["numkong int8 dots_packed and numpy max, no scale a row"] = ("peer", peer)
        calls["ours: maxsim_int8, numkong"] = ("ours", lambda: maxsim_int8(query, coded, offsets))
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            tensor, query_tensor = torch.from_numpy(rows).to(dtype), torch.from_numpy(query).to(dtype)
            calls[f"torch {name}"] = (
                "peer",
                lambda t=tensor, q=query_tensor: (
                    (t @ q.T).view(count, length, -1).amax(1).float().sum(1).numpy()
                ),
            )
    return calls, coded, offsets


def paired(calls, rounds):
    """Return the processor time of each call in each round, in milliseconds."""
    times = {name: [] for name in calls}
    for position in range(rounds + 1):
        for name, (_, call) in calls.items():
            start = time.process_time()
            call()
            if position:  # the first round warms up
                times[name].append(1000 * (time.process_time() - start))
    return times


def main(arguments):
    rng = np.random.default_rng(0)
    shape = (arguments.documents, arguments.rows, arguments.dim)
    matrices = unit(rng.standard_normal(shape)).astype(np.float32)
    query = unit(rng.standard_normal((arguments.query, arguments.dim))).astype(np.float32)
    calls, coded, offsets = contenders(query, matrices)
    exact = np.array([(query @ matrix.T).max(1).sum() for matrix in matrices])
    top = set(np.argsort(-exact)[:10].tolist())
    bound = float(quantisation_error(query, coded, offsets).max())
    lines = {}
    for name, (kind, call) in calls.items():
        scores = call()
        error = float(np.abs(scores - exact).max())
        kept = len(top & set(np.argsort(-scores)[:10].tolist()))
        lines[name] = {"kind": kind, "worst_error": error, "top_ten_kept": kept}
        if kind == "ours":
            assert error <= (bound if "int8" in name else 0.01), (name, error, bound)
    rounds = 1 if arguments.small else arguments.rounds
    times = paired(calls, rounds)
    for name, values in times.items():
        lines[name] |= {"min_ms": min(values), "median_ms": statistics.median(values)}
    best = min(line["median_ms"] for line in lines.values() if line["kind"] == "peer")
    numpy_time = lines["numpy float32, one product and max"]["median_ms"]
    for line in lines.values():
        line["to_best_peer"] = line["median_ms"] / best
        line["to_numpy"] = line["median_ms"] / numpy_time
    print(
        f"{arguments.documents} documents of {arguments.rows} rows, query of {arguments.query}, "
        f"dim {arguments.dim}; CPU ms of one core, {rounds} paired rounds; bound of int8's error {bound:.3f}"
    )
    print(f"{'':54} {'min':>7} {'median':>7} {'/numpy':>7} {'/best':>7} {'error':>7} {'top 10':>6}")
    for name, line in lines.items():
        print(
            f"{name:54} {line['min_ms']:7.1f} {line['median_ms']:7.1f} {line['to_numpy']:7.2f} "
            f"{line['to_best_peer']:7.2f} {line['worst_error']:7.4f} {line['top_ten_kept']:6}"
        )
    if arguments.out:
        setting = {key: value for key, value in vars(arguments).items() if key != "out"}
        report = {"setting": setting, "error_bound": bound, "lines": lines}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--query", type=int, default=16)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--small", action="store_true", help="100 documents, one round: results only")
    parser.add_argument("--json", "--out", dest="out", type=Path, help="write the figures here as JSON")
    parsed = parser.parse_args()
    if parsed.small:
        parsed.documents = 100
    main(parsed)
