"""The projection of mmrag-mini: 384 numbers of the encoder to 128, from rows of pages and questions alone.

    python scripts/mini/build.py ... model-384                        # without --projection: rows of 384
    python scripts/mini/projection.py data/pdf model-384 projection.npy --pages 1200

The 128 directions in which rows of pages and of questions (half the weight each) vary most, each divided by
the fourth root of its share: nearly all of a row of bge-small is one direction that every text shares, and
partial whitening takes its weight away. Questions are runs of 5 to 14 words of a page with a quarter left
out. A projection trained further by contrast on the same pages was worse on the validation pages
(docs/lab-log.md, "mmrag-mini").
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pymupdf

from mmrag.embedders.mini.encoder import MiniEncoder
from mmrag.embedders.mini.located import parts_of
from mmrag.embedders.text import QUERY_INSTRUCTION

DIM = 128
POWER = 0.25
FEWEST, MOST = 120, 2_500  # word pieces of a page
QUESTIONS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pdfs", type=Path, help="one folder a source")
    parser.add_argument("model", type=Path, help="a folder of build.py without projection")
    parser.add_argument("to", type=Path)
    parser.add_argument("--pages", type=int, default=1200)
    parser.add_argument("--leave-out", nargs="*", default=[], help="sources set aside for validation")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    encoder, rng = MiniEncoder(options.model), random.Random(options.seed)
    prefix = encoder.tokenizer.tokenize(QUERY_INSTRUCTION)
    pages, questions = np.zeros((encoder.dim, encoder.dim)), np.zeros((encoder.dim, encoder.dim))
    count = 0
    for text in texts(options, rng):
        ids = encoder.tokenizer.tokenize(text)
        if len(ids) < FEWEST:
            continue
        content = encoder.embed(ids[:MOST])
        rows = encoder.rows(content, parts_of(len(content), most=64), "document")
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        pages += rows.T @ rows / len(rows)
        for _ in range(QUESTIONS):
            content = encoder.embed(encoder.tokenizer.tokenize(question(text.split(), rng))[:100])
            row = encoder.rows(content, parts_of(max(len(content), 1), most=1), "query", prefix)[0]
            questions += np.outer(row, row) / QUESTIONS
        count += 1
        if count % 100 == 0:
            print(f"{count} pages", file=sys.stderr, flush=True)
            save(pages, questions, count, options.to)
        if count == options.pages:
            break
    print(f"{count} pages; the first direction holds {save(pages, questions, count, options.to):.2f} of all")


def texts(options: argparse.Namespace, rng: random.Random) -> Iterator[str]:
    """Texts of random pages, one of a file at a time."""
    files = [
        file
        for file in sorted(options.pdfs.rglob("*.pdf"))
        if file.relative_to(options.pdfs).parts[0] not in options.leave_out
    ]
    rng.shuffle(files)
    for file in files * 3:
        try:
            with pymupdf.open(file) as document:
                yield document[rng.randrange(len(document))].get_text()
        except (RuntimeError, ValueError) as error:  # of MuPDF: a file that cannot be read
            print(f"{file}: {error}", file=sys.stderr)


def question(words: list[str], rng: random.Random) -> str:
    """A run of a page's words, some left out."""
    length = rng.randint(5, 14)
    start = rng.randrange(max(1, len(words) - length))
    return " ".join(word for word in words[start : start + length] if rng.random() > 0.25)


def save(pages: np.ndarray, questions: np.ndarray, count: int, to: Path) -> float:
    """Write the projection ``(DIM, width)``; the share of the largest direction."""
    directions, shares, _ = np.linalg.svd((pages + questions) / (2 * count))
    scaled = directions[:, :DIM] * (shares[:DIM] / shares[0]) ** -POWER
    np.save(to, scaled.T.astype(np.float32))
    return float(shares[0] / shares.sum())


if __name__ == "__main__":
    main()
