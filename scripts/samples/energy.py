"""Energy outlook of the Sundmark Isles: charts whose values stand in the charts only."""

from __future__ import annotations

from math import cos, pi, sin

from reportlab.lib.colors import HexColor

from samples.page import (
    A4,
    BOLD,
    CORAL,
    GREY,
    INK,
    ITALIC,
    MIST,
    NAVY,
    PALE,
    RULE,
    SAND,
    TEAL,
    WHITE,
    Sheet,
)

NAME = "energy-outlook-charts.pdf"
GOLD = HexColor("#D9A441")
MOSS = HexColor("#6F8F5B")
SLATE = HexColor("#8A97A3")

# Gigawatt hours sent to the grid in 2024; the stacked chart's last column is the same in terawatt hours.
BY_SOURCE = {
    "Offshore wind": (4180, TEAL),
    "Hydro": (3260, NAVY),
    "Natural gas": (2740, SLATE),
    "Onshore wind": (1950, TEAL),
    "Solar": (1120, GOLD),
    "Biomass": (430, MOSS),
}
MIX_YEARS = (2020, 2021, 2022, 2023, 2024)
MIX = {
    "Natural gas": ((5.31, 4.92, 4.07, 3.38, 2.74), SLATE),
    "Hydro": ((3.12, 3.35, 2.98, 3.19, 3.26), NAVY),
    "Wind": ((3.04, 3.51, 4.66, 5.42, 6.13), TEAL),
    "Solar": ((0.41, 0.55, 0.72, 0.94, 1.12), GOLD),
    "Biomass": ((0.44, 0.45, 0.42, 0.44, 0.43), MOSS),
}
PRICE_YEARS = tuple(range(2015, 2025))
PRICES = {
    "Households": ((17.9, 18.2, 18.8, 19.4, 20.1, 20.3, 22.6, 29.8, 27.1, 24.6), CORAL),
    "Small business": ((15.1, 15.2, 15.9, 16.3, 16.6, 16.4, 18.9, 25.7, 22.8, 20.3), TEAL),
    "Industry": ((9.8, 9.6, 10.1, 10.7, 10.9, 10.2, 13.4, 21.5, 16.9, 14.2), NAVY),
}
BY_SECTOR = {
    "Transport": (34, NAVY),
    "Homes": (27, TEAL),
    "Industry": (24, CORAL),
    "Services": (11, GOLD),
    "Farming and fishing": (4, MOSS),
}
STORAGE = {2023: 85, 2024: 140, 2025: 260, 2026: 410, 2027: 620, 2028: 850}

LEFT, RIGHT = 60.0, 535.0
WIDTH = RIGHT - LEFT
NOTE = "Sample document of the mmrag project. The Sundmark Isles and all figures are invented."


def build() -> bytes:
    """The outlook as a file."""
    sheet = Sheet(A4, "Energy Outlook 2025", "Sundmark Energy Observatory", "The year 2024 in charts")
    for page in (cover, sources, mix, prices, use):
        page(sheet)
        sheet.next_page()
    return sheet.finish()


def frame(sheet: Sheet, number: int, title: str, standfirst: str) -> float:
    """Running head, title, opening paragraph and foot; returns where the chart may start."""
    sheet.box(0, 0, sheet.width, 8, fill=TEAL)
    sheet.text(LEFT, 40, "ENERGY OUTLOOK 2025", 7.6, BOLD, TEAL, spacing=1.2)
    sheet.text(RIGHT, 40, "Sundmark Energy Observatory", 8, color=GREY, align="right")
    sheet.bookmark(title)
    y = sheet.para(LEFT, 66, WIDTH, title, 22, 27, BOLD, NAVY)
    y = sheet.para(LEFT, y + 8, WIDTH, standfirst, 10.5, 16)
    sheet.rule(LEFT, 800, RIGHT)
    sheet.text(LEFT, 814, NOTE, 6.8, color=GREY)
    sheet.text(RIGHT, 814, str(number), 9, BOLD, NAVY, "right")
    return y + 24


def chart_head(sheet: Sheet, y: float, number: int, title: str, unit: str) -> float:
    """A chart's number, title and unit; returns the top of the plot."""
    sheet.rule(LEFT, y, RIGHT, color=NAVY, line=1.4)
    sheet.text(LEFT, y + 20, f"Chart {number}", 9, BOLD, TEAL)
    sheet.text(LEFT + 46, y + 20, title, 12, BOLD, NAVY)
    sheet.text(LEFT + 46, y + 34, unit, 8.6, ITALIC, GREY)
    return y + 50


