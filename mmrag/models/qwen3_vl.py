"""Qwen3-VL: patches in block order, a 2 x 2 merger, DeepStack features from the middle of the encoder.

DeepStack takes the states after a few early vision layers through mergers of their own and adds them to
the first layers of the language model at the image's positions, so they are compressed like the last
states: each merger sees a resized grid. This is done by hooks on the mergers for the time of one call;
the encoder's own code runs as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmrag.models.backbone import Backbone, VisionInput, VisualTokens
from mmrag.models.compression import Compression, Grid, compress_blocks

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST_SIDE = 2  # tokens a side of the smallest image, so that compression leaves one


class Qwen3VLBackbone(Backbone):
    """A ``Qwen3VLModel``."""

    model_type = "qwen3_vl"

    @classmethod
    def load_parts(cls, path: str, **options: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401  as from_pretrained
        """See `Backbone.load_parts`."""
        from transformers import AutoTokenizer, Qwen3VLModel
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        hub = {key: options[key] for key in ("local_files_only", "revision") if key in options}
        return (
            Qwen3VLModel.from_pretrained(path, **options),
            AutoTokenizer.from_pretrained(path, **hub),
            Qwen2VLImageProcessorPil.from_pretrained(path, **hub),
        )

    @property
    def merge(self) -> int:
        """See `Backbone.merge`."""
        return int(self.model.config.vision_config.spatial_merge_size)

    @property
    def hidden_size(self) -> int:
        """See `Backbone.hidden_size`."""
        return int(self.model.config.text_config.hidden_size)

    @property
    def image_token_id(self) -> int:
        """See `Backbone.image_token_id`."""
        return int(self.model.config.image_token_id)

    def preprocess(self, image: Image, max_tokens: int, compression: Compression) -> VisionInput:
        """See `Backbone.preprocess`."""
        pixels_a_token = (self.image_processor.patch_size * self.merge) ** 2
        most = max_tokens * compression.factor**2 * pixels_a_token
        least = SMALLEST_SIDE**2 * pixels_a_token
        if most < least:
            raise ValueError(
                f"max_visual_tokens must be at least {math.ceil(SMALLEST_SIDE**2 / compression.factor**2)} "
                f"for this model at compression {compression.factor}, got {max_tokens}."
            )
        size = {"shortest_edge": least, "longest_edge": most}
        out = self.image_processor(images=[image], size=size, return_tensors="pt")
        _, height, width = out["image_grid_thw"][0].tolist()
        return VisionInput(out["pixel_values"], ((height, width),))

    def image_text(self, tokens: int) -> str:
        """See `Backbone.image_text`."""
        return "<|vision_start|>" + "<|image_pad|>" * tokens + "<|vision_end|>"

    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """See `Backbone.encode_images`."""
        visual = self.model.visual
        grids = [grid for image in images for grid in image.grids]
        pixels = torch.cat([image.pixels for image in images]).to(visual.device, visual.dtype)
        thw = torch.tensor([(1, *grid) for grid in grids], device=pixels.device)
        mergers = [visual.merger, *visual.deepstack_merger_list]
        with _compressed_before(mergers, grids, compression, self.merge):
            out = visual(pixels, grid_thw=thw, return_dict=True)
        return VisualTokens(out.pooler_output, tuple(out.deepstack_features))

    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """See `Backbone.position_ids`."""
        if not grids:
            return None
        positions, _ = self.model.get_rope_index(
            input_ids,
            mm_token_type_ids=(input_ids == self.image_token_id).int(),
            image_grid_thw=torch.tensor([(1, *grid) for grid in grids], device=input_ids.device),
            attention_mask=attention_mask,
        )
        return torch.as_tensor(positions)

    def language(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor | None,
        visual_mask: Tensor,
        deep: Sequence[Tensor],
    ) -> Tensor:
        """See `Backbone.language`."""
        out = self.model.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            visual_pos_masks=visual_mask if deep else None,
            deepstack_visual_embeds=list(deep) or None,
            use_cache=False,
        )
        states: Tensor = out.last_hidden_state
        return states


@contextmanager
def _compressed_before(
    mergers: Sequence[nn.Module], grids: list[Grid], compression: Compression, merge: int
) -> Iterator[None]:
    """While this is open, each merger is given the resized grid in place of what the encoder hands it."""

    def compress(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (compress_blocks(arguments[0], grids, compression, merge), *arguments[1:])

    hooks = (
        [merger.register_forward_pre_hook(compress) for merger in mergers] if compression.factor > 1 else []
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
