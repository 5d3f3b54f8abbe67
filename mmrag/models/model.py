"""Backbone, compression, meta tokens and heads as one differentiable model.

The whole forward pass::

    ids -> embeddings -> visual tokens over the placeholders -> meta tokens over the last places
        -> language model (causal) -> states of the last places -> projection -> L2 norm

Sequences are padded on the right: a row's tokens have the same positions alone and in a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmrag.models.backbone import Backbone
from mmrag.models.batch import Batch
from mmrag.models.compression import Compression
from mmrag.models.meta_tokens import MetaTokens, check_side
from mmrag.types import Budget


class RetrievalModel(nn.Module):
    """What turns token batches into vectors.

    Args:
        backbone: the multimodal language model.
        compression: of the visual tokens.
        meta: the tables; None for a model with the single-vector head alone.
        dim: width of a vector: a projection for the multi-vector head, a Matryoshka prefix for the single
            vector. None: the width of the states.

    Raises:
        ValueError: a single vector wider than the states.
    """

    def __init__(
        self, backbone: Backbone, compression: Compression, meta: MetaTokens | None, dim: int | None = None
    ) -> None:
        super().__init__()
        hidden = backbone.hidden_size
        if dim is not None and (dim < 1 or (meta is None and dim > hidden)):
            raise ValueError(f"dim must be 1 to {hidden} for this model, got {dim}.")
        self.backbone = backbone
        self.compression = compression
        self.meta = meta
        self.dim = dim or hidden
        self.projection = nn.Linear(hidden, self.dim, bias=False) if meta is not None and dim else None

    def states(self, batch: Batch, meta_rows: Tensor | None = None, side: str = "document") -> Tensor:
        """Last states ``(batch, length, hidden)`` of the whole sequence.

        Args:
            batch: on the model's device.
            meta_rows: ``(tokens, hidden)`` embeddings for the places of the meta tokens.
            side: ``"query"`` or ``"document"``; a causal model reads both alike.

        Raises:
            ValueError: placeholders and visual tokens, or places and meta tokens, are not as many.
        """
        embeds = self.backbone.embed_tokens(batch.input_ids)
        visual = batch.input_ids == self.backbone.image_token_id
        deep: tuple[Tensor, ...] = ()
        if batch.images or visual.any():
            made = self.backbone.encode_images(batch.images, self.compression) if batch.images else None
            _check_count(int(visual.sum()), len(made.tokens) if made else 0)
            if made:
                embeds = embeds.masked_scatter(visual[..., None], made.tokens.to(embeds))
                deep = made.deep
        if meta_rows is not None:
            embeds = _place(embeds, batch.meta, meta_rows)
        grids = [g for image in batch.images for g in self.backbone.compressed_grids(image, self.compression)]
        mask = self.backbone.marked(batch, side)
        positions = self.backbone.position_ids(batch.input_ids, mask, grids)
        return self.backbone.language(embeds, mask, positions, visual, deep)

    def forward(self, batch: Batch, side: str, rows: int = 1) -> Tensor:
        """Vectors ``(batch, rows, dim)``, L2-normalised but for `Backbone.finished`, float32.

        Args:
            batch: made with ``meta=model.meta_count(side, rows)``; one without room for meta tokens gives
                the single vector, the state of the last content token.
            side: ``"query"`` or ``"document"``.
            rows: vectors a row; 1 for the single-vector head.

        Raises:
            ValueError: an unknown side, more rows than there are meta tokens, or a batch made for another
                compression, side or number of rows.
        """
        check_side(side)
        if self.meta is None or batch.meta is None:
            if rows != 1:
                raise ValueError(f"a batch without meta tokens gives one vector a row, got rows={rows}.")
            return normalize(_at(self.states(batch), batch.content[:, None])[..., : self.dim].float(), dim=-1)
        vectors = _at(self.states(batch, self.meta.rows(side, rows), side), batch.meta[:, -rows:])
        if self.projection is not None:
            vectors = self.projection(vectors.to(self.projection.weight.dtype))
        return self.backbone.finished(normalize(vectors.float(), dim=-1), batch, side)

    def meta_count(self, side: str, rows: int) -> int:
        """Meta tokens that a batch must leave room for."""
        return 0 if self.meta is None else self.meta.rows(side, rows).shape[0]

    @property
    def budget(self) -> Budget:
        """Most vectors a side."""
        return Budget(1, 1) if self.meta is None else self.meta.budget


def _at(states: Tensor, places: Tensor) -> Tensor:
    """States ``(batch, length, hidden)`` at ``(batch, n)`` places of their rows."""
    return states[torch.arange(len(states), device=states.device)[:, None], places]


def _place(embeds: Tensor, places: Tensor | None, rows: Tensor) -> Tensor:
    """Embeddings with the meta tokens' rows at their places, the same for every input of the batch."""
    room = 0 if places is None else places.shape[1]
    if places is None or room != len(rows):
        raise ValueError(
            f"a batch must have room for {len(rows)} meta tokens, got {room}. "
            "Collate it with meta=model.meta_count(side, rows)."
        )
    index = torch.arange(len(embeds), device=embeds.device)[:, None]
    return embeds.index_put((index, places), rows.to(embeds).expand(len(embeds), -1, -1))


def _check_count(placeholders: int, features: int) -> None:
    if placeholders != features:
        raise ValueError(
            f"placeholders and visual tokens must be as many, got {placeholders} and {features}. "
            "The rows were made for another compression, or a text carries the image token."
        )
