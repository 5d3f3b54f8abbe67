"""Units: the smallest things that can answer a question, with what they say and where they stand.

A unit is a sentence, a cell of a table, a value of a chart or a field of a form. Its *own* stems are
what it says itself (for a cell: its row and column headers); its *context* is what stands over it
(caption, headings, the sentence before), each with the weight it counts with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath

from mmrag.answer.cells import CAPTION, Cell, Table, TableRow
from mmrag.answer.charts import Chart
from mmrag.answer.layout import Field, Layout, Paragraph, read_page, read_text
from mmrag.answer.lines import is_number, is_period, is_value, line_boxes
from mmrag.answer.words import content_stems, equals, has_number_word
from mmrag.types import Box, Candidate, Word

HEADING = 0.8
"""A term found in the caption or nearest heading counts this much: they speak of all that is under them."""
NEIGHBOUR = 0.6
"""In the sentence before: pronouns and "this" point there."""
TITLE = 0.6
"""In the page's title or the document's name."""
PAGE = 0.35
"""Anywhere on the page, or in another retrieved page of the document: the subject may be named once only."""

CHANGES = equals("chang") | {"chang"}
"""Stems that speak of a change between periods."""

_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DATE = re.compile(
    rf"(?i)\b(?:(?:{_MONTHS}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.?\s+\d{{1,4}}|\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?"
    rf"(?:{_MONTHS}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b|\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}|(?:1[5-9]|20)\d\d)\b|"
    rf"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b\d{{1,2}}(?::\d\d)?\s?[ap]\.?m\b|\b\d{{1,2}}:\d\d\b"
)
_MONEY = re.compile(r"(?i)(?:[$€£¥]|\b(?:usd|eur|gbp|chf|dollars?|euros?|pounds?|cents?)\b)")
_REASON = re.compile(
    r"\b(?i:because|due to|owing to|reasons?|caused?|causes|as a result|led to|thanks to)\b"
    r"|\b[Ss]ince(?! (?:\d|[A-Z]))\b"
)
_GLYPHS = re.compile(r"^(?:[•●▪■◦‣·∙○□➢►▶→✓✔*\u2013\u2014-])\s*")
_YEAR = re.compile(r"\b(?:1[5-9]|20)\d\d\b")
_NAME = re.compile(r"\b(?:[A-Z][\w.'\u2019-]*\s+){1,3}[A-Z][\w'\u2019-]+|\b[A-Z][a-z]+\b")


@dataclass(eq=False)
class Unit:
    """Something that can answer.

    Attributes:
        place: 0-based position of its candidate in the ranking.
        kind: ``"sentence"``, ``"table"``, ``"chart"`` or ``"field"``.
        text: what the answer says; its figures and sentences stand in the page exactly so.
        quote: words that stand there, exactly.
        parts: the words to box; each part (a sentence, a header, a cell) in reading order.
        own: stems that it says itself.
        context: stems of what stands round it, with their weights.
        says: the part whose type is looked at (the cell, the value, the whole sentence).
        title: caption or heading.
        precise: it is headed by its own stems (cells, values, fields): headers that the question does
            not have count against it.
        names: stems of its headers alone, for cells, values and fields.
        where: for a cell ``(table, row, column)`` by position on the page; else empty.
        source: the table, chart, paragraph or field it was made from.
    """

    place: int
    kind: str
    text: str
    quote: str
    parts: tuple[tuple[Word, ...], ...]
    own: frozenset[str]
    context: Mapping[str, float]
    says: str
    title: str = ""
    precise: bool = False
    names: frozenset[str] = frozenset()
    where: tuple[int, ...] = ()
    source: object = field(default=None, repr=False)
    role: str = ""

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """One box for each line of each part."""
        return boxes_of(self.parts)

    def fits(self, kind: str, known: frozenset[str]) -> bool | None:
        """Whether it holds an answer of this type, besides what the question already says.

        Returns:
            None where the type asks for nothing that can be seen (``"open"``, ``"reason"``...).
        """
        says = self.says
        fresh = [m for m in re.findall(r"\d[\d,.]*", says) if m.rstrip(".,").replace(",", "") not in known]
        if kind == "percent":
            header = f"{self.text} {self.title}".lower()
            return bool(fresh) and ("%" in header or "percent" in header or "share" in header)
        if kind == "money":
            return bool(fresh) and (bool(_MONEY.search(says)) or (self.precise and is_number(says)))
        if kind == "count":
            return bool(fresh) or has_number_word(says)
        if (
            kind == "number"
        ):  # a measure: "one" is more often an article ("one minute", "one of") than a figure
            return bool(fresh) or has_number_word(re.sub(r"(?i)\bone\b", "", says))
        if kind in {"year", "date"}:
            if self.role == "extreme":
                return True
            dates = _YEAR.findall(says) if kind == "year" else [m.group() for m in _DATE.finditer(says)]
            return any(date not in known for date in dates)
        if kind == "person":
            names = [m.group() for m in _NAME.finditer(says)]
            return any(any(s not in known for s in content_stems(name)) for name in names)
        if kind == "reason" and gives_reason(says):
            return True
        return None


def gives_reason(text: str) -> bool:
    """Whether a sentence has words that give a cause."""
    return bool(_REASON.search(text))


def boxes_of(parts: Sequence[tuple[Word, ...]]) -> tuple[Box, ...]:
    """One box for each line of each part; a part given twice is boxed once."""
    found: dict[Box, None] = {}
    for part in parts:
        found.update(dict.fromkeys(line_boxes(part)))
    return tuple(found)


def units_of(candidate: Candidate, place: int) -> tuple[list[Unit], Layout]:
    """All units of a candidate, and its layout."""
    page = candidate.page
    layout = read_page(page) if page is not None else read_text(candidate.record.text)
    if page is not None and not page.text.strip() and not page.words and candidate.record.text.strip():
        layout = read_text(candidate.record.text)
    units = list(_sentences(layout, place))
    for number, table in enumerate(layout.tables):
        heading = layout.table_headings[number] if number < len(layout.table_headings) else Cell("")
        units.extend(_cells(table, number, heading, layout.title, place))
    for number, chart in enumerate(layout.charts):
        heading = layout.chart_headings[number] if number < len(layout.chart_headings) else Cell("")
        units.extend(_points(chart, number, heading, layout.title, place))
    for number, one in enumerate(layout.fields):
        units.append(_field(one, number, layout.title, place))
    return units, layout


def document_name(candidate: Candidate) -> str:
    """The file's name without its suffix, as words; the record's id for a plain text."""
    name = candidate.page.source.name if candidate.page is not None else candidate.id
    return re.sub(r"[_\-.]+", " ", PurePath(name).stem)


def context_of(parts: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Stems of each text with the largest weight they are found with."""
    found: dict[str, float] = {}
    for text, weight in parts:
        for one in content_stems(text):
            found[one] = max(found.get(one, 0.0), weight)
    return found


