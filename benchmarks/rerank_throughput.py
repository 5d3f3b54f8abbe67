"""Throughput of `rerank.py`: requests per second of our client against the least and against vLLM's."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from mmrag import DocumentQA
from mmrag.errors import ServerError
from mmrag.evaluation.pack import Question
from mmrag.serving.client import ServerClient
from mmrag.serving.requests import Request, Runner


def page_texts(qa: DocumentQA, questions: Sequence[Question]) -> list[str]:
    """Return texts of retrieved pages, cut to about 300 tokens so that a round does not take minutes."""
    texts: dict[str, str] = {}
    for question in questions:
        for candidate in qa.search(question.question, k=5, rerank=False):
            texts.setdefault(candidate.id, candidate.record.text[:1200])
        if len(texts) >= 200:
            break
    return [text for text in texts.values() if text.strip()]


def throughput(texts: Sequence[str], model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure requests per second of each driver in turn, on different prompts of the same lengths."""
    drivers: dict[str, Any] = {"Runner": by_runner, "raw asyncio/httpx": by_httpx}
    if options.vllm:
        drivers["vllm bench serve"] = by_vllm
    rates: dict[str, list[float]] = {name: [] for name in drivers}
    for turn in range(options.rounds + 1):  # the first warms up
        for name, drive in drivers.items():
            prompts = [
                f"{name[0]}{turn}{index:03} {texts[index % len(texts)]}" for index in range(options.requests)
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
        start = time.perf_counter()
        results = Runner(client).run([ask(prompt) for prompt in prompts])
        seconds = time.perf_counter() - start
    for result, _ in results:
        if isinstance(result, ServerError):
            raise result
    return len(prompts) / seconds


def by_httpx(prompts: Sequence[str], model: str, options: argparse.Namespace) -> float:
    """Send the requests with the least that a Python program can do: no retries, checks or counting."""
    url = options.server.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"

    async def drive() -> float:
        slots = asyncio.Semaphore(options.concurrency)
        async with httpx.AsyncClient(timeout=1800.0, trust_env=False) as client:

            async def send(prompt: str) -> None:
                async with slots:
                    reply = await client.post(url, json={"model": model, **body_of(prompt)})
                    reply.raise_for_status()
                    reply.json()

            start = time.perf_counter()
            await asyncio.gather(*(send(prompt) for prompt in prompts))
            return len(prompts) / (time.perf_counter() - start)

    return asyncio.run(drive())


def by_vllm(prompts: Sequence[str], model: str, options: argparse.Namespace) -> float:
    """Run vLLM's own benchmark on the same prompts; it streams, as the others do not, and needs pandas."""
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
