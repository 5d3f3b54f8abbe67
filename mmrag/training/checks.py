"""Checks before a run: what it will need, and whether its data and checkpoints are whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import TrainingArguments

from mmrag.errors import DocumentError
from mmrag.training import ranks
from mmrag.training.config import TrainConfig
from mmrag.training.data import Example, Side
from mmrag.training.model import TRAINED_FILE

CHECKPOINT = "checkpoint-"  # transformers' name of the folders in a run's output


CHECKPOINT_FILES = (TRAINED_FILE, "optimizer.pt", "scheduler.pt", "trainer_state.json")


PIXELS_A_TOKEN = 32 * 32  # Qwen3-VL's; never too small a picture for the other families


VISUAL_TOKENS = 1280  # of a page before compression, as `mmrag.MLLMEmbedder` has it


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a run will need.

    Attributes:
        examples: by sub-dataset.
        weights, trained: values of the model, and those with gradients.
        fixed_bytes: weights, gradients and the optimizer's state, on each device; activations come on top.
        forward_tokens: tokens of one batch, meta tokens included.
        steps: of the optimizer.
        epochs: how often each example is seen, on average.
        cached: whether gradients are cached, so that a batch is read twice.
    """

    examples: dict[str, int]
    weights: int
    trained: int
    fixed_bytes: int
    forward_tokens: int
    steps: int
    epochs: float
    cached: bool = True

    def lines(self) -> list[str]:
        """For people."""
        named = ", ".join(f"{name} {count:,}" for name, count in self.examples.items())
        twice = ", read twice (gradients are cached)" if self.cached else ""
        return [
            f"examples     {named}",
            f"weights      {self.weights:,}, {self.trained:,} of them trained",
            f"memory       {self.fixed_bytes / 1e9:.2f} GB a device for weights, gradients and AdamW's",
            "             moments, and the activations of one micro-batch",
            f"a batch      {self.forward_tokens:,} tokens{twice}",
            f"the run      {self.steps:,} steps, each example {self.epochs:.2f} times on average",
        ]


def arguments(config: TrainConfig, *, evaluated: bool) -> TrainingArguments:
    """Our settings in the words of `transformers`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run = config.run
    ranks.check_deepspeed(run.deepspeed)
    looked = evaluated and run.evaluate_every > 0
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
        eval_strategy="steps" if looked else "no",
        eval_steps=run.evaluate_every if looked else None,
        logging_steps=run.log_every,
        logging_first_step=True,
        bf16=run.bf16,
        deepspeed=run.deepspeed,
        fsdp=run.fsdp or "",
        remove_unused_columns=False,
        report_to=[],
        dataloader_num_workers=0,
        disable_tqdm=not _terminal(),
        use_cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
    )


def check_files(examples: Sequence[Example]) -> None:
    """Look for every file that a picture is to come from.

    Raises:
        FileNotFoundError: some are not there; the message names the first and counts them.
    """
    check_sides(
        (f"the query {one.name!r}", side)
        for one in examples
        for side in (one.query, one.positive, *one.negatives)
    )


def check_sides(sides: Iterable[tuple[str, Side]]) -> None:
    """`check_files` for sides, each with what it is needed for."""
    missing: dict[str, str] = {}
    places: dict[str, dict[int, str]] = {}
    for name, side in sides:
        file = side.image or side.file
        if file is None or file in missing:
            continue
        if not Path(file).is_file():
            missing[file] = name
        elif side.image is None and side.page is not None:
            places.setdefault(file, {}).setdefault(side.page, name)
    if missing:
        file, name = next(iter(missing.items()))
        raise FileNotFoundError(
            f"every picture's file must be there, got {len(missing)} that are not; the first is {file}, for "
            f"{name}. Mend the paths in the JSONL file."
        )
    check_page_numbers(places)


def check_page_numbers(places: Mapping[str, Mapping[int, str]]) -> None:
    """Open every document and look whether it has the pages that are named.

    Args:
        places: for each file its pages, and what each is needed for.

    Raises:
        DocumentError: a document cannot be opened.
        ValueError: a page is beyond its file.
    """
    from mmrag.documents import DocumentReader, Skipped, discover

    with DocumentReader() as reader:
        for file, pages in places.items():
            found = next(iter(discover(file)))
            last = max(pages)
            if isinstance(found, Skipped):
                raise DocumentError(f"{file}, for {pages[last]}: {found.reason}. Mend the JSONL file.")
            count = reader.info(found).total_pages
            if last >= count:
                raise ValueError(
                    f"a page must be within its file, got page {last} (from 0) of {file}, which has {count}, "
                    f"for {pages[last]}. Make the pairs again."
                )


def last_whole_checkpoint(output: Path) -> str | None:
    """The newest checkpoint in a run's folder that was written to its end; None for none.

    A full disk or a kill leaves the one that was being written without its last file, and the one before
    as it was.
    """
    whole = [
        (int(folder.name.removeprefix(CHECKPOINT)), folder)
        for folder in output.glob(CHECKPOINT + "*")
        if folder.name.removeprefix(CHECKPOINT).isdecimal()
        and all((folder / name).is_file() for name in CHECKPOINT_FILES)
    ]
    return str(max(whole)[1]) if whole else None


def _terminal() -> bool:
    import sys

    return sys.stderr.isatty()
