"""Annual report of Harborlight Instruments: tables over three years, page labels i, ii, 1, 2 ..."""

from __future__ import annotations

from math import sin

from reportlab.lib.colors import Color, HexColor

from samples.annual_report_data import (
    ASSETS,
    BEFORE_TAX,
    CLAIMS,
    COST_OF_SALES,
    EPS,
    GROSS,
    INTEREST,
    NET_INCOME,
    NET_SALES,
    OPERATING,
    REGIONS,
    RESEARCH,
    SEGMENTS,
    SELLING,
    SITES,
    TAX,
    change,
    money,
    totals,
)
from samples.page import (
    BOLD,
    CORAL,
    GREY,
    INK,
    ITALIC,
    LETTER,
    MIST,
    NAVY,
    PALE,
    RULE,
    SAND,
    TEAL,
    WHITE,
    Column,
    Sheet,
)

NAME = "harbor-annual-report-2024.pdf"
LEFT, RIGHT = 64.0, 548.0
WIDTH = RIGHT - LEFT
NOTE = "Sample document of the mmrag project. The company, its people and its figures are invented."


def build() -> bytes:
    """The report as a file."""
    sheet = Sheet(
        LETTER, "Annual Report 2024", "Harborlight Instruments, Inc.", "Annual report to shareholders"
    )
    for page in (cover, contents, letter, sales, income, position, people, outlook):
        page(sheet)
        sheet.next_page()
    sheet.canvas.addPageLabel(0, "ROMAN_LOWER", 1)
    sheet.canvas.addPageLabel(2, "ARABIC", 1)
    return sheet.finish()


def frame(sheet: Sheet, label: str, section: str) -> None:
    """Running head and foot."""
    sheet.text(LEFT, 44, "Harborlight Instruments", 8, BOLD, NAVY)
    sheet.text(RIGHT, 44, section, 8, color=GREY, align="right")
    sheet.rule(LEFT, 52, RIGHT)
    sheet.text(LEFT, 758, NOTE, 6.8, color=GREY)
    sheet.text(RIGHT, 758, label, 9, BOLD, NAVY, "right")


def heading(sheet: Sheet, y: float, words: str) -> float:
    """A page's title; returns where the text may start."""
    sheet.text(LEFT, y, words, 23, BOLD, NAVY)
    sheet.box(LEFT, y + 11, 46, 3, fill=CORAL)
    return y + 34


def caption(sheet: Sheet, y: float, words: str, unit: str) -> float:
    """A table's title and its unit; returns the top of the table."""
    sheet.text(LEFT, y, words, 11, BOLD, NAVY)
    sheet.text(LEFT, y + 13, unit, 8.2, ITALIC, GREY)
    return y + 21


def body(sheet: Sheet, y: float, words: str) -> float:
    """Running text over the whole width; returns its bottom."""
    return sheet.para(LEFT, y, WIDTH, words, 10.5, 16.2)


def note(sheet: Sheet, y: float, words: str) -> float:
    """Small print under a table; returns its bottom."""
    return sheet.para(LEFT, y, WIDTH, words, 7.8, 11, color=GREY)


def cover(sheet: Sheet) -> None:
    """A lighthouse over water, the title, the year."""
    sheet.box(0, 0, sheet.width, sheet.height, fill=NAVY)
    sheet.shape([(404, 250), (1000, 96), (1000, 330)], fill=_blend(0.14))
    sheet.shape([(404, 250), (-60, 150), (-60, 300)], fill=_blend(0.07))
    sheet.shape([(388, 272), (420, 272), (434, 540), (374, 540)], fill=SAND)
    for top in (318, 400, 482):
        inset = (top - 272) * 14 / 268
        lower = (top + 40 - 272) * 14 / 268
        sheet.shape(
            [(388 - inset, top), (420 + inset, top), (420 + lower, top + 40), (388 - lower, top + 40)],
            fill=CORAL,
        )
    sheet.box(382, 264, 44, 8, fill=INK)
    sheet.box(393, 236, 22, 28, fill=SAND)
    sheet.shape([(388, 236), (404, 218), (420, 236)], fill=INK)
    rock = [(300, 600), (314, 552), (346, 522), (372, 511), (438, 509), (466, 523), (500, 556), (512, 600)]
    sheet.shape(rock, fill=HexColor("#0A1B29"))
    for number, shade in enumerate((0.18, 0.3, 0.46, 0.66)):
        top = 532 + number * 62
        sheet.shape(_wave(top, sheet.width, 9 - number, number * 1.7), fill=_water(shade))
    sheet.text(LEFT, 130, "HARBORLIGHT INSTRUMENTS", 11, BOLD, SAND, spacing=2.4)
    sheet.text(LEFT, 196, "Annual Report", 44, BOLD, WHITE)
    sheet.text(LEFT, 246, "2024", 44, BOLD, CORAL)
    sheet.text(LEFT, 700, "Seeing further, measuring closer", 15, ITALIC, WHITE)
    sheet.text(LEFT, 758, NOTE, 6.8, color=MIST)
    sheet.bookmark("Cover")


