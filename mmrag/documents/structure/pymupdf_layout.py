"""Structure by PyMuPDF 2: its layout model for regions, its table models for cells and spans.

Used are `Page.get_layout` and `Page.find_tables` with what PyMuPDF 2 adds to it: grids of the layout model
and of ruled lines are fused (`union`), split where rows or columns were merged, and given spans and headers
(`refine`). The models read a page of text. A page that has OCR's words is given to them as a page of its own,
drawn of its picture and of these words; a page whose text runs up or down is turned first.

The models cost about a second and 90 MB when loaded, once in a process, and half a second a page.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mmrag.documents.structure.drawn_page import draw_page
from mmrag.documents.structure.regions import Grid, GridCell, Layout, Region
from mmrag.documents.structure.turning import turn_box, turn_of
from mmrag.errors import PageError
from mmrag.types import Box, Word

if TYPE_CHECKING:
    from mmrag.documents.renderer import Renderer

LOWEST = (2, 0)
"""Version of PyMuPDF that brought these models with itself."""

BLOCKED_MODULES = ("pymupdf.layout", "pymupdf4llm")
"""Kept from loading with PyMuPDF in a reading process; see `mmrag.documents.worker`."""

KINDS = {
    "title": "title",
    "section-header": "heading",
    "text": "text",
    "list-item": "list-item",
    "table": "table",
    "picture": "picture",
    "formula": "formula",
    "caption": "caption",
    "footnote": "footnote",
    "page-header": "header",
    "page-footer": "footer",
}
"""The model's classes, and ours."""

PART_OF_TABLE = 0.8
"""Of a region's area: one that lies so far within a table is a part of it."""


def is_available() -> bool:
    """Return whether this PyMuPDF has the models."""
    import pymupdf

    version = tuple(int(part) for part in pymupdf.__version__.split(".")[:2] if part.isdigit())
    return version >= LOWEST


class PyMuPdfLayout:
    """Finds regions with PyMuPDF's models."""

    def __init__(self) -> None:
        """Load the models, which the process has kept from loading until now."""
        for name in BLOCKED_MODULES:
            if sys.modules.get(name, self) is None:
                del sys.modules[name]
        with _settings_of_pymupdf():
            import pymupdf.layout
            from pymupdf4llm.helpers import utils

            pymupdf.layout.activate()
        self._order = utils.find_reading_order

    def read(self, renderer: Renderer, number: int, words: Sequence[Word], *, is_exact: bool) -> Layout:
        """Find the regions of a page; see `StructureReader.read`."""
        try:
            page, degrees = _upright_page(renderer, number, words, is_exact)
            with _settings_of_pymupdf():
                regions = self._regions(page)
        except PageError:
            raise
        except Exception as error:  # the models are handed hostile pages; what they raise is not documented
            raise PageError(
                f"its structure cannot be read ({type(error).__name__}: {error})", number
            ) from error
        return Layout(tuple(_turn(region, -degrees % 360) for region in regions))

    def _regions(self, page: Any) -> list[Region]:  # noqa: ANN401  (PyMuPDF is not typed)
        """Run the models on a page whose text is upright."""
        import pymupdf

        page.get_layout(return_raw=True)
        groups = page.layout_information or []
        finder = page.find_tables(use_layout=True, union=True, refine=True)
        tables = [table for table in getattr(finder, "tables", ()) if _is_table(table)]
        boxes = _merge([(*group["group_bbox"], group["class_name"]) for group in groups], tables)
        flags = pymupdf.TEXT_COLLECT_VECTORS | pymupdf.TEXT_PRESERVE_IMAGES | pymupdf.TEXT_ACCURATE_BBOXES
        blocks = page.get_text("dict", flags=flags)["blocks"]
        grids = {tuple(table.bbox): table for table in tables}
        spans = _spans(blocks)
        usual = _usual_size(spans)
        return [
            _region(box, grids.get(tuple(box[:4])), page.rect, spans, usual)
            for box in self._order(page.rect, blocks, boxes)
        ]


@contextlib.contextmanager
def _settings_of_pymupdf() -> Iterator[None]:
    """Give PyMuPDF's global settings back: the models change them, and boxes of words depend on them."""
    import pymupdf

    corrections = pymupdf.TOOLS.unset_quad_corrections()
    small = pymupdf.TOOLS.set_small_glyph_heights()
    pymupdf.TOOLS.unset_quad_corrections(True)  # the models were trained with this
    try:
        yield
    finally:
        pymupdf.TOOLS.unset_quad_corrections(bool(corrections))
        pymupdf.TOOLS.set_small_glyph_heights(bool(small))


def _upright_page(renderer: Renderer, number: int, words: Sequence[Word], is_exact: bool) -> tuple[Any, int]:
    """Return a page to give to the models, and the degrees by which it is turned clockwise.

    The page is the file's own where it is upright and its words are the file's; else a copy, or drawn.
    """
    load = getattr(renderer, "load", None)
    if load is None or not is_exact:
        return draw_page(renderer, number, words)
    page = load(number)
    degrees = turn_of(words, page.rect.width / page.rect.height)
    if degrees == 0 and page.rotation == 0:
        return page, 0
    return _copy(page, degrees), degrees


