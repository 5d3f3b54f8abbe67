"""Where the time goes: ingest and ask, stage by stage.

    python benchmarks/stages.py [FOLDER]

Ingest is timed on the sample documents (or FOLDER), each stage by itself, in seconds a page and as a
ratio to plain PyMuPDF text extraction of the same pages in the same run. Ask is timed on the demo's
questions (or, for a FOLDER, on the sample questions, whatever it answers), in milliseconds, and as a
share of the whole. Wall time; run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pymupdf

from mmrag import DocumentQA, DocumentReader, Page, ReaderSettings, Record
from mmrag.documents import InputDocument, discover
from mmrag.ingest.embedding import image_pixels
from mmrag.models.load import default_embedder
from mmrag.samples import sample_documents, sample_questions


def found_in(folder: Path) -> list[InputDocument]:
    return [item for item in discover(folder) if isinstance(item, InputDocument)]


def read(folder: Path, ocr: str, pixels: int | None = None) -> tuple[list[Page], float]:
    with DocumentReader(ReaderSettings(ocr=ocr)) as reader:
        documents = found_in(folder)
        for document in documents:
            reader.info(document)  # workers are up before the clock starts
        started = time.perf_counter()
        pages = [
            item
            for document in documents
            for item in reader.pages(document, image_pixels=pixels)
            if isinstance(item, Page)
        ]
        return pages, time.perf_counter() - started


def plain_text(folder: Path) -> float:
    started = time.perf_counter()
    for document in found_in(folder):
        if document.source.kind == "pdf":
            with pymupdf.open(document.source.path) as opened:
                for page in opened:
                    page.get_text("words")
    return time.perf_counter() - started


def ingest(folder: Path) -> dict[str, dict[str, float]]:
    embedder = default_embedder()
    pages, text_seconds = read(folder, "off")
    drawn_seconds = read(folder, "off", image_pixels(embedder))[1] - text_seconds
    read_pages, all_seconds = read(folder, "auto", image_pixels(embedder))
    all_seconds -= drawn_seconds
    baseline = plain_text(folder) / len(pages)
    by_ocr = sum(page.text_source == "ocr" for page in read_pages)
    embedder.encode_query(["warm up"])
    started = time.perf_counter()
    matrices = embedder.encode_document(read_pages)
    embed_seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as scratch, DocumentQA.open(scratch, embedder=embedder) as qa:
        started = time.perf_counter()
        qa.index.add(
            [
                Record(page.id, matrix, page.text, {"doc_id": page.document_id}, page)
                for page, matrix in zip(read_pages, matrices, strict=True)
            ]
        )
        add_seconds = time.perf_counter() - started
    count = len(pages)
    stages = {
        "plain PyMuPDF words, no process": baseline,
        "read, no OCR": text_seconds / count,
        "draw for the embedder": max(0.0, drawn_seconds) / count,
        f"OCR (a page of the {by_ocr} that need it)": max(0.0, all_seconds - text_seconds) / max(1, by_ocr),
        "embed": embed_seconds / count,
        "add to the index": add_seconds / count,
    }
    rows = {
        name: {"ms_a_page": 1000 * seconds, "to_plain": seconds / baseline}
        for name, seconds in stages.items()
    }
    print(f"ingest, {count} pages")
    for name, seconds in stages.items():
        print(f"  {name:42} {seconds * 1000:9.1f} ms a page {seconds / baseline:8.1f} x")
    return rows


def ask(folder: Path) -> dict[str, dict[str, float]]:
    times: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch, DocumentQA.open(scratch) as qa:
        qa.add(folder)
        questions = [question["question"] for question in sample_questions()]
        qa.ask(questions[0])
        for question in questions:
            started = time.perf_counter()
            matrix = qa.embedder.encode_query([question])[0]
            times["encode the question"].append(time.perf_counter() - started)
            started = time.perf_counter()
            qa.index.search_vectors(matrix, k=100)
            times["search vectors"].append(time.perf_counter() - started)
            started = time.perf_counter()
            qa.index.search_text(question, k=1000)
            times["search text"].append(time.perf_counter() - started)
            seconds = qa.ask(question).usage.seconds
            times["search, whole"].append(seconds["search"])
            times["rerank"].append(seconds["rerank"])
            times["answer"].append(seconds["answer"])
            times["evidence pictures"].append(seconds["evidence"])
    whole = sum(
        statistics.median(times[name]) for name in ("search, whole", "rerank", "answer", "evidence pictures")
    )
    print(f"ask, median of {len(questions)} questions")
    for name, values in times.items():
        print(
            f"  {name:42} {statistics.median(values) * 1000:9.1f} ms {statistics.median(values) / whole:8.0%}"
        )
    return {
        name: {"ms": 1000 * statistics.median(values), "share": statistics.median(values) / whole}
        for name, values in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=sample_documents())
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    result = {"ingest": ingest(options.folder), "ask": ask(options.folder)}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
