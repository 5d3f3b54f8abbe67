"""Read the labels of charts: which value is written at which category, by alignment.

Decisions taken here:

* Only values that are written are read; nothing is measured from bars, lines or axes.
* Upright bars: a row of categories below, values centred over them. Lying bars: categories in a
  column, one value at each bar's end, so that the values' x grows with the value (a column of a table
  does not). Slices and line ends: "Label 34%" in one run or value right under its label.
* Numbers in even steps at one edge are an axis, not values.
* Where each category has as many values as the legend has entries, they are matched in order, left to
  right; otherwise the series stays empty. Colours are not seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mmrag.answer.cells import CAPTION, NO_CELL, Cell, Table
from mmrag.answer.lines import Row, Run, is_number, is_period, line_boxes, make_rows
from mmrag.types import Box, Word

_MONTHS_AND_SIGNS = "jan feb mar apr may jun jul aug sep oct nov dec no nr pag par sec vol ver pp p"
_NOT_LABELS = frozenset(_MONTHS_AND_SIGNS.split())
_LABELLED = re.compile(
    r"^(?P<label>[^\W\d][^:]*?)[\s:,(\u2013-]+(?P<value>[$€£]?[-+]?\d[\d.,]*\s?(?:%|bn|m|k)?\)?)$"
)


@dataclass(frozen=True)
class ChartPoint:
    """A value that is written in a chart, and what it belongs to.

    Attributes:
        category: the label it stands at.
        series: the legend's entry; empty where there is one series or none can be told.
        value: the label's text, as it stands.
        category_words: the words of the category.
        value_words: the words of the value.
        series_words: the words of the legend's entry.
    """

    category: str
    series: str
    value: str
    category_words: tuple[Word, ...]
    value_words: tuple[Word, ...]
    series_words: tuple[Word, ...] = ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Boxes of the value and of its category."""
        return line_boxes(self.value_words) + line_boxes(self.category_words)


@dataclass(frozen=True)
class Chart:
    """Value labels of one chart.

    Attributes:
        title: caption or heading it stands under; filled in by the layout.
        points: in reading order of their categories.
        runs: what it is made of; empty where it was found as a table.
        units: the line under the title that says what is measured; filled in by the layout.
    """

    title: Cell
    points: tuple[ChartPoint, ...]
    runs: tuple[Run, ...]
    units: Cell = NO_CELL


def find_charts(runs: Sequence[Run], height: float) -> list[Chart]:
    """Charts among runs that belong to no table and no paragraph.

    Args:
        runs: short runs of the page.
        height: height of ordinary text in points.
    """
    rows = make_rows(runs)
    charts = _lying(rows, height)
    used = {id(run) for chart in charts for run in chart.runs}
    for number in range(len(rows) - 1, -1, -1):
        chart = _upright(rows, number, height, used)
        if chart is not None:
            charts.append(chart)
            used |= {id(run) for run in chart.runs}
    left = [run for run in runs if id(run) not in used]
    pie = _slices(left, height)
    if pie is not None:
        charts.append(pie)
    charts.sort(key=lambda chart: min(run.y0 for run in chart.runs))
    return charts


def _lying(rows: Sequence[Row], height: float) -> list[Chart]:
    """Lying bars: labels in one column, each with a value on its row that stands further right if larger."""
    pairs: list[tuple[Run, Run]] = []
    for row in rows:
        for label, value in pairwise(row):
            if _is_category(label) and is_number(value.text) and not is_period(value.text):
                pairs.append((label, value))
    charts: list[Chart] = []
    used: set[int] = set()
    for label, _ in pairs:
        mates = [
            pair
            for pair in pairs
            if id(pair[0]) not in used
            and min(abs(pair[0].x0 - label.x0), abs(pair[0].x1 - label.x1)) < 0.6 * height
        ]
        if len(mates) < 3:
            continue
        numbers = [parse_number(value.text) or 0.0 for _, value in mates]
        page = max(value.x1 for _, value in pairs)
        if not _grows([value.x0 / page for _, value in mates], numbers):
            continue
        points = [ChartPoint(a.text, "", b.text, a.words, b.words) for a, b in mates]
        runs = tuple(run for pair in mates for run in pair)
        used |= {id(run) for run in runs}
        charts.append(Chart(Cell(""), tuple(points), runs))
    return charts


