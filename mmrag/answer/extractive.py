"""Answers without a server or a language model: what stands on the pages, quoted exactly.

Nothing is generated. A sentence is given as it stands; a figure of a table or chart as ``row, column:
cell`` in the page's own words; a form's field as ``label: value``. Where nothing answers, the answer says
so, and names what was missing and the page that came closest.

Limits: no arithmetic, no counting, no reasoning over several sentences; a superlative ("which was the
highest?") compares the figures of one column, row or chart and quotes the winner.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mmrag.answer.charts import Chart, parse_number
from mmrag.answer.layout import Paragraph
from mmrag.answer.lines import is_number, is_period
from mmrag.answer.question import Question, analyse
from mmrag.answer.scoring import ENOUGH, Encode, Pool, Scored
from mmrag.answer.tables import CAPTION, Table, TableRow
from mmrag.answer.units import (
    CHANGES,
    Unit,
    boxes_of,
    gives_reason,
    header_path,
    periods_of,
    row_texts,
    units_after,
    units_of,
)
from mmrag.answer.words import content_stems, equals
from mmrag.types import Answer, Box, Candidate, Citation, Query, Ranking, Usage

NOT_ANSWERED = "The documents do not answer this question."
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


class ExtractiveAnswerer:
    """Answers by quoting.

    Args:
        encode: ``encode(texts, side)`` gives one vector a text, ``side`` being ``"query"`` or
            ``"document"``; None works by words alone.
        candidates: how many of the ranking's first are read.

    Raises:
        ValueError: ``candidates`` is smaller than 1.
    """

    def __init__(self, encode: Encode | None = None, *, candidates: int = 5) -> None:
        if candidates < 1:
            raise ValueError(
                f"candidates must be at least 1, got {candidates}. 5 reads the first five pages."
            )
        self.encode = encode
        self.candidates = candidates

    def answer(self, query: Query, ranking: Ranking) -> Answer:
        """The answer that the ranking's pages hold.

        Args:
            query: its text is the question.
            ranking: pages or plain texts, best first.

        Returns:
            Sentences, cells, values or fields with their places, or an answer with ``abstained`` set
            that says why. Abstains where the query is an image alone or the ranking is empty.
        """
        started = time.perf_counter()
        answer = self._answer(query, ranking)
        seconds = {"extract": time.perf_counter() - started}
        return Answer(answer.text, answer.citations, ranking, answer.abstained, Usage(seconds))

    async def aanswer(self, query: Query, ranking: Ranking) -> Answer:
        """`answer` in a thread."""
        return await asyncio.to_thread(self.answer, query, ranking)

    def _answer(self, query: Query, ranking: Ranking) -> Answer:
        if not query.text or not query.text.strip():
            why = "It has no words: quoting needs a question in words."
            return Answer(f"{NOT_ANSWERED} {why}", (), ranking, abstained=True)
        looked = ranking.candidates[: self.candidates]
        pages = [units_of(candidate, place) for place, candidate in enumerate(looked)]
        pool = Pool(
            looked,
            _without_furniture([page[0] for page in pages], looked),
            [page[1] for page in pages],
            self.encode,
        )
        if not pool.units:
            why = (
                "No page with text was found."
                if not looked
                else f"{_name(looked[0])} came closest, but has no text."
            )
            return Answer(f"{NOT_ANSWERED} {why}", (), ranking, abstained=True)
        question = analyse(query.text)
        if question.parts:
            answer = self._parts(question, pool, ranking)
            if answer is not None:
                return answer
        scored = pool.score(question)
        found = _compose(question, scored, pool)
        if not found:
            return Answer(_why_not(question, scored, pool), (), ranking, abstained=True)
        return _write([found], ranking, pool)

    def _parts(self, question: Question, pool: Pool, ranking: Ranking) -> Answer | None:
        """Each part answered by itself; None where the question is better taken as one."""
        answered: list[list[Found]] = []
        unanswered: list[Question] = []
        taken: set[str] = set()
        for part in question.parts:
            scored = pool.score(part)
            if question.compares and taken:
                apart = [s for s in scored if _document_of(s.unit, pool) not in taken]
                rest = [s for s in scored if _document_of(s.unit, pool) in taken]
                scored = apart + rest if any(s.passes for s in apart) else scored
            found = _compose(part, scored, pool, one=True)
            if not found:
                unanswered.append(part)
                continue
            if question.compares:
                taken.add(_document_of(found[0].unit, pool))
            answered.append(found)
        if not answered or (question.compares and unanswered):
            return None
        if len(answered) == 2 and answered[0][0].unit is answered[1][0].unit:
            answered.pop()
        notes = [f'The documents do not answer "{part.text.strip()}".' for part in unanswered]
        return _write(answered, ranking, pool, notes)


def _without_furniture(pages: Sequence[list[Unit]], candidates: Sequence[Candidate]) -> list[list[Unit]]:
    """Leave out running heads and feet.

    They are lines at a page's edge that other pages of the document repeat, or short ones that end no
    sentence.
    """
    seen: dict[tuple[str, str], set[int]] = {}
    for units, candidate in zip(pages, candidates, strict=True):
        for unit in units:
            if candidate.page is not None:
                seen.setdefault((candidate.page.document_id, unit.text), set()).add(unit.place)
    kept = []
    for units, candidate in zip(pages, candidates, strict=True):
        document = candidate.page.document_id if candidate.page is not None else ""
        kept.append(
            [unit for unit in units if not _is_furniture(unit, len(seen.get((document, unit.text), ())))]
        )
    return kept


def _is_furniture(unit: Unit, pages: int) -> bool:
    if unit.kind != "sentence" or len(unit.text.split()) > 14 or not unit.boxes:
        return False
    edge = 0.12 if pages > 1 else 0.07
    if min(b[1] for b in unit.boxes) < 1 - edge and max(b[3] for b in unit.boxes) > edge:
        return False
    return pages > 1 or unit.text[-1:] not in ".!:"


def _document_of(unit: Unit, pool: Pool) -> str:
    candidate = pool.candidates[unit.place]
    return candidate.page.document_id if candidate.page is not None else candidate.id


def _compose(question: Question, scored: Sequence[Scored], pool: Pool, *, one: bool = False) -> list[Found]:
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


# ---- tables and charts ------------------------------------------------------------------------------


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


# ---- words ------------------------------------------------------------------------------------------


def _write(
    groups: Sequence[Sequence[Found]], ranking: Ranking, pool: Pool, notes: Sequence[str] = ()
) -> Answer:
    """Number the pieces and write the answer."""
    lines: list[str] = []
    citations: list[Citation] = []
    for group in groups:
        said = []
        for piece in group:
            number = len(citations) + 1
            candidate = pool.candidates[piece.unit.place]
            citations.append(
                Citation(
                    number,
                    candidate.id,
                    piece.quote,
                    piece.boxes if candidate.page is not None else (),
                    candidate.page,
                    candidate.score,
                    piece.unit.kind,
                    piece.unit.title,
                )
            )
            said.append(f"{piece.text} [{number}]")
        lines.append(" ".join(said))
    lines.extend(notes)
    return Answer("\n".join(lines), tuple(citations), ranking)


def _why_not(question: Question, scored: Sequence[Scored], pool: Pool) -> str:
    """That nothing answers, what was missed, and where it came closest."""
    best = scored[0]
    where = _name(pool.candidates[best.unit.place])
    lacking = [surface for surface in best.missing]
    if lacking:
        listed = ", ".join(f"“{surface}”" for surface in lacking)
        return f"{NOT_ANSWERED} {where} came closest, but has nothing on {listed}."
    if best.fits is False:
        asked = _ASKED.get(question.kind, "what was asked")
        return f"{NOT_ANSWERED} {where} came closest, but gives no {asked} for it."
    unit = best.unit
    unmet = [
        t.surface for t in question.terms if t.kind == "word" and not {t.stem, *equals(t.stem)} & _about(unit)
    ]
    if unmet:
        listed = ", ".join(f"“{surface}”" for surface in unmet[:4])
        return (
            f"{NOT_ANSWERED} {where} came closest, but no sentence, table or chart there speaks of {listed}."
        )
    return f"{NOT_ANSWERED} {where} came closest, but too little of the question is met there."


def _about(unit: Unit) -> frozenset[str]:
    return unit.own | frozenset(unit.context)


_ASKED = {
    "percent": "percentage",
    "money": "amount of money",
    "count": "number",
    "number": "figure",
    "year": "year",
    "date": "date",
    "person": "person",
}


def _name(candidate: Candidate) -> str:
    page = candidate.page
    if page is None:
        return f"The text “{candidate.id}”"
    return f"{page.source.name}, page {page.number + 1},"
