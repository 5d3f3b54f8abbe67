"""Places of a page that have a name of their own: headings, lines of a text, rows and columns of a sheet.

A PDF's places are its pages. What a person looks for in other files is named otherwise: slide 3, cell
Prices!B7, line 12, the heading "Costs". Such names are `Page.label` (of the whole page) and `Page.anchors`
(of its parts); `anchor_name` joins them for the boxes of a citation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mmrag.blocks import Box

AnchorKind: TypeAlias = Literal["heading", "line", "row", "column"]

PAGED_KINDS = frozenset({"pdf", "xps", "epub", "svg", "image"})
"""Kinds of files whose pages are their anchors: a printed label is not the name of a anchor."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A named part of a page.

    Attributes:
        kind: ``"heading"`` (what stands under it), ``"line"`` of a text, ``"row"`` and ``"column"`` of a
            sheet.
        name: the heading, the number of the line or row, the letters of the column.
        box: in 0..1 of the page; a row and a line go from edge to edge, a column from top to bottom.
    """

    kind: AnchorKind
    name: str
    box: Box


def anchor_name(label: str, anchors: Sequence[Anchor], boxes: Sequence[Box]) -> str:
    """Name the place of some boxes on a page.

    Args:
        label: of the page, like ``"slide 3"`` or ``"Prices!A1:F40"``.
        anchors: of the page.
        boxes: of the words that are meant; none means the whole page.

    Returns:
        Like ``"Prices!B7"``, ``"lines 12-14"``, ``'heading "Costs"'``; the label where no place is met.
    """
    hits = {kind: _hits(anchors, kind, boxes) for kind in ("heading", "line", "row", "column")}
    if len(hits["row"]) > 1 and hits["row"][0] == next(
        anchor.name for anchor in anchors if anchor.kind == "row"
    ):
        del hits["row"][0]  # the header row above the others
    if hits["row"] and hits["column"]:
        sheet = label.rpartition("!")[0]
        first = f"{hits['column'][0]}{hits['row'][0]}"
        last = f"{hits['column'][-1]}{hits['row'][-1]}"
        cells = first if first == last else f"{first}:{last}"
        return f"{sheet}!{cells}" if sheet else cells
    if lines := hits["line"] or hits["row"]:
        return _lines(lines[0], lines[-1])
    if hits["heading"]:
        return f'heading "{hits["heading"][0]}"'
    return label


def _lines(first: str, last: str) -> str:
    """Name a range of lines."""
    return f"line {first}" if first == last else f"lines {first}-{last}"


def lines_label(first: int, last: int) -> str:
    """Return the label of a page of lines, both counted from 1."""
    return _lines(str(first), str(last))


def _hits(anchors: Sequence[Anchor], kind: str, boxes: Iterable[Box]) -> list[str]:
    """Return the names of the places of a kind that hold the middle of a box, in the order of the page."""
    middles = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes]
    return [
        anchor.name
        for anchor in anchors
        if anchor.kind == kind
        and any(
            anchor.box[0] <= x <= anchor.box[2] and anchor.box[1] <= y <= anchor.box[3] for x, y in middles
        )
    ]
