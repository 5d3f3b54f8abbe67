"""The `Renderer` protocol: reads and draws the pages of one open document.

A renderer is opened by `mmrag.documents.opening.open_renderer`, lives in a worker process and belongs to
one thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mmrag.documents.layout import join_text
from mmrag.types import Box, HiddenText, Word

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SCALE = 300 / 72
"""Pixels a point: a small page is not blown up beyond 300 dpi, whatever the pixel budget."""


@dataclass(frozen=True)
class PageText:
    """Text layer, size and label of a page.

    Attributes:
        size: width and height in points as shown (rotation and crop box applied).
        label: the printed label, ``""`` where the file names none.
        blocks: blocks of lines of words, in reading order; boxes in 0..1 as shown.
        invisible: the text is an invisible layer over a picture (somebody's OCR).
        notes: what should be known of this page.
        hidden: text that no eye sees on the page; not in `blocks`.
        pictures: boxes of the raster pictures on the page, in 0..1 as shown.
        attachment_names: of files attached to the page, on the first page of those attached to the file, too.
        section: titles of the sections that the page begins in or holds, outermost first.
    """

    size: tuple[float, float]
    label: str = ""
    blocks: tuple[tuple[tuple[Word, ...], ...], ...] = ()
    invisible: bool = False
    notes: tuple[str, ...] = ()
    hidden: tuple[HiddenText, ...] = ()
    pictures: tuple[Box, ...] = ()
    section: tuple[str, ...] = ()
    attachment_names: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        """All words in reading order."""
        return tuple(word for block in self.blocks for line in block for word in line)

    @property
    def text(self) -> str:
        """The words with their line breaks; ``text.split()`` is the words again."""
        return join_text(self.blocks)


class Renderer(Protocol):
    """One open document.

    Attributes:
        page_count: pages in the file, at least 1.
        title: the file's own title, ``""`` without one.
    """

    page_count: int
    title: str

    def read(self, number: int) -> PageText:
        """Read text, words, label and size of a page; raises `PageError`."""
        ...

    def render(self, number: int, max_pixels: int, max_side: int | None = None) -> Image:
        """Render the page as RGB as shown: at most `max_pixels` pixels, `max_side` on its longer side.

        A page is scaled to fill the budget but not beyond 300 dpi; a picture file is never enlarged.
        """
        ...

    def attached_files(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name of each file attached to the document, and a function that returns its bytes."""
        ...

    def close(self) -> None:
        """Release the file; calling it twice is fine."""
        ...


def fit_scale(width: float, height: float, max_pixels: int, max_side: int | None = None) -> float:
    """Compute the largest scale at which ``width * height``, rounded up, stays within the limits."""
    scale = math.sqrt(max_pixels / (width * height))
    if max_side is not None:
        scale = min(scale, max_side / max(width, height))
    while math.ceil(width * scale) * math.ceil(height * scale) > max_pixels and scale > 1e-6:
        scale *= 0.999 if width * scale > 2 and height * scale > 2 else 0.9
    return scale


def password_message(name: str, attempts: int) -> str:
    """Word the message of a `PasswordRequiredError`."""
    reason = f"none of the {attempts} passwords given opens it" if attempts else "no password was given"
    return f"{name}: encrypted, and {reason}. Pass password=..., or set MMRAG_PDF_PASSWORD."
