"""What a server's prefix cache saves: the query first or the page first, by the server's own counters.

    mmrag serve MODEL --mode answer --port 8000          # in another shell
    python benchmarks/prefix_cache.py PACK --index DIR --server http://127.0.0.1:8000

PACK is an evaluation pack (``docs/evaluation-pack.md``), DIR an index of its documents. The first ``--top``
pages of each question are judged by ``pointwise``, once with prompts that begin with the query and once with
prompts that begin with the page, and by ``identifiers``. Each setting has a salt of its own, so that none
finds another's tokens in the cache; nothing else may use the server meanwhile. Counted are vLLM's
``vllm:prefix_cache_queries`` (tokens of prompts that were looked up) and ``vllm:prefix_cache_hits`` (those
that were there), before and after.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from mmrag import DocumentQA
from mmrag.evaluation import load_pack
from mmrag.rerank.reranker import ThinkReranker
from mmrag.types import Ranking, Usage

COUNTERS = ("prefix_cache_queries", "prefix_cache_hits")
SETTINGS = {
    "pointwise, query first": {"mode": "pointwise", "first": "query"},
    "pointwise, page first": {"mode": "pointwise", "first": "page"},
    "identifiers": {"mode": "identifiers"},
}


def main() -> int:
    options = arguments()
    questions = [question.question for question in load_pack(options.pack).questions if question.answerable]
    sample = random.Random(options.seed).sample(questions, min(options.questions, len(questions)))
    with DocumentQA.open(options.index, read_only=True, reranker=None) as qa:
        rankings = [qa.search(text, k=options.top, rerank=False) for text in sample]
    pages = [candidate.id for ranking in rankings for candidate in ranking]
    print(f"{len(sample)} questions, {len(pages)} judgements of {len(set(pages))} pages")
    print(f"{'setting':<26}{'prompt tokens':>14}{'looked up':>11}{'found':>9}{'share':>7}{'seconds':>9}")
    for name, settings in SETTINGS.items():
        row = measured(rankings, settings, options)
        print(
            f"{name:<26}{row['prompt_tokens']:>14,}{row['prefix_cache_queries']:>11,.0f}"
            f"{row['prefix_cache_hits']:>9,.0f}{row['share']:>7.2f}{row['seconds']:>9.1f}",
            flush=True,
        )
        if options.to:
            with options.to.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"setting": name, **row}) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="an index of the pack's documents")
    parser.add_argument("--server", required=True, metavar="URL")
    parser.add_argument("--model", help="its name there; the only one by default")
    parser.add_argument("--questions", type=int, default=10, help="sample (%(default)s)")
    parser.add_argument("--top", type=int, default=5, help="candidates judged (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (%(default)s)")
    parser.add_argument("--think", type=int, default=0, help="tokens of a thought (%(default)s)")
    parser.add_argument("--text-chars", type=int, help="of a page; all")
    parser.add_argument("--concurrency", type=int, default=8, help="requests in flight (%(default)s)")
    parser.add_argument("--to", type=Path, help="file that gets one JSON line a setting")
    return parser.parse_args()


def measured(
    rankings: Sequence[Ranking], settings: dict[str, str], options: argparse.Namespace
) -> dict[str, Any]:
    """Judge all rankings in one setting, and return what it took and what the server's counters say."""
    thinks = options.think if settings["mode"] == "pointwise" else 0
    reranker = ThinkReranker(
        options.server,
        model=options.model,
        api_key="",
        think_tokens=thinks,
        images=False,
        text_chars=options.text_chars,
        max_concurrency=options.concurrency,
        timeout=1800.0,
        extra={"cache_salt": f"{time.time_ns()}"},
        **settings,  # type: ignore[arg-type]
    )
    before, usage, start = counters(options.server), Usage(), time.perf_counter()
    for ranking in rankings:
        usage += reranker.rerank(replace(ranking, usage=Usage())).usage
    seconds = time.perf_counter() - start
    after = counters(options.server)
    counts = {name: after[name] - before[name] for name in COUNTERS}
    share = counts["prefix_cache_hits"] / counts["prefix_cache_queries"] if counts[COUNTERS[0]] else 0.0
    tokens = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    return {**tokens, **counts, "share": share, "seconds": seconds, "think": thinks}


def counters(server: str) -> dict[str, float]:
    """Return the server's counters of its prefix cache."""
    url = server.rstrip("/").removesuffix("/v1") + "/metrics"
    reply = httpx.get(url, timeout=60.0, trust_env=False)
    reply.raise_for_status()
    return read_counters(reply.text)


def read_counters(metrics: str) -> dict[str, float]:
    """Return the counters in the text of ``/metrics``, summed over the server's engines.

    Raises:
        ValueError: one is missing: no vLLM, or its prefix cache is off.
    """
    totals: dict[str, float] = {}
    for name in COUNTERS:
        values = re.findall(rf"^vllm:{name}(?:_total)?(?:\{{[^}}]*\}})? (\S+)$", metrics, re.MULTILINE)
        if not values:
            raise ValueError(
                f"a server's metrics must have vllm:{name}, got none. Serve the model with vLLM."
            )
        totals[name] = sum(map(float, values))
    return totals


if __name__ == "__main__":
    sys.exit(main())
