"""mmrag-mini in torch: a BERT whose content sees itself both ways, and meta tokens that see content.

::

    [CLS] pieces [SEP]   places 0 ... T-1, all see each other and no meta token
    meta tokens          place 0 each

What content becomes does not depend on how many rows are asked for, and the first r rows are the same
whatever their number, as in a causal model. What a meta token sees is told by config.json:

* ``"located": true``, as it ships: itself and its part of the content (`mmrag.embedders.mini.located`),
the first one
  all of it. An input too short for as many parts has fewer rows. Here, where rows are a rectangle, the row
  of a missing part is row 0 once more for a document, which changes no maximum, and 0 for a query, which
  adds nothing to a sum. A query's parts weigh `PART_WEIGHT` a level, so their rows are shorter than 1.
* ``"located": false``: all content and the meta tokens up to itself, as in MetaEmbed.

This is the side for training and for GPUs. It reads text alone and one window of it (`WINDOW` pieces); the
runtime reads pictures and long pages, too, from the same weights and without torch (`mmrag.embedders.mini`).
A folder holds

::

    config.json                ``model_type``, ``located`` and `MiniShape`; ``weights``: ``"int8"`` or
                               ``"float32"``
    model.safetensors          names and shapes of `mmrag.embedders.mini.quantise`; matrices are (in, out)
    tokenizer.json
    mmrag_config.json          see `mmrag.models.checkpoint`; not needed where the tables stand in
                               model.safetensors (``meta.query``, ``meta.document``, ``projection``)

Weights in eight bits are read as the float32 values that they stand for. What is saved is float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mmrag.embedders.mini.located import LEVELS, SMALLEST_PART, WINDOW, Part, parts_of
from mmrag.embedders.mini.quantise import unpacked
from mmrag.models.backbone import Backbone
from mmrag.models.batch import VisionInput, VisualTokens
from mmrag.models.compression import Compression, Grid
from mmrag.models.prompt import BERT, Prompts

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.models.batch import Batch
    from mmrag.models.meta_tokens import MetaTokens

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"

PLACEHOLDER = "[MASK]"
"""Where a visual token will stand; no text gives it."""

QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
"""What bge-small-en-v1.5, which the encoder starts from, puts before a question."""

START_SPREAD = 0.1
"""How far a fresh meta token that sees everything is from ``[CLS]``, in distances of vocabulary rows from
their mean. Located ones are ``[CLS]`` itself."""

PART_WEIGHT = 0.25
"""Length that the rows of one level of a query share; the runtime's."""

CONTENT, META = 1, 2
"""What the diagonal of the mask holds; 0 is padding."""

_TABLES = {"meta.query": "meta.query", "meta.document": "meta.document", "projection": "projection.weight"}
_RENAMED = {
    "embeddings.word": "embeddings.word_embeddings.weight",
    "embeddings.position": "embeddings.position_embeddings.weight",
}
_TYPES = "embeddings.token_type_embeddings.weight"


@dataclass(frozen=True, slots=True)
class MiniShape:
    """Size of the encoder.

    Attributes:
        vocabulary: pieces.
        hidden: width of the states.
        layers: their number.
        heads: of attention.
        inner: width within a layer's second half.
        positions: most tokens of content.
    """

    vocabulary: int = 30522
    hidden: int = 384
    layers: int = 12
    heads: int = 12
    inner: int = 1536
    positions: int = 512


