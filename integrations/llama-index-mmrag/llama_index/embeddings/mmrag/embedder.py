"""From the arguments that every class here takes to one of mmrag's embedders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmrag.embedder import Embedder
from mmrag.errors import IndexMismatchError

SHIPPED = "bge-small-en-v1.5"
"""The one model that comes with the package."""

Model = Any
"""A name, a folder, a ready `Embedder`, or None for the shipped one."""


def make_embedder(
    model: Model = None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    compression: int | None = None,
    device: str | None = None,
) -> Embedder:
    """The embedder that these arguments name.

    Args:
        model: None or ``"bge-small-en-v1.5"``: the shipped text embedder; a folder: an exported encoder;
            a ready `Embedder`: itself; with `base_url`, the name of a served model.
        base_url: an OpenAI-compatible server.
        api_key: for the server; None looks into ``MMRAG_API_KEY``.
        compression: of visual tokens; only for models that have one.
        device: only for models that run on one.

    Raises:
        ValueError: no such model, or a setting that the model does not have.
    """
    if base_url is not None:
        from mmrag.served_embedder import ServedEmbedder

        _refuse("a served embedder", compression=compression, device=device)
        if model is not None and not isinstance(model, str):
            raise ValueError(f"with base_url the model must be its name on the server, got {model!r}.")
        return ServedEmbedder(base_url, model, api_key=api_key)
    if model is not None and not isinstance(model, (str, Path)):
        if not isinstance(model, Embedder):
            raise ValueError(f"model must be a name, a folder or an mmrag Embedder, got {model!r}.")
        _refuse(f"the ready embedder {model.name!r}", compression=compression, device=device)
        return model
    from mmrag.text_embedder import TextEmbedder

    _refuse(f"{SHIPPED} (text only, on the CPU)", compression=compression, device=device)
    if model is None or model == SHIPPED:
        return TextEmbedder()
    if not Path(model).expanduser().is_dir():
        raise ValueError(
            f"model must be {SHIPPED!r}, a folder with model.onnx and tokenizer.json, or an Embedder, got "
            f"{str(model)!r}. For a model behind a URL give base_url, too."
        )
    return TextEmbedder(Path(model).expanduser())


def model_setting(model: Model) -> str | None:
    """`model` as it is written down: a name, a folder, or None for the shipped one and for objects."""
    if model is None or isinstance(model, (str, Path)):
        return None if model is None else str(model)
    folder = getattr(model, "model_dir", None)
    return None if folder is None else str(folder)


def check_fingerprint(embedder: Embedder, fingerprint: str | None, what: str) -> None:
    """Refuse an embedder that is not the one an object was saved with.

    Raises:
        IndexMismatchError: the fingerprints differ.
    """
    if fingerprint is not None and embedder.fingerprint != fingerprint:
        raise IndexMismatchError(
            f"{what} was saved with an embedder of fingerprint {fingerprint}, got {embedder.name!r} "
            f"({embedder.fingerprint}). Give the embedder it was made with as model=..."
        )


def _refuse(of: str, **settings: object) -> None:
    given = [f"{name}={value!r}" for name, value in settings.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)} cannot be set on {of}. Leave it out.")
