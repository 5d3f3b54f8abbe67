"""What stands on a page, from its words and their boxes alone.

`read_layout` puts the parts of this room together: text columns, tables, charts, form fields,
headings, captions and sentences. Nothing here knows of PDF: words of a text layer and of OCR are read
alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmrag.answer.cells import CAPTION, NO_CELL, Cell, Table, TableRow
from mmrag.answer.charts import Chart, ChartPoint, chart_of_table, find_charts
from mmrag.answer.fields import find_fields, split_label, stacked_fields
from mmrag.answer.lines import Row, Run, is_number, make_rows, make_runs, regions, text_height
from mmrag.answer.sentences import BULLET, Block, Sentence, make_blocks, split_sentences, split_text
from mmrag.answer.tables import find_tables
from mmrag.types import Page, Word

__all__ = [
    "Cell",
    "Chart",
    "ChartPoint",
    "Field",
    "Layout",
    "Paragraph",
    "Sentence",
    "Table",
    "TableRow",
    "read_layout",
    "read_page",
    "read_text",
]


_NUMBERED = re.compile(r"^(?:\d+(?:\.\d+)*\.?|[A-Z]\.|[IVX]+\.)\s+\S")


Heading = tuple[float, float, float, Cell]
"""Vertical centre, left and right edge in points, and the heading."""


@dataclass(frozen=True)
class Field:
    """A label and its value, as forms have them ("Policy number: 12-345")."""

    label: Cell
    value: Cell
    heading: Cell

    @property
    def text(self) -> str:
        """Label and value as they stand, joined by one space."""
        return f"{self.label.text} {self.value.text}"


@dataclass(frozen=True)
class Paragraph:
    """Sentences that stand together, and the headings over them.

    Attributes:
        kind: ``"text"``, ``"item"`` (of a list), ``"heading"`` or ``"caption"``.
        headings: the page's title first where it is another one, the nearest heading last.
    """

    kind: str
    sentences: tuple[Sentence, ...]
    headings: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Layout:
    """What stands on one page; each part in reading order.

    Attributes:
        title: the tallest heading of the page; empty where none stands out.
        headings: for each table and chart, by its position, the heading it stands under.
    """

    title: Cell = NO_CELL
    paragraphs: tuple[Paragraph, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    fields: tuple[Field, ...] = ()
    table_headings: tuple[Cell, ...] = ()
    chart_headings: tuple[Cell, ...] = ()


def read_page(page: Page) -> Layout:
    """Layout of a page; from its text alone where its words have no boxes."""
    layout = read_layout(page.words, page.size)
    if not layout.paragraphs and not layout.tables and not layout.fields and page.text.strip():
        return read_text(page.text)
    return layout


def read_text(text: str) -> Layout:
    """Layout of a text without boxes: paragraphs, headings by their look, and "Label: value" lines."""
    paragraphs: list[Paragraph] = []
    fields: list[Field] = []
    heading = Cell("")
    for sentences in split_text(text):
        whole = " ".join(sentence.text for sentence in sentences)
        line = whole.lstrip("# ").strip()
        pair = split_label(whole) if len(sentences) == 1 else None
        if pair is not None:
            fields.append(Field(Cell(pair[0]), Cell(pair[1]), heading))
            continue
        if len(sentences) == 1 and (whole.startswith("#") or _looks_like_heading(whole)):
            heading = Cell(line)
            paragraphs.append(Paragraph("heading", tuple(sentences)))
            continue
        kind = "item" if BULLET.match(whole.split()[0]) else "text"
        paragraphs.append(Paragraph(kind, tuple(sentences), (heading,) if heading.text else ()))
    return Layout(paragraphs=tuple(paragraphs), fields=tuple(fields))


def _looks_like_heading(text: str) -> bool:
    words = text.split()
    return len(words) <= 10 and text[-1:] not in ".,;:!?" and text[:1].isupper() and not is_number(words[-1])


def read_layout(words: Sequence[Word], size: tuple[float, float]) -> Layout:
    """Layout of a page.

    Args:
        words: words with boxes in 0..1, in any order.
        size: width and height of the page in points.

    Returns:
        The layout; an empty one for no words.
    """
    runs = make_runs(words, size)
    if not runs:
        return Layout()
    height = text_height(runs)
    builder = _Builder(height, size[1])
    for region in regions(runs):
        builder.add(region)
    return builder.finish()


class _Builder:
    """Collects the parts of a page region by region, in reading order."""

    def __init__(self, height: float, page_height: float) -> None:
        self.height = height
        self.page_height = page_height
        self.paragraphs: list[tuple[float, Paragraph]] = []
        self.tables: list[Table] = []
        self.charts: list[Chart] = []
        self.fields: list[Field] = []
        self.table_headings: list[Cell] = []
        self.chart_headings: list[Cell] = []
        self.title = Cell("")
        self.title_height = 1.15 * height
        self.heading = Cell("")

    def add(self, runs: Sequence[Run]) -> None:
        rows = make_rows(runs)
        stacked, rest = stacked_fields(rows, self.height)
        if stacked:
            rows = make_rows(rest)
        tables, rest = find_tables(rows, self.height)
        fields, rest = find_fields(make_rows(rest), self.height)
        fields = sorted([*stacked, *fields], key=lambda pair: (pair[2], pair[3]))
        blocks = make_blocks(rest)
        loose = [run for block in blocks for run in block.runs if _can_be_label(block, run)]
        charts = find_charts(loose, self.height)
        in_charts = {id(run) for chart in charts for run in chart.runs}
        headings: list[Heading] = [(float("-inf"), 0.0, float("inf"), self.heading)]
        texts: list[Block] = []
        tops = [y for _, _, y, _ in fields] + [
            b.runs[0].middle for b in blocks if BULLET.match(b.words[0].text)
        ]
        for number, block in enumerate(blocks):
            if all(id(run) in in_charts for run in block.runs):
                continue
            texts.append(block)
            if self._is_heading(block, blocks[number + 1 :], tops):
                cell = Cell(block.text, block.words)
                first = block.runs[0]
                headings.append((first.middle, first.x0, first.x1, cell))
                if block.height > self.title_height:
                    self.title, self.title_height = cell, block.height
        captions = [block for block in texts if CAPTION.match(block.text)]
        for block in texts:
            self._add_text(block, headings)
        for table in tables:
            self._add_table(table, headings, rows)
        for chart in charts:
            self._add_chart(chart, headings, captions, texts)
        for label, value, y, x in fields:
            self.fields.append(Field(label, value, _over(headings, y, *x)))
        self.heading = headings[-1][3]

    def _is_heading(self, block: Block, below: Sequence[Block], tops: Sequence[float]) -> bool:
        text = block.text
        words = text.split()
        if len(words) > 14 or len(block.runs) > 3 or text[-1:] in ".,;" or not any(c.isalpha() for c in text):
            return False
        if CAPTION.match(text) or (BULLET.match(words[0]) and not _NUMBERED.match(text)):
            return False
        if block.height > 1.15 * self.height:
            return True
        if not 0.06 * self.page_height < block.runs[0].middle < 0.94 * self.page_height:
            return False  # a running head
        caps = text.isupper() and len(text) > 5
        if caps and sum(word.isalpha() for word in words) >= 2:
            return True
        if len(block.runs) > 1 or is_number(words[-1]):
            return False
        if len(words) <= 9 and (caps or (_NUMBERED.match(text) and len(words) >= 2)):
            return True
        y = block.runs[0].middle
        if len(words) <= 8 and text[:1].isupper() and any(0 < top - y < 2.4 * self.height for top in tops):
            return True  # right over a form's field or a list
        following = next((b for b in below if b.runs[0].y0 > block.runs[0].middle), None)
        close = following is not None and following.runs[0].y0 - block.runs[0].y1 < 2 * self.height
        prose = following is not None and following.runs[0].is_prose and len(following.runs) > 1
        return len(words) <= 8 and text[:1].isupper() and close and prose

    def _add_text(self, block: Block, headings: Sequence[Heading]) -> None:
        y = block.runs[0].middle
        first = block.words[0].text
        own = any(heading[3].words == block.words for heading in headings)
        kind = "text"
        if own:
            kind = "heading"
        elif CAPTION.match(block.text):
            kind = "caption"
        elif BULLET.match(first):
            kind = "item"
        x0, x1 = min(run.x0 for run in block.runs), max(run.x1 for run in block.runs)
        over = _over([h for h in headings if h[3].words != block.words], y, x0, x1)
        sentences = [Sentence(block.text, block.words)] if own else split_sentences(block.words)
        self.paragraphs.append((y, Paragraph(kind, tuple(sentences), (over,) if over.text else ())))

    def _add_table(self, table: Table, headings: Sequence[Heading], rows: Sequence[Row]) -> None:
        heading = _over(headings, *_extent_of(table.words, rows))
        chart = chart_of_table(table)
        if chart is not None:
            self.charts.append(chart)
            self.chart_headings.append(heading)
        else:
            self.tables.append(table)
            self.table_headings.append(heading)

    def _add_chart(
        self, chart: Chart, headings: Sequence[Heading], captions: Sequence[Block], texts: Sequence[Block]
    ) -> None:
        top = min(run.y0 for run in chart.runs)
        bottom = max(run.y1 for run in chart.runs)
        title = chart.title
        near = [b for b in captions if -6 * self.height < b.runs[0].y0 - bottom < 8 * self.height]
        near += [b for b in captions if 0 <= top - b.runs[-1].y1 < 12 * self.height]
        x0, x1 = min(run.x0 for run in chart.runs), max(run.x1 for run in chart.runs)
        heading = _over(headings, top, x0, x1)
        if near:
            block = min(near, key=lambda b: min(abs(b.runs[0].y0 - bottom), abs(top - b.runs[-1].y1)))
            title = Cell(block.text, block.words)
            if not CAPTION.sub("", block.text).strip() and heading.text:  # "Chart 1", its title beside it
                title = Cell(f"{block.text} {heading.text}", block.words + heading.words)
        elif heading.text:
            title = heading
        measured = [
            b
            for b in texts
            if 0 < top - b.runs[-1].y1 < 5 * self.height
            and b.runs[0].x0 < x1
            and 2 <= len(b.words) <= 14
            and b.words not in (title.words, heading.words)
            and b.text[-1:] not in ".!?"
        ]
        units = Cell(measured[-1].text, measured[-1].words) if measured else Cell("")
        self.charts.append(Chart(title, chart.points, chart.runs, units))
        self.chart_headings.append(heading)

    def finish(self) -> Layout:
        title = self.title
        paragraphs = []
        for _, paragraph in self.paragraphs:
            headings = paragraph.headings
            if title.text and all(h.text != title.text for h in headings) and paragraph.sentences:
                headings = (title, *headings) if paragraph.sentences[0].text != title.text else headings
            paragraphs.append(Paragraph(paragraph.kind, paragraph.sentences, headings))
        return Layout(
            title,
            tuple(paragraphs),
            tuple(self.tables),
            tuple(self.charts),
            tuple(self.fields),
            tuple(self.table_headings),
            tuple(self.chart_headings),
        )


def _over(headings: Sequence[Heading], y: float, x0: float, x1: float) -> Cell:
    """The lowest heading above ``y`` that stands over ``x0..x1``; of those elsewhere only the inherited."""
    best = Cell("")
    best_y = float("-inf")
    for at, left, right, cell in headings:
        if best_y <= at < y and min(right, x1) > max(left, x0):
            best, best_y = cell, at
    return best


def _extent_of(words: Sequence[Word], rows: Sequence[Row]) -> tuple[float, float, float]:
    """Upper edge, left and right edge in points of the runs that hold the words."""
    wanted = {id(word) for word in words}
    runs = [run for row in rows for run in row if any(id(word) in wanted for word in run.words)]
    if not runs:
        return 0.0, 0.0, float("inf")
    return min(run.y0 for run in runs), min(run.x0 for run in runs), max(run.x1 for run in runs)


def _can_be_label(block: Block, run: Run) -> bool:
    return len(run.tokens) <= 7 and len(block.runs) <= 3 and run.text[-1:] not in ".;"
