"""What a caller gives, as parts in reading order; and any picture as upright RGB.

Decisions taken here:

* Nothing is decoded before its turn: `query_item` and `document_item` look at types and texts only.
* A picture is taken in every mode that Pillow has: transparency is laid on white, 16-bit and float samples
  are scaled to 8 bits, palettes and CMYK are converted, EXIF orientation is applied. An animation is the
  frame it stands at, which is the first of an opened file.
* A picture that is not decoded yet and has more than `MAX_PIXELS` is decoded smaller where its format can
  do that (JPEG at 1/2, 1/4 or 1/8), and refused otherwise: decoding it would take gigabytes. One that is
  decoded already is taken at any size; the backbone makes it smaller.
* A picture more than `MAX_ASPECT` times as long as wide is refused, as the Qwen image processors do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmrag.embedders.base import Content, DocumentInput, QueryInput, searchable_text
from mmrag.errors import BadInputError
from mmrag.images import to_rgb
from mmrag.types import Page, Query

if TYPE_CHECKING:
    from PIL.Image import Image

    Part: TypeAlias = "str | Image"

MAX_PIXELS = 90_000_000
"""Largest picture that is decoded; the reader of documents has the same limit."""

MAX_ASPECT = 200
"""Longest side over shortest side."""

PAGE_TEXT = (True, False, "auto")


@dataclass(frozen=True, slots=True)
class Item:
    """One input, ready to be laid out.

    Attributes:
        parts: texts and pictures in reading order; texts are not empty.
        instruction: ``""`` is none.
        thought: ``""`` is none.
    """

    parts: tuple[Part, ...]
    instruction: str = ""
    thought: str = ""


def query_item(query: QueryInput, at: int, instruction: str) -> Item:
    """Query number `at`; its own instruction comes before the one given.

    Raises:
        TypeError: it is neither `str` nor `Query`, or a part is neither text nor picture.
        BadInputError: it is empty.
    """
    if isinstance(query, str):
        if not query.strip():
            raise BadInputError("query", at, f"a query must have text or an image, got {query!r}.")
        query = Query(text=query)
    elif not isinstance(query, Query):
        raise TypeError(f"a query must be str or Query, got {type(query).__name__} at {at}.")
    own = instruction if query.instruction is None else query.instruction
    return Item(
        _parts(query.parts or (_picture(query.image, at, "query"), query.text), at, "query"),
        own,
        query.thought,
    )


def document_item(document: DocumentInput, at: int, instruction: str, page_text: bool | str) -> Item:
    """Document number `at`; a document without anything in it is legal and has no parts.

    Args:
        document: a page is its picture where it was rendered, else its text.
        at: its place in the call, for messages.
        instruction: where the document brings none.
        page_text: whether a rendered page's text follows its picture; ``"auto"``: where it is the file's
            own text and not OCR.

    Raises:
        TypeError: it is neither `str`, `Page` nor `Content`, or a part is neither text nor picture.
    """
    if isinstance(document, str):
        return Item(_parts((document,), at, "document"), instruction)
    if isinstance(document, Page):
        wanted = page_text if isinstance(page_text, bool) else document.text_source == "layer"
        if document.image is None:
            return Item(_parts((searchable_text(document),), at, "document"), instruction)
        text = document.text if wanted else ""
        return Item(_parts((document.image, text), at, "document"), instruction)
    if isinstance(document, Content):
        own = instruction if document.instruction is None else document.instruction
        given = document.parts or (_picture(document.image, at, "document"), document.text)
        parts = _parts(given, at, "document")
        return Item(parts, own, document.thought)
    hint = " Wrap it: Content(image=...)." if hasattr(document, "getpixel") else ""
    raise TypeError(f"a document must be str, Page or Content, got {type(document).__name__} at {at}.{hint}")


def _parts(given: Sequence[Any], at: int, what: str) -> tuple[Part, ...]:
    """Texts that say something, and pictures; None is left out."""
    parts: list[Part] = []
    for part in given:
        if isinstance(part, str):
            if part.strip():
                parts.append(part)
        elif part is not None:
            parts.append(_picture(part, at, what))
    return tuple(parts)


def _picture(image: Any, at: int, what: str) -> Any:  # noqa: ANN401  a picture, or None
    if image is None or (hasattr(image, "getexif") and hasattr(image, "convert")):
        return image
    raise TypeError(
        f"a {what}'s image must be a PIL image, got {type(image).__name__} at {at}. mmrag.images.load_image "
        "opens paths and bytes."
    )


def ready_image(image: Image) -> Image:
    """Any Pillow picture as upright RGB.

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
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise
        raise ValueError(f"an image must be readable, got {width} x {height}: {error}") from error


def _within_limit(image: Image) -> Image:
    """The picture itself, or a smaller decoding of it."""
    width, height = image.size
    if width * height <= MAX_PIXELS or not getattr(image, "tile", None):  # without tiles it is decoded
        return image
    if getattr(image, "format", None) in ("JPEG", "MPO"):
        from PIL import Image as PILImage

        source: Any = getattr(image, "filename", None) or getattr(image, "fp", None)
        smaller = PILImage.open(source)  # the caller's own object keeps its size
        for factor in (2, 4, 8):
            if (width // factor + 1) * (height // factor + 1) <= MAX_PIXELS:
                smaller.draft("RGB", (width // factor, height // factor))
                return smaller
    raise ValueError(f"at most {MAX_PIXELS} pixels are decoded. Make it smaller first.")
