"""Regions and words to blocks: every word of the page is in exactly one block.

* A word belongs to the smallest box that holds its centre: a cell before its table, a caption before the
  picture it is on.
* A word in a table but in none of its cells (in the gap between two) belongs to the nearest one.
* Words that no region holds are ``"text"`` blocks of their own, one for each paragraph of the page's text,
  after the block of the word before them.
* Running heads and feet of a page without any other text are its text.
* Within a block, words are in the page's reading order.

Levels of headings follow the size of their letters, in those of the running text, by the scale with which
browsers show the headings of HTML (2, 1.5, 1.17, 1, 0.83 and 0.67 em), so that a level is the same on every
page of a document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mmrag.blocks import Block, Cell, Table
from mmrag.documents.structure.headers import header_sizes
from mmrag.documents.structure.pieces import Piece, pieces
from mmrag.documents.structure.regions import Grid, Region
from mmrag.documents.structure.spans import align_names, spread_names, without_blank_lines
from mmrag.types import Box, Word

HEADING_SIZES = (2.0, 1.5, 1.17, 1.0, 0.83, 0.67)
"""Size in em of the headings of level 1 to 6: the style sheet that the HTML standard suggests to browsers."""

TABLE_LEAST = 2
"""Columns of a table; one column in a frame is a text."""


@dataclass(frozen=True, slots=True)
class _Holder:
    """A box that can hold words: a region, or one of its cells."""

    box: Box
    region: int
    cell: int | None = None

    @property
    def area(self) -> float:
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


def assemble(
    regions: Sequence[Region],
    words: Sequence[Word],
    paragraphs: Sequence[int] = (),
    kinds: Mapping[int, str] | None = None,
) -> tuple[Block, ...]:
    """Make blocks of regions and words.

    Args:
        regions: in reading order.
        words: `Page.words`.
        paragraphs: for each word the number of its paragraph; empty for one paragraph.
        kinds: kinds of words that are known without a model, by position ("comment", "watermark"): they
            are blocks of their own, whatever region they are on.

    Returns:
        Blocks in reading order; each word is in one of them.
    """
    known_kinds = kinds or {}
    groups = _distribute(regions, words, known_kinds)
    blocks = [
        block
        for region, region_groups in zip(regions, groups, strict=True)
        for block in _blocks(region, region_groups, words)
    ]
    owners = {word: order for order, block in enumerate(blocks) for word in block.words}
    free = [position for position in range(len(words)) if position not in owners]
    return _with_text(_insert(blocks, owners, _runs(free, paragraphs, known_kinds), words))


def _with_text(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Return blocks of which some are no running heads: what is over or under nothing is the page's text."""
    if any(block.text and block.kind not in ("header", "footer", "watermark") for block in blocks):
        return blocks
    return tuple(
        replace(block, kind="text") if block.kind in ("header", "footer") else block for block in blocks
    )


def paragraph_numbers(text: str, count: int) -> list[int]:
    """Return, for each word, the number of its paragraph in `Page.text` (separated by empty lines).

    Args:
        text: `Page.text`.
        count: number of `Page.words`; where the text has another number, all are in one paragraph.
    """
    numbers = [
        number for number, paragraph in enumerate(text.split("\n\n")) for _ in range(len(paragraph.split()))
    ]
    return numbers if len(numbers) == count else [0] * count


def _distribute(
    regions: Sequence[Region], words: Sequence[Word], known_kinds: Mapping[int, str]
) -> list[dict[int | None, list[int]]]:
    """Give each word to a holder: for each region, positions of words by cell (None: the region itself)."""
    holders = [_Holder(region.box, index) for index, region in enumerate(regions)]
    for index, region in enumerate(regions):
        if region.grid is not None:
            cells = enumerate(region.grid.cells)
            holders += [_Holder(cell.box, index, number) for number, cell in cells if cell.box is not None]
    holders.sort(key=lambda holder: (holder.area, holder.cell is None))
    groups: list[dict[int | None, list[int]]] = [{} for _ in regions]
    for position, word in enumerate(words):
        if position in known_kinds:
            continue
        holder = next((holder for holder in holders if _holds(holder.box, word.box)), None)
        if holder is not None:
            cell = holder.cell
            grid = regions[holder.region].grid
            if grid is not None and cell is None:
                cell = _nearest_cell(grid, word.box)
            groups[holder.region].setdefault(cell, []).append(position)
    return groups