def chart_of_table(table: Table) -> Chart | None:
    """A found "table" that is a chart of lying bars: one value a row whose x grows with the value."""
    pairs: list[tuple[float, float, ChartPoint]] = []
    for row in table.rows:
        filled = [cell for cell in row.cells if cell.text]
        if len(filled) != 1 or not is_number(filled[0].text) or any(stack for stack in table.columns):
            return None
        box = filled[0].box
        number = parse_number(filled[0].text)
        if box is None or number is None:
            return None
        point = ChartPoint(row.header.text, "", filled[0].text, row.header.words, filled[0].words)
        pairs.append((box[0], number, point))
    shares = all(point.value.endswith("%") for _, _, point in pairs) and not table.caption.text
    if len(pairs) < 3 or not (shares or _grows([p[0] for p in pairs], [p[1] for p in pairs])):
        return None
    return Chart(table.caption, tuple(p[2] for p in pairs), ())


def _grows(xs: Sequence[float], values: Sequence[float]) -> bool:
    """Whether x is nearly a straight rising function of the value (correlation above 0.9)."""
    n = len(xs)
    mx, mv = sum(xs) / n, sum(values) / n
    sxx = sum((x - mx) ** 2 for x in xs)
    svv = sum((v - mv) ** 2 for v in values)
    if sxx < 1e-4 or svv == 0:  # a standard deviation of a hundredth of the page: aligned, a table
        return False
    sxv = sum((x - mx) * (v - mv) for x, v in zip(xs, values, strict=True))
    return bool(sxv / (sxx * svv) ** 0.5 > 0.9)


def parse_number(text: str) -> float | None:
    """The figure in a text such as "$1,234.5", "(4.1)%" or "34 %"; None where there is none."""
    match = re.search(r"\d[\d,]*(?:\.\d+)?|\.\d+", text.replace("\u00a0", " "))
    if match is None:
        return None
    digits = match.group().replace(",", "")
    negative = bool(
        re.match(r"\s*(?:[-\u2212\u2013]|[$€£]\s*[-\u2212]|\([^)]*\d[^)]*\)?)", text[: match.end() + 1])
    )
    return -float(digits) if negative else float(digits)


