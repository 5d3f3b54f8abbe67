"""`MMRagEmbeddings`: an embedder of the core as the host's `Embeddings`.

The host's interface has one vector per item. `embed_query`, `embed_documents` and the image methods give row
0 of the nested matrix, scaled to length 1, because stores of the host assume unit length. The whole matrices
are returned by the methods named ``..._multi``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from mmrag import Embedder, load_embedder
from mmrag.hosts.embedders import unit_vectors
from mmrag.hosts.inputs import as_budget, image_contents
from mmrag.types import Budget, Matrix
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from langchain_mmrag._secret import KeylessPickle, environment_key

Vectors = list[list[float]]


class MMRagEmbeddings(KeylessPickle, Embeddings):
    """Embeddings of text, and of images where the model sees them.

    Pickles without its API key: whoever unpickles reads ``MMRAG_API_KEY`` from their own environment.

    Raises:
        ValueError: no such model, or a setting that the model does not have.

    Example:
        >>> embeddings = MMRagEmbeddings()
        >>> query = embeddings.embed_query("Which animal barks?")
        >>> len(query) == len(embeddings.embed_documents(["Dogs bark."])[0])
        True
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: Any = None
    """None for the one that ships with mmrag, a folder, a hub name ``org/name`` of a multimodal model, the
    name on a server, or a ready `Embedder`."""
    compression: int | None = None
    """Visual-token compression factor per axis, for models that have one."""
    budget: Budget | None = None
    """Most rows of a matrix, `Budget` or ``(query, document)``; None: all."""
    device: str | None = None
    """Device to compute on."""
    base_url: str | None = None
    """An OpenAI-compatible server that embeds, instead of this process."""
    api_key: SecretStr | None = Field(default_factory=environment_key, exclude=True, repr=False)
    """For that server; never written out."""
    batch_size: int = Field(default=32, ge=1)
    """Items encoded at a time."""
    show_progress: bool = False
    """Draw a progress bar."""

    _embedder: Embedder | None = PrivateAttr(default=None)

    @field_validator("budget", mode="before")
    @classmethod
    def _budget(cls, value: Any) -> Budget | None:
        return as_budget(value)

    def model_post_init(self, context: Any, /) -> None:  # pydantic's
        """Make the embedder, so that a wrong setting is refused now and not at the first text."""
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
        """Return the core's embedder, which stores encode with."""
        if self._embedder is None:  # unpickled
            self._embedder = self._load()
        return self._embedder

    # ---- one vector per item ----

    def embed_documents(self, texts: list[str]) -> Vectors:
        """Return one vector per text, length 1."""
        return unit_vectors(self.embedder.encode_document(texts, **self._options))

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question, length 1."""
        return unit_vectors(self.embedder.encode_query([text], **self._options))[0]

    def embed_image(self, uris: list[str]) -> Vectors:
        """Return one vector per image; `uris` are paths, ``file:`` or ``data:`` URIs.

        Raises:
            UnsupportedInputError: the model sees no images.
            FileNotFoundError: there is no such file.
        """
        return self.embed_images(uris)

    def embed_images(self, images: Sequence[Any]) -> Vectors:
        """Return one vector per image; `images` are PIL images, or what `embed_image` takes."""
        return unit_vectors(self.embedder.encode_document(image_contents(images), **self._options))

    async def aembed_documents(self, texts: list[str]) -> Vectors:
        """Run `embed_documents` without blocking the event loop."""
        return unit_vectors(await self.embedder.aencode_document(texts, **self._options))

    async def aembed_query(self, text: str) -> list[float]:
        """Run `embed_query` without blocking the event loop."""
        return unit_vectors(await self.embedder.aencode_query([text], **self._options))[0]

    async def aembed_image(self, uris: list[str]) -> Vectors:
        """Run `embed_image` without blocking the event loop."""
        return await self.aembed_images(uris)

    async def aembed_images(self, images: Sequence[Any]) -> Vectors:
        """Run `embed_images` without blocking the event loop."""
        contents = await asyncio.to_thread(image_contents, images)
        return unit_vectors(await self.embedder.aencode_document(contents, **self._options))

    # ---- nested matrices ----

    def embed_documents_multi(self, texts: Sequence[str]) -> list[Vectors]:
        """Return one nested matrix per text, ``[text][row][dim]``; every prefix of its rows is usable."""
        return [
            self._rows(matrix, "document") for matrix in self.embedder.encode_document(texts, **self._options)
        ]

    def embed_query_multi(self, text: str) -> Vectors:
        """Return the nested matrix of a question: ``[row][dim]``."""
        return self._rows(self.embedder.encode_query([text], **self._options)[0], "query")

    def embed_images_multi(self, images: Sequence[Any]) -> list[Vectors]:
        """Return one nested matrix per image: ``[image][row][dim]``."""
        matrices = self.embedder.encode_document(image_contents(images), **self._options)
        return [self._rows(matrix, "document") for matrix in matrices]

    def _rows(self, matrix: Matrix, side: str) -> Vectors:
        rows: Vectors = matrix[: None if self.budget is None else getattr(self.budget, side)].tolist()
        return rows

    @property
    def _options(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size, "show_progress": self.show_progress}
