"""Pages that remember where each value was written.

A `Book` is the samples' `Sheet` with several pages, each of its own size and turned as wanted; whatever is
written gives back a `Spot`: the page and the box in points as the eye sees the page, origin top left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import reportlab
from reportlab.lib.colors import Color, HexColor
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from samples.page import A4, LETTER, Sheet

Box = tuple[float, float, float, float]

ASCENT, DESCENT = 0.76, 0.22  # of the size: what covers capitals and tails of every font in use
BLACK = HexColor("#141414")
GREY = HexColor("#666666")
MILD = HexColor("#B5B5B5")
FAINT = HexColor("#EEF0F2")


@dataclass(frozen=True)
class Face:
    """A family of fonts."""

    plain: str
    bold: str
    italic: str


SANS = Face("Helvetica", "Helvetica-Bold", "Helvetica-Oblique")
SERIF = Face("Times-Roman", "Times-Bold", "Times-Italic")
MONO = Face("Courier", "Courier-Bold", "Courier-Oblique")
VERA = Face("Vera", "VeraBd", "VeraIt")  # comes with reportlab
FACES = (SANS, SERIF, VERA, MONO)

for name in ("Vera", "VeraBd", "VeraIt"):
    pdfmetrics.registerFont(TTFont(name, f"{reportlab.__path__[0]}/fonts/{name}.ttf"))

__all__ = [
    "A4",
    "BLACK",
    "FACES",
    "FAINT",
    "GREY",
    "LETTER",
    "MILD",
    "MONO",
    "SANS",
    "SERIF",
    "VERA",
    "Book",
    "Box",
    "Face",
    "Spot",
    "around",
    "stringWidth",
    "wrap",
]


@dataclass(frozen=True)
class Spot:
    """A box on a page: 0-based page, points from the top left as the page is seen."""

    page: int
    box: Box

    def grown(self, margin: float) -> Spot:
        """The spot with a margin on each side."""
        x0, y0, x1, y1 = self.box
        return Spot(self.page, (x0 - margin, y0 - margin, x1 + margin, y1 + margin))


def around(spots: Iterable[Spot]) -> tuple[Spot, ...]:
    """The box around all spots of a page, one for each page in order."""
    pages: dict[int, list[Box]] = {}
    for spot in spots:
        pages.setdefault(spot.page, []).append(spot.box)
    return tuple(
        Spot(
            page,
            (
                min(b[0] for b in boxes),
                min(b[1] for b in boxes),
                max(b[2] for b in boxes),
                max(b[3] for b in boxes),
            ),
        )
        for page, boxes in sorted(pages.items())
    )


def wrap(words: str, width: float, font: str, size: float) -> list[str]:
    """Lines of at most `width` points, broken at spaces; a word wider than that has a line for itself."""
    lines: list[str] = []
    for word in words.split(" "):
        if lines and stringWidth(f"{lines[-1]} {word}", font, size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


class Book(Sheet):
    """Pages with memory. `turn` of a page is "" (upright), "sideways" (lies on its side as seen) or "rotated"
    (drawn on its side, and the page's own rotation sets it upright)."""

    def __init__(self, size: tuple[float, float], title: str, author: str = "", turn: str = "") -> None:
        super().__init__(size, title, author, "")
        self.canvas.setCreator("mmrag scripts/make_packs.py")
        self.sizes: list[tuple[float, float]] = []
        self.furniture: Callable[[Book], None] | None = None  # draws running heads and feet on each page
        self._open(size, turn)

    @property
    def page(self) -> int:
        """Position of the page that is drawn on."""
        return len(self.sizes) - 1

    def _open(self, size: tuple[float, float], turn: str) -> None:
        self.width, self.height = size
        self.turn = turn
        self.sizes.append((size[1], size[0]) if turn == "sideways" else size)
        self.canvas.setPageRotation(90 if turn == "rotated" else 0)
        self.canvas.setPageSize(
            (size[1], size[0]) if turn == "sideways" else size
        )  # reportlab swaps for /Rotate
        if turn:
            self.canvas.translate(size[1], 0)
            self.canvas.rotate(90)

    def new_page(self, size: tuple[float, float] | None = None, turn: str | None = None) -> None:
        """End this page and open the next, like this one unless said otherwise."""
        before = (self.width, self.height), self.turn
        self.next_page()
        self._open(size or before[0], before[1] if turn is None else turn)
        if self.furniture:
            self.furniture(self)

    def spot(self, x0: float, y0: float, x1: float, y1: float) -> Spot:
        """A spot of this page from the corners that it is drawn with."""
        if self.turn == "sideways":
            return Spot(self.page, (y0, self.width - x1, y1, self.width - x0))
        return Spot(self.page, (x0, y0, x1, y1))

    def write(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 10,
        font: str = "Helvetica",
        color: Color = BLACK,
        align: str = "left",
    ) -> Spot:
        """One line with its baseline at y."""
        width = self.text(x, y, words, size, font, color, align)
        left = x - {"left": 0.0, "center": width / 2, "right": width}[align]
        return self.spot(left, y - ASCENT * size, left + width, y + DESCENT * size)

    def write_up(self, x: float, y: float, words: str, size: float, font: str, color: Color = BLACK) -> Spot:
        """One line that runs upwards from (x, y), its baseline at x."""
        self.canvas.saveState()
        self.canvas.translate(x, self.height - y)
        self.canvas.rotate(90)
        self.canvas.setFillColor(color)
        self.canvas.setFont(font, size)
        self.canvas.drawString(0, 0, words)
        self.canvas.restoreState()
        return self.spot(x - ASCENT * size, y - stringWidth(words, font, size), x + DESCENT * size, y)

    def lines(
        self,
        x: float,
        y: float,
        words: Sequence[str],
        size: float,
        font: str,
        leading: float = 1.3,
        align: str = "left",
    ) -> tuple[Spot, ...]:
        """Lines under each other, the first with its baseline at y."""
        return tuple(
            self.write(x, y + leading * size * number, line, size, font, align=align)
            for number, line in enumerate(words)
        )

    def flow(
        self, x: float, y: float, width: float, text: str, size: float, font: str, leading: float = 1.42
    ) -> tuple[float, dict[str, tuple[Spot, ...]]]:
        """A paragraph whose top is at y; phrases in ``{braces}`` are remembered.

        Returns:
            The y of its bottom, and for every phrase in braces its spots, one a line.
        """
        phrases = [part.split("}")[0] for part in text.split("{")[1:]]
        parts: dict[tuple[int, float], list[Spot]] = {}  # of a phrase on a line
        left, base, space = x, y + size, stringWidth(" ", font, size)
        number, is_inside = -1, False
        for token in text.split():
            number, is_inside = (number + 1, True) if "{" in token else (number, is_inside)
            word = token.replace("{", "").replace("}", "")
            wide = stringWidth(word, font, size)
            if left + wide > x + width and left > x:
                left, base = x, base + size * leading
            self.write(left, base, word, size, font)
            if is_inside:
                after = token.split("}")[1] if "}" in token else ""
                right = left + wide - stringWidth(after, font, size)
                parts.setdefault((number, base), []).append(
                    self.spot(left, base - ASCENT * size, right, base + DESCENT * size)
                )
                is_inside = "}" not in token
            left += wide + space
        lines = {
            phrase: tuple(around(p)[0] for (n, _), p in parts.items() if n == at)
            for at, phrase in enumerate(phrases)
        }
        return base + size * 0.45, lines
