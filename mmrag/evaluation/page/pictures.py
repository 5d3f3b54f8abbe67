"""Pictures of pages for the page of a report: few, small, and with the boxes that matter drawn over them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mmrag.blocks import Box
from mmrag.evaluation.pack import PageKey
from mmrag.evaluation.page.markup import Html, join, tag
from mmrag.evaluation.page.rows import Row, is_right

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_QUESTIONS = 40
"""Failures that are figures with pictures, the worst first."""
MOST_BYTES = 8_000_000
"""Of all pictures together, as they stand in the file."""
MOST_PIXELS = 420_000
"""Of a picture: about 570 by 740."""
QUALITY = 62
"""Of the JPEGs."""
MOST_QUOTES = 3
"""Quotes whose boxes are drawn, as many as an answer is judged by."""

DrawPage: TypeAlias = "Callable[[PageKey, int], Image]"
"""``draw(page key, most pixels)`` returns a picture; raises ValueError or OSError where it cannot."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """A box over a page.

    Attributes:
        box: ``(x0, y0, x1, y1)`` in 0..1 of the page.
        kind: ``"evidence"``, ``"value"`` or ``"quote"``.
    """

    box: Box
    kind: str


class PagePictures:
    """Draws pages into data URLs, each once, until there are too many bytes.

    Args:
        draw: draws a page; None draws nothing.
        most_bytes: of all pictures together.

    Attributes:
        is_full: whether a picture was left out because of the bytes.
    """

    def __init__(self, draw: DrawPage | None, *, most_bytes: int = MOST_BYTES) -> None:
        self._draw = draw
        self._bytes_left = most_bytes
        self._urls: dict[PageKey, str] = {}
        self.is_full = False

    def figure(self, key: PageKey, caption: str, overlays: Sequence[Overlay], kind: str) -> Html:
        """Return a page with its boxes and what it is.

        Args:
            key: of the page.
            caption: what it is.
            overlays: boxes over it.
            kind: ``"right"`` or ``"wrong"``.
        """
        name = f"{key[0]}, page {key[1] + 1}"
        heading = tag("figcaption", tag("b", caption), " ", name)
        try:
            url = self._url(key)
        except (ValueError, OSError) as error:
            reason = tag("p", f"This page cannot be drawn: {error}", class_="hint")
            return tag("figure", heading, reason, class_=kind)
        if url is None:
            return tag(
                "figure",
                heading,
                tag("p", "Left out: the file would be too large.", class_="hint"),
                class_=kind,
            )
        picture = tag("img", src=url, alt=name)
        return tag("figure", heading, tag("div", picture, _layer(overlays), class_="sheet"), class_=kind)

    def _url(self, key: PageKey) -> str | None:
        """Return a page as a data URL; None if it would be too much."""
        if self._draw is None:
            return None
        if key not in self._urls:
            self._urls[key] = _jpeg_url(self._draw(key, MOST_PIXELS))
        url = self._urls[key]
        if len(url) > self._bytes_left:
            self.is_full = True
            return None
        self._bytes_left -= len(url)
        return url


def figures_of(row: Row, pictures: PagePictures) -> Html:
    """Return the right page beside the one that came first, and the one that was quoted first."""
    question, search = row.question, row.search
    figures: dict[PageKey, Html] = {}
    ranking = [] if search is None else list(search.ranking)
    right = next((key for key in ranking if is_right(question, key)), None)
    if right is None and question.evidence:
        name, page = min(question.evidence)
        right = name, max(page, 0)  # of a file that is evidence as a whole, the first page
    if right is not None:
        rank = ranking.index(right) + 1 if right in ranking else None
        where = "" if search is None else f" (rank {rank})" if rank else " (not among the first 10)"
        figures[right] = pictures.figure(right, f"Right page{where}:", overlays_of(row, right), "right")
    for key, caption in ((ranking[:1], "Came first:"), (_quoted(row)[:1], "Quoted first:")):
        if key and key[0] not in figures:
            kind = "right" if is_right(question, key[0]) else "wrong"
            figures[key[0]] = pictures.figure(key[0], caption, overlays_of(row, key[0]), kind)
    return tag("div", *figures.values(), class_="pages")


def overlays_of(row: Row, key: PageKey) -> list[Overlay]:
    """Return the boxes of a page: the pack's of the evidence and of the value, and the answer's quotes."""
    question = row.question
    marks = [("evidence", box) for box in question.evidence_boxes]
    marks += [("value", box) for box in question.value_boxes]
    if row.answer is not None:
        quotes = row.answer.line.quotes[:MOST_QUOTES]
        marks += [("quote", box) for quote in quotes for box in quote.placed_words()]
    return [Overlay(box.box, kind) for kind, box in marks if box.page_key == key]


def _quoted(row: Row) -> list[PageKey]:
    if row.answer is None:
        return []
    return [quote.page_key for quote in row.answer.line.quotes if quote.page >= 0]


def _layer(overlays: Sequence[Overlay]) -> Html | None:
    """Return the boxes as a picture over the page, in shares of it: no style is needed for the places."""
    if not overlays:
        return None
    boxes = join(
        tag(
            "rect",
            x=f"{x0:.4f}",
            y=f"{y0:.4f}",
            width=f"{x1 - x0:.4f}",
            height=f"{y1 - y0:.4f}",
            class_=overlay.kind,
        )
        for overlay in overlays
        for x0, y0, x1, y1 in [overlay.box]
    )
    return tag("svg", boxes, viewBox="0 0 1 1", preserveAspectRatio="none", aria_hidden="true")


def _jpeg_url(image: Image) -> str:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
