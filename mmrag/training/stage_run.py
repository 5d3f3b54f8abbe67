"""Base of the stages' runs: from data and model to a checked, trained and documented checkpoint."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from mmrag.files import atomic_write
from mmrag.training.card import RETRIEVER, write_card
from mmrag.training.checks import CheckReport, last_whole_checkpoint, training_arguments
from mmrag.training.config import TrainConfig
from mmrag.training.data import Mixture, Pictures, SubDataset
from mmrag.training.model import count_weights, trained_weights
from mmrag.training.stage import BatchPlan, DrawnExamples, StageTrainer

PIXELS_PER_TOKEN = 32 * 32  # Qwen3-VL's; pictures of other families are never too small with it
VISUAL_TOKENS = 1280  # per page before compression, the default of `mmrag.MLLMEmbedder`


class StageRun(ABC):
    """A run of one stage: data, model, and the trainer that joins them.

    Subclasses set the attributes below in their constructor.

    Attributes:
        config: of the run.
        parts: its sub-datasets.
        validation: examples for evaluation.
        pictures: opens what examples show.
        model: to train, on the CPU.
        collator: makes batches of draws.
        mixture: draws examples from `parts`.
    """

    usage: str = RETRIEVER
    """Sentence of the model card that says what to do with the model."""
    caches_gradients: ClassVar[bool] = False

    config: TrainConfig
    parts: list[SubDataset]
    validation: Sequence[Any]
    pictures: Pictures
    model: nn.Module
    collator: Callable[[Sequence[Any]], dict[str, Any]]
    mixture: Mixture

    @abstractmethod
    def make_trainer(self, **options: Any) -> StageTrainer:  # noqa: ANN401  passed on
        """Build the trainer; `options` are arguments that all stages share."""

    @abstractmethod
    def write_model(self, folder: Path) -> None:
        """Write the finished model."""

    @abstractmethod
    def count_tokens(self, batch: Any) -> int:  # noqa: ANN401  the collator's
        """Return how many tokens the forward pass of a batch reads."""

    def check(self) -> CheckReport:
        """Prepare one batch, and count what training will need."""
        examples = DrawnExamples(self.mixture)
        (entries,) = BatchPlan(self.mixture, 1)
        batch = self.collator([examples[entry] for entry in entries])["batch"]
        weights = list(self.model.parameters())
        trainable = list(trained_weights(self.model).values())
        run = self.config.run
        return CheckReport(
            examples=self.example_counts(),
            weights=count_weights(weights),
            trainable=count_weights(trainable),
            # a trained value has a gradient and AdamW's two moments of its own size
            fixed_bytes=sum(w.nbytes for w in weights) + 3 * sum(w.nbytes for w in trainable),
            forward_tokens=self.count_tokens(batch),
            steps=run.steps,
            epochs=run.steps * run.batch / len(self.mixture),
            cached=self.caches_gradients,
        )

    def train(self, *, resume: bool = True) -> Path:
        """Train, write the finished model with its card and curves, and return its folder.

        Args:
            resume: continue from the last whole checkpoint in the output folder, if there is one.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        output = Path(self.config.run.output)
        trainer = self.make_trainer(
            model=self.model,
            mixture=self.mixture,
            collator=self.collator,
            micro_batch=self.config.run.micro_batch,
            validation=self.validation,
            args=training_arguments(self.config, has_validation=bool(self.validation)),
        )
        trainer.train(resume_from_checkpoint=last_whole_checkpoint(output) if resume else None)
        folder = output / "model"
        if trainer.is_world_process_zero():
            self.write_model(folder)
            history = list(trainer.state.log_history)
            with atomic_write(output / "curve.json") as file:
                file.write(json.dumps(history, indent=1) + "\n")
            write_card(folder, self.config, history, self.example_counts(), usage=self.usage)
        return folder

    def example_counts(self) -> dict[str, int]:
        """Return the number of examples per sub-dataset."""
        return {part.name: len(part.examples) for part in self.parts}

    def close(self) -> None:
        """End the processes that read pages."""
        self.pictures.close()


def visual_tokens(config: TrainConfig) -> int:
    """Return the limit of visual tokens per picture, after compression."""
    return config.model.max_visual_tokens or VISUAL_TOKENS // config.model.compression**2


def largest_useful_picture(config: TrainConfig) -> int:
    """Return the pixels of the largest picture that the model's visual tokens can show."""
    return visual_tokens(config) * config.model.compression**2 * PIXELS_PER_TOKEN


def make_mixture(config: TrainConfig, parts: Sequence[SubDataset]) -> Mixture:
    """Return the mixture of a run's sub-datasets."""
    run = config.run
    return Mixture(parts, batch=run.batch, homogeneous=run.homogeneous, seed=run.seed)
