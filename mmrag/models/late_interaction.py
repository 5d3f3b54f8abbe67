"""ColPali, ColQwen2 and ColModernVBert: a vector for every token, behind the embedder protocol.

These are checkpoints of today; the classes of ``transformers`` run them. What is ours is the way in and
out: token ids and pixels are made from a tokenizer and a PIL image processor (torchvision is not needed),
padding leaves no trace, and a page's rows may be pooled to a budget.

What must be known of them:

* ``nested`` is False. Their rows are tokens in reading order, so a prefix of them is a part of the page
  and row 0 no summary. An index must score all rows of a page (``exact=True``), and a query keeps all
  its tokens; a budget asked of a search means nothing here.
* ``budget=None`` keeps every token of a page: the vectors of the reference, number for number (ColPali
  1030 a page, ColQwen2 up to 768, ColModernVBert about 70 a tile). A `Budget` pools a page to at most
  ``budget.document`` rows (`mmrag.models.token_pooling`).
* A page is encoded as its image where it has one, and as its text otherwise; they take one of the two.
  They were trained on page images against short questions: text pages and image queries work, and nobody
  has measured how well.
* There are no instructions: `Query.instruction` is not used.
"""

from __future__ import annotations

import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from mmrag.embedder import DocumentInput, EmbedderBase, QueryInput
from mmrag.errors import BadInputError
from mmrag.models.batching import Batcher
from mmrag.models.checkpoint import check_weights, own_dtype, state_digest
from mmrag.models.compression import Compression
from mmrag.models.inputs import Item, document_item, query_item, ready_image
from mmrag.models.places import pick_device, pick_dtype
from mmrag.models.token_pooling import pool_tokens
from mmrag.types import Budget, Matrix

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_ROWS = 4096
"""Most rows of a page without pooling; what an index takes."""

MOST_TOKENS = 1 << 16
"""Padded tokens of a batch."""

_ALGORITHM = (
    "late-interaction-1"  # part of the fingerprint: raise it when the same settings give other vectors
)

AUGMENTATION = 10
"""Tokens added to a query, whose states carry what its words do not say; as in ColBERT."""


@dataclass(frozen=True, slots=True)
class Row:
    """One input: token ids, and what the vision encoder takes of its image."""

    ids: tuple[int, ...]
    vision: Mapping[str, Tensor] = field(default_factory=dict)


