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


def collate(rows: Sequence[TokenRow], *, pad: int, meta: int = 0, padding_side: str = "right") -> Batch:
    """Rows as one batch with room for `meta` meta tokens after each row's content.

    Raises:
        ValueError: no rows, a row without tokens, or an unknown side.
    """
    if padding_side not in ("left", "right"):
        raise ValueError(f"padding_side must be 'left' or 'right', got {padding_side!r}.")
    if not rows or any(not row.ids for row in rows):
        raise ValueError("a batch needs rows and every row tokens, got an empty one.")
    lengths = [len(row.ids) + meta for row in rows]
    longest = max(lengths)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    ends = []
    for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        start = longest - length if padding_side == "left" else 0
        ids[place, start : start + len(row.ids)] = torch.tensor(row.ids)
        mask[place, start : start + length] = 1
        ends.append(start + len(row.ids) - 1)
    content = torch.tensor(ends)
    places = content[:, None] + 1 + torch.arange(meta) if meta else None
    return Batch(ids, mask, content, places, tuple(image for row in rows for image in row.images))


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
