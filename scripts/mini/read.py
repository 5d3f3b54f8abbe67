"""Stage 1 of the small model: the vision tower learns to read, from the letters of each cell.

    python scripts/mini/read.py PAGES RUN --minutes 120            # goes on where RUN stopped
    python scripts/mini/read.py PAGES RUN --minutes 40 --cooldown  # the last leg: rate to 0

Every leg is a whole number of steps and a checkpoint; a killed run loses at most a minute.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.utils.data import DataLoader, IterableDataset

sys.path.insert(0, str(Path(__file__).parent))
from pages import CHAR
from tower import CELL, LetterHead, Letters

CROP = (128, 512)  # pixels
BLANK_WEIGHT = 0.15


class Pages:
    """Rendered pages and their characters, read from disk as they are needed."""

    def __init__(self, folder: Path, *, validation: bool) -> None:
        index = json.loads((folder / "index.json").read_text())
        self.classes = index["classes"]
        self.entries = [page for page in index["pages"] if page["validation"] == validation]
        self.pixels = np.memmap(folder / "pages.bin", np.uint8, "r")
        self.chars = np.memmap(folder / "chars.bin", CHAR, "r")

    def __len__(self) -> int:
        return len(self.entries)

    def page(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        entry = self.entries[number]
        height, width = entry["shape"]
        start = entry["pixels"]
        grey = np.asarray(self.pixels[start : start + height * width]).reshape(height, width)
        return grey, np.asarray(self.chars[slice(*entry["chars"])])


def labels(chars: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Class and start bits of every cell: each letter takes the cells whose middle lies in its box."""
    rows, columns = shape[0] // CELL[0], shape[1] // CELL[1]
    kinds = np.zeros((rows, columns), np.int64)
    starts = np.zeros((3, rows, columns), np.float32)
    boxes = chars["box"] / np.array([CELL[1], CELL[0], CELL[1], CELL[0]], np.float32)
    first = np.ceil(boxes[:, :2] - 0.5).astype(int)
    last = np.ceil(boxes[:, 2:] - 0.5).astype(int)  # not included
    middle = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int)
    thin = last <= first  # no middle inside: the cell that holds the letter's own middle
    first, last = np.where(thin, middle, first), np.where(thin, middle + 1, last)
    for (x0, y0), (x1, y1), kind, start, (_, line) in zip(
        first, last, chars["kind"], chars["start"], middle, strict=True
    ):
        if x1 <= 0 or y1 <= 0 or x0 >= columns or y0 >= rows:
            continue
        x, y = slice(max(x0, 0), x1), slice(max(y0, 0), y1)
        kinds[y, x] = kind
        starts[:, y, x] = 0
        if x0 >= 0:
            starts[0, y, x0] = 1
            starts[1, y, x0] = start
        if 0 <= line < rows:
            starts[2, line, x] = 1
    return kinds, starts


