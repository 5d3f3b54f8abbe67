"""What importing costs: `import mmrag`, `mmrag --help`, and the first answer, beside bare Python.

    python benchmarks/import_time.py [--json FILE] [--small]

Each line is the median of several fresh interpreters, and its ratio to a bare interpreter in the same
run. The promises are 0.3 s for the import and 0.25 s for the help; the help of one command also imports
pydantic where Typer does (0.29 and later). ``--small`` runs each once and says nothing of time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

CASES = {
    "python -c pass": ["-c", "pass"],
    "import mmrag": ["-c", "import mmrag"],
    "mmrag --help": ["-m", "mmrag.cli", "--help"],
    "mmrag search --help": ["-m", "mmrag.cli", "search", "--help"],
    "from mmrag import DocumentQA": ["-c", "from mmrag import DocumentQA"],
    "import chromadb": ["-c", "import chromadb"],
    "import pymupdf": ["-c", "import pymupdf"],
}


def seconds(arguments: list[str], rounds: int = 7) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    parser.add_argument("--small", action="store_true", help="one round")
    options = parser.parse_args()
    rounds = 1 if options.small else 7
    base = seconds(CASES["python -c pass"], rounds)
    rows = {}
    for name, arguments in CASES.items():
        took = seconds(arguments, rounds)
        rows[name] = {"ms": took * 1000, "to_bare": took / base}
        print(f"{name:32} {took * 1000:7.0f} ms   {took / base:5.1f} x bare Python")
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
