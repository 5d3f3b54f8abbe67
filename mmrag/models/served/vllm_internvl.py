"""InternVL3 with compression and meta tokens as a pooling model of vLLM.

vLLM's own class does the work; what differs beside `mmrag.models.served.vllm_rows`:

* *Pictures.* They are cut into tiles by the local model's own image processor, with the same most tiles, and
  the grid of each tile is resized before pixel-unshuffle, by the function that the local model uses.
* *Placeholders* are those of the compressed tiles.

Tokens of pictures are counted like words, so positions need nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature
from vllm.model_executor.models.interfaces_base import default_pooling_type
from vllm.model_executor.models.interns1 import (
    InternS1DummyInputsBuilder,
    InternS1ForConditionalGeneration,
    InternS1MultiModalProcessor,
    InternS1ProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.parse import ImageSize
from vllm.multimodal.processing import PromptReplacement

from mmrag.models.internvl3 import InternVL3Backbone
from mmrag.models.served.configuration import folder_of
from mmrag.models.served.vllm_rows import CheckpointLimits, ImageInputs, MetaRows

TILE_OPTIONS = frozenset({"crop_to_patches", "min_patches", "max_patches"})


class TileInfo(CheckpointLimits, InternS1ProcessingInfo):  # type: ignore[misc]
    """The limits of pictures: those of the checkpoint, after compression; no videos."""

    @cached_property
    def image_processor(self) -> Any:  # noqa: ANN401  transformers'
        """Return the processor that the local model cuts tiles with."""
        return InternVL3Backbone.image_processor_class.from_pretrained(folder_of(self.ctx.model_config))

    @property
    def tile_tokens(self) -> int:
        """Return the tokens of a tile, after compression."""
        config = self.get_hf_config()
        merge = int(1 / config.downsample_ratio)
        vision = config.vision_config
        height, width = (
            side // patch for side, patch in zip(vision.image_size, vision.patch_size, strict=True)
        )
        return math.prod(self.checkpoint.compression.grid((height, width), merge)) // merge**2

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Return that any number of pictures is taken."""
        return {"image": None}

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        """Return the options of a request that the tiles of its pictures depend on."""
        return {"text_kwargs": set(), "images_kwargs": set(TILE_OPTIONS)}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Return the most tokens of a picture."""
        return {"image": max(self.max_visual_tokens, self.tile_tokens)}

    def get_image_size_with_most_features(self) -> Any:  # noqa: ANN401
        """Return the size of a picture of one tile; more are a matter of a request's options."""
        size = self.image_processor.size
        return ImageSize(width=size["width"], height=size["height"])


class TileInputs(ImageInputs, InternS1DummyInputsBuilder):  # type: ignore[misc]
    """Pictures of one tile."""

    placeholder = "<IMG_CONTEXT>"


class TileProcessor(InternS1MultiModalProcessor):  # type: ignore[misc]
    """Tiles of the local model's image processor, and placeholders of the compressed ones."""

    def _apply_hf_processor_main(self, mm_items: Any, hf_kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
        data, options, rest = self._get_hf_mm_inputs(mm_items, hf_kwargs)
        if not data:
            return self._finalize_hf_mm_data(data, options, rest)
        tile_options = {
            name: value
            for scope in (options, options.get("images_kwargs") or {})
            for name, value in scope.items()
            if name in TILE_OPTIONS
        }
        tiles = [
            self.info.image_processor(images=[image], return_tensors="pt", **tile_options)["pixel_values"]
            for image in data["images"]
        ]
        features = BatchFeature(
            {
                "pixel_values": torch.cat(tiles),
                "image_num_patches": torch.tensor([len(part) for part in tiles]),
                "image_token_id": torch.tensor(self.info.get_hf_config().image_token_id),
            }
        )
        return self._finalize_hf_mm_data(data, options, rest, features)

    def _get_prompt_updates(
        self,
        mm_items: Any,  # noqa: ANN401
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: Any,  # noqa: ANN401
    ) -> Sequence[Any]:
        placeholder = self.info.get_hf_config().image_token_id

        def placeholders(at: int) -> list[int]:
            tiles = int(out_mm_kwargs["image"][at]["image_num_patches"].data)
            return [placeholder] * (tiles * self.info.tile_tokens)

        return [PromptReplacement(modality="image", target=[placeholder], replacement=placeholders)]


@default_pooling_type(tok_pooling_type="ALL")
@MULTIMODAL_REGISTRY.register_processor(TileProcessor, info=TileInfo, dummy_inputs=TileInputs)
class MmragInternVLEmbedder(MetaRows, InternS1ForConditionalGeneration):  # type: ignore[misc]
    """A checkpoint of ours on an InternVL3 backbone."""

    def extract_feature(self, pixel_values: Tensor) -> Tensor:
        """Encode tiles ``(N, 3, side, side)``; return their compressed tokens ``(N, T, D)``."""
        states = self.vision_tower(pixel_values=pixel_values)[:, 1:]
        vision = self.config.vision_config
        grid = tuple(side // patch for side, patch in zip(vision.image_size, vision.patch_size, strict=True))
        merge = int(1 / self.downsample_ratio)
        features = states.reshape(len(states), *grid, -1)
        features = self.compression.resize(features, self.compression.grid(grid, merge))
        blocks = self.pixel_shuffle(features.contiguous(), scale_factor=self.downsample_ratio)
        tokens: Tensor = self.multi_modal_projector(blocks.flatten(1, 2))
        return tokens
