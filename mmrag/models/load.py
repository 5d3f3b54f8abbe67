"""Load an embedder by name, folder, hub name or server URL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mmrag.embedders.base import Embedder
    from mmrag.onnx_sessions import Providers

DEFAULT_MODEL = "mmrag-mini"
"""Name of the embedder that ships in the package."""

ON_ONNX = "It runs by onnxruntime: pass providers, as ['CUDAExecutionProvider']."


def load_embedder(
    model: str | os.PathLike[str] | Embedder | None = None,
    *,
    compression: int | None = None,
    device: str | None = None,
    providers: Providers = None,
    base_url: str | None = None,
    api_key: str | None = None,
) -> Embedder:
    """Load an embedder by name, folder or server URL.

    Args:
        model: None or `DEFAULT_MODEL` for our own; the folder of an exported text encoder (``model.onnx``)
            or of a multimodal checkpoint (``config.json``); the hub name (``org/name``) of
            a multimodal checkpoint; or a ready embedder. With `base_url` the name the server knows.
        compression: visual-token compression factor per axis; not of text encoders. None: the model's own.
        device: of a multimodal checkpoint, ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        providers: of mmrag-mini and text encoders, which run by onnxruntime; see `mmrag.MiniEmbedder`.
        base_url: an OpenAI-compatible server that embeds, one vector an input. It is not asked before it is
            used; `served_embedder` asks, and takes nested vectors where there are some.
        api_key: for that server.

    Returns:
        A text encoder, whose weights are loaded on first use; or a multimodal one, loaded now, with the
        defaults of `mmrag.MLLMEmbedder.from_pretrained`, which takes more arguments.

    Raises:
        FileNotFoundError: a file of the model is missing, or a hub name cannot be fetched.
        MissingExtraError: a multimodal checkpoint, and torch or transformers is not installed.
        ValueError: an unknown model, or a setting that the model does not have.
        TypeError: `model` is neither text, a path nor an embedder.

    Example:
        >>> load_embedder("mmrag-mini").dim
        128
    """
    settings: dict[str, Any] = {"compression": compression, "device": device, "providers": providers}
    if base_url is not None:
        _refuse("a served embedder", settings, "The server decides on them.")
        from mmrag.embedders.served import ServedEmbedder

        return ServedEmbedder(base_url, None if model is None else str(model), api_key=api_key)
    if is_embedder(model):
        _refuse("a ready embedder", settings, "Set them on the embedder itself.")
        return cast("Embedder", model)
    if model is not None and not isinstance(model, (str, os.PathLike)):
        raise TypeError(
            f"model must be a name, a folder or an embedder, got {type(model).__name__}. "
            f"Leave it out for {DEFAULT_MODEL}."
        )
    if model is None or model == DEFAULT_MODEL:
        return _load_mini(None, settings)
    folder = Path(model).expanduser()
    if (folder / "encoder.onnx").is_file():
        return _load_mini(folder, settings)
    if _is_multimodal(model):
        from mmrag.models.mllm_embedder import MLLMEmbedder

        _refuse("a multimodal checkpoint", {"providers": providers}, "It runs by torch: pass device.")
        options = {name: value for name, value in settings.items() if value is not None}
        return cast("Embedder", MLLMEmbedder.from_pretrained(os.fspath(model), **options))
    return _load_text_encoder(model, settings)


def served_embedder(base_url: str, model: str | None = None, *, api_key: str | None = None) -> Embedder:
    """Return the embedder of a server, which is asked what it has.

    With our plugin it is a `mmrag.ServedMLLMEmbedder`, without it a `mmrag.ServedEmbedder`.

    Args:
        base_url: of the server.
        model: its name there. None: the only one that is served.
        api_key: for that server.

    Raises:
        ServerError: it cannot be reached, or refuses the key.
    """
    from mmrag.embedders.served import ServedEmbedder
    from mmrag.errors import ServerStatusError
    from mmrag.models.served.embedder import NO_PLUGIN, ServedMLLMEmbedder

    nested = ServedMLLMEmbedder(base_url, model, api_key=api_key)
    try:
        nested.identity  # noqa: B018  asks the server
    except ServerStatusError as error:
        if error.status not in NO_PLUGIN:
            raise
        return ServedEmbedder(base_url, model, api_key=api_key)
    return cast("Embedder", nested)


def default_embedder() -> Embedder:
    """Load the default embedder: mmrag-mini, which ships in the package."""
    return _load_mini(None, {})


def _load_mini(folder: Path | None, settings: dict[str, Any]) -> Embedder:
    from mmrag.embedders.mini.embedder import COMPRESSION, MiniEmbedder

    _refuse(DEFAULT_MODEL, {"device": _unless_cpu(settings.get("device"))}, ON_ONNX)
    compression = settings.get("compression")
    return MiniEmbedder(
        folder,
        compression=COMPRESSION if compression is None else compression,
        providers=settings.get("providers"),
    )


def _load_text_encoder(model: str | os.PathLike[str], settings: dict[str, Any]) -> Embedder:
    from mmrag.embedders.text import TextEmbedder

    foreign_settings = {"compression": settings["compression"], "device": _unless_cpu(settings["device"])}
    _refuse("a text encoder", foreign_settings, f"It has no image tokens. {ON_ONNX}")
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"model must be {DEFAULT_MODEL!r}, the folder of an exported text encoder or of a multimodal "
            f"checkpoint, or a hub name 'org/name', got {str(model)!r}. For a model behind a server pass "
            "base_url, too."
        )
    return TextEmbedder(folder, providers=settings["providers"])


def _unless_cpu(device: str | None) -> str | None:
    return None if device in ("cpu", "auto") else device


def _is_multimodal(model: str | os.PathLike[str]) -> bool:
    """Return whether this is a folder with a config but no exported text encoder, or like a hub name."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        is_checkpoint = (folder / "mmrag_config.json").is_file()
        return is_checkpoint or ((folder / "config.json").is_file() and not (folder / "model.onnx").is_file())
    return isinstance(model, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", model) is not None


def is_embedder(value: object) -> bool:
    """Return whether this has an embedder's methods.

    Not ``isinstance(value, Embedder)``: before Python 3.12 that reads every attribute, and a served
    embedder asks its server for ``dim``.
    """
    return all(callable(getattr(value, name, None)) for name in ("encode_query", "encode_document"))


def _refuse(kind: str, settings: dict[str, Any], remedy: str) -> None:
    """Refuse settings that a kind of embedder does not have; None is no setting."""
    values = {name: value for name, value in settings.items() if value is not None}
    if values:
        text = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise ValueError(f"{kind} takes no {' or '.join(values)}, got {text}. {remedy}")
