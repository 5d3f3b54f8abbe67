"""Generative training: model with language-modelling head over compressed pictures, label positions, loss.

The forward pass is `mmrag.models.model.RetrievalModel.states`, then the stock model's head at the label
positions alone: logits of a whole page of text over 150,000 tokens would be the largest tensor of the step.
At compression 1 the logits are the stock model's.

Shapes: B rows of a batch, L tokens, H width of the states, P label positions, V vocabulary, O options.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from mmrag.models import checkpoint, device
from mmrag.models.backbone import Backbone
from mmrag.models.backbone import load_model as load_transformers
from mmrag.models.batch import Batch, TokenRow, collate
from mmrag.models.compression import Compression
from mmrag.models.model import RetrievalModel
from mmrag.models.registry import backbone_for
from mmrag.training import losses
from mmrag.training.config import ModelConfig
from mmrag.training.generative.chat import read_template
from mmrag.training.model import COMPRESSION_KEY, freeze, merge_lora, warn_of_compression

logger = logging.getLogger(__name__)

RETRIEVER_FILES = frozenset({checkpoint.CONFIG_FILE, checkpoint.TABLES_FILE, "README.md", "curves.png"})
"""Files of a retrieval checkpoint that do not belong to the stock model."""

SIDE_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")


@dataclass(frozen=True, slots=True)
class Task:
    """One sequence with its labels.

    Attributes:
        name: of the example, for messages.
        row: tokens and pictures.
        kind: ``"words"``: predict the next token among the whole vocabulary; ``"pointwise"`` and
            ``"listwise"``: choose one of a few tokens at a single position.
        positions: positions whose next token is predicted.
        labels: id of the next token per position; or the index of the right option.
        options: ids to choose from; for ``"pointwise"`` no and yes, in this order.
    """

    name: str
    row: TokenRow
    kind: str
    positions: tuple[int, ...]
    labels: tuple[int, ...]
    options: tuple[int, ...] = ()


class GenerativeModel(nn.Module):
    """A stock ``...ForConditionalGeneration`` whose inputs go through a `Backbone`, to compress pictures.

    Args:
        stock: the stock model; the backbone's model is its inner one.
        reader: backbone and compression, without meta tokens.
    """

    def __init__(self, stock: Any, reader: RetrievalModel) -> None:  # noqa: ANN401  transformers'
        super().__init__()
        self.reader = reader
        self.head = stock.get_output_embeddings()
        self._stock = (stock,)  # in a tuple, so that its weights are not listed twice

    @property
    def backbone(self) -> Any:  # noqa: ANN401  a `Backbone`, which nn.Module would type as Tensor
        """Return the adapter of the model's family."""
        return self.reader.backbone

    @property
    def stock(self) -> Any:  # noqa: ANN401  transformers'
        """Return the stock model, which shares all weights."""
        return self._stock[0]

    def forward(self, batch: Batch, rows: Tensor, positions: Tensor) -> Tensor:
        """Return the logits ``(P, V)`` of the tokens that follow P positions.

        Args:
            batch: without meta tokens, padded on the right.
            rows: ``(P,)``, rows of the batch.
            positions: ``(P,)``, positions in these rows.
        """
        states = self.reader.states(batch)  # (B, L, H)
        logits: Tensor = self.head(states[rows, positions])  # (P, V)
        return logits


def load_generative(config: ModelConfig) -> tuple[GenerativeModel, Path]:
    """Load the model of a run on the CPU, and freeze what is not trained; return it with its folder.

    Raises:
        FileNotFoundError, ValueError: no checkpoint of a known family, or one without a language-modelling
            head, such as a finished retrieval model.
    """
    folder = device.resolve_folder(config.name)
    family = backbone_for(checkpoint.read_model_type(folder))
    checkpoint.check_weights(folder)
    warn_of_compression(folder, config.compression)
    stock = _load_stock(family, folder, config)
    image_processor = family.image_processor_class.from_pretrained(str(folder), local_files_only=True)
    backbone = family(stock.model, _load_tokenizer(folder), image_processor)
    reader = RetrievalModel(backbone, Compression(config.compression), None)
    model = GenerativeModel(stock, reader)
    freeze(reader, config)
    model.head.requires_grad_(config.lora is None)
    if config.lora is None:  # a head that is tied to the embeddings is one tensor with them
        stock.tie_weights()
    return model, folder


def _load_stock(family: type[Backbone], folder: Path, config: ModelConfig) -> Any:  # noqa: ANN401  transformers'
    """Load the model with its language-modelling head."""
    options: dict[str, Any] = {"dtype": getattr(torch, config.dtype), "local_files_only": True}
    if config.attention is not None:
        options["attn_implementation"] = config.attention
    return load_transformers(getattr(transformers, family.stock_class), str(folder), **options)