def _upright(rows: Sequence[Row], number: int, height: float, used: set[int]) -> Chart | None:
    """Upright bars over the categories in one row."""
    row = [run for run in rows[number] if id(run) not in used]
    labels = [run for run in row if _is_category(run)]
    if len(labels) < 2 or len(labels) < 0.7 * len(row):
        return None
    centres = [run.centre for run in labels]
    step = min(b - a for a, b in pairwise(centres))
    if step < 1.5 * height:
        return None
    values = _values_over(rows[:number], labels, step, height, used)
    if not values:
        return None
    by_label: list[list[Run]] = [[] for _ in labels]
    for run in values:
        by_label[min(range(len(labels)), key=lambda n: abs(run.centre - centres[n]))].append(run)
    filled = sum(1 for group in by_label if group)
    if filled < 2 or filled < 0.6 * len(labels):
        return None
    counts = {len(group) for group in by_label if group}
    if max(counts) > 5 or (len(labels) == 2 and counts != {1}):
        return None
    off = [
        abs(group[0].centre - label.centre) for label, group in zip(labels, by_label, strict=True) if group
    ]
    if counts == {1} and sorted(off)[len(off) // 2] > max(0.2 * step, height):
        return None
    legend: list[Run] = []
    if len(counts) == 1 and next(iter(counts)) > 1:
        taken = {id(run) for run in [*labels, *values]} | used
        legend = _legend(rows, next(iter(counts)), taken, labels, height)
    points = []
    for label, group in zip(labels, by_label, strict=True):
        category = [label, *_second_line(rows, number, label, height)]
        words = tuple(word for run in category for word in run.words)
        text = " ".join(run.text for run in category)
        for place, run in enumerate(sorted(group, key=lambda run: run.x0)):
            entry = legend[place] if legend else None
            points.append(
                ChartPoint(
                    text,
                    entry.text if entry else "",
                    run.text,
                    words,
                    run.words,
                    entry.words if entry else (),
                )
            )
    return Chart(Cell(""), tuple(points), (*labels, *values, *legend))


def _is_category(run: Run) -> bool:
    if is_period(run.text):
        return True
    return any(c.isalpha() for c in run.text) and len(run.tokens) <= 4 and not is_number(run.text)


def _values_over(
    rows: Sequence[Row], labels: Sequence[Run], step: float, height: float, used: set[int]
) -> list[Run]:
    """Values over the categories, upwards until a line of text closes the chart."""
    left, right = labels[0].centre - 0.5 * step, labels[-1].centre + 0.5 * step
    found: list[Run] = []
    for row in reversed(rows):
        inside = [run for run in row if left <= run.centre <= right and id(run) not in used]
        if any(run.is_prose for run in inside):
            break
        if sum(1 for run in inside if _is_category(run)) >= 2 and found:
            break
        found.extend(run for run in inside if is_number(run.text) and not is_period(run.text))
    axis = _axis(found, height)
    return [run for run in found if id(run) not in axis]


def _axis(values: Sequence[Run], height: float) -> set[int]:
    """Ids of numbers that are the ticks of an axis: one right edge, even steps in y and in value."""
    ticks: set[int] = set()
    for run in values:
        column = sorted((o for o in values if abs(o.x1 - run.x1) < 0.3 * height), key=lambda o: o.middle)
        if len(column) < 4:
            continue
        steps = [b.middle - a.middle for a, b in pairwise(column)]
        numbers = [parse_number(o.text) or 0.0 for o in column]
        jumps = [a - b for a, b in pairwise(numbers)]
        even = max(steps) - min(steps) < 0.3 * height
        if even and max(jumps) - min(jumps) <= 0.02 * max(abs(jump) for jump in jumps):
            ticks |= {id(o) for o in column}
    return ticks


def _legend(
    rows: Sequence[Row], count: int, taken: set[int], labels: Sequence[Run], height: float
) -> list[Run]:
    """Exactly ``count`` short texts in one row, or stacked at one left edge, near the chart; else none."""
    free = [[run for run in row if id(run) not in taken and _is_category(run)] for row in rows]
    bottom = max(run.y1 for run in labels)
    near = [row for row in free if row and abs(row[0].middle - bottom) < 40 * height]
    for row in near:
        if len(row) == count:
            return row
    singles = [row[0] for row in near if len(row) == 1]
    for run in singles:
        column = [
            o
            for o in singles
            if abs(o.x0 - run.x0) < 0.5 * height and 0 <= o.y0 - run.y0 < 3 * count * height
        ]
        if len(column) == count:
            return column
    return []


def _second_line(rows: Sequence[Row], number: int, label: Run, height: float) -> list[Run]:
    """The second line of a category label, centred under the first."""
    if number + 1 >= len(rows):
        return []
    below = [run for run in rows[number + 1] if abs(run.centre - label.centre) < 0.8 * height]
    return [run for run in below if run.y0 - label.y1 < 0.5 * height and _is_category(run)][:1]


def _is_share(label: str, value: str, text: str) -> bool:
    """Whether "label value" can be a slice or a line's end: no caption, date, year or unit."""
    bare = value.rstrip(")")
    if CAPTION.match(text) or not is_number(bare) or is_period(bare):
        return False
    return label.split()[-1].rstrip(".").lower()[:3] not in _NOT_LABELS


def _slices(runs: Sequence[Run], height: float) -> Chart | None:
    """Labels that carry their value: "Europe 34%", or "34%" right under or over "Europe"."""
    points: list[ChartPoint] = []
    parts: list[Run] = []
    numbers = [run for run in runs if is_number(run.text) and not is_period(run.text)]
    for run in runs:
        match = _LABELLED.match(run.text)
        if match and len(run.tokens) <= 7 and _is_share(match["label"], match["value"], run.text):
            at = len(match["label"].split())
            points.append(
                ChartPoint(
                    match["label"].strip(),
                    "",
                    run.text[match.start("value") :],
                    run.words[:at],
                    run.words[at:],
                )
            )
            parts.append(run)
            continue
        if not _is_category(run):
            continue
        near = [
            o for o in numbers
            if abs(o.centre - run.centre) < max(height, 0.3 * (run.x1 - run.x0))
            and id(o) not in map(id, parts)
            and 0.6 * height < abs(o.middle - run.middle) < 1.7 * max(o.height, height)
        ]  # fmt: skip
        if near:
            nearest = min(near, key=lambda o: abs(o.middle - run.middle))
            points.append(ChartPoint(run.text, "", nearest.text, run.words, nearest.words))
            parts.extend((run, nearest))
    if len(points) < 2:
        return None
    return Chart(Cell(""), tuple(points), tuple(parts))