def source(sheet: Sheet, y: float, words: str) -> float:
    """The line under a chart."""
    sheet.text(LEFT, y, f"Source: {words}", 7.6, color=GREY)
    return y + 26


def cover(sheet: Sheet) -> None:
    """Turbines over hills."""
    sheet.box(0, 0, sheet.width, sheet.height, fill=PALE)
    sheet.disc(430, 330, 86, SAND)
    for x, base, tall, turn in (
        (150, 610, 150, 0.4),
        (300, 590, 210, 1.1),
        (420, 616, 130, 0.1),
        (520, 604, 170, 0.8),
    ):
        _turbine(sheet, x, base, tall, turn)
    for number, shade in enumerate((MIST, HexColor("#8FB8BF"), TEAL, NAVY)):
        top = 590 + number * 52
        ridge = [
            (x, top + 26 * sin(x / 120 + number * 1.9) + 9 * sin(x / 47 + number)) for x in range(0, 600, 5)
        ]
        sheet.shape([(0, 842), *ridge, (600, 842)], fill=shade)
    sheet.text(LEFT, 104, "SUNDMARK ENERGY OBSERVATORY", 9.5, BOLD, TEAL, spacing=1.8)
    sheet.text(LEFT, 168, "Energy Outlook", 42, BOLD, NAVY)
    sheet.text(LEFT, 214, "2025", 42, BOLD, CORAL)
    sheet.para(
        LEFT,
        232,
        300,
        "The year 2024 in five charts: where power came from, what it cost and who used it.",
        13,
        19,
        color=GREY,
    )
    sheet.text(LEFT, 778, "March 2025", 11, BOLD, WHITE)
    sheet.text(LEFT, 814, NOTE, 6.8, color=MIST)
    sheet.bookmark("Cover")


def _turbine(sheet: Sheet, x: float, base: float, tall: float, turn: float) -> None:
    """A wind turbine."""
    hub = base - tall
    sheet.shape(
        [(x - 2, hub), (x + 2, hub), (x + 4, base + 60), (x - 4, base + 60)],
        fill=WHITE,
        stroke=MIST,
        line=0.8,
    )
    for blade in range(3):
        angle = turn + blade * 2 * pi / 3
        tip = (x + cos(angle) * tall * 0.46, hub + sin(angle) * tall * 0.46)
        side = (x + cos(angle + 0.16) * tall * 0.16, hub + sin(angle + 0.16) * tall * 0.16)
        sheet.shape([(x, hub), side, tip], fill=WHITE, stroke=MIST, line=0.8)
    sheet.disc(x, hub, 4, NAVY)


def sources(sheet: Sheet) -> None:
    """Bar chart with value labels."""
    y = frame(
        sheet,
        2,
        "Wind at sea overtook every other source",
        "For the first time, turbines at sea sent more electricity to the grid than any other single source. "
        "The second phase of the Grey Bank wind farm ran for a full year, and an unusually windy autumn did "
        "the rest. Gas plants were used mostly on still winter evenings.",
    )
    y = chart_head(
        sheet, y, 1, "Electricity generation by source, 2024", "Gigawatt hours (GWh) sent to the grid"
    )
    left, scale = LEFT + 92, 344 / 4500
    bottom = y + 46 * len(BY_SOURCE)
    for tick in range(0, 4501, 1000):
        x = left + tick * scale
        sheet.rule(x, y, x, bottom, color=RULE, line=0.5)
        sheet.text(x, bottom + 13, f"{tick:,}", 8, color=GREY, align="center")
    sheet.text(left + 172, bottom + 28, "GWh", 8, color=GREY, align="center")
    for number, (name, (value, color)) in enumerate(BY_SOURCE.items()):
        top = y + 46 * number + 9
        sheet.text(left - 8, top + 18, name, 10, color=INK, align="right")
        sheet.box(left, top, value * scale, 28, fill=color)
        sheet.text(left + value * scale + 7, top + 18, f"{value:,}", 10.5, BOLD, NAVY)
    sheet.rule(left, y, left, bottom, color=NAVY, line=1)
    y = source(
        sheet, bottom + 48, "Sundmark Energy Observatory, metering data of the grid operator, January 2025."
    )
    _columns(
        sheet,
        y + 6,
        "What changed",
        "Rain in spring filled the northern reservoirs, so hydro had a good year without new dams. Solar "
        "grew on roofs rather than in fields: nine of ten new panels were put up by households and farms. "
        "Onshore wind stood still, because no permit has been granted since the spring of 2022.",
        "What to watch",
        "The oldest gas plant, at Kelmouth, is to close in 2026. Until the second cable to the mainland is "
        "ready, its reserve has to be replaced by storage, which is the subject of chart 5.",
    )


