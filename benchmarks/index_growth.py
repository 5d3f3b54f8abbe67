"""What an index costs as it grows: bytes a page, pages a second, opening, and single texts one by one.

    python benchmarks/index_growth.py --index my-index --pages 1000 10000 100000 --json growth.json
    python benchmarks/index_growth.py --index my-index --pages 100000 --singles 0 --keep grown
    python benchmarks/index_growth.py --small

Pages are those of ``--index`` and copies of them: each copy has its own ids, its rows a little turned (noise
of a tenth of their length), and a tenth of its words drawn from the other pages, so that neither rows nor
words are the same bytes again. Without ``--index`` they are drawn. Bytes are those of the folder, the text is
that of the records. Times are those of the clock and of the processor ("cpu"), which other work on the
machine does not change. ``--keep`` leaves the grown index in a folder, where the embedder of ``--index`` can
ask it (``warm_search.py``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import index_bytes
from mmrag.types import Page, Record, Source, Word

BATCH = 64
"""Pages that an `add` writes at once."""

PART = 1000
"""Records of the first and last part whose times are compared."""

NOISE = 0.1


@dataclass(frozen=True)
class Identity:
    """What an index remembers of an embedder."""

    name: str = "growth"
    fingerprint: str = "0" * 64
    dim: int = 128


def drawn_records(count: int, rng: np.random.Generator) -> list[Record]:
    """Draw pages of 60 words in lines of ten, 32 rows each."""
    vocabulary = ["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(2, 9))) for _ in range(2000)]
    records = []
    for number in range(count):
        texts = [vocabulary[int(n)] for n in rng.zipf(1.3, 60) % len(vocabulary)]
        words = tuple(
            Word(text, (0.1 * (n % 10), 0.1 * (n // 10), 0.1 * (n % 10) + 0.08, 0.1 * (n // 10) + 0.05))
            for n, text in enumerate(texts)
        )
        source = Source(hashlib.sha256(b"%d" % number).hexdigest(), "pdf", f"{number}.pdf")
        text = " ".join(texts)
        page = Page(source.page_id(0), source.document_id, 0, "1", text, words, (595.0, 842.0), source, 1)
        rows = rng.standard_normal((32, 128))
        matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        records.append(Record(page.id, matrix, text, {"file_name": f"{number}.pdf", "page": 1}, page))
    return records


def read_identity(path: Path) -> Identity:
    """Read whose vectors an index has."""
    with closing(ChromaIndex.open(path, None, read_only=True)) as index:
        return Identity(index.manifest.embedder, index.manifest.fingerprint, index.manifest.dim)


def read_records(path: Path) -> list[Record]:
    """Read all pages of an index, with their rows."""
    with closing(ChromaIndex.open(path, None, read_only=True)) as index:
        return [record for record in index.get(index.ids(), matrices=True) if record.page is not None]


def copies(records: list[Record], count: int, rng: np.random.Generator) -> Iterator[Record]:
    """Yield `count` pages: the records, then turned copies of them."""
    vocabulary = sorted({word for record in records for word in record.text.split()})
    for number in range(count):
        record = records[number % len(records)]
        assert record.matrix is not None and record.page is not None
        turn = number // len(records)
        if not turn:
            yield record
            continue
        noise = rng.standard_normal(record.matrix.shape)
        rows = record.matrix + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        texts = {
            word: vocabulary[int(rng.integers(len(vocabulary)))]
            for word in record.text.split()
            if rng.random() < 0.1
        }
        lines = [
            " ".join(texts.get(word, word) for word in line.split(" ")) for line in record.text.split("\n")
        ]
        text = "\n".join(lines)
        words = tuple(replace(word, text=texts.get(word.text, word.text)) for word in record.page.words)
        name = f"{turn} of {len(records)} {record.page.source.sha256}"  # the records may be copies themselves
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        source = replace(record.page.source, sha256=sha256)
        page = replace(
            record.page, id=source.page_id(record.page.number), document_id=sha256[:16], source=source,
            text=text, words=words,
        )  # fmt: skip
        yield replace(
            record,
            id=page.id,
            matrix=rows / np.linalg.norm(rows, axis=1, keepdims=True),
            text=text,
            page=page,
        )


def grow(
    records: list[Record], counts: list[int], identity: Identity, seed: int, keep: Path | None = None
) -> list[dict[str, Any]]:
    """Add pages until each count is reached, and measure there; `keep`: the index's folder, which stays."""
    results = []
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = keep or Path(folder) / "index"
        index = ChromaIndex.open(path, identity)
        times: list[float] = []  # of each page, by the clock
        cpu_times: list[float] = []
        text_bytes = 0
        pages = copies(records, max(counts), rng)
        for count in sorted(counts):
            while len(times) < count:
                batch = list(islice(pages, min(BATCH, count - len(times))))
                start, cpu_start = time.perf_counter(), time.process_time()
                index.add(batch)
                times += [(time.perf_counter() - start) / len(batch)] * len(batch)
                cpu_times += [(time.process_time() - cpu_start) / len(batch)] * len(batch)
                text_bytes += sum(len(record.text.encode()) for record in batch)
            index.close()
            whole, text = index_bytes(path) / count, text_bytes / count
            results.append(
                {
                    "pages": count,
                    "bytes_a_page": whole,
                    "text_bytes_a_page": text,
                    "beside_text": whole - text,
                    **first_and_last(times, cpu_times),
                    **opening_times(path, records[0]),
                }
            )
            print(json.dumps(results[-1]), flush=True)
            index = ChromaIndex.open(path, identity)
        index.close()
    return results


