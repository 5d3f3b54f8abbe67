"""A warm search without reranker: processor time of one thread, whole and in parts.

    OMP_NUM_THREADS=1 python benchmarks/warm_search.py --index INDEX --pack PACK [--json FILE]
    python benchmarks/warm_search.py --small

Each question is new to the index when it is asked, and the index is not: another question went before. The
parts are asked of the index as a search asks them, for the same questions in the same order, in a second
index object over the same files, so that neither finds what the other has kept: encoding the question, words,
rows, and the documents that it names. What is left of the whole is pooling, scores of what one channel alone
found, fusing, and reading the records. `--small` takes the samples and checks results only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from mmrag import DocumentQA
from mmrag.index.chroma import ChromaIndex
from mmrag.models.load import default_embedder
from mmrag.retriever import Retriever
from mmrag.samples import sample_documents, sample_questions


def pack_questions(pack, count):
    """Return the answerable questions of a pack, spread over it."""
    lines = (pack / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [question["question"] for question in map(json.loads, lines) if question["answerable"]]
    return texts[:: max(1, len(texts) // count)][:count]


def timed(times, name, call):
    """Call, and note the processor time in milliseconds."""
    start = time.process_time()
    result = call()
    times.setdefault(name, []).append(1000 * (time.process_time() - start))
    return result


def measure(path, embedder, questions):
    """Ask every question but the first, which warms up; returns medians in milliseconds."""
    times = {}
    with (
        closing(ChromaIndex.open(path, embedder, read_only=True)) as index,
        closing(ChromaIndex.open(path, embedder, read_only=True)) as parts,
    ):
        retriever = Retriever(index, embedder)
        depth = retriever.depth
        for position, question in enumerate(questions):
            noted = times if position else {}
            hits = timed(noted, "whole", lambda q=question: retriever.search(q, k=10))
            assert len(hits), question
            matrix = timed(noted, "encoding the question", lambda q=question: embedder.encode_query([q])[0])
            found = timed(noted, "rows", lambda m=matrix: parts.search_vectors(m, k=depth))
            assert len(found) == min(depth, parts.count())
            timed(noted, "documents named", lambda q=question: parts.name_documents(q))
            timed(noted, "words", lambda q=question: parts.search_text(q, k=depth))
        pages = index.count()
    rows = [
        {"part": name, "ms": statistics.median(values), "p90": float(np.percentile(values, 90))}
        for name, values in times.items()
    ]
    return {"pages": pages, "questions": len(questions) - 1, "load": os.getloadavg()[0], "rows": rows}


def main(arguments):
    embedder = default_embedder()
    if arguments.small:
        with tempfile.TemporaryDirectory() as folder:
            with DocumentQA.open(folder, embedder=embedder) as qa:
                qa.add(sample_documents())
            questions = [question["question"] for question in sample_questions()][:5]
            report = measure(Path(folder), embedder, questions)
    else:
        questions = pack_questions(arguments.pack, arguments.questions + 1)
        report = measure(arguments.index, embedder, questions)
    print(json.dumps(report, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", type=Path, help="folder of an index")
    parser.add_argument("--pack", type=Path, help="evaluation pack, whose documents the index has")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--small", action="store_true", help="the samples: results only")
    parser.add_argument("--json", type=Path, help="write the figures here as JSON")
    parsed = parser.parse_args()
    if not parsed.small and not (parsed.index and parsed.pack):
        parser.error("--index and --pack are needed, or --small")
    main(parsed)
