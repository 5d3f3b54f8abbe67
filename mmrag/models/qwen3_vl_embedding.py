"""Qwen3-VL-Embedding: one vector an input, the state of its last token; text, images and both.

The recipe, as its repository's script and its files for sentence-transformers have it::

    <|im_start|>system
    <instruction><|im_end|>
    <|im_start|>user
    <image><text><|im_end|>
    <|im_start|>assistant
    (what the tokenizer itself adds)

* The instruction is ``Represent the user's input.`` where none is given; one that does not end in
  punctuation gets a full stop.
* The vector is the state of the last token that is attended to. Whether ``<|endoftext|>`` stands behind the
  generation prompt is the tokenizer's matter (its post-processor adds it or not), and is left to it here
  as in both references.
* An input without anything in it is the word ``NULL``.
* A vector may be cut to a prefix (Matryoshka, 64 and up) and is scaled to length one again.
* Images take at most 1800 tokens, as in the script; the files for sentence-transformers allow 16 384.

Compression before the connector may be asked for; the published weights were not trained with it.
Meta tokens do not apply.
"""

from __future__ import annotations

import hashlib
import json
import threading
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from mmrag.embedder import DocumentInput, EmbedderBase, QueryInput
from mmrag.errors import BadInputError
from mmrag.models.backbone import VisionInput
from mmrag.models.batching import Batcher
from mmrag.models.checkpoint import check_weights, own_dtype, state_digest
from mmrag.models.compression import Compression
from mmrag.models.inputs import Item, document_item, query_item, ready_image
from mmrag.models.late_interaction import MOST_TOKENS, common_end, shortened, without_special
from mmrag.models.model import RetrievalModel, TokenRow, collate
from mmrag.models.places import pick_device, pick_dtype
from mmrag.models.qwen3_vl import Qwen3VLBackbone
from mmrag.types import Budget, Matrix

DEFAULT_INSTRUCTION = "Represent the user's input."

NOTHING = "NULL"
"""What an empty input is."""

MAX_VISUAL_TOKENS = 1800
MIN_VISUAL_TOKENS = 4
MAX_LENGTH = 8192

_ALGORITHM = "qwen3-vl-embedding-1"  # part of the fingerprint


