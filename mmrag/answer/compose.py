"""From scored units to the pieces of an answer: a sentence, a cell, a row, a column, a chart's value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmrag.answer.cells import CAPTION, Table, TableRow
from mmrag.answer.charts import Chart, parse_number
from mmrag.answer.layout import Paragraph
from mmrag.answer.lines import is_number, is_period
from mmrag.answer.question import Question
from mmrag.answer.scoring import ENOUGH, Pool, Scored
from mmrag.answer.units import (
    CHANGES,
    Unit,
    boxes_of,
    gives_reason,
    header_path,
    periods_of,
    row_texts,
    units_after,
)
from mmrag.answer.words import content_stems, equals
from mmrag.types import Box

MOST_CELLS = 6
"""Cells given where a row or a column answers as a whole."""


@dataclass(frozen=True)
class Found:
    """A piece of an answer before it has a number."""

    text: str
    unit: Unit
    quote: str
    boxes: tuple[Box, ...]
    score: float


def compose(question: Question, scored: Sequence[Scored], pool: Pool, *, one: bool = False) -> list[Found]:
    """The pieces that answer, best first; none where nothing passes."""
    if question.superlative:
        extreme = _extreme(question, scored)
        if extreme is not None:
            return [extreme]
    passing = [item for item in scored if item.passes]
    if not passing:
        return []
    best = passing[0]
    if best.unit.kind == "table":
        return [_table_answer(best, passing, question)]
    if best.unit.kind == "chart":
        return [_chart_answer(best, passing, question)]
    found = [_found(best)]
    if question.kind == "reason" and best.unit.kind == "sentence":
        cause = _cause(best, scored)
        if cause is not None:
            return [*found, _found(cause)]
    if best.unit.kind == "sentence" and not one:
        second = _second(best, passing, question, pool)
        if second is not None:
            found.append(_found(second))
    return found


def _found(item: Scored) -> Found:
    return Found(_readable(item.unit), item.unit, item.unit.quote, item.unit.boxes, item.score)


def _readable(unit: Unit) -> str:
    """The text with words put together that a line's end had parted, and bullets dropped."""
    text = (
        re.sub(r"(?<=[a-z]{2})[-\u00ad] (?=[a-z]{2})", "", unit.text)
        if unit.kind == "sentence"
        else unit.text
    )
    return re.sub(r"^(?:[•●▪■◦‣·∙○□➢►▶→✓✔*\u2013\u2014-])\s*", "", " ".join(text.split()))


def _cause(best: Scored, scored: Sequence[Scored]) -> Scored | None:
    """The sentence right after one that gives no cause itself, where it gives one."""
    if gives_reason(best.unit.text) or not isinstance(best.unit.source, Paragraph):
        return None
    texts = [sentence.text.rstrip() for sentence in best.unit.source.sentences]
    position = texts.index(best.unit.text) if best.unit.text in texts else len(texts)
    following = texts[position + 1] if position + 1 < len(texts) else ""
    if not gives_reason(following):
        return None
    return next((s for s in scored if s.unit.source is best.unit.source and s.unit.text == following), None)


def _second(best: Scored, passing: Sequence[Scored], question: Question, pool: Pool) -> Scored | None:
    """Another sentence that meets at least a sixth of the question which the best one does not."""
    weights = pool.weights(question)
    lacking = {stem for stem in weights if stem not in best.unit.own}
    for item in passing[1:6]:
        if (
            item.unit.kind != "sentence"
            or set(item.unit.parts) & set(best.unit.parts)
            or item.score < 0.85 * best.score
        ):
            continue
        if sum(weights[stem] for stem in lacking if stem in item.unit.own) >= 1 / 6:
            return item
    return None


def _same_source(one: Unit, other: Unit) -> bool:
    """Whether both are of one table or chart."""
    return one.kind == other.kind and one.source is other.source


