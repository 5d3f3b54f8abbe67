"""One stage from its file to a checkpoint: what ``mmrag train STAGE --config C.yaml`` does.

``check`` reads configuration and data, opens every file that a picture is to come from, prepares one batch
and says what a run will need, without training: hours are not lost to a missing file.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import TrainingArguments, set_seed

from mmrag.errors import DocumentError
from mmrag.models.encoder import Encoder
from mmrag.training import ranks
from mmrag.training.card import write_card
from mmrag.training.config import TrainConfig, load_config
from mmrag.training.contrast import Collator, ContrastTrainer
from mmrag.training.data import Example, Mixture, Pictures, Side, SubDataset, read_data, read_examples
from mmrag.training.model import TRAINED_FILE, count_weights, load_model, trained_weights, write_checkpoint

if TYPE_CHECKING:
    from mmrag.models.checkpoint import CheckpointConfig
    from mmrag.models.model import RetrievalModel
    from mmrag.training.generative.run import Generative

logger = logging.getLogger(__name__)

CONTRASTIVE = ("contrast", "finetune")
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


def run_stage(
    stage: str,
    path: str | Path,
    *,
    check: bool = False,
    resume: bool = True,
    say: Callable[[str], None] = logger.info,
) -> Path | None:
    """Run a stage; with `check` only look whether it would run.

    Args:
        stage: the one that the file must be for.
        path: the YAML file.
        check: train nothing.
        resume: go on from the last checkpoint in the output folder, where there is one.
        say: told what a person should know, a line at a time.

    Returns:
        The folder of the finished checkpoint; None after a check.

    Raises:
        ValueError, FileNotFoundError: the file, the data or the model is not as it must be.
        FloatingPointError: the loss is not a number.
    """
    config = load_config(path, stage)
    made = _assembled(config)
    try:
        for line in made.check().lines():
            say(line)
        return None if check else made.train(resume=resume)
    finally:
        made.close()


def _assembled(config: TrainConfig) -> Contrastive | Generative:
    """What trains a stage."""
    if config.stage in CONTRASTIVE:
        return Contrastive(config)
    from mmrag.training.generative import run as generate_run

    if config.stage in generate_run.STAGES:
        return generate_run.Generative(config)
    known = (*CONTRASTIVE, *generate_run.STAGES)
    raise ValueError(f"run_stage knows {', '.join(known)}, got {config.stage!r}.")


class Contrastive:
    """A contrastive run, assembled: model, data, collator.

    Args:
        config: the run.

    Raises:
        ValueError, FileNotFoundError: data or model is not as it must be.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.parts: list[SubDataset] = read_data(config.data)
        self.validation: list[Example] = []
        if config.validation is not None:
            looked = config.validation
            self.validation = read_examples(looked.path, cap=looked.limit, documents=looked.documents)
        check_files([*(one for part in self.parts for one in part.examples), *self.validation])
        if config.run.batch > sum(len(part.examples) for part in self.parts):
            raise ValueError(
                f"run: batch must be at most the number of examples, got {config.run.batch} for "
                f"{sum(len(part.examples) for part in self.parts)}."
            )
        self.model: RetrievalModel
        self.settled: CheckpointConfig
        set_seed(config.run.seed)  # adapters and fresh tables are drawn when the model is loaded
        self.model, self.settled = load_model(config.model)
        visual = config.model.max_visual_tokens or VISUAL_TOKENS // config.model.compression**2
        layout = self.model.backbone.layout(self.settled.prompts, config.model.max_tokens)
        self.encoder = Encoder(
            self.model, layout, max_visual_tokens=visual, batch_size=config.run.micro_batch
        )
        self.pictures = Pictures(visual * config.model.compression**2 * PIXELS_A_TOKEN)
        self.collator = Collator(
            self.encoder,
            self.pictures,
            self.settled.prompts,
            negatives=config.loss.negatives,
            page_text=config.model.page_text,
            threads=config.run.workers,
        )
        self.mixture = Mixture(
            self.parts,
            batch=config.run.batch,
            homogeneous=config.run.homogeneous,
            seed=config.run.seed,
        )

    def check(self) -> CheckReport:
        """Prepare one batch and count."""
        batch = self.collator([self.mixture[place] for place in next(self.mixture.batches(1))])["batch"]
        rows_q, rows_d = (max(group[side] for group in self.config.loss.groups) for side in (0, 1))
        meta = {
            side: self.model.meta_count(side, rows)
            for side, rows in (("query", rows_q), ("document", rows_d))
        }
        tokens = sum(len(row.ids) + meta["query"] for row in batch.queries)
        tokens += sum(len(row.ids) + meta["document"] for row in (*batch.positives, *batch.negatives))
        weights = list(self.model.parameters())
        trained = list(trained_weights(self.model).values())
        # a trained value has a gradient and AdamW's two moments of its own size
        size = sum(w.numel() * w.element_size() for w in weights) + 3 * sum(
            w.numel() * w.element_size() for w in trained
        )
        run = self.config.run
        return CheckReport(
            examples={part.name: len(part.examples) for part in self.parts},
            weights=count_weights(iter(weights)),
            trained=count_weights(iter(trained)),
            fixed_bytes=size,
            forward_tokens=tokens,
            steps=run.steps,
            epochs=run.steps * run.batch / len(self.mixture),
        )

    def train(self, *, resume: bool = True) -> Path:
        """Train, write the finished checkpoint with its card and curves, and return its folder."""
        run = self.config.run
        output = Path(run.output)
        trainer = ContrastTrainer(
            self.model,
            mixture=self.mixture,
            collator=self.collator,
            loss=self.config.loss,
            micro_batch=run.micro_batch,
            validation=self.validation,
            validation_config=self.config.validation,
            args=arguments(self.config, evaluated=bool(self.validation)),
        )
        last = last_whole_checkpoint(output) if resume else None
        trainer.train(resume_from_checkpoint=last)
        final = output / "model"
        if trainer.is_world_process_zero():
            write_checkpoint(self.model, self.settled, final)
            history = list(trainer.state.log_history)
            (output / "curve.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
            write_card(final, self.config, history, {p.name: len(p.examples) for p in self.parts})
        return final

    def close(self) -> None:
        """End what reads pages."""
        self.pictures.close()


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
