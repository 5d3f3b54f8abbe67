"""The contrastive stages: warm-up, hard negatives, fine-tuning with distillation; one trainer for all.

A step of `ContrastTrainer`::

    examples -> pictures, tokens (collator) -> vectors of small parts, without a graph
             -> nested loss over all of them, positives gathered over processes
             -> the parts again with a graph, each with its share of the gradient (mmrag.training.grad_cache)

What differs between the stages is data and loss settings: no negatives (warm-up), mined ones (``mmrag mine``,
ranks 50 to 100), judged ones with the judge's scores (`distil`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer

from mmrag.embedders.base import Content
from mmrag.errors import MMRagError
from mmrag.evaluation.metrics import ndcg
from mmrag.models.batch import TokenRow, collate
from mmrag.models.encoder import Encoder
from mmrag.models.inputs import document_item, query_item
from mmrag.models.model import RetrievalModel
from mmrag.models.prompt import Prompts
from mmrag.training import losses, ranks
from mmrag.training.config import LossConfig, ValidationConfig
from mmrag.training.data import Example, Mixture, Pictures, Side
from mmrag.training.grad_cache import cached_backward
from mmrag.training.model import load_trained, save_trained
from mmrag.types import Query

Group = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ContrastBatch:
    """A batch of one process, ready for the model.

    Attributes:
        names: of the queries, for messages.
        queries: one a query.
        positives: one a query, at the same place.
        negatives: of all queries together.
        owners: for each negative the place of its query.
        keys: of the positives.
        relevant: for each query the keys of all that answers it.
        judged: for each query the judge's score of its positive and of its negatives, in order.
    """

    names: tuple[str, ...]
    queries: tuple[TokenRow, ...]
    positives: tuple[TokenRow, ...]
    negatives: tuple[TokenRow, ...]
    owners: tuple[int, ...]
    keys: tuple[str, ...]
    relevant: tuple[frozenset[str], ...]
    judged: tuple[tuple[float | None, ...], ...]


class Collator:
    """Examples to a `ContrastBatch`: opens and resizes pictures, lays out tokens.

    Args:
        encoder: of the model that is trained; its preparing is used, not its forward pass.
        pictures: opens what sides look like.
        prompts: the words around an input.
        negatives: of an example that are used, the hardest first.
        page_text: whether a picture's words go along with it.
        threads: that prepare pictures side by side.
    """

    def __init__(
        self,
        encoder: Encoder,
        pictures: Pictures,
        prompts: Prompts,
        *,
        negatives: int,
        page_text: bool = False,
        threads: int = 1,
    ) -> None:
        self._encoder = encoder
        self._pictures = pictures
        self._prompts = prompts
        self._negatives = negatives
        self._page_text = page_text
        self._pool = ThreadPoolExecutor(max(threads, 1), thread_name_prefix="mmrag-examples")

    def __call__(self, examples: Sequence[Example]) -> dict[str, ContrastBatch]:
        """One batch.

        Raises:
            ValueError: a side cannot be prepared; the message names the query.
        """
        chosen = [example.negatives[: self._negatives] for example in examples]
        wanted: list[tuple[Example, Side, str]] = [(one, one.query, "query") for one in examples]
        wanted += [(one, one.positive, "document") for one in examples]
        wanted += [(one, side, "document") for one, own in zip(examples, chosen, strict=True) for side in own]
        rows = list(self._pool.map(lambda given: self.row(*given), wanted))
        count = len(examples)
        return {
            "batch": ContrastBatch(
                names=tuple(one.name for one in examples),
                queries=tuple(rows[:count]),
                positives=tuple(rows[count : 2 * count]),
                negatives=tuple(rows[2 * count :]),
                owners=tuple(place for place, own in enumerate(chosen) for _ in own),
                keys=tuple(one.positive.key for one in examples),
                relevant=tuple(one.relevant for one in examples),
                judged=tuple(one.judged[: 1 + len(own)] for one, own in zip(examples, chosen, strict=True)),
            )
        }

    def row(self, example: Example, side: Side, role: str) -> TokenRow:
        """Tokens and pixels of one side."""
        prompts = self._prompts
        try:
            picture = self._pictures.of(side)
            if role == "query":
                item = query_item(Query(side.text or None, picture), 0, prompts.query)
            else:
                words = side.text if picture is None or self._page_text else ""
                item = document_item(Content(words, picture), 0, prompts.document, self._page_text)
            return self._encoder.prepare(item, role).row
        except (MMRagError, ValueError, OSError) as error:
            raise ValueError(f"the {role} of {example.name!r} cannot be used: {error}") from error


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one side that are encoded together."""

    rows: tuple[TokenRow, ...]
    side: str