def _copy(page: Any, degrees: int) -> Any:  # noqa: ANN401
    """Copy a page into a document of its own and turn it clockwise."""
    import pymupdf

    copy = pymupdf.open()
    if page.parent.is_pdf:
        copy.insert_pdf(page.parent, from_page=page.number, to_page=page.number)
    else:
        data = page.parent.convert_to_pdf(page.number, page.number + 1)
        copy.insert_pdf(pymupdf.open("pdf", data))
    upright = copy[0]
    upright.set_rotation((upright.rotation + degrees) % 360)
    upright.remove_rotation()
    return copy[0]


def _is_table(table: Any) -> bool:  # noqa: ANN401
    """Decide whether a find is more than a frame around text."""
    return bool(table.placements) and table.col_count > 1


def _merge(groups: list[tuple[Any, ...]], tables: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Put the tables in the place of the layout's, and drop what lies within a table."""
    boxes = [(*table.bbox, "table") for table in tables]
    for group in groups:
        box = group[:4]
        is_table = group[4] == "table" and any(_share(table.bbox, box) > PART_OF_TABLE for table in tables)
        is_within = any(_share(box, table.bbox) > PART_OF_TABLE for table in tables)
        if not is_table and (group[4] == "picture" or not is_within):
            boxes.append(group)
    return boxes


def _share(inner: Sequence[float], outer: Sequence[float]) -> float:
    """Return the part of a box's area that is in another, 0..1."""
    width = min(inner[2], outer[2]) - max(inner[0], outer[0])
    height = min(inner[3], outer[3]) - max(inner[1], outer[1])
    area = (inner[2] - inner[0]) * (inner[3] - inner[1])
    return max(width, 0.0) * max(height, 0.0) / area if area > 0 else 1.0


def _spans(blocks: Sequence[dict[str, Any]]) -> list[tuple[Box, float, int]]:
    """List box, size in points and number of letters of each span."""
    return [
        (span["bbox"], span["size"], len(span["text"].strip()))
        for block in blocks
        for line in block.get("lines", ())
        for span in line["spans"]
    ]


def _usual_size(spans: Sequence[tuple[Box, float, int]]) -> float:
    """Return the size of most letters of a page, in points; 0 without letters."""
    letters: dict[float, int] = {}
    for _, size, count in spans:
        letters[round(size, 1)] = letters.get(round(size, 1), 0) + count
    return max(letters, key=lambda size: letters[size], default=0.0)


def _region(
    box: Sequence[Any],
    table: Any,  # noqa: ANN401
    rect: Any,  # noqa: ANN401
    spans: Sequence[tuple[Box, float, int]],
    usual: float,
) -> Region:
    """Make a region of a box of the page, in points."""
    size = 0.0
    if box[4] in ("title", "section-header") and usual:
        within = [span[1] for span in spans if span[2] and _share(span[0], box) > 0.5]
        size = max(within, default=0.0) / usual
    grid = None if table is None else _grid(table.placements, rect)
    return Region(KINDS.get(box[4], "text"), _unit_box(box, rect), size, grid)


def _grid(placements: Sequence[Sequence[Any]], rect: Any) -> Grid:  # noqa: ANN401
    """Make a grid of rows of cells with spans, as in HTML: a cell takes the next position that is free."""
    cells: list[GridCell] = []
    occupied_positions: set[tuple[int, int]] = set()
    columns = 0
    for row, row_cells in enumerate(placements):
        column = 0
        for cell in row_cells:
            while (row, column) in occupied_positions:
                column += 1
            box = None if cell.bbox is None else _unit_box(cell.bbox, rect)
            cells.append(GridCell(row, column, box, cell.rowspan, cell.colspan, cell.tag == "th"))
            occupied_positions |= {
                (row + down, column + right) for down in range(cell.rowspan) for right in range(cell.colspan)
            }
            columns = max(columns, column + cell.colspan)
    return Grid(len(placements), columns, tuple(cells))


def _unit_box(box: Sequence[float], rect: Any) -> Box:  # noqa: ANN401
    """Convert points to 0..1 of the page."""
    x0, y0, x1, y1 = box[:4]
    return (
        min(max((x0 - rect.x0) / rect.width, 0.0), 1.0),
        min(max((y0 - rect.y0) / rect.height, 0.0), 1.0),
        min(max((x1 - rect.x0) / rect.width, 0.0), 1.0),
        min(max((y1 - rect.y0) / rect.height, 0.0), 1.0),
    )


def _turn(region: Region, degrees: int) -> Region:
    """Turn a region and its cells clockwise."""
    if degrees == 0:
        return region
    grid = region.grid
    if grid is not None:
        cells = [
            GridCell(
                cell.row,
                cell.column,
                None if cell.box is None else turn_box(cell.box, degrees),
                cell.row_span,
                cell.column_span,
                cell.is_header,
            )
            for cell in grid.cells
        ]
        grid = Grid(grid.rows, grid.columns, tuple(cells))
    return Region(region.kind, turn_box(region.box, degrees), region.size, grid)
