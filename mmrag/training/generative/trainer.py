"""Trainer of the generative stages.

A step of `GenerativeTrainer`::

    examples -> tasks (collator) -> parts of `micro_batch` sequences: logits at the label positions
             -> loss sums of each kind, divided by the counts of the whole batch -> backward

so the loss does not depend on how a batch is cut into parts or distributed over processes.

Shapes: V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mmrag.evaluation.metrics import ndcg
from mmrag.training import ranks
from mmrag.training.generative.model import KINDS, Task, counts_of, logits_of, loss_sums, weighted_loss
from mmrag.training.generative.rank_tasks import YES
from mmrag.training.generative.tasks import TaskBatch, TaskCollator
from mmrag.training.stage import StageTrainer


class GenerativeTrainer(StageTrainer):
    """Trains a `GenerativeModel` by batches of tasks.

    Args:
        weights: of the losses per kind; 1 for kinds without a weight.
        cutoff: of the nDCG of an evaluation, for tasks that judge pages.
        options: see `StageTrainer`.
    """

    def __init__(self, *, weights: Mapping[str, float], cutoff: int = 5, **options: Any) -> None:  # noqa: ANN401
        self.weights = dict(weights)
        self.cutoff = cutoff
        super().__init__(**options)

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:  # noqa: ANN401
        """Run forward and backward pass of one batch, and return its loss, detached.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        model.train()
        batch: TaskBatch = inputs["batch"]
        counts = counts_per_process(counts_of(batch.tasks), self.args.device)
        total = torch.zeros((), device=self.args.device)  # ()
        parts = list(self._split(batch.tasks))
        for number, part in enumerate(parts, 1):
            is_last = number == len(parts)
            with contextlib.nullcontext() if is_last else ranks.without_step(self.accelerator, model):
                with self.compute_loss_context_manager():
                    logits = self._logits(model, part)
                loss = weighted_loss(loss_sums(logits, part), counts, self.weights)  # ()
                self.check_finite(loss.item(), [task.name for task in part])
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    @torch.no_grad()
    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:  # noqa: ANN401
        """Return the loss of the validation examples, and nDCG for tasks that judge pages.

        Every process computes the same.
        """
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        metrics = self._validate(model)
        model.train()
        return self.report(metrics, metric_key_prefix)

    def _split(self, tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
        """Cut tasks into parts of `micro_batch`."""
        for start in range(0, len(tasks), self.micro_batch):
            yield tasks[start : start + self.micro_batch]

    def _logits(self, model: torch.nn.Module, tasks: Sequence[Task]) -> list[Tensor]:
        pad = self.accelerator.unwrap_model(model).backbone.tokenizer.pad_token_id or 0
        return logits_of(model, tasks, pad=pad, device=self.args.device)  # (positions, V) each

    def _validate(self, model: torch.nn.Module) -> dict[str, float]:
        collator: TaskCollator = self.data_collator
        sums = dict.fromkeys(KINDS, 0.0)
        counts = dict.fromkeys(KINDS, 0)
        values: list[float] = []
        for example in self.validation:
            tasks = collator.validation_tasks(example)
            margins: list[float] = []
            for part in self._split(tasks):
                logits = self._logits(model, part)
                part_counts = counts_of(part)
                for kind, loss in loss_sums(logits, part).items():
                    sums[kind] += loss.item()
                    counts[kind] += part_counts[kind]
                margins += map(_margin, logits, part)
            if tasks[0].kind == "pointwise":
                values.append(_ndcg(margins, tasks, self.cutoff))
        loss_per_kind = [sums[kind] / counts[kind] for kind in KINDS if counts[kind]]
        return {"loss": sum(loss_per_kind), **({"ndcg": sum(values) / len(values)} if values else {})}


def counts_per_process(counts: Mapping[str, int], device: torch.device) -> dict[str, float]:
    """Return the counts of all processes divided by their number.

    Gradients are averaged over processes, so a loss divided by these counts is divided by all labels.
    """
    size = ranks.world()[1]
    if size == 1:
        return dict(counts)
    total = torch.tensor([float(counts[kind]) for kind in KINDS], device=device)  # (kinds,)
    dist.all_reduce(total)
    return dict(zip(KINDS, (total / size).tolist(), strict=True))


def _margin(logits: Tensor, task: Task) -> float:
    """Return the logit of yes minus that of no; 0 for other kinds."""
    if task.kind != "pointwise":
        return 0.0
    no, yes = task.options
    return float(logits[0, yes] - logits[0, no])


def _ndcg(margins: Sequence[float], tasks: Sequence[Task], cutoff: int) -> float:
    order = sorted(range(len(margins)), key=lambda number: -margins[number])
    relevant = {str(number) for number, task in enumerate(tasks) if task.labels == (YES,)}
    return ndcg([str(number) for number in order], relevant, cutoff)
