"""What a table says, apart from where it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from packs.book import SANS, Face
from packs.figures import AMERICAN, Hand, same

MISSING = ("–", "n/a", "..", "", "-")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: as printed.
        value: of a figure; None for words and missing cells.
        decimals: of the figure.
        mark: a footnote mark behind the text.
        power: a raised exponent behind the text, part of the value.
        accepted: other strings that say the same.
        tick: draw a tick (True) or a cross (False) and no text.
    """

    text: str = ""
    value: float | None = None
    decimals: int = 0
    mark: str = ""
    accepted: tuple[str, ...] = ()
    tick: bool | None = None
    power: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether the cell says nothing."""
        return self.tick is None and self.text in MISSING


@dataclass(frozen=True)
class Column:
    """One column: its heads from top to bottom, alignment, and the width in points after which words wrap.

    Nobody asks about a column that is an aside (numbers of notes).
    """

    path: tuple[str, ...]
    align: str = "right"
    limit: float = 150
    is_aside: bool = False


@dataclass(frozen=True)
class Row:
    """One row. `role` is "row", "group" (a heading over rows) or "total"; `group` is the heading above it."""

    name: str
    cells: tuple[Cell, ...] = ()
    role: str = "row"
    group: str = ""


@dataclass(frozen=True)
class Look:
    """How a table is drawn: `rules` is "none", "rows", "grid", "zebra" or "book" (three rules)."""

    face: Face = SANS
    size: float = 9
    rules: str = "rows"
    pad: float = 4
    stretch: bool = True
    groups: str = "band"  # or "merged": the heading stands in a first column, once for its rows
    caption: str = "above"  # or "below"
    heads: str = "repeat"  # or "once": over more pages
    dark: bool = False  # white heads on a dark band
    turned: bool = False  # heads of columns run upwards


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        stub: head of the first column.
        columns: the others.
        rows: from top to bottom.
        caption: title or caption.
        notes: lines beneath.
        hand: how its figures are written.
        words: how a person says the name of a row or column.
        stub_limit: width in points after which the names of rows wrap.
        has_nouns: the names of its rows are common nouns, small within a sentence.
    """

    stub: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    notes: tuple[str, ...] = ()
    hand: Hand = AMERICAN
    words: dict[str, str] = field(default_factory=dict)
    stub_limit: float = 190
    has_nouns: bool = False

    def row_words(self, row: int) -> str:
        """The row as a person names it."""
        line = self.rows[row]
        plain = line.name[0].lower() + line.name[1:] if self.has_nouns else line.name
        name = self.words.get(line.name, plain)
        twice = sum(other.name == line.name for other in self.rows) > 1
        return f"{name} ({self.words.get(line.group, line.group)})" if twice and line.group else name

    def column_words(self, column: int) -> str:
        """The column as a person names it."""
        path = self.columns[column].path
        return self.words.get(" / ".join(path), " ".join(self.words.get(part, part) for part in path))

    def filled(self, roles: Sequence[str] = ("row", "total")) -> list[tuple[int, int]]:
        """Positions of the cells that say something."""
        return [
            (r, c)
            for r, row in enumerate(self.rows)
            if row.role in roles
            for c, cell in enumerate(row.cells)
            if not cell.is_missing and not self.columns[c].is_aside
        ]

    def holes(self) -> list[tuple[int, int]]:
        """Positions of the cells that say nothing where one would ask."""
        return [
            (r, c)
            for r, row in enumerate(self.rows)
            for c, cell in enumerate(row.cells)
            if cell.is_missing and not self.columns[c].is_aside
        ]


def figure(
    value: float, hand: Hand, decimals: int = 0, mark: str = "", before: str = "", after: str = ""
) -> Cell:
    """A cell with a figure."""
    text = hand.write(value, decimals)
    return Cell(f"{before}{text}{after}", value, decimals, mark, same(text, value, decimals))


def words(text: str, mark: str = "") -> Cell:
    """A cell with words."""
    return Cell(text, mark=mark)
