"""Where matrices live, and what the index costs: bytes a page, times, recall.

    python benchmarks/index_homes.py [--pages 2000] [--part homes|recall|filters]
    python benchmarks/index_homes.py --small

Part ``homes``: 64 x 128 float16 matrices in Chroma's metadata (base64) against SQLite beside Chroma.
Part ``recall``: how much of the exact answer survives the first stage, for random and clustered rows.
Part ``filters``: a filtered search by Chroma's ``ids=`` against exact scoring of row 0.
"""

from __future__ import annotations

import argparse
import base64
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import chromadb
import numpy as np
from chromadb.config import Settings

from mmrag.index import chroma_vectors
from mmrag.index.chroma import ChromaIndex
from mmrag.index.chroma_vectors import ChromaVectors
from mmrag.types import Budget, Page, Record, Source, Word

WORDS = 400
BATCH = 500


def unit(array):
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def matrices(rng, count, rows, dim, clusters):
    """Nested rows around a row 0; `clusters` centres for all, or none (random directions)."""
    if clusters:
        centres = unit(rng.standard_normal((clusters, dim)))[rng.integers(0, clusters, count)]
        centres = unit(centres + 0.6 * unit(rng.standard_normal((count, dim))))
    else:
        centres = unit(rng.standard_normal((count, dim)))
    matrix = unit(centres[:, None] + 0.7 * unit(rng.standard_normal((count, rows, dim))))
    matrix[:, 0] = unit(matrix.mean(1))
    return matrix.astype(np.float16)


def page_record(rng, n, matrix, vocabulary):
    words = [vocabulary[i] for i in rng.zipf(1.3, WORDS) % len(vocabulary)]
    text = " ".join(words)
    source = Source(
        sha256=f"{n // 20:016x}" * 4,
        kind="pdf",
        name=f"report-{n // 20}.pdf",
        path=f"/data/report-{n // 20}.pdf",
    )
    boxes = unit_boxes(len(words))
    page = Page(
        source.page_id(n % 20), source.document_id, n % 20, str(n % 20 + 1), text,
        tuple(Word(word, box) for word, box in zip(words, boxes, strict=True)), (595.0, 842.0), source, 20,
    )  # fmt: skip
    metadata = {"file_name": source.name, "page": n % 20, "n": n}
    return Record(page.id, matrix, text, metadata, page)


