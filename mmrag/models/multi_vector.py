"""Any checkpoint that `sentence_transformers.MultiVectorEncoder` loads, behind the embedder protocol.

ColBERT and PyLate models, ColPali's and ColQwen's kin, EVIE, and what comes next: sentence-transformers
(from 6.0) knows their classes, prompts and masks; ours are the calls, long texts, and fewer rows.

Decisions taken here:

* Vectors are those of ``encode_query`` and ``encode_document``, number for number (``make test-references``).
* A document's text that is longer than the model's ``document_length`` is encoded in pieces that fit, one
  after the other, and the page has the rows of all. sentence-transformers cuts it, without a word.
* ``max_rows`` keeps levels of clusters (`mmrag.models.token_pooling.pool_levels`): their prefixes stand for
  the page, so that a search chooses its budget. Without it every token is kept. A query keeps all its tokens
  either way, and every page is scored.
* Nothing of a checkpoint is run: weights are safetensors, and a module of another package is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mmrag.errors import MissingExtraError, check_whole
from mmrag.forks import new_lock
from mmrag.models.calls import EncodingCalls
from mmrag.models.checkpoint import check_weights, own_dtype
from mmrag.models.device import pick_device, pick_dtype
from mmrag.models.digests import state_digest
from mmrag.models.inputs import Item, ready_image
from mmrag.models.late_interaction import MAX_ROWS
from mmrag.models.templates import refuse
from mmrag.models.token_pooling import POSITION_WEIGHT, pool_levels
from mmrag.types import Budget, Matrix

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

BATCH_SIZE = 8

MAX_TOKENS = 1024
"""Of a query whose length the model does not limit."""

IMAGE_PIXELS = 1_500_000
"""Area at which pages are rendered unless set; the model's own processor makes of it what it needs."""

SMALLEST_GRID = 16
"""Tokens of one id in a row that are taken for the parts of a picture."""

_ALGORITHM = "multi-vector-1"
"""Part of the fingerprint: raise it when the same settings give other vectors."""


@dataclass(frozen=True, slots=True)
class _PreparedInput:
    """An input as sentence-transformers takes it: one value, or the pieces of a long text."""

    values: tuple[Any, ...]
    cut: bool


