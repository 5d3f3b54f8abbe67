"""Processor time of a question, without and with the local reranker.

    OMP_NUM_THREADS=1 python benchmarks/rerank_cost.py PACK --index DIR [--questions 60]

PACK is an evaluation pack (``docs/evaluation-pack.md``), DIR an index of its documents, opened for reading.
Each question is searched for without a reranker, then with it, and then again, when all scores are
remembered. Times are of the process (all threads), so that other work on the machine counts little.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from functools import partial

from arguments import index_of, pack_arguments, parse_pack, write_json

from mmrag import DocumentQA
from mmrag.evaluation import load_pack


def processor_time(work: Callable[[], object]) -> float:
    """Return the seconds of processor time that a call takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Command line."""
    parser = pack_arguments(__doc__)
    parser.add_argument("--questions", type=int, default=60, help="sample (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (%(default)s)")
    options = parse_pack(parser)
    if options.small:
        options.questions = 2
    texts = [question.question for question in load_pack(options.pack).questions]
    sample = random.Random(options.seed).sample(texts, min(options.questions, len(texts)))
    times: dict[str, list[float]] = {"search": [], "and rerank": [], "again": []}
    with index_of(options) as index, DocumentQA.open(index, read_only=True) as qa:
        qa.search("load the weights")
        for text in sample:
            plain = processor_time(partial(qa.search, text, rerank=False))
            whole = processor_time(partial(qa.search, text))
            again = processor_time(partial(qa.search, text))
            for name, seconds in zip(times, (plain, whole - plain, again - plain), strict=True):
                times[name].append(seconds)
    print(f"processor time of {len(sample)} questions, ms: median, mean, 95 % under")
    result = {}
    for name, values in times.items():
        high = sorted(values)[int(0.95 * (len(values) - 1))]
        figures = (statistics.median(values), statistics.fmean(values), high)
        result[name] = dict(zip(("median", "mean", "95 % under"), figures, strict=True))
        print(f"  {name:12}" + "".join(f"{1000 * value:8.0f}" for value in figures))
    write_json(options, result)


if __name__ == "__main__":
    main()