def _table_answer(best: Scored, passing: Sequence[Scored], question: Question) -> Found:
    """One cell; or the row, where the question does not choose among its columns; or the column."""
    table = best.unit.source
    assert isinstance(table, Table)  # units of kind "table" are made from tables only
    _, r, c = best.unit.where
    ties = [
        item
        for item in passing
        if _same_source(item.unit, best.unit) and abs(item.support - best.support) < 0.02 * best.support
    ]
    known = frozenset(term.stem for term in question.terms)
    row_named = known & frozenset(content_stems(header_path(table.rows[r])))
    by = bool(question.by) and question.by in content_stems(f"{table.corner.text} {table.caption.text}")
    if by and not row_named - frozenset(content_stems(best.unit.title)):
        rows = [n for n, row in enumerate(table.rows) if row.cells[c].text]
        return _cells_found(best, question, [(n, c) for n in rows[: 2 * MOST_CELLS]])
    full = [n for n, cell in enumerate(table.rows[r].cells) if cell.text]
    share = question.kind == "percent" and "%" in table.rows[r].cells[c].text
    if (
        known & CHANGES
        and not share
        and periods_of(table)
        and len(full) <= MOST_CELLS
        and not _period_asked(table, known)
    ):
        return _cells_found(best, question, [(r, n) for n in full])
    row_ties = sorted(item.unit.where[2] for item in ties if item.unit.where[1] == r)
    if len(row_ties) > 1 and not _chosen(table, c, [i for i in ties if i.unit.where[1] == r]):
        return _cells_found(best, question, [(r, n) for n in row_ties[:MOST_CELLS]])
    column_ties = sorted(i.unit.where[1] for i in ties if i.unit.where[2] == c and i.unit.role != "total")
    if len(column_ties) > 1 and not row_named and best.unit.role != "total":
        return _cells_found(best, question, [(n, c) for n in column_ties[:MOST_CELLS]])
    return _cells_found(best, question, [(r, c)])


def _period_asked(table: Table, known: frozenset[str]) -> bool:
    """Whether the question chooses one of the columns' periods."""
    return any(
        known & frozenset(content_stems(s[-1].text)) for s in table.columns if s and is_period(s[-1].text)
    )


def _chosen(table: Table, column: int, ties: Sequence[Scored]) -> bool:
    """Whether one column fits better by having fewer words that the question lacks."""
    if periods_of(table):
        return False
    precisions = sorted((item.precision for item in ties), reverse=True)
    own = next((item.precision for item in ties if item.unit.where[2] == column), 0.0)
    return own == precisions[0] and precisions[0] > precisions[1] + 0.05


def _cells_found(best: Scored, question: Question, cells: Sequence[tuple[int, int]]) -> Found:
    """Cells of one row or of one column, named by what they share, then by what parts them."""
    table = best.unit.source
    assert isinstance(table, Table)
    rows = sorted({r for r, _ in cells})
    columns = sorted({c for _, c in cells})
    known = frozenset(term.stem for term in question.terms)
    paths = [_row_name(table.rows[r], known) for r in rows]
    names = [table.column_name(c) for c in columns]
    shared = [_subject(table.caption.text, question, best.unit)]
    shared += [paths[0]] if len(rows) == 1 else []
    shared += [names[0]] if len(columns) == 1 else []
    head = ", ".join(part for part in shared if part)
    figures = [table.rows[r].cells[c].text for r, c in cells]
    if len(cells) == 1:
        said = figures[0]
    else:
        labels = [paths[rows.index(r)] if len(rows) > 1 else names[columns.index(c)] for r, c in cells]
        said = "; ".join(
            f"{label}: {one}" if label else one for label, one in zip(labels, figures, strict=True)
        )
    bare = next(
        (units_after(one, table.units.text) for one in figures if units_after(one, table.units.text)), ""
    )
    joint = ": " if len(cells) == 1 else " \u2013 "
    parts = [h.words for c in columns for h in table.columns[c]]
    parts += [table.rows[r].header.words for r in rows]
    parts += [table.rows[r].cells[c].words for r, c in cells]
    quotes = [
        " ".join(t for t in (table.rows[r].header.text, *(k.text for k in table.rows[r].cells)) if t)
        for r in rows
    ]
    return Found(
        f"{head}{joint if head else ''}{said}{bare}",
        best.unit,
        "\n".join(quotes),
        boxes_of(parts),
        best.score,
    )


