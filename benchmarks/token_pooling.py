"""What fewer rows a page cost a multi-vector checkpoint: every token, clusters, levels of clusters.

    python benchmarks/token_pooling.py CHECKPOINT PACK --index DIR [--documents 20] [--small]

CHECKPOINT is a folder or hub name that sentence-transformers loads as a ``MultiVectorEncoder``, PACK an
evaluation pack (``docs/evaluation-pack.md``), DIR an index of its documents, whose texts are read. Pages of
the first documents are encoded once; every form of their rows is made of the same tokens and answers the same
questions, so that the lines are paired. nDCG@5 over all those pages and within the question's documents.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmrag import DocumentQA, MLLMEmbedder
from mmrag.evaluation import load_pack
from mmrag.evaluation.metrics import bootstrap_interval, ndcg
from mmrag.models.token_pooling import pool_levels, pool_tokens
from mmrag.scoring import maxsim_ragged
from mmrag.types import Matrix

WEIGHTS = (0.0, 0.1, 0.2, 0.4)
ROWS = (16, 64)


def forms() -> dict[str, Callable[[Matrix], Matrix]]:
    """Return how a page's tokens become rows, by name."""
    made: dict[str, Callable[[Matrix], Matrix]] = {"every token": lambda tokens: tokens}
    for rows in ROWS:
        made[f"clusters, {rows} rows"] = lambda tokens, rows=rows: pool_tokens(tokens, rows)
        for weight in WEIGHTS:
            name = f"levels, {rows} rows, position weight {weight}"
            made[name] = lambda tokens, rows=rows, weight=weight: pool_levels(
                tokens, rows, position_weight=weight
            )
    for rows in (1, 5, 21):
        made[f"levels, first {rows} of 64"] = lambda tokens, rows=rows: pool_levels(tokens, 64)[:rows]
    return made


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="folder or hub name")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="an index of the pack's documents")
    parser.add_argument("--documents", type=int, default=20, help="first documents of the pack by name")
    parser.add_argument("--small", action="store_true", help="two documents: does it run")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    pack = load_pack(options.pack)
    names = sorted({name for question in pack.questions for name in question.docs})
    names = names[: 2 if options.small else options.documents]
    questions = [one for one in pack.questions if one.evidence and set(one.docs) <= set(names)]
    with DocumentQA.open(options.index, read_only=True) as qa:
        records = [
            record
            for record in qa.index.get(qa.index.ids({"file_name": {"$in": names}}))
            if record.page is not None and record.text.strip()
        ]
    pages = [(record.page.source.name, record.page.number) for record in records if record.page is not None]
    embedder = MLLMEmbedder.from_pretrained(options.checkpoint, family="multi_vector_encoder")
    tokens = embedder.encode_document([record.text for record in records], show_progress=True)
    queries = embedder.encode_query([question.question for question in questions])
    lengths = [len(matrix) for matrix in tokens]
    print(
        f"{options.checkpoint}: {len(pages)} pages of {len(names)} documents, {len(questions)} questions; "
        f"tokens a page: {np.mean(lengths):.0f} in the mean, {max(lengths)} at most"
    )
    print(f"{'rows of a page':44} {'mean rows':>9} {'all pages':>10} {'within':>8}  change of both")
    figures: dict[str, dict[str, float]] = {}
    first = np.zeros((0, 2))
    for name, form in forms().items():
        matrices = [form(matrix) for matrix in tokens]
        values = []
        for question, query in zip(questions, queries, strict=True):
            scores = maxsim_ragged(query, matrices)
            order = [pages[at] for at in np.argsort(-scores, kind="stable")]
            within = [page for page in order if page[0] in question.docs]
            values.append([ndcg(order, question.evidence, 5), ndcg(within, question.evidence, 5)])
        table = np.array(values)
        first = table if not len(first) else first
        rows = float(np.mean([len(matrix) for matrix in matrices]))
        low, high = bootstrap_interval(table - first)
        change = (table - first).mean(0)
        changes = [f"{change[side]:+.3f} [{low[side]:+.3f}, {high[side]:+.3f}]" for side in (0, 1)]
        whole, within_mean = table.mean(0)
        print(f"{name:44} {rows:9.1f} {whole:10.3f} {within_mean:8.3f}  {'  '.join(changes)}")
        figures[name] = {"rows": rows, "all pages": whole, "within": within_mean}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
