"""The encoder of mmrag-mini in torch, and its files.

A folder holds

::

    config.json                ``model_type``, ``located`` and `MiniShape`; ``weights``: ``"int8"`` or
                               ``"float32"``
    model.safetensors          names and shapes of `mmrag.embedders.mini.quantise`; matrices are (in, out)
    tokenizer.json
    mmrag_config.json          see `mmrag.models.checkpoint`; not needed if the tables are in
                               model.safetensors (``meta.query``, ``meta.document``, ``projection``)

Weights in eight bits are dequantised to float32, and saved as float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

MODEL_TYPE = "mmrag_mini"
"""Of config.json."""

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"

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
    """The encoder, with the methods of a ``transformers`` model that training and saving call.

    Attributes:
        shape: of the encoder.
        located: whether meta tokens attend to their part only; see `mmrag.models.mini`.
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
            type_vocab_size=1,  # added to the positions already
            hidden_dropout_prob=0.0,  # rows of a query and of its page are compared: noise in both is a loss
            attention_probs_dropout_prob=0.0,
        )
        self.language_model = BertModel(config, add_pooling_layer=False)

    def get_input_embeddings(self) -> nn.Module:
        """Return the vocabulary."""
        embeddings: nn.Module = self.language_model.get_input_embeddings()
        return embeddings

    def set_attn_implementation(self, name: str) -> None:
        """Set the attention implementation, as in ``transformers``."""
        self.language_model.set_attn_implementation(name)

    def gradient_checkpointing_enable(self, options: dict[str, Any]) -> None:
        """Enable gradient checkpointing, as in ``transformers``."""
        self.language_model.gradient_checkpointing_enable(options)

    def load_weights(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Copy float32 weights, by the names of the weights file; weights of other parts are ignored.

        Raises:
            ValueError: one is missing or of another shape.
        """
        parameters = self.language_model.state_dict()
        parameters[_TYPES].zero_()
        wrong = []
        for name, torch_name in _names(parameters):
            values, parameter = state.get(name), parameters[torch_name]
            target = parameter.T if _is_transposed(torch_name, parameter) else parameter
            if values is None or values.shape != tuple(target.shape):
                wrong.append(name)
                continue
            target.copy_(torch.from_numpy(np.ascontiguousarray(values, np.float32)))
        if wrong:
            raise ValueError(
                f"the weights must be those of {self.shape}, got {len(wrong)} that are missing or of another "
                f"shape: {', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''}. Check that the file is "
                "whole and that config.json belongs to it."
            )

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return float32 weights, by the names of the weights file."""
        state = self.language_model.state_dict()
        tensors = {name: tensor.detach().float().cpu() for name, tensor in state.items()}
        tensors[_RENAMED["embeddings.position"]] = tensors[_RENAMED["embeddings.position"]] + tensors[_TYPES]
        return {
            name: np.ascontiguousarray(
                (tensors[to].T if _is_transposed(to, tensors[to]) else tensors[to]).numpy()
            )
            for name, to in _names(tensors)
        }

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and float32 weights."""
        write_config(Path(folder), self.shape, "float32", located=self.located)
        save_file(self.weights(), Path(folder) / WEIGHTS_FILE)


def _names(tensors: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Return pairs of names of a weight: in the weights file, and in torch."""
    in_file = {name: short for short, name in _RENAMED.items()}
    return [(in_file.get(name, name), name) for name in tensors if name != _TYPES]


def _is_transposed(name: str, weight: Tensor) -> bool:
    """Return whether the file has a matrix as (in, out); torch's are (out, in)."""
    return name.startswith("encoder.") and weight.ndim == 2


def read_model(folder: Path) -> MiniModel:
    """Build the model that config.json describes, without its weights.

    Raises:
        ValueError: config.json does not describe one.
    """
    values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    try:
        shape = MiniShape(**{item.name: int(values[item.name]) for item in fields(MiniShape)})
        return MiniModel(shape, located=bool(values["located"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / CONFIG_FILE} must hold the shape of the encoder, got no {error}. Copy the file again."
        ) from error


def write_config(folder: Path, shape: MiniShape, weights: str, *, located: bool = True) -> None:
    """Write config.json.

    Args:
        folder: created if missing.
        shape: of the encoder.
        weights: format of the weights file, ``"int8"`` or ``"float32"``.
        located: see `MiniModel`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"model_type": MODEL_TYPE, "weights": weights, "dtype": "float32", "located": located}
    (folder / CONFIG_FILE).write_text(
        json.dumps({**kind, **asdict(shape)}, indent=2) + "\n", encoding="utf-8"
    )


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401  transformers'
    """Load the tokenizer of a folder.

    Raises:
        FileNotFoundError: the file is missing.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise FileNotFoundError(f"a checkpoint must have a {TOKENIZER_FILE}, got {folder} without.")
    marks = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_file=str(path), **marks)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read a weights file as it is.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is broken.
    """
    try:
        tensors: dict[str, NDArray[Any]] = load_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"a checkpoint must have a {path.name}, got {path.parent} without.") from None
    except SafetensorError as error:
        raise ValueError(f"{path} must be safetensors, got: {error}. Copy the file again.") from error
    return tensors
