"""Embedders between the core and a host: one vector per item outside, nested matrices inside."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from mmrag.embedders.base import (
    DocumentInput,
    Embedder,
    EmbedderBase,
    QueryInput,
    as_document,
    as_query,
)
from mmrag.embedders.mini.embedder import MODEL_DIR
from mmrag.errors import IndexMismatchError
from mmrag.models.load import DEFAULT_MODEL, is_embedder, load_embedder
from mmrag.types import Budget, Matrix

Model: TypeAlias = "str | os.PathLike[str] | Embedder | None"
"""A name, a folder, a ready embedder, or None for the shipped one; see `mmrag.load_embedder`."""

MOST_WRAPPERS = 4
"""Embeddings inside each other that are looked at; a circle of them ends there."""

__all__ = [
    "DocumentInput",
    "HostEmbedder",
    "Model",
    "QueryInput",
    "check_fingerprint",
    "check_width",
    "is_embedder",
    "is_query_vector",
    "model_setting",
    "picklable_model",
    "unit_vectors",
]


class TextEmbeddings(Protocol):
    """A host's embeddings: one vector per text."""

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        ...

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text."""
        ...

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a question without blocking the event loop."""
        ...

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text without blocking the event loop."""
        ...


class HostEmbedder(EmbedderBase):
    """A host's embeddings as an embedder of the core: one row per item, text only.

    Its fingerprint is made of the class, the names of its model, the embeddings that it wraps, and the width
    of its vectors. A cache is as if it were not there: its vectors are those of what it wraps.
    """

    def __init__(self, embeddings: TextEmbeddings) -> None:
        self.embeddings = embeddings
        self._dim: int | None = None

    @property
    def name(self) -> str:
        """Return class and model, for people; those of what it wraps, too."""
        return _name(_without_cache(self.embeddings))

    @property
    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits."""
        words = [*_identity(_without_cache(self.embeddings)), self.dim]
        return hashlib.sha256(repr(words).encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Return the width of a vector, learnt from one call."""
        if self._dim is None:
            self._dim = len(self.embeddings.embed_query("width"))
        return self._dim

    @property
    def budget(self) -> Budget:
        """Return one row on each side."""
        return Budget(1, 1)

    @property
    def modalities(self) -> frozenset[str]:
        """Return text only."""
        return frozenset({"text"})

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.encode_query`."""
        return [_unit_row(self.embeddings.embed_query(text)) for text in self._query_texts(queries)]

    def encode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.encode_document`."""
        texts = self._document_texts(documents)
        return [_unit_row(vector) for vector in self.embeddings.embed_documents(texts)] if texts else []

    async def aencode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.aencode_query`."""
        return [_unit_row(await self.embeddings.aembed_query(text)) for text in self._query_texts(queries)]

    async def aencode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.aencode_document`."""
        texts = self._document_texts(documents)
        if not texts:
            return []
        return [_unit_row(vector) for vector in await self.embeddings.aembed_documents(texts)]

    def _query_texts(self, queries: Sequence[QueryInput]) -> list[str]:
        checks = [as_query(query, n, self.modalities) for n, query in enumerate(queries)]
        return [query.text or "" for query in checks]

    def _document_texts(self, documents: Sequence[DocumentInput]) -> list[str]:
        return [as_document(document, n, self.modalities).text for n, document in enumerate(documents)]


def _without_cache(embeddings: object) -> object:
    """Return the embeddings behind a host's cache of vectors."""
    while (inner := getattr(embeddings, "underlying_embeddings", None)) is not None:
        embeddings = inner
    return embeddings


def _identity(embeddings: object, depth: int = 0) -> list[object]:
    """Return what tells embeddings from others: class, names of the model, and the same of what they wrap."""
    kind = type(embeddings)
    layers = _inner_embeddings(embeddings) if depth < MOST_WRAPPERS else {}
    inner = [(name, *_identity(_without_cache(layer), depth + 1)) for name, layer in sorted(layers.items())]
    return [kind.__module__, kind.__qualname__, *sorted(_model_names(embeddings).items()), *inner]


def _name(embeddings: object, depth: int = 0) -> str:
    layers = _inner_embeddings(embeddings).values() if depth < MOST_WRAPPERS else ()
    inner = [_name(_without_cache(layer), depth + 1) for layer in layers]
    return f"{type(embeddings).__name__}({', '.join([*_model_names(embeddings).values(), *inner])})"


def _inner_embeddings(embeddings: object) -> dict[str, object]:
    """Return the embeddings among an object's attributes, by name."""
    attributes = {
        **getattr(embeddings, "__dict__", {}),
        **(getattr(embeddings, "__pydantic_private__", None) or {}),
    }
    methods = ("embed_query", "embed_documents")
    return {
        name: value
        for name, value in attributes.items()
        if not isinstance(value, type) and all(callable(getattr(value, method, None)) for method in methods)
    }


def _model_names(embeddings: object) -> dict[str, str]:
    """Return the attributes by which hosts' classes name their model."""
    names = ("model", "model_name", "model_id", "deployment", "dimensions", "size")
    values = {name: getattr(embeddings, name, None) for name in names}
    return {name: str(value) for name, value in values.items() if isinstance(value, (str, int))}


def _unit(vector: Any) -> Any:  # noqa: ANN401  anything NumPy takes
    row = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(row))
    return row / length if length else row


