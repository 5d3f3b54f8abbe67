"""Text drawn as pages of a PDF by MuPDF's stories, with the exact words and their boxes.

Decisions taken here:

* Nothing is fetched: a story gets no archive, and its HTML is made here of escaped text alone.
* A page of a sheet or of lines is as long and as wide as what stands on it, so that it is exactly the rows or
  lines that its label says. Flowing text has pages of A4.
* The words are those of the input, not those that a text layer gives back: of Arabic and Devanagari, of emoji
  and of letters that no font at hand has MuPDF's layer is wrong. Only the boxes come from the layer.
"""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pymupdf

from mmrag.anchors import Anchor
from mmrag.documents.conversion.base import Conversion, ConvertedPage
from mmrag.types import Box, Word

PAGE = (595.0, 842.0)
"""A4 in points."""

MARGIN = 36.0
_MOST_MISSES = 64  # words between two of one element
LONGEST_SIDE = 14_000.0
"""Points: PDF ends at 14,400."""

STYLE = (
    "* {font-family: sans-serif; font-size: 10px} h1 {font-size: 18px} h2 {font-size: 15px} "
    "h3, h4, h5, h6 {font-size: 12px} p, li, h1, h2, h3, h4, h5, h6 {margin: 3px 0} "
    "pre, pre * {font-family: monospace; font-size: 9px; margin: 0} "
    "table {border-collapse: collapse; margin: 4px 0} "
    "td, th {border: 0.5px solid #999; padding: 2px 3px; text-align: left; font-size: 9px}"
)


@dataclass(frozen=True)
class Piece:
    """A paragraph, heading, item, line or row of a table.

    Attributes:
        tag: ``"p"``, ``"h1"`` to ``"h6"``, ``"li"``, ``"pre"`` or ``"tr"``.
        texts: one text, of a row one a cell.
        is_head: whether a row's cells are headers.
        widths: of a row's cells in points; empty: as wide as their texts.
    """

    tag: str
    texts: tuple[str, ...]
    is_head: bool = False
    widths: tuple[float, ...] = ()


@dataclass
class _Element:
    """A text that is drawn as one element: its words, and the parts of pages that it takes."""

    words: list[str]
    block: int
    row: int
    heading: tuple[int, str] | None = None
    is_cell: bool = False
    parts: list[tuple[int, tuple[float, float, float, float]]] = field(default_factory=list)