def _load_tokenizer(folder: Path) -> Any:  # noqa: ANN401  transformers'
    """Load the tokenizer with its chat template, which may be in a file of its own."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if not tokenizer.chat_template:
        tokenizer.chat_template = read_template(folder)
    return tokenizer


def write_stock(model: GenerativeModel, source: Path, folder: Path) -> None:
    """Write the finished model as a stock directory, which a server and any stage can load.

    Adapters are merged into the model. Files of tokenizer and processors are copied from `source`. The
    folder appears as a whole: an older one is kept until everything is written.

    Args:
        model: the finished model.
        source: the folder that it was loaded from.
        folder: where to write.
    """
    merge_lora(model.backbone.language_model)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    setattr(model.stock.config, COMPRESSION_KEY, model.reader.compression.factor)
    model.stock.save_pretrained(part)
    _copy_side_files(source, part)
    tokenizer = model.backbone.tokenizer
    if read_template(part) is None and '"chat_template"' not in _read(part / "tokenizer_config.json"):
        (part / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _copy_side_files(source: Path, folder: Path) -> None:
    """Copy files of tokenizer, processors and licence that `folder` lacks."""
    for file in (file for pattern in SIDE_FILES for file in sorted(source.glob(pattern))):
        is_weight_index = file.name.endswith(".index.json")
        if file.name not in RETRIEVER_FILES and not is_weight_index and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


# ---- loss --------------------------------------------------------------------------------------------


def logits_of(model: nn.Module, tasks: Sequence[Task], *, pad: int, device: torch.device) -> list[Tensor]:
    """Return the logits of each task, ``(positions, V)``."""
    batch = collate([task.row for task in tasks], pad=pad).to(device)
    rows = torch.tensor(
        [row for row, task in enumerate(tasks) for _ in task.positions], device=device
    )  # (P,)
    positions = torch.tensor([at for task in tasks for at in task.positions], device=device)  # (P,)
    logits: Tensor = model(batch, rows, positions)  # (P, V)
    return list(torch.split(logits, [len(task.positions) for task in tasks]))


def loss_sums(logits: Sequence[Tensor], tasks: Sequence[Task]) -> dict[str, Tensor]:
    """Return the sum of the losses per kind; kinds without a task are absent.

    Args:
        logits: of each task, as `logits_of` returns them.
        tasks: the tasks.
    """
    by_kind: dict[str, list[tuple[Tensor, Task]]] = {}
    for pair in zip(logits, tasks, strict=True):
        by_kind.setdefault(pair[1].kind, []).append(pair)
    return {kind: LOSSES[kind](by_kind[kind]) for kind in KINDS if kind in by_kind}


def _words_loss(pairs: Sequence[tuple[Tensor, Task]]) -> Tensor:
    logits = torch.cat([logits for logits, _ in pairs]).float()  # (P, V)
    labels = torch.tensor([id for _, task in pairs for id in task.labels], device=logits.device)  # (P,)
    return cross_entropy(logits, labels, reduction="sum")  # ()


def _pointwise_loss(pairs: Sequence[tuple[Tensor, Task]]) -> Tensor:
    logits = torch.stack([logits[0, list(task.options)] for logits, task in pairs])  # (N, 2): no, yes
    labels = torch.tensor([task.labels[0] for _, task in pairs], device=logits.device)  # (N,)
    return losses.pointwise(logits[:, 1], logits[:, 0], labels) * len(pairs)  # ()


def _listwise_loss(pairs: Sequence[tuple[Tensor, Task]]) -> Tensor:
    rows = [logits[0, list(task.options)] for logits, task in pairs]  # (O,) each
    logits = pad_sequence(rows, batch_first=True)  # (N, O)
    lengths = torch.tensor([len(row) for row in rows], device=logits.device)  # (N,)
    present = torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]  # (N, O)
    labels = torch.tensor([task.labels[0] for _, task in pairs], device=logits.device)  # (N,)
    return losses.listwise(logits, labels, present) * len(pairs)  # ()


LOSSES = {"words": _words_loss, "pointwise": _pointwise_loss, "listwise": _listwise_loss}
KINDS = tuple(LOSSES)


def counts_of(tasks: Sequence[Task]) -> dict[str, int]:
    """Return the number of labels per kind, by which its sum of losses is divided."""
    counts = dict.fromkeys(KINDS, 0)
    for task in tasks:
        counts[task.kind] += len(task.positions)
    return counts


def weighted_loss(
    sums: Mapping[str, Tensor], counts: Mapping[str, float], weights: Mapping[str, float]
) -> Tensor:
    """Return the weighted sum of the mean losses of the kinds.

    Args:
        sums: of the losses per kind.
        counts: of the labels per kind.
        weights: per kind; 1 for kinds without a weight.
    """
    return torch.stack(
        [weights.get(kind, 1.0) * total / max(counts[kind], 1) for kind, total in sums.items()]
    ).sum()  # ()