def _columns(sheet: Sheet, y: float, head: str, words: str, other_head: str, other: str) -> None:
    """Two columns of commentary."""
    half = (WIDTH - 28) / 2
    for x, title, body in ((LEFT, head, words), (LEFT + half + 28, other_head, other)):
        sheet.text(x, y + 10, title, 11, BOLD, TEAL)
        sheet.para(x, y + 20, half, body, 9.8, 15)


def mix(sheet: Sheet) -> None:
    """Stacked columns."""
    y = frame(
        sheet,
        3,
        "Gas made room, year after year",
        "In 2020 natural gas was the largest part of the mix. It has fallen every year since, and wind "
        "has taken most of its place. Total generation grew slowly as ferries, boilers and cars moved from "
        "oil to electricity.",
    )
    y = chart_head(
        sheet, y, 2, "Electricity mix, 2020 to 2024", "Terawatt hours (TWh); totals above the columns"
    )
    x = LEFT + 46
    for name, (_, color) in MIX.items():
        sheet.box(x, y + 1, 9, 9, fill=color)
        x += 15 + sheet.text(x + 14, y + 9, name, 9) + 18
    y += 30
    height, scale = 300.0, 300.0 / 15
    bottom = y + height
    for tick in range(0, 16, 3):
        level = bottom - tick * scale
        sheet.rule(LEFT + 34, level, RIGHT, color=RULE, line=0.5)
        sheet.text(LEFT + 28, level + 3, str(tick), 8, color=GREY, align="right")
    sheet.text(LEFT, y - 8, "TWh", 8, color=GREY)
    step = (RIGHT - LEFT - 34) / len(MIX_YEARS)
    for number, year in enumerate(MIX_YEARS):
        middle = LEFT + 34 + step * (number + 0.5)
        level = bottom
        for values, color in MIX.values():
            part = values[number] * scale
            level -= part
            sheet.box(middle - 29, level, 58, part, fill=color, stroke=WHITE, line=0.7)
            if part >= 16:
                sheet.text(middle, level + part / 2 + 3.2, f"{values[number]:.2f}", 9, BOLD, WHITE, "center")
        total = sum(values[number] for values, _ in MIX.values())
        sheet.text(middle, level - 7, f"{total:.2f}", 10.5, BOLD, NAVY, "center")
        sheet.text(middle, bottom + 15, str(year), 10, BOLD, INK, "center")
    sheet.rule(LEFT + 34, bottom, RIGHT, color=NAVY, line=1)
    y = source(
        sheet,
        bottom + 38,
        "Sundmark Energy Observatory. Wind is offshore and onshore together. Parts under 0.8 TWh are not "
        "labelled.",
    )
    _columns(
        sheet,
        y + 6,
        "Dry years matter less",
        "In 2022 little rain fell and hydro gave less than in the year before. In earlier decades gas would "
        "have filled the gap. This time wind did, and gas went on falling.",
        "Biomass has found its level",
        "Wood chips from the island forests supply three district heating plants. Nobody plans a fourth, "
        "since the forests cannot give more without shrinking.",
    )


def prices(sheet: Sheet) -> None:
    """Lines with labels at their ends."""
    y = frame(
        sheet,
        4,
        "Prices are easing, but only slowly",
        "Electricity prices jumped with the price of gas in 2022. They have come down in both years since "
        "for all groups of customers. Households still pay clearly more than before the jump, partly "
        "because network charges rose to pay for the new cables.",
    )
    y = chart_head(
        sheet,
        y,
        3,
        "Average electricity price by customer group, 2015 to 2024",
        "Cents per kilowatt hour, taxes included, prices of the year",
    )
    height = 320.0
    bottom, left, right = y + height, LEFT + 34, RIGHT - 104
    scale, step = height / 32, (right - left) / (len(PRICE_YEARS) - 1)
    for tick in range(0, 33, 5):
        level = bottom - tick * scale
        sheet.rule(left, level, right, color=RULE, line=0.5)
        sheet.text(left - 6, level + 3, str(tick), 8, color=GREY, align="right")
    for number, year in enumerate(PRICE_YEARS):
        sheet.text(left + step * number, bottom + 15, str(year), 9, color=INK, align="center")
    sheet.text(LEFT, y - 2, "Cents", 8, color=GREY)
    for name, (values, color) in PRICES.items():
        points = [(left + step * number, bottom - value * scale) for number, value in enumerate(values)]
        sheet.shape(points, stroke=color, line=2.2, close=False)
        peak = values.index(max(values))
        for place in (0, peak, len(values) - 1):
            sheet.disc(*points[place], 3.4, color, WHITE)
        sheet.text(points[0][0] + 6, points[0][1] - 8, f"{values[0]:.1f}", 9, BOLD, color)
        sheet.text(points[peak][0], points[peak][1] - 9, f"{values[peak]:.1f}", 9, BOLD, color, "center")
        x, level = points[-1]
        sheet.text(x + 10, level + 3.5, name, 9.5, BOLD, color)
        sheet.text(x + 10, level + 15.5, f"{values[-1]:.1f}", 9.5, BOLD, color)
    sheet.rule(left, bottom, right, color=NAVY, line=1)
    y = source(
        sheet,
        bottom + 38,
        "Sundmark Energy Observatory, survey of suppliers. Averages weighted by consumption.",
    )
    _columns(
        sheet,
        y + 6,
        "Three groups, one shape",
        "Industry buys most of its power on the exchange and felt the jump first and hardest. Household "
        "contracts usually run for a year, which delayed the rise and now delays the fall.",
        "Tariffs by the hour",
        "Since July 2024 every supplier must offer a tariff that changes by the hour. One household in "
        "eight has chosen it; those that have shift mainly washing and the charging of cars.",
    )


