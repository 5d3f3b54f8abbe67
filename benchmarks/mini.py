"""Time mmrag-mini, RapidOCR on the same pictures and a text encoder on the same texts, in one run.

    OMP_NUM_THREADS=1 python benchmarks/mini.py
    OMP_NUM_THREADS=1 python benchmarks/mini.py --baseline bge
    OMP_NUM_THREADS=1 python benchmarks/mini.py --pages FOLDER --most 40
    OMP_NUM_THREADS=1 python benchmarks/mini.py --profile pixels
    OMP_NUM_THREADS=1 python benchmarks/mini.py --small --json mini.json

Seconds are processor time of this process on one core. What else the machine does still moves them (caches,
hyper-threads), so read the ratios, and the bars with that in mind. Pages are those of the sample documents or
of FOLDER, drawn by PyMuPDF at the size that the model makes use of; drawing is not counted. Documents of one
kind have pages of one length, so the seconds a page are also given for a thousand tokens. The baseline is an
exported text encoder (``model.onnx``, ``tokenizer.json``); scripts/mini/README.md fetches bge-small-en-v1.5.
"""

from __future__ import annotations

import argparse
import cProfile
import importlib.util
import json
import os
import pstats
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

os.environ["OMP_NUM_THREADS"] = "1"  # before anything reads it

from mmrag import Page
from mmrag.documents import DocumentReader, InputDocument, ReaderSettings, discover
from mmrag.samples import sample_documents, sample_questions

BARS = {"a query": 0.015, "a page from text": 0.3, "a page with pixels": 1.5}
LONG = 5_000  # tokens of a page that no page in the samples reaches
Encode: TypeAlias = Callable[[list[str]], object]
Figure: TypeAlias = dict[str, Any]
STAGES = ("scale and tile", "network", "cells to words", "reading order", "visual tokens", "encoder")