class _BatchPlan(Sampler[list[int]]):
    """The batches of a run, for every process in turn; a resumed run skips those it has seen."""

    def __init__(self, mixture: Mixture, count: int) -> None:
        self._mixture, self._count = mixture, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        return self._mixture.batches(self._count)


class ContrastTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """`transformers.Trainer` whose step is a cached contrastive batch.

    Args:
        model: the retrieval model.
        mixture: training examples.
        collator: makes batches of them.
        loss: settings.
        micro_batch: inputs whose graph is in memory together.
        validation, validation_config: examples that are looked at and never trained on.
        options: passed on to `transformers.Trainer`.
    """

    def __init__(
        self,
        model: RetrievalModel,
        *,
        mixture: Mixture,
        collator: Collator,
        loss: LossConfig,
        micro_batch: int,
        validation: Sequence[Example] = (),
        validation_config: ValidationConfig | None = None,
        **options: Any,  # noqa: ANN401  transformers'
    ) -> None:
        self.mixture = mixture
        self.loss = loss
        self.micro_batch = micro_batch
        self.validation = list(validation)
        self.validation_config = validation_config
        super().__init__(
            model=model,
            data_collator=collator,
            train_dataset=mixture,
            eval_dataset=self.validation or None,
            **options,
        )

    # ---- data ------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches by plan: `transformers` would shuffle single examples."""
        plan = _BatchPlan(self.mixture, self.args.max_steps * ranks.world()[1])
        examples: Any = self.mixture  # a sequence is all that a loader needs
        loader: DataLoader[Any] = DataLoader(examples, batch_sampler=plan, collate_fn=self.data_collator)
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    # ---- a step ----------------------------------------------------------------------------------

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:  # noqa: ANN401
        """Forward, loss and backward of one batch; the loss, detached.

        Raises:
            FloatingPointError: the loss is not finite; the message names the batch.
        """
        model.train()
        batch: ContrastBatch = inputs["batch"]
        parts = self._parts(batch)
        value = cached_backward(
            functools.partial(self._encode, model),
            parts,
            functools.partial(self._loss, batch, parts),
            device=self.args.device,
            backward=self.accelerator.backward,
            no_sync=functools.partial(ranks.accumulating, self.accelerator, model),
        )
        if not math.isfinite(value.item()):
            raise FloatingPointError(
                f"the loss must be a number, got {value.item()} at step {self.state.global_step} with the "
                f"queries {', '.join(map(repr, batch.names[:8]))}. Lower learning_rate, or look at these "
                "examples; the last checkpoint is whole."
            )
        return value

    def _parts(self, batch: ContrastBatch) -> list[_Part]:
        """The batch cut for memory; each part rows of one side."""
        sides = ((batch.queries, "query"), (batch.positives, "document"), (batch.negatives, "document"))
        return [
            _Part(rows[start : start + self.micro_batch], side)
            for rows, side in sides
            for start in range(0, len(rows), self.micro_batch)
        ]

    def _encode(self, model: torch.nn.Module, part: _Part) -> Tensor:
        inner: RetrievalModel = self.accelerator.unwrap_model(model)
        count = self._rows(part.side)
        pad = inner.backbone.tokenizer.pad_token_id or 0
        made = collate(part.rows, pad=pad, meta=inner.meta_count(part.side, count)).to(self.args.device)
        with self.compute_loss_context_manager():
            vectors: Tensor = model(made, part.side, count)
        return vectors.float()

    def _rows(self, side: str) -> int:
        place = 0 if side == "query" else 1
        return max(group[place] for group in self.loss.groups)

    def _loss(self, batch: ContrastBatch, parts: Sequence[_Part], vectors: Sequence[Tensor]) -> Tensor:
        """The stage's loss of the vectors of all parts."""
        count = len(batch.queries)
        joined: dict[str, list[Tensor]] = {"query": [], "document": []}
        for part, made in zip(parts, vectors, strict=True):
            joined[part.side].append(made)
        documents = torch.cat(joined["document"])
        return contrastive_loss(
            torch.cat(joined["query"]), documents[:count], documents[count:], batch, self.loss
        )

    # ---- looking -----------------------------------------------------------------------------------

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:  # noqa: ANN401
        """NDCG on the validation pairs at the smallest and the largest budget; every process computes it."""
        metrics = {
            f"{metric_key_prefix}_{name}": value
            for name, value in measure(self.accelerator.unwrap_model(self.model), self).items()
        }
        self.log(metrics)
        base: Any = self  # untyped in transformers
        base.control = base.callback_handler.on_evaluate(self.args, self.state, base.control, metrics)
        return metrics

    # ---- checkpoints -------------------------------------------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ANN401  Trainer's
        """Only what is trained; the rest is in the checkpoint that the run started from."""
        del state_dict
        save_trained(self.accelerator.unwrap_model(self.model), Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ANN401
        load_trained(self.accelerator.unwrap_model(model or self.model), Path(resume_from_checkpoint))


def contrastive_loss(
    queries: Tensor, positives: Tensor, negatives: Tensor, batch: ContrastBatch, settings: LossConfig
) -> Tensor:
    """The nested loss of one process's queries against the positives of all, and against their own negatives.

    Args:
        queries: ``(Q, r_q, d)``.
        positives: ``(Q, r_d, d)``.
        negatives: ``(N, r_d, d)``, in the order of `ContrastBatch.owners`.
        batch: says what belongs together.
        settings: temperature, groups, margin, distillation.
    """
    groups, count, device = settings.groups, len(queries), queries.device
    shared, keys = ranks.gathered(positives), ranks.gathered_keys(batch.keys)
    own = torch.arange(count, device=device) + ranks.world()[0] * count
    scores = losses.nested_scores(queries, shared, groups)
    positive = scores[:, torch.arange(count, device=device), own]
    allowed = torch.tensor(
        [[key not in relevant for key in keys] for relevant in batch.relevant], device=device
    ).expand_as(scores)
    table, present, owned = _own(queries, negatives, batch, groups)
    allowed_own = present.expand_as(owned) if owned is not None else None
    if settings.margin is not None:
        allowed = allowed & ~losses.likely_relevant(scores, positive, groups, settings.margin)
        if owned is not None and allowed_own is not None:
            near = losses.likely_relevant(owned, positive, groups, settings.margin)
            allowed_own = allowed_own & ~near
    value = losses.contrast(
        scores, own, owned, temperature=settings.temperature, allowed=allowed, allowed_own=allowed_own
    )
    if settings.distil > 0 and owned is not None:
        judged = torch.full((count, 1 + table.shape[1]), float("nan"), device=device)
        for place, given in enumerate(batch.judged):
            for at, score in enumerate(given):
                if score is not None:
                    judged[place, at] = score
        soft = losses.distil(
            torch.cat([positive[..., None], owned], -1),
            judged,
            temperature=settings.temperature,
            judge_temperature=settings.judge_temperature,
        )
        value = value + settings.distil * soft
    return value


def _own(
    queries: Tensor, negatives: Tensor, batch: ContrastBatch, groups: Sequence[Group]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Each query's negatives: places ``(Q, K)``, which are there, and their scores ``(G, Q, K)``."""
    count = len(queries)
    places: list[list[int]] = [[] for _ in range(count)]
    for number, owner in enumerate(batch.owners):
        places[owner].append(number)
    most = max(map(len, places), default=0)
    present = torch.tensor(
        [[at < len(own) for at in range(most)] for own in places], dtype=torch.bool, device=queries.device
    ).reshape(count, most)
    table = torch.tensor([own + [0] * (most - len(own)) for own in places], device=queries.device)
    table = table.reshape(count, most).long()
    if most == 0:
        return table, present, None
    return table, present, losses.own_scores(queries, negatives[table], groups)


@torch.no_grad()
def measure(model: RetrievalModel, trainer: ContrastTrainer) -> dict[str, float]:
    """NDCG of the validation queries over their own positives and negatives and those of all the others."""
    examples, settings = trainer.validation, trainer.validation_config
    if not examples or settings is None:
        return {}
    model.eval()
    documents = {
        side.key: (one, side)
        for one in examples
        for side in (one.positive, *one.negatives[: trainer.loss.negatives])
    }
    collator: Collator = trainer.data_collator
    rows_q = [collator.row(one, one.query, "query") for one in examples]
    rows_d = [collator.row(one, side, "document") for one, side in documents.values()]
    made_q = _encoded(model, trainer, rows_q, "query")
    made_d = _encoded(model, trainer, rows_d, "document")
    groups = sorted({trainer.loss.groups[0], trainer.loss.groups[-1]})
    keys = list(documents)
    out: dict[str, float] = {}
    for group, scores in zip(groups, losses.nested_scores(made_q, made_d, groups), strict=True):
        total = 0.0
        for one, row in zip(examples, scores, strict=True):
            ranked = [keys[place] for place in row.argsort(descending=True, stable=True).tolist()]
            total += ndcg(ranked, one.relevant & documents.keys(), settings.cutoff)
        out[f"ndcg_{group[0]}_{group[1]}"] = total / len(examples)
    model.train()
    return out


def _encoded(model: RetrievalModel, trainer: ContrastTrainer, rows: Sequence[TokenRow], side: str) -> Tensor:
    step = trainer.micro_batch
    parts = [_Part(tuple(rows[start : start + step]), side) for start in range(0, len(rows), step)]
    return torch.cat([trainer._encode(model, part) for part in parts])
