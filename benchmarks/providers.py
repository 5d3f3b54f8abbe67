"""ONNX providers beside the CPU: rows of mini, verdicts of the cross-encoder and words of OCR, and time.

    OMP_NUM_THREADS=1 python benchmarks/providers.py OpenVINOExecutionProvider [--pages 12] [--json FILE]
    python benchmarks/providers.py --small

Both compute the same pages of the samples in turn, so that other work on the machine meets both; a time is
the median over the rounds of what a page, pair or scan takes on average, in wall time and in processor time
of all threads. The first call of each is not counted, since some providers compile a graph for it. Where
nothing but the CPU is there, the CPU is compared with itself. `--small` takes two pages, one round.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before anything reads it

import numpy as np
from mini import read_pages

from mmrag import MiniEmbedder, Page
from mmrag.documents import ReaderSettings
from mmrag.embedders.cross_encoder import CrossEncoder
from mmrag.onnx_sessions import CPU, started_providers
from mmrag.samples import sample_documents, sample_pack
from mmrag.scoring import maxsim

Results = dict[str, list[Any]]

FIGURES: dict[str, Any] = {}
"""What was measured, by what it is of."""


def in_turn(name: str, works: dict[str, Callable[[], list[Any]]], rounds: int) -> Results:
    """Do the same by both providers in turn, print what an item takes, and return the last results."""
    results = {provider: work() for provider, work in works.items()}
    spent: dict[str, list[tuple[float, float]]] = {provider: [] for provider in works}
    for _ in range(rounds):
        for provider, work in works.items():
            wall, processor = time.perf_counter(), time.process_time()
            results[provider] = work()
            spent[provider].append((time.perf_counter() - wall, time.process_time() - processor))
    for provider, seconds in spent.items():
        wall, processor = (1000 * statistics.median(part) for part in zip(*seconds, strict=True))
        count = len(results[provider])
        FIGURES.setdefault(name, {})[provider] = {
            "wall_ms": wall / count,
            "processor_ms": processor / count,
            "items": count,
        }
        line = f"{wall / count:8.1f} ms wall {processor / count:8.1f} ms processor"
        print(f"{name:28}{provider:28}{line}  ({count})")
    return results


def compare_rows(name: str, results: Results) -> None:
    """Print how far rows of the same pages are apart."""
    ours, theirs = results.values()
    largest = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    cosines = np.concatenate(
        [
            (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            for a, b in zip(ours, theirs, strict=True)
        ]
    )
    FIGURES[name] = {
        "largest_difference": largest,
        "least_cosine": float(cosines.min()),
        "mean_cosine": float(cosines.mean()),
    }
    print(
        f"  {name}: largest difference {largest:.3f}; cosine of a row by both: least {cosines.min():.4f}, "
        f"mean {cosines.mean():.5f} ({len(cosines)} rows)"
    )


def compare_orders(queries: Results, pages: Results) -> None:
    """Print whether questions find the same pages first, whichever provider computed query and pages."""
    cpu, other = pages
    first_pages = {
        (asked, stored): [
            int(np.argmax([maxsim(query[None], page[None])[0, 0] for page in pages[stored]]))
            for query in queries[asked]
        ]
        for asked in (cpu, other)
        for stored in (cpu, other)
    }
    for (asked, stored), order in first_pages.items():
        same = [a == b for a, b in zip(first_pages[cpu, cpu], order, strict=True)]
        FIGURES[f"first page, queries by {asked}, pages by {stored}"] = {"same": sum(same), "of": len(same)}
        print(
            f"  queries by {asked}, pages by {stored}: "
            f"the first page is the same for {sum(same)} of {len(same)}"
        )


def read_scans(pages: list[Page], names: dict[str, list[str]], rounds: int) -> None:
    """Print time and words of OCR on pages without text."""
    if importlib.util.find_spec("rapidocr") is None:
        print("RapidOCR is not installed (pip install 'mmrag[ocr]'): not measured")
        return
    from mmrag.documents.ocr.engine import OcrEngine

    scans = [page.image for page in pages if not page.words]
    if not scans:
        print("No page without text is among them: OCR not measured")
        return
    side = ReaderSettings().ocr_max_side
    engines = {name: OcrEngine(side, providers=providers) for name, providers in names.items()}
    works = {name: lambda e=engine: [e.read(scan) for scan in scans] for name, engine in engines.items()}
    texts = [
        [word.text for reading in readings for block in reading.blocks for line in block for word in line]
        for readings in in_turn("OCR of a scan", works, rounds).values()
    ]
    FIGURES["words of OCR"] = {"by each": [len(words) for words in texts], "same": texts[0] == texts[1]}
    print(f"  words of OCR: {len(texts[0])} and {len(texts[1])}, the same: {texts[0] == texts[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("provider", nargs="?", default="auto", help="beside the CPU (%(default)s)")
    parser.add_argument("--pages", type=int, default=12, help="most pages (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each does all (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    parser.add_argument("--small", action="store_true", help="two pages, one round: does it run")
    options = parser.parse_args()
    if options.small:
        options.pages, options.rounds = 2, 1
    names = {CPU: [CPU], "+".join(started_providers(options.provider)[:-1]) or "CPU again": options.provider}
    minis = {name: MiniEmbedder(threads=1, providers=providers) for name, providers in names.items()}
    pages = read_pages(sample_documents(), minis[CPU].image_pixels, options.pages)
    texts = [page for page in pages if page.words]
    lines = (sample_pack() / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines][: 3 if options.small else None]

    def encode(inputs: str, items: list[Any]) -> dict[str, Callable[[], list[Any]]]:
        models = {name: mini.with_inputs(inputs) for name, mini in minis.items()}
        return {name: lambda m=model: m.encode_document(items) for name, model in models.items()}

    ask = {name: lambda m=mini: m.encode_query(questions) for name, mini in minis.items()}
    queries = in_turn("a question", ask, options.rounds)
    rows = in_turn("a page from text", encode("text", texts), options.rounds)
    pixels = in_turn("a page from pixels", encode("pixels", pages), options.rounds)
    compare_rows("rows of questions", queries)
    compare_rows("rows from text", rows)
    compare_rows("rows from pixels", pixels)
    compare_orders(queries, rows)
    encoders = {name: CrossEncoder(threads=1, providers=providers) for name, providers in names.items()}

    def judge(encoder: CrossEncoder) -> list[float]:
        encoder._scores.clear()  # it remembers them
        return [score for text in questions[:6] for score in encoder(text, [page.text for page in texts])]

    judges = {name: lambda e=encoder: judge(e) for name, encoder in encoders.items()}
    cpu, other = in_turn("a pair of the cross-encoder", judges, options.rounds).values()
    gap = max(abs(a - b) for a, b in zip(cpu, other, strict=True))
    flips = sum((a > 0) != (b > 0) for a, b in zip(cpu, other, strict=True))
    FIGURES["verdicts"] = {"largest_difference": gap, "other_side": flips, "of": len(cpu)}
    print(
        f"  verdicts: largest difference {gap:.3f} of log-odds, {flips} of {len(cpu)} on the other side of 0"
    )
    read_scans(pages, names, options.rounds)
    if options.small:
        assert FIGURES["rows from text"]["least_cosine"] > 0.9, FIGURES
    if options.json:
        options.json.write_text(json.dumps(FIGURES, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
