"""Does thinking pay? Quality against think tokens, the other modes, and what the client costs.

    mmrag serve MODEL --mode answer --port 8000          # in another shell
    python benchmarks/rerank.py PACK --index DIR --server http://127.0.0.1:8000 --work DIR
    python benchmarks/rerank.py PACK --index DIR --server ... --work DIR --only throughput --vllm PYTHON

PACK is an evaluation pack (``docs/evaluation-pack.md``), DIR an index of its documents. Retrieval ranks the
whole index; its first ``--top`` pages are reranked, so only their order can change. ``pointwise`` with 0,
32, ... think tokens reranks ``--questions`` questions sampled by ``--seed``, and so do ``ecrr`` and
``qar``; the other modes and ``local`` rerank all questions of the subset: those on documents that the
pack's ``documents.jsonl`` marks ``core``, if it has such marks. The sample is part of the subset. ``--ids
FILE`` takes the questions of a file instead, for every setting. ``--words N`` shows the model the lines of
each page around what the question names, at most N words; ``local`` reads its own window either way.

Every question is one line of ``WORK/rows.jsonl``, and every reply is stored: the same command resumes an
interrupted run. A question for which the model's answer could not be read keeps the prior order, as with
``on_error="keep"``, and is counted under "refused".

Intervals are 95 % percentile bootstraps over questions; "change" is the paired difference to retrieval.
``alpha`` 0 is the model's order alone, 0.5 the mean of the model's and retrieval's z-scores. "pairs" is the
share of pairs of a page with evidence and one without, of the same question, that the model's scores put in
order (.5 is chance): it moves where nDCG of five pages hardly can.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rerank_report import plot, table
from rerank_throughput import page_texts, throughput

from mmrag import DocumentQA
from mmrag.answer.words import content_stems
from mmrag.errors import ServerAnswerError
from mmrag.evaluation import load_pack
from mmrag.evaluation.metrics import bootstrap_interval, ndcg
from mmrag.evaluation.pack import Pack, Question
from mmrag.rerank.local import LocalReranker, window_weights, word_windows
from mmrag.rerank.reranker import ThinkReranker
from mmrag.rerank.traces import TraceWriter
from mmrag.scoring import standardise
from mmrag.serving.client import ServerClient
from mmrag.types import Ranking, Usage

K = 5
ALPHAS = (0.0, 0.5)
WRITING = ("ecrr", "qar")  # as dear as thoughts, so they judge the same sample
MODES = ("local", "likelihood", "listwise", "identifiers", "identifiers 2", *WRITING)  # 2 passes
HEAD = ("pack", "model", "top", "images", "words", "text_chars")  # of rows that may be compared
Row = dict[str, Any]


def main() -> int:
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    pack = load_pack(options.pack)
    questions = subset(pack)
    sample = sample_questions(questions, options.questions, options.seed)
    if options.ids:
        questions = sample = named_questions(questions, options.ids)
    model = ServerClient(options.server, model=options.model, api_key="").model_name()
    report: dict[str, Any] = {
        "pack": pack.path.resolve().name,
        "model": model,
        "top": options.top,
        "seed": options.seed,
        "images": options.images,
        "words": options.words,
        "subset": len(questions),
        "sample": [question.id for question in sample],
    }
    if options.text_chars:
        report["text_chars"] = options.text_chars
    with DocumentQA.open(options.index, read_only=True, reranker=None) as qa:
        if options.only in ("quality", "all"):
            rows = Rows(options.work / "rows.jsonl", {key: report[key] for key in HEAD if key in report})
            jobs = [(f"pointwise {tokens}", sample) for tokens in options.tokens]
            jobs += [
                (f"pointwise {tokens} {share}", sample)
                for tokens in options.tokens
                if tokens
                for share in options.shares
            ]
            subsample = sample_questions(questions, options.limit, options.seed)
            jobs += [(mode, sample if mode in WRITING else subsample) for mode in options.modes]
            try:
                for name, batch in jobs:
                    rerank_all(name, batch, qa, rows, options)
            except KeyboardInterrupt:
                print(
                    "\nStopped; the report is of the rows so far. The same command resumes.", file=sys.stderr
                )
            results = [(name, [q for q in batch if (name, q.id) in rows.by_key]) for name, batch in jobs]
            report["settings"] = [summary(name, batch, rows) for name, batch in results if batch]
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
    parser.add_argument("--ids", type=Path, help="the questions with these ids, one a line")
    parser.add_argument("--words", type=int, help="of a page that the model is shown; all")
    parser.add_argument("--text-chars", type=int, help="of a page, cut by the package; all")
    parser.add_argument("--tokens", type=int, nargs="*", default=[0, 32, 64, 128, 256])
    parser.add_argument("--shares", type=float, nargs="*", default=[], help="of thoughts, below 1, too")
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
    """Return the answerable questions of the pack's core documents, or of all if it marks none."""
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


