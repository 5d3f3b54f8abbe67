"""Launch deck of TideSense 3, the sensor that the annual report speaks of."""

from __future__ import annotations

from math import sin

from reportlab.lib.colors import Color, HexColor

from samples.page import (
    BOLD,
    CORAL,
    GREY,
    INK,
    MIST,
    NAVY,
    PALE,
    RULE,
    SAND,
    TEAL,
    WHITE,
    WIDE,
    Column,
    Sheet,
)

NAME = "product-launch-deck.pdf"
LEFT, RIGHT = 70.0, 890.0
WIDTH = RIGHT - LEFT
NOTE = "Sample document of the mmrag project. Company and product are invented."
DEEP = HexColor("#0C2538")

PRICES = (
    ("TideSense 3 Lite", "Temperature, salinity", "$2,900", "November 3, 2025"),
    ("TideSense 3 Coastal", "Lite, turbidity, oxygen", "$4,950", "November 3, 2025"),
    ("TideSense 3 Offshore", "Coastal, waves, satellite link", "$7,800", "January 20, 2026"),
)
DATES = (
    ("Sep 9", "Press preview", "Port Ellery, on board the survey ship"),
    ("Oct 14", "Orders open", "Web shop and 40 dealers"),
    ("Nov 3", "First shipments", "Lite and Coastal"),
    ("Jan 20", "Offshore ships", "With satellite link"),
    ("Apr 15", "Fleet update", "Alarms by area"),
)
COMPARED = (
    ("Battery life", "14 months", "36 months", "12 to 18 months"),
    ("Depth rating", "60 m", "200 m", "100 m"),
    ("Weight", "6.4 kg", "3.9 kg", "5 to 8 kg"),
    ("Measurements per day", "144", "1,440", "288"),
    ("Cleaning by hand", "every 6 weeks", "every 6 months", "every 4 to 8 weeks"),
    ("Warranty", "2 years", "5 years", "2 years"),
)
CUSTOMERS = (
    ("Ports and harbors", 1400),
    ("Aquaculture", 1150),
    ("Coastal authorities", 900),
    ("Research", 350),
    ("Offshore energy", 200),
)


def build() -> bytes:
    """The deck as a file."""
    sheet = Sheet(
        WIDE, "TideSense 3 launch plan", "Harborlight Instruments, Inc.", "Sales meeting, July 2025"
    )
    slides = (title, why, numbers, compare, price, timeline, customers, campaign, risks, asks)
    for number, slide in enumerate(slides, 1):
        slide(sheet)
        if 1 < number < len(slides):
            sheet.text(LEFT, 516, "Harborlight Instruments   |   TideSense 3 launch plan", 9, color=GREY)
            sheet.text(480, 516, NOTE, 7, color=GREY)
            sheet.text(RIGHT, 516, str(number), 10, BOLD, NAVY, "right")
        sheet.next_page()
    return sheet.finish()


def head(sheet: Sheet, words: str) -> None:
    """A slide's title, which is its message."""
    sheet.bookmark(words)
    sheet.box(0, 0, 14, sheet.height, fill=TEAL)
    sheet.text(LEFT, 82, words, 30, BOLD, NAVY)
    sheet.box(LEFT, 98, 54, 4, fill=CORAL)


def dark(sheet: Sheet) -> None:
    """A dark ground with water at its foot."""
    sheet.box(0, 0, sheet.width, sheet.height, fill=NAVY)
    for number, mixed in enumerate((0.2, 0.42, 0.68)):
        top = 396 + number * 44
        shade = Color(*(a + (b - a) * mixed for a, b in zip(NAVY.rgb(), TEAL.rgb(), strict=True)))
        crest = [(x, top + 11 * sin(x / 70 + number * 1.6)) for x in range(0, 968, 6)]
        sheet.shape([(0, 540), *crest, (968, 540)], fill=shade)


def title(sheet: Sheet) -> None:
    """Title slide with the sensor in the water."""
    dark(sheet)
    _sensor(sheet, 770, 376)
    sheet.bookmark("TideSense 3")
    sheet.text(LEFT, 132, "HARBORLIGHT INSTRUMENTS", 12, BOLD, SAND, spacing=2.6)
    sheet.text(LEFT, 226, "TideSense 3", 66, BOLD, WHITE)
    sheet.text(LEFT, 272, "Launch plan, autumn 2025", 24, color=MIST)
    sheet.text(LEFT, 480, "Sales meeting, Port Ellery, July 8, 2025", 13, color=WHITE)
    sheet.text(LEFT, 514, NOTE, 7.5, color=MIST)


