"""Time a text embedder, and compare its windows one at a time with padded batches, in one run.

    OMP_NUM_THREADS=1 python benchmarks/embedder.py FOLDER
    python benchmarks/embedder.py FOLDER --blank

FOLDER holds an exported text encoder (``model.onnx``, ``tokenizer.json``), such as bge-small-en-v1.5, which
scripts/mini/README.md downloads.

Pages are made here (seeded words, lengths like those of reports), so nothing outside the repository is
needed. Times are CPU seconds of this process on one thread where not said otherwise; other work on the
machine still moves them, so read the ratios.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from pathlib import Path

import numpy as np

from mmrag.embedders.text import TextEmbedder

TEXT = """
the of and in to sales revenue quarter growth region segment margin operating income total costs expenses
market customers products services report table figure increase decrease percent million billion year fiscal
ended december compared prior period results company management risk factors
"""

QUESTIONS = [
    "How did net sales change in Europe?",
    "What is the total operating income of 2023?",
    "Which segment grew fastest?",
    "Who approves travel expenses?",
    "When does the warranty end?",
]


def make_pages(count: int, seed: int = 0) -> list[str]:
    """Texts of 60 to 1,000 words."""
    rng = random.Random(seed)
    words = TEXT.split()
    return [" ".join(rng.choices(words, k=rng.randint(60, 1000))) for _ in range(count)]


def cpu(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def padded_batches(encoder, windows: list[list[int]], size: int) -> np.ndarray:
    """The usual way: sort by length, pad, run `size` together, put back."""
    order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
    vectors = np.zeros((len(windows), encoder.dim), dtype=np.float32)
    for start in range(0, len(order), size):
        part = order[start : start + size]
        longest = max(len(windows[i]) for i in part) + 2
        ids = np.zeros((len(part), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, i in enumerate(part):
            tokens = [encoder._tokenizer.first, *windows[i], encoder._tokenizer.last]
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = encoder._session.run(None, feed)[0][:, 0]
        vectors[part] = states / np.linalg.norm(states, axis=1, keepdims=True)
    return vectors


def time_everything(folder: Path, count: int) -> None:
    embedder = TextEmbedder(folder, threads=1)
    print(f"load                    {cpu(embedder._load):8.2f} s")
    print(f"fingerprint             {cpu(lambda: embedder.fingerprint):8.2f} s")
    pages = make_pages(count)
    embedder.encode_document(pages[:1])
    windows = [window for page in pages for window in embedder._text_windows(page)]
    tokenise = cpu(lambda: [embedder._text_windows(page) for page in pages])
    encode = cpu(lambda: embedder.encode_document(pages))
    print(f"pages                   {count:8d}   ({len(windows)} windows, {len(windows) / count:.1f} a page)")
    print(f"encode_document         {count / encode:8.1f} pages/s, one core")
    print(f"                        {len(windows) / encode:8.1f} windows/s, one core")
    print(f"  of it tokenising      {tokenise / encode:8.1%}")
    query = cpu(lambda: [embedder.encode_query([question]) for question in QUESTIONS * 10])
    print(f"encode_query            {query / len(QUESTIONS) / 10 * 1000:8.1f} ms a question")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory             {peak:8.0f} MiB")
    encoder = embedder._load()
    alone = np.stack([encoder.encode(window) for window in windows])
    one = cpu(lambda: [encoder.encode(window) for window in windows])
    print("against windows one at a time, same run (time; cosine of the same window, mean and worst):")
    for size in (4, 16, 32):
        vectors = padded_batches(encoder, windows, size)
        batched = cpu(lambda size=size: padded_batches(encoder, windows, size))
        cosines = (alone * vectors).sum(axis=1)
        agreement = f"{cosines.mean():.4f} {cosines.min():.4f}"
        print(f"  padded batches of {size:<4d}  {batched / one:8.2f} x time   {agreement}")
    repeated = np.stack([encoder.encode(window) for window in reversed(windows)])[::-1]
    print(
        f"  one at a time, again  {'':>8}             largest difference {np.abs(alone - repeated).max():.1e}"
    )
    for threads in (1, 2):
        several = TextEmbedder(folder, threads=threads)
        several.encode_query(["warm"])
        start = time.perf_counter()
        several.encode_document(pages)
        print(f"{threads} thread(s), wall         {count / (time.perf_counter() - start):8.1f} pages/s")


def score_blank(folder: Path) -> None:
    """Print how a page without text scores against questions, and pages that answer one of them."""
    embedder = TextEmbedder(folder)
    queries = np.concatenate(embedder.encode_query(QUESTIONS))
    pages = np.concatenate(embedder.encode_document(QUESTIONS_ANSWERED))
    (blank,) = embedder.encode_document([""])
    scores = queries @ pages.T
    own = np.eye(len(QUESTIONS), dtype=bool)
    for label, values in (
        ("the page that answers", scores[own]),
        ("pages that do not", scores[~own]),
        ("a page without text", (queries @ blank.T)[:, 0]),
    ):
        print(f"{label:24s} mean {values.mean():.3f}   from {values.min():.3f} to {values.max():.3f}")


QUESTIONS_ANSWERED = [
    "Net sales in Europe fell by four percent to 24.1 billion dollars, mostly from weaker demand for phones.",
    "Consolidated statement of income, 2023: revenue 812, cost of sales 514, total operating income 117.",
    "By segment: Sensing grew 14 percent, Services 6 percent and Hardware 2 percent over the year before.",
    "Travel requests are signed by the head of department before booking; expenses need receipts.",
    "The limited warranty covers defects in material and workmanship for twenty-four months from purchase.",
]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="of an exported text encoder")
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--blank", action="store_true", help="only the scores of a page without text")
    options = parser.parse_args()
    if options.blank:
        score_blank(options.folder)
    else:
        time_everything(options.folder, options.pages)