def _holds(outer: Box, inner: Box) -> bool:
    """Decide whether the centre of a box is in another."""
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def _nearest_cell(grid: Grid, box: Box) -> int | None:
    """Return the number of the cell that is nearest to the centre of a box."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2

    def distance(number: int) -> float:
        cell = grid.cells[number].box
        if cell is None:
            return float("inf")
        return max(cell[0] - x, x - cell[2], 0.0) + max(cell[1] - y, y - cell[3], 0.0)

    return min(range(len(grid.cells)), key=distance, default=None)


def _blocks(region: Region, groups: Mapping[int | None, Sequence[int]], words: Sequence[Word]) -> list[Block]:
    """Make blocks of a region: none of one without words that is no picture, several of several tables."""
    positions = _positions(groups)
    if not positions and region.kind not in ("picture", "formula"):
        return []
    if region.grid is None or region.grid.columns < TABLE_LEAST:
        kind = "text" if region.kind == "table" else region.kind
        return [Block(kind, _text(positions, words), (region.box,), _level(kind, region.size), positions)]
    parts = pieces(region.grid, groups, words)
    if len(parts) == 1:
        return [_table_block(parts[0], region.box, words)]
    return [
        _table_block(part, _bounds(_positions(part.groups), words), words)
        for part in parts
        if _positions(part.groups)
    ]


def _positions(groups: Mapping[int | None, Sequence[int]]) -> tuple[int, ...]:
    """Return the positions of all words of some cells, in reading order."""
    return tuple(sorted(position for group in groups.values() for position in group))


def _table_block(piece: Piece, box: Box, words: Sequence[Word]) -> Block:
    """Make a block of a table, or of a title between two."""
    positions = _positions(piece.groups)
    table = None if piece.is_title else _table(piece, words)
    if table is None or table.columns < TABLE_LEAST:
        kind = "caption" if piece.is_title else "text"
        return Block(kind, _text(positions, words), (box,), words=positions)
    text = "\n".join("\t".join(row) for row in table.grid())
    return Block("table", text, (box,), words=positions, table=table)


def _table(piece: Piece, words: Sequence[Word]) -> Table:
    """Make a table of a grid and the words of its cells."""
    grid, groups = without_blank_lines(piece.grid, piece.groups)
    header_rows, _ = header_sizes(grid, _texts(grid, groups, words))
    grid, groups = align_names(grid, groups, header_rows)
    grid, groups = spread_names(grid, groups, words, header_rows)
    texts = _texts(grid, groups, words)
    header_rows, header_columns = header_sizes(grid, texts)
    cells = tuple(
        Cell(
            cell.row,
            cell.column,
            text,
            cell.box,
            cell.row_span,
            cell.column_span,
            cell.row < header_rows or cell.column < header_columns,
            tuple(groups.get(number, ())),
        )
        for number, (cell, text) in enumerate(zip(grid.cells, texts, strict=True))
    )
    return Table(grid.rows, grid.columns, cells, header_rows, header_columns)


def _texts(grid: Grid, groups: Mapping[int | None, Sequence[int]], words: Sequence[Word]) -> list[str]:
    """Return the texts of the cells."""
    return [_text(groups.get(number, ()), words) for number in range(len(grid.cells))]


def _text(positions: Iterable[int], words: Sequence[Word]) -> str:
    return " ".join(words[position].text for position in positions)


def _level(kind: str, size: float) -> int:
    """Return the level of a heading; 0 for other kinds."""
    if kind == "title":
        return 1
    if kind != "heading":
        return 0
    if size <= 0:
        return 2
    nearest = min(range(len(HEADING_SIZES)), key=lambda level: abs(HEADING_SIZES[level] - size))
    return nearest + 1


def _runs(
    free: Sequence[int], paragraphs: Sequence[int], known_kinds: Mapping[int, str]
) -> list[tuple[str, list[int]]]:
    """Group words without a block into runs of one kind and paragraph that no word of a block interrupts."""
    runs: list[tuple[str, list[int]]] = []
    for position in free:
        kind = known_kinds.get(position, "text")
        if runs:
            last_kind, run = runs[-1]
            same_paragraph = not paragraphs or paragraphs[run[-1]] == paragraphs[position]
            if last_kind == kind and same_paragraph and run[-1] == position - 1:
                run.append(position)
                continue
        runs.append((kind, [position]))
    return runs


def _insert(
    blocks: list[Block],
    owners: Mapping[int, int],
    runs: Sequence[tuple[str, list[int]]],
    words: Sequence[Word],
) -> tuple[Block, ...]:
    """Put each run behind the block of the word before it."""
    after: dict[int, list[Block]] = {}
    for kind, run in runs:
        before = next((owners[position] for position in range(run[0] - 1, -1, -1) if position in owners), -1)
        block = Block(kind, _text(run, words), (_bounds(run, words),), words=tuple(run))
        after.setdefault(before, []).append(block)
    result = list(after.get(-1, ()))
    for order, block in enumerate(blocks):
        result += [block, *after.get(order, ())]
    return tuple(result)


def _bounds(run: Sequence[int], words: Sequence[Word]) -> Box:
    """Return the smallest box that holds all words of a run."""
    boxes = [box for position in run for box in words[position].boxes]
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
