"""What a reader of structure gives: regions with boxes, and grids of cells; the protocol of such readers.

Regions are plain data on boxes and know no words: which words a region or a cell holds is decided once, for
all readers, by `mmrag.documents.structure.assembly`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mmrag.types import Box, Word

if TYPE_CHECKING:
    from mmrag.documents.renderer import Renderer


@dataclass(frozen=True, slots=True)
class GridCell:
    """A cell of a grid: its place, its box, and whether it is a header. See `mmrag.blocks.Cell`."""

    row: int
    column: int
    box: Box | None = None
    row_span: int = 1
    column_span: int = 1
    is_header: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of a table, without texts.

    Attributes:
        rows, columns: size.
        cells: by row, then column.
    """

    rows: int
    columns: int
    cells: tuple[GridCell, ...]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a page.

    Attributes:
        kind: one of `mmrag.blocks.BLOCK_KINDS`.
        box: in 0..1 of the page as shown.
        size: height of its letters in those of the page's running text; 0 where it is not known.
        grid: of a table.
    """

    kind: str
    box: Box
    size: float = 0.0
    grid: Grid | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Regions of a page in reading order, and what should be known of them."""

    regions: tuple[Region, ...]
    notes: tuple[str, ...] = ()


class StructureReader(Protocol):
    """Finds the regions of pages. Lives in a worker process and belongs to one thread."""

    def read(self, renderer: Renderer, number: int, words: Sequence[Word], *, is_exact: bool) -> Layout:
        """Find the regions of a page.

        Args:
            renderer: the open document.
            number: 0-based page.
            words: of the page, in reading order.
            is_exact: whether the words are the file's own text; False where OCR gave some of them.

        Raises:
            PageError: the page cannot be read.
            MissingExtraError: a library is not installed.
        """
        ...


def to_plain(layout: Layout) -> dict[str, Any]:
    """Convert a layout to plain values, for the pipe between processes."""
    return {
        "regions": [
            (region.kind, _floats(region.box), float(region.size), _plain_grid(region.grid))
            for region in layout.regions
        ],
        "notes": tuple(layout.notes),
    }


def from_plain(values: dict[str, Any]) -> Layout:
    """Convert `to_plain`'s values back."""
    regions = [Region(kind, box, size, _grid_of(grid)) for kind, box, size, grid in values["regions"]]
    return Layout(tuple(regions), tuple(values["notes"]))


def _plain_grid(grid: Grid | None) -> tuple[Any, ...] | None:
    if grid is None:
        return None
    cells = [
        (
            cell.row,
            cell.column,
            None if cell.box is None else _floats(cell.box),
            cell.row_span,
            cell.column_span,
            cell.is_header,
        )
        for cell in grid.cells
    ]
    return grid.rows, grid.columns, cells


def _grid_of(values: tuple[Any, ...] | None) -> Grid | None:
    if values is None:
        return None
    rows, columns, cells = values
    return Grid(rows, columns, tuple(GridCell(*cell) for cell in cells))


def _floats(box: Box) -> Box:
    x0, y0, x1, y1 = box
    return float(x0), float(y0), float(x1), float(y1)
