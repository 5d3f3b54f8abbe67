"""One vector an input, the state of its last token: what checkpoints of this kind have in common.

A design brings its backbone, its `TurnTemplate` and its defaults, in a file of its own.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch

from mmrag.embedders.base import Reasoner
from mmrag.errors import check_whole
from mmrag.models.backbone import Backbone
from mmrag.models.calls import EncodingCalls
from mmrag.models.checkpoint import check_weights, own_dtype
from mmrag.models.compression import Compression, as_compression
from mmrag.models.device import pick_device, pick_dtype
from mmrag.models.digests import processor_settings, state_digest
from mmrag.models.encoder import Encoder
from mmrag.models.inputs import Item
from mmrag.models.model import RetrievalModel
from mmrag.models.prompt import TokenizedInput
from mmrag.models.templates import common_end, refuse, shorten, without_special
from mmrag.types import Budget

MAX_VISUAL_TOKENS = 1800
MAX_TOKENS = 8192
BATCH_SIZE = 8

Self = TypeVar("Self", bound="SingleVectorEmbedder")


class TurnTemplate(ABC):
    """A conversation that is tokenised as one text, and cut before its end; a `Template`.

    Args:
        tokenizer: of the checkpoint.
        max_tokens: most tokens of an input; a text that is longer is cut at its end.
        image_token_id: of the placeholder, which is never cut.
    """

    empty: ClassVar[str] = ""
    """Text of an input without content."""

    def __init__(self, tokenizer: Any, max_tokens: int, image_token_id: int) -> None:  # noqa: ANN401
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.image_token_id = image_token_id

    @property
    def vocabulary(self) -> str:
        """Return the tokenizer as JSON, for fingerprints."""
        return str(self.tokenizer.backend_tokenizer.to_str())

    @abstractmethod
    def write(self, instruction: str, content: str) -> str:
        """Write the conversation as text up to the token whose state is the vector."""

    def arrange(self, item: Item, parts: list[str], instruction: str) -> str:
        """Put the texts and placeholders of an input into one content.

        Args:
            item: its `parts` say which of them are images.
            parts: as they are to be read, one for each of the item's, and a thought behind them.
            instruction: of this input; a design whose `write` takes it leaves it out here.
        """
        del item, instruction
        return "".join(parts)

    def tokenize(self, item: Item, side: str, placeholders: Sequence[str]) -> TokenizedInput:
        """Return the tokens of an input.

        Raises:
            ValueError: placeholders alone are too many.
        """
        del side
        images = iter(placeholders)
        parts = [
            without_special(part, self.tokenizer) if isinstance(part, str) else next(images)
            for part in item.parts or (self.empty,)
        ]
        if item.thought.strip():
            parts.append("\n" + without_special(item.thought, self.tokenizer))
        instruction = without_special(item.instruction, self.tokenizer)
        ids = self._ids(instruction, self.arrange(item, parts, instruction))
        if len(ids) <= self.max_tokens:
            return TokenizedInput(ids, cut=False)
        return TokenizedInput(self._cut(ids, instruction), cut=True)

    def _cut(self, ids: tuple[int, ...], instruction: str) -> tuple[int, ...]:
        """Cut the text before the end of the template; never a visual token.

        Raises:
            ValueError: visual tokens would be cut.
        """
        tail = common_end(self._ids(instruction, "0"), self._ids(instruction, "x"))
        short = shorten(ids, self.max_tokens, tail)
        image = self.image_token_id
        if short.count(image) < ids.count(image):
            raise ValueError(
                f"instruction and images must leave room for text within max_tokens={self.max_tokens}, got "
                f"{ids.count(image)} visual tokens. Give fewer images, or lower max_visual_tokens."
            )
        return short

    def _ids(self, instruction: str, content: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(self.write(instruction, content))["input_ids"])


class SingleVectorEmbedder(EncodingCalls):
    """A checkpoint of one vector an input as an embedder. Safe between threads.

    Args:
        model: backbone with the single-vector head; its compression and its `dim` are used.
        name: for people.
        instruction: of inputs on both sides without one of their own; None: the design's.
        batch_size: inputs in one forward pass at most.
        max_visual_tokens: of an image, after compression.
        max_tokens: of an input; a text that is longer is cut at its end.
        page_text: whether the text of a rendered page is embedded with its picture.
        thoughts: writes thoughts, which follow the content; the published weights were trained without.
        on_error: ``"raise"``, or ``"skip"`` to leave out inputs that cannot be embedded.

    Raises:
        ValueError: an argument is out of its range.
    """

    design: ClassVar[str]
    """The name of the checkpoints, for errors."""

    algorithm: ClassVar[str]
    """Part of the fingerprint: raise it when the same settings give other vectors."""

    backbone_class: ClassVar[type[Backbone]]
    template_class: ClassVar[type[TurnTemplate]]
    default_instruction: ClassVar[str] = ""

    nested = True

    def __init__(
        self,
        model: RetrievalModel,
        *,
        name: str,
        instruction: str | None = None,
        batch_size: int = BATCH_SIZE,
        max_visual_tokens: int = MAX_VISUAL_TOKENS,
        max_tokens: int = MAX_TOKENS,
        page_text: bool | str = False,
        thoughts: Reasoner | None = None,
        on_error: str = "raise",
    ) -> None:
        super().__init__(
            max_tokens=max_tokens,
            batch_size=batch_size,
            page_text=page_text,
            thoughts=thoughts,
            on_error=on_error,
        )
        self.model = model
        self.instruction = self.as_instruction(instruction or "") or self.default_instruction
        self.max_visual_tokens = check_whole("max_visual_tokens", max_visual_tokens)
        self._name = name
        backbone = model.backbone
        template = self.template_class(backbone.tokenizer, max_tokens, backbone.image_token_id)
        self._encoder: Encoder = Encoder(
            model, template, max_visual_tokens=max_visual_tokens, batch_size=batch_size
        )

    @classmethod
    def as_instruction(cls, instruction: str) -> str:
        """Return an instruction as the design writes it; ``""`` stays."""
        return instruction.strip()

    @classmethod
    def make_backbone(cls, folder: Path, **options: Any) -> Any:  # noqa: ANN401  a Backbone
        """Load the backbone of a folder and set what the design wants of its tokenizer and images.

        Args:
            folder: of the checkpoint.
            options: of the model's ``from_pretrained``.
        """
        return cls.backbone_class(*cls.backbone_class.load_parts(str(folder), **options))

    @classmethod
    def check_dim(cls, dim: int | None, config: Mapping[str, Any]) -> None:
        """Refuse a width that the checkpoint was not trained for; by default any prefix is taken.

        Raises:
            ValueError: the width is not one of the design's.
        """

    @classmethod
    def from_folder(
        cls: type[Self],
        folder: Path,
        *,
        name: str | None = None,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        compression: int | Compression | None = None,
        dim: int | None = None,
        max_visual_tokens: int | None = None,
        **options: Any,  # noqa: ANN401  of the class
    ) -> Self:
        """Load a checkpoint; what `mmrag.models.mllm_embedder.MLLMEmbedder.from_pretrained` calls.

        Args:
            folder: model, tokenizer and image processor.
            name: None: the folder's name.
            device: as `mmrag.models.device.pick_device`.
            dtype: as `mmrag.models.device.pick_dtype`.
            compression: None: none, as the published weights were trained.
            dim: width of the vectors, a prefix; None: all.
            max_visual_tokens: None: 1800 / s².
            options: the other arguments of the class. ``budget`` may be given and changes nothing, and so
                may ``pooling="last"``.

        Raises:
            FileNotFoundError: no safetensors.
            ValueError: an option does not apply, or is out of its range.
        """
        options.pop("budget", None)
        if options.get("pooling") == "last":
            del options["pooling"]
        refuse(options, f"{cls.design} checkpoints", cls._options)
        check_weights(folder)
        torch_device = pick_device(device)
        backbone = cls.make_backbone(
            folder, dtype=pick_dtype(dtype, own_dtype(folder), torch_device), local_files_only=True
        )
        cls.check_dim(dim, backbone.model.config.to_dict())
        compression = as_compression(compression) or Compression(1)
        model = RetrievalModel(backbone, compression, None, dim).to(torch_device).eval()
        most = max_visual_tokens or MAX_VISUAL_TOKENS // compression.factor**2
        return cls(model, name=name or folder.name, max_visual_tokens=most, **options)

    _options = ("batch_size", "instruction", "max_tokens", "on_error", "page_text", "thoughts")

    @property
    def name(self) -> str:
        """See `mmrag.embedders.base.Embedder`."""
        return self._name

    @cached_property
    def fingerprint(self) -> str:
        """Return a digest of the weights, the tokenizer, the instruction and the settings; computed once."""
        backbone = self.model.backbone
        settings = {
            "algorithm": self.algorithm,
            "weights": state_digest(backbone.model.state_dict().values()),
            "tokenizer": self._encoder.template.vocabulary,
            "images": processor_settings(backbone.image_processor),
            "compression": repr(self.model.compression),
            "dim": self.dim,
            "instruction": self.instruction,
            "max_visual_tokens": self.max_visual_tokens,
            "max_tokens": self.max_tokens,
            "page_text": self.page_text,
            "thoughts": None if self.thoughts is None else self.thoughts.fingerprint,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Return the width of a vector: that of the states, or the prefix."""
        return self.model.dim

    @property
    def budget(self) -> Budget:
        """Return one vector per side."""
        return Budget(1, 1)

    @property
    def modalities(self) -> frozenset[str]:
        """Return text and images."""
        return frozenset({"text", "image"})

    @property
    def image_pixels(self) -> int:
        """Return the largest picture area that is used; pages are rendered at it."""
        backbone: Any = self.model.backbone
        block = int(backbone.image_processor.patch_size) * backbone.merge
        return int(self.max_visual_tokens * self.model.compression.factor**2 * block**2)

    def _instruction(self, side: str) -> str:
        return self.instruction
