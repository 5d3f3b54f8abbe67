"""Quality side by side: searches of others and ours at each level, on one pack, in one run.

    make bench-env                                # the peers, in .bench
    PYTHONPATH=.bench python benchmarks/side_by_side.py PACK --index DIR --json FILE --plots FOLDER
    python benchmarks/side_by_side.py --small     # the sample pack, ours and the peers that are installed

PACK is an evaluation pack (``docs/evaluation-pack.md``), DIR an index of its documents by the default
embedder. All rank the same pages for the same questions, over the whole pack, and are measured by the same
nDCG@5; peers get the text that the index has of each page, but for LangChain's chain, which reads the files
itself, as its users have it do. *Bytes a page* are those of vectors and word lists, without the text: for
ours, of the rows that the budget reads and of the full text. *ms* is processor time of one question, all
threads, the median. A system's figures are kept in ``--work``, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peers
from side_by_side_plots import save_plots

from mmrag import DocumentQA
from mmrag.evaluation import load_pack
from mmrag.evaluation.metrics import bootstrap_interval, ndcg, recall
from mmrag.evaluation.pack import Question
from mmrag.samples import sample_pack
from mmrag.types import Budget

Search = Callable[[str], list[peers.Page]]
LEVELS = (1, 4, 16, 64)
"""Rows of a page that the levels of ours read."""
QUERY_ROWS = 16


def ours(qa: DocumentQA, levels: Sequence[int]) -> Iterator[tuple[str, str, float, Search]]:
    """Yield name, setting, bytes and search of each level of ours."""
    parts = table_bytes(Path(str(qa.path)) / "index.sqlite")
    lengths = np.array([len(matrix) for matrix in matrices(qa)])
    row = parts["vectors"] / max(1, lengths.sum())

    def search(question: str, **options: Any) -> list[peers.Page]:
        ranking = qa.search(question, k=peers.DEEPEST, **options)
        return [(c.page.source.name, c.page.number) for c in ranking if c.page is not None]

    yield (
        "mmrag, words alone",
        "full text",
        parts["words"],
        lambda q: search(q, channels=("text",), rerank=False),
    )
    for level in levels:
        size = float(np.minimum(lengths, level).sum() * row)
        limit = Budget(min(level, QUERY_ROWS), level)
        yield (
            f"mmrag, vectors alone, {level} rows",
            f"int8 rows, budget {limit.query},{limit.document}",
            size,
            lambda q, b=limit: search(q, budget=b, channels=("vectors",), rerank=False),
        )
        yield (
            f"mmrag, {level} rows",
            f"words and vectors, budget {limit.query},{limit.document}",
            size + parts["words"],
            lambda q, b=limit: search(q, budget=b, rerank=False),
        )
    yield (
        "mmrag, as shipped",
        "words, all rows, local rerank of the first ten",
        parts["vectors"] + parts["words"],
        search,
    )


class Peers:
    """The peers, each made when it is first asked for; those that are not installed are named on stderr."""

    def __init__(
        self, files: Sequence[Path], pages: Sequence[peers.Page], texts: Sequence[str], folder: Path
    ) -> None:
        self._made: dict[str, peers.Peer] = {}
        self._makers: dict[str, Callable[[], peers.Peer]] = {
            peers.BM25.name: lambda: peers.BM25(pages, texts),
            peers.MiniLM.name: lambda: peers.MiniLM(pages, texts),
            peers.BGESmall.name: lambda: peers.BGESmall(pages, texts),
            peers.FUSED: lambda: peers.Fused(self[peers.BM25.name], self[peers.BGESmall.name]),
            peers.LangChain.name: lambda: peers.LangChain(files, folder),
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __getitem__(self, name: str) -> peers.Peer:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]


def measure(questions: Sequence[Question], search: Search) -> dict[str, Any]:
    """Ask every question; figures with intervals, rankings, and processor time of a question."""
    search(questions[0].question)  # what is loaded at the first question counts for none
    values, times, walls = [], [], []
    for question in questions:
        start, wall = time.process_time(), time.perf_counter()
        ranking = search(question.question)
        times.append(1000 * (time.process_time() - start))
        walls.append(1000 * (time.perf_counter() - wall))
        relevant = question.evidence
        values.append(
            (ndcg(ranking, relevant, 5), recall(ranking, relevant, 1), recall(ranking, relevant, 10))
        )
    array = np.array(values)
    low, high = bootstrap_interval(array)
    return {
        "ndcg@5": float(array[:, 0].mean()),
        "interval": [float(low[0]), float(high[0])],
        "recall@1": float(array[:, 1].mean()),
        "recall@10": float(array[:, 2].mean()),
        "processor_ms": float(np.median(times)),
        "clock_ms": float(np.median(walls)),
        "per_question": [round(float(value), 4) for value in array[:, 0]],
    }


class Work:
    """Figures of systems, kept in a folder as they come, so that an interrupted run goes on."""

    def __init__(self, folder: Path | None, systems: dict[str, Any], questions: Sequence[Question]) -> None:
        self._folder, self._systems, self._questions = folder, systems, questions

    def add(self, name: str, make: Callable[[], tuple[str, float, Search]]) -> None:
        """Measure a system, or take what is kept."""
        stored = self._folder / f"{name.replace(' ', '-').replace('/', '-')}.json" if self._folder else None
        if stored and stored.is_file():
            row = json.loads(stored.read_text(encoding="utf-8"))
        else:
            setting, size, search = make()
            row = {"setting": setting, "bytes": size} | measure(self._questions, search)
            if stored:
                stored.parent.mkdir(parents=True, exist_ok=True)
                stored.write_text(json.dumps(row), encoding="utf-8")
        self._systems[name] = row
        low, high = row["interval"]
        print(
            f"{name:44} nDCG@5 {row['ndcg@5']:.3f} [{low:.3f}, {high:.3f}]  "
            f"{row['bytes'] / 1e6:8.2f} MB  {row['processor_ms']:7.1f} ms",
            flush=True,
        )


def table_bytes(path: Path) -> dict[str, int]:
    """Return the bytes of an index's vectors and of its full text, by SQLite's own count."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        sizes = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    words = sum(size for name, size in sizes.items() if name.startswith("lexical"))
    return {"vectors": sizes.get("vectors", 0) + sizes.get("first", 0), "words": words}


