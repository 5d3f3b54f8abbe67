"""Time one document page through a backbone of random weights at s = 1, 2, 3, and with a smaller picture.

    OMP_NUM_THREADS=1 python benchmarks/compression.py
    python benchmarks/compression.py --work --shape 2b
    python benchmarks/compression.py --device cuda --dtype bfloat16 --shape 2b
    python benchmarks/compression.py --device cuda --dtype bfloat16 --shape 8b --family qwen3_vl

Shapes ``2b`` and ``8b`` are those of InternVL3 and Qwen3-VL; ``mid`` has about a twentieth of the weights of
InternVL3-2B and its balance between vision encoder and language model, for a CPU. The weights are random,
so only tokens, time and memory mean something. One page a forward pass, as in Magic-MM-Embedding
(arXiv 2602.05275), unless ``--pages`` says how many: times are then those of one of them. On a CPU times are
CPU seconds of this process, which other work on the machine moves less than the wall clock; on a GPU the
wall clock, waited for after every stage.

The runs of all settings alternate; a ratio is taken within each round, and its median and range over the
rounds are printed. The baseline is the uncompressed model on a picture small enough to give no more tokens
than s = 2.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from random_weights import SHAPES, random_backbone

from mmrag.models.backbone import Backbone
from mmrag.models.batch import Batch, TokenRow, collate
from mmrag.models.compression import Compression
from mmrag.models.meta_tokens import MetaTokens
from mmrag.models.model import RetrievalModel
from mmrag.types import Budget

INSTRUCTION = "Represent this page for retrieval."
STAGES = ("vision encoder", "connector", "language model")


class Stages:
    """Time spent in modules, that of a hooked module inside another counted for the inner one alone."""

    def __init__(self, model: torch.nn.Module, now: Callable[[], float]) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._open: list[list[float]] = []
        self._now = now
        for name, module in model.named_modules():
            stage = stage_of(name)
            if stage:
                module.register_forward_pre_hook(self._enter, prepend=True)
                module.register_forward_hook(lambda *_, stage=stage: self._leave(stage), always_call=True)

    def _enter(self, *_: object) -> None:
        self._open.append([self._now(), 0.0])

    def _leave(self, stage: str) -> None:
        start, inner = self._open.pop()
        whole = self._now() - start
        self.spent[stage] += whole - inner
        if self._open:
            self._open[-1][1] += whole


STAGE_OF = {
    r"model\.(visual|vision_tower)": "vision encoder",
    r"model\.(visual\.merger|visual\.deepstack_merger_list\.\d+|multi_modal_projector)": "connector",
    r"model\.language_model": "language model",
}


def stage_of(name: str) -> str | None:
    """The stage that a module of the backbone is; None: part of one, or of the rest."""
    return next((stage for pattern, stage in STAGE_OF.items() if re.fullmatch(pattern, name)), None)


class Memory:
    """Peak memory of a forward pass above what stood before it."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")
        self.known = self.cuda or Path("/proc/self/clear_refs").exists()

    def start(self) -> None:
        gc.collect()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        elif self.known:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak
            self.before = resident("VmRSS")

    def peak(self) -> int:
        if self.cuda:
            return torch.cuda.max_memory_allocated() - self.before
        return resident("VmHWM") - self.before if self.known else 0


def resident(field_name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field_name))


@dataclass
class Setting:
    """One row of the table."""

    name: str
    model: RetrievalModel
    batch: Batch
    side_rows: int
    tokens: int
    patches: int
    pixels_ms: float
    pages: int = 1
    seconds: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def setting(
    name: str, backbone: Backbone, page: Image.Image, factor: int, budget: int, rows: int, pages: int = 1
) -> Setting:
    compression = Compression(factor)
    start = time.perf_counter()
    image = backbone.preprocess(page, budget, compression)
    pixels_ms = 1000 * (time.perf_counter() - start)
    tokens = backbone.token_count(image, compression)
    ids = backbone.tokenizer(f"{INSTRUCTION} {backbone.image_text(tokens)}").input_ids
    device = next(backbone.model.parameters()).device
    meta = MetaTokens(Budget(16, 64), backbone.hidden_size).to(device) if rows else None
    model = RetrievalModel(backbone, compression, meta).eval()
    count = model.meta_count("document", rows) if rows else 0
    content = [TokenRow(tuple(ids), (image,))] * pages
    batch = collate(content, pad=backbone.tokenizer.pad_token_id, meta=count).to(device)
    patches = sum(height * width for height, width in image.grids)
    return Setting(name, model, batch, max(rows, 1), tokens, patches, pixels_ms, pages)