def _sentences(layout: Layout, place: int) -> Iterator[Unit]:
    paragraphs = layout.paragraphs
    for number, paragraph in enumerate(paragraphs):
        if paragraph.kind == "heading":
            yield from _headed_list(paragraphs, number, place)
            continue
        over = [(h.text, HEADING if h is paragraph.headings[-1] else TITLE) for h in paragraph.headings]
        title = paragraph.headings[-1].text if paragraph.headings else ""
        for position, sentence in enumerate(paragraph.sentences):
            text = sentence.text.rstrip()
            if text.endswith("?") or len(text.split()) < 2:
                continue
            before = paragraph.sentences[position - 1].text if position else _lead_in(paragraphs, number)
            weight = HEADING if before.endswith(("?", ":")) else NEIGHBOUR
            context = context_of([*over, (before, weight)])
            items: tuple[Paragraph, ...] = _items_after(paragraphs, number) if text.endswith(":") else ()
            listed = tuple(s for item in items for s in item.sentences)
            yield Unit(
                place,
                "sentence",
                f"{text} {_enumerated(items)}" if items else text,
                " ".join([text, *(s.text for s in listed)]),
                (sentence.words, *(s.words for s in listed)),
                frozenset(content_stems(" ".join([text, *(s.text for s in listed)]))),
                context,
                CAPTION.sub("", text, count=1),
                title,
                source=paragraph,
                role="list" if listed else paragraph.kind,
            )


def _lead_in(paragraphs: Sequence[Paragraph], number: int) -> str:
    """The sentence that introduces a list, for its items."""
    if paragraphs[number].kind != "item":
        return ""
    for before in reversed(paragraphs[:number]):
        if before.kind != "item":
            text = before.sentences[-1].text if before.sentences else ""
            return text if text.endswith(":") else ""
    return ""


def _items_after(paragraphs: Sequence[Paragraph], number: int) -> tuple[Paragraph, ...]:
    items: list[Paragraph] = []
    for after in paragraphs[number + 1 :]:
        if after.kind != "item" or len(items) == 12:
            break
        items.append(after)
    return tuple(items)


def _enumerated(items: Sequence[Paragraph]) -> str:
    """Items without their bullets, parted by semicolons."""
    return "; ".join(_GLYPHS.sub("", " ".join(s.text for s in item.sentences)).rstrip(";,") for item in items)


