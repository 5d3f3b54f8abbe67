"""What nesting, hard negatives and distillation do, on a toy task that a CPU learns in seconds.

    OMP_NUM_THREADS=1 python benchmarks/training.py
    OMP_NUM_THREADS=1 python benchmarks/training.py --seeds 1

A page is a picture of two by two coloured cells, a query the four colours' letters in reading order. Pages
come in families: one page, and others that differ from it in a single cell. A query's page is one of
hundreds, so a random batch seldom holds its neighbours, which are what is hard about it. Each training page
also hangs in the collection a second time, drawn anew, which no label says: what is mined without a judge
takes such twins for negatives. Held-out pages are in families of their own and share none with training.

The model is a tiny random Qwen3-VL of the true class. All of its language model is trained, since there is
nothing in random weights that adapters could adapt. Every arm of a seed starts from the same weights; the
later arms go on from the nested warm-up, each for the same number of steps. A step with hard negatives reads
more pages: the control with a larger batch reads as many. The judge is an oracle, which knows how many cells
of two pages agree.

Printed is nDCG@10 on the held-out queries, with one relevant page ("exact"), and with gains of 3 for it and
1 for pages that differ from it in one cell ("graded"), at the smallest and at the whole budget: mean and
range over the seeds.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mmrag import MLLMEmbedder
from mmrag.embedders.base import Content
from mmrag.models import checkpoint
from mmrag.models.prompt import Prompts
from mmrag.models.tiny import make_tiny
from mmrag.training.config import DataConfig, LossConfig, ModelConfig, RunConfig, TrainConfig
from mmrag.training.losses import nested_scores
from mmrag.training.run import ContrastRun
from mmrag.types import Budget

COLOURS = {
    "r": (220, 40, 40),
    "g": (40, 170, 60),
    "b": (50, 70, 220),
    "y": (235, 215, 50),
    "v": (150, 60, 190),
    "w": (245, 245, 245),
    "k": (25, 25, 25),
    "o": (240, 140, 30),
}
CELL = 16  # pixels: one visual token of the tiny model
GROUPS = ((1, 1), (2, 4), (4, 8))
FULL = GROUPS[-1]
CUTOFF = 10
RANKS = 10  # of the warm-up model, that negatives are drawn from
Cells = tuple[str, str, str, str]
Hit = tuple[Cells, Path]


# ---- the task ----------------------------------------------------------------------------------------


def families(count: int, size: int, taken: set[Cells], rng: random.Random) -> list[list[Cells]]:
    """`count` families of one page and `size` - 1 neighbours, none of them in `taken`, which grows."""
    made: list[list[Cells]] = []
    while len(made) < count:
        first: Any = tuple(rng.choices(list(COLOURS), k=4))
        near = [one for one in neighbours(first) if one not in taken]
        if first in taken or len(near) < size - 1:
            continue
        made.append([first, *rng.sample(near, size - 1)])
        taken.update(made[-1])
    return made


def neighbours(cells: Cells) -> list[Cells]:
    """Every page that differs in one cell."""
    return [
        (*cells[:at], colour, *cells[at + 1 :])  # type: ignore[misc]
        for at in range(4)
        for colour in COLOURS
        if colour != cells[at]
    ]


def alike(one: Cells, other: Cells) -> float:
    """The oracle: the share of cells that agree."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / 4