class LateInteractionFamily(ABC):
    """One loaded model with what its family does differently.

    Attributes:
        model: a ``...ForRetrieval`` of ``transformers``.
        tokenizer: its tokenizer.
        image_processor: its PIL image processor.
        settings: the checkpoint's own ``query_prefix`` and ``visual_prompt_prefix`` where its
            processor_config.json has them, and ``positions`` where the caller chose.
    """

    model_type: ClassVar[str]
    """``model_type`` of the family's config.json."""

    position_kinds: ClassVar[tuple[str, ...]] = ()
    """What `positions` may be; none where there is no choice."""

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
        """The model's class and the PIL image processor's."""

    @classmethod
    def load(
        cls,
        folder: Path,
        device: torch.device,
        dtype: str | torch.dtype,
        image_prompt: str | None = None,
        positions: str | None = None,
    ) -> LateInteractionFamily:
        """The model of a folder on its device; see `LateInteractionEmbedder.from_folder`."""
        from transformers import AutoTokenizer

        if positions is not None and positions not in cls.position_kinds:
            raise ValueError(
                f"positions of {cls.model_type} must be one of {cls.position_kinds}, got {positions!r}."
            )
        check_weights(folder)
        model_class, processor_class = cls.classes()
        model, info = model_class.from_pretrained(
            str(folder),
            dtype=pick_dtype(dtype, own_dtype(folder), device),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        if info["missing_keys"]:
            raise ValueError(
                f"the weights of {folder} must fill the whole model, got none for "
                f"{sorted(info['missing_keys'])[:3]}. Copy all files of the checkpoint."
            )
        return cls(
            model.to(device).eval(),
            AutoTokenizer.from_pretrained(str(folder), local_files_only=True),
            processor_class.from_pretrained(str(folder), local_files_only=True),
            {
                **_processor_config(folder),
                **({} if image_prompt is None else {"visual_prompt_prefix": image_prompt}),
                **({} if positions is None else {"positions": positions}),
            },
        )

    @property
    @abstractmethod
    def augmentation_token(self) -> str:
        """What a query is augmented with."""

    @property
    @abstractmethod
    def query_template(self) -> str:
        """A query's text with ``{query}`` and ``{augmentation}``."""

    @property
    def text_template(self) -> str:
        """A text document's text with ``{text}``."""
        return "{text}"

    @abstractmethod
    def image_row(self, image: Image, max_tokens: int | None) -> Row:
        """A page image, with its prompt."""

    def model_inputs(self, rows: Sequence[Row], ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """What the model takes beside ids and mask; ``vision`` of all rows joined."""
        names = rows[0].vision.keys()
        return {name: torch.cat([row.vision[name] for row in rows]) for name in names}

    def encode_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a whole template, special tokens included."""
        return tuple(self.tokenizer(text)["input_ids"])

    @torch.inference_mode()
    def forward(self, rows: Sequence[Row]) -> list[Matrix]:
        """One ``(tokens, dim)`` float32 matrix a row; rows all with an image, or all without."""
        longest = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), longest), int(self.tokenizer.pad_token_id))
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row.ids)] = torch.tensor(row.ids)
            mask[place, : len(row.ids)] = 1
        more = self.model_inputs(rows, ids, mask)
        device = self.model.device
        inputs = {name: value.to(device) for name, value in more.items()}
        out = self.model(input_ids=ids.to(device), attention_mask=mask.to(device), **inputs)
        vectors = normalize(out.embeddings.float(), dim=-1).cpu()
        return [vectors[place, : len(row.ids)].numpy() for place, row in enumerate(rows)]


class LateInteractionEmbedder(EmbedderBase):
    """A late-interaction checkpoint as an embedder; see the module docstring for what differs.

    Args:
        family: the loaded model.
        name: what people call it.
        budget: pool a page to at most ``budget.document`` rows; None keeps every token.
        batch_size: pages or queries in one forward pass at most.
        max_visual_tokens: of a page, where the family has a choice; None: the checkpoint's own limit.
        max_length: tokens of a query or a text; what is longer is cut, the template's end never.
        query_template: instead of the family's; with ``{query}`` and, where wanted, ``{augmentation}``.

    Raises:
        ValueError: a template without ``{query}``, or a number below 1.
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
        batch_size: int = 4,
        max_visual_tokens: int | None = None,
        max_length: int = 1024,
        query_template: str | None = None,
    ) -> None:
        self.family = family
        self.query_template = family.query_template if query_template is None else query_template
        if "{query}" not in self.query_template:
            raise ValueError(f"query_template must have {{query}} in it, got {query_template!r}.")
        self.pooled_rows = None if budget is None else budget.document
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
        image_prompt: str | None = None,
        positions: str | None = None,
        **options: Any,  # noqa: ANN401  of the class
    ) -> LateInteractionEmbedder:
        """Load a checkpoint.

        Args:
            folder: model, tokenizer and image processor as ``transformers`` saves them.
            name: None: the folder's name.
            device: as `mmrag.models.places.pick_device`.
            dtype: as `mmrag.models.places.pick_dtype`.
            compression: does not apply; None or 1.
            dim: must be the model's own or None.
            image_prompt: instead of the checkpoint's ``visual_prompt_prefix``.
            positions: of ColQwen2, see `mmrag.models.colqwen2`.
            options: the other arguments of the class.

        Raises:
            FileNotFoundError: no safetensors.
            ValueError: an option that does not apply, or is out of its range.
        """
        if compression not in (None, 1, Compression(1)):
            raise ValueError(
                f"compression does not apply to {cls.family_class.model_type}, got {compression!r}."
            )
        family = cls.family_class.load(folder, pick_device(str(device)), dtype, image_prompt, positions)
        own = int(family.model.config.embedding_dim)
        if dim not in (None, own):
            raise ValueError(f"dim must be {own} for this model, whose vectors are not nested, got {dim}.")
        return cls(family, name=name or folder.name, **options)

    @property
    def name(self) -> str:
        """See `mmrag.embedder.Embedder`."""
        return self._name

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights, the tokenizer, the prompts, the sizes and the pooling; computed once."""
        settings = {
            "algorithm": _ALGORITHM,
            "weights": state_digest(self.family.model.state_dict().values()),
            "tokenizer": self.family.tokenizer.backend_tokenizer.to_str(),
            "images": self.family.image_processor.to_dict(),
            "settings": self.family.settings,
            "templates": [self.query_template, self.family.text_template],
            "augmentation": [self.family.augmentation_token, AUGMENTATION],
            "max_visual_tokens": self.max_visual_tokens,
            "max_length": self.max_length,
            "rows": self.pooled_rows,
        }
        text = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Width of a vector: 128 for the published ones."""
        return int(self.family.model.config.embedding_dim)

    @property
    def budget(self) -> Budget:
        """Most rows: every token of a query; of a page `pooled_rows`, or all its tokens."""
        return Budget(self.max_length, self.pooled_rows or MAX_ROWS)

    @property
    def modalities(self) -> frozenset[str]:
        """Text and images."""
        return frozenset({"text", "image"})

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int | None = None, show_progress: bool = False
    ) -> list[Matrix]:
        """One ``(tokens, dim)`` float32 matrix a query, L2-normalised, in input order.

        Raises:
            BadInputError: a query has text and an image, or several images; an image cannot be used.
            TypeError: an input is neither `str` nor `Query`.
        """
        items = [query_item(query, at, "") for at, query in enumerate(queries)]
        for at, item in enumerate(items):
            if len(item.parts) > 1:
                raise BadInputError(
                    "query",
                    at,
                    f"{self.name!r} takes a text or an image, got {len(item.parts)} parts. Ask in words.",
                )
        return self._encode(items, "query", batch_size, show_progress)

    def encode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
    ) -> list[Matrix]:
        """One ``(rows, dim)`` float32 matrix a document, L2-normalised, in input order.

        Text beside an image is not looked at.

        Raises:
            BadInputError: a document has several images, or one that cannot be used.
            TypeError: an input is neither `str`, `Page` nor `Content`.
        """
        items = [document_item(document, at, "", False) for at, document in enumerate(documents)]
        matrices = self._encode(items, "document", batch_size, show_progress)
        if self.pooled_rows is None:
            return matrices
        return [pool_tokens(matrix, self.pooled_rows) for matrix in matrices]

    def _encode(
        self, items: Sequence[Item], side: str, batch_size: int | None, show_progress: bool
    ) -> list[Matrix]:
        size = self.batch_size if batch_size is None else min(batch_size, self.batch_size)
        if size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        rows = [self._row(item, at, side) for at, item in enumerate(items)]
        out: dict[int, Matrix] = {}
        with (
            self._lock,
            tqdm(total=len(rows), desc=f"encoding {side}s", unit=side, disable=not show_progress) as bar,
        ):
            for with_image in (True, False):  # a batch has pixels or has none
                places = [at for at, row in enumerate(rows) if bool(row.vision) is with_image]

                def work(chosen: Sequence[int], places: Sequence[int] = places) -> list[Matrix]:
                    return self.family.forward([rows[places[at]] for at in chosen])

                for at, matrix in self._batcher.run([len(rows[at].ids) for at in places], work, size):
                    out[places[at]] = matrix
                    bar.update()
        return [out[at] for at in range(len(rows))]

    def _row(self, item: Item, at: int, side: str) -> Row:
        images = [part for part in item.parts if not isinstance(part, str)]
        if len(images) > 1:
            raise BadInputError(
                side, at, f"a {side} has at most one image here, got {len(images)}. Split it."
            )
        try:
            if images:
                row = self.family.image_row(ready_image(images[0]), self.max_visual_tokens)
            else:
                row = self._text_row("\n".join(str(part) for part in item.parts), side)
        except ValueError as error:
            raise BadInputError(side, at, str(error)) from error
        if len(row.ids) > MAX_ROWS:
            raise BadInputError(
                side,
                at,
                f"a page gives at most {MAX_ROWS} tokens, got {len(row.ids)}. Set max_visual_tokens.",
            )
        return row

    def _text_row(self, text: str, side: str) -> Row:
        template = self.query_template if side == "query" else self.family.text_template
        place = "{query}" if side == "query" else "{text}"
        augmentation = self.family.augmentation_token * AUGMENTATION
        template = template.replace("{augmentation}", augmentation)
        words = without_special(text, self.family.tokenizer)
        ids = self.family.encode_ids(template.replace(place, words, 1))
        if len(ids) > self.max_length:
            ends = (self.family.encode_ids(template.replace(place, filler, 1)) for filler in "0x")
            ids = shortened(ids, self.max_length, common_end(*ends))
        return Row(ids)


def _processor_config(folder: Path) -> dict[str, Any]:
    """The prompts that a checkpoint brings in processor_config.json."""
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


def common_end(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids at the end of two sequences are the same: what a template adds behind a text."""
    same = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        same += 1
    return same


def shortened(ids: tuple[int, ...], limit: int, tail: int) -> tuple[int, ...]:
    """At most `limit` ids: what stands before the last `tail` is cut at its end."""
    return ids if len(ids) <= limit else ids[: limit - tail] + ids[len(ids) - tail :]


def without_special(text: str, tokenizer: Any) -> str:  # noqa: ANN401  transformers'
    """The text with a space put into every special token that it spells, so that it stays words."""
    for token in tokenizer.added_tokens_decoder.values():
        mark = str(token.content)
        if token.special and mark in text:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text
