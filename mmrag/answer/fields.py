"""Fields of forms: labels with their values beside, behind or under them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from mmrag.answer.cells import CAPTION, Cell
from mmrag.answer.lines import Row, Run

_LABEL = re.compile(r"^[^\W\d_][^:?!]{0,48}$")


Pair = tuple[Cell, Cell, float, tuple[float, float]]
"""Label, value, vertical centre and horizontal extent in points."""


def split_label(text: str) -> tuple[str, str] | None:
    """Label with its colon, and value, of a line "Label: value"; None where it is none."""
    head, colon, tail = text.partition(":")
    if head.lower() in {"source", "sources", "note", "notes"}:
        return None
    if (
        not colon
        or CAPTION.match(text)
        or not tail.strip()
        or not tail[:1].isspace()
        or len(tail.split()) > 15
    ):
        return None
    if len(head.split()) > 6 or not _LABEL.match(head) or not head[:1].isupper():
        return None
    return head + ":", tail.strip()


def stacked_fields(rows: Sequence[Row], height: float) -> tuple[list[Pair], list[Run]]:
    """Rows of small labels with their values right under them, as boxed forms have them; and the rest."""
    found: list[Pair] = []
    used: set[int] = set()
    for labels, values in pairwise(rows):
        if any(id(run) in used for run in labels) or not all(_is_label(run) for run in labels):
            continue
        gap = min(run.y0 for run in values) - max(run.y1 for run in labels)
        small = max(run.height for run in labels) < 0.9 * min(run.height for run in values)
        if not small or gap > 0.9 * height or min(run.x0 for run in values) < labels[0].x0 - 0.6 * height:
            continue
        pairs = []
        for place, label in enumerate(labels):
            end = labels[place + 1].x0 if place + 1 < len(labels) else float("inf")
            under = [run for run in values if label.x0 - 0.6 * height <= run.x0 < end - 0.6 * height]
            if under and under[0].x0 - label.x0 < height:
                value = Cell(
                    " ".join(run.text for run in under), tuple(w for run in under for w in run.words)
                )
                pairs.append((_cell(label), value, label.middle, (label.x0, under[-1].x1), [label, *under]))
        if len(pairs) >= 2:
            found.extend(pair[:4] for pair in pairs)
            used |= {id(run) for pair in pairs for run in pair[4]}
    return found, [run for row in rows for run in row if id(run) not in used]


def find_fields(rows: Sequence[Row], height: float) -> tuple[list[Pair], list[Run]]:
    """Labels and values in one run, side by side, or value under label; and the other runs."""
    found: list[Pair] = []
    used: set[int] = set()
    aligned = _aligned_pairs(rows, height)
    for number, row in enumerate(rows):
        for place, run in enumerate(row):
            if id(run) in used:
                continue
            right = row[place + 1] if place + 1 < len(row) else None
            if (
                run.text.endswith(":")
                and len(run.tokens) <= 6
                and right is not None
                and len(right.tokens) <= 15
            ):
                found.append((_cell(run), _cell(right), run.middle, (run.x0, right.x1)))
                used |= {id(run), id(right)}
                continue
            pair = split_label(run.text)
            if pair is not None and not _goes_on(rows, number, run, height):
                at = len(pair[0].split())
                found.append(
                    (
                        Cell(pair[0], run.words[:at]),
                        Cell(pair[1], run.words[at:]),
                        run.middle,
                        (run.x0, run.x1),
                    )
                )
                used.add(id(run))
                continue
            if right is not None and id(run) in aligned:
                found.append((_cell(run), _cell(right), run.middle, (run.x0, right.x1)))
                used |= {id(run), id(right)}
                continue
            below = _value_below(rows, number, run, height)
            if below is not None and id(below) not in used:
                found.append((_cell(run), _cell(below), run.middle, (run.x0, run.x1)))
                used |= {id(run), id(below)}
    return found, [run for row in rows for run in row if id(run) not in used]


def _cell(run: Run) -> Cell:
    return Cell(run.text, run.words)


def _goes_on(rows: Sequence[Row], number: int, run: Run, height: float) -> bool:
    """Whether the line is the first of a paragraph ("Note: this text runs on over the next line")."""
    if number + 1 >= len(rows) or len(run.tokens) < 8:
        return False
    return any(
        o.text[:1].islower() and abs(o.x0 - run.x0) < 3 * height and o.y0 - run.y1 < height
        for o in rows[number + 1]
    )


def _aligned_pairs(rows: Sequence[Row], height: float) -> set[int]:
    """Ids of labels in three or more rows of two runs whose values start at one x."""
    pairs = [row for row in rows if len(row) == 2 and _is_label(row[0]) and len(row[1].tokens) <= 12]
    found: set[int] = set()
    for row in pairs:
        same = [
            o
            for o in pairs
            if abs(o[1].x0 - row[1].x0) < 0.6 * height and abs(o[0].x0 - row[0].x0) < 0.6 * height
        ]
        if len(same) >= 3:
            found |= {id(o[0]) for o in same}
    return found


def _is_label(run: Run) -> bool:
    return len(run.tokens) <= 6 and bool(_LABEL.match(run.text)) and run.text[:1].isupper()


def _value_below(rows: Sequence[Row], number: int, run: Run, height: float) -> Run | None:
    """The value right under a label that ends with a colon or is set smaller than its value."""
    if not (run.text.endswith(":") and len(run.tokens) <= 6) and not _is_label(run):
        return None
    for row in rows[number + 1 : number + 3]:
        for other in row:
            if (
                abs(other.x0 - run.x0) > 0.6 * height
                or other.y0 - run.y1 > 0.9 * height
                or other.y0 < run.middle
            ):
                continue
            small = run.height < 0.88 * other.height and run.height < 0.95 * height
            if (run.text.endswith(":") or small) and len(other.tokens) <= 10:
                return other
    return None
