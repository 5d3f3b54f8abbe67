"""The vision tower of the small model: convolutions from grey pixels to features that have read the page.

It ends in a grid of places, 8 pixels high and 4 wide; each holds two cells, small enough that a cell
belongs to one letter. A head on it says which letter, whether a letter or a word starts here, and whether the
middle of a line runs here. These dense labels are what makes reading emerge in an hour on a core.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CELL = (8, 2)  # pixels, height and width: the narrowest letters of a page are 2 to 3 pixels wide


class Block(nn.Sequential):
    """Convolution, batch norm, ReLU: nothing here is depthwise, whose backward is slow on a CPU."""

    def __init__(self, inner: int, outer: int, kernel: tuple[int, int] = (3, 3), stride=1) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2)
        super().__init__(
            nn.Conv2d(inner, outer, kernel, stride, padding, bias=False), nn.BatchNorm2d(outer), nn.ReLU()
        )


class Residual(nn.Module):
    """Two blocks around a shortcut."""

    def __init__(self, width: int, kernel: tuple[int, int] = (3, 3)) -> None:
        super().__init__()
        self.first = Block(width, width, kernel)
        self.second = nn.Sequential(*list(Block(width, width, kernel))[:2])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class Letters(nn.Module):
    """Grey pixels ``(batch, 1, height, width)`` in 0..1 to ``(batch, 96, height / 8, width / 4)``."""

    width = 96

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            Block(4, 48, stride=2),
            Block(48, 64),
            Block(64, self.width, stride=(2, 1)),
            Residual(self.width),
            Residual(self.width, (3, 5)),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        out: Tensor = self.layers(1.0 - pixels)
        return out


class LetterHead(nn.Module):
    """Classes of each cell, and three bits: a letter starts here, a word does, a line's middle runs here.

    Two cells share a place of the features, left and right.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.out = nn.Conv2d(Letters.width, 2 * (classes + 3), 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        both: Tensor = self.out(features)
        batch, channels, height, width = both.shape
        cells = both.view(batch, 2, channels // 2, height, width).permute(0, 2, 3, 4, 1).flatten(3)
        return cells[:, :-3], cells[:, -3:]
