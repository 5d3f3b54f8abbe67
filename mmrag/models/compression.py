"""Visual-token compression: a bilinear resize of the vision encoder's output grid, no parameters.

Magic-MM-Embedding (arXiv 2602.05275) puts it between vision encoder and connector, so that stock weights
load: a grid of ``H x W`` features becomes ``H/s x W/s`` and the visual tokens fall by s². The encoder's own
attention is not touched, it still sees every patch.

Decisions taken here:

* The connector merges blocks of ``m x m`` features (2 x 2 in all our families), so a side must stay a
  multiple of m. A side becomes ``m * floor(side / (s * m) + 1/2)``: the nearest multiple of m to side / s,
  the larger one where two are equally near. A side that would become 0 is an error.
* The paper leaves ``align_corners`` and antialiasing open. Both are off by default. Where s divides a grid
  without rounding, plain bilinear then gives at s = 2 the mean of each 2 x 2 features, at s = 3 the middle
  one of each 3 x 3, at s = 4 the mean of the middle four of each 4 x 4. `antialias` widens the filter, so
  that s = 3 and 4 look at every feature.
* s = 1 returns the very tensor it was given.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

Grid = tuple[int, int]
"""Height and width, in features."""

FACTORS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Compression:
    """The rule by which visual tokens become fewer.

    Attributes:
        factor: s, per axis, 1 to 4; visual tokens fall by s².
        align_corners: align the corner features of both grids; needs ``antialias`` off.
        antialias: smooth before sampling.

    Raises:
        ValueError: a factor out of range, or both options at once.
    """

    factor: int = 2
    align_corners: bool = False
    antialias: bool = False

    def __post_init__(self) -> None:
        """Refuse what torch cannot do or the grid would not survive."""
        if self.factor not in FACTORS or isinstance(self.factor, bool):
            raise ValueError(
                f"compression must be one of {FACTORS} (per axis; visual tokens fall by its square), "
                f"got {self.factor!r}. 2 is the paper's."
            )
        if self.align_corners and self.antialias:
            raise ValueError("align_corners and antialias must not both be set. Choose one.")

    def grid(self, grid: Grid, multiple: int) -> Grid:
        """Return the size that a grid is resized to; both sides stay multiples of `multiple`.

        Raises:
            ValueError: a side would vanish.
        """
        if self.factor == 1:
            return grid
        height, width = (
            multiple * ((2 * side + self.factor * multiple) // (2 * self.factor * multiple)) for side in grid
        )
        if height == 0 or width == 0:
            raise ValueError(
                f"a grid of {grid[0]} x {grid[1]} patches vanishes at compression {self.factor}: each side "
                f"needs at least {-(-self.factor * multiple // 2)} patches. Use a larger image, or a smaller "
                "compression."
            )
        return height, width

    def resize(self, features: Tensor, size: Grid) -> Tensor:
        """Resize features ``(B, H, W, D)`` to another grid; the dtype stays.

        Half precision is computed in float32: the mean of four features should be rounded once.
        """
        if self.factor == 1:
            return features
        if tuple(features.shape[1:3]) == size:  # rounding left the grid as it is
            return features
        wide = features if features.dtype == torch.float64 else features.float()
        # channels last in memory, also because torch 2.13's antialias is wrong at width 1 in the other layout
        channels_first = interpolate(
            wide.contiguous().permute(0, 3, 1, 2),
            size=size,
            mode="bilinear",
            align_corners=self.align_corners,
            antialias=self.antialias,
        )  # (B, D, h, w)
        return channels_first.permute(0, 2, 3, 1).to(features.dtype)  # (B, h, w, D)


def as_compression(value: Compression | int | None) -> Compression | None:
    """Return `value` as a `Compression`; a number is its factor."""
    return value if value is None or isinstance(value, Compression) else Compression(value)


def from_blocks(features: Tensor, grid: Grid, merge: int) -> Tensor:
    """Arrange features ``(H*W, D)`` in the order of ``merge x merge`` blocks as a grid ``(H, W, D)``.

    The Qwen encoders keep the patches that the connector will merge next to each other.
    """
    height, width = grid
    blocks = features.reshape(height // merge, width // merge, merge, merge, -1)  # (H/m, W/m, m, m, D)
    return blocks.transpose(1, 2).reshape(height, width, -1)  # (H, W, D)


def to_blocks(features: Tensor, merge: int) -> Tensor:
    """Invert `from_blocks`: arrange a grid ``(H, W, D)`` as ``(H*W, D)`` in block order."""
    height, width, channels = features.shape
    rows = features.reshape(height // merge, merge, width // merge, merge, channels)  # (H/m, m, W/m, m, D)
    return rows.transpose(1, 2).reshape(height * width, channels)  # (H*W, D)


def compress_blocks(features: Tensor, grids: list[Grid], compression: Compression, merge: int) -> Tensor:
    """Resize each image of a batch to its compressed grid.

    Args:
        features: ``(sum of H*W, D)``, images one after another, each in block order.
        grids: ``(H, W)`` of each image.
        compression: of the visual tokens.
        merge: features per side of a block.

    Returns:
        ``(sum of h*w, D)`` in block order.
    """
    if compression.factor == 1:
        return features
    parts = []
    for part, grid in zip(torch.split(features, [h * w for h, w in grids]), grids, strict=True):
        image = from_blocks(part, grid, merge)[None]  # (1, H, W, D)
        parts.append(to_blocks(compression.resize(image, compression.grid(grid, merge))[0], merge))
    return torch.cat(parts)
