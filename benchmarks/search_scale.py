"""Vector search over many pages: time of one core, and what it finds of the exact best ten.

OMP_NUM_THREADS=1 python benchmarks/search_scale.py --index DIR --pack PACK [--pages 10000 100000]

The pages are those of an index, again and again, each copy's rows moved by a little noise and scaled back to
their length. Random vectors would mislead: whatever a first stage does with them, it does well. The exact
best ten of a query are then mostly copies of few pages, and among equals a search may choose: a hit counts
as found if any copy of its page is found.

The questions are the answerable ones of a pack, encoded by the default embedder. Its documents are halved by
chance, always the same way: how many candidates a search looks at was chosen on the questions of the one
half, and what is reported comes from the other (`--half`). `--small` makes pages itself and checks
results only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from mmrag.index.base import manifest_for
from mmrag.index.row_search import RowSearch
from mmrag.index.rows import RowCodec
from mmrag.index.store import RecordStore
from mmrag.scoring import int8_engine, maxsim_ragged

NOISE = 0.02
"""Standard deviation of what is added to each number of a copy; rows have length 1."""

HALVES_SEED = 7
"""Of which documents' questions a choice was made on; the others report."""


def pages_of(folder):
    """Read the rows of every record of an index."""
    store = RecordStore(folder / "index.sqlite", create=None, read_only=True)
    with store.database.read() as connection:
        block = store.block(connection)
    store.close()
    return np.split(block.decode(), block.starts[1:-1])


def made_pages(rng, count=300, dim=32):
    """Make pages whose rows lie around their row 0."""
    pages = []
    for _ in range(count):
        rows = rng.standard_normal(dim) + 0.5 * rng.standard_normal((int(rng.integers(1, 20)), dim))
        pages.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return pages


def encoded_questions(pack, half):
    """Return the query rows of the answerable questions on one half of a pack's documents."""
    from mmrag.models.load import default_embedder

    lines = (pack / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [question for question in map(json.loads, lines) if question["answerable"]]
    documents = sorted({question["doc"] for question in questions})
    order = np.random.default_rng(HALVES_SEED).permutation(documents).tolist()
    chosen = set(order[: len(order) // 2])
    texts = [q["question"] for q in questions if (q["doc"] in chosen) == (half == "choosing")]
    rows = default_embedder().encode_query(texts)
    return [query[np.abs(query).sum(1) > 0] for query in rows]


def copies(pages, count, rng):
    """Yield ``(number of the page, rows)``, `count` of them."""
    for number in range(count):
        page = pages[number % len(pages)]
        if number >= len(pages):
            page = page + NOISE * rng.standard_normal(page.shape, np.float32)
            page /= np.linalg.norm(page, axis=1, keepdims=True)
        yield number % len(pages), page


def fill(store, pages, count, seed):
    """Write the copies as records without text."""
    codec = RowCodec.of(store.manifest)
    with store.database.write() as connection:
        for number, (_, rows) in enumerate(copies(pages, count, np.random.default_rng(seed)), start=1):
            data = codec.encode(rows)
            connection.execute(
                "INSERT INTO records(id, text, metadata) VALUES (?, '', '{}')", (f"r{number}",)
            )
            connection.execute("INSERT INTO vectors VALUES (?, ?)", (number, data))
            connection.execute("INSERT INTO first VALUES (?, ?)", (number, codec.first(data)))


def exact_best(pages, count, seed, queries, k=10):
    """Find the numbers of the best `k` copies of each query by float32 products over all of them."""
    scores = [[] for _ in queries]
    block = []
    for number, (_, rows) in enumerate(copies(pages, count, np.random.default_rng(seed)), start=1):
        block.append(rows)
        if len(block) == 2000 or number == count:
            for query, found in zip(queries, scores, strict=True):
                found.append(maxsim_ragged(query, block))
            block = []
    return [np.argsort(-np.concatenate(found), kind="stable")[:k] + 1 for found in scores]


def processor_ms(call):
    start = time.process_time()
    result = call()
    return 1000 * (time.process_time() - start), result


def measure(folder, pages, queries, count, seed, rounds):
    """Fill an index, search it, and compare with the exact best."""
    manifest = manifest_for(SimpleNamespace(name="rows", fingerprint="0" * 32, dim=pages[0].shape[1]))
    store = RecordStore(folder / "index.sqlite", create=manifest, read_only=False)
    fill(store, pages, count, seed)
    search = RowSearch(store)
    report = {
        "pages": count,
        "engine": int8_engine(),
        "load": os.getloadavg()[0],
        "bytes": (folder / "index.sqlite").stat().st_size,
    }
    times = []
    with store.database.read() as connection:
        first, _ = processor_ms(lambda: search.search(connection, queries[0], 10, None, None, exact=False))
        for _ in range(rounds):
            for query in queries:
                took, _ = processor_ms(
                    lambda q=query: search.search(connection, q, 10, None, None, exact=False)
                )
                times.append(took)
        found = [search.search(connection, query, 10, None, None, exact=False) for query in queries]
    store.close()
    best = exact_best(pages, count, seed, queries)
    kept, copied = [], []
    for hits, exact in zip(found, best, strict=True):
        numbers = np.array([int(hit.id[1:]) for hit in hits])
        kept += np.isin(exact, numbers).tolist()
        copied += np.isin((exact - 1) % len(pages), (numbers - 1) % len(pages)).tolist()
    report |= {
        "first_search_ms": first,
        "search_ms": {"median": statistics.median(times), "p90": float(np.percentile(times, 90))},
        "recall_at_10": {"itself": float(np.mean(kept)), "any copy": float(np.mean(copied))},
    }
    return report


def main(arguments):
    rng = np.random.default_rng(arguments.seed)
    if arguments.small:
        pages = made_pages(rng)
        queries = [pages[n][:3] for n in range(0, 300, 30)]
        arguments.pages = [1500]
    else:
        pages = pages_of(arguments.index)
        queries = encoded_questions(arguments.pack, arguments.half)
        queries = queries[:: max(1, len(queries) // arguments.questions)][: arguments.questions]
    setting = {"noise": NOISE, "distinct_pages": len(pages), "questions": len(queries)}
    rows = []
    for count in arguments.pages:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            report = measure(Path(folder), pages, queries, count, arguments.seed, arguments.rounds)
        print(json.dumps(report, indent=1), flush=True)
        if arguments.small:
            assert report["recall_at_10"]["any copy"] > 0.9, report
        rows.append(setting | report)
    if arguments.out:
        arguments.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", type=Path, help="folder of an index")
    parser.add_argument("--pack", type=Path, help="evaluation pack, whose documents the index has")
    parser.add_argument("--half", choices=("reporting", "choosing"), default="reporting", help="of documents")
    parser.add_argument("--pages", type=int, nargs="+", default=[100_000])
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="where the index is written; deleted afterwards")
    parser.add_argument("--small", action="store_true", help="1,500 pages: results only")
    parser.add_argument("--json", "--out", dest="out", type=Path, help="write the figures here as JSON")
    parsed = parser.parse_args()
    if not parsed.small and not (parsed.index and parsed.pack):
        parser.error("--index and --pack are needed, or --small")
    main(parsed)
