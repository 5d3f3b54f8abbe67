"""What an index of many pages costs: bytes, machines, GPU hours, and what runs out first.

Arithmetic over a few constants, each with where it was measured or assumed (`CONSTANTS`); whoever measured on
their own machine and pages puts theirs in their place. The way of a page and of a question::

    page      read (a core) -> embedded (a GPU, or a core) -> rows and text on disk, first rows in memory
    question  embedded -> first stage and words over all pages of a shard -> survivors scored

Two designs of the first stage: ``scan`` looks at the first rows of every page (the folder index; exact, and
time grows with the pages of a shard), ``graph`` walks an HNSW graph (PostgreSQL, Qdrant; time grows with
their logarithm, and memory holds the graph). Nothing is promised: a plan is a sum to check against a
measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from mmrag.types import Budget

Design: TypeAlias = Literal["scan", "graph"]

DESIGNS: tuple[Design, ...] = ("scan", "graph")

GB = 1e9


@dataclass(frozen=True, slots=True)
class Constant:
    """A number that a plan stands on.

    Attributes:
        value: in its unit.
        unit: in words.
        source: where it was measured, or "assumed" and why.
    """

    value: float
    unit: str
    source: str


LAB_LOG = "docs/lab-log.md"
CONSTANTS: Mapping[str, Constant] = {
    "rest_bytes": Constant(
        9_700, "bytes a page beside its rows", f"{LAB_LOG}, small rows: 14.5 kB a page, of which rows 4.8"
    ),
    "first_rows": Constant(
        8,
        "rows of a page that the scan sees",
        "mmrag.index.resident_rows, beyond 4 GiB of rows; below it fewer of all, and all rows of some: less",
    ),
    "scan_ns": Constant(
        20, "ns of a core a row of 128 numbers", f"{LAB_LOG}, first stage: 750,000 rows in 14 to 17 ms"
    ),
    "search_ms": Constant(
        20,
        "ms of a core a question and shard that do not grow: survivors, documents, records",
        f"{LAB_LOG}, speed of search: 31 ms warm on 2,029 pages, of which encoding 11",
    ),
    "words_ns": Constant(
        440,
        "ns of a core a page to search by words",
        "docs/scale.md: a folder, .8 ms on 1,000, 4.4 on 10,000",
    ),
    "encode_ms": Constant(
        11, "ms of a core a question to encode it, mmrag-mini", f"{LAB_LOG}, speed of search"
    ),
    "graph_ms": Constant(
        3, "ms of a core a question and tenfold of pages in a graph", "assumed; benchmarks/scale.py measures"
    ),
    "graph_bytes": Constant(
        400,
        "bytes of memory a page in a graph",
        "a vector of 128 float16 and 32 links of 4 bytes, rounded up",
    ),
    "read_seconds": Constant(
        0.053, "seconds of a core a born-digital page", f"{LAB_LOG}, ingest: process that reads"
    ),
    "ocr_seconds": Constant(4.0, "seconds of a core a scanned page", f"{LAB_LOG}, OCR: 2.3 to 8.6"),
    "mini_seconds": Constant(
        0.236, "seconds of a core a page, mmrag-mini", f"{LAB_LOG}, ingest: mini's encoder, 4.2 windows"
    ),
    "efficiency": Constant(
        0.35,
        "share of a GPU's peak that a forward pass reaches",
        "assumed; served_rows.py measures",
    ),
    "text_tokens": Constant(40, "tokens of a page beside its picture", "the template and its instruction"),
    "visual_tokens": Constant(1280, "visual tokens of a page before compression", "Magic-MM-Embedding"),
    "patches": Constant(5120, "patches of a page in the vision encoder", "four a visual token"),
    "query_tokens": Constant(70, "tokens of a question with instruction and meta tokens", "assumed"),
    "memory_share": Constant(0.7, "of a machine's memory that an index may take", "assumed"),
    "core_share": Constant(0.6, "of a machine's cores that are busy at the rate asked for", "assumed"),
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """A processor for the embedder: its peak in bfloat16 and its memory."""

    teraflops: float
    memory_gb: float


GPUS: Mapping[str, Gpu] = {
    "h200": Gpu(989, 141),
    "h100": Gpu(989, 80),
    "a100": Gpu(312, 80),
    "l40s": Gpu(362, 48),
    "l4": Gpu(121, 24),
}
"""Peaks without sparsity, from the makers' data sheets."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a backbone: of the language model's layers, and of encoder and connector."""

    language: float
    vision: float


BACKBONES: Mapping[str, Weights] = {
    "2b": Weights(1.409e9, 0.407e9),
    "8b": Weights(6.95e9, 0.58e9),
}
"""Qwen3-VL, counted by ``benchmarks/model_sizes.py``."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked for.

    Attributes:
        pages: in all.
        qps: questions a second.
        budget: rows of a question and of a page.
        dim: width of a row.
        row_bytes: of a number: 1 (int8) or 2 (float16).
        model: of `BACKBONES`, or ``"mini"``.
        gpu: of `GPUS`; with ``"mini"`` none is used.
        compression: factor per axis.
        scans: share of pages that need OCR.
        design: of the first stage.
        latency_ms: that what grows with the pages of a shard may take: scan and words.
        copies: of every shard.
        cores: of a machine.
        memory_gb: of a machine.
        days: in which all pages are to be embedded.
        constants: in place of those of `CONSTANTS`, by name.

    Raises:
        ValueError: a number is out of its range, or a name is unknown.
    """

    pages: float
    qps: float = 10
    budget: Budget = field(default_factory=lambda: Budget(16, 64))
    dim: int = 128
    row_bytes: int = 1
    model: str = "2b"
    gpu: str = "h200"
    compression: int = 2
    scans: float = 0.2
    design: Design = "scan"
    latency_ms: float = 100
    copies: int = 1
    cores: int = 32
    memory_gb: float = 128
    days: float = 7
    constants: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no plan can be made of."""
        for name in ("pages", "qps", "dim", "latency_ms", "copies", "cores", "memory_gb", "days"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a number above 0, got {value!r}.")
        choices = {
            "model": ("mini", *BACKBONES),
            "gpu": tuple(GPUS),
            "compression": (1, 2, 3, 4),
            "row_bytes": (1, 2),
            "design": DESIGNS,
        }
        for name, values in choices.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, values))}, got {getattr(self, name)!r}."
                )
        if not 0 <= self.scans <= 1:
            raise ValueError(f"scans must be a share between 0 and 1, got {self.scans!r}.")
        unknown = sorted(self.constants.keys() - CONSTANTS.keys())
        if unknown:
            raise ValueError(f"constants must be of {', '.join(CONSTANTS)}, got {', '.join(unknown)}.")

    def constant(self, name: str) -> float:
        """Return a constant, the caller's own first."""
        return float(self.constants.get(name, CONSTANTS[name].value))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a task costs.

    Attributes:
        task: what was asked for.
        page_bytes: on disk, rows and the rest.
        disk_gb: of one copy.
        memory_gb: of one copy: what the first stage looks at.
        shards: of the index.
        machines: for all shards and copies.
        search_ms: of a core a question and shard, the first stage's share first.
        search_cores: busy at the rate asked for.
        embed_gpu_hours: of all pages; 0 without a GPU.
        embed_core_hours: of all pages; 0 with a GPU.
        read_core_hours: of all pages.
        embed_machines: GPUs, or machines of cores, to embed all pages within the days asked for.
        query_gpus: GPUs that embed the questions; 0 without one.
        reasons: for the number of shards and machines, the one that decides first.
    """

    task: Task
    page_bytes: tuple[float, float]
    disk_gb: float
    memory_gb: float
    shards: int
    machines: int
    search_ms: tuple[float, float]
    search_cores: float
    embed_gpu_hours: float
    embed_core_hours: float
    read_core_hours: float
    embed_machines: float
    query_gpus: float
    reasons: tuple[str, ...]


def plan(task: Task) -> Plan:
    """Compute what a task costs."""
    rows = task.budget.document * (task.dim * task.row_bytes + 4 * (task.row_bytes == 1))
    rest = task.constant("rest_bytes")
    page_memory = _first_stage_bytes(task)
    growing_ms = _words_ms(task, task.pages)  # with the pages of a shard, which can be made smaller
    if task.design == "scan":
        growing_ms += _first_stage_ms(task, task.pages)
    memory = task.pages * page_memory / GB
    share_gb = task.memory_gb * task.constant("memory_share")
    by_memory = math.ceil(memory / share_gb)
    by_time = math.ceil(growing_ms / task.latency_ms)
    shards = max(by_memory, by_time, 1)
    shard_ms = _first_stage_ms(task, task.pages / shards)
    beside = task.constant("search_ms") + _words_ms(task, task.pages / shards)
    # every shard is asked; words and survivors are looked up in each
    encode_ms = task.constant("encode_ms") if task.model == "mini" else 0.0
    cores = task.qps * (shards * (shard_ms + beside) + encode_ms) / 1000
    by_cores = math.ceil(cores / (task.cores * task.constant("core_share")))
    machines = max(shards * task.copies, by_cores)
    gpu_hours, core_hours, query_gpus = _embedding(task)
    hours = task.days * 24
    return Plan(
        task,
        (rows, rest),
        task.pages * (rows + rest) / GB,
        memory,
        shards,
        machines,
        (shard_ms, beside),
        cores,
        gpu_hours,
        core_hours,
        task.pages * _read_seconds(task) / 3600,
        gpu_hours / hours if gpu_hours else core_hours / hours / task.cores,
        query_gpus,
        _reasons({"memory": by_memory, "time of a shard": by_time, "cores of searches": by_cores}),
    )


def _reasons(machines_by_cause: Mapping[str, int]) -> tuple[str, ...]:
    """Return what asks for more than one machine, the most demanding first."""
    causes = sorted(machines_by_cause.items(), key=lambda pair: -pair[1])
    return tuple(f"{cause}: {number:,}" for cause, number in causes if number > 1) or ("nothing: one does",)


def _first_stage_bytes(task: Task) -> float:
    """Return bytes of memory a page that the first stage looks at."""
    if task.design == "graph":
        return task.constant("graph_bytes")
    rows = min(task.constant("first_rows"), task.budget.document)
    return rows * (task.dim + 4)


def _first_stage_ms(task: Task, pages: float) -> float:
    """Return milliseconds of a core that the first stage takes over so many pages."""
    if task.design == "graph":
        return task.constant("graph_ms") * max(1.0, math.log10(max(pages, 1)))
    rows = min(task.constant("first_rows"), task.budget.document)
    return pages * rows * task.constant("scan_ns") * task.dim / 128 / 1e6


def _words_ms(task: Task, pages: float) -> float:
    """Return milliseconds of a core that the search by words takes over so many pages."""
    return pages * task.constant("words_ns") / 1e6


def _read_seconds(task: Task) -> float:
    """Return seconds of a core that reading a page takes, on average."""
    return task.constant("read_seconds") + task.scans * task.constant("ocr_seconds")


def _embedding(task: Task) -> tuple[float, float, float]:
    """Return GPU hours and core hours of all pages, and GPUs that embed the questions."""
    if task.model == "mini":
        return 0.0, task.pages * task.constant("mini_seconds") / 3600, 0.0
    weights = BACKBONES[task.model]
    rate = GPUS[task.gpu].teraflops * 1e12 * task.constant("efficiency")
    return (
        task.pages * page_operations(task) / rate / 3600,
        0.0,
        task.qps * 2 * weights.language * task.constant("query_tokens") / rate,
    )


def page_operations(task: Task) -> float:
    """Return the operations of embedding a page: two a weight and token, or patch.

    Attention's own products are left out: at a few hundred tokens they are some percent.
    """
    weights = BACKBONES[task.model]
    tokens = (
        task.constant("visual_tokens") / task.compression**2
        + task.constant("text_tokens")
        + task.budget.query
        + task.budget.document
    )
    return 2 * weights.language * tokens + 2 * weights.vision * task.constant("patches")
