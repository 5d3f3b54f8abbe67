"""The embedder protocol, and the checks of inputs that all embedders share.

An embedder turns queries and documents into nested vectors. Any object with these attributes and methods is
one; there is nothing to inherit. `EmbedderBase` adds the async methods. Implementations: `mmrag.MiniEmbedder`
(mmrag-mini, the default), `mmrag.embedders.text.TextEmbedder` (an exported text encoder),
`mmrag.ServedEmbedder` (a model behind a URL) and those of multimodal checkpoints in
`mmrag.models`.

Documents are `str`, `mmrag.types.Page` (its text, and its image if rendered) or `Content`; queries are
`str` or `mmrag.types.Query`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from mmrag.errors import BadInputError, UnsupportedInputError, check_whole
from mmrag.files import name_words
from mmrag.types import Budget, Matrix, Page, Query, of_parts

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Content:
    """A document that is not a page: text, an image, both, or a sequence of them.

    Attributes:
        text: with `parts`, their texts joined by line breaks, for embedders of text.
        image: with `parts`, the first of their images.
        parts: texts and images in reading order, if the order matters or there are several images; in place
            of `text` and `image`.
        thought: a reasoning trace about the document, for embedders that read one.
        instruction: what to represent; None for the embedder's own, ``""`` for no instruction.

    Raises:
        ValueError: `parts` together with another `text` or `image`.

    Example:
        >>> [rows] = qa.embedder.encode_document([Content("Net sales by region")])
        >>> rows.shape[1] == qa.embedder.dim
        True
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

MODALITIES = frozenset({"text", "image"})


def check_batch(inputs: object, batch_size: int | None, name: str) -> None:
    """Refuse inputs that are not a list, or a batch size that is not a whole number of at least 1.

    Args:
        inputs: argument of `Embedder.encode_query` or `Embedder.encode_document`.
        batch_size: None for the embedder's own.
        name: ``"queries"`` or ``"documents"``, for the message.

    Raises:
        TypeError: `inputs` is a single string or not a sequence.
        ValueError: `batch_size` is out of range.
    """
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Sequence):
        raise TypeError(f"{name} must be a list, got {type(inputs).__name__}. Wrap a single one in a list.")
    if batch_size is not None:
        check_whole("batch_size", batch_size)


def as_query(value: QueryInput, position: int, modalities: Collection[str] = MODALITIES) -> Query:
    """Return `value` as a `Query` that an embedder of these modalities can encode.

    Args:
        value: text, or a query, which is returned as it is.
        position: index of the input in the call, for messages.
        modalities: subset of ``{"text", "image"}``.

    Raises:
        TypeError: `value` is neither `str` nor `Query`, or its image is not a PIL image.
        BadInputError: the text is blank.
        UnsupportedInputError: the query has an image and the embedder reads text only.
    """
    if isinstance(value, str):
        if not value.strip():
            raise BadInputError("query", position, f"a query must have text or an image, got {value!r}.")
        return Query(text=value)
    if not isinstance(value, Query):
        raise TypeError(f"a query must be str or Query, got {type(value).__name__} at {position}.")
    _check_images(_images(value), "query", position)
    if value.image is not None and "image" not in modalities:
        raise UnsupportedInputError(
            f"this embedder reads text only, got an image in query {position}. "
            "Ask in words, or use an embedder with 'image' in its modalities."
        )
    return value


def as_document(
    value: DocumentInput, position: int, modalities: Collection[str] = MODALITIES
) -> Page | Content:
    """Return `value` as a `Page` or `Content` that an embedder of these modalities can encode.

    A page is always accepted: every page of a file has a vector, whatever is on it. Blank text is accepted
    for the same reason.

    Args:
        value: text, which becomes a `Content`, or a page or content, which is returned as it is.
        position: index of the input in the call, for messages.
        modalities: subset of ``{"text", "image"}``.

    Raises:
        TypeError: `value` is neither `str`, `Page` nor `Content`, or an image is not a PIL image.
        UnsupportedInputError: an image without text for an embedder of text, or text without an image
            for an embedder of images.
    """
    document = Content(text=value) if isinstance(value, str) else value
    if isinstance(document, Page):
        _check_images([document.image], "document", position)
        return document
    if not isinstance(document, Content):
        hint = " Wrap it: Content(image=...)." if hasattr(value, "getpixel") else ""
        raise TypeError(
            f"a document must be str, Page or Content, got {type(value).__name__} at {position}.{hint}"
        )
    _check_images(_images(document), "document", position)
    has_text, has_image = bool(document.text.strip()), document.image is not None
    if has_image and not has_text and "image" not in modalities:
        raise UnsupportedInputError(
            f"this embedder reads text only, got an image without text as document {position}. "
            "Give the image's text (OCR, a caption), or use an embedder with 'image' in its modalities."
        )
    if has_text and not has_image and "text" not in modalities:
        raise UnsupportedInputError(
            f"this embedder reads images only, got text without an image as document {position}. "
            "Give its image, or use an embedder with 'text' in its modalities."
        )
    return document


