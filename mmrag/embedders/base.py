"""The embedder protocol: what turns queries and documents into nested vectors.

Any object with these attributes and methods is an embedder; there is no registry and nothing to
inherit. `EmbedderBase` adds the async twins. Implementations: `mmrag.embedders.mini.embedder.MiniEmbedder`
(mmrag-mini, the default), `mmrag.embedders.text.TextEmbedder` (bge-small, text only),
`mmrag.embedders.served.ServedEmbedder` (a model behind a URL) and those of multimodal checkpoints in
`mmrag.models`.

Inputs of the document side are `str`, `mmrag.types.Page` (its text, and its image where rendered)
or `Content`; of the query side `str` or `mmrag.types.Query`.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from mmrag.types import Budget, Matrix, Page, Query, of_parts

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Content:
    """A document-side input that is no page: text, an image, both, or a sequence of them.

    Attributes:
        text: with `parts`, their texts joined by line breaks: what an embedder of text reads.
        image: with `parts`, the first of their images.
        parts: texts and images in reading order, where the order matters or there are several images;
            instead of `text` and `image`.
        thought: a reasoning trace about the document, for embedders that read one.
        instruction: what to represent; None leaves it to the embedder, ``""`` is none.

    Raises:
        ValueError: `parts` beside another `text` or `image`.
    """

    text: str = ""
    image: Image | None = field(default=None, compare=False, repr=False)
    parts: tuple[str | Image, ...] = field(default=(), compare=False, repr=False)
    thought: str = field(default="", repr=False)
    instruction: str | None = None

    def __post_init__(self) -> None:
        """Fill text and image from the parts."""
        if self.parts:
            text, image = of_parts(self.parts, self.text, self.image)
            object.__setattr__(self, "text", text)
            object.__setattr__(self, "image", image)


DocumentInput: TypeAlias = str | Page | Content
QueryInput: TypeAlias = str | Query


class Reasoner(Protocol):
    """Writes the thoughts that are embedded with queries and documents (Think-Then-Embed, arXiv 2510.05014).

    Attributes:
        fingerprint: digest of the way of thinking (model, prompt, settings); part of the fingerprint of
            an embedder that reads the thoughts. The thoughts themselves are not.
    """

    @property
    def fingerprint(self) -> str: ...

    def think_queries(self, queries: Sequence[QueryInput]) -> list[str]:
        """One thought a query, in order."""
        ...

    def think_documents(self, documents: Sequence[DocumentInput]) -> list[str]:
        """One thought a document, in order."""
        ...


def searchable_text(page: Page) -> str:
    """What words find a page by: its text; for a photograph without any, its file name in words.

    A file of one page has no other words. In a longer file the name would be the same on every blank
    page and say nothing of any of them.
    """
    if page.text.strip() or page.total_pages != 1:
        return page.text
    return re.sub(r"[\W_]+", " ", Path(page.source.name).stem).strip()


@runtime_checkable
class Embedder(Protocol):
    """Queries and documents in, nested vectors out.

    Attributes:
        name: what people call it; written into every index.
        fingerprint: hexadecimal digest of all that changes its vectors (weights, tokenizer,
            windows, normalisation). An index opens only with the fingerprint that made it.
        dim: width of a vector.
        budget: the most rows it gives on each side.
        modalities: a subset of ``{"text", "image"}``.

    Optional, looked up where they are needed:

    * ``nested``: False where a matrix's rows are no nested prefix, so that a smaller budget is refused
      and searches are exact; True where it is missing.
    * ``image_pixels``: largest picture area that it makes use of; pages are rendered at that size.
    """

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def budget(self) -> Budget: ...
    @property
    def modalities(self) -> frozenset[str]: ...

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """One ``(rows, dim)`` float32 matrix a query, rows L2-normalised, in input order."""
        ...

    def encode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """One ``(rows, dim)`` float32 matrix a document; row 0 is its single vector."""
        ...

    async def aencode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """`encode_query` without blocking the event loop."""
        ...

    async def aencode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """`encode_document` without blocking the event loop."""
        ...


class EmbedderBase(ABC):
    """Async twins for an embedder whose work releases the event loop in a thread."""

    @abstractmethod
    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.encode_query`."""

    @abstractmethod
    def encode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """See `Embedder.encode_document`."""

    async def aencode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """`encode_query` in a thread."""
        return await asyncio.to_thread(
            self.encode_query, queries, batch_size=batch_size, show_progress=show_progress
        )

    async def aencode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """`encode_document` in a thread."""
        return await asyncio.to_thread(
            self.encode_document, documents, batch_size=batch_size, show_progress=show_progress
        )
