"""Backbone, compression, meta tokens and heads as one differentiable model.

The whole forward pass::

    ids -> embeddings -> visual tokens over the placeholders -> meta tokens over the last places
        -> language model (causal) -> states of the last places -> projection -> L2 norm

Sequences are padded on the right: a row's tokens have the same positions alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmrag.models.backbone import Backbone
from mmrag.models.batch import Batch, VisionInput
from mmrag.models.compression import Compression
from mmrag.models.meta_tokens import MetaTokens, check_side
from mmrag.types import Budget


class RetrievalModel(nn.Module):
    """Backbone, compression, meta tokens and projection: token batches in, vectors out.

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
        """Compute the last states ``(B, T, D)`` of the whole sequence.

        Args:
            batch: on the model's device.
            meta_rows: ``(R, D)`` embeddings of the meta tokens.
            side: ``"query"`` or ``"document"``; a causal model reads both alike.

        Raises:
            ValueError: numbers of placeholders and visual tokens, or of meta tokens and positions, differ.
        """
        embeds = self.backbone.embed_tokens(batch.input_ids)  # (B, T, D)
        visual = batch.input_ids == self.backbone.image_token_id  # (B, T)
        deep: tuple[Tensor, ...] = ()
        if batch.images or visual.any():
            embeds, deep = self._write_images(embeds, visual, batch.images)  # (B, T, D)
        if meta_rows is not None:
            embeds = _write_meta_rows(embeds, batch.meta, meta_rows)  # (B, T, D)
        grids = [g for image in batch.images for g in self.backbone.compressed_grids(image, self.compression)]
        mask = self.backbone.attention_mask(batch, side)
        positions = self.backbone.position_ids(batch.input_ids, mask, grids)
        return self.backbone.language(embeds, mask, positions, visual, deep)

    def _write_images(
        self, embeds: Tensor, visual: Tensor, images: Sequence[VisionInput]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Write visual tokens at their placeholders; return ``(B, T, D)`` and `VisualTokens.deep`."""
        vision = self.backbone.encode_images(images, self.compression) if images else None
        _check_count(int(visual.sum()), len(vision.tokens) if vision else 0)
        if vision is None:
            return embeds, ()
        return embeds.masked_scatter(visual[..., None], vision.tokens.to(embeds)), vision.deep

    def forward(self, batch: Batch, side: str, rows: int = 1) -> Tensor:
        """Compute vectors ``(B, rows, dim)``, float32, L2-normalised and weighed by `Backbone.weigh_rows`.

        Args:
            batch: made with ``meta=model.meta_count(side, rows)``; one without room for meta tokens gives
                the single vector, the state of the last content token.
            side: ``"query"`` or ``"document"``.
            rows: vectors per input; 1 for the single-vector head.

        Raises:
            ValueError: an unknown side, more rows than there are meta tokens, or a batch made for another
                compression, side or number of rows.
        """
        check_side(side)
        if self.meta is None or batch.meta is None:
            if rows != 1:
                raise ValueError(f"a batch without meta tokens gives one vector per row, got rows={rows}.")
            last = _states_at(self.states(batch), batch.content[:, None])  # (B, 1, D)
            return normalize(last[..., : self.dim].float(), dim=-1)
        states = self.states(batch, self.meta.rows(side, rows), side)  # (B, T, D)
        vectors = _states_at(states, batch.meta[:, -rows:])  # (B, rows, D)
        if self.projection is not None:
            vectors = self.projection(vectors.to(self.projection.weight.dtype))  # (B, rows, dim)
        return self.backbone.weigh_rows(normalize(vectors.float(), dim=-1), batch, side)

    def meta_count(self, side: str, rows: int) -> int:
        """Return the number of meta tokens that a batch must leave room for."""
        return 0 if self.meta is None else self.meta.rows(side, rows).shape[0]

    @property
    def budget(self) -> Budget:
        """Return the most vectors per query and per document."""
        return Budget(1, 1) if self.meta is None else self.meta.budget


def _states_at(states: Tensor, positions: Tensor) -> Tensor:
    """Pick the states ``(B, n, D)`` at positions ``(B, n)`` of ``(B, T, D)``."""
    return states[torch.arange(len(states), device=states.device)[:, None], positions]


def _write_meta_rows(embeds: Tensor, positions: Tensor | None, rows: Tensor) -> Tensor:
    """Write the meta tokens' rows ``(R, D)`` at their positions, the same for every input of the batch."""
    room = 0 if positions is None else positions.shape[1]
    if positions is None or room != len(rows):
        raise ValueError(
            f"a batch must have room for {len(rows)} meta tokens, got {room}. "
            "Collate it with meta=model.meta_count(side, rows)."
        )
    index = torch.arange(len(embeds), device=embeds.device)[:, None]  # (B, 1)
    return embeds.index_put((index, positions), rows.to(embeds).expand(len(embeds), -1, -1))


def _check_count(placeholders: int, features: int) -> None:
    if placeholders != features:
        raise ValueError(
            f"placeholders and visual tokens must be as many, got {placeholders} and {features}. "
            "The rows were made for another compression, or a text carries the image token."
        )
