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
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from mmrag import DocumentQA
from mmrag.errors import ServerAnswerError, ServerError
from mmrag.evaluation import load_pack
from mmrag.evaluation.metrics import bootstrap_interval, ndcg
from mmrag.evaluation.pack import Pack, Question
from mmrag.rerank.local import LocalReranker
from mmrag.rerank.reranker import ThinkReranker
from mmrag.rerank.traces import TraceWriter
from mmrag.scoring import standardise
from mmrag.serving.client import ServerClient
from mmrag.serving.requests import Request, Runner
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


def table(report: Mapping[str, Any]) -> str:
    lines = [
        f"{report['pack']}, {report['model']}: nDCG@5 after the first {report['top']} pages were judged; "
        "tokens and seconds are a question's",
        f"{'setting':<15}{'n':>4} {'retrieval':>10}{'alpha 0':>9}{'   change':<26}{'alpha 0.5':>9}"
        f"{'   change':<26}{'perfect':>9}{'random':>8}{'read':>7}{'written':>8}{'s':>7}{'refused':>8}",
    ]
    for one in report["settings"]:
        figures, changes = one["ndcg@5"], one["change"]
        cells = ""
        for column in ("alpha 0", "alpha 0.5"):
            change = changes[column]
            reach = f"[{change['low']:+.3f},{change['high']:+.3f}]"
            cells += f"{figures[column]['mean']:>9.3f}{change['mean']:>+9.3f} {reach}".ljust(35)
        cost = [one["prompt_tokens"], one["completion_tokens"], one["seconds"]]
        said = [
            "-" if value is None else f"{value:.{digits}f}"
            for value, digits in zip(cost, (0, 0, 1), strict=True)
        ]
        lines.append(
            f"{one['setting']:<15}{one['questions']:>4} {figures['retrieval']['mean']:>10.3f}{cells}"
            f"{one['perfect order']:>9.3f}{one['random order']:>8.3f}"
            f"{said[0]:>7}{said[1]:>8}{said[2]:>7}{one['refused']:>8}"
        )
    return "\n".join(lines)


