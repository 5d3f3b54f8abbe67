"""Inputs of a model: images as their vision encoder takes them, token rows, padded batches.

Letters of shapes in this room: B inputs of a batch, T tokens, D width of states or vectors, R meta tokens,
N visual tokens or images, H and W a grid of vision features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmrag.models.compression import Grid

if TYPE_CHECKING:
    from PIL.Image import Image


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
        input_ids, attention_mask: ``(B, T)``; at meta tokens the id is padding and the mask is 1.
        content: ``(B,)``, position of the last content token.
        meta: ``(B, R)``, positions of the meta tokens; None for the single-vector head.
        images: of all rows, in order.
    """

    input_ids: Tensor
    attention_mask: Tensor
    content: Tensor
    meta: Tensor | None
    images: tuple[VisionInput, ...]

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to another device; pixels stay, the backbone moves them."""
        meta = None if self.meta is None else self.meta.to(device)
        return Batch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.content.to(device),
            meta,
            self.images,
        )


def collate(rows: Sequence[TokenRow], *, pad: int, meta: int = 0) -> Batch:
    """Pad rows on the right to one batch with room for `meta` meta tokens after each row's content.

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
        grids: the encoder's output grid in features, one per image for Qwen, one per tile for InternVL3.
    """

    pixels: Tensor
    grids: tuple[Grid, ...]


@dataclass(frozen=True, slots=True)
class EngineImage:
    """An image for a serving engine, which makes its pixels itself.

    Attributes:
        image: as the engine's image processor takes it.
        grids: of features, that it will give before compression.
        options: of that image processor, the same for all images of a model.
    """

    image: Image
    grids: tuple[Grid, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """The connector's output for all images of a batch, in order.

    Attributes:
        tokens: ``(N, D)``, to be written over N placeholders.
        deep: DeepStack: ``(N, D)`` each, added to the states of the same positions after the first,
            second, ... layer of the language model; empty for families without.
    """

    tokens: Tensor
    deep: tuple[Tensor, ...] = ()
