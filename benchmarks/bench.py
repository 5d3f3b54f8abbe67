"""Run the benchmarks, keep their figures as JSON, and write docs/benchmarks.md from it.

    python benchmarks/bench.py run [NAME ...]      # `make bench`: measure, write benchmarks/results/NAME.json
    python benchmarks/bench.py report              # docs/benchmarks.md from benchmarks/results
    python benchmarks/bench.py small [NAME ...]    # `make bench-small`: each at its smallest, for correctness

``run`` without names runs what needs nothing outside the repository; names choose any of `BENCHMARKS`, with
``--pack`` and ``--index`` for those that need them. A result has the command, the date, the machine, its
load before and after, and the versions of what was measured. A figure in docs/benchmarks.md is never typed:
``benchmarks/report.toml`` says which figures a table shows, and a test compares the document with the
results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import about
from report import write_report

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """How a script is run: its file, arguments for figures and for correctness alone.

    Attributes:
        arguments: of ``run``; ``{pack}``, ``{index}`` and ``{bench}`` are filled in.
        small: of ``small``; None where the script has no small run.
        by_default: ``run`` without names runs it.
    """

    script: str
    arguments: tuple[str, ...] = ()
    small: tuple[str, ...] | None = ("--small",)
    by_default: bool = True

    @property
    def needs(self) -> str:
        """What ``run`` must be told."""
        return ", ".join(name for name in ("pack", "index") if f"{{{name}}}" in " ".join(self.arguments))


BENCHMARKS: Mapping[str, Benchmark] = {
    "scoring": Benchmark("scoring.py"),
    "index-growth": Benchmark("index_growth.py", ("--index", "{index}"), by_default=False),
    "search-scale": Benchmark(
        "search_scale.py",
        (
            "--index",
            "{index}",
            "--pack",
            "{pack}",
            "--pages",
            "10000",
            "100000",
            "1000000",
            "--questions",
            "236",
        ),
        by_default=False,
    ),
    "warm-search": Benchmark("warm_search.py", ("--index", "{index}", "--pack", "{pack}"), by_default=False),
    # of the 100,000 pages that `index_growth.py --keep` leaves
    "warm-search-100000": Benchmark(
        "warm_search.py", ("--index", "{index}", "--pack", "{pack}"), small=None, by_default=False
    ),
    "index-homes": Benchmark("index_homes.py", by_default=False),
    "stores": Benchmark("scale.py", ("--pages", "1000,10000"), by_default=False),
    "import-time": Benchmark("import_time.py"),
    "cold-ask": Benchmark("cold_ask.py"),
    "stages": Benchmark("stages.py", small=()),
    "mini": Benchmark("mini.py", ("--most", "40"), by_default=False),
    "ingest-memory": Benchmark("ingest_memory.py"),
    "second-run": Benchmark("second_run.py", ("--files", "2000")),
    "follow-ups": Benchmark("follow_ups.py", small=()),
    "load": Benchmark("load.py", by_default=False),
    "load-api": Benchmark(
        "load.py",
        ("--api", "--seconds", "3600", "--think", "20"),
        small=("--api", "--small"),
        by_default=False,
    ),
    "side-by-side": Benchmark(
        "side_by_side.py",
        ("{pack}", "--index", "{index}", "--plots", str(HERE.parent / "docs" / "images")),
        by_default=False,
    ),
    "side-by-side-samples": Benchmark("side_by_side.py", small=None),
    "compression-internvl3": Benchmark("compression.py"),
    "compression-qwen3-vl": Benchmark("compression.py", ("--family", "qwen3_vl")),
    "work-2b": Benchmark("compression.py", ("--work", "--shape", "2b"), small=("--work", "--shape", "2b")),
    "work-8b": Benchmark("compression.py", ("--work", "--shape", "8b"), small=("--work", "--shape", "8b")),
    "training": Benchmark("training.py"),
    "training-cost": Benchmark("training_cost.py", small=()),
    "documents": Benchmark("documents.py", ("{pack}", "--index", "{index}"), by_default=False),
    "rerank-cost": Benchmark("rerank_cost.py", ("{pack}", "--index", "{index}"), by_default=False),
    "providers": Benchmark("providers.py", by_default=False),
    "row-quality": Benchmark("row_quality.py", ("{pack}", "--index", "{index}"), by_default=False),
    "structure-text": Benchmark("structure_text.py", ("{pack}",), by_default=False),
    "reading": Benchmark("reading.py", by_default=False),
    "one-gpu": Benchmark("one_gpu.py", small=("--small", "--parts", "training,local"), by_default=False),
    "model-sizes": Benchmark("model_sizes.py", small=()),
}
WITHOUT_JSON = frozenset({"load", "index-homes"})
"""Scripts that write no figures: of one errors are the result, the other prints what once decided."""


def run(name: str, given: Mapping[str, str]) -> Path:
    """Measure and keep the figures of a benchmark; returns the file.

    Raises:
        SystemExit: what it needs was not told, or the script failed.
    """
    benchmark = BENCHMARKS[name]
    if missing := [need for need in benchmark.needs.split(", ") if need and need not in given]:
        sys.exit(f"{name} must be told {', '.join(missing)}: --{missing[0]} PATH.")
    arguments = [argument.format(**given) for argument in benchmark.arguments]
    shown = [given_name(argument, given) for argument in arguments]
    before, started = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "result.json"
        call(benchmark.script, [*arguments, "--json", str(target)])
        result = json.loads(target.read_text(encoding="utf-8"))
    return keep(
        name,
        f"python benchmarks/{' '.join([benchmark.script, *shown])}",
        result,
        seconds=time.perf_counter() - started,
        load=(before, os.getloadavg()[0]),
    )


def given_name(argument: str, given: Mapping[str, str]) -> str:
    """Return an argument as others would type it: paths of this machine by their names."""
    for name, value in given.items():
        if argument == value:
            return name.upper()
    return argument if not argument.startswith("/") else Path(argument).name


def keep(
    name: str, command: str, result: Any, *, seconds: float | None = None, load: Sequence[float] = ()
) -> Path:
    """Write a result with where and when it was measured."""
    found = about(command) | {"load": [round(value, 1) for value in load]}
    if seconds is not None:
        found["seconds"] = round(seconds)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(found | {"result": result}, indent=1) + "\n", encoding="utf-8")
    return path


def call(script: str, arguments: Sequence[str]) -> None:
    """Run a script of this folder.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(
            f"{done.stdout[-4000:]}\nbenchmarks/{script} {' '.join(arguments)} failed ({done.returncode})."
        )


