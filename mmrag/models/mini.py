"""mmrag-mini in torch: a BERT whose content sees itself both ways, and whose meta tokens see it and go on.

::

    [CLS] pieces [SEP]   places 0 ... T-1, all see each other and no meta token
    meta tokens          place 0 each; see all content, and the meta tokens up to themselves

So what the content becomes does not depend on how many rows are asked for, and the first r rows are the
same whatever their number, as in a causal model.

This is the side for training and for GPUs, and it reads text alone; the runtime reads pictures, too, from
the same weights and without torch (`mmrag.mini`). A folder holds

::

    config.json                ``model_type`` and `MiniShape`; ``weights``: ``"int8"`` or ``"float32"``
    model.safetensors          names and shapes of `mmrag.mini.quantise`; matrices are (in, out)
    tokenizer.json
    mmrag_config.json          see `mmrag.models.checkpoint`; the tables stand in model.safetensors
                               (``meta.query``, ``meta.document``, ``projection``) or in their own file

Weights in eight bits are read as the float32 values that they stand for. What is saved is float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
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

from mmrag.mini.quantise import unpacked
from mmrag.models.backbone import Backbone, VisionInput, VisualTokens
from mmrag.models.compression import Compression, Grid
from mmrag.models.prompt import BERT, Prompts

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.models.meta_tokens import MetaTokens

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"

PLACEHOLDER = "[MASK]"
"""Where a visual token will stand; no text gives it."""

QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
"""What bge-small-en-v1.5, which the encoder starts from, puts before a question."""

START_SPREAD = 0.1
"""How far a fresh meta token is from ``[CLS]``, in distances of vocabulary rows from their mean."""

META = 2
"""What the mask holds at the places of meta tokens; content is 1, padding 0."""

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
        language_model: the ``transformers`` model.
    """

    def __init__(self, shape: MiniShape) -> None:
        super().__init__()
        self.shape = shape
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
        write_config(Path(folder), self.shape, "float32")
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
        model = MiniModel(read_shape(folder))
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
        """See `Backbone.most_tokens`."""
        return int(self.model.shape.positions)

    def preprocess(self, image: Image, max_tokens: int, compression: Compression) -> VisionInput:
        """Refuse a picture.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"mmrag-mini reads text alone in torch, got a picture of {image.width} x {image.height}. Give "
            "its text (in a training file: documents: text); pictures are read by its runtime, `mmrag.mini`."
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
            "them: `mmrag.mini`."
        )

    def marked(self, attention_mask: Tensor, meta: Tensor | None) -> Tensor:
        """See `Backbone.marked`: `META` at the places of the meta tokens."""
        return attention_mask if meta is None else attention_mask.scatter(1, meta, META)

    def position_ids(self, input_ids: Tensor, attention_mask: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """See `Backbone.position_ids`: content is counted, meta tokens stand at 0."""
        content = (attention_mask == 1).long()
        return (content.cumsum(1) - 1) * content

    def language(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor | None,
        visual_mask: Tensor,
        deep: Sequence[Tensor],
    ) -> Tensor:
        """See `Backbone.language`; not causal, see the head of this file."""
        del visual_mask, deep
        out = self.model.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=_seen(attention_mask, inputs_embeds.dtype),
            position_ids=position_ids,
        )
        states: Tensor = out.last_hidden_state
        return states

    def start_tables(self, meta: MetaTokens) -> None:
        """See `Backbone.start_tables`: near ``[CLS]``, whose last state is what the encoder was trained for.

        The first row of each table is ``[CLS]`` itself, the others lean a little towards a piece each.
        """
        words = self.model.get_input_embeddings().weight.detach().float()
        summary = words[self.tokenizer.convert_tokens_to_ids("[CLS]")]
        meta.start_from(words)
        with torch.no_grad():
            for table in (meta.query, meta.document):
                table.copy_(summary + START_SPREAD * (table - 2 * words.mean(0)))
                table[0] = summary


class _NoPictures:
    """In the place of an image processor."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Nothing to write."""

    def to_dict(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}


def _seen(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Who sees whom, ``(batch, 1, length, length)``, to be added to the products of attention."""
    content, meta = mask == 1, mask == META
    order = torch.arange(mask.shape[1], device=mask.device)
    earlier = meta[:, :, None] & meta[:, None, :] & (order[None, :] <= order[:, None])
    allowed = content[:, None, :] | earlier
    hidden = torch.zeros(allowed.shape, dtype=dtype, device=mask.device)
    return hidden.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def _names(own: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Names in the weights file, and those of the same weights in torch."""
    there = {name: short for short, name in _RENAMED.items()}
    return [(there.get(name, name), name) for name in own if name != _TYPES]


def _turned(name: str, weight: Tensor) -> bool:
    """Whether the file has a matrix the other way round: torch's are (out, in)."""
    return name.startswith("encoder.") and weight.ndim == 2


# ---- files -------------------------------------------------------------------------------------------


def read_shape(folder: Path) -> MiniShape:
    """The shape that config.json tells.

    Raises:
        ValueError: it tells another, or none.
    """
    values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    try:
        return MiniShape(**{one.name: int(values[one.name]) for one in fields(MiniShape)})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / CONFIG_FILE} must tell the shape of the encoder, got no {error}. Copy the file again."
        ) from error


def write_config(folder: Path, shape: MiniShape, weights: str) -> None:
    """Write config.json.

    Args:
        folder: made where it is not there.
        shape: of the encoder.
        weights: ``"int8"`` or ``"float32"``: what the weights file holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {"model_type": MiniBackbone.model_type, "weights": weights, "dtype": "float32", **asdict(shape)}
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


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
