"""Qwen3-VL with compression and meta tokens as a pooling model of vLLM.

vLLM's own class does the work; what differs beside `mmrag.models.served.vllm_rows`:

* *Pictures.* The grid of each picture is resized before the connector and before each DeepStack connector, by
  the function that the local model uses, and the processor declares the placeholders that are left: vLLM
  counts both and refuses what does not agree.
* *Positions.* Rows and columns of a picture are those of its compressed grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from vllm.model_executor.models.interfaces_base import default_pooling_type
from vllm.model_executor.models.qwen3_vl import (
    Qwen3VLDummyInputsBuilder,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMultiModalProcessor,
    Qwen3VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.parse import ImageSize
from vllm.multimodal.processing import PromptReplacement

from mmrag.models.compression import Compression, Grid, compress_blocks
from mmrag.models.served.vllm_rows import CheckpointLimits, ImageInputs, MetaRows

_GRIDS: ContextVar[tuple[Sequence[Grid], Compression, int] | None] = ContextVar("grids", default=None)
"""Of the pictures that are encoded now: their grids, the compression, and the features a side of a block."""


class CompressedInfo(CheckpointLimits, Qwen3VLProcessingInfo):  # type: ignore[misc]
    """The limits of pictures: those of the checkpoint, after compression; no videos."""

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Return that any number of pictures is taken."""
        return {"image": None}

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        """Return the options of text and pictures; vLLM's Qwen3-VL adds those of videos."""
        options: dict[str, set[str]] = super(Qwen3VLProcessingInfo, self).get_supported_mm_processor_kwargs()
        return options

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Return the most tokens of a picture."""
        return {"image": self.max_visual_tokens}

    def get_image_size_with_most_features(self, max_pixels: int | None = None) -> Any:  # noqa: ANN401
        """Return the size of a picture of the most tokens, or a few less, in about the shape of a square."""
        vision = self.get_hf_config().vision_config
        merge, factor = int(vision.spatial_merge_size), self.checkpoint.compression.factor
        block = int(vision.patch_size) * merge * factor
        columns = max(1, int(self.max_visual_tokens**0.5))
        return ImageSize(width=columns * block, height=self.max_visual_tokens // columns * block)


class CompressedInputs(ImageInputs, Qwen3VLDummyInputsBuilder):  # type: ignore[misc]
    """Pictures of the largest size."""

    placeholder = "<|vision_start|><|image_pad|><|vision_end|>"


class CompressedProcessor(Qwen3VLMultiModalProcessor):  # type: ignore[misc]
    """Placeholders of the compressed grid."""

    def _get_prompt_updates(
        self,
        mm_items: Any,  # noqa: ANN401
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: Any,  # noqa: ANN401
    ) -> Sequence[Any]:
        config = self.info.get_hf_config()
        merge, compression = int(config.vision_config.spatial_merge_size), self.info.checkpoint.compression

        def placeholders(at: int) -> list[int]:
            _, height, width = out_mm_kwargs["image"][at]["image_grid_thw"].data.tolist()
            rows, columns = compression.grid((height, width), merge)
            return [config.image_token_id] * (rows * columns // merge**2)

        return [PromptReplacement(modality="image", target=[config.image_token_id], replacement=placeholders)]


@default_pooling_type(tok_pooling_type="ALL")
@MULTIMODAL_REGISTRY.register_processor(
    CompressedProcessor, info=CompressedInfo, dummy_inputs=CompressedInputs
)
class MmragQwen3VLEmbedder(MetaRows, Qwen3VLForConditionalGeneration):  # type: ignore[misc]
    """A checkpoint of ours on a Qwen3-VL backbone."""

    def __init__(self, *, vllm_config: Any, prefix: str = "model") -> None:  # noqa: ANN401
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.merge = int(self.config.vision_config.spatial_merge_size)
        for merger in (self.visual.merger, *self.visual.deepstack_merger_list):
            merger.register_forward_pre_hook(_compress_input)

    def _process_image_input(self, image_input: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        """Encode pictures; return the compressed tokens of each."""
        grids = [(height, width) for _, height, width in image_input["image_grid_thw"].tolist()]
        token = _GRIDS.set((grids, self.compression, self.merge))
        try:
            features = self.visual(
                image_input["pixel_values"].type(self.visual.dtype), grid_thw=image_input["image_grid_thw"]
            )
        finally:
            _GRIDS.reset(token)
        sizes = [np.prod(self.compression.grid(grid, self.merge)) // self.merge**2 for grid in grids]
        return tuple(features.split([int(size) for size in sizes]))

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: list[Any]
    ) -> tuple[Tensor, int]:
        """Return the positions ``(3, T)`` of time, row and column, and how far the next one lags behind."""
        parts: list[np.ndarray[Any, Any]] = []
        first = start = 0  # of the text that comes next: its token, and its position

        def add_text(end: int) -> None:
            nonlocal start
            parts.append(np.broadcast_to(np.arange(end - first) + start, (3, end - first)))
            start += end - first

        for feature in sorted(mm_features, key=lambda feature: feature.mm_position.offset):
            _, height, width = feature.data["image_grid_thw"].data.tolist()
            rows, columns = (
                side // self.merge for side in self.compression.grid((height, width), self.merge)
            )
            offset = feature.mm_position.offset
            add_text(offset)
            parts.append(np.indices((1, rows, columns)).reshape(3, -1) + start)
            start += max(rows, columns)
            first = offset + rows * columns
        add_text(len(input_tokens))
        positions = np.concatenate(parts, axis=1)
        return torch.from_numpy(np.ascontiguousarray(positions)), int(positions.max()) + 1 - len(input_tokens)


def _compress_input(merger: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Resize what a connector is about to merge, ``(sum of H*W, 1, D)`` or ``(sum of H*W, D)``."""
    pictures = _GRIDS.get()
    if pictures is None:
        return inputs
    grids, compression, merge = pictures
    states, *rest = inputs
    flat = compress_blocks(states.reshape(len(states), -1), list(grids), compression, merge)
    return (flat.reshape(len(flat), *states.shape[1:]), *rest)