class Qwen3VLEmbedding(EmbedderBase):
    """A Qwen3-VL-Embedding checkpoint as an embedder; see the module docstring. Safe between threads.

    Args:
        model: backbone with the single-vector head; its compression and its `dim` are used.
        name: what people call it.
        instruction: of inputs on both sides that bring none.
        batch_size: inputs in one forward pass at most.
        max_visual_tokens: of an image, after compression.
        max_length: tokens of an input; a text that is longer is cut at its end.
    """

    nested = True

    def __init__(
        self,
        model: RetrievalModel,
        *,
        name: str,
        instruction: str = DEFAULT_INSTRUCTION,
        batch_size: int = 8,
        max_visual_tokens: int = MAX_VISUAL_TOKENS,
        max_length: int = MAX_LENGTH,
    ) -> None:
        self.model = model
        self.instruction = finished(instruction)
        self.batch_size = batch_size
        self.max_visual_tokens = max_visual_tokens
        self.max_length = max_length
        self._name = name
        self._batcher = Batcher(batch_size, MOST_TOKENS)
        self._lock = threading.Lock()

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        name: str | None = None,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        compression: int | Compression | None = None,
        dim: int | None = None,
        budget: Budget | None = None,
        max_visual_tokens: int | None = None,
        **options: Any,  # noqa: ANN401  of the class
    ) -> Qwen3VLEmbedding:
        """Load a checkpoint.

        Args:
            folder: model, tokenizer and image processor.
            name: None: the folder's name.
            device: as `mmrag.models.places.pick_device`.
            dtype: as `mmrag.models.places.pick_dtype`.
            compression: None: none, as the published weights were trained.
            dim: width of the vectors, a prefix; None: all.
            budget: has no meaning for one vector an input, and must allow it.
            max_visual_tokens: None: 1800.
            options: the other arguments of the class.

        Raises:
            FileNotFoundError: no safetensors.
            ValueError: an option is out of its range.
        """
        check_weights(folder)
        place = pick_device(str(device))
        parts = Qwen3VLBackbone.load_parts(
            str(folder), dtype=pick_dtype(dtype, own_dtype(folder), place), local_files_only=True
        )
        backbone = Qwen3VLBackbone(*parts)
        block = backbone.image_processor.patch_size * backbone.merge
        backbone.image_processor.size = {  # the script's lower bound; the upper one is max_visual_tokens
            "shortest_edge": MIN_VISUAL_TOKENS * block**2,
            "longest_edge": max(backbone.image_processor.size["longest_edge"], MAX_VISUAL_TOKENS * block**2),
        }
        if compression is None or isinstance(compression, int):
            compression = Compression(1 if compression is None else compression)
        model = RetrievalModel(backbone, compression, None, dim).to(place).eval()
        most = MAX_VISUAL_TOKENS if max_visual_tokens is None else max_visual_tokens
        return cls(model, name=name or folder.name, max_visual_tokens=most, **options)

    @property
    def name(self) -> str:
        """See `mmrag.embedder.Embedder`."""
        return self._name

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights, the tokenizer, the instruction and the settings; computed once."""
        backbone = self.model.backbone
        settings = {
            "algorithm": _ALGORITHM,
            "weights": state_digest(backbone.model.state_dict().values()),
            "tokenizer": backbone.tokenizer.backend_tokenizer.to_str(),
            "images": backbone.image_processor.to_dict(),
            "compression": repr(self.model.compression),
            "dim": self.dim,
            "instruction": self.instruction,
            "max_visual_tokens": self.max_visual_tokens,
            "max_length": self.max_length,
        }
        text = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Width of a vector: 2048 (2B) or 4096 (8B) where it is not cut."""
        return self.model.dim

    @property
    def budget(self) -> Budget:
        """One vector a side."""
        return Budget(1, 1)

    @property
    def modalities(self) -> frozenset[str]:
        """Text and images."""
        return frozenset({"text", "image"})

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int | None = None, show_progress: bool = False
    ) -> list[Matrix]:
        """One ``(1, dim)`` float32 matrix a query, L2-normalised, in input order.

        Raises:
            BadInputError: an input cannot be used, or its images are too many tokens.
            TypeError: an input is neither `str` nor `Query`.
        """
        items = [query_item(query, at, "") for at, query in enumerate(queries)]
        return self._encode(items, "query", batch_size, show_progress)

    def encode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
    ) -> list[Matrix]:
        """One ``(1, dim)`` float32 matrix a document, L2-normalised, in input order.

        A page is its image where it has one, else its text.

        Raises:
            BadInputError: an input cannot be used, or its images are too many tokens.
            TypeError: an input is neither `str`, `Page` nor `Content`.
        """
        items = [document_item(document, at, "", False) for at, document in enumerate(documents)]
        return self._encode(items, "document", batch_size, show_progress)

    def _encode(
        self, items: Sequence[Item], side: str, batch_size: int | None, show_progress: bool
    ) -> list[Matrix]:
        size = self.batch_size if batch_size is None else min(batch_size, self.batch_size)
        if size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        rows = [self._row(item, at, side) for at, item in enumerate(items)]
        pad = int(self.model.backbone.tokenizer.pad_token_id)
        device = self.model.backbone.model.device

        @torch.inference_mode()
        def work(places: Sequence[int]) -> list[Matrix]:
            batch = collate([rows[at] for at in places], pad=pad).to(device)
            return list(self.model(batch, side).cpu().numpy())

        out: dict[int, Matrix] = {}
        with (
            self._lock,
            tqdm(total=len(rows), desc=f"encoding {side}s", unit=side, disable=not show_progress) as bar,
        ):
            for at, matrix in self._batcher.run([len(row.ids) for row in rows], work, size):
                out[at] = matrix
                bar.update()
        return [out[at] for at in range(len(rows))]

    def _row(self, item: Item, at: int, side: str) -> TokenRow:
        backbone, compression = self.model.backbone, self.model.compression
        try:
            images: list[VisionInput] = []
            parts: list[str] = []
            for part in item.parts or (NOTHING,):
                if isinstance(part, str):
                    parts.append(without_special(part, backbone.tokenizer))
                    continue
                images.append(backbone.preprocess(ready_image(part), self.max_visual_tokens, compression))
                parts.append(backbone.image_text(backbone.token_count(images[-1], compression)))
            if item.thought.strip():
                parts.append("\n" + without_special(item.thought, backbone.tokenizer))
            instruction = without_special(finished(item.instruction), backbone.tokenizer) or self.instruction
            return TokenRow(self._ids(instruction, "".join(parts), bool(images)), tuple(images))
        except ValueError as error:
            raise BadInputError(side, at, str(error)) from error

    def _ids(self, instruction: str, content: str, has_image: bool) -> tuple[int, ...]:
        """Token ids of the whole chat, at most `max_length`; placeholders are never cut."""
        ids = self._tokens(instruction, content)
        if len(ids) <= self.max_length:
            return ids
        tail = common_end(self._tokens(instruction, "0"), self._tokens(instruction, "x"))
        short = shortened(ids, self.max_length, tail)
        image = self.model.backbone.image_token_id
        if has_image and short.count(image) < ids.count(image):
            raise ValueError(
                f"images must leave room within {self.max_length} tokens, got {ids.count(image)} tokens of "
                "images. Give fewer images, or lower max_visual_tokens."
            )
        return short

    def _tokens(self, instruction: str, content: str) -> tuple[int, ...]:
        return tuple(self.model.backbone.tokenizer(chat(instruction, content))["input_ids"])


def chat(instruction: str, content: str) -> str:
    """The conversation as text, ready to be answered; what its chat template makes of two turns."""
    system = f"<|im_start|>system\n{instruction}<|im_end|>\n"
    return f"{system}<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def finished(instruction: str) -> str:
    """An instruction with a full stop where it does not end in punctuation; ``""`` stays."""
    instruction = instruction.strip()
    if instruction and not unicodedata.category(instruction[-1]).startswith("P"):
        instruction += "."
    return instruction
