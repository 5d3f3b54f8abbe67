"""Inputs of a model: images as their vision encoder takes them, token rows, padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmrag.models.compression import Grid


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One input, ready for a batch.

    Attributes:
        ids: token ids of the content with all image placeholders in place, without meta tokens.
        images: in the order of their placeholders.
    """

    ids: tuple[int, ...]
    images: tuple[VisionInput, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded to one length.

    Attributes:
        input_ids, attention_mask: ``(batch, length)``; places of meta tokens hold `pad` ids and mask 1.
        content: ``(batch,)``, place of the last content token.
        meta: ``(batch, tokens)``, places of the meta tokens; None for the single-vector head.
        images: of all rows, in order.
    """

    input_ids: Tensor
    attention_mask: Tensor
    content: Tensor
    meta: Tensor | None
    images: tuple[VisionInput, ...]

    def to(self, device: torch.device) -> Batch:
        """The same on another device; pixels stay, the backbone moves them."""
        meta = None if self.meta is None else self.meta.to(device)
        return Batch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.content.to(device),
            meta,
            self.images,
        )


def collate(rows: Sequence[TokenRow], *, pad: int, meta: int = 0) -> Batch:
    """Rows as one batch with room for `meta` meta tokens after each row's content.

    Raises:
        ValueError: no rows, or a row without tokens.
    """
    if not rows or any(not row.ids for row in rows):
        raise ValueError("a batch needs rows and every row tokens, got an empty one.")
    length = max(len(row.ids) for row in rows) + meta
    ids = torch.full((len(rows), length), pad)  # (B, T)
    mask = torch.zeros((len(rows), length), dtype=torch.long)  # (B, T)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        mask[number, : len(row.ids) + meta] = 1
    last = torch.tensor([len(row.ids) - 1 for row in rows])  # (B,)
    positions = last[:, None] + 1 + torch.arange(meta) if meta else None  # (B, R)
    return Batch(ids, mask, last, positions, tuple(image for row in rows for image in row.images))


@dataclass(frozen=True, slots=True)
class VisionInput:
    """One image as its vision encoder takes it.

    Attributes:
        pixels: float32 on the CPU; ``(patches, values)`` for the Qwen families, ``(tiles, 3, side, side)``
            for InternVL3.
        grids: the encoder's output grid in features, one an image for Qwen, one a tile for InternVL3.
    """

    pixels: Tensor
    grids: tuple[Grid, ...]


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """What the connector made of all images of a batch, in order.

    Attributes:
        tokens: ``(n, hidden)``, to be written over n placeholders.
        deep: DeepStack: ``(n, hidden)`` each, added to the states of the same positions after the first,
            second, ... layer of the language model; empty for families without.
    """

    tokens: Tensor
    deep: tuple[Tensor, ...] = ()
