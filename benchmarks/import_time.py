"""What importing costs: `import mmrag`, `mmrag --help`, and the first answer, beside bare Python.

    python benchmarks/import_time.py

Each line is the median of several fresh interpreters, and its ratio to a bare interpreter in the same
run. The promises are 0.3 s for the import and 0.25 s for the help; the help of one command also imports
pydantic where Typer does (0.29 and later).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

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
    base = seconds(CASES["python -c pass"])
    for name, arguments in CASES.items():
        took = seconds(arguments)
        print(f"{name:32} {took * 1000:7.0f} ms   {took / base:5.1f} x bare Python")


if __name__ == "__main__":
    main()
