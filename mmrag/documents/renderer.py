"""The `Renderer` protocol: what reads one open document, whatever library does it.

A renderer lives in a worker process and belongs to one thread. It is opened by `open_renderer`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mmrag.documents.layout import join_text
from mmrag.types import Word

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SCALE = 300 / 72
"""Pixels a point: a small page is not blown up beyond 300 dpi, whatever the pixel budget."""


@dataclass(frozen=True)
class PageText:
    """What a page says of itself.

    Attributes:
        size: width and height in points as shown (rotation and crop box applied).
        label: the printed label, ``""`` where the file names none.
        blocks: blocks of lines of words, in reading order; boxes in 0..1 as shown.
        invisible: the text is an invisible layer over a picture (somebody's OCR).
        notes: what should be known of this page.
    """

    size: tuple[float, float]
    label: str = ""
    blocks: tuple[tuple[tuple[Word, ...], ...], ...] = ()
    invisible: bool = False
    notes: tuple[str, ...] = ()

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
        """Text, words, label and size of a page; raises `PageError`."""
        ...

    def render(self, number: int, max_pixels: int, max_side: int | None = None) -> Image:
        """The page as shown, RGB, at most `max_pixels` pixels and `max_side` pixels on its longer side.

        A page is scaled to fill the budget but not beyond 300 dpi; a picture file is never enlarged.
        """
        ...

    def close(self) -> None:
        """Release the file; calling it twice is fine."""
        ...


def fit_scale(width: float, height: float, max_pixels: int, max_side: int | None = None) -> float:
    """Largest scale at which ``width * height`` stays within the limits (rounding up included)."""
    scale = math.sqrt(max_pixels / (width * height))
    if max_side is not None:
        scale = min(scale, max_side / max(width, height))
    while math.ceil(width * scale) * math.ceil(height * scale) > max_pixels and scale > 1e-6:
        scale *= 0.999 if width * scale > 2 and height * scale > 2 else 0.9
    return scale


def password_message(name: str, tried: int) -> str:
    """Words of a `PasswordRequiredError`."""
    what = f"none of the {tried} passwords given opens it" if tried else "no password was given"
    return f"{name}: encrypted, and {what}. Pass password=..., or set MMRAG_PDF_PASSWORD."
