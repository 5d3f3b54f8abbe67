"""`MMRagEmbedding`: one vector a text or image, for every part of LlamaIndex that takes an embed model.

Decisions taken here:

* The vector is row 0 of mmrag's nested matrix, at length 1: LlamaIndex has no type for several vectors
  an item. `MMRagEmbedding.encode_query` and `encode_document` give the whole matrices;
  `MMRagVectorStore` and `MMRagRetriever` search with them.
* LlamaIndex sends no instrumentation events for images; they are sent here, in pairs.
* What is pickled or written as a dict has no key in it; the embedder is made again where it is used,
  and must have the fingerprint of the first.
"""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr, SecretStr
from llama_index.core.constants import DEFAULT_EMBED_BATCH_SIZE
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.schema import ImageType

from llama_index.embeddings.mmrag.embedder import Model, check_fingerprint, model_setting
from mmrag.embedders.base import Content, DocumentInput, Embedder, QueryInput
from mmrag.images import load_image
from mmrag.models.load import is_embedder, load_embedder
from mmrag.scoring import take_budget
from mmrag.types import Budget, Matrix

if TYPE_CHECKING:
    from llama_index.core.callbacks import CallbackManager

dispatcher = get_dispatcher(__name__)


class MMRagEmbedding(MultiModalEmbedding):
    """Texts, questions and images to vectors, by mmrag's embedders.

    Args:
        model: None or ``"mmrag-mini"``: the shipped model of text and images, no download;
            ``"bge-small-en-v1.5"``: the shipped text encoder; a folder: an exported encoder or a multimodal
            checkpoint; ``org/name``: a multimodal checkpoint on the hub; a ready mmrag `Embedder`; with
            `base_url`, a served model's name.
        model_name: the same as `model`, for those who type it.
        compression: of visual tokens, for embedders that have it.
        budget: ``(query, document)`` rows that `encode_query` and `encode_document` keep; None: all.
        base_url: an OpenAI-compatible server of embeddings.
        api_key: for the server; None looks into ``MMRAG_API_KEY``. Never written, pickled or shown.
        device: for embedders that run on one.
        embed_batch_size: texts a call, 1..2048.

    Raises:
        ValueError: no such model, or a setting that the model does not have.
    """

    model: str | None = Field(default=None, description="Name or folder of the model; None: the shipped one.")
    compression: int | None = Field(default=None, description="Compression of visual tokens.")
    budget: tuple[int, int] | None = Field(default=None, description="Rows kept of a query and a document.")
    base_url: str | None = Field(default=None, description="Server of embeddings.")
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    device: str | None = Field(default=None, description="Where the model runs.")
    fingerprint: str | None = Field(default=None, description="Of the embedder this was first made with.")
    _embedder: Embedder = PrivateAttr()
    _given: bool = PrivateAttr()  # a ready object: perhaps not to be made again from the settings

    def __init__(
        self,
        model: Model = None,
        *,
        model_name: str | None = None,
        compression: int | None = None,
        budget: Budget | tuple[int, int] | None = None,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        device: str | None = None,
        embed_batch_size: int = DEFAULT_EMBED_BATCH_SIZE,
        callback_manager: CallbackManager | None = None,
        num_workers: int | None = None,
        embeddings_cache: Any = None,
        rate_limiter: Any = None,
        fingerprint: str | None = None,
    ) -> None:
        if model is None and fingerprint is None:
            model = model_name  # with a fingerprint this comes from `to_dict`, where it is for people
        secret = SecretStr(api_key) if isinstance(api_key, str) else api_key
        embedder = load_embedder(
            model,
            base_url=base_url,
            api_key=None if secret is None else secret.get_secret_value(),
            compression=compression,
            device=device,
        )
        check_fingerprint(embedder, fingerprint, "the embedding model")
        fields: dict[str, Any] = {
            "model": model_setting(model),
            "model_name": embedder.name if base_url is None else str(model or "served"),
            "compression": compression,
            "budget": _pair(budget),
            "base_url": base_url,
            "api_key": secret,
            "device": device,
            "embed_batch_size": embed_batch_size,
            "callback_manager": callback_manager,
            "num_workers": num_workers,
            "embeddings_cache": embeddings_cache,
            "rate_limiter": rate_limiter,
            "fingerprint": embedder.fingerprint if base_url is None else None,  # a server is not asked yet
        }
        super().__init__(**fields)
        self._embedder = embedder
        self._given = base_url is None and is_embedder(model)

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "MMRagEmbedding"

    @property
    def embedder(self) -> Embedder:
        """The mmrag embedder behind this."""
        return self._embedder

    def encode_query(self, queries: Sequence[QueryInput]) -> list[Matrix]:
        """One nested ``(rows, dim)`` matrix a question, cut to the budget."""
        rows = None if self.budget is None else self.budget[0]
        return [take_budget(matrix, rows) for matrix in self._embedder.encode_query(queries)]

    def encode_document(self, documents: Sequence[DocumentInput]) -> list[Matrix]:
        """One nested ``(rows, dim)`` matrix a document, cut to the budget."""
        rows = None if self.budget is None else self.budget[1]
        return [take_budget(matrix, rows) for matrix in self._embedder.encode_document(documents)]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the key and what is open.

        Raises:
            TypeError: the embedder was a ready object that cannot be made again from its settings.
        """
        left_out = ("api_key", "callback_manager")  # the host leaves both out of `to_dict`
        fields = {k: v for k, v in self.__dict__.items() if k not in left_out}
        if self._given and not self._made_by_settings():
            try:
                pickle.dumps(self._embedder)
            except TypeError as error:
                raise TypeError(
                    f"an MMRagEmbedding of a ready object cannot be pickled, got {self._embedder!r}. "
                    "Give the model's folder or name instead."
                ) from error
            fields["model"] = self._embedder
        return {"__dict__": fields}

    def _made_by_settings(self) -> bool:
        """Whether the settings alone give this embedder again."""
        made = load_embedder(self.model)
        return made.fingerprint == self.fingerprint and made.budget == self._embedder.budget

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the embedder again; see `__getstate__`."""
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # how every BaseComponent is restored

    # ---- what the host asks for ------------------------------------------------------------------

    def _get_query_embedding(self, query: str) -> Embedding:
        return _vector(self._embedder.encode_query([query])[0])

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return _vector((await self._embedder.aencode_query([query]))[0])

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return [_vector(m) for m in self._embedder.encode_document(texts, batch_size=self.embed_batch_size)]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        matrices = await self._embedder.aencode_document(texts, batch_size=self.embed_batch_size)
        return [_vector(matrix) for matrix in matrices]

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return self._get_image_embeddings([img_file_path])[0]

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return (await self._aget_image_embeddings([img_file_path]))[0]

    @dispatcher.span
    def _get_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        dispatcher.event(EmbeddingStartEvent(model_dict=self.to_payload()))
        if self.rate_limiter is not None:
            self.rate_limiter.acquire()
        contents = [Content(image=load_image(image)) for image in img_file_paths]
        matrices = self._embedder.encode_document(contents, batch_size=self.embed_batch_size)
        return self._images_done(img_file_paths, matrices)

    @dispatcher.span
    async def _aget_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        dispatcher.event(EmbeddingStartEvent(model_dict=self.to_payload()))
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()
        pictures = await asyncio.to_thread(lambda: [load_image(image) for image in img_file_paths])
        contents = [Content(image=picture) for picture in pictures]
        matrices = await self._embedder.aencode_document(contents, batch_size=self.embed_batch_size)
        return self._images_done(img_file_paths, matrices)

    def _images_done(self, images: Sequence[ImageType], matrices: Sequence[Matrix]) -> list[Embedding]:
        vectors = [_vector(matrix) for matrix in matrices]
        names = [_image_name(image) for image in images]
        dispatcher.event(EmbeddingEndEvent(chunks=names, embeddings=vectors))
        return vectors


def _vector(matrix: Matrix) -> Embedding:
    """Row 0 at length 1, as plain floats."""
    row = np.asarray(matrix[0], dtype=np.float64)
    length = float(np.linalg.norm(row))
    return [float(value) for value in (row / length if length > 0 else row)]


def _image_name(image: object) -> str:
    """A word for people and events: the path, or what kind of object it is; never the bytes."""
    named = isinstance(image, (str, os.PathLike)) and not str(image).startswith("data:")
    return str(image) if named else f"<{type(image).__name__}>"


def _pair(budget: Budget | Sequence[int] | None) -> tuple[int, int] | None:
    """A budget as two numbers, checked."""
    if budget is None:
        return None
    checked = budget if isinstance(budget, Budget) else Budget(*budget)
    return checked.query, checked.document