class MiniModel(nn.Module):
    """The encoder, as what trains and saves a backbone knows one.

    Attributes:
        shape: its size.
        located: what a meta token sees; see the head of this file.
        language_model: the ``transformers`` model.
    """

    def __init__(self, shape: MiniShape, *, located: bool = True) -> None:
        super().__init__()
        self.shape = shape
        self.located = located
        config = BertConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.inner,
            max_position_embeddings=shape.positions,
            type_vocab_size=1,  # is in the positions already
            hidden_dropout_prob=0.0,  # rows of a query and of its page are compared: noise in both is a loss
            attention_probs_dropout_prob=0.0,
        )
        self.language_model = BertModel(config, add_pooling_layer=False)

    def get_input_embeddings(self) -> nn.Module:
        """The vocabulary."""
        embeddings: nn.Module = self.language_model.get_input_embeddings()
        return embeddings

    def set_attn_implementation(self, name: str) -> None:
        """As of ``transformers``."""
        self.language_model.set_attn_implementation(name)

    def gradient_checkpointing_enable(self, options: dict[str, Any]) -> None:
        """As of ``transformers``."""
        self.language_model.gradient_checkpointing_enable(options)

    def load_weights(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take float32 weights by the names of the weights file; what is not the encoder's is left out.

        Raises:
            ValueError: one is missing or of another shape.
        """
        own = self.language_model.state_dict()
        own[_TYPES].zero_()
        wrong = []
        for name, there in _names(own):
            values = state.get(name)
            shape = tuple(own[there].shape[::-1] if _turned(there, own[there]) else own[there].shape)
            if values is None or values.shape != shape:
                wrong.append(name)
                continue
            found = torch.from_numpy(np.ascontiguousarray(values, np.float32))
            own[there].copy_(found.T if _turned(there, own[there]) else found)
        if wrong:
            raise ValueError(
                f"the weights must be those of {self.shape}, got {len(wrong)} that are missing or of another "
                f"shape: {', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''}. Check that the file is "
                "whole and that config.json belongs to it."
            )

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Float32 weights by the names of the weights file."""
        own = {name: one.detach().float().cpu() for name, one in self.language_model.state_dict().items()}
        own[_RENAMED["embeddings.position"]] = own[_RENAMED["embeddings.position"]] + own[_TYPES]
        return {
            name: np.ascontiguousarray((own[there].T if _turned(there, own[there]) else own[there]).numpy())
            for name, there in _names(own)
        }

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and float32 weights."""
        write_config(Path(folder), self.shape, "float32", located=self.located)
        save_file(self.weights(), Path(folder) / WEIGHTS_FILE)


class MiniBackbone(Backbone):
    """A `MiniModel` of a folder."""

    model_type = "mmrag_mini"
    model_class = MiniModel
    image_processor_class = None
    turn = BERT
    sees = False
    defaults = MappingProxyType(
        {"prompts": Prompts("", "", query_prefix=QUERY_PREFIX), "dim": 128, "query_first": False}
    )

    @classmethod
    def load_parts(cls, path: str, **options: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401  as of the others
        """See `Backbone.load_parts`; of the options ``dtype`` and ``attn_implementation`` count.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is not as it must be.
        """
        folder = Path(path)
        model = read_model(folder)
        model.load_weights(unpacked(_read(folder / WEIGHTS_FILE)))
        if options.get("attn_implementation") is not None:
            model.set_attn_implementation(options["attn_implementation"])
        return model.to(options.get("dtype") or torch.float32), load_tokenizer(folder), _NoPictures()

    @classmethod
    def own_tables(cls, folder: Path) -> dict[str, Tensor]:
        """See `Backbone.own_tables`."""
        found = _read(folder / WEIGHTS_FILE)
        return {there: torch.from_numpy(found[name]) for name, there in _TABLES.items() if name in found}

    @property
    def merge(self) -> int:
        """See `Backbone.merge`."""
        return 1

    @property
    def hidden_size(self) -> int:
        """See `Backbone.hidden_size`."""
        return int(self.model.shape.hidden)

    @property
    def image_token_id(self) -> int:
        """See `Backbone.image_token_id`."""
        return int(self.tokenizer.convert_tokens_to_ids(PLACEHOLDER))

    @property
    def most_tokens(self) -> int | None:
        """See `Backbone.most_tokens`: one window and its two special tokens."""
        places = int(self.model.shape.positions)
        return min(places, WINDOW + 2) if self.model.located else places

    def preprocess(self, image: Image, max_tokens: int, compression: Compression) -> VisionInput:
        """Refuse a picture.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"mmrag-mini reads text alone in torch, got a picture of {image.width} x {image.height}. Give "
            "its text (in a training file: documents: text); mmrag.embedders.mini reads pictures."
        )

    def pixels(self, max_tokens: int, compression: Compression) -> int:
        """See `Backbone.pixels`."""
        return 0

    def image_text(self, tokens: int) -> str:
        """See `Backbone.image_text`."""
        return PLACEHOLDER * tokens

    def encode_images(self, images: Sequence[VisionInput], compression: Compression) -> VisualTokens:
        """Refuse pictures.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"mmrag-mini reads text alone in torch, got {len(images)} pictures. Its runtime reads "
            "them: `mmrag.embedders.mini`."
        )

    def marked(self, batch: Batch, side: str) -> Tensor:
        """See `Backbone.marked`: who sees whom, ``(batch, length, length)``, with `CONTENT` and `META` on it.

        Off the diagonal 1 where the token of the row sees that of the column, else 0.
        """
        tokens, meta = batch.attention_mask.bool(), batch.meta
        if meta is None:
            return _with_diagonal(tokens[:, None, :].expand(-1, tokens.shape[1], -1), tokens.long())
        places = tokens.long().scatter(1, meta, META)
        content, rows = places == CONTENT, places == META
        sees = content[:, None, :].expand(-1, places.shape[1], -1).clone()
        if not self.model.located:
            order = torch.arange(places.shape[1], device=places.device)
            sees |= rows[:, :, None] & rows[:, None, :] & (order[None, :] <= order[:, None])
            return _with_diagonal(sees, places)
        for at, (first, parts) in enumerate(self._parts(batch, side)):
            for row, part in zip(meta[at].tolist(), parts, strict=False):
                if part.level:
                    sees[at, row] = False
                    sees[at, row, first + part.start : first + part.end] = True
        return _with_diagonal(sees, places)

    def finished(self, vectors: Tensor, batch: Batch, side: str) -> Tensor:
        """See `Backbone.finished`: missing parts, and what parts of a query weigh."""
        if not self.model.located or batch.meta is None:
            return vectors
        count = vectors.shape[1]
        given = [parts[:count] for _, parts in self._parts(batch, side)]
        if side == "document":
            places = [[row if row < len(parts) else 0 for row in range(count)] for parts in given]
            chosen = torch.tensor(places, device=vectors.device)
            return vectors.gather(1, chosen[..., None].expand_as(vectors))
        weights = [
            [PART_WEIGHT / LEVELS[part.level] if part.level else 1.0 for part in parts]
            + [0.0] * (count - len(parts))
            for parts in given
        ]
        return vectors * torch.tensor(weights, device=vectors.device)[..., None]

    def _parts(self, batch: Batch, side: str) -> list[tuple[int, tuple[Part, ...]]]:
        """Return, per input, the position of the first piece of its content, and its parts."""
        count = 0 if batch.meta is None else batch.meta.shape[1]
        smallest = 1 if side == "query" else SMALLEST_PART
        parts = []
        for ids, last in zip(batch.input_ids.tolist(), batch.content.tolist(), strict=True):
            first = 1
            if side == "query" and tuple(ids[1 : 1 + len(self._prefix)]) == self._prefix:
                first += len(self._prefix)
            parts.append((first, _parts_of(max(last - first, 1), count, smallest)))
        return parts

    @cached_property
    def _prefix(self) -> tuple[int, ...]:
        """Pieces of the instruction, which only a query's first row sees."""
        return tuple(self.tokenizer(QUERY_PREFIX, add_special_tokens=False).input_ids)

    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """See `Backbone.position_ids`: content is counted, meta tokens stand at 0."""
        content = (attention_mask.diagonal(dim1=1, dim2=2) == CONTENT).long()
        return (content.cumsum(1) - 1) * content

    def language_options(self, mask: Tensor, visual: Tensor, deep: Sequence[Tensor]) -> dict[str, Any]:
        """See `Backbone.language_options`; not causal, see the head of this file."""
        del visual, deep
        dtype = self.model.get_input_embeddings().weight.dtype
        return {"attention_mask": _unseen(mask, dtype), "use_cache": False}

    def start_tables(self, meta: MetaTokens) -> None:
        """See `Backbone.start_tables`: ``[CLS]``, whose last state is what the encoder was trained for.

        Located ones differ by what they see; others lean a little towards a piece each, but for the first.
        """
        words = self.model.get_input_embeddings().weight.detach().float()
        summary = words[self.tokenizer.convert_tokens_to_ids("[CLS]")]
        meta.start_from(words)
        with torch.no_grad():
            for table in (meta.query, meta.document):
                lean = 0.0 if self.model.located else START_SPREAD
                table.copy_(summary + lean * (table - 2 * words.mean(0)))
                table[0] = summary


