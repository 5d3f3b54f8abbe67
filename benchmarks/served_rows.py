"""Pages a second of the compressed embedder, served by vLLM and in process, and bytes on the wire a page.

    python benchmarks/served_rows.py --python .venv-vllm/bin/python
    python benchmarks/served_rows.py --shape 2b --dtype bfloat16 --pages 200 --out served.json
    python benchmarks/served_rows.py --small --python .venv-vllm/bin/python

A checkpoint of random weights and the true class is written to a temporary folder; vLLM serves it at
compression 2 and at 1, one after the other, and the same pages go through `ServedMLLMEmbedder` and through
`MLLMEmbedder` in this process, by turns. Shapes are those of ``benchmarks/compression.py``: ``mid`` for a
processor, ``2b`` and ``8b`` for a GPU. Weights are random, so only speed and bytes mean something. Ratios are
taken in the same run; other work on the machine moves single figures more than ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from random_weights import random_backbone

from mmrag.embedders.base import Content
from mmrag.models.checkpoint import CheckpointConfig, save
from mmrag.models.compression import Compression
from mmrag.models.meta_tokens import MetaTokens
from mmrag.models.mllm_embedder import MLLMEmbedder
from mmrag.models.model import RetrievalModel
from mmrag.models.served.embedder import ServedMLLMEmbedder
from mmrag.models.served.wire import reply_data
from mmrag.serving.vllm import ServerProcess, plan_server
from mmrag.serving.vllm.facts import find_vllm, read_facts
from mmrag.serving.vllm.process import free_port
from mmrag.types import Budget

BUDGET = Budget(16, 64)
DIM = 128


def arguments() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="a Python that has vLLM and mmrag")
    parser.add_argument("--shape", default="mid", choices=("small", "mid", "2b", "8b"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--pages", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=320, help="visual tokens of a page before compression")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--wait", type=float, default=1800, help="seconds for a server to be ready")
    parser.add_argument("--memory", type=float, default=0.5, help="share of a GPU's that the server may take")
    parser.add_argument("--small", action="store_true", help="a small shape, two pages: does it run")
    parser.add_argument("--json", "--out", dest="out", type=Path, help="write the figures here as JSON")
    return parser


def main(given: list[str] | None = None) -> dict[str, Any]:
    options = arguments().parse_args(given)
    if options.small:
        options.shape, options.pages, options.rounds = "small", 2, 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / f"random-{options.shape}"
        write_checkpoint(folder, options.shape, options.dtype)
        rows = [measured(folder, factor, options) for factor in (2, 1)]
    figures = {"options": {k: str(v) for k, v in vars(options).items()}, "rows": rows, "bytes": wire_bytes()}
    print_table(figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2))
    return figures


def write_checkpoint(folder: Path, shape: str, dtype: str) -> None:
    """Write a checkpoint of ours: random weights in the true class, random tables and projection."""
    device = accelerator()
    backbone = random_backbone("qwen3_vl", shape, device, getattr(torch, dtype))
    model = RetrievalModel(backbone, Compression(2), MetaTokens(BUDGET, backbone.hidden_size), DIM)
    save(folder, model, CheckpointConfig("qwen3_vl", budget=BUDGET, dim=DIM))
    del backbone, model
    if device == "cuda":
        torch.cuda.empty_cache()  # a server is to have it


def accelerator() -> str:
    """Return the device of this process."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def measured(folder: Path, factor: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one compression: pages a second served and local, median of rounds by turns."""
    tokens = options.tokens // factor**2
    settings = {"compression": factor, "max_visual_tokens": tokens, "allow_untrained": True}
    overrides = {"architectures": ["MmragQwen3VLEmbedder"], "mmrag": settings}
    flags = ["--dtype", options.dtype, "--enforce-eager", "--hf-overrides", json.dumps(overrides)]
    if accelerator() == "cuda":  # it shares the GPU with the embedder of this process
        flags += ["--gpu-memory-utilization", str(options.memory)]
    plan = plan_server(
        str(folder),
        read_facts(folder),
        find_vllm(options.python),
        mode="embed",
        port=free_port(),
        extra=tuple(flags),
    )
    local = MLLMEmbedder.from_pretrained(folder, dtype=options.dtype, **settings)
    pages = [Content(image=page(seed, local.image_pixels)) for seed in range(options.pages)]
    with ServerProcess(plan) as server:
        start = server.wait_ready(options.wait)
        served = ServedMLLMEmbedder(
            plan.url, api_key="", allow_untrained=True, max_concurrency=options.in_flight
        )
        (first,), (expected,) = served.encode_document(pages[:1]), local.encode_document(pages[:1])
        cosine = float((first * expected).sum(1).min())
        # vLLM keeps encoded pictures: every round has pages of its own
        times: dict[str, list[float]] = {"served": [], "local": []}
        for number in range(options.rounds):
            seeds = range((number + 1) * 1000, (number + 1) * 1000 + options.pages)
            pages = [Content(image=page(seed, local.image_pixels)) for seed in seeds]
            for name, embedder in (("served", served), ("local", local)):
                before = time.perf_counter()
                embedder.encode_document(pages)
                times[name].append(options.pages / (time.perf_counter() - before))
    ratios = [one / other for one, other in zip(times["served"], times["local"], strict=True)]
    return {
        "compression": factor,
        "visual_tokens": tokens,
        "served": statistics.median(times["served"]),
        "local": statistics.median(times["local"]),
        "ratio": statistics.median(ratios),
        "start_seconds": start,
        "least_cosine": cosine,
    }


def page(seed: int, pixels: int) -> Image.Image:
    """A page in the shape of A4 with noise for words."""
    height = int((pixels * 2**0.5) ** 0.5)
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, int(height / 2**0.5) // 8), np.uint8)
    return Image.fromarray(noise).convert("RGB").resize((int(height / 2**0.5), height))


def wire_bytes() -> dict[str, int]:
    """Bytes of a page's rows in a reply, as we send them and as JSON numbers."""
    matrix = np.random.default_rng(0).normal(size=(BUDGET.document, DIM)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    sizes = {form: len(json.dumps(reply_data({}, [matrix], [False], form))) for form in ("float16", "int8")}
    return {**sizes, "JSON numbers": len(json.dumps(matrix.tolist()))}


def print_table(figures: dict[str, Any]) -> None:
    print("compression  visual tokens  served, pages/s  local, pages/s  served / local  least cosine")
    for row in figures["rows"]:
        print(
            f"{row['compression']:<12} {row['visual_tokens']:<14} {row['served']:<16.2f} "
            f"{row['local']:<15.2f} {row['ratio']:<15.2f} {row['least_cosine']:.6f}"
        )
    squeezed, whole = figures["rows"]
    print(f"compressed against uncompressed, served: {squeezed['served'] / whole['served']:.2f} x, ", end="")
    print(f"local: {squeezed['local'] / whole['local']:.2f} x")
    sizes = ", ".join(f"{size:,} as {form}" for form, size in figures["bytes"].items())
    print(f"bytes of 64 x 128 rows in a reply: {sizes}")


if __name__ == "__main__":
    main()