def _row_name(row: TableRow, known: frozenset[str]) -> str:
    """The row's header, with a text of the row that the question names or a bare number leaves open."""
    path = header_path(row)
    texts = [cell.text for cell in row_texts(row) if cell is not row.header]
    named = [
        text for text in texts if known & frozenset(content_stems(text)) - frozenset(content_stems(path))
    ]
    if not named and texts and (not path or is_number(path)):
        named = texts[:1]
    return ", ".join(part for part in (path, *named[:1]) if part)


def _subject(title: str, question: Question, unit: Unit) -> str:
    """The title without its number, where it says what the figures are and the headers do not."""
    bare = CAPTION.sub("", title, count=1).strip(" .:")
    if not bare or len(bare.split()) > 12:
        return ""
    stems = frozenset(content_stems(bare))
    lacking = [t for t in question.terms if t.kind != "light" and not ({t.stem, *equals(t.stem)} & unit.own)]
    return bare if any({t.stem, *equals(t.stem)} & stems for t in lacking) else ""


def _chart_answer(best: Scored, passing: Sequence[Scored], question: Question) -> Found:
    """One value; or those that the question does not choose among, as all series of one category."""
    chart = best.unit.source
    assert isinstance(chart, Chart)  # units of kind "chart" are made from charts only
    ties = [
        item
        for item in passing
        if _same_source(item.unit, best.unit)
        and abs(item.support - best.support) < 1e-9
        and abs(item.precision - best.precision) < 1e-9
    ]
    ties = sorted(ties, key=lambda item: item.unit.where)[:MOST_CELLS]
    parts = [part for item in ties for part in item.unit.parts]
    quote = "\n".join(item.unit.quote for item in ties)
    subject = _subject(best.unit.title, question, best.unit)
    said = "; ".join(item.unit.text for item in ties) + units_after(best.unit.says, chart.units.text)
    joint = " \u2013 " if len(ties) > 1 else ", "
    return Found(
        f"{subject}{joint}{said}" if subject else said, best.unit, quote, boxes_of(parts), best.score
    )


def _extreme(question: Question, scored: Sequence[Scored]) -> Found | None:
    """The largest or smallest figure of the column, row or chart that the question is about."""
    known = frozenset(term.stem for term in question.terms)
    if known & CHANGES:  # "grew fastest": the column of changes, where there is one
        scored = sorted(scored, key=lambda s: not (s.unit.kind == "table" and s.unit.names & CHANGES))
    for item in scored[:40]:
        if item.missing or item.unit.kind not in {"table", "chart"} or item.support < 0.8 * ENOUGH:
            continue
        line = _line(item, question, scored)
        figures = [(parse_number(other.unit.says), other) for other in line]
        counted = [(number, other) for number, other in figures if number is not None]
        if len(counted) < 2:
            continue
        pick = max if question.superlative == "max" else min
        number, winner = pick(counted, key=lambda pair: pair[0])
        if sum(1 for other, _ in counted if other == number) > 1:
            continue
        word = "highest" if question.superlative == "max" else "lowest"
        source = winner.unit.source
        units = source.units.text if isinstance(source, Table | Chart) else ""
        text = f"{winner.unit.text}{units_after(winner.unit.says, units)}, the {word} of {len(counted)}"
        if winner.unit.title:
            text += f" in “{winner.unit.title}”"
        return Found(text, winner.unit, winner.unit.quote, winner.unit.boxes, winner.score)
    return None


def _line(item: Scored, question: Question, scored: Sequence[Scored]) -> list[Scored]:
    """The figures to compare: of one row where the question names the row, else of one column."""
    unit = item.unit
    mates = [other for other in scored if _same_source(other.unit, unit)]
    if unit.kind == "chart":
        return mates
    table = unit.source
    assert isinstance(table, Table)
    known = frozenset(term.stem for term in question.terms if term.kind != "light")
    _, r, c = unit.where
    row_named = bool(known & frozenset(content_stems(table.rows[r].header.text)))
    column_named = bool(known & frozenset(content_stems(table.column_name(c))))
    if row_named and not column_named:
        return [other for other in mates if other.unit.where[1] == r]
    return [other for other in mates if other.unit.where[2] == c and other.unit.role != "total"]