def named_questions(questions: Sequence[Question], path: Path) -> list[Question]:
    """Return the questions that a file names, one id a line, in the pack's order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    ids = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    named = [question for question in questions if question.id in ids]
    if len(named) < len(ids):
        sys.exit(f"{path} must name questions of the subset, got {len(ids) - len(named)} that are not in it.")
    return named


def sample_questions(questions: Sequence[Question], count: int | None, seed: int) -> list[Question]:
    """Sample questions in the pack's order; a larger sample contains the smaller. None: all."""
    order = list(range(len(questions)))
    random.Random(seed).shuffle(order)
    sample = set(order[:count])
    return [question for index, question in enumerate(questions) if index in sample]


class Rows:
    """Results of questions, one JSON line each; refuses to mix runs that cannot be compared."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.by_key: dict[tuple[str, str], Row] = {}
        if not path.exists():
            path.write_text(json.dumps(settings) + "\n")
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(head) != dict(settings):
            sys.exit(
                f"{path} holds a run of {head}, this one is of {json.dumps(settings)}: name another --work."
            )
        for line in lines:
            if line.endswith("}"):  # a line torn by a crash is computed again, from the stored replies
                row = json.loads(line)
                self.by_key[row["setting"], row["id"]] = row

    def add(self, row: Row) -> None:
        self.by_key[row["setting"], row["id"]] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def rerank_all(
    name: str, questions: Sequence[Question], qa: DocumentQA, rows: Rows, options: argparse.Namespace
) -> None:
    left = [question for question in questions if (name, question.id) not in rows.by_key]
    if not left:
        return
    reranker = reranker_of(name, qa, options)
    for number, question in enumerate(left, start=1):
        ranking = qa.search(question.question, k=options.top, rerank=False)
        start = time.perf_counter()
        refusal, usage, result = None, Usage(), ranking
        try:
            result = reranker.rerank(ranking if name == "local" else shorten(ranking, options.words))
            usage = result.usage
        except ServerAnswerError as error:  # any other failure of the server ends the run
            refusal = str(error)[:300]
        rows.add(row_of(name, question, ranking, result, usage, time.perf_counter() - start, refusal))
        print(f"\r{name}: {number} of {len(left)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def shorten(ranking: Ranking, words: int | None) -> Ranking:
    """Cut each page's text to the lines that share most with the question, rare words first."""
    if words is None or not ranking.query.text:
        return ranking
    stems = frozenset(content_stems(ranking.query.text))
    candidates = []
    for candidate in ranking:
        text = lines_around(stems, candidate.record.text, words)
        page = candidate.page and replace(candidate.page, text=text)
        candidates.append(replace(candidate, record=replace(candidate.record, text=text, page=page)))
    return replace(ranking, candidates=tuple(candidates))


