"""Figures and tables of the coastal erosion paper, and the measures of its two columns."""

from __future__ import annotations

from statistics import mean

from reportlab.lib.colors import HexColor

from samples.page import (
    CORAL,
    GREY,
    INK,
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
from samples.paper_data import SOFT, TRANSECTS, YEARS, fitted, retreat, storm_hours, storm_rows, table_rows

LEFT, RIGHT, GUTTER = 52.0, 543.0, 22.0
COLUMN = (RIGHT - LEFT - GUTTER) / 2
SECOND = LEFT + COLUMN + GUTTER
TOP = 74.0
WATER = HexColor("#E3EEF1")


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
    sheet.shape(
        [(x, y), *((x + a, y + b) for a, b in shore), (x, y + height)], fill=SAND, stroke=GREY, line=0.9
    )
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
    sheet.text(x + 172, y + 159, "Marran Sound", 9.4, SERIF_ITALIC, TEAL)
    sheet.rule(x + 168, y + 190, x + 218, color=INK, line=1.4)
    sheet.text(x + 193, y + 185, "5 km", 7.8, SANS, INK, "center")
    sheet.shape([(x + 214, y + 14), (x + 219, y + 30), (x + 214, y + 26), (x + 209, y + 30)], fill=NAVY)
    sheet.text(x + 214, y + 40, "N", 8.4, "Helvetica-Bold", NAVY, "center")
    sheet.box(x, y, COLUMN, height, stroke=RULE, line=0.8)
    caption(
        sheet,
        x,
        y + height + 5,
        COLUMN,
        "<b>Figure 1.</b> The Marran coast and the six transects, M1 to M6. Land is sand-coloured; the sea "
        "wall at M5 was built in 1962.",
    )


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
    caption(
        sheet,
        x,
        bottom + 18,
        COLUMN,
        "<b>Figure 2.</b> Cumulative retreat in metres since the survey of autumn 1995 on the three soft "
        "transects. The dashed line marks 2014.",
    )


def draw_table(sheet: Sheet, x: float, y: float) -> None:
    """Table 1 over both columns."""
    caption(
        sheet,
        x,
        y - 4,
        RIGHT - LEFT,
        "<b>Table 1.</b> Retreat of the shoreline by transect, 1996 to 2023, in metres a year, and its "
        "correlation with the hours of waves above three metres.",
    )
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
    caption(
        sheet,
        x,
        bottom + 5,
        RIGHT - LEFT,
        "Twenty-eight yearly values a transect. Correlations above 0.37 differ from zero at the five per "
        "cent level.",
    )


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
        "<b>Table A1.</b> Storm hours from one autumn survey to the next and retreat of the shoreline in "
        "metres. The year is that of the later survey.",
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
    rows.append(
        ["Mean", f"{mean(hours):.0f}", *(f"{mean(series[transect.name]):.2f}" for transect in TRANSECTS)]
    )
    sheet.table(LEFT, y + 12, columns, rows, (len(rows) - 1,), 9.2, 21, None, NAVY, SERIF, SERIF_BOLD)


def draw_storms(sheet: Sheet, x: float, y: float) -> None:
    """Table 2 over one column."""
    caption(
        sheet,
        x,
        y - 4,
        COLUMN,
        "<b>Table 2.</b> The five stormiest years: storm hours and retreat in metres.",
    )
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
    sheet.rule(
        left + 15 * across,
        bottom - (base + slope * 65) * up,
        right,
        bottom - (base + slope * 350) * up,
        CORAL,
        1.2,
    )
    for hour, amount in zip(hours, series, strict=True):
        sheet.disc(left + (hour - 50) * across, bottom - amount * up, 2.6, TEAL, WHITE)
    sheet.canvas.restoreState()
    at = (left + (hours[YEARS.index(2014)] - 50) * across, bottom - series[YEARS.index(2014)] * up)
    sheet.text(at[0] - 6, at[1] - 5, "2014", 7.8, "Helvetica-Bold", NAVY, "right")
    sheet.rule(left, bottom, right, color=INK, line=0.8)
    sheet.text((left + right) / 2, bottom + 24, "Hours with waves above 3 m", 7.8, SANS, GREY, "center")
    caption(
        sheet,
        x,
        bottom + 32,
        COLUMN,
        "<b>Figure 3.</b> Retreat at M4, The Saltings, in metres a year against storm hours of the same "
        "year, with a straight line fitted by least squares.",
    )