class Drawing:
    """Pages being drawn; `finish` returns them as a conversion."""

    def __init__(self) -> None:
        """Start without a page."""
        self._buffer = io.BytesIO()
        self._writer: Any = pymupdf.DocumentWriter(self._buffer)
        self._elements: list[_Element] = []
        self._block = self._row = 0
        self._sizes: list[tuple[float, float]] = []
        self._pages: list[ConvertedPage] = []

    @property
    def page_count(self) -> int:
        """Number of pages drawn."""
        return len(self._sizes)

    def flow(self, pieces: Iterable[Piece], *, label: str = "", notes: tuple[str, ...] = ()) -> None:
        """Draw pieces one after the other on as many pages of A4 as they need.

        Args:
            pieces: in reading order.
            label: of each of these pages.
            notes: of each of these pages.
        """
        first = len(self._elements)
        story = pymupdf.Story(self._html(pieces), user_css=STYLE)
        area = pymupdf.Rect(MARGIN, MARGIN, PAGE[0] - MARGIN, PAGE[1] - MARGIN)
        more, last = 1, -1
        while more:
            more, filled_area = story.place(area)
            if more and pymupdf.Rect(filled_area).is_empty:  # nothing fits: it never will
                break
            last = self._draw(story, PAGE, first, last)
            self._pages.append(ConvertedPage(label, notes=notes))

    def sheet(
        self, pieces: Sequence[Piece], *, label: str, width: float, notes: tuple[str, ...] = ()
    ) -> tuple[int, list[Box | None]]:
        """Draw pieces on one page that is as long as they need.

        Returns:
            The page's number, and the box of each text of the pieces in 0..1; None where none was drawn.
        """
        first = len(self._elements)
        story = pymupdf.Story(self._html(pieces), user_css=STYLE)
        _, filled_area = story.place(pymupdf.Rect(MARGIN, MARGIN, width - MARGIN, LONGEST_SIDE - MARGIN))
        height = min(LONGEST_SIDE, max(filled_area[3] + MARGIN, 3 * MARGIN))
        self._draw(story, (width, height), first, -1)
        self._pages.append(ConvertedPage(label, notes=notes))
        boxes: list[Box | None] = []
        for element in self._elements[first:]:
            boxes.append(_box(element.parts[0][1], (width, height)) if element.parts else None)
        return len(self._pages) - 1, boxes

    def set_anchors(self, number: int, anchors: Sequence[Anchor]) -> None:
        """Give a page its anchors."""
        page = self._pages[number]
        self._pages[number] = replace(page, anchors=tuple(anchors))

    def finish(self, title: str = "") -> Conversion:
        """Return what was drawn: the PDF with an outline of its headings, and the words of each page."""
        if not self._sizes:
            self.flow([Piece("p", ("",))])
        self._writer.close()
        document = pymupdf.open("pdf", self._buffer.getvalue())
        blocks = self._words(document)
        document.set_toc(self._outline())
        document.subset_fonts()
        pdf = document.tobytes(garbage=3, deflate=True, use_objstms=1)
        pages = [
            replace(page, blocks=tuple(tuple(map(tuple, block)) for block in page_blocks))
            for page, page_blocks in zip(self._pages, blocks, strict=True)
        ]
        return Conversion(pdf, tuple(pages), title)

    # ---- drawing ----

    def _html(self, pieces: Iterable[Piece]) -> str:
        """Return pieces as HTML, each text an element with an id that is its number."""
        parts: list[str] = []
        in_table, last = False, ""
        for piece in pieces:
            # the rows of a table are one block, as are lines of text without an empty one between
            if piece.tag not in ("tr", "pre") or piece.tag != last or not any(map(str.strip, piece.texts)):
                self._block += 1
            last, self._row = piece.tag, self._row + 1
            if (piece.tag == "tr") != in_table:
                in_table = not in_table
                parts.append("<table>" if in_table else "</table>")
            if piece.tag == "tr":
                tag = "th" if piece.is_head else "td"
                widths = piece.widths or (0.0,) * len(piece.texts)
                cells = [self._element(tag, *cell) for cell in zip(piece.texts, widths, strict=True)]
                parts.append(f"<tr>{''.join(cells)}</tr>")
            else:
                parts.append(self._element(piece.tag, piece.texts[0]))
        if in_table:
            parts.append("</table>")
        return f"<body>{''.join(parts)}</body>"

    def _element(self, tag: str, text: str, width: float = 0.0) -> str:
        level = int(tag[1]) if tag[0] == "h" and tag[1:].isdigit() else 0
        heading = (level, " ".join(text.split())) if level else None
        number = len(self._elements)
        self._elements.append(_Element(text.split(), self._block, self._row, heading, tag in ("td", "th")))
        body = html.escape(_drawable(text)) or "\N{NO-BREAK SPACE}"
        if tag == "pre":  # leading blanks are kept, long lines wrap
            blanks = len(body) - len(body.lstrip(" "))
            body = "\N{NO-BREAK SPACE}" * min(blanks, 40) + body.lstrip(" ")
            return f'<pre><p id="{number}">{body}</p></pre>'
        style = f' style="width:{width:.0f}pt"' if width else ""
        return f'<{tag} id="{number}"{style}>{body}</{tag}>'

    def _draw(self, story: Any, size: tuple[float, float], first: int, last: int) -> int:  # noqa: ANN401
        """Draw what a story has placed on a new page, and note where its elements are.

        MuPDF tells where an element begins, not that it goes on over the page: what stands above the first
        one that begins is of the last one before.

        Args:
            story: after `place`.
            size: of the page.
            first: number of the story's first element.
            last: number of the last element that began on an earlier page; negative without.

        Returns:
            Number of the last element that has begun_positions.
        """
        number = len(self._sizes)

        def note(position: Any) -> None:  # noqa: ANN401
            if position.open_close & 1 and position.id and position.id.isdigit():
                element = self._elements[int(position.id)]
                element.parts.append((number, tuple(position.rect)))

        story.element_positions(note)
        device = self._writer.begin_page(pymupdf.Rect(0, 0, *size))
        story.draw(device)
        self._writer.end_page()
        self._sizes.append(size)
        begun_positions = [
            position
            for position in range(max(first, last + 1), len(self._elements))
            if self._elements[position].parts
        ]
        if last >= 0:
            top = self._elements[begun_positions[0]].parts[0][1][1] if begun_positions else size[1]
            self._elements[last].parts.append((number, (0.0, 0.0, size[0], top - 1)))
        return begun_positions[-1] if begun_positions else last

    # ---- words ----

    def _words(self, document: Any) -> list[list[list[list[Word]]]]:  # noqa: ANN401
        """Return the blocks of each page: a line of words for each line of an element, or for each row."""
        layer_words = [[word[:4] for word in page.get_text("words", sort=False)] for page in document]
        finders = [_Finder(words) for words in layer_words]
        pages: list[list[list[list[Word]]]] = [[] for _ in self._sizes]
        last: tuple[int, int, int, Box] | None = None  # page, block, row, box of the word before
        for element in self._elements:
            if not element.parts or not element.words:
                continue
            own_rects = [
                (number, rect) for number, part in element.parts for rect in finders[number].inside(part)
            ]
            rects = own_rects or element.parts[:1]
            for position, text in enumerate(element.words):
                number, rect = rects[position * len(rects) // len(element.words)]
                box = _box(rect, self._sizes[number])
                if last is None or last[:2] != (number, element.block):
                    pages[number].append([[]])
                elif last[2] != element.row or not (element.is_cell or _is_same_line(last[3], box)):
                    pages[number][-1].append([])
                pages[number][-1][-1].append(Word(text, box))
                last = (number, element.block, element.row, box)
        return pages

    def _outline(self) -> list[list[Any]]:
        """Return the headings as PyMuPDF's table of contents, no level more than one below the last."""
        rows: list[list[Any]] = []
        depth = 0
        for element in self._elements:
            if element.heading is None or not element.parts or not element.heading[1]:
                continue
            number, rect = element.parts[0]
            depth = min(element.heading[0], depth + 1)
            rows.append([depth, element.heading[1][:200], number + 1, {"kind": 1, "to": (0, rect[1])}])
        return [
            [level, title, page, {"kind": 1, "page": page - 1, "to": pymupdf.Point(*target["to"])}]
            for level, title, page, target in rows
        ]


class _Finder:
    """Words of a page by their place; each is found once."""

    def __init__(self, rects: list[tuple[float, float, float, float]]) -> None:
        self._rects = rects
        self._is_taken = [False] * len(rects)
        self._start = 0

    def inside(self, part: tuple[float, float, float, float]) -> list[tuple[float, float, float, float]]:
        """Take the words whose middle is in a rectangle; elements are asked for in the order drawn."""
        x0, y0, x1, y1 = part
        rects: list[tuple[float, float, float, float]] = []
        miss_count = 0
        for position in range(self._start, len(self._rects)):
            rect = self._rects[position]
            x, y = (rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2
            if not self._is_taken[position] and x0 - 2 <= x <= x1 + 2 and y0 - 1 <= y <= y1 + 1:
                self._is_taken[position] = True
                rects.append(rect)
                miss_count = 0
                continue
            miss_count += 1
            if rects and miss_count > _MOST_MISSES:  # words come in about the order in which they were drawn
                break
        while self._start < len(self._rects) and self._is_taken[self._start]:
            self._start += 1
        return rects


def _box(rect: Sequence[float], size: tuple[float, float]) -> Box:
    """Return a rectangle in points as a box in 0..1."""
    x0, y0, x1, y1 = rect
    width, height = size
    return (
        round(min(max(x0 / width, 0.0), 1.0), 5),
        round(min(max(y0 / height, 0.0), 1.0), 5),
        round(min(max(x1 / width, 0.0), 1.0), 5),
        round(min(max(y1 / height, 0.0), 1.0), 5),
    )


def _is_same_line(first: Box, second: Box) -> bool:
    """Check whether two boxes stand beside each other."""
    return first[1] <= (second[1] + second[3]) / 2 <= first[3]


def _drawable(text: str) -> str:
    """Return text without the control characters that HTML cannot hold."""
    return "".join(letter if letter >= " " or letter in "\t\n" else " " for letter in text)
