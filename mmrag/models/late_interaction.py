"""ColPali, ColQwen2 and ColModernVBert: a vector for every token, behind the embedder protocol.

The classes of ``transformers`` run these checkpoints. Ours are input and output: token ids and pixels are
made from a tokenizer and a PIL image processor (torchvision is not needed), padding leaves no trace, and a
page's rows may be pooled to a budget.

Differences from our own design:

* ``nested`` is False. Their rows are tokens in reading order, so a prefix of them is a part of the page
  and row 0 no summary. An index must score all rows of a page (``exact=True``), and a query keeps all
  its tokens; the budget of a search does not apply.
* ``budget=None`` keeps every token of a page: the vectors of the reference, number for number (ColPali
  1030 per page, ColQwen2 up to 768, ColModernVBert about 70 per tile). A `Budget` pools a page to at most
  ``budget.document`` rows (`mmrag.models.token_pooling`).
* A page is encoded as its image if it has one, otherwise as its text; never both. They were trained on page
  images and short questions: text pages and image queries work, but their quality has not been measured.
* There are no instructions: `Query.instruction` is not used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image as PILImage

from mmrag.errors import check_whole
from mmrag.forks import new_lock
from mmrag.models.calls import EncodingCalls
from mmrag.models.device import pick_device
from mmrag.models.digests import state_digest
from mmrag.models.encoder import BATCH_COST, Batcher, OutOfMemoryError, in_turn
from mmrag.models.inputs import Item, ready_image
from mmrag.models.late_interaction_family import LateInteractionFamily, Row
from mmrag.models.templates import common_end, refuse, shorten, without_special
from mmrag.models.token_pooling import pool_tokens
from mmrag.types import Budget, Matrix

BATCH_SIZE = 8
MAX_TOKENS = 1024

MAX_ROWS = 4096
"""Most rows of a page without pooling; the limit of an index."""

_ALGORITHM = (
    "late-interaction-1"  # part of the fingerprint: raise it when the same settings give other vectors
)

AUGMENTATION = 10
"""Number of augmentation tokens appended to a query, as in ColBERT."""


@dataclass(frozen=True, slots=True)
class _PreparedInput:
    row: Row
    cut: bool


class TokenEncoder:
    """Items to matrices of tokens; safe to share between threads. An `mmrag.models.calls.InputEncoder`.

    Args:
        family: the loaded model.
        query_template: with ``{query}`` and, optionally, ``{augmentation}``.
        max_tokens: of a query or a text; longer ones are cut before the end of the template.
        max_visual_tokens: of a page; None: the checkpoint's own limit.
        batch_size: most inputs of a forward pass.
    """

    def __init__(
        self,
        family: LateInteractionFamily,
        *,
        query_template: str,
        max_tokens: int,
        max_visual_tokens: int | None,
        batch_size: int,
    ) -> None:
        self.family = family
        self.query_template = query_template
        self.max_tokens = max_tokens
        self.max_visual_tokens = max_visual_tokens
        self._batcher = Batcher(batch_size, BATCH_COST)
        self._lock = new_lock()

    def prepare(self, item: Item, side: str) -> _PreparedInput:
        """Decode, resize and tokenise one input; may run in any thread.

        Raises:
            ValueError: several images, a query of both words and image, or too many tokens.
        """
        images = [part for part in item.parts if not isinstance(part, str)]
        words = [part for part in item.parts if isinstance(part, str)]
        _check_parts(len(images), len(words), side)
        if not images:
            return self._text("\n".join(words), side)
        row = self.family.image_row(ready_image(images[0]), self.max_visual_tokens)
        if len(row.ids) > MAX_ROWS:
            raise ValueError(
                f"an image must give at most {MAX_ROWS} tokens, got {len(row.ids)}. Set max_visual_tokens."
            )
        return _PreparedInput(row, cut=False)

    def _text(self, text: str, side: str) -> _PreparedInput:
        template = self.query_template if side == "query" else self.family.text_template
        field = "{query}" if side == "query" else "{text}"
        template = template.replace("{augmentation}", self.family.augmentation_token * AUGMENTATION)
        words = without_special(text, self.family.tokenizer)
        ids = self.family.encode_ids(template.replace(field, words, 1))
        if len(ids) <= self.max_tokens:
            return _PreparedInput(Row(ids), cut=False)
        ends = (self.family.encode_ids(template.replace(field, filler, 1)) for filler in "0x")
        return _PreparedInput(Row(shorten(ids, self.max_tokens, common_end(*ends))), cut=True)

    def encode(
        self, inputs: Sequence[_PreparedInput], side: str, rows: int, batch_size: int
    ) -> Iterator[tuple[int, Matrix]]:
        """Yield ``(position, matrix)`` as batches are done; documents are pooled to at most `rows`.

        Raises:
            MemoryError: one input alone does not fit the device.
        """
        for with_image in (True, False):  # a batch has pixels or has none
            positions = [at for at, item in enumerate(inputs) if bool(item.row.vision) is with_image]
            batch_rows = [inputs[position].row for position in positions]
            for index, matrix in self._run(batch_rows, batch_size):
                yield positions[index], matrix if side == "query" else pool_tokens(matrix, rows)

    def _run(self, rows: Sequence[Row], batch_size: int) -> Iterator[tuple[int, Matrix]]:
        device = self.family.model.device
        costs = [len(row.ids) for row in rows]

        def forward(indices: Sequence[int]) -> list[Matrix]:
            batch = [rows[index] for index in indices]
            return in_turn(self._lock, device, lambda: self.family.forward(batch))

        try:
            yield from self._batcher.run(costs, forward, batch_size)
        except OutOfMemoryError as error:
            raise MemoryError(
                f"one input of {max(costs)} tokens must fit {device}, and it does not ({error}). Lower "
                "max_visual_tokens, or use another dtype or device."
            ) from error


def _check_parts(images: int, words: int, side: str) -> None:
    """Check the numbers of an input's images and texts.

    Raises:
        ValueError: several images, or a query of both words and image.
    """
    if images > 1:
        raise ValueError(f"a {side} must have at most one image for this model, got {images}. Split it.")
    if images and words and side == "query":
        raise ValueError("a query must be words or an image for this model, got both. Ask in words.")


class LateInteractionEmbedder(EncodingCalls):
    """A late-interaction checkpoint as an embedder; see the module docstring for what differs.

    Args:
        family: the loaded model.
        name: for people.
        budget: pool a page to at most ``budget.document`` rows; None keeps every token.
        batch_size: pages or queries in one forward pass at most.
        max_visual_tokens: of a page, if the family can choose; None: the checkpoint's own limit.
        max_tokens: of a query or a text; longer ones are cut before the end of the template.
        query_template: replaces the family's; with ``{query}`` and, optionally, ``{augmentation}``.
        on_error: ``"raise"``, or ``"skip"`` to leave out inputs that cannot be embedded.

    Raises:
        ValueError: a template without ``{query}``, or a number out of its range.
    """

    family_class: ClassVar[type[LateInteractionFamily]]

    nested = False
    """Rows are tokens: no prefix of them stands for a page, an index scores all."""

    def __init__(
        self,
        family: LateInteractionFamily,
        *,
        name: str,
        budget: Budget | None = None,
        batch_size: int = BATCH_SIZE,
        max_visual_tokens: int | None = None,
        max_tokens: int = MAX_TOKENS,
        query_template: str | None = None,
        on_error: str = "raise",
    ) -> None:
        super().__init__(
            max_tokens=max_tokens, batch_size=batch_size, page_text=False, thoughts=None, on_error=on_error
        )
        if max_visual_tokens is not None:
            check_whole("max_visual_tokens", max_visual_tokens)
        self.family = family
        self.query_template = family.query_template if query_template is None else query_template
        if "{query}" not in self.query_template:
            raise ValueError(f"query_template must have {{query}} in it, got {query_template!r}.")
        self.pooled_rows = None if budget is None else budget.document
        self.max_visual_tokens = max_visual_tokens
        self._name = name
        self._encoder = TokenEncoder(
            family,
            query_template=self.query_template,
            max_tokens=max_tokens,
            max_visual_tokens=max_visual_tokens,
            batch_size=batch_size,
        )
        family.image_row(PILImage.new("RGB", (64, 64)), max_visual_tokens)  # raises now if no image fits

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        name: str | None = None,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        dim: int | None = None,
        image_prompt: str | None = None,
        positions: str | None = None,
        **options: Any,  # noqa: ANN401  of the class
    ) -> LateInteractionEmbedder:
        """Load a checkpoint, for `mmrag.models.mllm_embedder.MLLMEmbedder.from_pretrained`.

        Args:
            folder: model, tokenizer and image processor as ``transformers`` saves them.
            name: None: the folder's name.
            device: as `mmrag.models.device.pick_device`.
            dtype: as `mmrag.models.device.pick_dtype`.
            dim: must be the model's own or None.
            image_prompt: replaces the checkpoint's ``visual_prompt_prefix``.
            positions: of ColQwen2, see `mmrag.models.colqwen2`.
            options: the other arguments of the class.

        Raises:
            FileNotFoundError: no safetensors.
            ValueError: an option does not apply, or is out of its range.
        """
        refuse(options, f"{cls.family_class.model_type} checkpoints", cls._options)
        family = cls.family_class.load(folder, pick_device(device), dtype, image_prompt, positions)
        width = int(family.model.config.embedding_dim)
        if dim not in (None, width):
            raise ValueError(f"dim must be {width} for this model, whose vectors are not nested, got {dim}.")
        return cls(family, name=name or folder.name, **options)

    _options = ("budget", "batch_size", "max_visual_tokens", "max_tokens", "query_template", "on_error")

    @property
    def name(self) -> str:
        """See `mmrag.embedders.base.Embedder`."""
        return self._name

    @cached_property
    def fingerprint(self) -> str:
        """Return a digest of the weights, tokenizer, prompts, sizes and pooling; computed once."""
        settings = {
            "algorithm": _ALGORITHM,
            "weights": state_digest(self.family.model.state_dict().values()),
            "tokenizer": self.family.tokenizer.backend_tokenizer.to_str(),
            "images": self.family.image_processor.to_dict(),
            "settings": self.family.settings,
            "templates": [self.query_template, self.family.text_template],
            "augmentation": [self.family.augmentation_token, AUGMENTATION],
            "max_visual_tokens": self.max_visual_tokens,
            "max_tokens": self.max_tokens,
            "rows": self.pooled_rows,
        }
        text = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Return the width of a vector: 128 for the published checkpoints."""
        return int(self.family.model.config.embedding_dim)

    @property
    def budget(self) -> Budget:
        """Return the most rows: every token of a query; of a page `pooled_rows`, or all its tokens."""
        return Budget(self.max_tokens, self.pooled_rows or MAX_ROWS)

    @property
    def modalities(self) -> frozenset[str]:
        """Return text and images."""
        return frozenset({"text", "image"})

    @property
    def image_pixels(self) -> int:
        """Return the largest picture area that is used; pages are rendered at it."""
        return self.family.image_pixels(self.max_visual_tokens)

    def _instruction(self, side: str) -> str:
        return ""
