"""ColQwen2: Qwen2-VL with a projection; a page keeps its aspect and gives tokens by its pixels.

Positions: the checkpoints were trained with Qwen2-VL's own positions (time, height, width), and
colpali-engine passes them. ``ColQwen2ForRetrieval`` of ``transformers`` 5 hands its language model
embeddings without ids, so image tokens get positions 0, 1, 2, ... there. ``positions="grid"`` (default) is
as trained, ``positions="sequential"`` is as that class does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmrag.models.late_interaction import LateInteractionEmbedder
from mmrag.models.late_interaction_family import LateInteractionFamily, Row

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_TOKEN = "<|image_pad|>"
PROMPT = (
    "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|><|endoftext|>"
)
POSITIONS = ("grid", "sequential")


class ColQwen2(LateInteractionFamily):
    """A ``ColQwen2ForRetrieval``."""

    model_type = "colqwen2"
    position_kinds = POSITIONS

    @classmethod
    def classes(cls) -> tuple[Any, Any]:
        """See `LateInteractionFamily.classes`."""
        from transformers import ColQwen2ForRetrieval
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        return ColQwen2ForRetrieval, Qwen2VLImageProcessorPil

    @property
    def augmentation_token(self) -> str:
        """Return the padding token, which is attended to like a word."""
        return str(self.tokenizer.pad_token)

    @property
    def query_template(self) -> str:
        """See `LateInteractionFamily.query_template`."""
        return f"{self.settings.get('query_prefix', 'Query: ')}{{query}}{{augmentation}}\n"

    def image_pixels(self, max_tokens: int | None) -> int:
        """Return the area that the tokens of an image cover."""
        processor = self.image_processor
        area = int((processor.patch_size * processor.merge_size) ** 2)
        return int(processor.size["longest_edge"]) if max_tokens is None else max_tokens * area

    def image_row(self, image: Image, max_tokens: int | None) -> Row:
        """See `LateInteractionFamily.image_row`; None is the processor's own limit of pixels."""
        options = {}
        if max_tokens is not None:
            area = (self.image_processor.patch_size * self.image_processor.merge_size) ** 2
            least = min(self.image_processor.size["shortest_edge"], max_tokens * area)
            options["size"] = {"shortest_edge": least, "longest_edge": max_tokens * area}
        out = self.image_processor(images=[image], return_tensors="pt", **options)
        count = int(out["image_grid_thw"].prod()) // self.image_processor.merge_size**2
        prompt = self.settings.get("visual_prompt_prefix") or PROMPT
        ids = self.encode_ids(prompt.replace(IMAGE_TOKEN, IMAGE_TOKEN * count))
        return Row(ids, {"pixel_values": out["pixel_values"], "image_grid_thw": out["image_grid_thw"]})

    def model_inputs(self, rows: Sequence[Row], ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """See `LateInteractionFamily.model_inputs`; pixels padded to one length, as the class wants them."""
        if not rows[0].vision:
            return {}
        grids = torch.cat([row.vision["image_grid_thw"] for row in rows])  # (B, 3)
        pixels = pad_sequence(
            [row.vision["pixel_values"] for row in rows], batch_first=True
        )  # (B, patches, D)
        inputs = {"pixel_values": pixels.to(self.model.dtype), "image_grid_thw": grids}
        if self.settings.get("positions", "grid") == "grid":
            vlm = self.model.vlm
            images = (ids == self.model.config.vlm_config.image_token_id).int()
            inputs["position_ids"], _ = vlm.get_rope_index(
                ids, mm_token_type_ids=images, image_grid_thw=grids, attention_mask=mask
            )
        return inputs


class ColQwen2Embedder(LateInteractionEmbedder):
    """ColQwen2 as an embedder; see `LateInteractionEmbedder`."""

    family_class = ColQwen2
