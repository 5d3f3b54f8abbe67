"""One stage from its file to a checkpoint: ``mmrag train STAGE --config C.yaml``.

A check reads configuration and data, opens every file that shows a picture, prepares one batch and reports
what training will need, without training: no hours are lost to a missing file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import set_seed

from mmrag.models.encoder import Encoder
from mmrag.training.checks import check_files
from mmrag.training.config import TrainConfig, load_config
from mmrag.training.contrast import ContrastTrainer
from mmrag.training.contrast_batch import ContrastBatch, ContrastCollator
from mmrag.training.data import Example, Pictures, SubDataset, read_data, read_examples
from mmrag.training.model import load_model, write_checkpoint
from mmrag.training.stage_run import StageRun, largest_useful_picture, make_mixture, visual_tokens

if TYPE_CHECKING:
    from mmrag.models.checkpoint import CheckpointConfig
    from mmrag.models.model import RetrievalModel

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
    """Run a stage, or check whether it would run.

    Args:
        stage: stage that the file must be for.
        path: the YAML file.
        check: check only, train nothing.
        resume: continue from the last whole checkpoint in the output folder, if there is one.
        say: called with each line of the check's report.

    Returns:
        The folder of the finished checkpoint, or None after a check.

    Raises:
        ValueError, FileNotFoundError: the file, the data or the model is unusable.
        FloatingPointError: the loss is not finite.
    """
    config = load_config(path, stage)
    run = make_run(config)
    try:
        for line in run.check().lines():
            say(line)
        return None if check else run.train(resume=resume)
    finally:
        run.close()


def make_run(config: TrainConfig) -> StageRun:
    """Load data and model of a run.

    Raises:
        ValueError, FileNotFoundError: the data or the model is unusable, or the stage trains nothing.
    """
    if config.stage in CONTRASTIVE:
        return ContrastRun(config)
    from mmrag.training.generative.run import STAGES, GenerativeRun

    if config.stage in STAGES:
        return GenerativeRun(config)
    raise ValueError(f"stage must be one of {', '.join((*CONTRASTIVE, *STAGES))}, got {config.stage!r}.")


class ContrastRun(StageRun):
    """A run of a contrastive stage.

    Args:
        config: the run.

    Raises:
        ValueError, FileNotFoundError: the data or the model is unusable.
    """

    caches_gradients: ClassVar[bool] = True
    model: RetrievalModel

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.parts: list[SubDataset] = read_data(config.data)
        self.validation: list[Example] = []
        if (held_out := config.validation) is not None:
            self.validation = read_examples(held_out.path, cap=held_out.limit, documents=held_out.documents)
        check_files([*(example for part in self.parts for example in part.examples), *self.validation])
        total = sum(len(part.examples) for part in self.parts)
        if config.run.batch > total:
            raise ValueError(
                f"run: batch must be at most the number of examples, got {config.run.batch} for {total}."
            )
        set_seed(config.run.seed)  # adapters and fresh tables are drawn when the model is loaded
        self.model, self.checkpoint = load_model(config.model)
        self.pictures = Pictures(largest_useful_picture(config))
        self.collator = self._make_collator(self.checkpoint)
        self.mixture = make_mixture(config, self.parts)

    def _make_collator(self, checkpoint: CheckpointConfig) -> ContrastCollator:
        config = self.config
        encoder = Encoder(
            self.model,
            self.model.backbone.template(checkpoint.prompts, config.model.max_tokens),
            max_visual_tokens=visual_tokens(config),
            batch_size=config.run.micro_batch,
        )
        return ContrastCollator(
            encoder,
            self.pictures,
            checkpoint.prompts,
            negatives=config.loss.negatives,
            page_text=config.model.page_text,
            threads=config.run.workers,
        )

    def make_trainer(self, **options: Any) -> ContrastTrainer:  # noqa: ANN401  passed on
        """Build a `ContrastTrainer`."""
        validation = self.config.validation
        cutoff = {} if validation is None else {"cutoff": validation.cutoff}
        return ContrastTrainer(loss=self.config.loss, **cutoff, **options)

    def write_model(self, folder: Path) -> None:
        """Write a directory that `mmrag.MLLMEmbedder.from_pretrained` loads."""
        write_checkpoint(self.model, self.checkpoint, folder)

    def count_tokens(self, batch: ContrastBatch) -> int:
        """Return the tokens of all queries and documents, meta tokens included."""
        queries, documents = (max(rows) for rows in zip(*self.config.loss.groups, strict=True))
        query_meta = self.model.meta_count("query", queries)
        document_meta = self.model.meta_count("document", documents)
        return sum(len(row.ids) + query_meta for row in batch.queries) + sum(
            len(row.ids) + document_meta for row in (*batch.positives, *batch.negatives)
        )
