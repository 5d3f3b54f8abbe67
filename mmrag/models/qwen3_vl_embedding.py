"""Qwen3-VL-Embedding: one vector per input, the state of its last token; text, images and both.

The recipe, as its repository's script and its files for sentence-transformers have it::

    <|im_start|>system
    <instruction><|im_end|>
    <|im_start|>user
    <image><text><|im_end|>
    <|im_start|>assistant
    (what the tokenizer itself adds)

* The default instruction is ``Represent the user's input.``; an instruction that does not end in
  punctuation gets a full stop.
* The vector is the state of the last token that is attended to. Whether ``<|endoftext|>`` follows the
  generation prompt is left to the tokenizer's post-processor, as in both references.
* An empty input is the word ``NULL``.
* A vector may be cut to a prefix (Matryoshka, 64 and up) and is scaled to length one again.
* Images take at most 1800 tokens, as in the script; the files for sentence-transformers allow 16 384.

Compression before the connector is optional; the published weights were not trained with it.
Meta tokens do not apply.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mmrag.embedders.base import Reasoner
from mmrag.errors import check_whole
from mmrag.models.calls import EncodingCalls
from mmrag.models.checkpoint import check_weights, own_dtype
from mmrag.models.compression import Compression, as_compression
from mmrag.models.device import pick_device, pick_dtype
from mmrag.models.digests import processor_settings, state_digest
from mmrag.models.encoder import Encoder
from mmrag.models.inputs import Item
from mmrag.models.model import RetrievalModel
from mmrag.models.prompt import TokenizedInput
from mmrag.models.qwen3_vl import Qwen3VLBackbone
from mmrag.models.templates import common_end, refuse, shorten, without_special
from mmrag.types import Budget

DEFAULT_INSTRUCTION = "Represent the user's input."

EMPTY_INPUT = "NULL"
"""Text of an input without content."""

MAX_VISUAL_TOKENS = 1800
MIN_VISUAL_TOKENS = 4
MAX_TOKENS = 8192
BATCH_SIZE = 8

_ALGORITHM = "qwen3-vl-embedding-1"  # part of the fingerprint


class ConversationTemplate:
    """The conversation of the recipe; a `mmrag.models.encoder.Template`.

    Args:
        tokenizer: of the checkpoint.
        max_tokens: most tokens of an input; a text that is longer is cut at its end.
        image_token_id: of the placeholder, which is never cut.
    """

    def __init__(self, tokenizer: Any, max_tokens: int, image_token_id: int) -> None:  # noqa: ANN401
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.image_token_id = image_token_id

    @property
    def vocabulary(self) -> str:
        """Return the tokenizer as JSON, for fingerprints."""
        return str(self.tokenizer.backend_tokenizer.to_str())

    def tokenize(self, item: Item, side: str, placeholders: Sequence[str]) -> TokenizedInput:
        """Return the tokens of an input.

        Raises:
            ValueError: placeholders alone are too many.
        """
        images = iter(placeholders)
        parts = [
            without_special(part, self.tokenizer) if isinstance(part, str) else next(images)
            for part in item.parts or (EMPTY_INPUT,)
        ]
        if item.thought.strip():
            parts.append("\n" + without_special(item.thought, self.tokenizer))
        instruction = without_special(item.instruction, self.tokenizer)
        ids = self._ids(instruction, "".join(parts))
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
        return tuple(
            self.tokenizer(chat(with_full_stop(instruction) or DEFAULT_INSTRUCTION, content))["input_ids"]
        )


class Qwen3VLEmbedding(EncodingCalls):
    """A Qwen3-VL-Embedding checkpoint as an embedder; see the module docstring. Safe between threads.

    Args:
        model: backbone with the single-vector head; its compression and its `dim` are used.
        name: for people.
        instruction: of inputs on both sides without one of their own.
        batch_size: inputs in one forward pass at most.
        max_visual_tokens: of an image, after compression.
        max_tokens: of an input; a text that is longer is cut at its end.
        page_text: whether the text of a rendered page is embedded with its picture.
        thoughts: writes thoughts, which follow the content; the published weights were trained without.
        on_error: ``"raise"``, or ``"skip"`` to leave out inputs that cannot be embedded.

    Raises:
        ValueError: an argument is out of its range.
    """

    nested = True

    def __init__(
        self,
        model: RetrievalModel,
        *,
        name: str,
        instruction: str = DEFAULT_INSTRUCTION,
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
        self.instruction = with_full_stop(instruction) or DEFAULT_INSTRUCTION
        self.max_visual_tokens = check_whole("max_visual_tokens", max_visual_tokens)
        self._name = name
        backbone = model.backbone
        template = ConversationTemplate(backbone.tokenizer, max_tokens, backbone.image_token_id)
        self._encoder: Encoder = Encoder(
            model, template, max_visual_tokens=max_visual_tokens, batch_size=batch_size
        )

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        name: str | None = None,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        compression: int | Compression | None = None,
        dim: int | None = None,
        max_visual_tokens: int | None = None,
        **options: Any,  # noqa: ANN401  of the class
    ) -> Qwen3VLEmbedding:
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
        refuse(options, "Qwen3-VL-Embedding checkpoints", cls._options)
        check_weights(folder)
        torch_device = pick_device(device)
        parts = Qwen3VLBackbone.load_parts(
            str(folder), dtype=pick_dtype(dtype, own_dtype(folder), torch_device), local_files_only=True
        )
        backbone = Qwen3VLBackbone(*parts)
        block = backbone.image_processor.patch_size * backbone.merge
        backbone.image_processor.size = {  # the script's lower bound; the upper one is max_visual_tokens
            "shortest_edge": MIN_VISUAL_TOKENS * block**2,
            "longest_edge": max(backbone.image_processor.size["longest_edge"], MAX_VISUAL_TOKENS * block**2),
        }
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
            "algorithm": _ALGORITHM,
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
        """Return the width of a vector: 2048 (2B) or 4096 (8B), or the prefix."""
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
        backbone = self.model.backbone
        block = int(backbone.image_processor.patch_size) * backbone.merge
        return self.max_visual_tokens * self.model.compression.factor**2 * block**2

    def _instruction(self, side: str) -> str:
        return self.instruction


def chat(instruction: str, content: str) -> str:
    """Write the conversation as text up to the answer, as the checkpoint's chat template does."""
    system = f"<|im_start|>system\n{instruction}<|im_end|>\n"
    return f"{system}<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def with_full_stop(instruction: str) -> str:
    """Add a full stop to an instruction that does not end in punctuation; ``""`` stays."""
    instruction = instruction.strip()
    if instruction and not unicodedata.category(instruction[-1]).startswith("P"):
        instruction += "."
    return instruction
