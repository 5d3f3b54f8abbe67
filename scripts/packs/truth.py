"""Questions with their truth, and the lines that an evaluation pack has them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from packs.book import Spot
from packs.drawing import Plate
from packs.figures import same
from packs.names import Kit


@dataclass(frozen=True)
class Query:
    """A question.

    Attributes:
        text: the words.
        answers: accepted strings, the first as printed; empty where nothing answers it.
        kind: "cell", "field", "computed" or "unanswerable".
        values: where the words or figures are that the answer is, or is computed from.
        blocks: around them: the row, the table, the field with its label.
        shape: "Str", "Int" or "Float".
        in_widget: the answer is the value of a field of the file's own form.
        naming: how the document is told where documents look alike: "named", "latest" or "unnamed".
    """

    text: str
    answers: tuple[str, ...] = ()
    kind: str = "cell"
    values: tuple[Spot, ...] = ()
    blocks: tuple[Spot, ...] = ()
    shape: str = "Str"
    in_widget: bool = False
    naming: str = ""


@dataclass
class Drawing:
    """A document as drawn: `sizes` are of its pages as seen; `scanned` is a kind of scan, or ""."""

    name: str
    data: bytes
    sizes: list[tuple[float, float]]
    queries: list[Query] = field(default_factory=list)
    kind: str = ""
    evidence: str = "Table"
    scanned: str = ""


def lines(drawings: Sequence[Drawing], pack: str) -> list[dict[str, Any]]:
    """The pack's ``queries.jsonl``."""
    found = []
    for drawing in drawings:
        for query in drawing.queries:
            found.append(_line(f"{pack}-{len(found) + 1:04d}", drawing, query, pack))
    return found


def _line(name: str, drawing: Drawing, query: Query, pack: str) -> dict[str, Any]:
    has_answer = query.kind != "unanswerable"
    naming = {"naming": query.naming} if query.naming else {}
    return {
        "id": name,
        "question": query.text,
        "answers": list(query.answers),
        "answer_format": query.shape if has_answer else "None",
        "answerable": has_answer,
        "kind": query.kind,
        "doc": drawing.name,
        "evidence_pages": sorted({spot.page for spot in query.values}),
        "evidence_types": [drawing.evidence] if has_answer else [],
        "evidence_boxes": [_box(spot, drawing) for spot in query.blocks],
        "value_boxes": [_box(spot, drawing) for spot in query.values],
        "image_only_evidence": bool(drawing.scanned) and has_answer,
        "value_in_widget": query.in_widget,
        "scan": drawing.scanned,
        "self_contained": True,
        "doc_type": drawing.kind,
        "source": f"mmrag drawn {pack}",
        "written_by": "templates",
        **naming,
    }


def _box(spot: Spot, drawing: Drawing) -> dict[str, Any]:
    size = [round(edge, 2) for edge in drawing.sizes[spot.page]]
    return {"page": spot.page, "page_size": size, "bbox": [round(edge, 1) for edge in spot.box]}


@dataclass(frozen=True)
class Wording:
    """How people ask about a table.

    Attributes:
        cell: templates with {row}, {col} and {who} for the value of a cell.
        who: what names the document.
        row_noun: what a row is: "district", "product".
        best: templates with {row_noun}, {col}, {most} and {who}.
        absent_rows: names of rows that the table might have and has not.
        absent_columns: the same of columns.
        unit: words that may follow a figure.
        high: the word for the largest.
        low: the word for the smallest.
        has_sums: adding up two rows makes sense.
        asks_holes: an empty cell leaves a question without answer; not so where a note says what it means.
    """

    cell: tuple[str, ...]
    who: str
    row_noun: str = "row"
    best: tuple[str, ...] = (
        "Which {row_noun} has the {most} {col} {who}?",
        "Where was {col} {most} {who}, by {row_noun}?",
        "Name the {row_noun} with the {most} {col} {who}.",
    )
    absent_rows: tuple[str, ...] = ()
    absent_columns: tuple[str, ...] = ()
    unit: str = ""
    high: str = "highest"
    low: str = "lowest"
    has_sums: bool = True
    asks_holes: bool = True