def use(sheet: Sheet) -> None:
    """A ring and a column chart."""
    y = frame(
        sheet,
        5,
        "Ferries and cars are the next task",
        "Moving people and goods takes more energy than heating all homes, and most of it is still oil. "
        "Storage is growing quickly from a low level.",
    )
    y = chart_head(sheet, y, 4, "Final energy use by sector, 2024", "Per cent of final energy use")
    _ring(sheet, LEFT + 130, y + 100, 92, 54)
    x, top = LEFT + 270, y + 22
    for name, (share, color) in BY_SECTOR.items():
        sheet.box(x, top, 12, 12, fill=color)
        sheet.text(x + 22, top + 10, name, 10.5)
        sheet.text(RIGHT, top + 10, f"{share}%", 11, BOLD, NAVY, "right")
        sheet.rule(x, top + 22, RIGHT, color=RULE, line=0.4)
        top += 33
    y = source(
        sheet, y + 218, "Sundmark Energy Observatory, energy balance 2024. Aviation abroad is not included."
    )
    y = chart_head(
        sheet,
        y + 4,
        5,
        "Battery storage connected to the grid, 2023 to 2028",
        "Megawatts (MW) at the end of the year; 2025 and later are plans",
    )
    bottom, scale = y + 168, 158 / 1000
    for tick in range(0, 1001, 250):
        level = bottom - tick * scale
        sheet.rule(LEFT + 34, level, RIGHT, color=RULE, line=0.5)
        sheet.text(LEFT + 28, level + 3, f"{tick:,}", 8, color=GREY, align="right")
    sheet.text(LEFT, y - 4, "MW", 8, color=GREY)
    step = (RIGHT - LEFT - 34) / len(STORAGE)
    for number, (year, value) in enumerate(STORAGE.items()):
        middle = LEFT + 34 + step * (number + 0.5)
        built = year < 2025
        sheet.box(
            middle - 22,
            bottom - value * scale,
            44,
            value * scale,
            TEAL if built else MIST,
            None if built else TEAL,
            0.8,
        )
        sheet.text(middle, bottom - value * scale - 6, str(value), 10, BOLD, NAVY, "center")
        sheet.text(middle, bottom + 14, f"{year}" if built else f"{year} plan", 9, color=INK, align="center")
    sheet.rule(LEFT + 34, bottom, RIGHT, color=NAVY, line=1)
    source(sheet, bottom + 36, "Sundmark Energy Observatory, connection agreements signed by February 2025.")


def _ring(sheet: Sheet, x: float, y: float, outer: float, inner: float) -> None:
    """A ring of shares, clockwise from the top."""
    start = -pi / 2
    for share, color in BY_SECTOR.values():
        end = start + share / 100 * 2 * pi
        count = max(4, share * 2)
        arc = [start + (end - start) * step / count for step in range(count + 1)]
        points = [(x + outer * cos(a), y + outer * sin(a)) for a in arc]
        points += [(x + inner * cos(a), y + inner * sin(a)) for a in reversed(arc)]
        sheet.shape(points, fill=color, stroke=WHITE, line=1.4)
        start = end
    sheet.text(x, y - 1, "2024", 16, BOLD, NAVY, "center")
    sheet.text(x, y + 14, "100%", 9.5, color=GREY, align="center")
