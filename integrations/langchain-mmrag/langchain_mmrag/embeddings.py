"""`MMRagEmbeddings`: an embedder of the core as the host's `Embeddings`, and the other way round.

The host's interface has one vector an item. `embed_query`, `embed_documents` and the image methods
give row 0 of the nested matrix, scaled to length 1, because stores of the host assume unit length.
The whole matrices stand under names of their own (``..._multi``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.utils import secret_from_env
from mmrag.embedder import Content, DocumentInput, Embedder, EmbedderBase, QueryInput
from mmrag.errors import UnsupportedInputError
from mmrag.load import is_embedder, load_embedder, load_image
from mmrag.types import Budget, Matrix, Page, Query
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from langchain_mmrag._inputs import as_budget

if TYPE_CHECKING:
    from numpy.typing import NDArray

Vectors = list[list[float]]

_ENVIRONMENT_KEY = secret_from_env("MMRAG_API_KEY", default=None)


class MMRagEmbeddings(BaseModel, Embeddings):
    """Embeddings of text, and of images where the model sees them.

    Pickles without its API key: whoever unpickles reads ``MMRAG_API_KEY`` from their own environment.

    Raises:
        ValueError: no such model, or a setting that the model does not have.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: Any = None
    """None for the one that ships with mmrag, a folder, the name on a server, or a ready `Embedder`."""
    compression: int | None = None
    """Visual-token compression factor per axis, for models that have one."""
    budget: Budget | None = None
    """Most rows of a matrix, `Budget` or ``(query, document)``; None: all there are."""
    device: str | None = None
    """Where it computes."""
    base_url: str | None = None
    """An OpenAI-compatible server that embeds, instead of this process."""
    api_key: SecretStr | None = Field(default_factory=_ENVIRONMENT_KEY, exclude=True, repr=False)
    """For that server; never written out."""
    batch_size: int = Field(default=32, ge=1)
    """Items encoded at a time."""
    show_progress: bool = False
    """Whether a progress bar is drawn."""

    _embedder: Embedder | None = PrivateAttr(default=None)

    @field_validator("budget", mode="before")
    @classmethod
    def _budget(cls, value: Any) -> Budget | None:  # what a user wrote
        return as_budget(value)

    def model_post_init(self, context: Any, /) -> None:  # pydantic's
        """Make the embedder, so that a wrong setting is refused here and not at the first text."""
        self._embedder = self._load()

    def _load(self) -> Embedder:
        key = None if self.api_key is None else self.api_key.get_secret_value()
        return load_embedder(
            self.model,
            compression=self.compression,
            device=self.device,
            base_url=self.base_url,
            api_key=key,
        )

    @property
    def embedder(self) -> Embedder:
        """The core's embedder: what a store encodes with."""
        if self._embedder is None:  # unpickled
            self._embedder = self._load()
        return self._embedder

    def __getstate__(self) -> dict[Any, Any]:
        """Settings only: no key, no loaded weights."""
        state = super().__getstate__()
        values = {**state["__dict__"], "api_key": None}
        return {**state, "__dict__": values, "__pydantic_private__": {"_embedder": None}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self.__dict__["api_key"] = _ENVIRONMENT_KEY()

    # ---- one vector an item ----------------------------------------------------------------------

    def embed_documents(self, texts: list[str]) -> Vectors:
        """One vector a text, length 1."""
        return _first_rows(self._documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question, length 1."""
        return _first_rows(self._queries([text]))[0]

    def embed_image(self, uris: list[str]) -> Vectors:
        """One vector an image; `uris` are paths, ``file:`` or ``data:`` URIs.

        Raises:
            UnsupportedInputError: the model sees no images.
            FileNotFoundError: there is no such file.
        """
        return self.embed_images(uris)

    def embed_images(self, images: Sequence[Any]) -> Vectors:
        """One vector an image; `images` are PIL images, or what `embed_image` takes."""
        return _first_rows(self._documents(_contents(images)))

    async def aembed_documents(self, texts: list[str]) -> Vectors:
        """`embed_documents` without blocking the event loop."""
        return _first_rows(await self._adocuments(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query` without blocking the event loop."""
        matrices = await self.embedder.aencode_query([text], batch_size=self.batch_size)
        return _first_rows(matrices)[0]

    async def aembed_image(self, uris: list[str]) -> Vectors:
        """`embed_image` without blocking the event loop."""
        return await self.aembed_images(uris)

    async def aembed_images(self, images: Sequence[Any]) -> Vectors:
        """`embed_images` without blocking the event loop."""
        return _first_rows(await self._adocuments(_contents(images)))

    # ---- the nested matrices ---------------------------------------------------------------------

    def embed_documents_multi(self, texts: Sequence[str]) -> list[Vectors]:
        """One nested matrix a text: ``[text][row][dim]``, every prefix of rows usable by itself."""
        return [self._rows(matrix, "document") for matrix in self._documents(texts)]

    def embed_query_multi(self, text: str) -> Vectors:
        """The nested matrix of a question: ``[row][dim]``."""
        return self._rows(self._queries([text])[0], "query")

    def embed_images_multi(self, images: Sequence[Any]) -> list[Vectors]:
        """One nested matrix an image: ``[image][row][dim]``."""
        return [self._rows(matrix, "document") for matrix in self._documents(_contents(images))]

    def _rows(self, matrix: Matrix, side: str) -> Vectors:
        most = None if self.budget is None else getattr(self.budget, side)
        rows: Vectors = matrix[:most].tolist()
        return rows

    def _queries(self, texts: Sequence[str]) -> list[Matrix]:
        return self.embedder.encode_query(texts, batch_size=self.batch_size, show_progress=self.show_progress)

    def _documents(self, documents: Sequence[DocumentInput]) -> list[Matrix]:
        return self.embedder.encode_document(
            documents, batch_size=self.batch_size, show_progress=self.show_progress
        )

    async def _adocuments(self, documents: Sequence[DocumentInput]) -> list[Matrix]:
        return await self.embedder.aencode_document(
            documents, batch_size=self.batch_size, show_progress=self.show_progress
        )


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
        return [_unit_row(self.embeddings.embed_query(_query_text(query))) for query in queries]

    def encode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.encode_document`."""
        texts = [_document_text(document) for document in documents]
        return [_unit_row(vector) for vector in self.embeddings.embed_documents(texts)] if texts else []

    async def aencode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.aencode_query`."""
        return [_unit_row(await self.embeddings.aembed_query(_query_text(query))) for query in queries]

    async def aencode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.aencode_document`."""
        texts = [_document_text(document) for document in documents]
        return (
            [_unit_row(vector) for vector in await self.embeddings.aembed_documents(texts)] if texts else []
        )


def as_embedder(embedding: Embeddings | Embedder | None) -> Embedder:
    """What a store encodes with; None is the default of mmrag.

    Raises:
        TypeError: it is no embedder of either side.
    """
    if embedding is None:
        return load_embedder()
    if isinstance(embedding, MMRagEmbeddings):
        return embedding.embedder
    if isinstance(embedding, Embeddings):
        return HostEmbedder(embedding)
    if is_embedder(embedding):
        return embedding
    raise TypeError(
        f"embedding must be LangChain Embeddings or an mmrag Embedder, got {type(embedding).__name__}. "
        "Pass MMRagEmbeddings(); a folder goes to persist_directory."
    )


def _contents(images: Sequence[Any]) -> list[Content]:
    return [Content(image=load_image(image)) for image in images]


def _first_rows(matrices: Sequence[Matrix]) -> Vectors:
    return [_unit(matrix[0]).tolist() for matrix in matrices]


def _unit(vector: Any) -> NDArray[np.float32]:  # anything NumPy takes
    row = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(row))
    return row / length if length else row


def _unit_row(vector: Sequence[float]) -> Matrix:
    return _unit(vector)[None]


def _model_names(embeddings: Embeddings) -> dict[str, str]:
    """The attributes by which the host's classes name their model."""
    names = ("model", "model_name", "model_id", "deployment", "dimensions", "size")
    values = {name: getattr(embeddings, name, None) for name in names}
    return {name: str(value) for name, value in values.items() if isinstance(value, (str, int))}


def _query_text(query: QueryInput) -> str:
    if isinstance(query, Query):
        if query.image is not None:
            raise UnsupportedInputError("the host's embeddings take text only, got a query with an image.")
        return query.text or ""
    return query


def _document_text(document: DocumentInput) -> str:
    if isinstance(document, str):
        return document
    if isinstance(document, Page) or document.text or document.image is None:
        return document.text
    raise UnsupportedInputError("the host's embeddings take text only, got an image without text.")