def ask_cells(kit: Kit, plate: Plate, wording: Wording, count: int) -> list[Query]:
    """Questions about single cells."""
    found = []
    choices = plate.grid.filled()
    for row, column in kit.rng.sample(choices, min(count, len(choices))):
        cell = plate.grid.rows[row].cells[column]
        if cell.tick is None:
            text = _say(kit, wording, plate, row, column)
            found.append(
                Query(
                    text,
                    _accepted(cell, wording),
                    "cell",
                    (plate.cells[row, column],),
                    (plate.rows[row],),
                    _shape(cell),
                )
            )
    return found


def _say(kit: Kit, wording: Wording, plate: Plate, row: int, column: int) -> str:
    template = kit.pick(wording.cell)
    text = template.format(
        row=plate.grid.row_words(row), col=plate.grid.column_words(column), who=wording.who
    )
    return text[0].upper() + text[1:]


def _accepted(cell, wording: Wording) -> tuple[str, ...]:
    text = cell.text.replace("\u00a0", " ")
    more = (f"{text} {wording.unit}",) if wording.unit and cell.value is not None else ()
    printed = () if cell.power else (text,)
    return tuple(dict.fromkeys((*printed, *cell.accepted, *more)))


def _shape(cell) -> str:
    return "Str" if cell.value is None else "Float" if cell.decimals else "Int"


def ask_missing(kit: Kit, plate: Plate, wording: Wording) -> Query:
    """A question that the table does not answer: a row or column that it lacks, or an empty cell."""
    grid = plate.grid
    row, column = kit.pick(grid.filled())
    names = {"row": grid.row_words(row), "col": grid.column_words(column)}
    holes = grid.holes() if wording.asks_holes else []
    ways = (
        ["row"] * bool(wording.absent_rows) + ["col"] * bool(wording.absent_columns) + ["hole"] * bool(holes)
    )
    way = kit.pick(ways)
    if way == "hole":
        row, column = kit.pick(holes)
        names = {"row": grid.row_words(row), "col": grid.column_words(column)}
    else:
        names[way] = kit.pick(wording.absent_rows if way == "row" else wording.absent_columns)
    text = kit.pick(wording.cell).format(**names, who=wording.who)
    return Query(text[0].upper() + text[1:], kind="unanswerable")


def ask_computed(kit: Kit, plate: Plate, wording: Wording) -> Query:
    """A question that the table answers only by comparing or adding up."""
    return kit.pick((_ask_best, _ask_best, _ask_sum, _ask_difference, _ask_larger))(kit, plate, wording)


def _column_of_figures(kit: Kit, plate: Plate) -> tuple[int, list[int]]:
    """A column and its rows that have a figure."""
    rows = plate.grid.rows
    choices = []
    for column in range(len(plate.grid.columns)):
        usable = [
            r for r, row in enumerate(rows) if row.role == "row" and row.cells[column].value is not None
        ]
        if len(usable) >= 3:
            choices.append((column, usable))
    return kit.pick(choices)


def _ask_best(kit: Kit, plate: Plate, wording: Wording) -> Query:
    column, usable = _column_of_figures(kit, plate)
    values = [plate.grid.rows[r].cells[column].value for r in usable]
    is_high = values.count(max(values)) == 1 and (kit.rng.random() < 0.6 or values.count(min(values)) > 1)
    row = usable[values.index(max(values) if is_high else min(values))]
    most = wording.high if is_high else wording.low
    if values.count(values[usable.index(row)]) > 1:  # a tie has no winner: ask of another column
        return _ask_best(kit, plate, wording)
    text = kit.pick(wording.best).format(
        row_noun=wording.row_noun, col=plate.grid.column_words(column), most=most, who=wording.who
    )
    spots = (plate.names[row], plate.cells[row, column])
    return Query(text[0].upper() + text[1:], _row_names(plate, row), "computed", spots, plate.parts)


