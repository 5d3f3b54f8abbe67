"""What differs between the families of multimodal language models, behind one interface.

A `Backbone` wraps one loaded ``transformers`` model. It knows where the vision features are, how grids,
placeholders and positions are counted, and nothing of compression's arithmetic, of meta tokens or of
batches. Each family has a file of its own and uses nothing of another; `mmrag.models.families` finds the
one of a checkpoint.

The way of one image::

    PIL image -> preprocess -> VisionInput (pixels, grids)
              -> encode_images: vision encoder -> grid -> compression -> connector -> VisualTokens
              -> language: written over the placeholders of the token sequence
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from mmrag.models.batch import VisionInput, VisualTokens
from mmrag.models.compression import Compression, Grid
from mmrag.models.prompt import CHAT, Layout, Prompts, Turn

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.models.batch import Batch
    from mmrag.models.meta_tokens import MetaTokens

logger = logging.getLogger(__name__)

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
"""Options of ``from_pretrained`` that say where files are, so tokenizer and image processor need them too."""


class Backbone(ABC, nn.Module):
    """One loaded model of a family.

    Attributes:
        model: the ``transformers`` model without its language-modelling head.
        tokenizer: its tokenizer.
        image_processor: its PIL image processor; torchvision is not needed.
    """

    model_type: ClassVar[str]
    """``model_type`` of the family's config.json."""

    model_class: ClassVar[Any]
    """The ``transformers`` class without language-modelling head."""

    image_processor_class: ClassVar[Any]
    """The ``transformers`` PIL image processor of the family."""

    turn: ClassVar[Turn] = CHAT
    """The special tokens around an input."""

    sees: ClassVar[bool] = True
    """Whether it takes images."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    """What `mmrag.models.checkpoint.CheckpointConfig` holds for a plain backbone of this family, where that
    differs from its own defaults."""

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any) -> None:  # noqa: ANN401  transformers'
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor

    @classmethod
    def load_parts(cls, path: str, **options: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401  as from_pretrained
        """Model, tokenizer and image processor of a directory or hub name.

        They are composed here because the stock processors of these families need torchvision and a video
        processor, which a retriever of pages has no use for.

        Args:
            path: directory or hub name.
            options: of the model's ``from_pretrained``, as ``dtype`` or ``attn_implementation``.

        Raises:
            ValueError: the checkpoint lacks weights of the model.
        """
        from transformers import AutoTokenizer

        hub = {key: options[key] for key in HUB_OPTIONS if key in options}
        return (
            load_model(cls.model_class, path, **options),
            AutoTokenizer.from_pretrained(path, **hub),
            cls.image_processor_class.from_pretrained(path, **hub),
        )

    @property
    @abstractmethod
    def merge(self) -> int:
        """Features a side that the connector merges into one token."""

    @property
    def hidden_size(self) -> int:
        """Width of the language model's states."""
        return int(self.model.config.text_config.hidden_size)

    @property
    def image_token_id(self) -> int:
        """Id of the placeholder that visual tokens are written over."""
        return int(self.model.config.image_token_id)

    @property
    def image_token(self) -> str:
        """The placeholder as the tokenizer writes it."""
        return str(self.tokenizer.convert_ids_to_tokens(self.image_token_id))

    @abstractmethod
    def preprocess(self, image: Image, max_tokens: int, compression: Compression) -> VisionInput:
        """An RGB image of any size, resized or tiled so that it gives at most `max_tokens` visual tokens.

        The budget is met by input resolution (Qwen: pixels; InternVL3: number of tiles), before the encoder,
        and holds for the tokens after compression, its rounding included.

        Raises:
            ValueError: the image is not RGB, or the budget is smaller than the smallest image of this family.
        """

    @abstractmethod
    def pixels(self, max_tokens: int, compression: Compression) -> int:
        """The most pixels of an image that `preprocess` makes use of; a page need not be rendered larger."""

    @abstractmethod
    def image_text(self, tokens: int) -> str:
        """The placeholders of one image with the marks around them, as text for the tokenizer."""

    @abstractmethod
    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """Vision encoder, compression, connector; differentiable."""

    @abstractmethod
    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """Positions of every token, given the compressed grids of all images in order; None: 0, 1, 2, ..."""

    def language(
        self,
        embeds: Tensor,
        mask: Tensor,
        positions: Tensor | None,
        visual: Tensor,
        deep: Sequence[Tensor],
    ) -> Tensor:
        """Run the language model.

        Args:
            embeds: ``(B, T, D)``, visual tokens and meta tokens in place.
            mask: of `marked`.
            positions: of `position_ids`.
            visual: ``(B, T)``, True at visual tokens.
            deep: `VisualTokens.deep`.

        Returns:
            ``(B, T, D)`` states after the last layer and its norm.
        """
        options = self.language_options(mask, visual, deep)
        states: Tensor = self.model.language_model(
            inputs_embeds=embeds, position_ids=positions, **options
        ).last_hidden_state  # (B, T, D)
        return states

    def language_options(self, mask: Tensor, visual: Tensor, deep: Sequence[Tensor]) -> dict[str, Any]:
        """Return what the family's language model takes besides embeddings and positions."""
        del visual, deep
        return {"attention_mask": mask, "use_cache": False}

    @property
    def most_tokens(self) -> int | None:
        """Most tokens of an input without meta tokens that the model has places for; None: no such limit."""
        return None

    def layout(self, prompts: Prompts, max_tokens: int) -> Layout:
        """How inputs become tokens of this model.

        Raises:
            ValueError: the tokenizer lacks a special token, or a text could give one.
        """
        most = min(max_tokens, self.most_tokens or max_tokens)
        return Layout(self.tokenizer, prompts, most, self.image_token, self.turn)

    def marked(self, batch: Batch, side: str) -> Tensor:
        """The mask that `position_ids` and `language` are given.

        To a causal model meta tokens are tokens as any, and this is `Batch.attention_mask`. A family that
        must tell them from content gives a mask of its own form.
        """
        del side
        return batch.attention_mask

    def finished(self, vectors: Tensor, batch: Batch, side: str) -> Tensor:
        """Unit vectors ``(batch, rows, dim)`` of meta tokens as they are scored."""
        del batch, side
        return vectors

    def start_tables(self, meta: MetaTokens) -> None:
        """Let fresh tables start from what the model knows."""
        meta.start_from(self.model.get_input_embeddings().weight)

    @classmethod
    def own_tables(cls, folder: Path) -> dict[str, Tensor]:
        """Tables that the weights file of this family holds itself, named as in `RetrievalModel`."""
        del folder
        return {}

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


