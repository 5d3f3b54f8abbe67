"""Base of the stages' trainers: planned batches, finite losses, checkpoints of the trained weights alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer

from mmrag.training import ranks
from mmrag.training.data import Mixture
from mmrag.training.model import load_trained, save_trained


class Draw(NamedTuple):
    """An example of a batch, and the number of its draw, which seeds all that is drawn for it."""

    example: Any
    number: int


class BatchPlan(Sampler[list[tuple[int, int]]]):
    """All batches of a run as ``(position, number of the draw)``; a resumed run skips those it has seen.

    Args:
        mixture: draws the positions.
        count: batches, of all processes together.
    """

    def __init__(self, mixture: Mixture, count: int) -> None:
        self._mixture, self._count = mixture, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch, positions in enumerate(self._mixture.batches(self._count)):
            yield [(position, batch * len(positions) + at) for at, position in enumerate(positions)]


class DrawnExamples(Dataset[Draw]):
    """The examples of a mixture, by the entries of a `BatchPlan`."""

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture

    def __len__(self) -> int:
        return len(self._mixture)

    def __getitem__(self, entry: tuple[int, int]) -> Draw:
        position, number = entry
        return Draw(self._mixture[position], number)


class StageTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """`transformers.Trainer` over the planned batches of a `Mixture`.

    Subclasses implement ``training_step`` and ``evaluate``.

    Args:
        mixture: training examples.
        collator: makes ``{"batch": ...}`` of a sequence of `Draw`.
        micro_batch: inputs whose graph is in memory at once.
        validation: examples for evaluation; never trained on.
        options: passed on to `transformers.Trainer`.
    """

    def __init__(
        self,
        *,
        mixture: Mixture,
        collator: Any,  # noqa: ANN401  called by the loader
        micro_batch: int,
        validation: Sequence[Any] = (),
        **options: Any,  # noqa: ANN401  transformers'
    ) -> None:
        self.mixture = mixture
        self.micro_batch = micro_batch
        self.validation = list(validation)
        super().__init__(
            data_collator=collator,
            train_dataset=DrawnExamples(mixture),
            eval_dataset=self.validation or None,
            **options,
        )

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the planned batches; `Trainer`'s own would shuffle single examples."""
        plan = BatchPlan(self.mixture, self.args.max_steps * ranks.world()[1])
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset, batch_sampler=plan, collate_fn=self.data_collator
        )
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def check_finite(self, loss: float, names: Sequence[str]) -> None:
        """Refuse a loss that is not finite.

        Args:
            loss: of the examples `names`.
            names: for the message, which quotes the first eight.

        Raises:
            FloatingPointError: the loss is infinite or NaN.
        """
        if not math.isfinite(loss):
            quoted_names = ", ".join(map(repr, list(dict.fromkeys(names))[:8]))
            raise FloatingPointError(
                f"the loss must be a finite number, got {loss} at step {self.state.global_step} with the "
                f"examples {quoted_names}. Lower learning_rate, or look at these examples; the last "
                "checkpoint is whole."
            )

    def report(self, metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
        """Log the metrics of an evaluation and pass them to the callbacks, as `Trainer.evaluate` does."""
        log_entry = {f"{prefix}_{name}": value for name, value in metrics.items()}
        self.log(log_entry)
        trainer: Any = self  # untyped in transformers
        trainer.control = trainer.callback_handler.on_evaluate(
            self.args, self.state, trainer.control, log_entry
        )
        return log_entry

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ANN401  Trainer's
        """Save the trained weights; all others are in the checkpoint that the run started from."""
        del state_dict
        save_trained(self.accelerator.unwrap_model(self.model), Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ANN401
        load_trained(self.accelerator.unwrap_model(model or self.model), Path(resume_from_checkpoint))