def _two(kit: Kit, plate: Plate) -> tuple[int, int, int]:
    column, usable = _column_of_figures(kit, plate)
    first, second = kit.rng.sample(usable, 2)
    return column, first, second


def _figures(plate: Plate, column: int, *rows: int) -> tuple[list[float], int, tuple[Spot, ...]]:
    cells = [plate.grid.rows[r].cells[column] for r in rows]
    return (
        [c.value for c in cells],
        max(c.decimals for c in cells),
        tuple(plate.cells[r, column] for r in rows),
    )


def _ask_sum(kit: Kit, plate: Plate, wording: Wording) -> Query:
    if not wording.has_sums:
        return _ask_best(kit, plate, wording)
    column, first, second = _two(kit, plate)
    values, decimals, spots = _figures(plate, column, first, second)
    text = _compare(
        kit,
        plate,
        wording,
        (column, first, second),
        "What do {a} and {b} come to together for {col} in the table of {who}?",
        "In the table of {who}, add up {col} of {a} and {b}.",
        "How much is {col} for {a} and {b} combined, going by the table of {who}?",
    )
    return _number(plate, text, sum(values), decimals, spots)


def _ask_difference(kit: Kit, plate: Plate, wording: Wording) -> Query:
    column, first, second = _two(kit, plate)
    values, decimals, spots = _figures(plate, column, first, second)
    if values[0] == values[1]:
        return _ask_best(kit, plate, wording)
    text = _compare(
        kit,
        plate,
        wording,
        (column, first, second),
        "What is the difference in {col} between {a} and {b} in the table of {who}?",
        "By how much do {a} and {b} differ in {col} ({who})?",
    )
    return _number(plate, text, abs(values[0] - values[1]), decimals, spots)


def _ask_larger(kit: Kit, plate: Plate, wording: Wording) -> Query:
    column, first, second = _two(kit, plate)
    values, _, spots = _figures(plate, column, first, second)
    if values[0] == values[1]:
        return _ask_best(kit, plate, wording)
    text = _compare(
        kit,
        plate,
        wording,
        (column, first, second),
        "Which has the larger figure for {col} in the table of {who}, {a} or {b}?",
        "{a} or {b}: which is larger in {col} ({who})?",
    )
    return Query(
        text, _row_names(plate, first if values[0] > values[1] else second), "computed", spots, plate.parts
    )


def _compare(kit: Kit, plate: Plate, wording: Wording, cells: tuple[int, int, int], *templates: str) -> str:
    """A question about two rows of a column; rows that have only a number are called by what they are."""
    column, *rows = cells
    names = [plate.grid.row_words(row) for row in rows]
    first, second = (f"{wording.row_noun} {name}" if name.isdigit() else name for name in names)
    text = kit.pick(templates).format(a=first, b=second, col=plate.grid.column_words(column), who=wording.who)
    return text[0].upper() + text[1:]


def _row_names(plate: Plate, row: int) -> tuple[str, ...]:
    """What a row may be called in an answer; with its group where another has the same name."""
    line = plate.grid.rows[row]
    if sum(other.name == line.name for other in plate.grid.rows) > 1:
        return (plate.grid.row_words(row), f"{line.name}, {line.group}", f"{line.group} {line.name}")
    return tuple(dict.fromkeys((line.name, plate.grid.row_words(row))))


def _number(plate: Plate, text: str, value: float, decimals: int, spots: tuple[Spot, ...]) -> Query:
    answers = same(plate.grid.hand.write(value, decimals), value, decimals)
    return Query(text, answers, "computed", spots, plate.parts, "Float" if decimals else "Int")