def unit_boxes(count):
    """Words in lines of ten, as on a page."""
    return [
        (0.1 + 0.08 * (i % 10), 0.05 + 0.02 * (i // 10), 0.17 + 0.08 * (i % 10), 0.065 + 0.02 * (i // 10))
        for i in range(count)
    ]


def size(directory):
    return sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())


class Clock:
    """Wall time, and the processor time of this process: on a shared machine the second says more."""

    def __init__(self):
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def seconds(self):
        return time.perf_counter() - self.wall, time.process_time() - self.processor

    def __str__(self):
        wall, processor = self.seconds()
        return f"{wall:.1f} s ({processor:.1f} s CPU)"


def milliseconds(call, arguments):
    times = []
    for argument in arguments:
        clock = Clock()
        call(argument)
        times.append(clock.seconds())
    wall, processor = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    return f"{wall:.1f} ms ({processor:.1f} ms CPU)"


def homes(pages):
    rng = np.random.default_rng(0)
    vocabulary = ["".join(rng.choice(list("abcdefghijklmnop"), 6)) for _ in range(20_000)]
    data = matrices(rng, pages, 64, 128, clusters=max(1, pages // 50))
    records = [page_record(rng, n, data[n], vocabulary) for n in range(pages)]
    queries = [
        unit(data[n] + 0.1 * rng.standard_normal(data[n].shape))[:16] for n in range(0, pages, pages // 20)
    ]
    plain = sum(len(record.text.encode()) for record in records) / pages
    print(f"{pages} pages, 64 x 128 float16 = 16,384 bytes a matrix,", end=" ")
    print(f"{plain:.0f} bytes of text and {WORDS} words a page")

    with tempfile.TemporaryDirectory() as directory:
        client = chromadb.PersistentClient(directory, settings=Settings(anonymized_telemetry=False))
        collection = client.create_collection(
            "pages", embedding_function=None, configuration={"hnsw": chroma_vectors.HNSW}
        )
        start = Clock()
        for at in range(0, pages, BATCH):
            part = records[at : at + BATCH]
            collection.add(
                ids=[r.id for r in part],
                embeddings=np.stack([r.matrix[0] for r in part]).astype(np.float32),
                metadatas=[
                    {**r.metadata, "matrix": base64.b64encode(r.matrix.tobytes()).decode()} for r in part
                ],
            )
        add = str(start)

        def query(matrix):
            return collection.query(
                query_embeddings=matrix[:1].astype(np.float32), n_results=50, include=["distances"]
            )

        def fetch(matrix):
            found = collection.get(ids=query(matrix)["ids"][0], include=["metadatas"])
            return [
                np.frombuffer(base64.b64decode(m["matrix"]), np.float16).reshape(64, 128)
                for m in found["metadatas"]
            ]

        report(
            "Chroma metadata (no text, no words)",
            size(directory) / pages,
            add,
            milliseconds(query, queries),
            milliseconds(fetch, queries),
        )

    with tempfile.TemporaryDirectory() as directory:
        identity = SimpleNamespace(name="bench", fingerprint="0" * 64, dim=128)
        index = ChromaIndex.open(Path(directory) / "index", identity)
        start = Clock()
        for at in range(0, pages, BATCH):
            index.add(records[at : at + BATCH])
        add = str(start)

        def query(matrix):
            return index.search_vectors(matrix, k=50, budget=Budget(1, 1))

        def fetch(matrix):
            with index._store.database.read() as connection:
                seqs = index._store.seqs(connection, [hit.id for hit in query(matrix)])
                return list(index._store.matrices(connection, list(seqs.values()), None))

        times = milliseconds(query, queries), milliseconds(fetch, queries)
        stages = {
            "search (1, 1)": lambda q: index.search_vectors(q, k=10, budget=Budget(1, 1)),
            "search (16, 64)": lambda q: index.search_vectors(q, k=10, budget=Budget(16, 64)),
            "search (16, 64) exact": lambda q: index.search_vectors(
                q, k=10, budget=Budget(16, 64), exact=True
            ),
            "get 10 records with words": lambda q: index.get(index.ids()[:10]),
            "search text, 8 words": lambda q: index.search_text(" ".join(vocabulary[5:13]), k=10),
            "search text, rare word": lambda q: index.search_text(vocabulary[9000], k=10),
        }
        lines = [f"  {name:32} {milliseconds(call, queries)}" for name, call in stages.items()]
        index.close()
        store = (Path(directory) / "index" / "index.sqlite").stat().st_size
        whole = size(directory)
        report("SQLite beside Chroma (text, words, FTS5)", whole / pages, add, *times)
        print(f"  of it SQLite {store / pages:,.0f}, Chroma {(whole - store) / pages:,.0f} bytes a page")
        print("\n".join(lines))
        start = Clock()
        reader = ChromaIndex.open(Path(directory) / "index", identity, read_only=True)
        reader.search_vectors(queries[0], k=10)
        first = str(start)
        usual = milliseconds(lambda q: reader.search_vectors(q, k=10), queries)
        print(f"  read-only: open and first search {first}, then {usual}")
        reader.close()


def report(name, bytes_a_page, add, query, fetch):
    print(f"{name}")
    print(f"  {bytes_a_page:,.0f} bytes a page; add {add}")
    print(f"  query 50 {query}; query and fetch 50 matrices {fetch}")


def recall(pages):
    """Share of the exact top k that Chroma's survivors hold, and of its own top 10 by row 0."""
    for name, clusters in (("random", 0), ("clustered", max(1, pages // 50))):
        rng = np.random.default_rng(1)
        first = unit(matrices(rng, pages, 1, 128, clusters)[:, 0].astype(np.float32))
        queries = unit(
            first[rng.integers(0, pages, 100)] + 0.8 * unit(rng.standard_normal((100, 128)))
        ).astype(np.float32)
        exact = np.argsort(-(queries @ first.T), axis=1)
        for settings in (
            {"max_neighbors": 16, "ef_construction": 100, "ef_search": 100},
            {"max_neighbors": 32, "ef_construction": 200, "ef_search": 512},
            {"max_neighbors": 48, "ef_construction": 400, "ef_search": 512},
        ):
            chroma_vectors.HNSW.update(settings)
            with tempfile.TemporaryDirectory() as directory:
                vectors = ChromaVectors(Path(directory) / "c", "bench", create=True)
                start = Clock()
                vectors.upsert([str(n) for n in range(pages)], first)
                add = str(start)
                parts = []
                for k in (10, 256):
                    found = [{int(id) for id, _ in vectors.search(q, k)} for q in queries]
                    share = np.mean(
                        [len(f & set(e[:k].tolist())) / k for f, e in zip(found, exact, strict=True)]
                    )
                    took = milliseconds(lambda q, k=k, v=vectors: v.search(q, k), list(queries))
                    parts.append(f"recall@{k} {share:.4f} in {took}")
                print(f"{pages} {name:9} {settings}: add {add}, {', '.join(parts)}")
                vectors.close()


def filters(pages):
    """A filtered first stage: Chroma's ids= against exact row 0, by how many records pass."""
    rng = np.random.default_rng(2)
    first = unit(matrices(rng, pages, 1, 128, max(1, pages // 50))[:, 0].astype(np.float32))
    queries = list(unit(first[:20] + 0.5 * unit(rng.standard_normal((20, 128)))).astype(np.float32))
    with tempfile.TemporaryDirectory() as directory:
        identity = SimpleNamespace(name="bench", fingerprint="0" * 64, dim=128)
        index = ChromaIndex.open(Path(directory) / "index", identity)
        for at in range(0, pages, 5000):
            index.add(
                [Record(str(n), first[n : n + 1], "", {"n": n}) for n in range(at, min(pages, at + 5000))]
            )
        for allowed in (pages // 50, pages // 10, pages // 2, pages):
            ids = index.ids({"n": {"$lt": allowed}})

            def exactly(q, below=allowed):
                index.search_vectors(q[None], k=10, budget=Budget(1, 1), filter={"n": {"$lt": below}})

            def by_ids(q, ids=ids):
                collection = index._vectors._collection
                collection.query(query_embeddings=q[None], n_results=26, ids=ids, include=["distances"])

            times = milliseconds(exactly, queries), milliseconds(by_ids, queries)
            print(
                f"{pages} records, {allowed} pass: exact row 0 with the filter in SQL {times[0]};",
                end=" ",
            )
            print(f"Chroma ids= alone {times[1]}")
        index.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--part", choices=["homes", "recall", "filters"])
    parser.add_argument("--small", action="store_true", help="100 pages, for correctness alone")
    arguments = parser.parse_args()
    for part in (homes, recall, filters):
        if arguments.part in (None, part.__name__):
            part(100 if arguments.small else arguments.pages)
