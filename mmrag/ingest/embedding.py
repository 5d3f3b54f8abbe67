"""Embedding for an index: the image size that an embedder reads, and inputs that it cannot take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmrag.embedders.base import DocumentInput
from mmrag.errors import BadInputError
from mmrag.tracing.spans import span
from mmrag.types import Matrix

if TYPE_CHECKING:
    from mmrag.documents.page_reading import Images
    from mmrag.embedders.base import Embedder

PICTURE_PIXELS = 1_600_000
"""Pixel budget of a page's image: a letter page at about 130 dots per inch."""


def image_pixels(embedder: Embedder) -> int | None:
    """Return the size at which pages are rendered for an embedder, or None if it reads no images.

    An embedder that reads images may say in ``image_pixels`` how large an image it makes use of.
    """
    if "image" not in embedder.modalities:
        return None
    return int(getattr(embedder, "image_pixels", PICTURE_PIXELS))


def images_wanted(embedder: Embedder) -> Images:
    """Return the pages whose pictures an embedder wants: all, unless it says ``every_image = False``."""
    return "all" if getattr(embedder, "every_image", True) else "unread"


def encode(embedder: Embedder, inputs: Sequence[DocumentInput]) -> Sequence[Matrix]:
    """Embed documents; its time is a span of its own, without their texts, which are many."""
    with span("mmrag.embed", "EMBEDDING") as trace:
        trace.embedding(embedder.name, (), len(inputs))
        return embedder.encode_document(inputs)


def refuse_skipped(matrices: Sequence[Matrix]) -> None:
    """Refuse inputs that an embedder skipped by itself, where all inputs of a call must be embedded.

    Raises:
        BadInputError: it left one out.
    """
    for position, reason in getattr(matrices, "skipped", {}).items():
        raise BadInputError("document", position, reason)


def encode_documents(
    embedder: Embedder, inputs: Sequence[DocumentInput]
) -> tuple[dict[int, Matrix], dict[int, str]]:
    """Embed the inputs that can be embedded.

    An embedder that skips inputs by itself leaves None in their positions.

    Returns:
        Matrices by the position of their input, in order, and the reasons why the other inputs cannot be
        embedded, by position.
    """
    left, reasons = list(range(len(inputs))), {}
    while left:
        try:
            matrices = encode(embedder, [inputs[position] for position in left])
        except BadInputError as error:  # raised before anything is computed, so trying again is cheap
            reasons[left.pop(error.index)] = error.reason
            continue
        skipped = getattr(matrices, "skipped", {})
        reasons |= {left[at]: reason for at, reason in skipped.items()}
        pairs = zip(left, matrices, strict=True)
        return {position: matrix for position, matrix in pairs if position not in reasons}, reasons
    return {}, reasons
