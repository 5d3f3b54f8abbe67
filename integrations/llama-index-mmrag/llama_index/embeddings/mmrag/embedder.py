"""How an embedder is written down, and made again from what was written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from mmrag.embedders.mini.embedder import MODEL_DIR
from mmrag.embedders.text import TextEmbedder
from mmrag.errors import IndexMismatchError
from mmrag.models.load import DEFAULT_MODEL, TEXT_MODEL

if TYPE_CHECKING:
    from mmrag.embedders.base import Embedder

Model: TypeAlias = "str | os.PathLike[str] | Embedder | None"
"""A name, a folder, a ready embedder, or None for the shipped one; see `mmrag.models.load.load_embedder`."""


def model_setting(model: Model) -> str | None:
    """`model` as it is written down: a name, a folder, or None where it was None and for most objects."""
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    folder = getattr(model, "model_dir", None)
    if folder == MODEL_DIR:  # both shipped models lie there
        return TEXT_MODEL if isinstance(model, TextEmbedder) else DEFAULT_MODEL
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