def matrices(qa: DocumentQA) -> Iterator[np.ndarray]:
    """Yield the rows of every page."""
    ids = qa.index.ids()
    for start in range(0, len(ids), 500):
        for record in qa.index.get(ids[start : start + 500], matrices=True):
            yield record.matrix


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every search on the pack."""
    pack = load_pack(options.pack or sample_pack())
    questions = [question for question in pack.questions if question.answerable][: options.most]
    systems: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        index = options.index or scratch / "index"
        qa = stack.enter_context(contextlib.closing(DocumentQA.open(index, read_only=bool(options.index))))
        if not options.index:
            qa.add(pack.documents_path)
        ids = qa.index.ids()
        records = [record for at in range(0, len(ids), 500) for record in qa.index.get(ids[at : at + 500])]
        kept = [record for record in records if record.page is not None]
        pages = [(record.page.source.name, record.page.number) for record in kept]

        work = Work(options.work, systems, questions)
        found = Peers(
            sorted(pack.documents_path.iterdir()), pages, [r.text for r in kept], scratch / "chroma"
        )
        for name in found:
            try:
                work.add(name, lambda name=name: (found[name].setting, found[name].bytes, found[name].search))
            except (ImportError, FileNotFoundError) as error:
                print(f"left out: {name} ({error}); make bench-env brings it", file=sys.stderr)
        for name, setting, size, search in ours(qa, options.levels):
            work.add(name, lambda setting=setting, size=size, search=search: (setting, size, search))
    for row in systems.values():
        row["bytes_a_page"] = row.pop("bytes") / len(pages)
    return {
        "pack": pack.path.resolve().name,
        "pages": len(pages),
        "questions": len(questions),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "systems": systems,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path, nargs="?", help="folder of the pack (the sample pack)")
    parser.add_argument("--index", type=Path, help="of the pack's documents (made in a temporary folder)")
    parser.add_argument("--levels", type=int, nargs="+", default=list(LEVELS), help="rows read (1 4 16 64)")
    parser.add_argument("--most", type=int, help="the first so many questions")
    parser.add_argument("--work", type=Path, help="keep each system's figures here, and use them again")
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write the two plots")
    parser.add_argument("--small", action="store_true", help="the sample pack; for correctness, not figures")
    options = parser.parse_args(arguments)
    if options.small:
        options.pack, options.index, options.levels = None, None, [1, 64]
    result = run(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.plots:
        save_plots(result, options.plots)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
