"""Qwen2.5-VL: window attention in the vision encoder, a 2 x 2 merger.

Most layers of the encoder attend inside windows, and for that the blocks of an image are sorted by window;
the stock encoder hands its last states to the merger in this order and sorts the tokens back afterwards.
Resizing must not stop at window borders: we sort the states back, resize the grid, and run the merger on it.
(The stock encoder runs the merger once more on the whole grid, for tokens we then leave: about 2 % of the
encoder's work.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Qwen2_5_VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mmrag.models.batch import VisionInput, VisualTokens
from mmrag.models.compression import Compression, Grid, compress_blocks
from mmrag.models.qwen_common import QwenBackbone


class Qwen2_5VLBackbone(QwenBackbone):  # noqa: N801  the family's name
    """A ``Qwen2_5_VLModel``."""

    model_type = "qwen2_5_vl"
    model_class = Qwen2_5_VLModel
    image_processor_class = Qwen2VLImageProcessorPil

    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """See `Backbone.encode_images`."""
        visual = self.model.visual
        pixels, grids, grid_thw = self._inputs(images)
        out = visual(pixels, grid_thw=grid_thw, return_dict=True)
        if compression.factor == 1:
            return VisualTokens(out.pooler_output)
        window = visual.window_size // visual.patch_size // self.merge
        order = torch.argsort(window_order(grids, self.merge, window)).to(pixels.device)  # (blocks,)
        blocks = out.last_hidden_state.reshape(len(order), self.merge**2, -1)[order]  # (blocks, m*m, D)
        features = compress_blocks(blocks.flatten(0, 1), grids, compression, self.merge)
        return VisualTokens(visual.merger(features))  # (N, D)


def window_order(grids: Sequence[Grid], merge: int, window: int) -> Tensor:
    """Sort the blocks of all images by window: entry i is the block, in reading order, that comes i-th.

    Windows come in reading order, and so do the blocks in one; those at the right and lower edge are smaller.

    Args:
        grids: in patches.
        merge: patches per side of a block.
        window: blocks per side of a window.
    """
    orders, start = [], 0
    for height, width in grids:
        rows, columns = torch.meshgrid(
            torch.arange(height // merge), torch.arange(width // merge), indexing="ij"
        )
        windows = rows // window * width + columns // window  # any number larger than the windows in a row
        key = (windows * window + rows % window) * window + columns % window
        orders.append(torch.argsort(key.flatten()) + start)
        start += key.numel()
    return torch.cat(orders)
