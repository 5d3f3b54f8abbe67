"""`LateInteractionFamily`: the interface behind which ColPali, ColQwen2 and ColModernVBert differ.

A family makes token ids and pixels from a tokenizer and a PIL image processor, so neither torchvision nor a
processor class is needed, and runs the ``...ForRetrieval`` class of ``transformers``. Padding is on the
right and leaves no trace.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmrag.models.checkpoint import check_weights, own_dtype
from mmrag.models.device import pick_dtype
from mmrag.types import Matrix

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Row:
    """One input: token ids, and the vision encoder's arguments of its image."""

    ids: tuple[int, ...]
    vision: Mapping[str, Tensor] = field(default_factory=dict)


class LateInteractionFamily(ABC):
    """One loaded model of a family.

    Attributes:
        model: a ``...ForRetrieval`` of ``transformers``.
        tokenizer: its tokenizer.
        image_processor: its PIL image processor.
        settings: ``query_prefix`` and ``visual_prompt_prefix`` if the checkpoint's processor_config.json has
            them, and ``positions`` if the caller chose.
    """

    model_type: ClassVar[str]
    """``model_type`` of the family's config.json."""

    position_kinds: ClassVar[tuple[str, ...]] = ()
    """Values of `positions`; empty for families without a choice."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401  transformers'
        tokenizer: Any,  # noqa: ANN401
        image_processor: Any,  # noqa: ANN401
        settings: Mapping[str, Any],
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.settings = dict(settings)

    @classmethod
    @abstractmethod
    def classes(cls) -> tuple[Any, Any]:
        """Import the classes of the model and of its PIL image processor."""

    @classmethod
    def load(
        cls,
        folder: Path,
        device: torch.device,
        dtype: str | torch.dtype,
        image_prompt: str | None = None,
        positions: str | None = None,
    ) -> LateInteractionFamily:
        """Load the model of a folder onto a device; see `LateInteractionEmbedder.from_folder`."""
        from transformers import AutoTokenizer

        cls._check_positions(positions)
        model_class, processor_class = cls.classes()
        model = _load_model(model_class, folder, pick_dtype(dtype, own_dtype(folder), device))
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        processor = processor_class.from_pretrained(str(folder), local_files_only=True)
        overrides = {"visual_prompt_prefix": image_prompt, "positions": positions}
        config = _processor_config(folder) | {k: v for k, v in overrides.items() if v is not None}
        return cls(model.to(device).eval(), tokenizer, processor, config)

    @classmethod
    def _check_positions(cls, positions: str | None) -> None:
        if positions is not None and positions not in cls.position_kinds:
            raise ValueError(
                f"positions of {cls.model_type} must be one of {cls.position_kinds}, got {positions!r}."
            )

    @property
    @abstractmethod
    def augmentation_token(self) -> str:
        """Return the token that a query is augmented with."""

    @property
    @abstractmethod
    def query_template(self) -> str:
        """Return the template of queries, with ``{query}`` and ``{augmentation}``."""

    @property
    def text_template(self) -> str:
        """Return the template of text documents, with ``{text}``."""
        return "{text}"

    @abstractmethod
    def image_pixels(self, max_tokens: int | None) -> int:
        """Return the largest picture area worth rendering; the image processor may shrink it further."""

    @abstractmethod
    def image_row(self, image: Image, max_tokens: int | None) -> Row:
        """Make the row of a page image and its prompt."""

    def model_inputs(self, rows: Sequence[Row], ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the model's arguments besides ids and mask: ``vision`` of all rows, joined."""
        names = rows[0].vision.keys()
        return {name: torch.cat([row.vision[name] for row in rows]) for name in names}

    def encode_ids(self, text: str) -> tuple[int, ...]:
        """Tokenise a whole template, special tokens included."""
        return tuple(self.tokenizer(text)["input_ids"])

    def forward(self, rows: Sequence[Row]) -> list[Matrix]:
        """Compute one ``(T, D)`` float32 matrix per row; either all rows have an image, or none has."""
        longest = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), longest), int(self.tokenizer.pad_token_id))  # (B, T)
        mask = torch.zeros_like(ids)  # (B, T)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = torch.tensor(row.ids)
            mask[number, : len(row.ids)] = 1
        more = self.model_inputs(rows, ids, mask)
        device = self.model.device
        inputs = {name: value.to(device) for name, value in more.items()}
        out = self.model(input_ids=ids.to(device), attention_mask=mask.to(device), **inputs)
        vectors = normalize(out.embeddings.float(), dim=-1).cpu()  # (B, T, D)
        return [vector[: len(row.ids)].numpy().copy() for vector, row in zip(vectors, rows, strict=True)]


def _load_model(model_class: Any, folder: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401  transformers'
    """Load a model that the files fill as a whole.

    Raises:
        FileNotFoundError: no safetensors.
        ValueError: weights of the model are missing.
    """
    check_weights(folder)
    model, info = model_class.from_pretrained(
        str(folder), dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    if info["missing_keys"]:
        raise ValueError(
            f"the weights of {folder} must fill the whole model, got none for "
            f"{sorted(info['missing_keys'])[:3]}. Copy all files of the checkpoint."
        )
    return model


def _processor_config(folder: Path) -> dict[str, Any]:
    """Read the prompts of processor_config.json, if there are any."""
    path = folder / "processor_config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, got {error}. Download it again.") from error
    return {
        name: config[name]
        for name in ("query_prefix", "visual_prompt_prefix")
        if config.get(name) is not None
    }
