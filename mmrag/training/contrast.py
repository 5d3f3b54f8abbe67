"""Trainer of the contrastive stages: warm-up, hard negatives, fine-tuning with distillation.

A step of `ContrastTrainer`::

    examples -> pictures, tokens (collator) -> vectors of small parts, without a graph
             -> nested loss over all of them, positives gathered over processes
             -> the parts again with a graph, each with its part of the gradient (mmrag.training.grad_cache)

The stages differ in data and loss settings alone: no negatives (warm-up), mined ones (``mmrag mine``, ranks
50 to 100), judged ones with the judge's scores (`distil`).

Shapes: Q queries and as many positives of this process, D positives of all processes, N negatives of all
queries, K negatives per query, r_q and r_d rows, d width, G nested groups.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmrag.evaluation.metrics import ndcg
from mmrag.models.batch import TokenRow, collate
from mmrag.models.model import RetrievalModel
from mmrag.training import losses, ranks
from mmrag.training.config import LossConfig
from mmrag.training.contrast_batch import ContrastBatch, ContrastCollator
from mmrag.training.data import Example, Side
from mmrag.training.grad_cache import cached_backward
from mmrag.training.stage import StageTrainer

Group = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one side that are encoded together."""

    rows: tuple[TokenRow, ...]
    side: str