def _sensor(sheet: Sheet, x: float, y: float) -> None:
    """A buoy sensor: mast, float, probe."""
    sheet.rule(x, y - 150, x, y - 40, color=SAND, line=3)
    sheet.disc(x, y - 156, 8, CORAL)
    for radius in (26, 42, 58):
        sheet.canvas.setStrokeColor(MIST)
        sheet.canvas.setLineWidth(1.6)
        top = sheet.height - (y - 156)
        for start in (-32, 148):
            sheet.canvas.arc(x - radius, top - radius, x + radius, top + radius, start, 64)
    sheet.box(x - 16, y - 62, 32, 26, fill=SAND, radius=3)
    sheet.shape([(x - 70, y - 36), (x + 70, y - 36), (x + 52, y + 22), (x - 52, y + 22)], fill=CORAL)
    sheet.box(x - 70, y - 16, 140, 9, fill=WHITE)
    sheet.box(x - 17, y + 22, 34, 120, fill=SAND, radius=5)
    for ring in (46, 70, 94):
        sheet.box(x - 17, y + ring, 34, 6, fill=TEAL)
    sheet.box(x - 10, y + 142, 20, 18, fill=DEEP, radius=3)


def why(sheet: Sheet) -> None:
    """Bullets."""
    head(sheet, "Customers want fewer trips to the buoy")
    sheet.bullets(
        LEFT,
        146,
        470,
        (
            "<b>A boat trip costs more than the data.</b> Ports pay about $1,200 each time somebody goes "
            "out to clean or recharge a sensor.",
            "<b>Fouling is the first complaint.</b> Six of ten service calls for TideSense 2 are about algae "
            "on the optics.",
            "<b>Yearly surveys are ending.</b> New permits ask for continuous measurement, with alarms "
            "within the hour.",
            "<b>The old sensor is nine years old.</b> Two of its chips are no longer made.",
        ),
        17,
        17,
        leading=24,
    )
    sheet.box(592, 142, 298, 276, fill=PALE, radius=8)
    sheet.text(741, 232, "60%", 64, BOLD, CORAL, "center")
    sheet.para(
        632,
        256,
        218,
        "of TideSense 2 service calls are about fouled optics",
        17,
        24,
        color=INK,
        align="center",
    )
    sheet.rule(692, 336, 790, color=MIST, line=1.5)
    sheet.para(
        622,
        356,
        238,
        "Service desk, 2,140 calls between January 2023 and December 2024",
        11,
        16,
        color=GREY,
        align="center",
    )


def numbers(sheet: Sheet) -> None:
    """Big numbers."""
    head(sheet, "Three numbers to remember")
    cards = (
        ("36", "months", "on one battery, measured in six coastal field trials"),
        ("200", "meters", "depth rating, up from 60 meters"),
        ("1 in 2", "trips saved", "over three years, compared with TideSense 2"),
    )
    for number, (big, unit, small) in enumerate(cards):
        x = LEFT + number * 280
        sheet.box(x, 146, 260, 300, fill=NAVY if number == 0 else PALE, radius=8)
        ink, soft = (WHITE, MIST) if number == 0 else (NAVY, GREY)
        sheet.text(x + 130, 262, big, 76, BOLD, CORAL if number == 0 else TEAL, "center")
        sheet.text(x + 130, 304, unit, 22, BOLD, ink, "center")
        sheet.para(x + 32, 332, 196, small, 14.5, 21, color=soft, align="center")


def compare(sheet: Sheet) -> None:
    """Comparison table."""
    head(sheet, "Better in everything a customer asks about")
    columns = [
        Column("", 232, "left"),
        Column("TideSense 2", 180, "center"),
        Column("TideSense 3", 196, "center"),
        Column("Typical competitor", WIDTH - 608, "center"),
    ]
    y = sheet.table(LEFT, 138, columns, COMPARED, (), 16, 45, 2)
    sheet.text(
        LEFT,
        y + 24,
        "Competitors: data sheets of five suppliers, May 2025. Battery life at one measurement a minute for "
        "TideSense 3.",
        10.5,
        color=GREY,
    )


def price(sheet: Sheet) -> None:
    """Price list."""
    head(sheet, "Three models, one price list worldwide")
    columns = [
        Column("Model", 250, "left"),
        Column("Measures", 270, "left"),
        Column("List price", 130),
        Column("Ships from", WIDTH - 650),
    ]
    y = sheet.table(LEFT, 140, columns, PRICES, (), 17, 50, 2)
    y += 30
    half = (WIDTH - 24) / 2
    for x, name, words in (
        (
            LEFT,
            "Data plan",
            "$25 a month for each sensor; the first year is free with orders placed before December 31, "
            "2025.",
        ),
        (
            LEFT + half + 24,
            "Trade-in",
            "$400 for every TideSense 2 returned, in any condition, until June 30, 2026.",
        ),
    ):
        sheet.box(x, y, half, 100, fill=PALE, radius=8)
        sheet.text(x + 22, y + 34, name, 16, BOLD, TEAL)
        sheet.para(x + 22, y + 44, half - 44, words, 14, 20)


