"""Any `Embeddings` of the host as an embedder of the core."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.embeddings import Embeddings
from mmrag.embedders.base import (
    DocumentInput,
    EmbedderBase,
    QueryInput,
    as_document,
    as_query,
    check_batch,
    searchable_text,
)
from mmrag.types import Budget, Matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray


class HostEmbedder(EmbedderBase):
    """Any `Embeddings` of the host as an embedder of the core: one row an item, text only.

    Its fingerprint is made of the class, the names of its model and the width of its vectors.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self._dim: int | None = None

    @property
    def name(self) -> str:
        """Class and model, for people."""
        model = ", ".join(_model_names(self.embeddings).values())
        return f"{type(self.embeddings).__name__}({model})"

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits."""
        kind = type(self.embeddings)
        words = [kind.__module__, kind.__qualname__, *sorted(_model_names(self.embeddings).items()), self.dim]
        return hashlib.sha256(repr(words).encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Width of a vector, learnt from one call."""
        if self._dim is None:
            self._dim = len(self.embeddings.embed_query("width"))
        return self._dim

    @property
    def budget(self) -> Budget:
        """One row on each side."""
        return Budget(1, 1)

    @property
    def modalities(self) -> frozenset[str]:
        """Text only."""
        return frozenset({"text"})

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.encode_query`."""
        texts = self._query_texts(queries, batch_size)
        return [_unit_row(self.embeddings.embed_query(text)) for text in texts]

    def encode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.encode_document`."""
        texts = self._document_texts(documents, batch_size)
        return [_unit_row(vector) for vector in self.embeddings.embed_documents(texts)] if texts else []

    async def aencode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.aencode_query`."""
        texts = self._query_texts(queries, batch_size)
        return [_unit_row(await self.embeddings.aembed_query(text)) for text in texts]

    async def aencode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.aencode_document`."""
        texts = self._document_texts(documents, batch_size)
        vectors = await self.embeddings.aembed_documents(texts) if texts else []
        return [_unit_row(vector) for vector in vectors]

    def _query_texts(self, queries: Sequence[QueryInput], batch_size: int) -> list[str]:
        check_batch(queries, batch_size, "queries")
        return [as_query(query, at, self.modalities).text or "" for at, query in enumerate(queries)]

    def _document_texts(self, documents: Sequence[DocumentInput], batch_size: int) -> list[str]:
        check_batch(documents, batch_size, "documents")
        checked = [as_document(document, at, self.modalities) for at, document in enumerate(documents)]
        return [searchable_text(document) for document in checked]


def unit(vector: Any) -> NDArray[np.float32]:  # anything NumPy takes
    row = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(row))
    return row / length if length else row


def _unit_row(vector: Sequence[float]) -> Matrix:
    return unit(vector)[None]


def _model_names(embeddings: Embeddings) -> dict[str, str]:
    """The attributes by which the host's classes name their model."""
    names = ("model", "model_name", "model_id", "deployment", "dimensions", "size")
    values = {name: getattr(embeddings, name, None) for name in names}
    return {name: str(value) for name, value in values.items() if isinstance(value, (str, int))}
