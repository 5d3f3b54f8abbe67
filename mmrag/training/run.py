"""One stage from its file to a checkpoint: what ``mmrag train STAGE --config C.yaml`` does.

``check`` reads configuration and data, opens every file that a picture is to come from, prepares one batch
and says what a run will need, without training: hours are not lost to a missing file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import set_seed

from mmrag.models.encoder import Encoder
from mmrag.training.card import write_card
from mmrag.training.checks import (
    PIXELS_A_TOKEN,
    VISUAL_TOKENS,
    CheckReport,
    arguments,
    check_files,
    last_whole_checkpoint,
)
from mmrag.training.config import TrainConfig, load_config
from mmrag.training.contrast import Collator, ContrastTrainer
from mmrag.training.data import Example, Mixture, Pictures, SubDataset, read_data, read_examples
from mmrag.training.model import count_weights, load_model, trained_weights, write_checkpoint

if TYPE_CHECKING:
    from mmrag.models.checkpoint import CheckpointConfig
    from mmrag.models.model import RetrievalModel
    from mmrag.training.generative.run import Generative

logger = logging.getLogger(__name__)

CONTRASTIVE = ("contrast", "finetune")


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
