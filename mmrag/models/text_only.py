"""`TextBackbone`: language models without a vision encoder, as Qwen2.5 and Qwen3, behind the same interface.

They read a page by its text: as a retriever with meta tokens or last-token pooling, and as the reasoner or
reranker that the generative stages train. There is nothing to compress, and a picture is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import AutoModel

from mmrag.models.backbone import Backbone
from mmrag.models.batch import VisionInput, VisualTokens

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from mmrag.models.compression import Compression, Grid


PLACEHOLDER = "<|image_pad|>"
"""A token of these vocabularies that stands for a picture in their sisters that see."""


class NoPictures:
    """The image processor of a model that reads text only: it has no settings and no files."""

    @classmethod
    def from_pretrained(cls, path: str, **options: Any) -> NoPictures:  # noqa: ANN401  as transformers'
        """Return one, whatever the folder holds."""
        del path, options
        return cls()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write nothing."""

    def to_dict(self) -> dict[str, Any]:
        """Return no settings."""
        return {}


class TextReader(Backbone):
    """The part of a backbone that all families share that read text alone: a picture is refused."""

    image_processor_class = NoPictures
    sees = False

    title: ClassVar[str]
    """What a message calls the model."""
    advice: ClassVar[str]
    """What a message says to do with a picture."""

    @property
    def merge(self) -> int:
        """See `Backbone.merge`."""
        return 1

    def preprocess(self, image: Image, max_tokens: int, compression: Compression) -> VisionInput:
        """Refuse a picture.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{self.title} reads text only, got a picture of {image.width} x {image.height}. {self.advice}"
        )

    def pixels(self, max_tokens: int, compression: Compression) -> int:
        """See `Backbone.pixels`."""
        return 0

    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """Refuse pictures.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{self.title} reads text only, got {len(images)} pictures. {self.advice}")


class TextBackbone(TextReader):
    """A ``Qwen2Model`` or ``Qwen3Model``."""

    model_type = "qwen2"
    model_class = AutoModel
    stock_class = "AutoModelForCausalLM"
    title = "a language model without a vision encoder"
    advice = (
        "Give its text (in a training file documents: text, or images: false), or take a model that sees."
    )

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any) -> None:  # noqa: ANN401
        super().__init__(model, tokenizer, image_processor)
        self._placeholder_id = tokenizer.get_vocab().get(PLACEHOLDER)
        if self._placeholder_id is None:
            raise ValueError(
                f"a text model's tokenizer must have the token {PLACEHOLDER}, as Qwen2.5's and Qwen3's have, "
                "got one without it. Take a checkpoint of these families."
            )

    @property
    def language_model(self) -> Any:  # noqa: ANN401  transformers'
        """See `Backbone.language_model`: the model has nothing else."""
        return self.model

    @property
    def hidden_size(self) -> int:
        """See `Backbone.hidden_size`."""
        return int(self.model.config.hidden_size)

    @property
    def image_token_id(self) -> int:
        """See `Backbone.image_token_id`; the token is in the vocabulary, and no input has it."""
        return int(self._placeholder_id)

    def image_text(self, tokens: int) -> str:
        """See `Backbone.image_text`."""
        return PLACEHOLDER * tokens

    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """See `Backbone.position_ids`."""
        return None