class Crops(IterableDataset):
    """Endless random crops, made to look printed, scanned and photographed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed

    def __iter__(self):
        pages, rng = Pages(self.folder, validation=False), random.Random(self.seed)
        while True:
            grey, chars = pages.page(rng.randrange(len(pages)))
            for _ in range(4):
                yield crop(grey, chars, rng)


def crop(grey: np.ndarray, chars: np.ndarray, rng: random.Random):
    """A crop around a random letter, so that few crops are empty: pixels, classes, start bits."""
    anchor = chars[rng.randrange(len(chars))]["box"]
    top = int(anchor[1]) - rng.randrange(CROP[0] - 16)
    left = int(anchor[0]) - rng.randrange(CROP[1] - 16)
    slope = rng.uniform(-0.02, 0.02) if rng.random() < 0.3 else 0.0
    image = Image.fromarray(grey).transform(
        (CROP[1], CROP[0]),
        Image.Transform.AFFINE,
        (1, 0, left, slope, 1, top - slope * CROP[1] / 2),
        Image.Resampling.BILINEAR if slope else Image.Resampling.NEAREST,
        fillcolor=int(grey[0, 0]),
    )
    near = chars[
        (chars["box"][:, 0] < left + CROP[1])
        & (chars["box"][:, 2] > left)
        & (chars["box"][:, 1] < top + CROP[0] + 16)
        & (chars["box"][:, 3] > top - 16)
    ].copy()
    box = near["box"]
    box[:, [0, 2]] -= left
    middle = (box[:, 0] + box[:, 2]) / 2
    box[:, [1, 3]] -= top + (slope * (middle - CROP[1] / 2))[:, None]
    kinds, starts = labels(near, CROP)
    return torch.from_numpy(worn(image, rng))[None], torch.from_numpy(kinds), torch.from_numpy(starts)


def worn(image: Image.Image, rng: random.Random) -> np.ndarray:
    """Blur, compression, grey ground, noise, inversion; each now and then."""
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.9)))
    if rng.random() < 0.15:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=rng.randint(25, 80))
        image = Image.open(buffer)
    pixels = np.asarray(image, np.float32) / 255
    if rng.random() < 0.5:
        low, high = rng.uniform(0, 0.35), rng.uniform(0.65, 1)
        pixels = low + (high - low) * pixels ** rng.uniform(0.6, 1.6)
    if rng.random() < 0.06:
        pixels = 1 - pixels
    if rng.random() < 0.3:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(0.01, 0.1), pixels.shape)
        pixels = (pixels + noise).clip(0, 1)
    return pixels.astype(np.float32)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan 2024), for the convolutions as matrices."""

    def __init__(self, parameters, lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                made = orthogonal(update).view_as(weight)
                weight.mul_(1 - group["lr"] * 0.01)
                weight.add_(made, alpha=-group["lr"] * max(1, update.shape[0] / update.shape[1]) ** 0.5)


def orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest matrix with all singular values near 1, by Newton and Schulz's iteration."""
    turned = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if turned else matrix) / (matrix.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if turned else x


def loss_of(logits: torch.Tensor, bits: torch.Tensor, kinds: torch.Tensor, starts: torch.Tensor):
    """Cross-entropy of the class of every cell, and of the two start bits where there is ink."""
    each = cross_entropy(logits.float(), kinds, reduction="none")
    weight = torch.where(kinds == 0, BLANK_WEIGHT, 1.0)
    letters = (each * weight).sum() / weight.sum()
    ink = (kinds != 0)[:, None].expand_as(starts)
    return letters + binary_cross_entropy_with_logits(bits.float()[ink], starts[ink])


@torch.no_grad()
def measure(model: torch.nn.Module, pages: Pages, count: int = 16) -> dict[str, float]:
    """Share of inked cells read right, of blank cells left blank, and of the pages' words found."""
    model.eval()
    right = inked = blank = empty = 0
    found = wanted = made = 0
    for number in np.linspace(0, len(pages) - 1, count).astype(int):
        grey, chars = pages.page(number)
        height, width = (side // 16 * 16 for side in grey.shape)
        pixels = torch.from_numpy(grey[:height, :width].astype(np.float32) / 255)[None, None]
        logits, bits = model(pixels.to(memory_format=torch.channels_last))
        guess, bits = logits[0].argmax(0).numpy(), (bits[0] > 0).numpy()
        kinds, starts = labels(chars, (height, width))
        right += int((guess == kinds)[kinds > 0].sum())
        inked += int((kinds > 0).sum())
        blank += int((guess == 0)[kinds == 0].sum())
        empty += int((kinds == 0).sum())
        true = set(words(kinds, starts > 0, pages.classes))
        read = set(words(guess, bits, pages.classes))
        found, wanted, made = found + len(true & read), wanted + len(true), made + len(read)
    model.train()
    return {
        "letters": right / inked,
        "blank": blank / empty,
        "recall": found / max(wanted, 1),
        "precision": found / max(made, 1),
    }


def words(kinds: np.ndarray, bits: np.ndarray, classes: str) -> list[str]:
    """Words of at least three letters or digits, read along the middles of lines."""
    ink = (kinds > 0) & bits[2]
    out: list[str] = []
    runs: dict[tuple[int, int], tuple[str, int]] = {}  # cell: what was read up to it, its class
    for column, row in zip(*np.nonzero(ink.T), strict=True):
        run, last = "", 0
        for near in ((row, 1), (row - 1, 1), (row + 1, 1), (row, 2), (row, 3)):
            found = runs.pop((near[0], column - near[1]), None)
            if found is not None:
                run, last = found
                break
        kind = int(kinds[row, column])
        if bits[1, row, column] and (not last or bits[0, row, column]):
            out.append(run)
            run = ""
        if kind != last or bits[0, row, column]:
            run += classes[kind]
        runs[row, column] = run, kind
    out += [run for run, _ in runs.values()]
    return [word for word in out if len(word) >= 3 and word.isalnum()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pages", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--cooldown", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.run.mkdir(parents=True, exist_ok=True)
    checkpoint = options.run / "checkpoint.pt"
    held_out = Pages(options.pages, validation=True)
    torch.manual_seed(0)
    model = torch.nn.Sequential(Letters(), LetterHead(len(held_out.classes)))
    model = model.to(memory_format=torch.channels_last)
    matrices = [
        w for n, w in model.named_parameters() if w.ndim == 4 and n.startswith("0.") and w.shape[1] > 4
    ]
    chosen = {id(w) for w in matrices}
    others = [w for w in model.parameters() if id(w) not in chosen]
    optimizers = [Muon(matrices, options.lr), torch.optim.AdamW(others, options.lr, weight_decay=0.01)]
    step, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        step, seconds = state["step"], state["seconds"]
    crops = DataLoader(Crops(options.pages, seed=step), options.batch, num_workers=1, prefetch_factor=8)
    began = saved = told = time.monotonic()
    spent = time.process_time()
    total, counted = 0.0, 0
    for pixels, kinds, starts in crops:
        share = (time.monotonic() - began) / (60 * options.minutes)
        if share >= 1:
            break
        rate = options.lr * min(1.0, (step + 1) / 200) * ((1 - share) if options.cooldown else 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        # float32: on this kind of CPU its convolutions are four times as fast as bfloat16's
        logits, bits = model(pixels.to(memory_format=torch.channels_last))
        loss = loss_of(logits, bits, kinds, starts)
        if not torch.isfinite(loss):
            raise SystemExit(
                f"the loss is {loss.item()} at step {step}: stopped; the last checkpoint is whole"
            )
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step, total, counted = step + 1, total + loss.item(), counted + 1
        now = time.monotonic()
        if now - saved > 60:
            saved = now
            save(checkpoint, model, optimizers, step, seconds + time.process_time() - spent)
        if now - told > 300:
            told = now
            report(
                options.run,
                step,
                seconds + time.process_time() - spent,
                total / counted,
                rate,
                model,
                held_out,
            )
            total, counted = 0.0, 0
    save(checkpoint, model, optimizers, step, seconds + time.process_time() - spent)
    report(
        options.run,
        step,
        seconds + time.process_time() - spent,
        total / max(counted, 1),
        0.0,
        model,
        held_out,
    )


def save(path: Path, model, optimizers, step: int, seconds: float) -> None:
    """Write beside, then move: a kill leaves the old checkpoint whole."""
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def report(run: Path, step: int, seconds: float, loss: float, rate: float, model, pages: Pages) -> None:
    line = {"step": step, "cpu_s": round(seconds), "loss": round(loss, 4), "lr": round(rate, 6)}
    line |= {name: round(value, 4) for name, value in measure(model, pages).items()}
    with (run / "curve.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


if __name__ == "__main__":
    main()
