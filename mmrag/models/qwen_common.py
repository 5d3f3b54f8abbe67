"""`QwenBackbone`: the common part of the Qwen-VL families: image sizes, special tokens, 3D positions.

An image keeps its shape: it is resized to whole blocks of ``merge x merge`` patches, each block one visual
token before compression. `fit` chooses how many; without compression and within the bounds it chooses as
``smart_resize`` of the stock image processor does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmrag.models.backbone import Backbone, check_image
from mmrag.models.batch import EngineImage, VisionInput
from mmrag.models.compression import Compression, Grid

if TYPE_CHECKING:
    from PIL.Image import Image


class QwenBackbone(Backbone):
    """The part of a backbone that all Qwen-VL families share."""

    @property
    def merge(self) -> int:
        """See `Backbone.merge`."""
        return int(self.model.config.vision_config.spatial_merge_size)

    def preprocess(self, image: Image, max_tokens: int, compression: Compression) -> VisionInput:
        """See `Backbone.preprocess`.

        The number of pixels also stays within the bounds that the checkpoint's image processor names
        (``shortest_edge`` and ``longest_edge``, both areas), the lower one as far as the budget allows.
        """
        image = self.resize(image, max_tokens, compression)
        out = self.image_processor(images=[image], do_resize=False, return_tensors="pt")
        return VisionInput(out["pixel_values"], (self.grid(image),))

    def engine_image(self, image: Image, max_tokens: int, compression: Compression) -> EngineImage:
        """See `Backbone.engine_image`: of the size that it is embedded at."""
        image = self.resize(image, max_tokens, compression)
        return EngineImage(image, (self.grid(image),), {"do_resize": False})

    def resize(self, image: Image, max_tokens: int, compression: Compression) -> Image:
        """Resize an RGB image to whole blocks of patches within the budget; see `preprocess`."""
        check_image(image, max_tokens)
        processor = self.image_processor
        block = self._block
        rows, columns = fit(
            (image.height, image.width),
            block=block,
            pixels=(processor.size["shortest_edge"], processor.size["longest_edge"]),
            max_tokens=max_tokens,
            compression=compression,
        )
        return image.resize((columns * block, rows * block), resample=processor.resample)

    def grid(self, image: Image) -> Grid:
        """Return the grid of patches of an image that `resize` returned."""
        patch = int(self.image_processor.patch_size)
        return image.height // patch, image.width // patch

    def pixels(self, max_tokens: int, compression: Compression) -> int:
        """See `Backbone.pixels`."""
        budget = max_tokens * (compression.factor * self._block) ** 2
        return min(budget, int(self.image_processor.size["longest_edge"]))

    @property
    def _block(self) -> int:
        """Return the pixels per side that become one token before compression."""
        return int(self.image_processor.patch_size) * self.merge

    def image_text(self, tokens: int) -> str:
        """See `Backbone.image_text`."""
        return "<|vision_start|>" + self.image_token * tokens + "<|vision_end|>"

    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """See `Backbone.position_ids`; ``(3, B, T)``: time, row and column."""
        if not grids:
            return None
        positions, _ = self.model.get_rope_index(
            input_ids,
            mm_token_type_ids=(input_ids == self.image_token_id).int(),
            image_grid_thw=thw(grids, input_ids.device),
            attention_mask=attention_mask,
        )
        return torch.as_tensor(positions)

    def _inputs(self, images: Sequence[VisionInput]) -> tuple[Tensor, list[Grid], Tensor]:
        """Return the pixels of all images in the encoder's dtype, their grids, and the grids as a tensor."""
        visual = self.model.visual
        grids = [grid for image in images for grid in image.grids]
        pixels = torch.cat([image.pixels for image in images]).to(visual.device, visual.dtype)
        return pixels, grids, thw(grids, pixels.device)


def thw(grids: Sequence[Grid], device: torch.device) -> Tensor:
    """Return grids as ``(N, 3)``: one frame, height, width, in patches."""
    return torch.tensor([(1, height, width) for height, width in grids], device=device)


def fit(
    size: tuple[int, int],
    *,
    block: int,
    pixels: tuple[int, int],
    max_tokens: int,
    compression: Compression,
) -> Grid:
    """Compute the rows and columns of blocks that an image is resized to.

    The nearest whole number of blocks per side; scaled down if that is over the budget, up if it is under
    the least number of pixels; then, while rounding or an extreme shape still gives too many tokens, one
    block less on the side that is the longer one for the image's shape. Every side stays long enough to
    survive compression, so a line of text 200 times as wide as high is squashed rather than refused.

    Args:
        size: height and width in pixels.
        block: pixels per side of one block.
        pixels: least and most pixels of the resized image, as far as the budget allows.
        max_tokens: most visual tokens after compression.
        compression: of the visual tokens.

    Source: ``smart_resize`` of ``transformers``' Qwen2VLImageProcessor, equal to it at s = 1 within the
    shapes it takes (tested), without its limit on the shape.
    """
    height, width = size
    most = min(max_tokens * compression.factor**2 * block**2, pixels[1])
    least = min(pixels[0], most)
    rows, columns = round(height / block), round(width / block)
    if rows * columns * block**2 > most:
        scale = math.sqrt(height * width / most)
        rows, columns = math.floor(height / scale / block), math.floor(width / scale / block)
    elif rows * columns * block**2 < least:
        scale = math.sqrt(least / (height * width))
        rows, columns = math.ceil(height * scale / block), math.ceil(width * scale / block)
    smallest = -(-compression.factor // 2)  # blocks per side that compression reduces to one
    longest = compression.factor * (max_tokens + 1)  # blocks per side in one row of tokens
    rows, columns = (min(max(side, smallest), longest) for side in (rows, columns))
    while math.prod(compression.grid((rows, columns), 1)) > max_tokens:
        if columns > smallest and (rows == smallest or columns * height >= rows * width):
            columns -= 1
        else:
            rows -= 1
    return rows, columns