def cpu(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def memory() -> float:
    """Most MiB that the process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_pages(folder: Path, pixels: int, most: int) -> list[Page]:
    """Pages with their text layer and their picture, spread over the documents."""
    by_document: list[list[Page]] = []
    with DocumentReader(ReaderSettings(ocr="off", workers=1)) as reader:
        for found in discover(folder):
            if isinstance(found, InputDocument):
                pages = reader.pages(found, image_pixels=pixels)
                by_document.append([page for page in pages if isinstance(page, Page) and page.image])
    turns = max((len(pages) for pages in by_document), default=0)
    mixed = [pages[turn] for turn in range(turns) for pages in by_document if turn < len(pages)]
    return mixed[:most]


class Stages:
    """Seconds of each stage of a page's pixels, in the order of `STAGES`."""

    def __init__(self, embedder) -> None:
        self.encoder, self.reader = embedder._load()
        self.budget, self.compression = embedder.budget.document, embedder.compression
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[stage].append(time.process_time() - start)

    def run(self, image) -> int:
        """A picture's way to rows, as `MiniEmbedder` goes it; words read."""
        from mmrag.embedders.mini.located import parts_of
        from mmrag.embedders.mini.reader import enlargement, reading_order
        from mmrag.embedders.mini.visual import visual_tokens

        with self._timed("scale and tile"):
            tiles = self.reader.prepare(image)
        with self._timed("network"):
            grids = [self.reader.look(tile) for tile in tiles]
        with self._timed("cells to words"):
            found = self.reader.words(tiles, grids)
        with self._timed("reading order"):
            words = [found[number] for line in reading_order(found) for number in line]
        with self._timed("visual tokens"):
            pieces = self.encoder.tokenizer.tokenize_words([word.text for word in words])
            scale = enlargement(image.size, self.reader.long_side)
            embed, compression = self.encoder.embed, self.compression
            content = visual_tokens(words, pieces, embed, scale=scale, compression=compression)
        with self._timed("encoder"):
            self.encoder.rows(content, parts_of(max(len(content), 1), most=self.budget), "document")
        return len(words)


def load():
    """The embedder, loaded, with what loading took."""
    before = memory()
    seconds = cpu(lambda: __import__("mmrag.embedders.mini.embedder"))
    from mmrag.embedders.mini.embedder import MiniEmbedder

    embedder = MiniEmbedder(threads=1)
    loading = cpu(embedder._load)
    first = cpu(lambda: embedder.encode_query(["warm up"]))
    print(f"load        imports {seconds:.2f} s, weights {loading:.2f} s, first question {first:.2f} s")
    print(f"fingerprint {cpu(lambda: embedder.fingerprint):.2f} s")
    print(f"memory      {before:.0f} MiB before, {memory():.0f} MiB loaded")
    return embedder


def line(what: str, seconds: list[float], beside: str = "", ratio: float | None = None) -> Figure:
    """Print and return the mean and the longest, and whether the mean is under its bar.

    Args:
        what: was timed.
        seconds: of each input.
        beside: the ratio to a peer, in words.
        ratio: the same as a number.
    """
    bar, mean = BARS.get(what), statistics.mean(seconds)
    verdict = "" if bar is None else f"bar {bar * 1000:.0f} ms: {'under' if mean < bar else 'OVER'}"
    print(
        f"{what:28}{mean * 1000:9.1f} ms, longest {max(seconds) * 1000:6.0f}   {verdict:20} {beside}",
        flush=True,
    )
    return {"part": what, "ms": mean * 1000, "longest_ms": max(seconds) * 1000, "ratio": ratio}


def time_inputs(what: str, encode: Encode, baseline: Encode | None, inputs: list[str]) -> Figure:
    """Time each input; by turns with the baseline, so that noise meets both."""
    ours, theirs = [], []
    for one in inputs:
        ours.append(cpu(lambda one=one: encode([one])))
        if baseline:
            theirs.append(cpu(lambda one=one: baseline([one])))
    ratio = sum(ours) / sum(theirs) if theirs else None
    return line(what, ours, f"{ratio:.2f} x the baseline" if ratio else "", ratio)


def time_text(mini, pages: list[Page], folder: Path | None) -> list[Figure]:
    """Time queries and pages from text; `folder`: of the baseline."""
    query, document = None, None
    if folder:
        from mmrag.embedders.text import TextEmbedder

        baseline = TextEmbedder(folder, threads=1)
        baseline.encode_query(["warm up"])
        query, document = baseline.encode_query, baseline.encode_document
    questions = [question["question"] for question in sample_questions()]
    figures = [time_inputs("a query", mini.encode_query, query, questions)]
    texts = [page.text for page in pages if page.text.strip()]
    tokens = [len(mini._load()[0].tokenizer.tokenize(text)) for text in texts]
    page = time_inputs("a page from text", mini.encode_document, document, texts)
    a_thousand = page["ms"] / statistics.mean(tokens) * 1000
    figures.append(page | {"tokens": statistics.mean(tokens)})
    lengths = f"{min(tokens)} to {max(tokens)} tokens"
    print(f"  {len(texts)} pages of {lengths}; {a_thousand:.0f} ms a thousand tokens")
    words = (" ".join(texts) or "word").split()
    text = " ".join((words * (1 + LONG // len(words)))[:LONG])
    count = len(mini._load()[0].tokenizer.tokenize(text))
    figures.append(time_inputs(f"a text of {count} tokens", mini.encode_document, document, [text]))
    return figures


def time_pixels(mini, pages: list[Page]) -> list[Figure]:
    """Pages with pixels, and what of it each stage takes."""
    pixels, both = mini.with_inputs("pixels"), mini.with_inputs("both")
    stages = Stages(pixels)
    seconds = defaultdict(list)
    words = 0
    for page in pages:
        seconds["pixels"].append(cpu(lambda page=page: pixels.encode_document([page])))
        seconds["both"].append(cpu(lambda page=page: both.encode_document([page])))
        words += stages.run(page.image)
    kinds = (("pixels", "a page with pixels"), ("both", "the same with its text"))
    figures = [line(what, seconds[name]) for name, what in kinds]
    whole = sum(map(sum, stages.seconds.values()))
    for stage in STAGES:
        spent = stages.seconds[stage]
        print(f"  {stage:26}{statistics.mean(spent) * 1000:9.1f} ms   {sum(spent) / whole:5.0%}")
    print(f"  {len(pages)} pictures, {words / len(pages):.0f} words read a page")
    print(f"memory      {memory():.0f} MiB most so far")
    return [*figures, *time_ocr(pages, statistics.mean(seconds["pixels"]))]


def time_ocr(pages: list[Page], ours: float) -> list[Figure]:
    """Time RapidOCR on the same pictures, where it is installed."""
    if importlib.util.find_spec("rapidocr") is None:
        print("RapidOCR is not installed (pip install 'mmrag[ocr]'): not measured")
        return []
    from mmrag.documents.ocr.engine import OcrEngine

    engine = OcrEngine(ReaderSettings().ocr_max_side)
    engine.read(pages[0].image.crop((0, 0, 300, 100)))
    spent = [cpu(lambda page=page: engine.read(page.image)) for page in pages]
    ratio = statistics.mean(spent) / ours
    return [line("RapidOCR, the same pictures", spent, f"{ratio:.1f} x a page with pixels", ratio)]


def profile(mini, pages: list[Page], what: str) -> None:
    """Where Python spends its time; the network and the encoder are one call each."""
    embedder = mini.with_inputs(what)
    embedder.encode_document(pages[:1])
    profiler = cProfile.Profile(time.process_time)
    profiler.runcall(embedder.encode_document, pages)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pages", type=Path, help="folder of documents; else the samples of the package")
    parser.add_argument("--baseline", type=Path, help="folder of an exported text encoder to compare with")
    parser.add_argument("--most", type=int, default=12, help="pages that are measured")
    parser.add_argument("--profile", choices=("pixels", "text", "both"), help="only where the time goes")
    parser.add_argument("--small", action="store_true", help="two pages, for correctness alone")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    mini = load()
    most = 2 if options.small else options.most
    pages = read_pages(options.pages or sample_documents(), mini.image_pixels, most)
    if not pages:
        sys.exit(f"{options.pages} must hold documents that can be read, found none.")
    if options.profile:
        profile(mini, pages, options.profile)
        return
    figures = time_text(mini, pages, options.baseline)
    print(f"memory      {memory():.0f} MiB most so far")
    figures += time_pixels(mini, pages)
    if options.json:
        options.json.write_text(json.dumps({"rows": figures}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
