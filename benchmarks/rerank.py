"""Does thinking pay? Quality against think tokens, the other modes, and what the client costs.

    mmrag serve MODEL --mode answer --port 8000          # in another shell
    python benchmarks/rerank.py PACK --index DIR --server http://127.0.0.1:8000 --work DIR
    python benchmarks/rerank.py PACK --index DIR --server ... --work DIR --only throughput --vllm PYTHON

PACK is an evaluation pack (``docs/evaluation-pack.md``), DIR an index of its documents. Retrieval ranks
the whole index; its first ``--top`` pages are judged again, so only their order can change. ``pointwise``
with 0, 32, ... think tokens judges ``--questions`` questions drawn by ``--seed``, and so do ``ecrr`` and
``qar``; the other modes and ``local`` judge all questions of the subset: those on documents that the pack's
``documents.jsonl`` marks ``core``, where it has such marks. The sample is part of the subset.

Every judged question is one line of ``WORK/rows.jsonl``, and every reply is kept: the same command goes
on where it was stopped. A question that the model's answer did not fit keeps the prior order, as
``on_error="keep"`` does, and is counted under "refused".

Intervals are 95 % percentile bootstraps over questions; "change" is the paired difference to retrieval.
``alpha`` 0 is the model's order alone, 0.5 equal shares of the model's and retrieval's z-scores.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rerank_report import plot, table
from rerank_throughput import page_texts, throughput

from mmrag import DocumentQA
from mmrag.errors import ServerAnswerError
from mmrag.evaluation import load_pack
from mmrag.evaluation.metrics import bootstrap_interval, ndcg
from mmrag.evaluation.pack import Pack, Question
from mmrag.rerank.local import LocalReranker
from mmrag.rerank.reranker import ThinkReranker
from mmrag.rerank.traces import TraceWriter
from mmrag.scoring import standardise
from mmrag.serving.client import ServerClient
from mmrag.types import Ranking, Usage

K = 5
ALPHAS = (0.0, 0.5)
WRITING = ("ecrr", "qar")  # as dear as thoughts, so they judge the same sample
MODES = ("local", "likelihood", "listwise", *WRITING)
Row = dict[str, Any]


def main() -> int:
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    pack = load_pack(options.pack)
    questions = subset(pack)
    sample = drawn(questions, options.questions, options.seed)
    model = ServerClient(options.server, model=options.model, api_key="").model_name()
    report: dict[str, Any] = {
        "pack": pack.path.resolve().name,
        "model": model,
        "top": options.top,
        "seed": options.seed,
        "images": options.images,
        "subset": len(questions),
        "sample": [question.id for question in sample],
    }
    with DocumentQA.open(options.index, read_only=True, reranker=None) as qa:
        if options.only in ("quality", "all"):
            rows = Rows(
                options.work / "rows.jsonl", {key: report[key] for key in ("pack", "model", "top", "images")}
            )
            jobs = [(f"pointwise {tokens}", sample) for tokens in options.tokens]
            every = drawn(questions, options.limit, options.seed)
            jobs += [(mode, sample if mode in WRITING else every) for mode in options.modes]
            try:
                for name, asked in jobs:
                    judge_all(name, asked, qa, rows, options)
            except KeyboardInterrupt:
                print("\nStopped; this is of what was judged. The same command goes on.", file=sys.stderr)
            judged = [(name, [one for one in asked if (name, one.id) in rows.done]) for name, asked in jobs]
            report["settings"] = [summary(name, asked, rows) for name, asked in judged if asked]
            print(table(report))
        if options.only in ("throughput", "all"):
            report["throughput"] = throughput(page_texts(qa, questions), model, options)
    path = options.work / f"report-{options.only}.json"
    path.write_text(json.dumps(report, indent=1))
    print(f"figures in {path}")
    if "settings" in report:
        print(f"plot in {plot(report, path.with_suffix('.png'))}")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="an index of the pack's documents")
    parser.add_argument("--server", required=True, metavar="URL")
    parser.add_argument("--model", help="its name there; the only one by default")
    parser.add_argument("--work", type=Path, required=True, help="folder for rows, replies, report, plot")
    parser.add_argument(
        "--questions", type=int, default=30, help="sample for think tokens, ecrr, qar (%(default)s)"
    )
    parser.add_argument("--top", type=int, default=5, help="candidates judged (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (%(default)s)")
    parser.add_argument("--limit", type=int, help="most questions for the modes that write little; all")
    parser.add_argument("--tokens", type=int, nargs="*", default=[0, 32, 64, 128, 256])
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=MODES)
    parser.add_argument("--qar-tokens", type=int, default=64, help="of a rewrite (%(default)s)")
    parser.add_argument("--trace-tokens", type=int, default=128, help="of a trace (%(default)s)")
    parser.add_argument("--images", action="store_true", help="show page pictures; the model must see")
    parser.add_argument("--concurrency", type=int, default=8, help="requests in flight (%(default)s)")
    parser.add_argument("--only", choices=("quality", "throughput", "all"), default="all")
    parser.add_argument(
        "--vllm", type=Path, help="Python with vLLM: throughput also against its own benchmark"
    )
    parser.add_argument("--tokenizer", help="model folder, for vLLM's benchmark")
    parser.add_argument("--requests", type=int, default=64, help="of a round of throughput (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each driver (%(default)s)")
    return parser.parse_args()


# ------------------------------------------------------------------------------------------- quality


def subset(pack: Pack) -> list[Question]:
    """Answerable questions of the pack's core documents; of all where it marks none."""
    marks = pack.path / "documents.jsonl"
    core = None
    if marks.is_file():
        documents = [
            json.loads(line) for line in marks.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
        core = {document["file"] for document in documents if document.get("core")}
    return [
        question
        for question in pack.questions
        if question.answerable and (not core or core.issuperset(question.docs))
    ]


def drawn(questions: Sequence[Question], count: int | None, seed: int) -> list[Question]:
    """A sample in the pack's order; a larger one of the same seed holds the smaller. None takes all."""
    order = list(range(len(questions)))
    random.Random(seed).shuffle(order)
    chosen = set(order[:count])
    return [question for place, question in enumerate(questions) if place in chosen]


class Rows:
    """What has been judged, one JSON line each; refuses to mix runs that cannot be compared."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.done: dict[tuple[str, str], Row] = {}
        if not path.exists():
            path.write_text(json.dumps(settings) + "\n")
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(head) != dict(settings):
            sys.exit(
                f"{path} holds a run of {head}, this one is of {json.dumps(settings)}: name another --work."
            )
        for line in lines:
            if line.endswith("}"):  # a line cut off by a crash is judged again, from the kept replies
                row = json.loads(line)
                self.done[row["setting"], row["id"]] = row

    def add(self, row: Row) -> None:
        self.done[row["setting"], row["id"]] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def judge_all(
    name: str, questions: Sequence[Question], qa: DocumentQA, rows: Rows, options: argparse.Namespace
) -> None:
    left = [question for question in questions if (name, question.id) not in rows.done]
    if not left:
        return
    reranker = reranker_of(name, qa, options)
    for number, question in enumerate(left, start=1):
        ranking = qa.search(question.question, k=options.top, rerank=False)
        started = time.perf_counter()
        refused, usage, judged = None, Usage(), ranking
        try:
            judged = reranker.rerank(ranking)
            usage = judged.usage
        except ServerAnswerError as error:  # any other failure of the server ends the run
            refused = str(error)[:300]
        rows.add(row_of(name, question, ranking, judged, usage, time.perf_counter() - started, refused))
        print(f"\r{name}: {number} of {len(left)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def reranker_of(name: str, qa: DocumentQA, options: argparse.Namespace) -> Any:
    """The reranker of a setting; its own fusion is off, since both alphas are computed from its scores."""
    if name == "local":
        return LocalReranker(alpha=0.0, depth=None)
    mode, _, tokens = name.partition(" ")
    traces = None
    if mode in ("ecrr", "qar"):
        traces = TraceWriter(
            options.server,
            options.model,
            api_key="",
            images=options.images,
            max_tokens=options.trace_tokens,
            cache=options.work / "traces",
            max_concurrency=options.concurrency,
            timeout=1800.0,
        )
    return ThinkReranker(
        options.server,
        mode=mode,
        model=options.model,
        api_key="",
        think_tokens=options.qar_tokens if mode == "qar" else int(tokens or 0),
        images=options.images and mode != "likelihood",
        render=lambda page, pixels: qa.render(page, max_pixels=pixels),
        traces=traces,
        cache=options.work / "replies",
        timeout=1800.0,
        max_concurrency=options.concurrency,
    )


def row_of(
    name: str,
    question: Question,
    prior: Ranking,
    judged: Ranking,
    usage: Usage,
    seconds: float,
    refused: str | None,
) -> Row:
    scores = {one.id: one.verdict.score for one in judged if one.verdict is not None}
    return {
        "setting": name,
        "id": question.id,
        "pages": [[one.page.source.name, one.page.number] for one in prior if one.page is not None],
        "prior": [one.score for one in prior],
        "scores": None if refused else [scores[one.id] for one in prior],
        "refused": refused,
        "notes": [one.verdict.note for one in judged if one.verdict is not None and one.verdict.note],
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "seconds": seconds,
        "resumed": usage.cache_hits > 0,  # some replies were there, so the cost is not the whole
    }


def gain(row: Row, question: Question, alpha: float | None) -> float:
    """nDCG@5 of a question at this share of retrieval; None is retrieval alone."""
    pages = [tuple(page) for page in row["pages"]]
    if alpha is None or row["scores"] is None:
        return ndcg(pages, question.evidence, K)
    prior = standardise({str(place): score for place, score in enumerate(row["prior"])})
    judged = standardise({str(place): score for place, score in enumerate(row["scores"])})
    final = [alpha * prior[key] + (1 - alpha) * judged[key] for key in judged]
    order = sorted(range(len(pages)), key=lambda place: (-final[place], place))
    return ndcg([pages[place] for place in order], question.evidence, K)


def best(row: Row, question: Question) -> float:
    """nDCG@5 of a perfect order of the same pages."""
    pages = [tuple(page) for page in row["pages"]]
    return ndcg(sorted(pages, key=lambda page: page not in question.evidence), question.evidence, K)


def chance(row: Row, question: Question) -> float:
    """Mean nDCG@5 of all orders of the same pages: that of the rotations, where each visits each place."""
    pages = [tuple(page) for page in row["pages"]]
    return mean(ndcg(pages[at:] + pages[:at], question.evidence, K) for at in range(len(pages))) or 0.0


def summary(name: str, questions: Sequence[Question], rows: Rows) -> dict[str, Any]:
    found = [(rows.done[name, question.id], question) for question in questions]
    columns = {"retrieval": None, **{f"alpha {alpha:g}": alpha for alpha in ALPHAS}}
    values = np.array([[gain(*one, alpha) for alpha in columns.values()] for one in found])
    changes = values[:, 1:] - values[:, :1]
    low, high = bootstrap_interval(values)
    change_low, change_high = bootstrap_interval(changes)
    cost = [row for row, _ in found if not row["resumed"]]
    return {
        "setting": name,
        "questions": len(found),
        "ndcg@5": {
            column: {"mean": values[:, at].mean(), "low": low[at], "high": high[at]}
            for at, column in enumerate(columns)
        },
        "change": {
            column: {"mean": changes[:, at].mean(), "low": change_low[at], "high": change_high[at]}
            for at, column in enumerate(list(columns)[1:])
        },
        "perfect order": float(np.mean([best(*one) for one in found])),
        "random order": float(np.mean([chance(*one) for one in found])),
        "refused": sum(row["refused"] is not None for row, _ in found),
        "first refusal": next((row["refused"] for row, _ in found if row["refused"]), None),
        "cost of": len(cost),
        **{key: mean(row[key] for row in cost) for key in ("prompt_tokens", "completion_tokens", "seconds")},
    }


def mean(values: Iterator[float]) -> float | None:
    kept = list(values)
    return statistics.fmean(kept) if kept else None


# ---------------------------------------------------------------------------------------- throughput


if __name__ == "__main__":
    sys.exit(main())
