"""mmrag-mini in torch: a bidirectional BERT over the content, and meta tokens that attend to content.

::

    [CLS] pieces [SEP]   positions 0 ... T-1, all attend to each other and to no meta token
    meta tokens          position 0 each

The states of content do not depend on the number of meta tokens, and the first r rows are the same whatever
their number, as in a causal model. ``located`` in config.json sets what a meta token attends to:

* ``true``, as it ships: itself and its part of the content (`mmrag.embedders.mini.located`); the first one
  all content. An input too short for that many parts has fewer rows. Here all inputs of a batch have equally
  many rows: the row of a missing part is row 0 again for a document, which changes no maximum, and 0 for a
  query, which adds nothing to a sum. A query's parts weigh `PART_WEIGHT` per level, so their rows are
  shorter than 1.
* ``false``: all content and the meta tokens up to itself, as in MetaEmbed.

This is the side for training and for GPUs. It reads text only, one window of it (`WINDOW` pieces); the
runtime reads pictures and long pages from the same weights without torch (`mmrag.embedders.mini`). Its
encoder and its files are those of `mmrag.models.mini_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmrag.embedders.mini.located import LEVELS, SMALLEST_PART, WINDOW, Part, parts_of
from mmrag.embedders.mini.quantise import unpack_weights
from mmrag.models.compression import Grid
from mmrag.models.mini_model import (
    MODEL_TYPE,
    WEIGHTS_FILE,
    MiniModel,
    load_tokenizer,
    read_model,
    read_tensors,
)
from mmrag.models.prompt import BERT, Prompts
from mmrag.models.text_only import NoPictures, TextReader

if TYPE_CHECKING:
    from mmrag.models.batch import Batch
    from mmrag.models.meta_tokens import MetaTokens

PLACEHOLDER = "[MASK]"
"""Placeholder of a visual token; no text gives it."""

QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
"""Instruction of queries, that of bge-small-en-v1.5, from which the encoder starts."""

START_SPREAD = 0.1
"""Distance of an untrained meta token from ``[CLS]``, in distances of vocabulary rows from their mean.
Located meta tokens are ``[CLS]`` itself."""

PART_WEIGHT = 0.25
"""Length that the rows of one level of a query share; that of the runtime."""

CONTENT, META = 1, 2
"""Values on the diagonal of the mask; 0 is padding."""

_TABLES = {"meta.query": "meta.query", "meta.document": "meta.document", "projection": "projection.weight"}


class MiniBackbone(TextReader):
    """mmrag-mini as a backbone of text."""

    model_type = MODEL_TYPE
    model_class = MiniModel
    turn = BERT
    title = "mmrag-mini in torch"
    advice = "Give its text (in a training file documents: text); mmrag.embedders.mini reads pictures."
    defaults = MappingProxyType(
        {"prompts": Prompts("", "", query_prefix=QUERY_PREFIX), "dim": 128, "query_first": False}
    )

    @classmethod
    def load_parts(cls, path: str, **options: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401  as in the base class
        """See `Backbone.load_parts`; the options are ``dtype`` and ``attn_implementation``.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is broken.
        """
        folder = Path(path)
        model = read_model(folder)
        model.load_weights(unpack_weights(read_tensors(folder / WEIGHTS_FILE)))
        if options.get("attn_implementation") is not None:
            model.set_attn_implementation(options["attn_implementation"])
        return model.to(options.get("dtype") or torch.float32), load_tokenizer(folder), NoPictures()

    @classmethod
    def own_tables(cls, folder: Path) -> dict[str, Tensor]:
        """See `Backbone.own_tables`."""
        tensors = read_tensors(folder / WEIGHTS_FILE)
        return {to: torch.from_numpy(tensors[name]) for name, to in _TABLES.items() if name in tensors}

    @property
    def hidden_size(self) -> int:
        """See `Backbone.hidden_size`."""
        return int(self.model.shape.hidden)

    @property
    def image_token_id(self) -> int:
        """See `Backbone.image_token_id`."""
        return int(self.tokenizer.convert_tokens_to_ids(PLACEHOLDER))

    @property
    def most_tokens(self) -> int | None:
        """See `Backbone.most_tokens`: one window and its two special tokens."""
        positions = int(self.model.shape.positions)
        return min(positions, WINDOW + 2) if self.model.located else positions

    def image_text(self, tokens: int) -> str:
        """See `Backbone.image_text`."""
        return PLACEHOLDER * tokens

    def attention_mask(self, batch: Batch, side: str) -> Tensor:
        """See `Backbone.attention_mask`; ``(B, T, T)``.

        Off the diagonal 1 if the token of the row attends to that of the column, else 0. On the diagonal
        `CONTENT`, `META` or 0 for padding.
        """
        tokens, meta = batch.attention_mask.bool(), batch.meta  # (B, T), (B, R)
        if meta is None:
            return _with_diagonal(tokens[:, None, :].expand(-1, tokens.shape[1], -1), tokens.long())
        kinds = tokens.long().scatter(1, meta, META)  # (B, T)
        is_content, is_meta = kinds == CONTENT, kinds == META
        attends = is_content[:, None, :].expand(-1, kinds.shape[1], -1).clone()  # (B, T, T)
        if not self.model.located:
            order = torch.arange(kinds.shape[1], device=kinds.device)
            attends |= is_meta[:, :, None] & is_meta[:, None, :] & (order[None, :] <= order[:, None])
            return _with_diagonal(attends, kinds)
        for number, (first, parts) in enumerate(self._parts(batch, side)):
            for row, part in zip(meta[number].tolist(), parts, strict=False):
                if part.level:
                    attends[number, row] = False
                    attends[number, row, first + part.start : first + part.end] = True
        return _with_diagonal(attends, kinds)

    def weigh_rows(self, vectors: Tensor, batch: Batch, side: str) -> Tensor:
        """See `Backbone.weigh_rows`: rows of missing parts, and weights of a query's parts."""
        if not self.model.located or batch.meta is None:
            return vectors
        count = vectors.shape[1]
        inputs = [parts[:count] for _, parts in self._parts(batch, side)]
        if side == "document":
            rows = [[row if row < len(parts) else 0 for row in range(count)] for parts in inputs]
            index = torch.tensor(rows, device=vectors.device)  # (B, R)
            return vectors.gather(1, index[..., None].expand_as(vectors))
        weights = [
            [PART_WEIGHT / LEVELS[part.level] if part.level else 1.0 for part in parts]
            + [0.0] * (count - len(parts))
            for parts in inputs
        ]  # (B, R)
        return vectors * torch.tensor(weights, device=vectors.device)[..., None]

    def _parts(self, batch: Batch, side: str) -> list[tuple[int, tuple[Part, ...]]]:
        """Return, per input, the position of the first piece of its content, and its parts."""
        count = 0 if batch.meta is None else batch.meta.shape[1]
        smallest = 1 if side == "query" else SMALLEST_PART
        parts = []
        for ids, last in zip(batch.input_ids.tolist(), batch.content.tolist(), strict=True):
            first = 1
            if side == "query" and tuple(ids[1 : 1 + len(self._prefix)]) == self._prefix:
                first += len(self._prefix)
            parts.append((first, _parts_of(max(last - first, 1), count, smallest)))
        return parts

    @cached_property
    def _prefix(self) -> tuple[int, ...]:
        """Return the pieces of the instruction, which only a query's first row attends to."""
        return tuple(self.tokenizer(QUERY_PREFIX, add_special_tokens=False).input_ids)

    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """See `Backbone.position_ids`: content is counted, meta tokens have position 0."""
        content = (attention_mask.diagonal(dim1=1, dim2=2) == CONTENT).long()  # (B, T)
        return (content.cumsum(1) - 1) * content

    def language_options(self, mask: Tensor, visual: Tensor, deep: Sequence[Tensor]) -> dict[str, Any]:
        """See `Backbone.language_options`; not causal, see the module docstring."""
        del visual, deep
        dtype = self.model.get_input_embeddings().weight.dtype
        return {"attention_mask": _additive_mask(mask, dtype), "use_cache": False}

    def start_tables(self, meta: MetaTokens) -> None:
        """See `Backbone.start_tables`: ``[CLS]``, whose last state the encoder was trained for.

        Located meta tokens differ by their parts; others, except the first, lean a little towards one piece
        each.
        """
        words = self.model.get_input_embeddings().weight.detach().float()  # (V, D)
        summary = words[self.tokenizer.convert_tokens_to_ids("[CLS]")]
        meta.start_from(words)
        with torch.no_grad():
            for table in (meta.query, meta.document):
                lean = 0.0 if self.model.located else START_SPREAD
                table.copy_(summary + lean * (table - 2 * words.mean(0)))
                table[0] = summary


@lru_cache(maxsize=4096)
def _parts_of(length: int, most: int, smallest: int) -> tuple[Part, ...]:
    return tuple(parts_of(length, most=most, smallest=smallest))


def _with_diagonal(attends: Tensor, kinds: Tensor) -> Tensor:
    mask = attends.long()
    mask.diagonal(dim1=1, dim2=2).copy_(kinds)
    return mask


def _additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``(B, 1, T, T)`` to be added to attention logits: 0, or the least number."""
    zeros = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return zeros.masked_fill_(mask == 0, torch.finfo(dtype).min)[:, None]
