"""The generative stages, `restore`, `reason` and `rerank`, from a configuration to a stock-shaped model.

A step of `TaskTrainer`::

    examples -> tasks (collator) -> parts of `micro_batch` sequences: logits at the places that are learnt
             -> loss sums of each kind, divided by the counts of the whole batch -> backward

so cutting a batch into parts, or over processes, changes nothing of its loss.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer, set_seed

from mmrag.evaluation.metrics import ndcg
from mmrag.training import ranks
from mmrag.training.card import write_card
from mmrag.training.checks import (
    PIXELS_A_TOKEN,
    VISUAL_TOKENS,
    CheckReport,
    arguments,
    check_sides,
    last_whole_checkpoint,
)
from mmrag.training.config import SERVED_STAGES, DataConfig, TrainConfig
from mmrag.training.data import Example, Mixture, Pictures, SubDataset
from mmrag.training.generative.chat import Chat
from mmrag.training.generative.examples import read_lessons, read_traced
from mmrag.training.generative.model import (
    KINDS,
    Task,
    counts_of,
    load_generative,
    logits_of,
    loss_sums,
    weighed,
    write_stock,
)
from mmrag.training.generative.rank_data import read_rank_examples
from mmrag.training.generative.tasks import (
    YES,
    LessonMaker,
    Maker,
    RerankMaker,
    TaskBatch,
    TaskCollator,
    TraceMaker,
    look_up,
    named,
)
from mmrag.training.model import count_weights, load_trained, save_trained, trained_weights

logger = logging.getLogger(__name__)

STAGES = ("restore", "reason", "rerank")

USE = {
    "restore": "It is the base of the stage `contrast`: name this folder as its `model: name`, with the same "
    "`compression`.",
    "reason": "Serve it (`mmrag serve FOLDER`) and let `mmrag.rerank.traces.TraceWriter` ask it for traces.",
    "rerank": "Serve it (`mmrag serve FOLDER`) and let `mmrag.rerank.ThinkReranker` ask it, with "
    '`mode="pointwise"` or `mode="listwise"` and `think_tokens=0`.',
}


class _Drawn(Dataset[Any]):
    """Examples by place, each with the number of its draw."""

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture

    def __len__(self) -> int:
        return len(self._mixture)

    def __getitem__(self, drawn: tuple[int, int]) -> tuple[Any, int]:
        return self._mixture[drawn[0]], drawn[1]


class _Draws(Sampler[list[tuple[int, int]]]):
    """The batches of a run with every draw numbered; a resumed run skips those it has seen."""

    def __init__(self, mixture: Mixture, count: int) -> None:
        self._mixture, self._count = mixture, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for number, places in enumerate(self._mixture.batches(self._count)):
            yield [(place, number * len(places) + at) for at, place in enumerate(places)]


class TaskTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """`transformers.Trainer` whose step learns a batch of tasks.

    Args:
        mixture: training examples.
        collator: makes tasks of them.
        weights: of the losses by kind; 1 where a kind is not named.
        micro_batch: sequences whose graph is in memory together.
        validation: examples that are looked at and never trained on.
        cutoff: of nDCG, for tasks that judge pages.
        options: passed on to `transformers.Trainer`.
    """

    def __init__(
        self,
        *,
        mixture: Mixture,
        collator: TaskCollator[Any],
        weights: Mapping[str, float],
        micro_batch: int,
        validation: Sequence[Any] = (),
        cutoff: int = 5,
        **options: Any,  # noqa: ANN401  transformers'
    ) -> None:
        self.mixture = mixture
        self.weights = dict(weights)
        self.micro_batch = micro_batch
        self.validation = list(validation)
        self.cutoff = cutoff
        super().__init__(
            data_collator=collator,
            train_dataset=_Drawn(mixture),
            eval_dataset=self.validation or None,
            **options,
        )

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches by plan: `transformers` would shuffle single examples."""
        plan = _Draws(self.mixture, self.args.max_steps * ranks.world()[1])
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset, batch_sampler=plan, collate_fn=self.data_collator
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:  # noqa: ANN401
        """Forward, loss and backward of one batch; the loss, detached.

        Raises:
            FloatingPointError: the loss is not finite; the message names the batch.
        """
        model.train()
        batch: TaskBatch = inputs["batch"]
        counts = shared_counts(counts_of(batch.tasks), self.args.device)
        total = torch.zeros((), device=self.args.device)
        parts = list(self._parts(batch.tasks))
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            with contextlib.nullcontext() if last else ranks.accumulating(self.accelerator, model):
                with self.compute_loss_context_manager():
                    logits = self._logits(model, part)
                value = weighed(loss_sums(logits, part), counts, self.weights)
                if not math.isfinite(value.item()):
                    names = ", ".join(dict.fromkeys(repr(task.name) for task in part))
                    raise FloatingPointError(
                        f"the loss must be a number, got {value.item()} at step {self.state.global_step} "
                        f"with {names}. Lower learning_rate, or look at these examples; the last checkpoint "
                        "is whole."
                    )
                self.accelerator.backward(value)
            total += value.detach()
        return total

    def _parts(self, tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
        for start in range(0, len(tasks), self.micro_batch):
            yield tasks[start : start + self.micro_batch]

    def _logits(self, model: torch.nn.Module, tasks: Sequence[Task]) -> list[Tensor]:
        pad = self.accelerator.unwrap_model(model).backbone.tokenizer.pad_token_id or 0
        return logits_of(model, tasks, pad=pad, device=self.args.device)

    @torch.no_grad()
    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:  # noqa: ANN401
        """The loss on the validation examples, and nDCG where pages are judged; every process computes it."""
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        collator: TaskCollator[Any] = self.data_collator
        sums = dict.fromkeys(KINDS, 0.0)
        counts = dict.fromkeys(KINDS, 0)
        ranked: list[float] = []
        for one in self.validation:
            tasks = named(one, collator.maker.validation, one)
            scores: list[float] = []
            for part in self._parts(tasks):
                logits = self._logits(model, part)
                for kind, value in loss_sums(logits, part).items():
                    sums[kind] += value.item()
                    counts[kind] += counts_of(part)[kind]
                scores += [_margin(made, task) for made, task in zip(logits, part, strict=True)]
            if tasks[0].kind == "pointwise":
                ranked.append(_ndcg(scores, tasks, self.cutoff))
        model.train()
        metrics = {
            f"{metric_key_prefix}_loss": sum(sums[kind] / counts[kind] for kind in KINDS if counts[kind])
        }
        if ranked:
            metrics[f"{metric_key_prefix}_ndcg"] = sum(ranked) / len(ranked)
        self.log(metrics)
        base: Any = self
        base.control = base.callback_handler.on_evaluate(self.args, self.state, base.control, metrics)
        return metrics

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ANN401  Trainer's
        """Only what is trained; the rest is in the checkpoint that the run started from."""
        del state_dict
        save_trained(self.accelerator.unwrap_model(self.model), Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ANN401
        load_trained(self.accelerator.unwrap_model(model or self.model), Path(resume_from_checkpoint))


def shared_counts(counts: Mapping[str, int], device: torch.device) -> dict[str, float]:
    """Counts of all processes together, a process's share: gradients are averaged over processes."""
    size = ranks.world()[1]
    if size == 1:
        return dict(counts)
    joined = torch.tensor([float(counts[kind]) for kind in KINDS], device=device)
    dist.all_reduce(joined)
    return dict(zip(KINDS, (joined / size).tolist(), strict=True))


def _margin(logits: Tensor, task: Task) -> float:
    if task.kind != "pointwise":
        return 0.0
    no, yes = task.options
    return float(logits[0, yes] - logits[0, no])


def _ndcg(scores: Sequence[float], tasks: Sequence[Task], cutoff: int) -> float:
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    right = {str(place) for place, task in enumerate(tasks) if task.right == (YES,)}
    return ndcg([str(place) for place in order], right, cutoff)


class Generative:
    """A run of a generative stage, assembled: data, model, tasks.

    Args:
        config: the run.

    Raises:
        ValueError, FileNotFoundError: data or model is not as it must be.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        if config.stage in SERVED_STAGES and config.model.compression != 1:
            logger.warning(
                "a server knows no compression: what the stage %r trains at compression %d is served at 1",
                config.stage, config.model.compression,
            )  # fmt: skip
        visual = config.model.max_visual_tokens or VISUAL_TOKENS // config.model.compression**2
        shown = {"reason": config.reason.image_pixels, "rerank": config.rerank.image_pixels}
        # pages are rendered as they will be for the server, or as large as the model can make use of
        whole = visual * config.model.compression**2 * PIXELS_A_TOKEN
        self.pictures = Pictures(shown.get(config.stage, whole))
        try:
            self.parts = [self._part(one) for one in config.data]
            self.validation: list[Any] = []
            if config.validation is not None:
                only = DataConfig(path=config.validation.path, cap=config.validation.limit)
                self.validation = list(self._part(only).examples)
            named_sides = ((one.name, side) for one in self._all() for side in _sides(one))
            check_sides(named_sides)
            set_seed(config.run.seed)  # adapters begin with drawn numbers
            self.model, self.source = load_generative(config.model)
            chat = Chat(
                self.model.backbone,
                self.model.reader.compression,
                max_visual_tokens=visual,
                max_tokens=config.model.max_tokens,
            )
            self.collator: TaskCollator[Any] = TaskCollator(
                self._maker(chat), seed=config.run.seed, threads=config.run.workers
            )
        except BaseException:
            self.pictures.close()
            raise
        self.mixture = Mixture(
            self.parts, batch=config.run.batch, homogeneous=config.run.homogeneous, seed=config.run.seed
        )

    def _all(self) -> Iterator[Any]:
        for part in self.parts:
            yield from part.examples
        yield from self.validation

    def _part(self, data: DataConfig) -> SubDataset:
        config, found = self.config, cast("Sequence[Any]", ())  # Mixture looks into no example
        if config.stage == "restore":
            found = read_lessons(data.path, config.restore, cap=data.cap)
        elif config.stage == "reason":
            found = look_up(read_traced(data.path, cap=data.cap), config.reason, self.pictures)
        else:
            found = read_rank_examples(data.path, config.rerank.listwise, cap=data.cap)
        return SubDataset(data.name or Path(data.path).stem, tuple(cast("Sequence[Any]", found)), data.weight)

    def _maker(self, chat: Chat) -> Maker[Any]:
        config = self.config
        if config.stage == "restore":
            return LessonMaker(chat, self.pictures, loss_on=config.restore.loss_on)
        if config.stage == "reason":
            return TraceMaker(chat, self.pictures, config.reason)
        return RerankMaker(chat, self.pictures, config.rerank)

    def check(self) -> CheckReport:
        """Prepare one batch and count."""
        (plan,) = _Draws(self.mixture, 1)
        batch = self.collator([(self.mixture[place], number) for place, number in plan])["batch"]
        weights = list(self.model.parameters())
        trained = list(trained_weights(self.model).values())
        size = sum(w.numel() * w.element_size() for w in weights) + 3 * sum(
            w.numel() * w.element_size() for w in trained
        )
        run = self.config.run
        return CheckReport(
            examples={part.name: len(part.examples) for part in self.parts},
            weights=count_weights(iter(weights)),
            trained=count_weights(iter(trained)),
            fixed_bytes=size,
            forward_tokens=sum(len(task.row.ids) for task in batch.tasks),
            steps=run.steps,
            epochs=run.steps * run.batch / len(self.mixture),
            cached=False,
        )

    def train(self, *, resume: bool = True) -> Path:
        """Train, write the finished model with its card and curves, and return its folder."""
        config, run = self.config, self.config.run
        output = Path(run.output)
        trainer = TaskTrainer(
            model=self.model,
            mixture=self.mixture,
            collator=self.collator,
            weights={
                "pointwise": config.rerank.pointwise_weight,
                "listwise": config.rerank.listwise_weight,
            },
            micro_batch=run.micro_batch,
            validation=self.validation,
            cutoff=config.validation.cutoff if config.validation else 5,
            args=arguments(config, evaluated=bool(self.validation)),
        )
        last = last_whole_checkpoint(output) if resume else None
        trainer.train(resume_from_checkpoint=last)
        final = output / "model"
        if trainer.is_world_process_zero():
            write_stock(self.model, self.source, final)
            history = list(trainer.state.log_history)
            (output / "curve.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
            counts = {part.name: len(part.examples) for part in self.parts}
            write_card(final, config, history, counts, use=USE[config.stage])
        return final

    def close(self) -> None:
        """End what reads pages."""
        self.pictures.close()


def _sides(one: Any) -> Sequence[Any]:  # noqa: ANN401  any example
    if isinstance(one, Example):
        return (one.query, one.positive, *one.negatives)
    return cast("Sequence[Any]", one.sides)
