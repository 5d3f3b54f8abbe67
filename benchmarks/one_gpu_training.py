"""Contrast training of mmrag-mini, a part of ``benchmarks/one_gpu.py``: the true weights on drawn pages."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from compression import Memory, clock, three
from transformers import TrainerCallback

from mmrag import Page
from mmrag.documents import DocumentReader, InputDocument, ReaderSettings, discover
from mmrag.training.config import DataConfig, TrainConfig, ValidationConfig, load_config
from mmrag.training.contrast import ContrastTrainer
from mmrag.training.run import ContrastRun

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))

import make_packs

CONFIG = "mmrag-mini/contrast"
HELD_OUT = 5  # every so many-th document
SEEDS = (17, 18)  # of the drawn packs


@dataclass(frozen=True, slots=True)
class Plan:
    """How the training is measured.

    Attributes:
        seeds: of the drawn packs, each with documents and questions of its own.
        every: every n-th document of a pack.
        epochs: how often each pair is read, at most.
        steps: of a row, at most.
        micro_batch: inputs whose graph is in memory at once.
        batch: of the first row; None for the configuration's own.
        most: queries of the full batch, at most.
        tokens: most of a page; None for the configuration's own.
    """

    seeds: tuple[int, ...] = SEEDS
    every: int = 1
    epochs: int = 4
    steps: int = 1000
    micro_batch: int = 64
    batch: int | None = None
    most: int = 1024
    tokens: int | None = None


SMALL = Plan(seeds=SEEDS[:1], every=20, steps=2, micro_batch=4, batch=4, most=8, tokens=32)


def draw_pairs(folder: Path, plan: Plan) -> tuple[Path, Path, int]:
    """Draw packs and write their answerable questions with the words of the page that answers.

    Scans have no words and are left out; every fifth document is held out.

    Returns:
        The file to train on, the file held out, and the number of pages in both.
    """
    kept: tuple[list[str], list[str]] = ([], [])
    pages = 0
    for seed in plan.seeds:
        make_packs.make(folder / str(seed), seed, every=plan.every)
        for pack in sorted((folder / str(seed)).iterdir()):
            texts = page_texts(pack / "documents")
            pages += len(texts)
            held = set(sorted({name for name, _ in texts})[::HELD_OUT])
            for line in (pack / "queries.jsonl").read_text(encoding="utf-8").splitlines():
                query = json.loads(line)
                places = [(query["doc"], number) for number in query["evidence_pages"][:1]]
                kept[query["doc"] in held].extend(
                    json.dumps(record(f"{seed}-{query['id']}", query["question"], place, texts[place]))
                    for place in places
                    if place in texts
                )
    files = folder / "pairs.jsonl", folder / "pairs.valid.jsonl"
    for file, lines in zip(files, kept, strict=True):
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return *files, pages


def page_texts(folder: Path) -> dict[tuple[str, int], str]:
    """Return the words of the pages that have some, by file name and number."""
    found = {}
    with DocumentReader(ReaderSettings(ocr="off", structure="off")) as reader:
        for document in discover(folder):
            for page in reader.pages(document) if isinstance(document, InputDocument) else ():
                if isinstance(page, Page) and page.text.strip():
                    found[document.source.name, page.number] = page.text
    return found


def record(name: str, question: str, place: tuple[str, int], text: str) -> dict[str, Any]:
    """Return a pair in the form of `mmrag.training.mining.records`."""
    file, number = place
    item = {"id": f"{file}#p{number}", "kind": "text", "text": text, "image": None, "score": None}
    query = {"id": name, "text": question, "image": None}
    lists: dict[str, Any] = {"positives": [item], "negatives": [], "removed": [], "doubtful": []}
    return {"format": 1, "recipe": "drawn", "query": query, **lists, "skipped": ""}


class Watch(TrainerCallback):
    """Times the steps of a run, evaluates before and after, and ends it in time.

    Args:
        now: seconds, see `compression.clock`.
        until: by `time.monotonic`; a step that would not be over by then is not begun.
    """

    def __init__(self, now: Callable[[], float], until: float) -> None:
        self.now, self.until = now, until
        self.seconds: list[float] = []
        self.ndcg: list[dict[str, float]] = []
        self.trainer: ContrastTrainer
        self._longest = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.ndcg.append(self.trainer.evaluate())

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began, self._wall = self.now(), time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds.append(self.now() - self._began)
        self._longest = max(self._longest, time.monotonic() - self._wall)
        if time.monotonic() + self._longest > self.until:
            control.should_training_stop = True

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.ndcg.append(self.trainer.evaluate())


class WatchedRun(ContrastRun):
    """A contrastive run with a `Watch`."""

    def __init__(self, config: TrainConfig, watch: Watch) -> None:
        super().__init__(config)
        self.watch = watch

    def make_trainer(self, **options: Any) -> ContrastTrainer:
        self.watch.trainer = super().make_trainer(**options, callbacks=[self.watch])
        return self.watch.trainer


def config_of(
    files: tuple[Path, Path], output: Path, batch: int, pairs: int, plan: Plan, dtype: str
) -> TrainConfig:
    """Return the package's own configuration for these files, at this batch."""
    config = load_config(CONFIG)
    steps = max(min(plan.epochs * pairs // batch, plan.steps), 2)  # the first warms up
    model = config.model.model_copy(update={"max_tokens": plan.tokens or config.model.max_tokens})
    run = config.run.model_copy(
        update={
            "output": str(output),
            "steps": steps,
            "batch": batch,
            "homogeneous": batch,
            "micro_batch": min(batch, plan.micro_batch),
            "warmup": steps // 10,
            "save_every": steps,
            "evaluate_every": 0,
            "log_every": 1,
            "bf16": dtype == "bfloat16",
        }
    )
    return config.model_copy(
        update={
            "model": model,
            "data": (DataConfig(path=str(files[0]), documents="text"),),
            "run": run,
            "validation": ValidationConfig(path=str(files[1]), documents="text"),
        }
    )


def rows(plan: Plan, device: str, dtype: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Train at the configuration's batch and at the full one, all pairs at once; yield the figures of each.

    Each begins at the shipped weights. A batch is half of the time that is left at most.
    """
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as scratch:
        train, held, pages = draw_pairs(Path(scratch), plan)
        pairs, kept = (len(file.read_text().splitlines()) for file in (train, held))
        full = min(pairs, plan.most)
        for number, batch in enumerate((plan.batch or load_config(CONFIG).run.batch, full)):
            end = time.monotonic() + (until - time.monotonic()) / (2 - number)
            config = config_of((train, held), Path(scratch) / f"run-{batch}", batch, pairs, plan, dtype)
            figures = trained(config, device, end)
            yield {"pairs": pairs, "held_out": kept, "pages": pages, "batch": batch, **figures}


def trained(config: TrainConfig, device: str, until: float) -> dict[str, Any]:
    """Train and return the figures of whole steps, without the first of them."""
    watch, memory = Watch(clock(device), until), Memory(device)
    run = WatchedRun(config, watch)
    memory.start()
    try:
        tokens = run.check().forward_tokens
        run.train(resume=False)
    finally:
        run.close()
    steady = watch.seconds[1:] or watch.seconds
    losses = [entry["loss"] for entry in watch.trainer.state.log_history if "loss" in entry]
    batch = config.run.batch
    return {
        "micro_batch": config.run.micro_batch,
        "bf16": config.run.bf16,
        "steps": len(watch.seconds),
        "steps_planned": config.run.steps,
        "first_step_seconds": watch.seconds[0],
        "step_seconds": three(steady),
        "pairs_a_second": batch / statistics.median(steady),
        "tokens_a_batch": tokens,
        "peak_mib": memory.peak() / 2**20 if memory.known else None,
        "loss": {"first": losses[0], "last": losses[-1]},
        "ndcg": {"before": watch.ndcg[0], "after": watch.ndcg[-1]},
        "device": str(next(run.model.parameters()).device),
        "threads": torch.get_num_threads(),
    }
