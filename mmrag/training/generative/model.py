"""A model with its language-modelling head over compressed pictures, what it learns at which place, the loss.

The forward pass is `mmrag.models.model.RetrievalModel.states`, then the head of the stock class at the places
that are learnt, and only there: logits of a whole page of text over 150,000 words would be the largest tensor
of the step. At compression 1 the logits are the stock model's.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmrag.models import checkpoint, device
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

KINDS = ("words", "pointwise", "listwise")

OURS = frozenset({checkpoint.CONFIG_FILE, checkpoint.TABLES_FILE, "README.md", "curves.png"})
"""Files of a checkpoint of ours that do not belong to the stock model."""

SIDE_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")


@dataclass(frozen=True, slots=True)
class Task:
    """One sequence, and what is learnt at some of its places.

    Attributes:
        name: for messages.
        row: tokens and pictures.
        kind: ``"words"``: the next token, out of the whole vocabulary; ``"pointwise"`` and ``"listwise"``:
            one of a few tokens at the one place, the right one known by its number.
        at: places whose next token is learnt.
        right: the id of the next token at each place; or the number of the right option.
        options: ids that are compared; of ``"pointwise"`` no and yes, in this order.
    """

    name: str
    row: TokenRow
    kind: str
    at: tuple[int, ...]
    right: tuple[int, ...]
    options: tuple[int, ...] = ()


class GenerativeModel(nn.Module):
    """A stock ``...ForConditionalGeneration`` read through a `Backbone`, so that pictures may be compressed.

    Args:
        whole: the stock model; the backbone's model is its inner one.
        reader: backbone and compression, without meta tokens.
    """

    def __init__(self, whole: Any, reader: RetrievalModel) -> None:  # noqa: ANN401  transformers'
        super().__init__()
        self.reader = reader
        self.head = whole.get_output_embeddings()
        self._whole = (whole,)  # in a tuple, so that its weights are not listed twice

    @property
    def backbone(self) -> Any:  # noqa: ANN401  a `Backbone`, which nn.Module would type as Tensor
        """The adapter of its family."""
        return self.reader.backbone

    @property
    def whole(self) -> Any:  # noqa: ANN401  transformers'
        """The stock model, which shares all weights."""
        return self._whole[0]

    def forward(self, batch: Batch, rows: Tensor, at: Tensor) -> Tensor:
        """Logits ``(n, vocabulary)`` after the tokens at n places.

        Args:
            batch: made without meta tokens.
            rows: ``(n,)``, rows of the batch.
            at: ``(n,)``, places in them, with right padding.
        """
        states = self.reader.states(batch)
        logits: Tensor = self.head(states[rows, at])
        return logits


def load_generative(config: ModelConfig) -> tuple[GenerativeModel, Path]:
    """The model of a run with the right weights frozen, on the CPU, and the folder that it is from.

    Raises:
        FileNotFoundError, ValueError: no checkpoint of a known family, or one without the language-modelling
            head, as a finished retrieval model is.
    """
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    folder = device.resolve_folder(config.name)
    family = backbone_for(checkpoint.read_model_type(folder))
    checkpoint.check_weights(folder)
    warn_of_compression(folder, config.compression)
    options: dict[str, Any] = {"dtype": getattr(torch, config.dtype), "local_files_only": True}
    if config.attention is not None:
        options["attn_implementation"] = config.attention
    whole = load_transformers(AutoModelForImageTextToText, str(folder), **options)
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if not tokenizer.chat_template:
        tokenizer.chat_template = read_template(folder)
    image_processor = family.image_processor_class.from_pretrained(str(folder), local_files_only=True)
    reader = RetrievalModel(
        family(whole.model, tokenizer, image_processor), Compression(config.compression), None
    )
    model = GenerativeModel(whole, reader)
    freeze(reader, config)
    model.head.requires_grad_(config.lora is None)
    if config.lora is None:  # a head that is tied to the embeddings is one tensor with them
        whole.tie_weights()
    return model, folder


def write_stock(model: GenerativeModel, source: Path, folder: Path) -> None:
    """The finished model as the stock directory it came from: what a server, and any stage, loads.

    Adapters are merged into the model. Tokenizer and processors are the source's own files; nothing of them
    was trained. Written beside its place, then moved: what was there stays whole until all is written.
    """
    merge_lora(model.backbone.model.language_model)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    setattr(model.whole.config, COMPRESSION_KEY, model.reader.compression.factor)
    model.whole.save_pretrained(part)
    for pattern in SIDE_FILES:
        for file in sorted(source.glob(pattern)):
            index = file.name.endswith(".index.json")
            if file.name not in OURS and not index and not (part / file.name).exists():
                shutil.copyfile(file, part / file.name)
    tokenizer = model.backbone.tokenizer
    if read_template(part) is None and '"chat_template"' not in _read(part / "tokenizer_config.json"):
        (part / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


# ------------------------------------------------------------------------------------------- loss


def logits_of(model: nn.Module, tasks: Sequence[Task], *, pad: int, device: torch.device) -> list[Tensor]:
    """Logits ``(places, vocabulary)`` of each task."""
    batch = collate([task.row for task in tasks], pad=pad).to(device)
    rows = torch.tensor([number for number, task in enumerate(tasks) for _ in task.at], device=device)
    at = torch.tensor([place for task in tasks for place in task.at], device=device)
    logits: Tensor = model(batch, rows, at)
    return list(torch.split(logits, [len(task.at) for task in tasks]))


def loss_sums(logits: Sequence[Tensor], tasks: Sequence[Task]) -> dict[str, Tensor]:
    """The sum of the losses of all tasks of a kind; kinds without a task are not there."""
    sums: dict[str, Tensor] = {}
    words = [place for place, task in enumerate(tasks) if task.kind == "words"]
    if words:
        made = torch.cat([logits[place] for place in words]).float()
        right = torch.tensor([i for place in words for i in tasks[place].right], device=made.device)
        sums["words"] = cross_entropy(made, right, reduction="sum")
    alone = [place for place, task in enumerate(tasks) if task.kind == "pointwise"]
    if alone:
        pairs = torch.stack([logits[place][0, list(tasks[place].options)] for place in alone])
        right = torch.tensor([tasks[place].right[0] for place in alone], device=pairs.device)
        sums["pointwise"] = losses.pointwise(pairs[:, 1], pairs[:, 0], right) * len(alone)
    lists = [place for place, task in enumerate(tasks) if task.kind == "listwise"]
    if lists:
        most = max(len(tasks[place].options) for place in lists)
        rows, present = [], []
        for place in lists:
            options = list(tasks[place].options)
            missing = most - len(options)
            rows.append(logits[place][0, options + options[:1] * missing])
            present.append([True] * len(options) + [False] * missing)
        made = torch.stack(rows)
        right = torch.tensor([tasks[place].right[0] for place in lists], device=made.device)
        there = torch.tensor(present, device=made.device)
        sums["listwise"] = losses.listwise(made, right, there) * len(lists)
    return sums


def counts_of(tasks: Sequence[Task]) -> dict[str, int]:
    """What each kind's sum is divided by: tokens of words, judgements of the others."""
    counts = dict.fromkeys(KINDS, 0)
    for task in tasks:
        counts[task.kind] += len(task.at)
    return counts


def weighed(sums: Mapping[str, Tensor], counts: Mapping[str, float], weights: Mapping[str, float]) -> Tensor:
    """Means of the kinds, weighed and added up."""
    return torch.stack(
        [weights.get(kind, 1.0) * total / max(counts[kind], 1) for kind, total in sums.items()]
    ).sum()