def load_model(model_class: Any, path: str, **options: Any) -> Any:  # noqa: ANN401  transformers'
    """A ``transformers`` model with every weight from the checkpoint, read from safetensors.

    Raises:
        ValueError: the checkpoint lacks weights of the model, or has some of another shape; stock loading
            leaves those random and says so in its log.
    """
    with _without_report():
        model, found = model_class.from_pretrained(
            path, output_loading_info=True, ignore_mismatched_sizes=True, use_safetensors=True, **options
        )
    absent = sorted({*found["missing_keys"], *(key[0] for key in found["mismatched_keys"])})
    if absent:
        raise ValueError(
            f"{path} must hold every weight of {model_class.__name__}, got {len(absent)} that are missing or "
            f"of another shape: {', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}. Check that the "
            "download is complete and that config.json belongs to these weights."
        )
    left = sorted(key for key in found["unexpected_keys"] if "lm_head" not in key)
    if left:
        logger.warning("%s: %d weights have no place in the model, as %s", path, len(left), left[0])
    return model


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep back the table that ``transformers`` logs about a head left out; `load_model` checks itself."""
    log = logging.getLogger("transformers.modeling_utils")

    def other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)


def check_image(image: Image, max_tokens: int) -> None:
    """Refuse what `Backbone.preprocess` of no family takes.

    Raises:
        ValueError: an image that is not RGB or has no pixels, or a budget below one token.
    """
    if image.mode != "RGB":
        raise ValueError(f"an image must be RGB, got mode {image.mode!r}. Convert it: image.convert('RGB').")
    if not all(image.size):
        raise ValueError(f"an image must have pixels, got size {image.size}. Leave it out.")
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, got {max_tokens}.")
