"""Embedding for an index: which image the embedder reads, and inputs that it cannot take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmrag.embedders.base import DocumentInput
from mmrag.errors import BadInputError
from mmrag.types import Matrix

if TYPE_CHECKING:
    from mmrag.embedders.base import Embedder


PICTURE_PIXELS = 1_600_000
"""Pixel budget of a page's picture: a letter page at about 130 dots an inch."""


def refuse_skipped(matrices: Sequence[Matrix]) -> None:
    """Where all inputs of a call must be embedded: refuse what an embedder skipped by itself.

    Raises:
        BadInputError: it left one out.
    """
    for place, reason in getattr(matrices, "skipped", {}).items():
        raise BadInputError("document", place, reason)


def embedded(embedder: Embedder, inputs: Sequence[DocumentInput]) -> tuple[dict[int, Matrix], dict[int, str]]:
    """Matrices by the place of their input, in order; and why the others cannot be embedded, by place.

    An embedder that skips such inputs by itself leaves None in their places.
    """
    left, bad = list(range(len(inputs))), {}
    while left:
        try:
            matrices = embedder.encode_document([inputs[place] for place in left])
        except BadInputError as error:  # found before anything is computed, so trying again is cheap
            bad[left.pop(error.index)] = error.reason
            continue
        reasons = getattr(matrices, "skipped", {})
        bad |= {left[at]: reason for at, reason in reasons.items()}
        made = enumerate(zip(left, matrices, strict=True))
        return {place: matrix for at, (place, matrix) in made if at not in reasons}, bad
    return {}, bad


def image_pixels(embedder: Embedder) -> int | None:
    """The picture size the reader is asked for: none, where the embedder does not look at pictures.

    An embedder says by ``image_pixels`` how much of a picture it makes use of.
    """
    if "image" not in embedder.modalities:
        return None
    return int(getattr(embedder, "image_pixels", PICTURE_PIXELS))
