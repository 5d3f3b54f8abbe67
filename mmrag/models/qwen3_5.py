"""Qwen3.5: Qwen3-VL's vision encoder without DeepStack; most language layers are recurrent.

Three of four language layers carry a state from token to token (gated delta rule), the fourth attends. Both
read from left to right, and rows are padded on the right, so that padding reaches no token that counts.

The encoder's last states are resized and given to the merger. (The stock encoder runs the merger once more on
the whole grid, for tokens that are then left: about 2 % of the encoder's work.)
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import Qwen3_5Model
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mmrag.models.batch import VisionInput, VisualTokens
from mmrag.models.compression import Compression, compress_blocks
from mmrag.models.qwen_common import QwenBackbone


class Qwen3_5Backbone(QwenBackbone):  # noqa: N801  the family's name
    """A ``Qwen3_5Model``."""

    model_type = "qwen3_5"
    model_class = Qwen3_5Model
    image_processor_class = Qwen2VLImageProcessorPil

    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """See `Backbone.encode_images`."""
        visual = self.model.visual
        pixels, grids, grid_thw = self._inputs(images)
        out = visual(pixels, grid_thw=grid_thw, return_dict=True)
        if compression.factor == 1:
            return VisualTokens(out.pooler_output)
        return VisualTokens(
            visual.merger(compress_blocks(out.last_hidden_state, grids, compression, self.merge))
        )