def lines_around(stems: frozenset[str], text: str, words: int) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    spans = word_windows([len(line.split()) for line in lines], words, max(1, words // 4))
    windows = ["\n".join(lines[span.start : span.stop]) for span in spans]
    weights = window_weights(stems, [content_stems(window) for window in windows])
    return windows[max(range(len(windows)), key=lambda at: (weights[at], -at))] if windows else text


def reranker_of(name: str, qa: DocumentQA, options: argparse.Namespace) -> Any:
    """Return the reranker of a setting; without fusion, since both alphas are computed from its scores."""
    if name == "local":
        return LocalReranker(alpha=0.0, depth=None)
    mode, number, share = [*name.split(), "", ""][:3]
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
        think_tokens=options.qar_tokens if mode == "qar" else int(number or 0) * (mode == "pointwise"),
        think_share=float(share or 1),
        passes=int(number or 1) if mode == "identifiers" else 1,
        text_chars=options.text_chars,
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
    result: Ranking,
    usage: Usage,
    seconds: float,
    refusal: str | None,
) -> Row:
    verdicts = {candidate.id: candidate.verdict for candidate in result if candidate.verdict is not None}
    pages = [candidate.page for candidate in prior if candidate.page is not None]
    return {
        "setting": name,
        "id": question.id,
        "pages": [[page.source.name, page.number] for page in pages],
        "prior": [candidate.score for candidate in prior],
        "scores": None if refusal else [verdicts[candidate.id].score for candidate in prior],
        "refused": refusal,
        "notes": [verdict.note for verdict in verdicts.values() if verdict.note],
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "seconds": seconds,
        "resumed": usage.cache_hits > 0,  # some replies came from the cache, so the cost is incomplete
    }


def gain(row: Row, question: Question, alpha: float | None) -> float:
    """Return nDCG@5 of a question with this weight of retrieval; None is retrieval alone."""
    pages = [tuple(page) for page in row["pages"]]
    if alpha is None or row["scores"] is None:
        return ndcg(pages, question.evidence, K)
    prior = standardise({str(index): score for index, score in enumerate(row["prior"])})
    scores = standardise({str(index): score for index, score in enumerate(row["scores"])})
    final = [alpha * prior[key] + (1 - alpha) * scores[key] for key in scores]
    order = sorted(range(len(pages)), key=lambda index: (-final[index], index))
    return ndcg([pages[index] for index in order], question.evidence, K)


def best(row: Row, question: Question) -> float:
    """Return nDCG@5 of a perfect order of the same pages."""
    pages = [tuple(page) for page in row["pages"]]
    return ndcg(sorted(pages, key=lambda page: page not in question.evidence), question.evidence, K)


def chance(row: Row, question: Question) -> float:
    """Return the mean nDCG@5 of all orders of the same pages.

    It is that of the rotations, in which every page visits every rank.
    """
    pages = [tuple(page) for page in row["pages"]]
    return (
        mean(ndcg(pages[start:] + pages[:start], question.evidence, K) for start in range(len(pages))) or 0.0
    )


def pair_order(results: Sequence[tuple[Row, Question]]) -> dict[str, Any] | None:
    """Return the share of pairs that the model alone puts in order, a tie for half, with its interval."""
    shares = []
    for row, question in results:
        marks = [tuple(page) in question.evidence for page in row["pages"]]
        scores = list(zip(row["scores"] or [0.0] * len(marks), marks, strict=True))
        right, wrong = ([score for score, mark in scores if mark is is_right] for is_right in (True, False))
        wins = [(good > bad) + (good == bad) / 2 for good in right for bad in wrong]
        if wins:
            shares.append((sum(wins) / len(wins), len(wins)))
    if not shares:
        return None
    values = np.array([[share] for share, _ in shares])
    low, high = bootstrap_interval(values)
    return {
        "mean": values.mean(),  # each question counts once
        "low": low[0],
        "high": high[0],
        "questions": len(shares),
        "pairs": sum(count for _, count in shares),
    }


def from_local(results: Sequence[tuple[Row, Question]], rows: Rows) -> dict[str, Any] | None:
    """Return the paired change of nDCG@5 to `local`, both half and half with retrieval."""
    pairs = [(row, rows.by_key.get(("local", question.id)), question) for row, question in results]
    changes = [
        gain(row, question, 0.5) - gain(local, question, 0.5) for row, local, question in pairs if local
    ]
    if not changes:
        return None
    low, high = bootstrap_interval(np.array(changes)[:, None])
    return {"mean": float(np.mean(changes)), "low": low[0], "high": high[0], "questions": len(changes)}


def summary(name: str, questions: Sequence[Question], rows: Rows) -> dict[str, Any]:
    results = [(rows.by_key[name, question.id], question) for question in questions]
    columns = {"retrieval": None, **{f"alpha {alpha:g}": alpha for alpha in ALPHAS}}
    values = np.array([[gain(*result, alpha) for alpha in columns.values()] for result in results])
    changes = values[:, 1:] - values[:, :1]
    low, high = bootstrap_interval(values)
    change_low, change_high = bootstrap_interval(changes)
    cost = [row for row, _ in results if not row["resumed"]]
    return {
        "setting": name,
        "questions": len(results),
        "pairs": pair_order(results),
        "ndcg@5": {
            column: {"mean": values[:, at].mean(), "low": low[at], "high": high[at]}
            for at, column in enumerate(columns)
        },
        "change": {
            column: {"mean": changes[:, at].mean(), "low": change_low[at], "high": change_high[at]}
            for at, column in enumerate(list(columns)[1:])
        },
        "change from local": from_local(results, rows),
        "perfect order": float(np.mean([best(*result) for result in results])),
        "random order": float(np.mean([chance(*result) for result in results])),
        "refused": sum(row["refused"] is not None for row, _ in results),
        "first refusal": next((row["refused"] for row, _ in results if row["refused"]), None),
        "cost of": len(cost),
        **{key: mean(row[key] for row in cost) for key in ("prompt_tokens", "completion_tokens", "seconds")},
    }


def mean(values: Iterator[float]) -> float | None:
    numbers = list(values)
    return statistics.fmean(numbers) if numbers else None


# ---------------------------------------------------------------------------------------- throughput


if __name__ == "__main__":
    sys.exit(main())
