"""The methods by which LlamaIndex asks `MMRagEmbedding` for vectors.

LlamaIndex sends instrumentation events for text only; for images they are sent here, in pairs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.schema import ImageType

from mmrag import Embedder
from mmrag.hosts.embedders import unit_vectors
from mmrag.hosts.inputs import image_contents
from mmrag.types import Matrix

dispatcher = get_dispatcher(__name__)


class VectorEmbedding(MultiModalEmbedding):
    """One vector per question, text or image, by an mmrag embedder."""

    _embedder: Embedder = PrivateAttr()

    @property
    def embedder(self) -> Embedder:
        """Return the mmrag embedder behind this."""
        return self._embedder

    def _get_query_embedding(self, query: str) -> Embedding:
        return unit_vectors(self._embedder.encode_query([query]))[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return unit_vectors(await self._embedder.aencode_query([query]))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return unit_vectors(self._embedder.encode_document(texts, batch_size=self.embed_batch_size))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return unit_vectors(await self._embedder.aencode_document(texts, batch_size=self.embed_batch_size))

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return self._get_image_embeddings([img_file_path])[0]

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return (await self._aget_image_embeddings([img_file_path]))[0]

    @dispatcher.span
    def _get_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        dispatcher.event(EmbeddingStartEvent(model_dict=self.to_payload()))
        if self.rate_limiter is not None:
            self.rate_limiter.acquire()
        contents = image_contents(img_file_paths)
        matrices = self._embedder.encode_document(contents, batch_size=self.embed_batch_size)
        return _finish(img_file_paths, matrices)

    @dispatcher.span
    async def _aget_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        dispatcher.event(EmbeddingStartEvent(model_dict=self.to_payload()))
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()
        contents = await asyncio.to_thread(image_contents, img_file_paths)
        matrices = await self._embedder.aencode_document(contents, batch_size=self.embed_batch_size)
        return _finish(img_file_paths, matrices)


def _finish(images: Sequence[ImageType], matrices: Sequence[Matrix]) -> list[Embedding]:
    """Return the vectors, and send the event that they are there."""
    vectors = unit_vectors(matrices)
    dispatcher.event(EmbeddingEndEvent(chunks=[_image_name(image) for image in images], embeddings=vectors))
    return vectors


def _image_name(image: object) -> str:
    """Return a name for people and events: the path, or the type of the object; never the bytes."""
    is_path = isinstance(image, (str, os.PathLike)) and not str(image).startswith("data:")
    return str(image) if is_path else f"<{type(image).__name__}>"