def plot(report: Mapping[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    thinking = [one for one in report["settings"] if one["setting"].startswith("pointwise")]
    others = [one for one in report["settings"] if not one["setting"].startswith("pointwise")]
    figure = Figure(figsize=(12, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    colours = {"alpha 0": "#3b6ea5", "alpha 0.5": "#e08214"}
    if thinking:
        places = range(len(thinking))
        for column, colour in colours.items():
            points = [one["ndcg@5"][column] for one in thinking]
            offset = -0.06 if column == "alpha 0" else 0.06
            left.errorbar(
                [place + offset for place in places],
                [point["mean"] for point in points],
                [[p["mean"] - p["low"] for p in points], [p["high"] - p["mean"] for p in points]],
                marker="o",
                capsize=3,
                color=colour,
                label=f"pointwise, {column}",
            )
        prior = thinking[0]["ndcg@5"]["retrieval"]["mean"]
        left.axhline(prior, color="#222222", lw=1, label=f"retrieval {prior:.3f}")
        top = thinking[0]["perfect order"]
        left.axhline(top, color="#5aae61", lw=1, ls="--", label=f"perfect order {top:.3f}")
        chances = thinking[0]["random order"]
        left.axhline(chances, color="#999999", lw=1, ls=":", label=f"random order {chances:.3f}")
        names = [
            f"{one['setting'].split()[1]}\n{one['completion_tokens'] or 0:.0f} written" for one in thinking
        ]
        left.set_xticks(list(places), names)
        left.set_xlabel("think tokens allowed a page, and tokens written a question")
        left.set_title(f"thinking: {thinking[0]['questions']} questions, seed {report['seed']}", fontsize=10)
        figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    for at, one in enumerate(others):
        for shift, (column, colour) in zip((-0.17, 0.17), colours.items(), strict=True):
            change = one["change"][column]
            reach = [[change["mean"] - change["low"]], [change["high"] - change["mean"]]]
            right.barh(
                at + shift, change["mean"], 0.3, xerr=reach, color=colour, error_kw={"capsize": 3, "lw": 1}
            )
    if others:
        right.axvline(0, color="#222222", lw=1)
        right.set_yticks(
            range(len(others)),
            [
                f"{one['setting']} ({one['questions']}"
                + (f", {one['refused']} refused)" if one["refused"] else ")")
                for one in others
            ],
        )
        right.invert_yaxis()
        right.set_title("the other modes: change of nDCG@5 against retrieval", fontsize=10)
    for axis in (left, right):
        axis.grid(color="#dddddd", lw=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("nDCG@5")
    figure.suptitle(
        f"{report['pack']}, {report['model']}: first {report['top']} pages judged, 95 % intervals"
    )
    figure.savefig(path)
    return path


# ---------------------------------------------------------------------------------------- throughput


def page_texts(qa: DocumentQA, questions: Sequence[Question]) -> list[str]:
    """Texts of pages as they are judged, cut to about 300 tokens so that a round does not take minutes."""
    texts: dict[str, str] = {}
    for question in questions:
        for one in qa.search(question.question, k=5, rerank=False):
            texts.setdefault(one.id, one.record.text[:1200])
        if len(texts) >= 200:
            break
    return [text for text in texts.values() if text.strip()]


def throughput(texts: Sequence[str], model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Requests a second of each driver in turn, on prompts of the same lengths and never the same prompt."""
    drivers: dict[str, Any] = {"Runner": by_runner, "raw asyncio/httpx": by_httpx}
    if options.vllm:
        drivers["vllm bench serve"] = by_vllm
    rates: dict[str, list[float]] = {name: [] for name in drivers}
    for turn in range(options.rounds + 1):  # the first warms up
        for name, drive in drivers.items():
            prompts = [
                f"{name[0]}{turn}{place:03} {texts[place % len(texts)]}" for place in range(options.requests)
            ]
            rate = drive(prompts, model, options)
            if turn:
                rates[name].append(rate)
            print(f"{name}: {rate:.2f} requests/s{'' if turn else ' (warm-up)'}", flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best = {name: max(values) for name, values in rates.items()}
    for name in drivers:
        if name != "Runner":
            print(
                f"Runner / {name}: {medians['Runner'] / medians[name]:.3f} by medians, "
                f"{best['Runner'] / best[name]:.3f} by the best of {options.rounds} rounds in turn"
            )
    return {
        "requests": options.requests,
        "concurrency": options.concurrency,
        "rates": rates,
        "medians": medians,
    }


def body_of(prompt: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 8,
        "temperature": 0.0,
        "ignore_eos": True,
    }


def by_runner(prompts: Sequence[str], model: str, options: argparse.Namespace) -> float:
    def ask(prompt: str):
        reply = yield Request("chat/completions", body_of(prompt))
        return reply["choices"][0]["message"]["content"]

    with ServerClient(
        options.server, model=model, api_key="", max_concurrency=options.concurrency, timeout=1800.0
    ) as client:
        started = time.perf_counter()
        results = Runner(client).run([ask(prompt) for prompt in prompts])
        seconds = time.perf_counter() - started
    for result, _ in results:
        if isinstance(result, ServerError):
            raise result
    return len(prompts) / seconds


def by_httpx(prompts: Sequence[str], model: str, options: argparse.Namespace) -> float:
    """The least a Python program can do: no retries, no checks, no counting."""
    url = options.server.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"

    async def drive() -> float:
        slots = asyncio.Semaphore(options.concurrency)
        async with httpx.AsyncClient(timeout=1800.0, trust_env=False) as client:

            async def one(prompt: str) -> None:
                async with slots:
                    reply = await client.post(url, json={"model": model, **body_of(prompt)})
                    reply.raise_for_status()
                    reply.json()

            started = time.perf_counter()
            await asyncio.gather(*(one(prompt) for prompt in prompts))
            return len(prompts) / (time.perf_counter() - started)

    return asyncio.run(drive())


def by_vllm(prompts: Sequence[str], model: str, options: argparse.Namespace) -> float:
    """vLLM's own benchmark on the same prompts. It streams, which the other two do not; it needs pandas."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "prompts.jsonl"
        data.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
        command = [options.vllm, "-m", "vllm.entrypoints.cli.main", "bench", "serve"]
        command += ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions"]
        command += ["--base-url", options.server.rstrip("/").removesuffix("/v1"), "--model", model]
        command += ["--tokenizer", options.tokenizer or model, "--dataset-name", "custom"]
        command += ["--dataset-path", data, "--custom-output-len", "8", "--skip-chat-template"]
        command += ["--disable-shuffle", "--num-prompts", len(prompts), "--ignore-eos", "--temperature", "0"]
        command += ["--max-concurrency", options.concurrency, "--disable-tqdm"]
        command += ["--save-result", "--result-dir", scratch, "--result-filename", "result.json"]
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        result = Path(scratch) / "result.json"
        if run.returncode or not result.is_file():
            sys.exit(f"vllm bench serve failed:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}")
        figures = json.loads(result.read_text())
    if figures["completed"] != len(prompts):
        sys.exit(f"vllm bench serve completed {figures['completed']} of {len(prompts)} requests.")
    return figures["request_throughput"]


if __name__ == "__main__":
    sys.exit(main())
