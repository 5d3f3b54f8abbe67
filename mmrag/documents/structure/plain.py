"""Structure without models, for those who do without PyMuPDF: paragraphs by rules, tables by pdfplumber.

A table is found by the lines that are ruled around its cells (pdfplumber, MIT, extra ``pdfium``). Paragraphs
are those of `Page.text`. What this does not tell apart is in the page's notes: headings, lists, captions,
footnotes, running heads and feet, pictures, and tables without lines.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mmrag.documents.structure.regions import Grid, GridCell, Layout, Region
from mmrag.documents.structure.turning import turn_box, turn_of
from mmrag.types import Box, Word

if TYPE_CHECKING:
    from mmrag.documents.renderer import Renderer

NOTE = "structure by plain rules: paragraphs, and tables with ruled lines"
NOTE_NO_TABLES = (
    "structure by plain rules: paragraphs only; tables need pdfplumber: pip install 'mmrag[pdfium]'"
)
OLD_PYMUPDF = "; headings, lists and other tables need pymupdf>=2.0, which needs Python 3.11"
SAME_EDGE = 0.0025  # of the page, two points of A4: edges of cells that are nearer are one


class PlainStructure:
    """Finds tables by their ruled lines; everything else is left to be paragraphs."""

    def __init__(self, hint: str = "") -> None:
        """Open nothing yet; `hint` is added to the note of every page."""
        self._hint = hint
        self._file: tuple[Any, Any] | None = None  # the renderer it is of, and pdfplumber's document

    def read(self, renderer: Renderer, number: int, words: Sequence[Word], *, is_exact: bool) -> Layout:
        """Find the tables of a page; see `StructureReader.read`."""
        source = getattr(renderer, "source", None)
        if source is None or not is_exact or not words:
            return Layout((), (NOTE + self._hint,))
        try:
            document = self._open(renderer, source)
        except ImportError:
            return Layout((), (NOTE_NO_TABLES,))
        try:
            page = document.pages[number]
            tables = _tables(page, turn_of(words, float(page.width / page.height)))
        except Exception as error:  # noqa: BLE001  (pdfminer fails in many ways on what PDFium reads)
            return Layout((), (f"{NOTE}; tables cannot be read ({type(error).__name__}: {error})"[:300],))
        return Layout(tuple(tables), (NOTE,))

    def _open(self, renderer: Renderer, source: str | bytes) -> Any:  # noqa: ANN401  (pdfplumber is optional)
        """Return pdfplumber's document, kept while the renderer is the same."""
        import pdfplumber

        if self._file is None or self._file[0] is not renderer:
            if self._file is not None:
                self._file[1].close()
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            password = getattr(renderer, "password", None) or ""
            self._file = (renderer, pdfplumber.open(file, password=password))
        return self._file[1]


def _tables(page: Any, degrees: int) -> list[Region]:  # noqa: ANN401
    """Return pdfplumber's tables as regions in 0..1 of the page as shown.

    Args:
        page: pdfplumber's.
        degrees: by which the page is turned clockwise to read it; rows and columns are those of the reader.
    """
    left, top, right, bottom = page.cropbox

    def unit(box: Sequence[float]) -> Box:
        return (
            (box[0] - left) / (right - left),
            (box[1] - top) / (bottom - top),
            (box[2] - left) / (right - left),
            (box[3] - top) / (bottom - top),
        )

    regions = []
    for table in page.find_tables():
        boxes = [turn_box(unit(cell), degrees) for cell in set(table.cells)]
        xs = _edges(edge for box in boxes for edge in (box[0], box[2]))
        ys = _edges(edge for box in boxes for edge in (box[1], box[3]))
        if len(xs) > 2 and len(ys) > 1:
            cells = sorted((_cell(box, xs, ys, -degrees % 360) for box in boxes), key=_place_in_grid)
            regions.append(
                Region("table", unit(table.bbox), grid=Grid(len(ys) - 1, len(xs) - 1, tuple(cells)))
            )
    return regions


def _place_in_grid(cell: GridCell) -> tuple[int, int]:
    return cell.row, cell.column


def _edges(values: Iterable[float]) -> list[float]:
    """Return the different edges of cells, in order."""
    edges: list[float] = []
    for value in sorted(values):
        if not edges or value - edges[-1] > SAME_EDGE:
            edges.append(value)
    return edges


def _cell(box: Box, xs: Sequence[float], ys: Sequence[float], degrees: int) -> GridCell:
    """Return the cell of a box on the page turned for reading; `degrees` turn it back."""
    row, column = _nearest(ys, box[1]), _nearest(xs, box[0])
    rows, columns = _nearest(ys, box[3]) - row, _nearest(xs, box[2]) - column
    return GridCell(row, column, turn_box(box, degrees), max(1, rows), max(1, columns))


def _nearest(edges: Sequence[float], value: float) -> int:
    return min(range(len(edges)), key=lambda index: abs(edges[index] - value))
