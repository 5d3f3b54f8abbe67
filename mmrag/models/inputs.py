"""Inputs of callers as parts in reading order, and any picture as upright RGB.

Decisions taken here:

* Nothing is decoded before its turn: `query_item` and `document_item` look at types and texts only.
* A picture may have any mode of Pillow: transparency is composited on white, 16-bit and float samples are
  scaled to 8 bits, palettes and CMYK are converted, EXIF orientation is applied. Of an animation the current
  frame is used, which is the first of an opened file.
* A picture that is not decoded yet and has more than `MAX_PIXELS` is decoded smaller if its format allows it
  (JPEG at 1/2, 1/4 or 1/8), and refused otherwise: decoding it would take gigabytes. A decoded picture may
  have any size; the backbone shrinks it.
* A picture more than `MAX_ASPECT` times as long as wide is refused, as the Qwen image processors do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmrag.embedders.base import (
    Content,
    DocumentInput,
    QueryInput,
    as_document,
    as_query,
    searchable_text,
)
from mmrag.images import to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

    Part: TypeAlias = "str | Image"

MAX_PIXELS = 90_000_000
"""Largest picture that is decoded; the limit of the document reader, too."""

MAX_ASPECT = 200
"""Longest side over shortest side."""

PAGE_TEXT = (True, False, "auto")


@dataclass(frozen=True, slots=True)
class Item:
    """One input, ready to be tokenised.

    Attributes:
        parts: texts and pictures in reading order; texts are not empty.
        instruction: ``""`` for no instruction.
        thought: ``""`` for no thought.
    """

    parts: tuple[Part, ...]
    instruction: str = ""
    thought: str = ""


def query_item(query: QueryInput, position: int, instruction: str) -> Item:
    """Return a query as an `Item`; the query's own instruction wins over `instruction`.

    Args:
        query: pictures are not refused here: a backbone without vision says so itself.
        position: index of the query in the call, for messages.
        instruction: of a query without one.

    Raises:
        TypeError, BadInputError: see `as_query`.
    """
    query = as_query(query, position)
    if query.instruction is not None:
        instruction = query.instruction
    return Item(_parts(query.parts or (query.image, query.text)), instruction, query.thought)


def document_item(document: DocumentInput, position: int, instruction: str, page_text: bool | str) -> Item:
    """Return a document as an `Item`, which has no parts if the document is blank.

    Args:
        document: a rendered page is embedded by its picture, another page by its text.
        position: index of the document in the call, for messages.
        instruction: of a document without one.
        page_text: whether a rendered page's text follows its picture; ``"auto"``: only if the text is the
            file's own and not OCR's.

    Raises:
        TypeError: see `as_document`.
    """
    document = as_document(document, position)
    if isinstance(document, Content):
        if document.instruction is not None:
            instruction = document.instruction
        return Item(_parts(document.parts or (document.image, document.text)), instruction, document.thought)
    if document.image is None:
        return Item(_parts([searchable_text(document)]), instruction)
    with_text = page_text if isinstance(page_text, bool) else document.text_source == "layer"
    return Item(_parts([document.image, document.text if with_text else ""]), instruction)


def _parts(parts: Sequence[Part | None]) -> tuple[Part, ...]:
    """Leave out None and blank texts."""
    return tuple(
        part for part in parts if part is not None and not (isinstance(part, str) and not part.strip())
    )


def ready_image(image: Image) -> Image:
    """Convert any Pillow picture to upright RGB.

    Raises:
        ValueError: it has no pixels, too many, or a side more than `MAX_ASPECT` times the other; or it
            cannot be decoded.
    """
    width, height = image.size
    if width < 1 or height < 1:
        raise ValueError(f"an image must have pixels, got {width} x {height}. Leave it out.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(
            f"an image must be at most {MAX_ASPECT} times as long as wide, got {width} x {height}. "
            "Cut it into pieces."
        )
    try:
        return to_rgb(_within_limit(image))
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # of Pillow's decoders
        raise ValueError(f"an image must be readable, got {width} x {height}: {error}") from error


def _within_limit(image: Image) -> Image:
    """Return the picture, or a smaller decoding of it."""
    width, height = image.size
    if width * height <= MAX_PIXELS or not getattr(image, "tile", None):  # without tiles it is decoded
        return image
    if getattr(image, "format", None) in ("JPEG", "MPO"):
        from PIL import Image as PILImage

        source: Any = getattr(image, "filename", None) or getattr(image, "fp", None)
        smaller = PILImage.open(source)  # a copy: the caller's object keeps its size
        for factor in (2, 4, 8):
            if (width // factor + 1) * (height // factor + 1) <= MAX_PIXELS:
                smaller.draft("RGB", (width // factor, height // factor))
                return smaller
    raise ValueError(f"at most {MAX_PIXELS} pixels are decoded. Make it smaller first.")