def small(names: Sequence[str]) -> None:
    """Run each benchmark at its smallest, and check that it writes figures."""
    for name in names:
        benchmark = BENCHMARKS[name]
        if benchmark.small is None:
            continue
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) / "result.json"
            wanted = () if name in WITHOUT_JSON else ("--json", str(target))
            call(benchmark.script, [*benchmark.small, *wanted])
            if wanted and not json.loads(target.read_text(encoding="utf-8")):
                sys.exit(f"{name} must write figures, got an empty file.")
        print(f"{name:24} {time.perf_counter() - started:6.1f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "small"):
        command = commands.add_parser(name)
        command.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
        if name == "run":
            command.add_argument("--pack", help="an evaluation pack, for those that need one")
            command.add_argument("--index", help="an index of its documents")
    commands.add_parser("report")
    options = parser.parse_args(arguments)
    if options.command == "report":
        print(write_report())
        return 0
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"names must be of {', '.join(BENCHMARKS)}, got {', '.join(sorted(unknown))}")
    if options.command == "small":
        small(options.names or list(BENCHMARKS))
        return 0
    given = {name: value for name in ("pack", "index") if (value := getattr(options, name))}
    for name in options.names or [name for name, one in BENCHMARKS.items() if one.by_default]:
        print(run(name, given), flush=True)
    print(write_report())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