def _images(value: Query | Content) -> list[object]:
    return [value.image, *(part for part in value.parts if not isinstance(part, str))]


def _check_images(images: Iterable[object], kind: str, position: int) -> None:
    """Refuse an image that is not Pillow's; known by its methods, so that Pillow is not imported."""
    for image in images:
        if not (image is None or (hasattr(image, "getexif") and hasattr(image, "convert"))):
            raise TypeError(
                f"a {kind}'s image must be a PIL image, got {type(image).__name__} at {position}. "
                "mmrag.images.load_image opens paths and bytes."
            )


class Reasoner(Protocol):
    """A writer of thoughts that are embedded with queries and documents (Think-Then-Embed, arXiv 2510.05014).

    Attributes:
        fingerprint: digest of model, prompt and settings; part of the fingerprint of an embedder that reads
            the thoughts. The thoughts themselves are not part of it.
    """

    @property
    def fingerprint(self) -> str: ...

    def think_queries(self, queries: Sequence[QueryInput]) -> list[str]:
        """Write one thought per query, in order."""
        ...

    def think_documents(self, documents: Sequence[DocumentInput]) -> list[str]:
        """Write one thought per document, in order."""
        ...


def searchable_text(document: Page | Content) -> str:
    """Return the document's text; for the only page of a file, if blank, the words of the file's name.

    A photograph has no other words. In a file of several pages the name would be the same on every blank
    page and tell none of them apart.
    """
    if isinstance(document, Content) or document.text.strip() or document.total_pages != 1:
        return document.text
    return name_words(document.source.name)


@runtime_checkable
class Embedder(Protocol):
    """The protocol: queries and documents in, nested vectors out.

    Attributes:
        name: for people; written into every index.
        fingerprint: hexadecimal digest of all that changes its vectors (weights, tokenizer,
            windows, normalisation). An index opens only with the fingerprint that made it.
        dim: width of a vector.
        budget: the most rows per query and per document.
        modalities: a subset of ``{"text", "image"}``.

    Optional attributes:

    * ``nested``: False if the rows of a matrix are not nested, so that a smaller budget is refused and
      searches are exact. Default: True.
    * ``nested_query``: False if a query keeps all its rows at every budget. Default: as ``nested``.
    * ``row_boxes(page)``: boxes of the words that each row of a page has seen, for `mmrag.explain`.
    * ``image_pixels``: largest picture area that is used; pages are rendered at that size.
    * ``every_image``: False if a picture adds nothing to a page whose text is known; only pages that have no
      text, or a part that nobody has read, are rendered then. Default: True.

    Example:
        >>> isinstance(qa.embedder, Embedder), qa.embedder.name
        (True, 'mmrag-mini')
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
        """Encode queries as ``(rows, dim)`` float32 matrices, in input order.

        Rows have length 1 where the model was trained so (late interaction), and lengths that count where it
        was not (mmrag-mini: a row of a longer part weighs more). Nobody scales them again.
        """
        ...

    def encode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """Encode documents as ``(rows, dim)`` float32 matrices; row 0 is the single vector."""
        ...

    async def aencode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """Run `encode_query` without blocking the event loop."""
        ...

    async def aencode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """Run `encode_document` without blocking the event loop."""
        ...


class EmbedderBase(ABC):
    """Async methods for an embedder with blocking ones: they run in a thread."""

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
        """Run `encode_query` in a thread."""
        return await asyncio.to_thread(
            self.encode_query, queries, batch_size=batch_size, show_progress=show_progress
        )

    async def aencode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """Run `encode_document` in a thread."""
        return await asyncio.to_thread(
            self.encode_document, documents, batch_size=batch_size, show_progress=show_progress
        )