def gpu_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def run(one: Setting, stages: Stages, memory: Memory, now: Callable[[], float], *, keep: bool) -> None:
    stages.spent.clear()
    memory.start()
    start = now()
    with torch.inference_mode():
        one.model(one.batch, "document", one.side_rows)
    spent = now() - start
    if keep:
        one.seconds.append(spent / one.pages)
        one.stages.append({stage: seconds / one.pages for stage, seconds in stages.spent.items()})
        one.memory.append(memory.peak())


def spread(values: list[float], form: str) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def report(settings: list[Setting], known_memory: bool) -> str:
    first = settings[0]
    head = [
        "setting",
        "patches",
        "visual tokens",
        "sequence",
        "ms a page",
        *STAGES,
        "rest",
        "faster",
        "peak MiB",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in settings:
        parts = [statistics.median(1000 * run.get(stage, 0.0) for run in one.stages) for stage in STAGES]
        rests = [1000 * (s - sum(r.values())) for s, r in zip(one.seconds, one.stages, strict=True)]
        ratios = [a / b for a, b in zip(first.seconds, one.seconds, strict=True)]
        cells = [
            one.name,
            f"{one.patches:,}",
            f"{one.tokens:,}",
            f"{one.batch.input_ids.shape[1]:,}",
            spread([1000 * s for s in one.seconds], ",.0f"),
            *(f"{part:,.0f}" for part in parts),
            f"{statistics.median(rests):,.0f}",
            "1" if one is first else spread(ratios, ".2f"),
            f"{statistics.median(one.memory) / 2**20:,.0f}" if known_memory else "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def work(one: Setting) -> tuple[float, float]:
    """TFLOP of vision encoder and language model: two a weight and token, and attention; norms left out."""
    backbone = one.model.backbone
    model, config = backbone.model, backbone.model.config
    if backbone.model_type == "internvl":
        blocks, width = model.vision_tower.encoder.layer, config.vision_config.hidden_size
        lengths = [height * width_ + 1 for image in one.batch.images for height, width_ in image.grids]
    else:
        blocks, width = model.visual.blocks, config.vision_config.hidden_size
        lengths = [height * width_ for image in one.batch.images for height, width_ in image.grids]
    text = config.text_config
    heads = text.num_attention_heads * (
        getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    )
    length = one.batch.input_ids.shape[1]
    vision = 2 * count(blocks) * sum(lengths) + 4 * len(blocks) * width * sum(n * n for n in lengths)
    layers = model.language_model.layers
    language = 2 * count(layers) * length + 2 * len(layers) * heads * length**2  # half of it masked
    return vision / 1e12, language / 1e12


def count(modules: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in modules.parameters())


def report_work(settings: list[Setting]) -> str:
    lines = ["| setting | visual tokens | vision encoder | language model | less work |", "|" + "---|" * 5]
    whole = sum(work(settings[0]))
    for one in settings:
        vision, language = work(one)
        cells = [f"{one.tokens:,}", f"{vision:.2f}", f"{language:.2f}", f"{whole / (vision + language):.2f}"]
        lines.append(f"| {one.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def row(one: Setting, first: Setting, known_memory: bool) -> dict[str, Any]:
    """Return a setting's figures as the table has them: median, least and largest."""
    ratios = [a / b for a, b in zip(first.seconds, one.seconds, strict=True)]
    stages = {stage: statistics.median(1000 * run.get(stage, 0.0) for run in one.stages) for stage in STAGES}
    rests = [1000 * (s - sum(r.values())) for s, r in zip(one.seconds, one.stages, strict=True)]
    return {
        "setting": one.name,
        "patches": one.patches,
        "tokens": one.tokens,
        "sequence": one.batch.input_ids.shape[1],
        "ms": three([1000 * seconds for seconds in one.seconds]),
        "stages": {**stages, "rest": statistics.median(rests)},
        "faster": three(ratios),
        "peak_mib": statistics.median(one.memory) / 2**20 if known_memory else None,
    }


def work_row(one: Setting, first: Setting) -> dict[str, Any]:
    """Return a setting's counted work."""
    vision, language = work(one)
    return {
        "setting": one.name,
        "tokens": one.tokens,
        "vision": vision,
        "language": language,
        "less": sum(work(first)) / (vision + language),
    }


def three(values: list[float]) -> dict[str, float]:
    """Return median, least and largest."""
    return {"median": statistics.median(values), "least": min(values), "largest": max(values)}


def settings_of(given: argparse.Namespace) -> tuple[Backbone, list[Setting]]:
    """Return a backbone of random weights, and what is measured on it: the uncompressed page first."""
    backbone = random_backbone(given.family, given.shape, given.device, getattr(torch, given.dtype))
    noise = np.random.default_rng(0).integers(0, 256, (*given.page, 3), dtype=np.uint8)
    page = Image.fromarray(noise)

    def make(name: str, factor: int, budget: int) -> Setting:
        return setting(name, backbone, page, factor, budget, given.rows, given.pages)

    settings = [make(f"s = {factor}", factor, given.tokens // factor**2) for factor in (1, 2, 3)]
    settings.append(make("smaller picture, s = 1", 1, settings[1].tokens))
    return backbone, settings


def clock(device: str) -> Callable[[], float]:
    """Return seconds on the wall, waited for, on a GPU; of this process's processors elsewhere."""
    return gpu_clock if device.startswith("cuda") else time.process_time


def measure(
    given: argparse.Namespace, backbone: Backbone, settings: list[Setting], until: float = math.inf
) -> bool:
    """Run all settings by turns, a round to warm up first; returns whether peak memory is known.

    Args:
        given: the command line.
        backbone: of all settings.
        settings: get their figures.
        until: by `time.monotonic`; a round that would not be over by then is not begun.
    """
    stages, memory, now = Stages(backbone, clock(given.device)), Memory(given.device), clock(given.device)
    longest = 0.0
    for round_ in range(given.repeats + 1):
        began = time.monotonic()
        if began + longest > until:
            break
        for one in settings:
            run(one, stages, memory, now, keep=round_ > 0)
        longest = time.monotonic() - began
    return memory.known


def figures(
    given: argparse.Namespace, backbone: Backbone, settings: list[Setting], known_memory: bool
) -> dict[str, Any]:
    """Return what ``--json`` writes of measured settings."""
    cuda = given.device.startswith("cuda")
    threads = f"{given.device}, {torch.get_num_threads()} thread(s)"
    return {
        "family": given.family,
        "shape": given.shape,
        "dtype": given.dtype,
        "page": list(given.page),
        "pages": given.pages,
        "weights": count(backbone),
        "where": torch.cuda.get_device_name() if cuda else threads,
        "torch": torch.__version__,
        "rows": [row(one, settings[0], known_memory) for one in settings],
    }


def arguments() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", default="internvl", choices=sorted({family for family, _ in SHAPES}))
    parser.add_argument("--shape", default="mid", choices=["small", "mid", "2b", "8b"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--page", type=int, nargs=2, default=(896, 896), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--pages", type=int, default=1, help="a forward pass")
    parser.add_argument("--tokens", type=int, default=1280, help="most visual tokens at s = 1")
    parser.add_argument("--rows", type=int, default=0, help="meta-token vectors; 0: a single vector")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", action="store_true", help="count TFLOP from the shapes, run nothing")
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    parser.add_argument("--small", action="store_true", help="a small shape, one round: does it run")
    return parser


def main() -> None:
    given = arguments().parse_args()
    if given.work:
        given.device, given.pages = "meta", 1
    if given.small:
        given.shape, given.repeats = "small", 1
    backbone, settings = settings_of(given)
    if given.work:
        print(f"TFLOP of one page, {given.family} {given.shape}, counted:\n\n{report_work(settings)}")
        result = {name: getattr(given, name) for name in ("family", "shape", "dtype")}
        result |= {"page": list(given.page), "weights": count(backbone)}
        result["rows"] = [work_row(one, settings[0]) for one in settings]
    else:
        known_memory = measure(given, backbone, settings)
        result = figures(given, backbone, settings, known_memory)
        size = f"{result['weights'] / 1e6:,.0f} M random weights without vocabulary"
        where, (height, width) = f"{result['where']}, torch {torch.__version__}", given.page
        print(f"{given.family} {given.shape} ({size}), {given.dtype}, {where};")
        print(f"page {height} x {width}, {given.pages} a forward pass, {given.repeats} rounds;")
        print("times in ms of a page, median and range.")
        made_ready = f"{settings[0].pixels_ms:.0f} ms (s = 1)"
        print(f"Pixels of the page made ready in {made_ready}, not part of the times.\n")
        print(report(settings, known_memory))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
