"""Qwen3-VL: patches in block order, a 2 x 2 merger, DeepStack features from the middle of the encoder.

DeepStack takes the states after a few early vision layers through mergers of their own and adds them to
the first layers of the language model at the image's positions, so they are compressed like the last
states: each merger sees a resized grid. A hook on each merger resizes, only inside `encode_images`; the
encoder's own code runs unchanged. A context variable holds the resizing function, so threads that share a
model do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn
from transformers import Qwen3VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mmrag.models.batch import VisionInput, VisualTokens
from mmrag.models.compression import Compression, compress_blocks
from mmrag.models.qwen_common import QwenBackbone

_RESIZE: ContextVar[Callable[[Tensor], Tensor] | None] = ContextVar("resize", default=None)


class Qwen3VLBackbone(QwenBackbone):
    """A ``Qwen3VLModel``."""

    model_type = "qwen3_vl"
    model_class = Qwen3VLModel
    image_processor_class = Qwen2VLImageProcessorPil

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any) -> None:  # noqa: ANN401  transformers'
        super().__init__(model, tokenizer, image_processor)
        visual = model.visual
        for merger in (visual.merger, *visual.deepstack_merger_list):
            if _resize_input not in merger._forward_pre_hooks.values():  # a model may be wrapped twice
                merger.register_forward_pre_hook(_resize_input)

    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """See `Backbone.encode_images`."""
        pixels, grids, grid_thw = self._inputs(images)
        token = _RESIZE.set(lambda states: compress_blocks(states, grids, compression, self.merge))
        try:
            out = self.model.visual(pixels, grid_thw=grid_thw, return_dict=True)
        finally:
            _RESIZE.reset(token)
        return VisualTokens(out.pooler_output, tuple(out.deepstack_features))

    def language_options(self, mask: Tensor, visual: Tensor, deep: Sequence[Tensor]) -> dict[str, Any]:
        """See `Backbone.language_options`."""
        return super().language_options(mask, visual, deep) | {
            "visual_pos_masks": visual if deep else None,
            "deepstack_visual_embeds": list(deep) or None,
        }


def _resize_input(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Resize the states given to a merger while `encode_images` runs."""
    resize = _RESIZE.get()
    return arguments if resize is None else (resize(arguments[0]), *arguments[1:])
