"""`MMRagEmbeddings`: an embedder of the core as the host's `Embeddings`.

The host's interface has one vector an item. `embed_query`, `embed_documents` and the image methods
give row 0 of the nested matrix, scaled to length 1, because stores of the host assume unit length.
The whole matrices stand under names of their own (``..._multi``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.utils import secret_from_env
from mmrag.embedders.base import Content, DocumentInput, Embedder
from mmrag.images import load_image
from mmrag.models.load import is_embedder, load_embedder
from mmrag.types import Budget, Matrix
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from langchain_mmrag._host_embedder import HostEmbedder, unit
from langchain_mmrag._inputs import as_budget

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
    """None for the one that ships with mmrag, a folder, a hub name ``org/name`` of a multimodal model, the
    name on a server, or a ready `Embedder`."""
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


def _contents(images: Sequence[Any]) -> list[Content]:
    return [Content(image=load_image(image)) for image in images]


def _first_rows(matrices: Sequence[Matrix]) -> Vectors:
    return [unit(matrix[0]).tolist() for matrix in matrices]


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