class _NoPictures:
    """In the place of an image processor."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Nothing to write."""

    def to_dict(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}


@lru_cache(maxsize=4096)
def _parts_of(length: int, most: int, smallest: int) -> tuple[Part, ...]:
    return tuple(parts_of(length, most=most, smallest=smallest))


def _with_diagonal(sees: Tensor, places: Tensor) -> Tensor:
    mask = sees.long()
    mask.diagonal(dim1=1, dim2=2).copy_(places)
    return mask


def _unseen(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """``(batch, 1, length, length)`` to be added to the products of attention."""
    added = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return added.masked_fill_(mask == 0, torch.finfo(dtype).min)[:, None]


def _names(own: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Names in the weights file, and those of the same weights in torch."""
    there = {name: short for short, name in _RENAMED.items()}
    return [(there.get(name, name), name) for name in own if name != _TYPES]


def _turned(name: str, weight: Tensor) -> bool:
    """Whether the file has a matrix the other way round: torch's are (out, in)."""
    return name.startswith("encoder.") and weight.ndim == 2


# ---- files -------------------------------------------------------------------------------------------


def read_model(folder: Path) -> MiniModel:
    """A model of the size and kind that config.json tells, without its weights.

    Raises:
        ValueError: it tells none.
    """
    values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    try:
        shape = MiniShape(**{one.name: int(values[one.name]) for one in fields(MiniShape)})
        return MiniModel(shape, located=bool(values["located"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / CONFIG_FILE} must tell the shape of the encoder, got no {error}. Copy the file again."
        ) from error


def write_config(folder: Path, shape: MiniShape, weights: str, *, located: bool = True) -> None:
    """Write config.json.

    Args:
        folder: made where it is not there.
        shape: of the encoder.
        weights: ``"int8"`` or ``"float32"``: what the weights file holds.
        located: what a meta token sees; see the head of this file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = {"model_type": MiniBackbone.model_type, "weights": weights, "dtype": "float32", "located": located}
    (folder / CONFIG_FILE).write_text(
        json.dumps({**told, **asdict(shape)}, indent=2) + "\n", encoding="utf-8"
    )


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401  transformers'
    """The tokenizer of a folder.

    Raises:
        FileNotFoundError: there is none.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise FileNotFoundError(f"a checkpoint must have a {TOKENIZER_FILE}, got {folder} without.")
    marks = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_file=str(path), **marks)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        found: dict[str, NDArray[Any]] = load_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"a checkpoint must have a {path.name}, got {path.parent} without.") from None
    except SafetensorError as error:
        raise ValueError(f"{path} must be safetensors, got: {error}. Copy the file again.") from error
    return found
