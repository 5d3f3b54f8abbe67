"""Checks before a run: what training will need, and whether data and checkpoints are whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import TrainingArguments

from mmrag.training import ranks
from mmrag.training.config import TrainConfig
from mmrag.training.corpus import check_page_numbers
from mmrag.training.data import Example, Side
from mmrag.training.model import TRAINED_FILE

CHECKPOINT = "checkpoint-"
"""Prefix of the folders that transformers writes into a run's output."""

CHECKPOINT_FILES = (TRAINED_FILE, "optimizer.pt", "scheduler.pt", "trainer_state.json")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What training will need.

    Attributes:
        examples: number per sub-dataset.
        weights, trainable: values of the model, and those with gradients.
        fixed_bytes: weights, gradients and the optimizer's state on each device, without activations.
        forward_tokens: tokens of one batch, meta tokens included.
        steps: optimizer steps.
        epochs: how often each example is seen, on average.
        cached: whether gradients are cached, so that the forward pass of a batch runs twice.
    """

    examples: dict[str, int]
    weights: int
    trainable: int
    fixed_bytes: int
    forward_tokens: int
    steps: int
    epochs: float
    cached: bool = True

    def lines(self) -> list[str]:
        """Return the report as lines for a terminal."""
        examples = ", ".join(f"{name} {count:,}" for name, count in self.examples.items())
        twice = ", read twice (gradients are cached)" if self.cached else ""
        return [
            f"examples     {examples}",
            f"weights      {self.weights:,}, {self.trainable:,} of them trained",
            f"memory       {self.fixed_bytes / 1e9:.2f} GB per device for weights, gradients and AdamW's",
            "             moments, and the activations of one micro-batch",
            f"one batch    {self.forward_tokens:,} tokens{twice}",
            f"the run      {self.steps:,} steps, each example {self.epochs:.2f} times on average",
        ]


def training_arguments(config: TrainConfig, *, has_validation: bool) -> TrainingArguments:
    """Translate the settings of a run for `transformers`.

    Raises:
        FileNotFoundError, ValueError: DeepSpeed's file is unusable.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run = config.run
    ranks.check_deepspeed(run.deepspeed)
    evaluates = has_validation and run.evaluate_every > 0
    return TrainingArguments(
        output_dir=run.output,
        max_steps=run.steps,
        per_device_train_batch_size=run.batch,
        learning_rate=run.learning_rate,
        warmup_steps=run.warmup,
        lr_scheduler_type=run.schedule,
        weight_decay=run.weight_decay,
        max_grad_norm=run.max_grad_norm,
        seed=run.seed,
        save_steps=run.save_every,
        save_total_limit=run.keep,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=run.evaluate_every if evaluates else None,
        logging_steps=run.log_every,
        logging_first_step=True,
        bf16=run.bf16,
        deepspeed=run.deepspeed,
        fsdp=run.fsdp or "",
        remove_unused_columns=False,
        report_to=[],
        dataloader_num_workers=0,
        disable_tqdm=not sys.stderr.isatty(),
        use_cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
    )


def check_files(examples: Sequence[Example]) -> None:
    """Check that the files of all pictures of these examples exist; see `check_sides`."""
    check_sides((f"the query {example.name!r}", side) for example in examples for side in example.sides)


def check_sides(sides: Iterable[tuple[str, Side]]) -> None:
    """Check that the files of all pictures exist, and have the pages that are named.

    Args:
        sides: each with a name for messages, for example ``"the query 'q1'"``.

    Raises:
        FileNotFoundError: files are missing; the message names the first and counts them.
        DocumentError: a document cannot be opened.
        ValueError: a page is beyond its file.
    """
    absent: dict[str, str] = {}
    pages: dict[str, dict[int, str]] = {}
    for name, side in sides:
        file = side.image or side.file
        if file is None or file in absent:
            continue
        if not Path(file).is_file():
            absent[file] = name
        elif side.image is None and side.page is not None:
            pages.setdefault(file, {}).setdefault(side.page, name)
    if absent:
        file, name = next(iter(absent.items()))
        raise FileNotFoundError(
            f"every picture's file must exist, got {len(absent)} that do not; the first is {file}, for "
            f"{name}. Correct the paths in the JSONL file."
        )
    check_page_numbers(pages)


def last_whole_checkpoint(output: Path) -> str | None:
    """Return the newest complete checkpoint in a run's output folder, or None.

    A full disk or a kill leaves the checkpoint under way without its last file, and the one before it
    complete.
    """
    whole = [
        (int(folder.name.removeprefix(CHECKPOINT)), folder)
        for folder in output.glob(CHECKPOINT + "*")
        if folder.name.removeprefix(CHECKPOINT).isdecimal()
        and all((folder / name).is_file() for name in CHECKPOINT_FILES)
    ]
    return str(max(whole)[1]) if whole else None
