"""ColModernVBert: SigLIP tiles and a small bidirectional encoder; small enough for a CPU.

A page becomes tiles of one size and a thumbnail of the whole; each gives the same number of tokens, after a
special token of its row and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from mmrag.models.late_interaction import LateInteractionEmbedder
from mmrag.models.late_interaction_family import LateInteractionFamily, Row

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_TOKEN = "<image>"
AROUND = "<fake_token_around_image>"
THUMBNAIL = "<global-img>"
PROMPT = f"<|begin_of_text|>User:{IMAGE_TOKEN}Describe the image.<end_of_utterance>\nAssistant:"


class ColModernVBert(LateInteractionFamily):
    """A ``ColModernVBertForRetrieval``."""

    model_type = "colmodernvbert"

    @classmethod
    def classes(cls) -> tuple[Any, Any]:
        """See `LateInteractionFamily.classes`."""
        from transformers import ColModernVBertForRetrieval
        from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

        return ColModernVBertForRetrieval, Idefics3ImageProcessorPil

    @property
    def augmentation_token(self) -> str:
        """Return the token that ends a turn of the dialogues in training."""
        return "<end_of_utterance>"

    @property
    def query_template(self) -> str:
        """See `LateInteractionFamily.query_template`."""
        return f"{self.settings.get('query_prefix', '')}{{query}}{{augmentation}}"

    @property
    def tile_tokens(self) -> int:
        """Return the tokens of a tile."""
        config = self.model.config.vlm_config
        vision = config.vision_config
        return int((vision.image_size // vision.patch_size) ** 2 // config.pixel_shuffle_factor**2)

    def image_pixels(self, max_tokens: int | None) -> int:
        """Return the area of a square of the longer side."""
        return int(self.image_processor.size["longest_edge"]) ** 2

    def image_row(self, image: Image, max_tokens: int | None) -> Row:
        """See `LateInteractionFamily.image_row`; `max_tokens` sets the longer side, in whole tiles."""
        options = (
            {} if max_tokens is None else {"size": {"longest_edge": self._longest_edge(image, max_tokens)}}
        )
        out = self.image_processor(images=[[image]], return_row_col_info=True, return_tensors="pt", **options)
        rows, columns = out["rows"][0][0], out["cols"][0][0]
        prompt = self.settings.get("visual_prompt_prefix") or PROMPT
        ids = self.encode_ids(prompt.replace(IMAGE_TOKEN, self._image_text(int(rows), int(columns))))
        names = ("pixel_values", "pixel_attention_mask")
        return Row(ids, {name: out[name] for name in names if name in out})

    def _longest_edge(self, image: Image, max_tokens: int) -> int:
        """Return the longer side at which tiles and thumbnail stay within `max_tokens`."""
        tile = int(self.image_processor.max_image_size["longest_edge"])
        most = max_tokens // self.tile_tokens - 1  # the thumbnail is one
        if most < 0:
            raise ValueError(
                f"max_visual_tokens must be at least {self.tile_tokens} for this model, got {max_tokens}."
            )
        long, short = max(image.size), min(image.size)
        across = max(
            (n for n in range(1, most + 1) if n * -(-n * short // long) <= most), default=1
        )  # n tiles along the longer side and what that makes of the shorter one
        return min(across * tile, int(self.image_processor.size["longest_edge"]))

    def _image_text(self, rows: int, columns: int) -> str:
        """Write the special tokens and placeholders of all tiles and the thumbnail."""
        tokens = IMAGE_TOKEN * self.tile_tokens
        lines = [
            "".join(f"{AROUND}<row_{row}_col_{column}>{tokens}" for column in range(1, columns + 1))
            for row in range(1, rows + 1)
        ]
        split = "".join(f"{line}\n" for line in lines) + ("\n" if lines else "")
        return f"{split}{AROUND}{THUMBNAIL}{tokens}{AROUND}"

    def model_inputs(self, rows: Sequence[Row], ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """See `LateInteractionFamily.model_inputs`; pages of fewer tiles are filled with empty ones."""
        if not rows[0].vision:
            return {}
        most = max(row.vision["pixel_values"].shape[1] for row in rows)
        out = {}
        for name, value in rows[0].vision.items():
            sides = (0, 0) * (value.ndim - 2)
            parts = [pad(row.vision[name], (*sides, 0, most - row.vision[name].shape[1])) for row in rows]
            out[name] = torch.cat(parts)
        return out


class ColModernVBertEmbedder(LateInteractionEmbedder):
    """ColModernVBert as an embedder; see `LateInteractionEmbedder`."""

    family_class = ColModernVBert