def _blend(amount: float) -> Color:
    """Navy lightened towards white, opaque."""
    return Color(*(channel + (1 - channel) * amount for channel in (NAVY.red, NAVY.green, NAVY.blue)))


def _water(amount: float) -> Color:
    """Navy moved towards teal."""
    pairs = ((NAVY.red, TEAL.red), (NAVY.green, TEAL.green), (NAVY.blue, TEAL.blue))
    return Color(*(dark + (light - dark) * amount for dark, light in pairs))


def _wave(top: float, width: float, height: float, phase: float) -> list[tuple[float, float]]:
    """The outline of one band of water."""
    crest = [(x, top + height * sin(x / 46 + phase)) for x in range(0, int(width) + 8, 4)]
    return [(0, 800), *crest, (width + 8, 800)]


def contents(sheet: Sheet) -> None:
    """Contents and the year at a glance (page ii)."""
    frame(sheet, "ii", "Contents")
    sheet.bookmark("Contents")
    y = heading(sheet, 104, "Contents")
    entries = (
        ("Letter to shareholders", "1"),
        ("Net sales", "2"),
        ("Results of operations", "3"),
        ("Financial position", "4"),
        ("People and sites", "5"),
        ("Risks and outlook", "6"),
    )
    for title, number in entries:
        sheet.text(LEFT, y + 12, title, 11.5)
        sheet.text(RIGHT, y + 12, number, 11.5, BOLD, NAVY, "right")
        sheet.rule(LEFT, y + 22, RIGHT)
        y += 32
    y += 34
    sheet.text(LEFT, y, "2024 at a glance", 15, BOLD, NAVY)
    y += 18
    cards = (
        (f"${NET_SALES[0]:,.1f} million", "net sales"),
        (change(NET_SALES[0], NET_SALES[1]), "growth over 2023"),
        (f"${NET_INCOME[0]:,.1f} million", "net income"),
        (f"${EPS[0]:.2f}", "diluted earnings per share"),
    )
    wide = (WIDTH - 16) / 2
    for number, (big, small) in enumerate(cards):
        x, top = LEFT + (number % 2) * (wide + 16), y + (number // 2) * 96
        sheet.box(x, top, wide, 82, fill=PALE, radius=4)
        sheet.box(x, top + 12, 3, 58, fill=TEAL)
        sheet.text(x + 18, top + 42, big, 22, BOLD, NAVY)
        sheet.text(x + 18, top + 62, small, 9.5, color=GREY)
    sheet.para(
        LEFT,
        y + 206,
        WIDTH,
        "Harborlight Instruments designs and builds instruments that help ships find their way and help "
        "coasts be understood: radar and sonar for the bridge, sensors for water and weather, and the "
        "software that joins them. The company was founded in Port Ellery in 1961 as a repair shop for "
        "ship's compasses.",
        10.5,
        16,
    )


def letter(sheet: Sheet) -> None:
    """Letter to shareholders (page 1)."""
    frame(sheet, "1", "Letter to shareholders")
    sheet.bookmark("Letter to shareholders")
    y = heading(sheet, 104, "Letter to shareholders")
    sheet.text(LEFT, y + 10, "Dear shareholders,", 11, BOLD, NAVY)
    y += 26
    for words in (
        "In February of last year a storm took eleven of our oldest wave buoys off the Atlantic shelf in a "
        "single night. Within four days our service team had replaced nine of them, most from stock that "
        "a year earlier would have been waiting for parts. I begin with this because it says more about "
        "2024 than any ratio: the supply problems that held us back for two years are behind us, and the "
        "people who solved them are still here.",
        "All three segments grew. Environmental Sensing added the most sales, as ports, aquaculture firms "
        "and coastal authorities moved from yearly surveys to continuous measurement. Navigation had a "
        "steady year in a flat market for new vessels; refits made up the difference. Software and Services "
        "passed a mark that I had promised you for 2025: more than half of its revenue now comes from "
        "subscriptions.",
        "We spent more on research and development than in any year of our history. Most of it went into "
        "a new generation of water sensors, which you will hear about in the autumn of 2025, and into the "
        "radar processor that our Halifax team has been working on since 2022. We paid for both from our "
        "own cash flow and reduced debt at the same time.",
        "Not everything went well. The recall of 640 depth sounders in June cost us 3.1 million dollars "
        "and, which is worse, the patience of customers who had trusted us for decades. The cause was a "
        "seal that passed our tests and failed in warm water. We now test seals at 40 degrees for six "
        "weeks before a design is released.",
        "The Board proposes a dividend of 0.42 dollars a share, up from 0.36 dollars. On behalf of the "
        "Board I thank our employees, our customers and you for your confidence.",
    ):
        y = sheet.para(LEFT, y, WIDTH, words, 10.5, 16.2) + 10
    y += 26
    sheet.canvas.setStrokeColor(NAVY)
    sheet.canvas.setLineWidth(1.3)
    top = sheet.height - y
    sheet.canvas.bezier(LEFT, top - 8, LEFT + 16, top + 34, LEFT + 22, top - 26, LEFT + 38, top + 4)
    sheet.canvas.bezier(LEFT + 38, top + 4, LEFT + 54, top + 24, LEFT + 58, top - 20, LEFT + 76, top + 2)
    sheet.canvas.bezier(LEFT + 76, top + 2, LEFT + 92, top + 14, LEFT + 112, top - 10, LEFT + 140, top + 8)
    sheet.text(LEFT, y + 28, "Ingrid Vasquez-Thorne", 10.5, BOLD, NAVY)
    sheet.text(LEFT, y + 42, "President and Chief Executive Officer", 9.5, color=GREY)
    sheet.text(LEFT, y + 55, "Port Ellery, March 4, 2025", 9.5, color=GREY)


def three_years(first: str) -> list[Column]:
    """Name, three years, change."""
    return [
        Column(first, 196, "left"),
        Column("2024", 72),
        Column("2023", 72),
        Column("2022", 72),
        Column("Change", WIDTH - 412),
    ]


def by_year(parts: dict[str, tuple[float, ...]], total: str) -> list[list[str]]:
    """Rows of a three-year table with its total."""
    rows = {**parts, total: totals(parts)}
    return [[name, *map(money, values), change(values[0], values[1])] for name, values in rows.items()]


def sales(sheet: Sheet) -> None:
    """Net sales by segment and by region (page 2)."""
    frame(sheet, "2", "Net sales")
    sheet.bookmark("Net sales")
    y = heading(sheet, 104, "Net sales")
    y = body(
        sheet,
        y,
        "Net sales grew in every segment and in every region. Growth was strongest in Asia Pacific, where "
        "two port authorities placed multi-year orders for water quality stations, and in Software and "
        "Services. Currency effects lowered reported growth by about one percentage point.",
    )
    y = caption(sheet, y + 30, "Net sales by segment", "Millions of US dollars, years ended December 31")
    y = sheet.table(LEFT, y, three_years("Segment"), by_year(SEGMENTS, "Total net sales"), (3,), 9.5, 21, 1)
    y = note(
        sheet,
        y + 6,
        "Change compares 2024 with 2023. Sales between segments are eliminated. Software sold with an "
        "instrument is reported under the instrument's segment.",
    )
    y = caption(sheet, y + 32, "Net sales by region", "Millions of US dollars, years ended December 31")
    y = sheet.table(LEFT, y, three_years("Region"), by_year(REGIONS, "Total net sales"), (4,), 9.5, 21, 1)
    y = note(
        sheet, y + 6, "Sales are assigned to the region of the customer's delivery address.<super>1</super>"
    )
    sheet.rule(LEFT, 706, LEFT + 120)
    note(
        sheet,
        711,
        "<super>1</super> Vessels delivered to international waters are assigned to the port of registry; "
        "they were 2.4 percent of net sales in 2024.",
    )


def income(sheet: Sheet) -> None:
    """Statement of income (page 3)."""
    frame(sheet, "3", "Results of operations")
    sheet.bookmark("Results of operations")
    y = heading(sheet, 104, "Results of operations")
    y = body(
        sheet,
        y,
        "Gross margin rose to "
        f"{GROSS[0] / NET_SALES[0] * 100:.1f} percent of net sales from {GROSS[1] / NET_SALES[1] * 100:.1f} "
        "percent, helped by lower freight costs and a larger share of software. Operating income includes "
        "the cost of the depth sounder recall of 3.1 million dollars, charged to cost of sales.",
    )
    y = caption(
        sheet,
        y + 30,
        "Consolidated statement of income",
        "Millions of US dollars except per share amounts, years ended December 31",
    )
    lines: list[tuple[str, tuple[float, ...]]] = [
        ("Net sales", NET_SALES),
        ("Cost of sales", COST_OF_SALES),
        ("Gross profit", GROSS),
        ("Research and development", RESEARCH),
        ("Selling, general and administrative", SELLING),
        ("Operating income", OPERATING),
        ("Interest expense, net", INTEREST),
        ("Income before taxes", BEFORE_TAX),
        ("Income taxes", TAX),
        ("Net income", NET_INCOME),
    ]
    rows = [[name, *map(money, values), change(values[0], values[1])] for name, values in lines]
    rows.append(
        ["Diluted earnings per share ($)", *(f"{value:.2f}" for value in EPS), change(EPS[0], EPS[1])]
    )
    y = sheet.table(LEFT, y, three_years(""), rows, (2, 5, 7, 9), 9.5, 21, 1)
    y = note(
        sheet,
        y + 6,
        "Diluted shares outstanding: 61.2 million in 2024, 61.5 million in 2023 and 61.9 million in 2022.",
    )
    y += 28
    sheet.text(LEFT, y, "Research and development", 12.5, BOLD, NAVY)
    body(
        sheet,
        y + 10,
        f"Research and development came to {RESEARCH[0] / NET_SALES[0] * 100:.1f} percent of net sales, "
        f"after {RESEARCH[1] / NET_SALES[1] * 100:.1f} percent in 2023. The largest project was TideSense 3, "
        "our next water sensor, with about 31 million dollars; field trials at six coastal sites ended in "
        "November. No development costs were capitalised.",
    )


def position(sheet: Sheet) -> None:
    """Balance sheet and cash (page 4)."""
    frame(sheet, "4", "Financial position")
    sheet.bookmark("Financial position")
    y = heading(sheet, 104, "Financial position")
    y = body(
        sheet,
        y,
        "Operating cash flow was 121.4 million dollars. Capital expenditure of 38.2 million dollars went "
        "mainly into the new calibration hall in Galway. Long-term debt was reduced by 25.0 million "
        "dollars; the remaining loan runs to 2029 at a fixed rate of 4.6 percent.",
    )
    columns = [Column("", 250, "left"), Column("2024", 78), Column("2023", 78), Column("Change", WIDTH - 406)]
    y += 30
    for title, parts, total in (
        ("Assets", ASSETS, "Total assets"),
        ("Liabilities and equity", CLAIMS, "Total liabilities and equity"),
    ):
        y = caption(sheet, y, title, "Millions of US dollars, December 31")
        rows = [
            [name, *map(money, pair), change(*pair)] for name, pair in {**parts, total: totals(parts)}.items()
        ]
        y = sheet.table(LEFT, y, columns, rows, (len(rows) - 1,), 9.5, 20, 1) + 34
    body(
        sheet,
        y - 14,
        "Deferred revenue is money received for subscriptions and service contracts that run after the "
        "balance sheet date. Inventories fell because safety stocks built up during the supply problems "
        "of 2022 and 2023 were used.",
    )


def people(sheet: Sheet) -> None:
    """Employees by site (page 5)."""
    frame(sheet, "5", "People and sites")
    sheet.bookmark("People and sites")
    y = heading(sheet, 104, "People and sites")
    y = body(
        sheet,
        y,
        "At the end of the year we employed more people than ever before. Most of the new colleagues are "
        "engineers in Halifax and calibration staff in Galway. Voluntary turnover fell to 6.8 percent "
        "from 9.1 percent. The rate of lost-time injuries was 0.7 per million hours worked; our goal for "
        "2026 is 0.5.",
    )
    y = caption(sheet, y + 30, "Employees by site", "Full-time equivalents, December 31, 2024")
    columns = [
        Column("Site", 232, "left"),
        Column("Main work", 152, "left"),
        Column("Employees", WIDTH - 384),
    ]
    total = sum(count for _, count in SITES.values())
    rows = [[site, work, f"{count:,}"] for site, (work, count) in SITES.items()]
    y = sheet.table(LEFT, y, columns, [*rows, ["Total", "", f"{total:,}"]], (len(rows),), 9.5, 21)
    y += 40
    sheet.text(LEFT, y, "Share of employees", 11, BOLD, NAVY)
    y += 14
    for site, (_, count) in SITES.items():
        sheet.text(LEFT, y + 11, site.split(" (")[0], 9)
        sheet.box(LEFT + 160, y + 1, 260 * count / 1184, 13, fill=TEAL)
        sheet.text(LEFT + 166 + 260 * count / 1184, y + 11, f"{count / total * 100:.0f}%", 9, BOLD, NAVY)
        y += 22
    y += 20
    sheet.box(LEFT, y, WIDTH, 92, fill=PALE, radius=4)
    sheet.text(LEFT + 18, y + 26, "Apprentices", 12, BOLD, NAVY)
    sheet.para(
        LEFT + 18,
        y + 34,
        WIDTH - 36,
        "The apprenticeship in instrument making, started in Port Ellery in 1974, took its first group in "
        "Busan in September. Forty-three apprentices were in training at the end of 2024, and every one of "
        "the fourteen who finished was offered a position.",
        9.8,
        14.6,
    )


def outlook(sheet: Sheet) -> None:
    """Risks and outlook (page 6)."""
    frame(sheet, "6", "Risks and outlook")
    sheet.bookmark("Risks and outlook")
    y = heading(sheet, 104, "Risks and outlook")
    sheet.text(LEFT, y + 8, "What could go wrong", 12.5, BOLD, NAVY)
    y = sheet.bullets(
        LEFT,
        y + 20,
        WIDTH,
        (
            "<b>Public budgets.</b> About a third of Environmental Sensing sales depends on public "
            "authorities. A delay of their programmes by one quarter would move some 20 million dollars of "
            "sales into the following year.",
            "<b>Single suppliers.</b> Two pressure cells used in our sensors come from one manufacturer. A "
            "second source is being qualified and should be ready in the second half of 2025.",
            "<b>Exchange rates.</b> A dollar stronger by ten percent would lower net sales by about 38 "
            "million dollars before hedging.",
            "<b>Security of connected devices.</b> All instruments shipped since 2021 receive signed "
            "updates; older ones are supported until 2027.",
        ),
        10.5,
        9,
        leading=16.2,
    )
    y += 38
    sheet.text(LEFT, y, "Outlook for 2025", 12.5, BOLD, NAVY)
    columns = [Column("", 212, "left"), Column("2024 actual", 110), Column("2025 outlook", WIDTH - 322)]
    y = sheet.table(
        LEFT,
        y + 14,
        columns,
        [
            ["Net sales growth", change(NET_SALES[0], NET_SALES[1]), "+7% to +9%"],
            ["Operating margin", f"{OPERATING[0] / NET_SALES[0] * 100:.1f}%", "14.0% to 14.5%"],
            ["Capital expenditure", "$38.2 million", "about $45 million"],
            ["Dividend per share", "$0.42 (proposed)", "not yet decided"],
        ],
        (),
        9.5,
        22,
    )
    y = body(
        sheet,
        y + 18,
        "The outlook assumes exchange rates of December 2024 and no change in tariffs. The annual meeting "
        "of shareholders will be held in Port Ellery on May 21, 2025, at 10 a.m.",
    )
    sheet.rule(LEFT, y + 34, RIGHT, color=RULE)
    sheet.text(LEFT, y + 54, "Investor relations", 9.5, BOLD, NAVY)
    sheet.text(
        LEFT, y + 68, "Harborlight Instruments, Inc., 12 Breakwater Road, Port Ellery, Maine", 9.5, color=GREY
    )
    sheet.text(LEFT, y + 81, "investors@harborlight.example", 9.5, color=GREY)
