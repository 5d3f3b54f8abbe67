"""Counts that do not depend on the machine, compared with those that are kept in counts.json.

    python benchmarks/counts.py             # print them beside the kept ones; exit code 1 where they differ
    python benchmarks/counts.py --keep      # they changed for a reason: keep them, and say it in the commit

Visual tokens and TFLOP of a page at each compression, rows and bytes of a page of the samples, SQLite
statements of a search, requests of a rerank. Each kept count has a tolerance, as a share of it; 0 is
equality. A test runs this.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmrag import DocumentQA
from mmrag.index.directory import index_bytes
from mmrag.rerank.modes import load_mode
from mmrag.rerank.protocol import PreparedMode, Settings
from mmrag.samples import sample_documents
from mmrag.serving.requests import Request, Requests
from mmrag.types import Candidate, Query, Record

KEPT = Path(__file__).with_name("counts.json")
QUESTION = "What were net sales in Europe in 2024?"
OTHER_QUESTION = "Who chairs the audit committee?"
CANDIDATES = 10


def measure() -> dict[str, float]:
    """Return every count by name."""
    return {**model_work(), **sample_index(), **rerank_requests()}


def model_work() -> dict[str, float]:
    """Count visual tokens and TFLOP of a page of 896 x 896, by shapes alone."""
    import torch
    from compression import random_backbone, setting, work
    from PIL import Image

    page = Image.new("RGB", (896, 896))
    backbone = random_backbone("internvl", "2b", "meta", torch.float32)
    counts: dict[str, float] = {}
    for factor in (1, 2, 3):
        one = setting(f"s = {factor}", backbone, page, factor, 1280 // factor**2, 0)
        counts[f"visual tokens of a page, InternVL3-2B, s = {factor}"] = one.tokens
        counts[f"TFLOP of a page, InternVL3-2B, s = {factor}"] = round(sum(work(one)), 3)
    return counts


def sample_index() -> dict[str, float]:
    """Count rows, bytes and SQLite statements of an index of the samples."""
    with tempfile.TemporaryDirectory() as folder, statements() as seen:
        path = Path(folder) / "index"
        with DocumentQA.open(path) as qa:
            qa.add(sample_documents())
        with closing(DocumentQA.open(path, read_only=True)) as qa:
            records = qa.index.get(qa.index.ids(), matrices=True)
        searches = {}
        for name, options in {
            "words and vectors": {"rerank": False},
            "vectors": {"rerank": False, "channels": ("vectors",)},
            "words": {"rerank": False, "channels": ("text",)},
            "with local rerank": {},
        }.items():
            with closing(DocumentQA.open(path, read_only=True)) as qa:
                qa.search(OTHER_QUESTION, **options)  # what is read once is read
                before = len(seen)
                qa.search(QUESTION, **options)
                searches[f"SQLite statements of a search, {name}"] = len(seen) - before
        rows = [len(record.matrix) for record in records if record.matrix is not None]
        text = sum(len(record.text.encode()) for record in records)
        return {
            "pages of the samples": len(records),
            "rows of a page of the samples": round(float(np.mean(rows)), 2),
            "bytes of a page of the samples, without its text": round(
                (index_bytes(path) - text) / len(records)
            ),
            **searches,
        }


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements of every SQLite connection that is opened meanwhile."""
    seen: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.set_trace_callback(seen.append)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]
    try:
        yield seen
    finally:
        sqlite3.connect = connect


def rerank_requests() -> dict[str, float]:
    """Count the requests to a server for ten pages, by mode, without those that a model is asked once."""
    pages = [Candidate(Record(f"p{n}", None, f"Page {n}: pumps. " * 20), -float(n), n) for n in range(1, 11)]
    counts = {}
    for mode, think in (("served", 0), ("listwise", 0), ("pointwise", 0), ("pointwise", 64)):
        judge = load_mode(mode, Settings(images=False, think_tokens=think))
        if isinstance(judge, PreparedMode):
            drive(judge.prepare(), reply)
        asked = [
            request for steps in judge.requests(Query(QUESTION), pages) for request in drive(steps, reply)
        ]
        paths = [request.path for request in asked if request.path != "models"]
        name = f"{mode}, {think} tokens of thought" if mode == "pointwise" else mode
        counts[f"requests of a rerank of {CANDIDATES}, {name}"] = len(paths)
    return counts


def drive(steps: Requests[Any], answer: Callable[[Request], dict[str, Any]]) -> list[Request]:
    """Answer the requests of a generator to its end, and return them."""
    asked: list[Request] = []
    try:
        request = next(steps)
        while True:
            asked.append(request)
            request = steps.send(answer(request))
    except StopIteration:
        return asked


def reply(request: Request) -> dict[str, Any]:
    """Answer as a model server would: the first page is best, and every thought is short."""
    body = request.body or {}
    if request.path == "models":
        return {"data": [{"id": "m", "max_model_len": 32_000}]}
    if request.path == "/tokenize":
        word = str(body.get("prompt", "")).strip().lower()
        return {
            "tokens": [2 if word == "no" else 1],
            "count": 1,
            "max_model_len": 32_000,
            "token_strs": ["x"],
        }
    if request.path in ("/rerank", "/score"):
        scores = [0.9 / (1 + n) for n in range(len(body.get("documents", [1])))]
        results = [{"index": n, "relevance_score": score} for n, score in enumerate(scores)]
        return {"results": results, "data": [{"index": n, "score": s} for n, s in enumerate(scores)]}
    listed = [{"token": f"token_id:{n}", "logprob": value} for n, value in ((1, -0.1), (2, -2.5))]
    order = " > ".join(f"[{n}]" for n in range(1, CANDIDATES + 1))
    choice = {
        "message": {"content": order if "logprobs" not in body else "yes"},
        "logprobs": {"content": [{"token": "token_id:1", "top_logprobs": listed}]},
        "finish_reason": "length" if "logprobs" in body else "stop",
    }
    return {"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 5}}


def differences(counts: Mapping[str, float], kept: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a line for each count that is not within its tolerance of the kept one."""
    lines = [f"{name}: not kept yet, {counts[name]:g} now" for name in sorted(set(counts) - set(kept))]
    for name, one in kept.items():
        if name not in counts:
            lines.append(f"{name}: {one['count']:g} kept, not counted any more")
        elif abs(counts[name] - one["count"]) > one["tolerance"] * one["count"]:
            lines.append(
                f"{name}: must be {one['count']:g} within {one['tolerance']:.0%}, got {counts[name]:g}"
            )
    return lines


def tolerance(name: str) -> float:
    """Return the tolerance that a new count is kept with: SQLite and Chroma decide on some of the bytes."""
    return 0.1 if name.startswith("bytes") else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="write counts.json anew")
    options = parser.parse_args(arguments)
    counts = measure()
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    for name, count in counts.items():
        print(f"{name:64} {count:12g}   kept {kept.get(name, {}).get('count', '-')}")
    if options.keep:
        new = {
            name: {"count": count, "tolerance": kept.get(name, {}).get("tolerance", tolerance(name))}
            for name, count in counts.items()
        }
        KEPT.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
        return 0
    lines = differences(counts, kept)
    print("\n".join(lines))
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
