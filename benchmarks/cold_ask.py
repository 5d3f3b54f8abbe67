"""A question in a new process: `mmrag ask` on an index of the samples, beside the least that it needs.

    python benchmarks/cold_ask.py [--rounds 9] [--index DIR] [--json cold_ask.json] [--small]

The index is made once and asked once while it is open for writing, so that it keeps the structure of the
pages that answer. Then every row is the median of new processes, which take turns, so that other work on the
machine meets all rows: *bare* is the import of onnxruntime and numpy, without which no question is encoded;
*ask* is the command; *ask, no reranker* the command without the reranker (quoting reads passages all the
same). Seconds are wall time and processor time of all threads and children. ``--small`` asks once and checks
that the answer is the same as in the process that made the index.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mmrag import DocumentQA
from mmrag.samples import sample_documents

QUESTION = "What was the operating margin in 2023?"
BARE = ["-c", "import onnxruntime, numpy"]


def make_index(folder: Path) -> str:
    """Index the samples, ask once, and return the answer's text."""
    with DocumentQA.open(folder) as qa:
        qa.add(sample_documents())
        return qa.ask(QUESTION, evidence=False).text


def run(arguments: list[str]) -> tuple[float, float, str]:
    """Run a new interpreter; seconds on the clock, of processors, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9, help="processes a row (%(default)s)")
    parser.add_argument("--index", type=Path, help="keep the index here, or use it again")
    parser.add_argument("--json", "--to", dest="to", type=Path, help="write the figures as JSON")
    parser.add_argument("--small", action="store_true", help="one process a row, and the answer is checked")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.index or Path(scratch) / "index"
        text = make_index(folder)
        ask = ["-m", "mmrag.cli", "ask", QUESTION, "--index", str(folder), "--json"]
        rows = {"bare": BARE, "ask": ask, "ask, no reranker": [*ask, "--rerank", "none"]}
        rounds = 1 if options.small else options.rounds
        results = {name: [] for name in rows}
        for _ in range(rounds):
            for name, arguments in rows.items():
                results[name].append(run(arguments))
    answer = json.loads(results["ask"][0][2])
    if answer["answer"] != text:
        sys.exit(f"a new process must answer as the first did, got {answer['text']!r} for {text!r}.")
    figures = {
        name: {
            "wall": statistics.median(wall for wall, _, _ in runs),
            "processor": statistics.median(used for _, used, _ in runs),
        }
        for name, runs in results.items()
    }
    for name, row in figures.items():
        ratio = row["processor"] / figures["bare"]["processor"]
        print(f"{name:18} {row['wall']:6.2f} s   processor {row['processor']:6.2f} s   {ratio:5.1f} x bare")
    if options.to:
        options.to.write_text(json.dumps({"rounds": rounds, "rows": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
