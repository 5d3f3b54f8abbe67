"""ColPali: PaliGemma with a projection; every page is one square of the same size.

Every token sees every other one, in queries too: the stock processor passes ``token_type_ids`` of zeros.
(colpali-engine 0.3.18 leaves them out for queries, so under ``transformers`` 5 its queries are causal; this
class follows ``transformers``.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmrag.models.late_interaction import LateInteractionEmbedder
from mmrag.models.late_interaction_family import LateInteractionFamily, Row

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_TOKEN = "<image>"


class ColPali(LateInteractionFamily):
    """A ``ColPaliForRetrieval``."""

    model_type = "colpali"

    @classmethod
    def classes(cls) -> tuple[Any, Any]:
        """See `LateInteractionFamily.classes`."""
        from transformers import ColPaliForRetrieval
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        return ColPaliForRetrieval, SiglipImageProcessorPil

    @property
    def augmentation_token(self) -> str:
        """Return the padding token, which is attended to like a word."""
        return str(self.tokenizer.pad_token)

    @property
    def query_template(self) -> str:
        """See `LateInteractionFamily.query_template`."""
        prefix = self.settings.get("query_prefix", "Question: ")
        return f"{self.tokenizer.bos_token}{prefix}{{query}}{{augmentation}}\n"

    @property
    def text_template(self) -> str:
        """See `LateInteractionFamily.text_template`."""
        return f"{self.tokenizer.bos_token}{{text}}\n"

    def image_pixels(self, max_tokens: int | None) -> int:
        """Return four times the area of the square, so that the processor downsamples."""
        return 4 * int(self.model.config.vlm_config.vision_config.image_size) ** 2

    def image_row(self, image: Image, max_tokens: int | None) -> Row:
        """See `LateInteractionFamily.image_row`; the number of tokens is the model's and cannot be chosen."""
        vision = self.model.config.vlm_config.vision_config
        count = (vision.image_size // vision.patch_size) ** 2
        if max_tokens is not None and max_tokens < count:
            raise ValueError(
                f"max_visual_tokens must be at least {count} for this model, which takes every page at one "
                f"size, got {max_tokens}. Leave it out."
            )
        prompt = self.settings.get("visual_prompt_prefix", "Describe the image.")
        ids = self.encode_ids(f"{IMAGE_TOKEN * count}{self.tokenizer.bos_token}{prompt}\n")
        return Row(
            ids, {"pixel_values": self.image_processor(images=[image], return_tensors="pt")["pixel_values"]}
        )

    def encode_ids(self, text: str) -> tuple[int, ...]:
        """Tokenise a template, which has the first token in it: the tokenizer must not add another."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def model_inputs(self, rows: Sequence[Row], ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """See `LateInteractionFamily.model_inputs`."""
        return {**super().model_inputs(rows, ids, mask), "token_type_ids": torch.zeros_like(ids)}


class ColPaliEmbedder(LateInteractionEmbedder):
    """ColPali as an embedder; see `LateInteractionEmbedder`."""

    family_class = ColPali
