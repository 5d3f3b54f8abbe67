"""InternVL3: square tiles and a thumbnail, a vision encoder with a class token, pixel-unshuffle, an MLP.

A document is cut into tiles of one size, as many as fit the budget, in the arrangement whose shape is
nearest the image's; if there are several, a thumbnail of the whole image comes last. This is the backbone
of Magic-MM-Embedding: 32 x 32 features per tile, 256 visual tokens, 64 at s = 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import InternVLModel
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from mmrag.models.backbone import Backbone, check_image
from mmrag.models.batch import EngineImage, VisionInput, VisualTokens
from mmrag.models.compression import Compression, Grid

if TYPE_CHECKING:
    from PIL.Image import Image


class InternVL3Backbone(Backbone):
    """An ``InternVLModel``."""

    model_type = "internvl"
    model_class = InternVLModel
    image_processor_class = GotOcr2ImageProcessorPil

    @property
    def merge(self) -> int:
        """See `Backbone.merge`."""
        return int(1 / self.model.config.downsample_ratio)

    @property
    def tile_grid(self) -> Grid:
        """Return the grid of features of one tile."""
        vision = self.model.config.vision_config
        height, width = (
            side // patch for side, patch in zip(vision.image_size, vision.patch_size, strict=True)
        )
        return height, width

    def preprocess(self, image: Image, max_tokens: int, compression: Compression) -> VisionInput:
        """See `Backbone.preprocess`.

        Tiles and thumbnail together fit the budget, with no more tiles than the checkpoint's image processor
        names (``max_patches``). A budget of fewer than three tiles gives one, the whole image, which is how
        the paper takes natural images; so does an image that is small against a tile, at any budget.
        """
        check_image(image, max_tokens)
        options = self._tile_options(max_tokens, compression)
        pixels = self.image_processor(images=[image], return_tensors="pt", **options)["pixel_values"]
        return VisionInput(pixels, (self.tile_grid,) * len(pixels))

    def engine_image(self, image: Image, max_tokens: int, compression: Compression) -> EngineImage:
        """See `Backbone.engine_image`: whole, with the most tiles as an option."""
        check_image(image, max_tokens)
        options = self._tile_options(max_tokens, compression)
        count = self.image_processor.get_number_of_image_patches(image.height, image.width, options)
        return EngineImage(image, (self.tile_grid,) * count, options)

    def _tile_options(self, max_tokens: int, compression: Compression) -> dict[str, Any]:
        """Return the options of the image processor that cut an image into tiles within the budget."""
        tiles = self._tiles(max_tokens, compression)
        return {"crop_to_patches": tiles > 1, "min_patches": 1, "max_patches": tiles}

    def _tiles(self, max_tokens: int, compression: Compression) -> int:
        """Return the most tiles, the thumbnail not counted."""
        tokens = math.prod(compression.grid(self.tile_grid, self.merge)) // self.merge**2
        count = max_tokens // tokens
        if count < 1:
            raise ValueError(
                f"max_visual_tokens must be at least {tokens} for this model at compression "
                f"{compression.factor} (one tile), got {max_tokens}."
            )
        return int(max(1, min(count - 1, self.image_processor.max_patches)))  # one is the thumbnail

    def pixels(self, max_tokens: int, compression: Compression) -> int:
        """See `Backbone.pixels`."""
        size = self.image_processor.size
        return int(self._tiles(max_tokens, compression) * size["height"] * size["width"])

    def image_text(self, tokens: int) -> str:
        """See `Backbone.image_text`."""
        return "<img>" + self.image_token * tokens + "</img>"

    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """See `Backbone.encode_images`."""
        model, tower = self.model, self.model.vision_tower
        pixels = torch.cat([image.pixels for image in images]).to(
            tower.device, tower.dtype
        )  # (N, 3, side, side)
        features = self._features(pixels).reshape(len(pixels), *self.tile_grid, -1)  # (N, H, W, D)
        features = compression.resize(features, compression.grid(self.tile_grid, self.merge))  # (N, h, w, D)
        blocks = model.pixel_shuffle(features, scale_factor=model.config.downsample_ratio)
        tokens = model.multi_modal_projector(blocks.flatten(1, 2))  # (N, tokens of a tile, D)
        return VisualTokens(tokens.flatten(0, 1))

    def _features(self, pixels: Tensor) -> Tensor:
        """Compute patch features ``(N, H*W, D)`` of N tiles, of the layer that the configuration names."""
        config = self.model.config
        layer = config.vision_feature_layer
        out = self.model.vision_tower(pixel_values=pixels, output_hidden_states=layer != -1, return_dict=True)
        states: Tensor = out.last_hidden_state if layer == -1 else out.hidden_states[layer]
        return states[:, 1:] if config.vision_feature_select_strategy == "default" else states

    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """See `Backbone.position_ids`: visual tokens are counted like words."""
        return None
