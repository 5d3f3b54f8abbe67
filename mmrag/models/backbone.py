"""`Backbone`: the interface behind which families of multimodal language models differ.

A `Backbone` wraps one loaded ``transformers`` model. It knows where the vision features are, how grids,
placeholders and positions are counted, and nothing of compression's arithmetic, of meta tokens or of
batches. Each family has a file of its own and uses nothing of another; `mmrag.models.registry` finds the
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

from mmrag.models.batch import EngineImage, VisionInput, VisualTokens
from mmrag.models.compression import Compression, Grid
from mmrag.models.prompt import CHAT, Prompts, PromptTemplate, Turn

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

    stock_class: ClassVar[str] = "AutoModelForImageTextToText"
    """Name of the ``transformers`` class with the head, which the generative stages train."""

    image_processor_class: ClassVar[Any]
    """The ``transformers`` PIL image processor of the family."""

    turn: ClassVar[Turn] = CHAT
    """The special tokens around an input."""

    sees: ClassVar[bool] = True
    """Whether it takes images."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Fields of `mmrag.models.checkpoint.CheckpointConfig` for a plain backbone of this family, if they
    differ from that class's defaults."""

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any) -> None:  # noqa: ANN401  transformers'
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor

    @classmethod
    def load_parts(cls, path: str, **options: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401  as from_pretrained
        """Load model, tokenizer and image processor of a directory or hub name.

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
    def language_model(self) -> Any:  # noqa: ANN401  transformers'
        """Return the language model inside the model."""
        return self.model.language_model

    @property
    @abstractmethod
    def merge(self) -> int:
        """Return the features per side that the connector merges into one token."""

    @property
    def hidden_size(self) -> int:
        """Return the width D of the language model's states."""
        return int(self.model.config.text_config.hidden_size)

    @property
    def image_token_id(self) -> int:
        """Return the id of the placeholder that visual tokens are written over."""
        return int(self.model.config.image_token_id)

    @property
    def image_token(self) -> str:
        """Return the placeholder as the tokenizer writes it."""
        return str(self.tokenizer.convert_ids_to_tokens(self.image_token_id))

    @abstractmethod
    def preprocess(self, image: Image, max_tokens: int, compression: Compression) -> VisionInput:
        """Resize or tile an RGB image of any size so that it gives at most `max_tokens` visual tokens.

        The budget is met by input resolution (Qwen: pixels; InternVL3: number of tiles), before the encoder,
        and holds for the tokens after compression, its rounding included.

        Raises:
            ValueError: the image is not RGB, or the budget is smaller than the smallest image of this family.
        """

    def engine_image(self, image: Image, max_tokens: int, compression: Compression) -> EngineImage:
        """Return an image that gives a serving engine the very pixels of `preprocess`.

        Raises:
            ValueError: as `preprocess`; or this family is not served (`mmrag.models.served`).
        """
        raise ValueError(f"{self.model_type} must be loaded in process, got a serving engine.")

    @abstractmethod
    def pixels(self, max_tokens: int, compression: Compression) -> int:
        """Return the most pixels that `preprocess` keeps; a page need not be rendered larger."""

    @abstractmethod
    def image_text(self, tokens: int) -> str:
        """Return the placeholders of one image and the special tokens around them, as text."""

    @abstractmethod
    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """Run vision encoder, compression and connector; differentiable."""

    @abstractmethod
    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """Compute the position of every token; None for 0, 1, 2, ...

        Args:
            input_ids: ``(B, T)``.
            attention_mask: of `attention_mask`.
            grids: of all images in order, compressed.
        """

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
            mask: of `attention_mask`.
            positions: of `position_ids`.
            visual: ``(B, T)``, True at visual tokens.
            deep: `VisualTokens.deep`.

        Returns:
            ``(B, T, D)`` states after the last layer and its norm.
        """
        options = self.language_options(mask, visual, deep)
        states: Tensor = self.language_model(
            inputs_embeds=embeds, position_ids=positions, **options
        ).last_hidden_state  # (B, T, D)
        return states

    def language_options(self, mask: Tensor, visual: Tensor, deep: Sequence[Tensor]) -> dict[str, Any]:
        """Return what the family's language model takes besides embeddings and positions."""
        del visual, deep
        return {"attention_mask": mask, "use_cache": False}

    @property
    def most_tokens(self) -> int | None:
        """Return the most tokens of an input, meta tokens not counted; None for no limit of the model's."""
        return None

    def template(self, prompts: Prompts, max_tokens: int) -> PromptTemplate:
        """Build the template by which inputs become tokens of this model.

        Raises:
            ValueError: the tokenizer lacks a special token, or a text could give one.
        """
        most = min(max_tokens, self.most_tokens or max_tokens)
        return PromptTemplate(self.tokenizer, prompts, most, self.image_token, self.turn)

    def attention_mask(self, batch: Batch, side: str) -> Tensor:
        """Return the mask for `position_ids` and `language`.

        Causal models need no special mask for meta tokens: this is `Batch.attention_mask`. Other families
        may return a mask of their own form.
        """
        del side
        return batch.attention_mask

    def weigh_rows(self, vectors: Tensor, batch: Batch, side: str) -> Tensor:
        """Weigh the unit vectors ``(B, R, D)`` of meta tokens; all alike, except in mmrag-mini."""
        del batch, side
        return vectors

    def start_tables(self, meta: MetaTokens) -> None:
        """Initialise untrained tables from the model's vocabulary."""
        meta.start_from(self.model.get_input_embeddings().weight)

    @classmethod
    def own_tables(cls, folder: Path) -> dict[str, Tensor]:
        """Read tables that this family's weights file holds itself, named as in `RetrievalModel`."""
        del folder
        return {}

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Look up the language model's input embeddings."""
        embeds: Tensor = self.model.get_input_embeddings()(input_ids)  # (B, T, D)
        return embeds

    def compressed_grids(self, image: VisionInput, compression: Compression) -> list[Grid]:
        """Return the grids of an image after compression, in features."""
        return [compression.grid(grid, self.merge) for grid in image.grids]

    def token_count(self, image: VisionInput, compression: Compression) -> int:
        """Return the number of visual tokens of one image, which is that of its placeholders."""
        grids = self.compressed_grids(image, compression)
        return sum(height * width for height, width in grids) // self.merge**2


def _check_report(report: Mapping[str, Any], path: str, class_name: str) -> None:
    absent = sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
    if absent:
        raise ValueError(
            f"{path} must hold every weight of {class_name}, got {len(absent)} that are missing or "
            f"of another shape: {', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}. Check that the "
            "download is complete and that config.json belongs to these weights."
        )


def load_model(model_class: Any, path: str, **options: Any) -> Any:  # noqa: ANN401  transformers'
    """Load a ``transformers`` model with every weight from the checkpoint, read from safetensors.

    Raises:
        ValueError: the checkpoint lacks weights of the model, or has some of another shape; stock loading
            leaves those random and says so in its log.
    """
    with _without_report():
        model, report = model_class.from_pretrained(
            path, output_loading_info=True, ignore_mismatched_sizes=True, use_safetensors=True, **options
        )
    _check_report(report, path, model_class.__name__)
    left = sorted(key for key in report["unexpected_keys"] if "lm_head" not in key)
    if left:
        logger.warning("%s: %d weights have no place in the model, as %s", path, len(left), left[0])
    return model


@contextmanager
def _without_report() -> Iterator[None]:
    """Suppress the table that ``transformers`` logs about a head left out; `load_model` checks by itself."""
    log = logging.getLogger("transformers.modeling_utils")

    def is_no_report(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    log.addFilter(is_no_report)
    try:
        yield
    finally:
        log.removeFilter(is_no_report)


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
