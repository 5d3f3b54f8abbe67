"""Documents written from top to bottom: headings, paragraphs and tables that can be asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from packs.book import A4, GREY, SANS, Book, Face, Spot, around, wrap
from packs.drawing import Plate, draw
from packs.grid import Grid, Look
from packs.truth import Query

MARGIN, TOP = 62.0, 74.0


@dataclass(frozen=True)
class Ask:
    """What people ask about a phrase in braces or a cell.

    Attributes:
        named: questions with {doc}, or with {who} and {when}, which say which document is meant.
        unnamed: questions that only the words of the content tie to the document.
        more: other accepted strings.
        shape: "Str", "Int" or "Float".
    """

    named: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    shape: str = "Str"


@dataclass(frozen=True)
class Fact:
    """Something that a page says: what is asked, and the query but for its text."""

    ask: Ask
    query: Query


@dataclass(frozen=True)
class Call:
    """What a document is called within a question: "{doc}", or "{who}" and "{when}"."""

    doc: str
    who: str
    when: str


@dataclass(frozen=True)
class Manner:
    """How a document looks and how it is kept.

    Attributes:
        face: of its letters.
        size: of its letters, points.
        look: of its tables.
        paper: size of the page, points.
        title: of the file: "right", "none", "program" (what a word processor leaves) or "stale" (of the file
            that this one was copied from).
        has_outline: the file has an outline of its sections.
        foot: "page", "named" (with the title) or "none".
        is_airy: every section begins a page where the family allows it.
    """

    face: Face = SANS
    size: float = 10
    look: Look = field(default_factory=Look)
    paper: tuple[float, float] = A4
    title: str = "right"
    has_outline: bool = False
    foot: str = "page"
    is_airy: bool = False


class Folio:
    """A document on its way to paper.

    Args:
        manner: how it looks.
        title: of the document as people know it.
        stale: title of the file that it was copied from.
        author: of the file.
    """

    def __init__(self, manner: Manner, title: str, stale: str = "", author: str = "") -> None:
        titles = {"right": title, "none": "", "program": "Microsoft Word - Draft", "stale": stale or title}
        self.manner, self.title = manner, title
        self.book = Book(manner.paper, titles[manner.title], author)
        self.book.furniture = self._foot
        self.book.furniture(self.book)
        self.facts: list[Fact] = []
        self.sums: list[Fact] = []
        self.width = self.book.width - 2 * MARGIN
        self.y = TOP
        self.depth = -1  # of the last entry of the outline

    def _foot(self, book: Book) -> None:
        if self.manner.foot == "none":
            return
        text = f"{book.page + 1}" if self.manner.foot == "page" else f"{self.title} – page {book.page + 1}"
        book.write(book.width / 2, book.height - 32, text, 7.5, self.manner.face.plain, GREY, "center")

    def turn(self) -> None:
        """Go on with a new page."""
        self.book.new_page()
        self.y = TOP

    def room(self, height: float) -> None:
        """Go on with a new page unless there are `height` points left on this one."""
        if self.y + height > self.book.height - 60:
            self.turn()

    def section(self, text: str, level: int = 0, fresh: bool = False) -> None:
        """A heading, on a new page if `fresh`; it is in the outline where the document has one."""
        if fresh and self.y > TOP:
            self.turn()
        size = self.manner.size + (4, 1.5)[level]
        self.room(size + 70)
        self.y += size + (10 if self.y > TOP else 0)
        self.book.write(MARGIN, self.y, text, size, self.manner.face.bold)
        if self.manner.has_outline:
            key = f"{self.book.page}-{self.y:.0f}"
            self.book.canvas.bookmarkPage(key)
            self.depth = min(level, self.depth + 1)  # a first heading of the second level stands alone
            self.book.canvas.addOutlineEntry(text, key, self.depth)
        self.y += size * 0.55

    def line(self, text: str, size: float = 0, is_bold: bool = False, after: float = 4) -> Spot:
        """A line by itself."""
        size = size or self.manner.size
        self.room(size + 4)
        self.y += size
        font = self.manner.face.bold if is_bold else self.manner.face.plain
        spot = self.book.write(MARGIN, self.y, text, size, font)
        self.y += after + size * 0.2
        return spot

    def say(self, text: str, *asks: Ask, indent: float = 0) -> None:
        """A paragraph; the phrases in braces answer `asks`, in their order."""
        plain = text.replace("{", "").replace("}", "")
        size, font = self.manner.size, self.manner.face.plain
        width = self.width - indent
        self.room(len(wrap(plain, width, font, size)) * size * 1.42 + 4)
        start = self.y
        self.y, spots = self.book.flow(MARGIN + indent, start, width, text, size, font)
        block = self.book.spot(MARGIN + indent, start, MARGIN + self.width, self.y)
        for (phrase, values), ask in zip(spots.items(), asks, strict=True):
            self._keep(ask, phrase, "field", values, (block,))
        self.y += size * 0.6

    def points(self, texts: Sequence[str]) -> None:
        """A list with bullets."""
        for text in texts:
            self.say(f"• {text}", indent=12)

    def table(self, grid: Grid, asks: dict[tuple[str, int], Ask] | None = None) -> Plate:
        """A table; `asks` are by name of row and position of column. It does not run over the page's foot."""
        self.room(len(grid.rows) * self.manner.look.size * 1.95 + 60)
        plate = draw(self.book, grid, self.manner.look, self.y, MARGIN, self.width)
        for (name, column), ask in (asks or {}).items():
            row = next(n for n, line in enumerate(grid.rows) if line.name == name)
            cell = grid.rows[row].cells[column]
            shape = "Str" if cell.value is None else "Float" if cell.decimals else "Int"
            size = () if cell.value is None else (f"{abs(cell.value):.{cell.decimals}f}",)  # without its sign
            ask = replace(ask, more=(*cell.accepted, *size, *ask.more), shape=shape)
            self._keep(ask, cell.text, "cell", (plate.cells[row, column],), (plate.rows[row],))
        self.y = plate.bottom + 8
        return plate

    def add_sum(self, plate: Plate, rows: tuple[str, str], column: int, named: str, decimals: int) -> None:
        """Something to be asked that takes two cells of a column: their sum."""
        grid = plate.grid
        at = [next(n for n, line in enumerate(grid.rows) if line.name == name) for name in rows]
        value = sum(grid.rows[row].cells[column].value or 0 for row in at)
        query = Query(
            "",
            tuple(dict.fromkeys((grid.hand.write(value, decimals), f"{value:.{decimals}f}"))),
            "computed",
            tuple(plate.cells[row, column] for row in at),
            plate.parts,
            "Float" if decimals else "Int",
        )
        self.sums.append(Fact(Ask((named,)), query))

    def _keep(
        self, ask: Ask, phrase: str, kind: str, values: tuple[Spot, ...], blocks: tuple[Spot, ...]
    ) -> None:
        if ask.named or ask.unnamed:
            answers = tuple(dict.fromkeys((phrase, *ask.more)))
            self.facts.append(Fact(ask, Query("", answers, kind, values, around(blocks), ask.shape)))

    def finish(self) -> bytes:
        """The file."""
        if self.manner.has_outline:
            self.book.canvas.showOutline()
        self.book.next_page()
        return self.book.finish()


@dataclass(frozen=True)
class Draft:
    """A document as written, with what it is called.

    Attributes:
        folio: its pages.
        calls: ways to call it that fit no other document of the pack.
        latest: ways that fit it as the newest of its kind; empty if it is not.
        absent: questions that nothing in the pack answers.
        kind: of document.
    """

    folio: Folio
    calls: tuple[Call, ...]
    latest: tuple[Call, ...]
    absent: tuple[str, ...]
    kind: str