def _unit_row(vector: Sequence[float]) -> Matrix:
    row: Matrix = _unit(vector).astype(np.float32)[None]
    return row


def unit_vectors(matrices: Sequence[Matrix]) -> list[list[float]]:
    """Return row 0 of each nested matrix at length 1, as hosts and their stores expect it."""
    return [_unit(matrix[0]).tolist() for matrix in matrices]


def check_width(embedder: Embedder, vector: Sequence[float], name: str) -> None:
    """Refuse a vector that this embedder cannot have made.

    Raises:
        IndexMismatchError: its width is another.
    """
    if len(vector) != embedder.dim:
        raise IndexMismatchError(
            f"{name} has {len(vector)} numbers, {embedder.name!r} gives {embedder.dim}: "
            "another model made it. Pass embed_model=vector_store.embed_model to the index."
        )


def is_query_vector(embedder: Embedder, text: str, vector: Sequence[float]) -> bool:
    """Return whether a vector is this question's, and not another text's or another model's."""
    row = embedder.encode_query([text])[0][0].astype(np.float64)
    return float(row @ np.asarray(vector)) > 0.999 * float(np.linalg.norm(row) * np.linalg.norm(vector))


def model_setting(model: Model) -> str | None:
    """Return `model` as it is written down: a name, a folder, or None for None and for most objects."""
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    folder = getattr(model, "model_dir", None)
    if folder == MODEL_DIR:  # another folder on the machine that reads the setting
        return DEFAULT_MODEL
    return None if folder is None else str(folder)


def picklable_model(embedder: Embedder, model: str | None, fingerprint: str | None) -> Model:
    """Return what a pickle carries for a ready embedder: its setting if that makes it again, else itself.

    Raises:
        TypeError: neither the setting nor the object can be pickled.
    """
    remade = load_embedder(model)
    if remade.fingerprint == fingerprint and remade.budget == embedder.budget:
        return model
    try:
        pickle.dumps(embedder)
    except TypeError as error:
        raise TypeError(
            f"an MMRagEmbedding of a ready object cannot be pickled, got {embedder!r}. "
            "Give the model's folder or name instead."
        ) from error
    return embedder


def check_fingerprint(embedder: Embedder, fingerprint: str | None, name: str) -> None:
    """Refuse an embedder that is not the one an object was saved with.

    Raises:
        IndexMismatchError: the fingerprints differ.
    """
    if fingerprint is not None and embedder.fingerprint != fingerprint:
        raise IndexMismatchError(
            f"{name} was saved with an embedder of fingerprint {fingerprint}, got {embedder.name!r} "
            f"({embedder.fingerprint}). Give the embedder it was made with as model=..."
        )