def draw(cells: Cells, rng: random.Random) -> Image.Image:
    """The page; its colours waver, so that no two pictures of a page are the same."""
    page = Image.new("RGB", (2 * CELL, 2 * CELL))
    for at, letter in enumerate(cells):
        colour: Any = tuple(min(255, max(0, value + rng.randint(-12, 12))) for value in COLOURS[letter])
        page.paste(colour, (at % 2 * CELL, at // 2 * CELL, (at % 2 + 1) * CELL, (at // 2 + 1) * CELL))
    return page


def words(cells: Cells) -> str:
    """The query."""
    return "".join(cells)


class Task:
    """Pages on disk: those to train on, each with a twin, and held-out families.

    Args:
        folder: where pictures and pairs are written.
        seed: of everything drawn.
        train, held: families.
        size: pages of a family.
    """

    def __init__(self, folder: Path, seed: int, *, train: int, held: int, size: int = 4) -> None:
        rng = random.Random(seed)
        taken: set[Cells] = set()
        self.folder = folder
        self.held = families(held, size, taken, rng)
        self.train = [page for one in families(train, size, taken, rng) for page in one]
        self.twins = [(page, folder / f"{words(page)}-2.png") for page in self.train]
        for page, file in [*((one, self.picture(one)) for one in sorted(taken)), *self.twins]:
            draw(page, rng).save(file)

    def picture(self, page: Cells) -> Path:
        """The file that labels know."""
        return self.folder / f"{words(page)}.png"

    def pairs(self, name: str, negatives: dict[Cells, list[Hit]] | None = None) -> Path:
        """A JSONL file of the training pages; the judge of its negatives is the oracle."""
        file = self.folder / name
        with file.open("w", encoding="utf-8") as out:
            for page in self.train:
                line = {
                    "format": 1,
                    "recipe": "toy",
                    "query": {"id": f"q-{words(page)}", "text": words(page), "image": None},
                    "positives": [item((page, self.picture(page)), 1.0)],
                    "negatives": [item(hit, alike(page, hit[0])) for hit in (negatives or {}).get(page, ())],
                    "removed": [],
                    "doubtful": [],
                    "skipped": "",
                }
                out.write(json.dumps(line) + "\n")
        return file


def item(hit: Hit, score: float) -> dict[str, Any]:
    """A picture as the one format of training data has it."""
    return {"id": hit[1].stem, "kind": "image", "image": str(hit[1]), "text": None, "score": score}


# ---- a run -------------------------------------------------------------------------------------------


def start(folder: Path, seed: int) -> Path:
    """A tiny random model with short prompts: the default ones are most of a toy's tokens."""
    plain = make_tiny(folder / "tiny", "qwen3_vl", seed=seed)
    wanted = checkpoint.Overrides(pooling="last", prompts=Prompts("", "", ""))
    model, config = checkpoint.load(plain, wanted, device=torch.device("cpu"), dtype=torch.float32)
    checkpoint.save(folder / "start", model, config)
    return folder / "start"


def trained(base: Path, pairs: Path, output: Path, given: argparse.Namespace, **changes: Any) -> Path:
    """One arm: its finished checkpoint."""
    run = RunConfig(
        output=str(output),
        steps=given.steps,
        batch=changes.pop("batch", given.batch),
        micro_batch=1024,
        learning_rate=given.learning_rate,
        warmup=given.steps // 10,
        save_every=given.steps,
        keep=1,
        evaluate_every=0,
        log_every=max(given.steps // 5, 1),
        seed=changes.pop("seed"),
    )
    settings: dict[str, Any] = {"negatives": 0, "groups": GROUPS, **changes}
    config = TrainConfig(
        stage="contrast",
        model=ModelConfig(name=str(base), compression=1, budget=FULL, dim=32, lora=None, max_visual_tokens=4),
        data=(DataConfig(path=str(pairs)),),
        run=run,
        loss=LossConfig(**settings),
    )
    made = ContrastRun(config)
    try:
        return made.train(resume=False)
    finally:
        made.close()


def scored(folder: Path, queries: Sequence[Cells], pages: Sequence[Path]) -> torch.Tensor:
    """Scores ``(G, Q, D)`` at every budget, by the embedder that a user would load."""
    embedder = MLLMEmbedder.from_pretrained(folder, budget=Budget(*FULL), device="cpu")
    made_q = embedder.encode_query([words(one) for one in queries])
    made_d = embedder.encode_document([Content("", Image.open(one)) for one in pages])
    stacked = [torch.stack([torch.as_tensor(one) for one in made]) for made in (made_q, made_d)]
    return nested_scores(stacked[0], stacked[1], GROUPS)


def mined(
    folder: Path, task: Task, count: int, rng: random.Random
) -> tuple[dict[Cells, list[Hit]], dict[Cells, list[Hit]]]:
    """For each training query `count` of the model's first `RANKS` hits: as they are, and with a judge.

    The labelled page itself is left out; the judge takes out its twin, too.
    """
    hits = [*((page, task.picture(page)) for page in task.train), *task.twins]
    scores = scored(folder, task.train, [path for _, path in hits])[-1]
    plain: dict[Cells, list[Hit]] = {}
    judged: dict[Cells, list[Hit]] = {}
    for page, row in zip(task.train, scores, strict=True):
        ranked = [hits[at] for at in row.argsort(descending=True, stable=True).tolist()]
        others = [hit for hit in ranked if hit[1] != task.picture(page)][:RANKS]
        plain[page] = rng.sample(others, count)
        judged[page] = rng.sample([hit for hit in others if alike(page, hit[0]) < 1], count)
    return plain, judged


def measured(folder: Path, task: Task) -> dict[str, float]:
    """The four figures of an arm."""
    queries = [one[0] for one in task.held]
    pages = [page for one in task.held for page in one]
    scores = scored(folder, queries, [task.picture(page) for page in pages])
    out: dict[str, float] = {}
    for at, group in ((0, GROUPS[0]), (-1, FULL)):
        ranked = scores[at].argsort(descending=True, stable=True).tolist()
        for name, gains in (("exact", {1.0: 1.0}), ("graded", {1.0: 3.0, 0.75: 1.0})):
            got = [
                graded([gains.get(alike(query, pages[place]), 0.0) for place in row])
                for query, row in zip(queries, ranked, strict=True)
            ]
            out[f"{name} {group}"] = statistics.fmean(got)
    return out


def graded(gains: Sequence[float]) -> float:
    """NDCG at `CUTOFF` of the gains in ranked order."""

    def total(values: Sequence[float]) -> float:
        return math.fsum(value / math.log2(at + 2) for at, value in enumerate(values[:CUTOFF]))

    return total(gains) / total(sorted(gains, reverse=True))


# ---- the table ---------------------------------------------------------------------------------------


def arms(folder: Path, seed: int, given: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Train and measure every arm of a seed."""
    folder.mkdir()
    task = Task(folder, seed, train=given.families, held=given.held)
    base, plain = start(folder, seed), task.pairs("pairs.jsonl")

    def arm(name: str, source: Path, pairs: Path, **changes: Any) -> tuple[Path, dict[str, float]]:
        made = trained(source, pairs, folder / name, given, seed=seed, **changes)
        return made, measured(made, task)

    smallest, largest = f"({GROUPS[0][0]},{GROUPS[0][1]})", f"({FULL[0]},{FULL[1]})"
    yield f"warm-up at {largest} alone", arm("full", base, plain, groups=(FULL,))[1]
    yield f"warm-up at {smallest} alone", arm("single", base, plain, groups=(GROUPS[0],))[1]
    warm, result = arm("nested", base, plain)
    yield "warm-up, nested", result
    yield "... and in-batch negatives again", arm("again", warm, plain)[1]
    larger = {"batch": given.batch * (2 + given.negatives) // 2}
    yield "... the same, larger batch", arm("larger", warm, plain, **larger)[1]
    plain_hits, judged_hits = mined(warm, task, given.negatives, random.Random(seed))
    soft = {"distil": given.distil, "judge_temperature": given.judge_temperature}
    for name, label, hits in (
        ("mined", "mined negatives, false ones among them", plain_hits),
        ("judged", "mined negatives, false ones removed", judged_hits),
    ):
        pairs, count = task.pairs(f"{name}.jsonl", hits), {"negatives": given.negatives}
        yield f"... and {label}", arm(name, warm, pairs, **count)[1]
        yield f"... and {label}, distilled", arm(f"{name}-soft", warm, pairs, **count, **soft)[1]


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: mean and range."""
    names = list(next(iter(rows.values()))[0])
    lines = [f"| training | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for label, runs in rows.items():
        cells = []
        for name in names:
            values = [run[name] for run in runs]
            cells.append(f"{statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean, least and largest of each figure."""
    figures = {name: [run[name] for run in runs] for name in runs[0]}
    return {
        name: {"mean": statistics.fmean(values), "least": min(values), "largest": max(values)}
        for name, values in figures.items()
    }


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="of every arm")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--negatives", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--families", type=int, default=100)
    parser.add_argument("--held", type=int, default=48)
    parser.add_argument("--distil", type=float, default=1.0)
    parser.add_argument("--judge-temperature", type=float, default=0.1)
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    parser.add_argument("--small", action="store_true", help="one seed, few steps: does it run")
    given = parser.parse_args()
    if given.small:
        given.seeds, given.steps, given.families, given.held = 1, 2, 30, 12
    logging.disable(logging.WARNING)
    began = time.process_time()
    rows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.seeds):
            for label, result in arms(Path(folder) / str(seed), seed, given):
                rows.setdefault(label, []).append(result)
                told = ", ".join(f"{name} {value:.3f}" for name, value in result.items())
                print(f"seed {seed}, {time.process_time() - began:.0f} s: {label}: {told}", flush=True)
    print(f"\n{table(rows)}")
    if given.json:
        result = {"rows": {label: spread(runs) for label, runs in rows.items()}, "seeds": given.seeds}
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
