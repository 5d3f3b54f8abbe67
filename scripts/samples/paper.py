"""A two-column paper on coastal erosion; its series are drawn from a seed, its table is computed from them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import correlation, mean, stdev

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Frame, Paragraph
from reportlab.platypus.flowables import Flowable

from samples.page import (
    A4,
    CORAL,
    GREY,
    INK,
    MIST,
    NAVY,
    RULE,
    SAND,
    SANS,
    SERIF,
    SERIF_BOLD,
    SERIF_ITALIC,
    TEAL,
    WHITE,
    Column,
    Sheet,
)
from samples.paper_text import REFERENCES, SECTIONS

NAME = "coastal-erosion-paper.pdf"
NOTE = "Sample document of the mmrag project. Authors, places, data and references are invented."
LEFT, RIGHT, GUTTER = 52.0, 543.0, 22.0
COLUMN = (RIGHT - LEFT - GUTTER) / 2
SECOND = LEFT + COLUMN + GUTTER
TOP, FOOT = 74.0, 786.0
YEARS = tuple(range(1996, 2024))
SOFT = ("M2", "M4", "M6")
WATER = HexColor("#E3EEF1")


@dataclass(frozen=True)
class Transect:
    """A surveyed line across the shore: name, place, material, typical retreat and its share by storms."""

    name: str
    place: str
    material: str
    level: float
    storms: float


TRANSECTS = (
    Transect("M1", "Kittle Head", "Sandstone", 0.08, 0.2),
    Transect("M2", "North Bay", "Glacial till", 0.94, 0.6),
    Transect("M3", "Marran Point", "Mudstone", 0.31, 0.4),
    Transect("M4", "The Saltings", "Dune sand", 1.42, 0.9),
    Transect("M5", "Cullen Wall", "Till, sea wall", 0.04, 0.0),
    Transect("M6", "South Bay", "Glacial till", 1.17, 0.6),
)


def storm_hours() -> list[int]:
    """Hours a year with waves above three metres; 2014 was the stormiest."""
    source = random.Random(1996)
    hours = [round(min(290, max(70, source.gauss(160, 52)))) for _ in YEARS]
    hours[YEARS.index(2014)] = 338
    return hours


def retreat() -> dict[str, list[float]]:
    """Metres of retreat by transect and year, never negative."""
    hours = storm_hours()
    typical = mean(hours)
    series = {}
    for number, transect in enumerate(TRANSECTS):
        source = random.Random(7 * number + 11)
        values = []
        for hour in hours:
            storm = 1 + transect.storms * 1.5 * (hour - typical) / typical
            values.append(round(max(0.0, transect.level * (storm + source.gauss(0, 0.36))), 2))
        series[transect.name] = values
    return series


def stormiest() -> list[int]:
    """The five years with most storm hours, stormiest first."""
    return sorted(YEARS, key=lambda year: -storm_hours()[YEARS.index(year)])[:5]


def storm_rows() -> list[list[str]]:
    """Table 2: year, storm hours and retreat on the soft transects."""
    series, hours = retreat(), storm_hours()
    places = [YEARS.index(year) for year in stormiest()]
    return [
        [str(YEARS[at]), str(hours[at]), *(f"{series[name][at]:.2f}" for name in SOFT)] for at in places
    ]


def table_rows() -> list[list[str]]:
    """Table 1: place, material, mean, standard deviation, largest year, correlation with storm hours."""
    series, hours = retreat(), storm_hours()
    rows = []
    for transect in TRANSECTS:
        values = series[transect.name]
        linked = correlation([float(hour) for hour in hours], values)
        rows.append(
            [
                transect.name,
                transect.place,
                transect.material,
                f"{mean(values):.2f}",
                f"{stdev(values):.2f}",
                f"{max(values):.2f}",
                f"{linked:.2f}".replace("-", "\u2013"),
            ]
        )
    return rows


def figures() -> dict[str, str]:
    """The numbers that the text quotes, all from the same series."""
    rows = {row[0]: row for row in table_rows()}
    series = retreat()
    soft = [f"{sum(series[name]):.1f}" for name in SOFT]
    stormy = YEARS.index(2014)
    total = sum(sum(series[name]) for name in SOFT)
    share = sum(series[name][stormy] for name in SOFT) / total
    five = sum(series[name][YEARS.index(year)] for name in SOFT for year in stormiest()) / total
    return {
        "m2_total": soft[0],
        "m4_total": soft[1],
        "m6_total": soft[2],
        "m4_mean": rows["M4"][3],
        "m1_mean": rows["M1"][3],
        "m4_linked": rows["M4"][6],
        "m5_linked": rows["M5"][6],
        "five_share": f"{five * 100:.0f}",
        "m6_stormy": f"{series['M6'][stormy]:.2f}",
        "share": f"{share * 100:.1f}",
        "hours": str(max(storm_hours())),
        "typical": f"{mean(storm_hours()):.0f}",
    }


BODY = ParagraphStyle(
    "body", fontName=SERIF, fontSize=10.2, leading=13.8, alignment=TA_JUSTIFY, textColor=INK, firstLineIndent=11
)
OPENING = ParagraphStyle("opening", parent=BODY, firstLineIndent=0)
SECTION = ParagraphStyle(
    "section", fontName=SERIF_BOLD, fontSize=11.2, leading=14, textColor=NAVY, spaceBefore=9, spaceAfter=3, keepWithNext=1
)
REFERENCE = ParagraphStyle(
    "reference", parent=BODY, fontSize=8.6, leading=11, firstLineIndent=-12, leftIndent=12, spaceAfter=2.5
)


def build() -> bytes:
    """The paper as a file."""
    sheet = Sheet(A4, "Twenty-eight years of retreat on the Marran coast", "L. Okonjo-Brandt, P. Whitelaw, S. Ferreira-Lund", "Journal of Invented Shores 12 (2024) 41-44")
    story = text()
    start = first_head(sheet)
    pages: Sequence[tuple[tuple[float, float], Callable[[], None]]] = (
        ((start, start + 250), lambda: draw_map(sheet, SECOND, start)),
        ((TOP + 222, TOP), lambda: draw_cumulative(sheet, LEFT, TOP)),
        ((TOP + 334, TOP + 452), lambda: draw_results(sheet)),
    )
    for number, (tops, drawing) in enumerate(pages):
        running(sheet, 41 + number, first=number == 0)
        drawing()
        for x, top in zip((LEFT, SECOND), tops, strict=True):
            flow(sheet, story, x, top)
        sheet.next_page()
    if story:
        raise ValueError(f"the paper must fit three pages and its appendix, {len(story)} blocks are left. Shorten it.")
    running(sheet, 44, first=False)
    draw_appendix(sheet)
    sheet.next_page()
    sheet.canvas.addPageLabel(0, "ARABIC", 41)
    return sheet.finish()


def flow(sheet: Sheet, story: list[Flowable], x: float, top: float) -> None:
    """Fill one column from the story, which shrinks; a heading never stands alone at its foot."""
    frame = Frame(x, sheet.height - FOOT, COLUMN, FOOT - top, 0, 0, 0, 0)
    while story:
        room = frame._y - frame._y1p
        if story[0].style is SECTION and room < 58:
            return
        if frame.add(story[0], sheet.canvas):
            story.pop(0)
            continue
        pieces = frame.split(story[0], sheet.canvas)
        if len(pieces) > 1:
            frame.add(pieces[0], sheet.canvas)
            story[0:1] = pieces[1:]
        return


def running(sheet: Sheet, number: int, first: bool) -> None:
    """Running head and foot."""
    if not first:
        sheet.text(LEFT, 48, "L. Okonjo-Brandt and others", 8.6, SERIF_ITALIC, GREY)
        sheet.text(RIGHT, 48, "Retreat on the Marran coast", 8.6, SERIF_ITALIC, GREY, "right")
        sheet.rule(LEFT, 55, RIGHT)
    sheet.text(LEFT, 812, NOTE, 6.8, color=GREY)
    sheet.text(RIGHT, 812, str(number), 9, SERIF_BOLD, NAVY, "right")


def first_head(sheet: Sheet) -> float:
    """Journal, title, authors, abstract; returns where the columns start."""
    value = figures()
    sheet.bookmark("Twenty-eight years of retreat on the Marran coast")
    sheet.text(LEFT, 48, "Journal of Invented Shores 12 (2024), 41\u201344", 8.6, SERIF_ITALIC, GREY)
    sheet.text(RIGHT, 48, "Received 12 January 2024, accepted 30 May 2024", 8.6, SERIF_ITALIC, GREY, "right")
    sheet.rule(LEFT, 55, RIGHT, color=NAVY, line=1.2)
    y = sheet.para(
        LEFT,
        74,
        RIGHT - LEFT,
        "Twenty-eight years of retreat on the Marran coast: what storm hours explain, and what they do not",
        19,
        23,
        SERIF_BOLD,
        NAVY,
    )
    sheet.text(LEFT, y + 20, "Lena Okonjo-Brandt, Peter Whitelaw and S\u00f3lveig Ferreira-Lund", 11, SERIF)
    sheet.text(LEFT, y + 34, "Department of Coastal Science, University of Aldersea", 9.4, SERIF_ITALIC, GREY)
    y += 48
    words = (
        "<b>Abstract.</b> We report yearly surveys of six transects on the Marran coast from 1996 to 2023. "
        f"Mean retreat ranges from {value['m1_mean']} m a year on sandstone to {value['m4_mean']} m a year on "
        "dune sand. Hours with waves above three metres explain much of the variation from year to year on soft "
        f"shores, little on rock and none behind the sea wall. The single year 2014 caused {value['share']} per "
        "cent of all retreat on the three soft transects. We find no lasting acceleration, but recovery after "
        "stormy years has become slower, and we discuss what this means for setback lines."
    )
    bottom = sheet.para(LEFT + 14, y + 8, RIGHT - LEFT - 28, words, 9.6, 12.8, SERIF, INK, "justify") + 8
    sheet.rule(LEFT, y, RIGHT)
    sheet.rule(LEFT, bottom, RIGHT)
    sheet.text(LEFT, bottom + 14, "Keywords: cliff retreat, storm waves, coastal setback, long-term survey", 8.8, SERIF_ITALIC, GREY)
    return bottom + 28


def text() -> list[Flowable]:
    """Sections and references in order."""
    value = figures()
    story: list[Flowable] = []
    for title, paragraphs in SECTIONS:
        story.append(Paragraph(title, SECTION))
        for number, words in enumerate(paragraphs):
            story.append(Paragraph(words.format(**value), BODY if number else OPENING))
    story.append(Paragraph("References", SECTION))
    story += [Paragraph(words, REFERENCE) for words in REFERENCES]
    return story


def caption(sheet: Sheet, x: float, y: float, width: float, words: str) -> None:
    """The words under a figure or over a table."""
    sheet.para(x, y, width, words, 8.6, 11, SERIF, INK)


def draw_map(sheet: Sheet, x: float, y: float) -> None:
    """Figure 1: the shore with its six transects."""
    height = 206.0
    sheet.box(x, y, COLUMN, height, fill=WATER)
    shore = (
        (96, 0), (104, 16), (126, 30), (118, 48), (92, 62), (84, 80), (98, 98), (136, 108), (142, 118),
        (112, 128), (88, 138), (80, 152), (94, 168), (90, 182), (80, 192), (74, height),
    )  # fmt: skip
    sheet.shape([(x, y), *((x + a, y + b) for a, b in shore), (x, y + height)], fill=SAND, stroke=GREY, line=0.9)
    for (name, place), (a, b) in zip(
        ((t.name, t.place) for t in TRANSECTS),
        ((122, 36), (87, 71), (140, 113), (84, 147), (93, 171), (79, 194)),
        strict=True,
    ):
        sheet.rule(x + a - 15, y + b, x + a + 15, color=CORAL, line=1.8)
        sheet.text(x + a + 19, y + b + 3, name, 8.6, "Helvetica-Bold", NAVY)
        sheet.text(x + a + 35, y + b + 3, place, 8, SANS, INK)
    sheet.text(x + 16, y + 96, "Aldersea", 8.6, SERIF_ITALIC, INK)
    sheet.disc(x + 12, y + 93, 2.2, INK)
    sheet.text(x + 164, y + 66, "Marran Sound", 9.4, SERIF_ITALIC, TEAL)
    sheet.rule(x + 168, y + 190, x + 218, color=INK, line=1.4)
    sheet.text(x + 193, y + 185, "5 km", 7.8, SANS, INK, "center")
    sheet.shape([(x + 214, y + 14), (x + 219, y + 30), (x + 214, y + 26), (x + 209, y + 30)], fill=NAVY)
    sheet.text(x + 214, y + 40, "N", 8.4, "Helvetica-Bold", NAVY, "center")
    sheet.box(x, y, COLUMN, height, stroke=RULE, line=0.8)
    caption(sheet, x, y + height + 5, COLUMN, "<b>Figure 1.</b> The Marran coast and the six transects, M1 to M6. Land is sand-coloured; the sea wall at M5 was built in 1962.")


def draw_cumulative(sheet: Sheet, x: float, y: float) -> None:
    """Figure 2: cumulative retreat of three transects."""
    series = retreat()
    height, left, right = 164.0, x + 24, x + COLUMN - 46
    top = y + 8
    highest = 50
    scale, step = height / highest, (right - left) / len(YEARS)
    bottom = top + height
    for tick in range(0, highest + 1, 10):
        sheet.rule(left, bottom - tick * scale, right, color=RULE, line=0.5)
        sheet.text(left - 5, bottom - tick * scale + 3, str(tick), 7.4, SANS, GREY, "right")
    for year in (2000, 2005, 2010, 2015, 2020):
        at = left + step * (YEARS.index(year) + 1)
        sheet.rule(at, bottom, at, bottom + 3, color=GREY)
        sheet.text(at, bottom + 12, str(year), 7.4, SANS, GREY, "center")
    stormy = left + step * (YEARS.index(2014) + 0.5)
    sheet.rule(stormy, top, stormy, bottom, color=GREY, line=0.6, dash=(2, 2))
    sheet.text(stormy - 4, top + 8, "2014", 7.4, SANS, GREY, "right")
    for name, color in (("M4", CORAL), ("M6", TEAL), ("M2", NAVY)):
        total, points = 0.0, [(left, bottom)]
        for number, amount in enumerate(series[name], 1):
            total += amount
            points.append((left + step * number, bottom - total * scale))
        sheet.shape(points, stroke=color, line=1.6, close=False)
        sheet.text(right + 5, points[-1][1] + 3, f"{name}  {total:.1f}", 8.2, "Helvetica-Bold", color)
    sheet.rule(left, bottom, right, color=INK, line=0.8)
    caption(sheet, x, bottom + 18, COLUMN, "<b>Figure 2.</b> Cumulative retreat in metres since the survey of autumn 1995 on the three soft transects. The dashed line marks 2014.")


def draw_table(sheet: Sheet, x: float, y: float) -> None:
    """Table 1 over both columns."""
    caption(sheet, x, y - 4, RIGHT - LEFT, "<b>Table 1.</b> Retreat of the shoreline by transect, 1996 to 2023, in metres a year, and its correlation with the hours of waves above three metres.")
    columns = [
        Column("Transect", 58, "left"),
        Column("Place", 96, "left"),
        Column("Material", 96, "left"),
        Column("Mean", 54),
        Column("Std. dev.", 60),
        Column("Largest year", 68),
        Column("Correlation", RIGHT - LEFT - 432),
    ]
    bottom = sheet.table(x, y + 22, columns, table_rows(), (), 9, 19, None, NAVY, SERIF, SERIF_BOLD)
    caption(sheet, x, bottom + 5, RIGHT - LEFT, "Twenty-eight yearly values a transect. Correlations above 0.37 differ from zero at the five per cent level.")


def draw_results(sheet: Sheet) -> None:
    """Table 1 over both columns; table 2 and figure 3 side by side below."""
    draw_table(sheet, LEFT, TOP)
    draw_storms(sheet, LEFT, TOP + 190)
    draw_scatter(sheet, SECOND, TOP + 186)


def draw_appendix(sheet: Sheet) -> None:
    """Table A1: every value of the series."""
    sheet.bookmark("Appendix")
    sheet.text(LEFT, TOP + 8, "Appendix: yearly values", 13, SERIF_BOLD, NAVY)
    y = sheet.para(
        LEFT,
        TOP + 16,
        RIGHT - LEFT,
        "<b>Table A1.</b> Storm hours from one autumn survey to the next and retreat of the shoreline in metres. "
        "The year is that of the later survey.",
        9.2,
        12,
        SERIF,
        INK,
    )
    columns = [Column("Year", 60, "left"), Column("Storm hours", 77)]
    columns += [Column(transect.name, (RIGHT - LEFT - 137) / len(TRANSECTS)) for transect in TRANSECTS]
    series, hours = retreat(), storm_hours()
    rows = [
        [str(year), str(hours[at]), *(f"{series[transect.name][at]:.2f}" for transect in TRANSECTS)]
        for at, year in enumerate(YEARS)
    ]
    rows.append(["Mean", f"{mean(hours):.0f}", *(f"{mean(series[transect.name]):.2f}" for transect in TRANSECTS)])
    sheet.table(LEFT, y + 12, columns, rows, (len(rows) - 1,), 9.2, 21, None, NAVY, SERIF, SERIF_BOLD)


def draw_storms(sheet: Sheet, x: float, y: float) -> None:
    """Table 2 over one column."""
    caption(sheet, x, y - 4, COLUMN, "<b>Table 2.</b> The five stormiest years: storm hours and retreat in metres.")
    columns = [Column("Year", 40, "left"), Column("Storm hours", 68)]
    columns += [Column(name, (COLUMN - 108) / 3) for name in SOFT]
    sheet.table(x, y + 24, columns, storm_rows(), (), 9, 18, None, NAVY, SERIF, SERIF_BOLD)


def draw_scatter(sheet: Sheet, x: float, y: float) -> None:
    """Figure 3: retreat against storm hours."""
    series, hours = retreat()["M4"], storm_hours()
    height, left, right = 168.0, x + 24, x + COLUMN - 6
    top = y + 10
    bottom = top + height
    across, up = (right - left) / 300, height / 5
    for tick in range(6):
        sheet.rule(left, bottom - tick * up, right, color=RULE, line=0.5)
        sheet.text(left - 5, bottom - tick * up + 3, str(tick), 7.4, SANS, GREY, "right")
    for tick in range(50, 351, 50):
        at = left + (tick - 50) * across
        sheet.text(at, bottom + 12, str(tick), 7.4, SANS, GREY, "center")
    slope, base = fitted(hours, series)
    sheet.canvas.saveState()
    sheet.rule(left + 15 * across, bottom - (base + slope * 65) * up, right, bottom - (base + slope * 350) * up, CORAL, 1.2)
    for hour, amount in zip(hours, series, strict=True):
        sheet.disc(left + (hour - 50) * across, bottom - amount * up, 2.6, TEAL, WHITE)
    sheet.canvas.restoreState()
    at = (left + (hours[YEARS.index(2014)] - 50) * across, bottom - series[YEARS.index(2014)] * up)
    sheet.text(at[0] - 6, at[1] - 5, "2014", 7.8, "Helvetica-Bold", NAVY, "right")
    sheet.rule(left, bottom, right, color=INK, line=0.8)
    sheet.text((left + right) / 2, bottom + 24, "Hours with waves above 3 m", 7.8, SANS, GREY, "center")
    caption(sheet, x, bottom + 32, COLUMN, "<b>Figure 3.</b> Retreat at M4, The Saltings, in metres a year against storm hours of the same year, with a straight line fitted by least squares.")


def fitted(hours: Sequence[int], series: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept by least squares."""
    middle, level = mean(hours), mean(series)
    above = sum((h - middle) * (s - level) for h, s in zip(hours, series, strict=True))
    slope = above / sum((h - middle) ** 2 for h in hours)
    return slope, level - slope * middle
