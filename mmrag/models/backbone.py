"""What differs between the families of multimodal language models, behind one interface.

A `Backbone` wraps one loaded ``transformers`` model. It knows where the vision features are, how grids,
placeholders and positions are counted, and nothing of compression's arithmetic, of meta tokens or of
batches. Each family has a file of its own and uses nothing of another:
`mmrag.models.qwen2_5_vl`, `mmrag.models.qwen3_vl`, `mmrag.models.internvl3`.

The way of one image::

    PIL image -> preprocess -> VisionInput (pixels, grids)
              -> encode_images: vision encoder -> grid -> compression -> connector -> VisualTokens
              -> language: written over the placeholders of the token sequence
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from mmrag.models.compression import Compression, Grid

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class VisionInput:
    """One image as its vision encoder takes it.

    Attributes:
        pixels: float32 on the CPU; ``(patches, values)`` for the Qwen families, ``(tiles, 3, side, side)``
            for InternVL3.
        grids: the encoder's output grid in features, one an image for Qwen, one a tile for InternVL3.
    """

    pixels: Tensor
    grids: tuple[Grid, ...]


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """What the connector made of all images of a batch, in order.

    Attributes:
        tokens: ``(n, hidden)``, to be written over n placeholders.
        deep: DeepStack: ``(n, hidden)`` each, added to the states of the same positions after the first,
            second, ... layer of the language model; empty for families without.
    """

    tokens: Tensor
    deep: tuple[Tensor, ...] = ()


class Backbone(ABC, nn.Module):
    """One loaded model of a family.

    Attributes:
        model: the ``transformers`` model without its language-modelling head.
        tokenizer: its tokenizer.
        image_processor: its PIL image processor; torchvision is not needed.
        merge: features a side that the connector makes one token of.
    """

    model_type: ClassVar[str]
    """``model_type`` of the family's config.json."""

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any) -> None:  # noqa: ANN401  transformers'
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor

    @classmethod
    @abstractmethod
    def load_parts(cls, path: str, **options: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401  as from_pretrained
        """Model, tokenizer and image processor of a directory or hub name; `options` go to the model."""

    @property
    @abstractmethod
    def merge(self) -> int:
        """Features a side that the connector merges into one token."""

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """Width of the language model's states."""

    @property
    @abstractmethod
    def image_token_id(self) -> int:
        """Id of the placeholder that visual tokens are written over."""

    @abstractmethod
    def preprocess(self, image: Image, max_tokens: int, compression: Compression) -> VisionInput:
        """An RGB image of any size, resized or tiled so that it gives at most `max_tokens` visual tokens.

        The budget is met by input resolution (Qwen: pixels; InternVL3: number of tiles), before the encoder.

        Raises:
            ValueError: the budget is smaller than the smallest image this family takes.
        """

    @abstractmethod
    def image_text(self, tokens: int) -> str:
        """The placeholders of one image with the marks around them, as text for the tokenizer."""

    @abstractmethod
    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """Vision encoder, compression, connector; differentiable."""

    @abstractmethod
    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """Positions of every token, given the compressed grids of all images in order; None: 0, 1, 2, ..."""

    @abstractmethod
    def language(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor | None,
        visual_mask: Tensor,
        deep: Sequence[Tensor],
    ) -> Tensor:
        """States ``(batch, length, hidden)`` after the last layer and its norm; plain causal attention."""

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """The language model's input embeddings."""
        embedded: Tensor = self.model.get_input_embeddings()(input_ids)
        return embedded

    def compressed_grids(self, image: VisionInput, compression: Compression) -> list[Grid]:
        """The grids of an image after compression, still in features."""
        return [compression.grid(grid, self.merge) for grid in image.grids]

    def token_count(self, image: VisionInput, compression: Compression) -> int:
        """Visual tokens, so placeholders, of one image."""
        grids = self.compressed_grids(image, compression)
        return sum(height * width for height, width in grids) // self.merge**2
