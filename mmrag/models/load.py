"""From what a host's user writes (a name, a folder, a URL; a path or data URI) to the objects of the core.

Both integrations are constructed this way, so it stands here once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mmrag.embedders.base import Embedder

DEFAULT_MODEL = "mmrag-mini"
"""Name of the embedder that ships in the package."""


def load_embedder(
    model: str | os.PathLike[str] | Embedder | None = None,
    *,
    compression: int | None = None,
    device: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
) -> Embedder:
    """The embedder that these words mean.

    Args:
        model: None or `DEFAULT_MODEL` for our own; the folder of an exported text encoder (``model.onnx``)
            or of a multimodal checkpoint (``config.json``); the hub name (``org/name``) of
            a multimodal checkpoint; or a ready embedder. With `base_url` the name the server knows.
        compression: visual-token compression factor per axis; needs a multimodal checkpoint. None: the
            checkpoint's own.
        device: where it computes; our own and text encoders know ``"cpu"`` only.
        base_url: an OpenAI-compatible server that embeds.
        api_key: for that server.

    Returns:
        A text encoder, whose weights are loaded on first use; or a multimodal one, loaded now, with the
        defaults of `mmrag.MLLMEmbedder.from_pretrained`, which takes more arguments.

    Raises:
        FileNotFoundError: a file of the model is missing, or a hub name cannot be fetched.
        MissingExtraError: a multimodal checkpoint, and torch or transformers is not installed.
        ValueError: no such model, or a setting that this embedder does not have.
        TypeError: `model` is neither text, a path nor an embedder.
    """
    settings: dict[str, Any] = {"compression": compression, "device": device}
    if base_url is not None:
        from mmrag.embedders.served import ServedEmbedder

        _refuse("a served embedder", settings, "They are the server's to choose.")
        name = None if model is None else str(model)
        return ServedEmbedder(base_url, name, api_key=api_key)
    if is_embedder(model):
        _refuse("a ready embedder", settings, "Set them where it is made.")
        return cast("Embedder", model)
    if model is not None and not isinstance(model, (str, os.PathLike)):
        raise TypeError(
            f"model must be a name, a folder or an embedder, got {type(model).__name__}. "
            f"Leave it out for {DEFAULT_MODEL}."
        )
    if model is not None and (Path(model).expanduser() / "encoder.onnx").is_file():
        from mmrag.embedders.mini.embedder import COMPRESSION, MiniEmbedder

        _refuse(
            "a folder of mmrag-mini", {"device": None if device == "cpu" else device}, "It runs on the CPU."
        )
        return MiniEmbedder(Path(model).expanduser(), compression=compression or COMPRESSION)
    if model is not None and _is_multimodal(model):
        from mmrag.models.mllm_embedder import MLLMEmbedder

        chosen = {name: value for name, value in settings.items() if value is not None}
        return cast("Embedder", MLLMEmbedder.from_pretrained(os.fspath(model), **chosen))
    if model is None or model == DEFAULT_MODEL:
        elsewhere = None if device in ("cpu", "auto") else device
        _refuse(DEFAULT_MODEL, {"device": elsewhere}, "It runs on the CPU.")
        return default_embedder(compression=compression)
    _refuse(
        "a text encoder",
        {"compression": compression, "device": None if device == "cpu" else device},
        "It has no image tokens and runs on the CPU.",
    )
    from mmrag.embedders.text import TextEmbedder

    folder = Path(model)
    if not folder.is_dir():
        raise ValueError(
            f"model must be {DEFAULT_MODEL!r}, the folder of an exported text encoder or of "
            f"a multimodal checkpoint, or a hub name 'org/name', got {str(model)!r}. For a model behind a "
            "server pass base_url, too."
        )
    return TextEmbedder(folder)


def default_embedder(*, compression: int | None = None) -> Embedder:
    """The embedder that is used when none is given: mmrag-mini, which ships in the package."""
    from mmrag.embedders.mini.embedder import COMPRESSION, MiniEmbedder

    return MiniEmbedder(compression=COMPRESSION if compression is None else compression)


def _is_multimodal(model: str | os.PathLike[str]) -> bool:
    """Whether this is a folder with a config and no exported text encoder, or looks like a hub name."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        ours = (folder / "mmrag_config.json").is_file()
        return ours or ((folder / "config.json").is_file() and not (folder / "model.onnx").is_file())
    return isinstance(model, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", model) is not None


def is_embedder(value: object) -> bool:
    """Whether this has an embedder's methods.

    Not ``isinstance(value, Embedder)``: before Python 3.12 that reads every attribute, and a served
    embedder asks its server for ``dim``.
    """
    return all(callable(getattr(value, name, None)) for name in ("encode_query", "encode_document"))


def _refuse(what: str, settings: dict[str, Any], why: str) -> None:
    given = {name: value for name, value in settings.items() if value is not None}
    if given:
        listed = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise ValueError(f"{what} takes no {' or '.join(given)}, got {listed}. {why}")