class MultiVectorInputEncoder:
    """A ``MultiVectorEncoder`` as an `mmrag.models.calls.InputEncoder`; safe to share between threads.

    Args:
        model: a loaded ``sentence_transformers.MultiVectorEncoder``.
        max_rows: most rows of a document, in levels; None keeps every token.
        position_weight: of a token's place in its cluster.
        dim: width of a vector; None: all of it.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401  a MultiVectorEncoder
        max_rows: int | None,
        position_weight: float,
        dim: int | None,
    ) -> None:
        self.model = model
        self.max_rows = max_rows
        self.position_weight = position_weight
        self.dim = dim
        # a copy: sentence-transformers sets the lengths of its own at every call, in whichever thread
        self.tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self._lock = new_lock()

    def prepare(self, item: Item, side: str) -> _PreparedInput:
        """Decode an image, or split a document's text into pieces that fit the model.

        Raises:
            ValueError: several images, or an image or a mix that the model does not take.
        """
        images = [ready_image(part) for part in item.parts if not isinstance(part, str)]
        text = "\n".join(part for part in item.parts if isinstance(part, str))
        if len(images) > 1:
            raise ValueError(
                f"a {side} must have at most one image for this model, got {len(images)}. Split it."
            )
        if images:
            return _PreparedInput((self._with_image(images[0], text, side),), cut=False)
        limit = self.text_limit(side)
        pieces = self._pieces(text, limit) if side == "document" else (text,)
        return _PreparedInput(pieces, cut=side == "query" and len(self._tokens(text)) > limit)

    def _with_image(self, image: Image, text: str, side: str) -> Any:  # noqa: ANN401  an input of the model
        value: Any = {"image": image, "text": text} if text else image
        modality = ("image", "text") if text else "image"
        if not self.model.supports(modality):
            raise ValueError(
                f"a {side} must be of {', '.join(map(str, self.model.modalities))} for this model, got "
                f"{'an image and words' if text else 'an image'}. Pass the other part alone."
            )
        return value

    def text_limit(self, side: str) -> int:
        """Return the tokens of a text that the model reads, without its special tokens and prompt."""
        first = self.model[0]
        limits = [getattr(first, f"{side}_length", None), getattr(first, "max_seq_length", None)]
        if side == "query":
            expansion = getattr(first, "query_expansion", None) or {}
            limits += [expansion["length"] if expansion.get("strategy") == "fixed" else None, MAX_TOKENS]
        prompt = (self.model.prompts or {}).get(side) or ""
        around = len(self.tokenizer.encode(prompt).ids)
        return max(1, min(limit for limit in (*limits, MAX_ROWS) if limit) - around)

    def _tokens(self, text: str) -> list[tuple[int, int]]:
        """Return where each token of a text begins and ends."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).offsets)

    def _pieces(self, text: str, limit: int) -> tuple[str, ...]:
        """Split a text into pieces of at most `limit` tokens, between words where there are any."""
        pieces = []
        rest = text
        while len(tokens := self._tokens(rest)) > limit:
            starts = [start for start, _ in tokens[: limit + 1]]
            spaces = [at for at in starts[1:] if any(map(str.isspace, rest[at - 1 : at + 1]))]
            # a piece alone may have more tokens than it had in the text: then it ends earlier
            ends = [at for at in reversed(spaces or starts) if 0 < at < len(rest)] or [max(1, tokens[0][1])]
            end = next((at for at in ends if len(self._tokens(rest[:at])) <= limit), ends[-1])
            pieces.append(rest[:end].strip() or rest[:end])
            rest = rest[end:]
        return (*pieces, rest)

    def encode(
        self, inputs: Sequence[_PreparedInput], side: str, rows: int, batch_size: int
    ) -> Iterator[tuple[int, Matrix]]:
        """Yield ``(position, matrix)``; documents have at most `rows` rows.

        Raises:
            ValueError: a document has more tokens than an index takes rows, and no `max_rows`.
        """
        for is_text in (False, True):  # a batch has one kind of input
            positions = [at for at, item in enumerate(inputs) if isinstance(item.values[0], str) is is_text]
            values = [value for at in positions for value in inputs[at].values]
            outputs = iter(self._run(values, side, batch_size))
            for at in positions:
                parts = [next(outputs) for _ in inputs[at].values]
                matrix = np.concatenate([part[0] for part in parts])  # (T, D)
                token_positions = _page_positions([part[1] for part in parts])  # (T, 2)
                yield at, matrix if side == "query" else self._rows_of(matrix, token_positions, rows)

    def _rows_of(self, matrix: Matrix, positions: NDArray[np.float64], rows: int) -> Matrix:
        if self.max_rows is not None:
            return pool_levels(matrix, rows, positions, self.position_weight)
        if len(matrix) > rows:
            raise ValueError(
                f"a document must have at most {rows} tokens, got {len(matrix)}. Set max_rows, or split it."
            )
        return matrix

    def _run(
        self, values: Sequence[Any], side: str, batch_size: int
    ) -> list[tuple[Matrix, NDArray[np.float64]]]:
        """Return the scored vectors of each value, ``(T, D)`` float32, and their positions, ``(T, 2)``."""
        if not values:
            return []
        encode = self.model.encode_query if side == "query" else self.model.encode_document
        with self._lock:
            outputs = encode(list(values), batch_size=batch_size, output_value=None, show_progress_bar=False)
        return [self._scoring_rows(output) for output in outputs]

    def _scoring_rows(self, output: Mapping[str, Any]) -> tuple[Matrix, NDArray[np.float64]]:
        mask = output["attention_mask"].bool()
        vectors = output["token_embeddings"][mask].float().cpu().numpy()
        if self.dim is not None and self.dim < vectors.shape[1]:
            vectors = vectors[:, : self.dim]
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        ids = output.get("input_ids")
        count = len(output["token_embeddings"])
        ids = np.zeros(count, np.int64) if ids is None else ids.cpu().numpy()
        grid = output.get("image_grid_thw")
        sides = None if grid is None else tuple(grid.reshape(-1, 3)[0, 1:].tolist())
        positions = place_tokens(ids, sides)[mask.cpu().numpy()]
        return np.ascontiguousarray(vectors, np.float32), positions