class ContrastTrainer(StageTrainer):
    """Trains a `RetrievalModel` by cached contrastive batches.

    Args:
        loss: settings.
        cutoff: of the nDCG of an evaluation.
        options: see `StageTrainer`.
    """

    def __init__(self, *, loss: LossConfig, cutoff: int = 5, **options: Any) -> None:  # noqa: ANN401
        self.loss = loss
        self.cutoff = cutoff
        super().__init__(**options)

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:  # noqa: ANN401
        """Run forward and backward pass of one batch, and return its loss, detached.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        model.train()
        batch: ContrastBatch = inputs["batch"]
        parts = self._split(batch.queries, "query")
        parts += self._split(batch.positives, "document") + self._split(batch.negatives, "document")
        loss = cached_backward(
            functools.partial(self._encode, model),
            parts,
            functools.partial(self._loss, batch, parts),
            device=self.args.device,
            backward=self.accelerator.backward,
            no_sync=functools.partial(ranks.without_step, self.accelerator, model),
        )  # ()
        self.check_finite(loss.item(), batch.names)
        return loss

    @torch.no_grad()
    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:  # noqa: ANN401
        """Return nDCG of the validation queries at the smallest and the largest budget.

        A query's documents are the positives and negatives of all validation examples. Every process
        computes the same.
        """
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        metrics = self._validate(model) if self.validation else {}
        model.train()
        return self.report(metrics, metric_key_prefix)

    def _split(self, rows: Sequence[TokenRow], side: str) -> list[_Part]:
        """Cut rows into parts of `micro_batch`."""
        step = self.micro_batch
        return [_Part(tuple(rows[start : start + step]), side) for start in range(0, len(rows), step)]

    def _encode(self, model: torch.nn.Module, part: _Part) -> Tensor:
        """Return the vectors of a part, ``(rows, r, d)`` in float32."""
        inner: RetrievalModel = self.accelerator.unwrap_model(model)
        count = max(group[part.side == "document"] for group in self.loss.groups)
        pad = inner.backbone.tokenizer.pad_token_id or 0
        batch = collate(part.rows, pad=pad, meta=inner.meta_count(part.side, count)).to(self.args.device)
        with self.compute_loss_context_manager():
            vectors: Tensor = model(batch, part.side, count)  # (rows, r, d)
        return vectors.float()

    def _loss(self, batch: ContrastBatch, parts: Sequence[_Part], vectors: Sequence[Tensor]) -> Tensor:
        """Return the loss of the vectors of all parts."""
        sides: dict[str, list[Tensor]] = {"query": [], "document": []}
        for part, rows in zip(parts, vectors, strict=True):
            sides[part.side].append(rows)
        queries = torch.cat(sides["query"])  # (Q, r_q, d)
        documents = torch.cat(sides["document"])  # (Q + N, r_d, d)
        positives, negatives = documents[: len(queries)], documents[len(queries) :]
        return contrastive_loss(queries, positives, negatives, batch, self.loss)

    def _validate(self, model: RetrievalModel) -> dict[str, float]:
        examples: list[Example] = self.validation
        documents = self._validation_documents()
        collator: ContrastCollator = self.data_collator
        queries = [collator.row(example, example.query, "query") for example in examples]
        rows = [collator.row(example, side, "document") for example, side in documents.values()]
        groups = sorted({self.loss.groups[0], self.loss.groups[-1]})
        scores = losses.nested_scores(
            self._encode_all(model, queries, "query"), self._encode_all(model, rows, "document"), groups
        )  # (G, Q, D)
        keys = list(documents)
        return {
            f"ndcg_{group[0]}_{group[1]}": self._mean_ndcg(table, keys)
            for group, table in zip(groups, scores, strict=True)
        }

    def _validation_documents(self) -> Mapping[str, tuple[Example, Side]]:
        """Return the documents of all validation examples by key, each with an example that has it."""
        return {
            side.key: (example, side)
            for example in self.validation
            for side in (example.positive, *example.negatives[: self.loss.negatives])
        }

    def _encode_all(self, model: RetrievalModel, rows: Sequence[TokenRow], side: str) -> Tensor:
        return torch.cat([self._encode(model, part) for part in self._split(rows, side)])  # (rows, r, d)

    def _mean_ndcg(self, scores: Tensor, keys: Sequence[str]) -> float:
        """Return the mean nDCG of the validation queries.

        Args:
            scores: ``(Q, D)``.
            keys: D keys of the documents.
        """
        orders = scores.argsort(descending=True, stable=True)  # (Q, D)
        values = [
            ndcg([keys[i] for i in order], example.relevant.intersection(keys), self.cutoff)
            for order, example in zip(orders.tolist(), self.validation, strict=True)
        ]
        return sum(values) / len(values)


def contrastive_loss(
    queries: Tensor, positives: Tensor, negatives: Tensor, batch: ContrastBatch, settings: LossConfig
) -> Tensor:
    """Return the nested loss of this process's queries: all positives, and each query's own negatives.

    Args:
        queries: ``(Q, r_q, d)``.
        positives: ``(Q, r_d, d)``.
        negatives: ``(N, r_d, d)``, in the order of `ContrastBatch.owners`.
        batch: says which vectors belong together.
        settings: temperature, groups, margin, distillation.
    """
    groups, count = settings.groups, len(queries)
    documents, keys = ranks.gather(positives), ranks.gather_keys(batch.keys)  # (D, r_d, d)
    local = torch.arange(count, device=queries.device)  # (Q,)
    targets = local + ranks.world()[0] * count  # (Q,)
    scores = losses.nested_scores(queries, documents, groups)  # (G, Q, D)
    positive = scores[:, local, targets]  # (G, Q)
    table, present = _table_of_negatives(batch.owners, count, queries.device)  # (Q, K)
    hard = losses.own_scores(queries, negatives[table], groups)  # (G, Q, K)
    may_count = torch.tensor(
        [[key not in relevant for key in keys] for relevant in batch.relevant], device=queries.device
    )  # (Q, D)
    if settings.margin is not None:
        may_count = may_count & ~losses.likely_relevant(
            scores, positive, groups, settings.margin
        )  # (G, Q, D)
        present = present & ~losses.likely_relevant(hard, positive, groups, settings.margin)  # (G, Q, K)
    loss = losses.contrast(
        scores, targets, hard, temperature=settings.temperature, allowed=may_count, allowed_own=present
    )  # ()
    if settings.distil > 0:
        candidates = torch.cat([positive[..., None], hard], -1)  # (G, Q, 1 + K)
        width = candidates.shape[-1]
        judge_scores = _table_of_scores(batch.judge_scores, width, queries.device)  # (Q, 1 + K)
        loss = loss + settings.distil * _distillation(candidates, judge_scores, settings)  # ()
    return loss


def _distillation(candidates: Tensor, judge_scores: Tensor, settings: LossConfig) -> Tensor:
    """Return the loss of candidates' scores ``(G, Q, 1 + K)`` against the judge's ``(Q, 1 + K)``."""
    if settings.distil_by == "ranks":
        return losses.rank_kl(
            candidates, judge_scores, temperature=settings.temperature, cutoffs=settings.cutoffs
        )  # ()
    return losses.distil(
        candidates,
        judge_scores,
        temperature=settings.temperature,
        judge_temperature=settings.judge_temperature,
    )  # ()


def _table_of_negatives(owners: Sequence[int], count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the positions of each query's negatives ``(Q, K)``, padded with 0, and where they are present.

    Args:
        owners: N positions of queries.
        count: Q.
        device: of the result.
    """
    positions: list[list[int]] = [[] for _ in range(count)]
    for number, owner in enumerate(owners):
        positions[owner].append(number)
    most = max(map(len, positions), default=0)
    rows_of_equal_length = [row + [0] * (most - len(row)) for row in positions]
    table = torch.tensor(rows_of_equal_length, dtype=torch.long, device=device).reshape(count, most)  # (Q, K)
    lengths = torch.tensor([len(row) for row in positions], device=device)  # (Q,)
    return table, torch.arange(most, device=device) < lengths[:, None]  # (Q, K)


def _table_of_scores(rows: Sequence[Sequence[float | None]], width: int, device: torch.device) -> Tensor:
    """Return scores as ``(Q, width)``, NaN where a document has no score."""
    no_score = float("nan")
    rows_of_equal_length = [
        [no_score if score is None else score for score in row] + [no_score] * (width - len(row))
        for row in rows
    ]
    return torch.tensor(rows_of_equal_length, device=device)  # (Q, width)