def timeline(sheet: Sheet) -> None:
    """Timeline."""
    head(sheet, "From preview to fleet in seven months")
    y, step = 292, WIDTH / len(DATES)
    sheet.rule(LEFT, y, RIGHT, color=MIST, line=6)
    sheet.text(LEFT, 156, "2025", 20, BOLD, GREY)
    sheet.text(LEFT + step * 3, 156, "2026", 20, BOLD, GREY)
    sheet.rule(LEFT, 168, LEFT + step * 3 - 24, color=RULE, line=1.2)
    sheet.rule(LEFT + step * 3, 168, RIGHT, color=RULE, line=1.2)
    for number, (day, what, where) in enumerate(DATES):
        middle = LEFT + step * (number + 0.5)
        key = what == "First shipments"
        sheet.disc(middle, y, 15 if key else 11, CORAL if key else TEAL, WHITE)
        sheet.text(middle, y - 42, day, 26, BOLD, CORAL if key else NAVY, "center")
        sheet.text(middle, y + 48, what, 16, BOLD, INK, "center")
        sheet.para(middle - 66, y + 58, 132, where, 13, 18, color=GREY, align="center")
    sheet.text(
        LEFT,
        458,
        "Production of the first 1,000 sensors starts in Galway on September 22, 2025.",
        14,
        color=INK,
    )


def customers(sheet: Sheet) -> None:
    """Bars: units planned by customer group."""
    head(sheet, "4,000 sensors in the first twelve months")
    sheet.text(LEFT, 134, "Planned units by customer group, November 2025 to October 2026", 14, color=GREY)
    y = 162
    for number, (name, units) in enumerate(CUSTOMERS):
        sheet.text(LEFT + 190, y + 25, name, 16, align="right")
        sheet.box(LEFT + 204, y, 520 * units / 1400, 38, fill=TEAL if number else CORAL)
        sheet.text(LEFT + 216 + 520 * units / 1400, y + 25, f"{units:,}", 17, BOLD, NAVY)
        y += 56
    sheet.rule(LEFT + 204, 156, LEFT + 204, y - 12, color=NAVY, line=1.2)
    sheet.text(
        LEFT, 476, "Ports come first: 22 of them already run TideSense 2 and have seen the prototype.", 14
    )


def campaign(sheet: Sheet) -> None:
    """Who does what, three columns."""
    head(sheet, "How we will tell the story")
    parts = (
        (
            "Show",
            (
                "Live data from six trial sites on the web",
                "A sensor in every dealer's window tank",
                "Trade fairs in Hamburg and Busan",
            ),
        ),
        (
            "Prove",
            (
                "Trial report by an outside laboratory",
                "Cost calculator: trips before and after",
                "Three customers on film",
            ),
        ),
        (
            "Sell",
            (
                "Two days of training for each dealer",
                "Loan sets: 60 sensors for four weeks",
                "Terms on one page, not nine",
            ),
        ),
    )
    for number, (name, items) in enumerate(parts):
        x = LEFT + number * 280
        sheet.box(x, 142, 260, 48, fill=(TEAL, NAVY, CORAL)[number], radius=6)
        sheet.text(x + 20, 174, name, 20, BOLD, WHITE)
        sheet.bullets(x + 6, 212, 248, items, 16, 16, leading=22)
    sheet.box(LEFT, 410, WIDTH, 62, fill=PALE, radius=8)
    sheet.text(LEFT + 24, 447, "Campaign budget", 16, BOLD, NAVY)
    sheet.text(
        RIGHT - 24, 447, "$1.8 million until April 2026, of which $0.5 million for dealers", 16, align="right"
    )


def risks(sheet: Sheet) -> None:
    """Risks with owners."""
    head(sheet, "What could delay us")
    columns = [
        Column("Risk", 330, "left"),
        Column("What we do", 330, "left"),
        Column("Owner", WIDTH - 660, "left"),
    ]
    rows = (
        ("Pressure cells from a single supplier", "Second source approved by August 29", "Purchasing"),
        ("Radio approval in Brazil and Japan", "Sell there from March 2026", "Regulatory"),
        ("Wiper motor noise in cold water", "New grease, test ends August 15", "Engineering"),
        ("Dealers hold old stock", "Trade-in also for unsold TideSense 2", "Sales"),
    )
    sheet.table(LEFT, 142, columns, rows, (), 16.5, 62)


def asks(sheet: Sheet) -> None:
    """What the meeting decides."""
    dark(sheet)
    sheet.bookmark("Decisions for today")
    sheet.text(LEFT, 96, "Decisions for today", 34, BOLD, WHITE)
    sheet.box(LEFT, 114, 54, 4, fill=CORAL)
    y = 156.0
    for number, words in enumerate(
        (
            "Approve the price list and the trade-in of $400",
            "Release the campaign budget of $1.8 million",
            "Name a launch lead for each region by July 31",
        ),
        1,
    ):
        sheet.disc(LEFT + 20, y + 14, 20, CORAL)
        sheet.text(LEFT + 20, y + 21, str(number), 19, BOLD, WHITE, "center")
        sheet.text(LEFT + 62, y + 21, words, 22, color=WHITE)
        y += 66
    sheet.text(LEFT, 480, "Questions before the meeting: launch@harborlight.example", 13, color=WHITE)
    sheet.text(LEFT, 514, NOTE, 7.5, color=MIST)