def place_tokens(ids: NDArray[np.int64], sides: tuple[int, int] | None = None) -> NDArray[np.float64]:
    """Return where each token lies, ``(T, 2)`` in 0..1 (across, down).

    The parts of a picture share one token id, so the longest row of one id is the picture, read line by line;
    other tokens lie at the left, as far down as they come in the order.

    Args:
        ids: ``(T,)`` token ids.
        sides: height and width of the picture in any unit. None: a square, if the count is one.
    """
    positions = np.zeros((len(ids), 2))
    positions[:, 1] = np.linspace(0.0, 1.0, len(ids)) if len(ids) > 1 else 0.0
    starts = np.flatnonzero(np.diff(ids, prepend=np.nan))
    lengths = np.diff(np.append(starts, len(ids)))
    if not len(lengths) or lengths.max() < SMALLEST_GRID:
        return positions
    start, count = int(starts[lengths.argmax()]), int(lengths.max())
    height, width = sides or (1, 1)
    lines = round((count * height / width) ** 0.5)
    if lines < 1 or count % lines:
        return positions
    down, across = np.divmod(np.arange(count), count // lines)
    positions[start : start + count, 0] = (across + 0.5) / (count // lines)
    positions[start : start + count, 1] = (down + 0.5) / lines
    return positions


def _page_positions(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Place the pieces of a text one below the other: each ``(T_i, 2)``, together ``(sum T_i, 2)``."""
    total = sum(len(part) for part in parts)
    positions = np.concatenate(parts)
    if len(parts) > 1:
        positions = np.stack([np.zeros(total), np.linspace(0.0, 1.0, total)], axis=1)
    return positions


def _check_parts(folder: Path) -> None:
    """Refuse a checkpoint with a part in a format that can carry code.

    Raises:
        FileNotFoundError: a subfolder has weights, and none in safetensors.
    """
    for path in sorted(folder.glob("*/*")):
        if path.suffix in (".bin", ".pt", ".pth") and not any(path.parent.glob("*.safetensors")):
            raise FileNotFoundError(
                f"the weights must be safetensors, got {path.parent.name}/{path.name} in {folder}. Other "
                "formats can carry code and are not read; save them again with sentence-transformers."
            )


class MultiVectorEmbedder(EncodingCalls):
    """A ``sentence_transformers.MultiVectorEncoder`` as an embedder; see the module docstring.

    Args:
        model: loaded.
        name: for people.
        max_rows: most rows of a document, kept as levels of clusters; None keeps every token.
        position_weight: of a token's place in its cluster, 0..1.
        dim: width of a vector, a prefix; only for a model that was trained for it. None: all.
        batch_size: inputs in one forward pass at most.
        page_text: whether a rendered page's text goes with its picture, if the model takes both.
        on_error: ``"raise"``, or ``"skip"`` to leave out inputs that cannot be embedded.
        image_pixels: area at which pages are rendered; larger for a model that reads many tiles of a page.

    Raises:
        ValueError: a number out of its range.
        MissingExtraError: sentence-transformers is not installed.

    Example::

        embedder = MLLMEmbedder.from_pretrained("lightonai/LateOn", max_rows=64)
        qa = DocumentQA.open("my-index", embedder=embedder)
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401  a MultiVectorEncoder
        *,
        name: str,
        max_rows: int | None = None,
        position_weight: float = POSITION_WEIGHT,
        dim: int | None = None,
        batch_size: int = BATCH_SIZE,
        page_text: bool | str = False,
        on_error: str = "raise",
        image_pixels: int = IMAGE_PIXELS,
    ) -> None:
        super().__init__(
            max_tokens=MAX_TOKENS,
            batch_size=batch_size,
            page_text=page_text,
            thoughts=None,
            on_error=on_error,
        )
        width = int(model.get_embedding_dimension())
        if dim is not None:
            check_whole("dim", dim, 1, width)
        if max_rows is not None:
            check_whole("max_rows", max_rows, 1, MAX_ROWS)
        if not 0 <= position_weight <= 1:
            raise ValueError(f"position_weight must be in 0..1, got {position_weight!r}.")
        self.model = model
        self.max_rows = max_rows
        self.position_weight = position_weight
        self._image_pixels = check_whole("image_pixels", image_pixels, 1024)
        self._dim = dim or width
        self._name = name
        self._encoder: MultiVectorInputEncoder = MultiVectorInputEncoder(
            model, max_rows, position_weight, dim
        )

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        name: str | None = None,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        budget: Budget | None = None,
        **options: Any,  # noqa: ANN401  of the class
    ) -> MultiVectorEmbedder:
        """Load a checkpoint, for `mmrag.models.mllm_embedder.MLLMEmbedder.from_pretrained`.

        Args:
            folder: a model as sentence-transformers, PyLate or Stanford's ColBERT saves it.
            name: None: the folder's name.
            device: as `mmrag.models.device.pick_device`.
            dtype: as `mmrag.models.device.pick_dtype`.
            budget: the same as ``max_rows=budget.document``.
            options: the other arguments of the class.

        Raises:
            MissingExtraError: sentence-transformers 6 is not installed.
            FileNotFoundError: no safetensors.
            ValueError: an option does not apply, or the checkpoint needs code of its own.
        """
        refuse(options, "MultiVectorEncoder checkpoints", cls._options)
        try:
            from sentence_transformers import MultiVectorEncoder
        except ImportError as error:
            raise MissingExtraError("A MultiVectorEncoder checkpoint", "multivector") from error
        check_weights(folder)
        _check_parts(folder)
        torch_device = pick_device(device)
        torch_dtype = pick_dtype(dtype, own_dtype(folder), torch_device)
        if budget is not None:
            options.setdefault("max_rows", budget.document)
        model = MultiVectorEncoder(
            str(folder),
            device=str(torch_device),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": torch_dtype, "use_safetensors": True},
        )
        return cls(model.eval(), name=name or folder.name, **options)

    _options = ("max_rows", "position_weight", "dim", "batch_size", "page_text", "on_error", "image_pixels")

    @property
    def nested(self) -> bool:
        """Return whether prefixes of a document's rows stand for it: with `max_rows` they do."""
        return self.max_rows is not None

    nested_query = False
    """A query's rows are its tokens: none is left out at a smaller budget."""

    @property
    def name(self) -> str:
        """See `mmrag.embedders.base.Embedder`."""
        return self._name

    @cached_property
    def fingerprint(self) -> str:
        """Return a digest of the weights, tokenizer, modules, prompts and pooling; computed once."""
        settings = {
            "algorithm": _ALGORITHM,
            "weights": state_digest(self.model.state_dict().values()),
            "tokenizer": self._encoder.tokenizer.to_str(),
            "modules": [
                [
                    type(module).__name__,
                    module.get_config_dict() if hasattr(module, "get_config_dict") else None,
                ]
                for module in self.model
            ],
            "prompts": self.model.prompts,
            "lengths": [self._encoder.text_limit(side) for side in ("query", "document")],
            "rows": self.max_rows,
            "position_weight": None if self.max_rows is None else self.position_weight,
            "dim": self.dim,
            "page_text": self.page_text,
        }
        if self.image_pixels != IMAGE_PIXELS:
            settings["image_pixels"] = self.image_pixels
        text = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Return the width of a vector."""
        return self._dim

    @property
    def budget(self) -> Budget:
        """Return the most rows: every token of a query; of a document `max_rows`, or all its tokens."""
        return Budget(MAX_TOKENS, self.max_rows or MAX_ROWS)

    @property
    def modalities(self) -> frozenset[str]:
        """Return what the model takes of text and images."""
        return frozenset(kind for kind in ("text", "image") if self.model.supports(kind))

    @property
    def image_pixels(self) -> int:
        """Return the picture area at which pages are rendered."""
        return self._image_pixels

    def _instruction(self, side: str) -> str:
        return ""
