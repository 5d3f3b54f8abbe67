"""Two servers of one model in two formats, in turn: how fast each reads and writes, and do they judge alike?

    mmrag serve MODEL --mode answer --port 8000              # in a shell
    mmrag serve MODEL-INT8 --mode answer --port 8001         # in another
    python benchmarks/llm_formats.py PACK --index DIR --servers http://127.0.0.1:8000 http://127.0.0.1:8001 \\
        --work DIR

PACK is an evaluation pack (``docs/evaluation-pack.md``), DIR an index of its documents. ``--questions``
questions give a page with evidence and the first page found without; each pair of a question and a page is
judged ``pointwise`` without a thought. A round is a part of the questions, judged by one server and then by
the other; after it each writes ``--written`` tokens for every of ``--streams`` prompts at once. Nothing is
judged twice by a server, so its prefix cache helps with the prompt's head alone, and helps both.

"Verdicts" compares the log-odds of yes, server by server, with the first: Pearson's correlation over all
pairs, the largest and the mean difference, and in how many questions both put the same page first.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rerank import named_questions, sample_questions, shorten, subset

from mmrag import DocumentQA
from mmrag.evaluation import load_pack
from mmrag.evaluation.pack import Question
from mmrag.rerank.reranker import ThinkReranker
from mmrag.serving.client import ServerClient
from mmrag.serving.requests import Request, Runner
from mmrag.types import Ranking


def main() -> int:
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    questions = subset(load_pack(options.pack))
    if options.ids:
        questions = named_questions(questions, options.ids)
    with DocumentQA.open(options.index, read_only=True, reranker=None) as qa:
        pairs = [pair for question in questions if (pair := pair_of(qa, question, options.words))]
    pairs = sample_questions(pairs, options.questions, options.seed)
    servers = [Server(url, options) for url in options.servers]
    size = math.ceil(len(pairs) / options.rounds)
    for server in servers:  # so that no server compiles while it is timed
        server.judge(pairs[:1], timed=False)
        server.write(pairs[:1], timed=False)
    for start in range(0, len(pairs), size):
        for server in servers:
            server.judge(pairs[start : start + size])
            server.write(pairs[start : start + options.streams])
        report = {
            "pack": options.pack.resolve().name,
            "questions": min(start + size, len(pairs)),
            "words": options.words,
            "servers": [server.report(servers[0]) for server in servers],
        }
        path = options.work / "llm_formats.json"
        path.write_text(json.dumps(report, indent=1))  # after each round, so that a stop loses one
        print(f"{min(start + size, len(pairs))} of {len(pairs)}", file=sys.stderr, flush=True)
    print(json.dumps(report["servers"], indent=1))
    print(f"figures and log-odds in {path}")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="an index of the pack's documents")
    parser.add_argument("--servers", nargs="+", required=True, metavar="URL")
    parser.add_argument("--work", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--ids", type=Path, help="the questions with these ids, one a line")
    parser.add_argument("--questions", type=int, default=20, help="two pages each (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (%(default)s)")
    parser.add_argument("--words", type=int, default=300, help="of a page (%(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each server (%(default)s)")
    parser.add_argument("--written", type=int, default=48, help="tokens of a text (%(default)s)")
    parser.add_argument("--streams", type=int, default=5, help="texts at once (%(default)s)")
    return parser.parse_args()


def pair_of(qa: DocumentQA, question: Question, words: int) -> Ranking | None:
    """Return the best page with evidence and the best without, of the first twenty; None without both."""
    found = shorten(qa.search(question.question, k=20, rerank=False), words)
    marks = [(candidate.page.source.name, candidate.page.number) in question.evidence for candidate in found]
    if not any(marks) or all(marks):
        return None
    chosen = [found[marks.index(True)], found[marks.index(False)]]
    return Ranking(found.query, tuple(chosen))


class Server:
    """A server, and what it was seen to do.

    Attributes:
        odds: log-odds of yes of every page, in the order of the pairs.
        reading: tokens a second of each round of verdicts.
        writing: tokens a second of each round of texts, all streams together.
    """

    def __init__(self, url: str, options: argparse.Namespace) -> None:
        self.url = url
        self.options = options
        self.reranker = ThinkReranker(url, api_key="", images=False, timeout=1800.0)
        self.client = ServerClient(url, api_key="", timeout=1800.0)
        self.odds: list[float] = []
        self.reading: list[float] = []
        self.writing: list[float] = []

    def judge(self, pairs: Sequence[Ranking], *, timed: bool = True) -> None:
        """Judge the pages of all pairs at once."""
        tokens, start = 0, time.perf_counter()
        for ranking in pairs:
            result = self.reranker.rerank(ranking)
            tokens += result.usage.prompt_tokens
            scores = {candidate.id: candidate.verdict.score for candidate in result}
            if timed:
                self.odds += [log_odds(scores[candidate.id]) for candidate in ranking]
        if timed:
            self.reading.append(tokens / (time.perf_counter() - start))

    def write(self, pairs: Sequence[Ranking], *, timed: bool = True) -> None:
        """Write a text about the first page of each pair, all at once."""
        streams = [self._text(ranking[0].record.text[:400]) for ranking in pairs]
        start = time.perf_counter()
        written = sum(result for result, _ in Runner(self.client).run(streams))
        if timed:
            self.writing.append(written / (time.perf_counter() - start))

    def _text(self, text: str):
        body = {
            "messages": [{"role": "user", "content": f"Go on with this text.\n\n{text}"}],
            "max_tokens": self.options.written,
            "temperature": 0.0,
            "ignore_eos": True,
        }
        reply = yield Request("chat/completions", body)
        return reply["usage"]["completion_tokens"]

    def report(self, first: Server) -> dict[str, Any]:
        """Return rates and the verdicts beside the first server's."""
        mine, base = np.array(self.odds), np.array(first.odds)
        margins = (mine[0::2] - mine[1::2], base[0::2] - base[1::2])
        return {
            "model": self.client.model_name(),
            "url": self.url,
            "prompt tokens/s": [round(rate, 1) for rate in self.reading],
            "prompt tokens/s, median": round(statistics.median(self.reading), 1),
            "generated tokens/s": [round(rate, 1) for rate in self.writing],
            "generated tokens/s, median": round(statistics.median(self.writing), 1),
            "right page first": int((margins[0] > 0).sum()),
            "same page first": int(((margins[0] > 0) == (margins[1] > 0)).sum()),
            "correlation": round(float(np.corrcoef(mine, base)[0, 1]), 4),
            "mean difference": round(float(np.abs(mine - base).mean()), 3),
            "largest difference": round(float(np.abs(mine - base).max()), 3),
            "spread of the log-odds": round(float(base.std()), 3),
            "log-odds": [round(odds, 3) for odds in self.odds],
        }


def log_odds(score: float) -> float:
    """Return ``log(p / (1 - p))``, p kept off 0 and 1 by 1e-9."""
    share = min(max(score, 1e-9), 1 - 1e-9)
    return math.log(share / (1 - share))


if __name__ == "__main__":
    sys.exit(main())