def first_and_last(times: list[float], cpu_times: list[float]) -> dict[str, float]:
    """Return the mean milliseconds of one of the first and of the last records."""
    part = min(PART, max(1, len(times) // 4))
    return {
        "first_ms": 1000 * float(np.mean(times[:part])),
        "last_ms": 1000 * float(np.mean(times[-part:])),
        "first_cpu_ms": 1000 * float(np.mean(cpu_times[:part])),
        "last_cpu_ms": 1000 * float(np.mean(cpu_times[-part:])),
    }


def opening_times(path: Path, record: Record) -> dict[str, float]:
    """Measure opening for reading and for writing, and the first and the second search of a reader."""
    assert record.matrix is not None
    times = {}
    start = time.perf_counter()
    with closing(ChromaIndex.open(path, None, read_only=True)) as index:
        times["open_to_read"] = time.perf_counter() - start
        for name in ("first_search", "second_search"):
            start = time.perf_counter()
            index.search_vectors(record.matrix[:16], k=10)
            times[name] = time.perf_counter() - start
        start = time.perf_counter()
        index.search_text(record.text[:60], k=10)
        times["text_search"] = time.perf_counter() - start
    start = time.perf_counter()
    ChromaIndex.open(path, None).close()
    times["open_to_write"] = time.perf_counter() - start
    return {f"{name}_seconds": seconds for name, seconds in times.items()}


def add_singles(records: list[Record], count: int, identity: Identity, seed: int) -> dict[str, Any]:
    """Add texts one by one, and compare the first part with the last."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        index = ChromaIndex.open(Path(folder) / "index", identity)
        times: list[float] = []
        cpu_times: list[float] = []
        for number, record in enumerate(copies(records, count, rng)):
            text = Record(f"text-{number}", record.matrix, record.text, {"number": number})
            start, cpu_start = time.perf_counter(), time.process_time()
            index.add([text])
            times.append(time.perf_counter() - start)
            cpu_times.append(time.process_time() - cpu_start)
        index.close()
    result = {"texts": count, **first_and_last(times, cpu_times)}
    print(json.dumps(result), flush=True)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", type=Path, help="index whose pages are added (drawn ones)")
    parser.add_argument("--pages", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--singles", type=int, default=10_000, help="texts added one by one")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder for the grown index")
    parser.add_argument("--small", action="store_true", help="a run of seconds, for its correctness alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the results into")
    arguments = parser.parse_args(argv)
    if arguments.small:
        arguments.pages, arguments.singles = [100, 300], 60
    rng = np.random.default_rng(arguments.seed)
    records = read_records(arguments.index) if arguments.index else drawn_records(100, rng)
    identity = read_identity(arguments.index) if arguments.index else Identity()
    counts, singles, seed = arguments.pages, arguments.singles, arguments.seed
    result = {
        "growth": grow(records, counts, identity, seed, arguments.keep) if counts else [],
        "singles": add_singles(records, singles, identity, seed) if singles else None,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
