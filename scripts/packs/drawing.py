"""Draws a `Grid` on a `Book` and remembers where each cell, row and part of the table came to lie."""

from __future__ import annotations

from dataclasses import dataclass, field

from reportlab.lib.colors import HexColor

from packs.book import BLACK, FAINT, GREY, MILD, Book, Spot, around, stringWidth, wrap
from packs.grid import Cell, Column, Grid, Look, Row

DARK, WHITE = HexColor("#2F4858"), HexColor("#FFFFFF")
BAND = HexColor("#E3E6E1")
LEADING = 1.22
SMALLEST = 4.6  # points: what print still has in wide tables


@dataclass
class Plate:
    """Where the parts of a drawn table lie; `bottom` is the y of its end on the last page."""

    grid: Grid
    cells: dict[tuple[int, int], Spot] = field(default_factory=dict)
    names: dict[int, Spot] = field(default_factory=dict)
    rows: dict[int, Spot] = field(default_factory=dict)
    heads: dict[int, Spot] = field(default_factory=dict)
    parts: tuple[Spot, ...] = ()
    caption: Spot | None = None
    bottom: float = 0


class Press:
    """One table on its way to paper.

    Args:
        book: is drawn on.
        grid: what it says.
        look: how it is drawn.
        x: left edge, points.
        width: what there is, points; the size of the letters shrinks where the table is wider.
        top: y of the first line on pages after the first.
        foot: y that no row passes.
    """

    def __init__(
        self, book: Book, grid: Grid, look: Look, x: float, width: float, top: float, foot: float
    ) -> None:
        self.book, self.grid, self.look, self.x, self.top, self.foot = book, grid, look, x, top, foot
        self.plate = Plate(grid)
        self.size = look.size
        self.merged = look.groups == "merged"
        self.widths = self._widths()
        while sum(self.widths) > width and self.size > SMALLEST:
            self.size -= 0.2
            self.widths = self._widths()
        if look.stretch and sum(self.widths) < width:
            extra = (width - sum(self.widths)) / len(self.widths)
            self.widths = [wide + extra for wide in self.widths]
        self.edges = [x]
        for wide in self.widths:
            self.edges.append(self.edges[-1] + wide)

    # --- measures

    @property
    def lead(self) -> int:
        """How many columns stand before the figures."""
        return 2 if self.merged else 1

    def _pad(self) -> float:
        return self.look.pad * self.size / self.look.size

    def _natural(self, text: str, font: str, limit: float) -> float:
        scale = self.size / self.look.size
        return max(
            (stringWidth(line, font, self.size) for line in wrap(text, limit * scale, font, self.size)),
            default=0,
        )

    def _widths(self) -> list[float]:
        """Natural widths of all columns at the present size."""
        face, grid = self.look.face, self.grid
        names = [
            self._natural(row.name, face.bold, grid.stub_limit) for row in grid.rows if row.role != "group"
        ]
        widths = [max([*names, self._natural(grid.stub, face.bold, 80)])]
        if self.merged:
            groups = [self._natural(row.name, face.bold, 90) for row in grid.rows if row.role == "group"]
            widths.insert(0, max(groups, default=0))
        for position, column in enumerate(grid.columns):
            cells = [row.cells[position] for row in grid.rows if row.cells]
            wide = [
                self._natural(cell.text + cell.mark + cell.power, face.bold, column.limit) for cell in cells
            ]
            parts = [] if self.look.turned else column.path[-1].split(" ")
            heads = [stringWidth(word, face.bold, self.size) for word in parts]
            widths.append(max([*wide, *heads, self.size * 1.2]))
        return [wide + 2 * self._pad() for wide in widths]

    def _lines(self, text: str, position: int, font: str) -> list[str]:
        return wrap(text, self.widths[position] - 2 * self._pad() + 0.1, font, self.size)

    def _height(self, count: int) -> float:
        return count * self.size * LEADING + 1.3 * self._pad()

    # --- drawing

    def draw(self, y: float) -> Plate:
        """Draw it from y on, over as many pages as it takes."""
        parts = []
        if self.grid.caption and self.look.caption == "above":
            y = self._caption(y)
        start, y = y, self._head(y)
        band = 0
        for number, row in enumerate(self.grid.rows):
            height = self._row_height(row)
            if y + height > self.foot:
                parts.append(self._close(start, y))
                self.book.new_page()
                start = y = self.top
                if self.look.heads == "repeat":
                    y = self._head(y)
            band = band + 1 if row.role == "row" else 0
            self._row(number, row, y, height, band)
            y += 0 if self.merged and row.role == "group" else height
        parts.append(self._close(start, y))
        self.plate.parts = tuple(parts)
        if self.grid.caption and self.look.caption == "below":
            y = self._caption(y + self.size)
        self.plate.bottom = self._notes(y)
        return self.plate

    def _caption(self, y: float) -> float:
        size = self.look.size + 1
        found = []
        for line in wrap(self.grid.caption, max(self.edges[-1] - self.x, 240), self.look.face.bold, size):
            found.append(self.book.write(self.x, y + size, line, size, self.look.face.bold))
            y += size * 1.3
        self.plate.caption = around(found)[0]
        return y + size * 0.6

    def _notes(self, y: float) -> float:
        size = max(self.size - 1.2, 5)
        y += size * 0.6
        for note in self.grid.notes:
            for line in wrap(note, max(self.edges[-1] - self.x, 260), self.look.face.italic, size):
                y += size * 1.3
                self.book.write(self.x, y, line, size, self.look.face.italic, GREY)
        return y + size

    def _levels(self) -> int:
        return max(len(column.path) for column in self.grid.columns)

    def _head(self, y: float) -> float:
        """The heads: spanning ones above, those of the columns beneath."""
        face, grid = self.look.face, self.grid
        levels = self._levels()
        count = max(
            len(self._lines(c.path[-1], p + self.lead, face.bold)) for p, c in enumerate(grid.columns)
        )
        count = max(count, len(self._lines(grid.stub, self.lead - 1, face.bold)))
        band, leaf = self._height(1), self._height(count)
        if self.look.turned:
            leaf = max(stringWidth(c.path[-1], face.bold, self.size) for c in grid.columns) + 2 * self._pad()
        bottom = y + band * (levels - 1) + leaf
        if self.look.dark:
            self.book.box(self.x, y, self.edges[-1] - self.x, bottom - y, fill=DARK)
        elif self.look.rules in ("grid", "zebra"):
            self.book.box(self.x, y, self.edges[-1] - self.x, bottom - y, fill=BAND)
        for level in range(levels - 1):
            self._spans(level, y + band * level, band)
        self._put(grid.stub, self.lead - 1, bottom - leaf, leaf, "left", face.bold, head=True)
        for position, column in enumerate(grid.columns):
            at = position + self.lead
            spot = self._leaf(column, at, bottom, leaf)
            self.plate.heads.setdefault(position, spot)
            if self.look.rules == "grid":
                short = len(column.path) < levels
                self.book.rule(self.edges[at], y if short else bottom - leaf, self.edges[at], bottom, MILD)
        self._head_rules(y, bottom)
        return bottom

    def _leaf(self, column: Column, at: int, bottom: float, height: float) -> Spot:
        """The head next to the figures, level or running upwards."""
        font, text = self.look.face.bold, column.path[-1]
        if not self.look.turned:
            return self._put(text, at, bottom - height, height, self._head_align(column), font, head=True)
        x = (self.edges[at] + self.edges[at + 1]) / 2 + self.size * 0.34
        color = WHITE if self.look.dark else BLACK
        return self.book.write_up(x, bottom - self._pad(), text, self.size, font, color)

    def _head_align(self, column: Column) -> str:
        return "center" if self.look.rules == "grid" and column.align == "right" else column.align

    def _head_rules(self, y: float, bottom: float) -> None:
        x1 = self.edges[-1]
        if self.look.rules != "none":
            self.book.rule(self.x, y, x1, color=BLACK, line=1 if self.look.rules == "book" else 0.6)
            self.book.rule(self.x, bottom, x1, color=BLACK, line=0.6)

    def _spans(self, level: int, y: float, height: float) -> None:
        """Spanning heads of one level."""
        columns, start = self.grid.columns, 0
        while start < len(columns):
            path = columns[start].path
            end = start + 1
            if len(path) <= level + 1:
                start = end
                continue
            while end < len(columns) and columns[end].path[: level + 1] == path[: level + 1]:
                end += 1
            left, right = self.edges[start + self.lead], self.edges[end + self.lead]
            self._span(path[level], left, right, y, height)
            start = end

    def _span(self, text: str, left: float, right: float, y: float, height: float) -> None:
        font = self.look.face.bold
        size = min(self.size, self.size * (right - left - 2) / max(stringWidth(text, font, self.size), 1))
        color = WHITE if self.look.dark else BLACK
        self.book.write((left + right) / 2, y + height / 2 + size * 0.34, text, size, font, color, "center")
        if self.look.rules != "none":
            self.book.rule(left + 2, y + height, right - 2, color=MILD if self.look.dark else GREY, line=0.5)
        if self.look.rules == "grid":
            self.book.rule(left, y, left, y + height, MILD)

    def _row_height(self, row: Row) -> float:
        if row.role == "group":
            return self._height(1)
        font = self.look.face.bold if row.role == "total" else self.look.face.plain
        counts = [
            len(self._lines(cell.text + cell.mark + cell.power, p + self.lead, font))
            for p, cell in enumerate(row.cells)
        ]
        return self._height(max([*counts, len(self._lines(row.name, self.lead - 1, font))]))

    def _row(self, number: int, row: Row, y: float, height: float, band: int) -> None:
        if row.role == "group":
            self._group(number, row, y, height)
            return
        face, rules = self.look.face, self.look.rules
        font = face.bold if row.role == "total" else face.plain
        left = self.edges[self.lead - 1]
        if rules == "zebra" and band % 2 == 0:
            self.book.box(left, y, self.edges[-1] - left, height, fill=FAINT)
        if row.role == "total" and rules in ("rows", "book", "none"):
            self.book.rule(left, y, self.edges[-1], color=BLACK, line=0.5)
        elif rules in ("rows", "grid"):
            self.book.rule(left, y, self.edges[-1], color=MILD, line=0.4)
        self.plate.names[number] = self._put(row.name, self.lead - 1, y, height, "left", font)
        for position, cell in enumerate(row.cells):
            self._cell(number, position, cell, y, height, font)
        self.plate.rows[number] = self.book.spot(left, y, self.edges[-1], y + height)
        if rules == "grid":
            for edge in self.edges[self.lead - 1 : -1]:
                self.book.rule(edge, y, edge, y + height, MILD)

    def _group(self, number: int, row: Row, y: float, height: float) -> None:
        font = self.look.face.bold
        if not self.merged:
            if self.look.rules in ("grid", "zebra"):
                self.book.box(self.x, y, self.edges[-1] - self.x, height, fill=BAND)
            baseline = y + height / 2 + self.size * 0.34
            self.plate.names[number] = self.book.write(
                self.x + self._pad(), baseline, row.name, self.size, font
            )
            return
        below = [r for r in self.grid.rows if r.group == row.name and r.role != "group"]
        tall = sum(self._row_height(r) for r in below)
        if number and self.look.rules != "none":
            self.book.rule(self.x, y, self.edges[-1], color=GREY, line=0.5)
        self.plate.names[number] = self._put(row.name, 0, y, tall, "left", font)

    def _cell(self, number: int, position: int, cell: Cell, y: float, height: float, font: str) -> None:
        at, align = position + self.lead, self.grid.columns[position].align
        if cell.tick is not None:
            self.plate.cells[number, position] = self._tick(at, y, height, cell.tick)
            return
        self.plate.cells[number, position] = self._put(
            cell.text, at, y, height, align, font, mark=cell.mark or cell.power
        )
        if cell.power:
            spot, raised = self.plate.cells[number, position], stringWidth(cell.power, font, self.size * 0.65)
            x0, y0, x1, y1 = spot.box
            self.plate.cells[number, position] = Spot(spot.page, (x0, y0, x1 + raised, y1))

    def _tick(self, at: int, y: float, height: float, yes: bool) -> Spot:
        """A tick or a cross, drawn with strokes."""
        s, cx, cy = self.size * 0.36, (self.edges[at] + self.edges[at + 1]) / 2, y + height / 2
        strokes = (
            [[(-1, 0), (-0.3, 0.8), (1, -0.9)]]
            if yes
            else [[(-0.7, -0.7), (0.7, 0.7)], [(-0.7, 0.7), (0.7, -0.7)]]
        )
        for stroke in strokes:
            self.book.shape(
                [(cx + s * a, cy + s * b) for a, b in stroke], stroke=BLACK, line=1.1, close=False
            )
        return self.book.spot(cx - s, cy - s, cx + s, cy + s)

    def _put(
        self,
        text: str,
        at: int,
        y: float,
        height: float,
        align: str,
        font: str,
        head: bool = False,
        mark: str = "",
    ) -> Spot:
        """Lines of a cell, centred in its height; the spot is around them, without the footnote mark."""
        lines = self._lines(text, at, font)
        color = WHITE if head and self.look.dark else BLACK
        pad, size = self._pad(), self.size
        base = y + (height - len(lines) * size * LEADING) / 2 + size * 0.94
        side = stringWidth(mark, font, size * 0.65)
        x = {
            "left": self.edges[at] + pad,
            "right": self.edges[at + 1] - pad - side,
            "center": (self.edges[at] + self.edges[at + 1]) / 2,
        }
        spots = [
            self.book.write(x[align], base + n * size * LEADING, line, size, font, color, align)
            for n, line in enumerate(lines)
        ]
        if mark:
            ends = {
                "left": x["left"] + stringWidth(lines[-1], font, size),
                "right": x["right"],
                "center": x["center"],
            }
            if align == "center":
                ends["center"] += stringWidth(lines[-1], font, size) / 2
            self.book.write(
                ends[align], base + (len(lines) - 1) * size * LEADING - size * 0.35, mark, size * 0.65, font
            )
        return around(spots)[0]

    def _close(self, top: float, bottom: float) -> Spot:
        """Rules around a part of the table; returns where it lies."""
        if self.look.rules in ("grid", "book", "rows", "zebra"):
            self.book.rule(
                self.x, bottom, self.edges[-1], color=BLACK, line=1 if self.look.rules == "book" else 0.6
            )
        if self.look.rules == "grid":
            for edge in (self.x, self.edges[-1]):
                self.book.rule(edge, top, edge, bottom, BLACK)
        return self.book.spot(self.x, top, self.edges[-1], bottom)


def draw(
    book: Book,
    grid: Grid,
    look: Look,
    y: float,
    x: float = 56,
    width: float = 0,
    top: float = 64,
    foot: float = 0,
) -> Plate:
    """Draw a table; `width` and `foot` of zero are what the page leaves."""
    return Press(book, grid, look, x, width or book.width - 2 * x, top, foot or book.height - 66).draw(y)