def _headed_list(paragraphs: Sequence[Paragraph], number: int, place: int) -> Iterator[Unit]:
    """A heading with list items under it answers "what are the ...?" as a whole."""
    items = _items_after(paragraphs, number)
    if len(items) < 2:
        return
    heading = paragraphs[number].sentences[0]
    listed = tuple(s for item in items for s in item.sentences)
    text = _enumerated(items)
    own = frozenset(content_stems(heading.text))
    over = [(h.text, TITLE) for h in paragraphs[number].headings]
    yield Unit(
        place,
        "sentence",
        f"{heading.text}: {text}",
        " ".join([heading.text, *(s.text for s in listed)]),
        (heading.words, *(s.words for s in listed)),
        own | frozenset(content_stems(text)),
        context_of(over),
        text,
        heading.text,
        source=paragraphs[number],
        role="list",
    )


def header_path(row: TableRow) -> str:
    """Groups and header of a row, outermost first, joined by commas."""
    parts = [group.text.rstrip(":") for group in row.groups] + [row.header.text.rstrip(":")]
    return ", ".join(part for part in parts if part)


def row_texts(row: TableRow) -> tuple[Cell, ...]:
    """Short texts among a row's cells: they name the row too ("M4 | The Saltings | 1.53")."""
    return tuple(c for c in row.cells if c.text and not is_value(c.text) and len(c.text.split()) <= 6)


def _cells(table: Table, number: int, heading: Cell, page_title: Cell, place: int) -> Iterator[Unit]:
    over = [(table.caption.text, HEADING), (table.units.text, HEADING), (heading.text, HEADING)]
    context = context_of([*over, (page_title.text, TITLE), (table.corner.text, HEADING)])
    names = [table.column_name(n) for n in range(len(table.columns))]
    column_stems = [frozenset(content_stems(name)) for name in names]
    latest = _latest_period(names)
    for r, row in enumerate(table.rows):
        path = header_path(row)
        row_stems = frozenset(content_stems(path))
        quote = " ".join(t for t in (row.header.text, *(c.text for c in row.cells)) if t)
        for c, cell in enumerate(row.cells):
            if not cell.text or cell is row.header:
                continue
            texts = [other for other in row_texts(row) if other is not cell]
            named = frozenset(s for other in texts for s in content_stems(other.text))
            headed = row_stems | column_stems[c]
            # A cell of several words says something itself; a change is that of the latest period.
            told = len(cell.text.split()) >= 4 and not is_number(cell.text)
            says = frozenset(content_stems(cell.text)) if told else frozenset()
            lately = dict.fromkeys(latest if column_stems[c] & CHANGES else (), HEADING)
            yield Unit(
                place,
                "table",
                f"{', '.join(part for part in (path, names[c]) if part)}: {cell.text}",
                quote,
                (*(h.words for h in table.columns[c]), row.header.words, cell.words),
                headed | named | says,
                {**context, **lately},
                cell.text,
                table.caption.text or heading.text,
                precise=not told,
                names=headed,
                where=(number, r, c),
                source=table,
                role="total" if row.is_total else "",
            )


def _latest_period(names: Sequence[str]) -> tuple[str, ...]:
    """Stems of the latest year that heads a column."""
    years = sorted(year for name in names for year in _YEAR.findall(name))
    return (years[-1],) if years else ()


def units_after(cell: str, units: str) -> str:
    """The line of units in brackets, for a cell that is a bare figure."""
    if not units or not is_number(cell) or re.search(r"[%$€£a-zA-Z]", cell):
        return ""
    return f" ({units.strip('() .')})"


def _points(chart: Chart, number: int, heading: Cell, page_title: Cell, place: int) -> Iterator[Unit]:
    over = [(chart.title.text, HEADING), (chart.units.text, HEADING), (heading.text, HEADING)]
    context = context_of([*over, (page_title.text, TITLE)])
    for position, point in enumerate(chart.points):
        name = ", ".join(part for part in (point.series, point.category) if part)
        yield Unit(
            place,
            "chart",
            f"{name}: {point.value}",
            f"{point.category} {point.value}",
            (point.value_words, point.category_words, point.series_words),
            frozenset(content_stems(name)),
            context,
            point.value,
            chart.title.text or heading.text,
            precise=True,
            names=frozenset(content_stems(name)),
            where=(number, position),
            source=chart,
        )


def _field(one: Field, number: int, page_title: Cell, place: int) -> Unit:
    label = one.label.text.rstrip(": ")
    return Unit(
        place,
        "field",
        f"{label}: {one.value.text}",
        one.text,
        (one.label.words + one.value.words,),
        frozenset(content_stems(label)),
        {
            **context_of([(one.heading.text, HEADING), (page_title.text, TITLE)]),
            **dict.fromkeys(content_stems(one.value.text), NEIGHBOUR),
        },
        one.value.text,
        one.heading.text,
        precise=True,
        names=frozenset(content_stems(label)),
        where=(number,),
        source=one,
    )


def periods_of(table: Table) -> bool:
    """Whether the columns are named by periods ("2023 | 2024")."""
    last = [stack[-1].text for stack in table.columns if stack]
    return bool(last) and sum(is_period(text) for text in last) >= 0.5 * len(last)
