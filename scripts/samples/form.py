"""A filled claim form of an invented insurer: boxes, labelled fields, check boxes, amounts."""

from __future__ import annotations

from reportlab.lib.colors import HexColor

from samples.page import A4, BOLD, GREY, INK, ITALIC, NAVY, PALE, RULE, TEAL, WHITE, Column, Sheet

NAME = "insurance-claim-form.pdf"
PEN = HexColor("#1D3FA0")
PEN_FONT = "Courier-Bold"
LEFT, RIGHT = 48.0, 547.0
WIDTH = RIGHT - LEFT
NOTE = "Sample document of the mmrag project. The insurer, the persons and the claim are invented."

# Item, year bought, price when new, amount claimed, in pounds.
ITEMS = (
    ("Band saw, Merrow BS 350", "2019", 1480.00, 890.00),
    ("Oak boards, 2.4 cubic metres", "2024", 2160.00, 2160.00),
    ("Dust extractor", "2021", 640.00, 420.00),
    ("Laptop and label printer", "2022", 1120.00, 610.00),
    ("Floor covering, 38 square metres", "2017", 1330.00, 665.00),
    ("Drying and cleaning, Brightwater Ltd", "2024", 1275.50, 1275.50),
)
EXCESS = 250.00


def claimed() -> float:
    """Sum of the amounts claimed before the excess."""
    return sum(item[3] for item in ITEMS)


def build() -> bytes:
    """The form as a file."""
    sheet = Sheet(
        A4, "Property damage claim form", "Fairholm Mutual Insurance Society", "Claim FM-2024-08317"
    )
    for page in (first, second):
        page(sheet)
        sheet.next_page()
    return sheet.finish()


def frame(sheet: Sheet, number: int) -> None:
    """Head with claim number and foot."""
    sheet.bookmark(f"Page {number}")
    sheet.box(LEFT, 34, 30, 30, fill=TEAL, radius=4)
    sheet.shape(
        [(LEFT + 15, 40), (LEFT + 24, 48), (LEFT + 24, 58), (LEFT + 6, 58), (LEFT + 6, 48)], fill=WHITE
    )
    sheet.text(LEFT + 40, 48, "Fairholm Mutual", 15, BOLD, NAVY)
    sheet.text(LEFT + 40, 61, "Insurance Society", 9.5, color=GREY)
    sheet.text(RIGHT, 46, "Property damage claim", 15, BOLD, NAVY, "right")
    sheet.text(RIGHT, 61, "Form PD-2, edition 03/2023", 8.5, color=GREY, align="right")
    sheet.rule(LEFT, 74, RIGHT, color=NAVY, line=1.4)
    sheet.rule(LEFT, 806, RIGHT)
    sheet.text(LEFT, 818, NOTE, 6.8, color=GREY)
    sheet.text(RIGHT, 818, f"Page {number} of 2", 8, color=GREY, align="right")


def section(sheet: Sheet, y: float, letter: str, words: str) -> float:
    """A coloured band; returns where its fields start."""
    sheet.box(LEFT, y, WIDTH, 20, fill=NAVY)
    sheet.text(LEFT + 8, y + 14, letter, 10, BOLD, WHITE)
    sheet.text(LEFT + 26, y + 14, words, 10, BOLD, WHITE)
    return y + 28


def fields(sheet: Sheet, y: float, row: tuple[tuple[str, str, float], ...]) -> float:
    """One row of boxes: label, what was filled in, share of the width."""
    x, gap = LEFT, 8.0
    room = WIDTH - gap * (len(row) - 1)
    for label, value, share in row:
        width = room * share
        sheet.text(x, y + 8, label, 7.8, color=GREY)
        sheet.box(x, y + 12, width, 24, fill=WHITE, stroke=RULE, line=0.8)
        sheet.text(x + 7, y + 28, value, 10.5, PEN_FONT, PEN)
        x += width + gap
    return y + 45


def tick(sheet: Sheet, x: float, y: float, words: str, ticked: bool) -> float:
    """A check box and its label; returns its width."""
    sheet.box(x, y, 11, 11, fill=WHITE, stroke=INK, line=0.8)
    if ticked:
        sheet.rule(x + 1.5, y + 1.5, x + 9.5, y + 9.5, color=PEN, line=1.8)
        sheet.rule(x + 1.5, y + 9.5, x + 9.5, y + 1.5, color=PEN, line=1.8)
    return 17 + sheet.text(x + 17, y + 9, words, 9.2)


def choice(
    sheet: Sheet, y: float, question: str, options: tuple[str, ...], chosen: str, step: float
) -> float:
    """A question and its check boxes in one line."""
    sheet.text(LEFT, y + 9, question, 9.2)
    for number, option in enumerate(options):
        tick(sheet, RIGHT - step * (len(options) - number) + 4, y, option, option == chosen)
    return y + 21


def first(sheet: Sheet) -> None:
    """Who, what, when, how."""
    frame(sheet, 1)
    sheet.para(
        LEFT,
        80,
        WIDTH,
        "Please complete in block letters and return within 30 days of the damage.",
        8.6,
        color=GREY,
    )
    y = section(sheet, 102, "A", "Policyholder")
    y = fields(
        sheet,
        y,
        (
            ("Claim number", "FM-2024-08317", 0.34),
            ("Policy number", "HB 5520 1946", 0.33),
            ("Date of claim", "26 / 11 / 2024", 0.33),
        ),
    )
    y = fields(
        sheet, y, (("Full name", "ELEANOR MARCHETTI", 0.5), ("Business name", "MARCHETTI BOAT JOINERY", 0.5))
    )
    y = fields(sheet, y, (("Address", "UNIT 7, OLD ROPEWALK, ALDERSEA", 0.66), ("Postcode", "AL4 9QT", 0.34)))
    y = fields(
        sheet, y, (("Telephone", "01632 960 174", 0.34), ("E-mail", "e.marchetti@joinery.example", 0.66))
    )
    y = section(sheet, y + 8, "B", "The damage")
    y = fields(
        sheet,
        y,
        (
            ("Date of damage", "19 / 11 / 2024", 0.28),
            ("Time discovered", "06:40", 0.22),
            ("Place", "WORKSHOP, GROUND FLOOR", 0.5),
        ),
    )
    sheet.text(LEFT, y + 8, "Cause (tick one)", 7.8, color=GREY)
    y += 16
    causes = (
        "Fire or smoke",
        "Burst pipe",
        "Storm or flood",
        "Theft or break-in",
        "Vandalism",
        "Impact by vehicle",
        "Subsidence",
        "Other",
    )
    for number, cause in enumerate(causes):
        tick(sheet, LEFT + (number % 4) * 125, y + (number // 4) * 21, cause, cause == "Burst pipe")
    y += 50
    sheet.text(LEFT, y + 8, "What happened?", 7.8, color=GREY)
    sheet.box(LEFT, y + 12, WIDTH, 104, fill=WHITE, stroke=RULE, line=0.8)
    lines = (
        "THE COLD WATER PIPE ABOVE THE WORKSHOP BURST IN THE NIGHT AFTER",
        "HARD FROST. I FOUND 6 CM OF WATER ON THE FLOOR AT 06:40 AND",
        "SHUT THE MAIN VALVE. THE BAND SAW MOTOR AND THE TIMBER STORE",
        "STOOD IN WATER. PIPE REPAIRED THE SAME DAY BY K. OSEI PLUMBING.",
    )
    for number, line in enumerate(lines):
        sheet.rule(LEFT + 8, y + 36 + 23 * number, RIGHT - 8, color=RULE, line=0.4)
        sheet.text(LEFT + 10, y + 32 + 23 * number, line, 10.5, PEN_FONT, PEN)
    y = section(sheet, y + 132, "C", "Questions")
    for question, chosen in (
        ("Was anybody injured?", "No"),
        ("Were the premises occupied when the damage happened?", "No"),
        ("Have you taken steps to prevent further damage?", "Yes"),
        ("Is the damaged property insured elsewhere?", "No"),
        ("Have you claimed for similar damage in the last five years?", "Yes"),
    ):
        y = choice(sheet, y, question, ("Yes", "No"), chosen, 56)
    fields(sheet, y + 1, (("If yes, when and how much?", "FEBRUARY 2021, FROZEN PIPE, 1,140 POUNDS", 1.0),))


def second(sheet: Sheet) -> None:
    """Amounts, payment, signature, office use."""
    frame(sheet, 2)
    y = section(sheet, 92, "D", "Items claimed")
    columns = [
        Column("No.", 34, "left"),
        Column("Item", 215, "left"),
        Column("Year bought", 70, "center"),
        Column("Price new (£)", 90),
        Column("Claimed (£)", WIDTH - 409),
    ]
    rows = [
        [str(number), item, year, f"{new:,.2f}", f"{amount:,.2f}"]
        for number, (item, year, new, amount) in enumerate(ITEMS, 1)
    ]
    rows += [
        ["", "Total of items", "", "", f"{claimed():,.2f}"],
        ["", "Less excess (policy section 4)", "", "", f"\u2013{EXCESS:,.2f}"],
        ["", "Amount claimed", "", "", f"{claimed() - EXCESS:,.2f}"],
    ]
    y = sheet.table(LEFT, y, columns, rows, (6, 8), 9.5, 22, 4)
    sheet.text(
        LEFT, y + 13, "Attach receipts or photographs for every item above 500 pounds.", 8, ITALIC, GREY
    )
    x = LEFT
    for words, ticked in (
        ("Receipts attached", True),
        ("Photographs attached", True),
        ("Estimate attached", False),
    ):
        x += tick(sheet, x, y + 24, words, ticked) + 28
    y = section(sheet, y + 54, "E", "Payment")
    y = fields(
        sheet,
        y,
        (
            ("Account holder", "E. MARCHETTI", 0.4),
            ("Sort code", "00-00-42", 0.2),
            ("Account number", "0000 1187", 0.4),
        ),
    )
    y = choice(sheet, y, "Pay the repairer direct for drying and cleaning?", ("Yes", "No"), "Yes", 56)
    y = section(sheet, y + 12, "F", "Declaration")
    y = sheet.para(
        LEFT,
        y,
        WIDTH,
        "I declare that the particulars given are true to the best of my knowledge. I understand that the "
        "Society may ask for further evidence and may send a loss adjuster to inspect the damage.",
        9.2,
        13.5,
    )
    y += 10
    sheet.box(LEFT, y, 300, 54, stroke=RULE, line=0.8)
    sheet.text(LEFT + 7, y + 12, "Signature", 7.8, color=GREY)
    canvas, top = sheet.canvas, sheet.height - y - 36
    canvas.setStrokeColor(PEN)
    canvas.setLineWidth(1.4)
    canvas.bezier(LEFT + 40, top, LEFT + 52, top + 38, LEFT + 60, top - 24, LEFT + 84, top + 8)
    canvas.bezier(LEFT + 84, top + 8, LEFT + 104, top + 26, LEFT + 106, top - 16, LEFT + 130, top + 4)
    canvas.bezier(LEFT + 130, top + 4, LEFT + 156, top + 18, LEFT + 178, top - 10, LEFT + 220, top + 10)
    sheet.box(LEFT + 308, y, WIDTH - 308, 54, stroke=RULE, line=0.8)
    sheet.text(LEFT + 315, y + 12, "Date", 7.8, color=GREY)
    sheet.text(LEFT + 315, y + 36, "26 / 11 / 2024", 10.5, PEN_FONT, PEN)
    y += 76
    sheet.box(LEFT, y, WIDTH, 148, fill=PALE, stroke=NAVY, line=0.8)
    sheet.text(LEFT + 12, y + 19, "For office use only", 10, BOLD, NAVY)
    office = (
        ("Received", "29 November 2024"),
        ("Handler", "T. Abernathy, extension 418"),
        ("Loss adjuster visit", "4 December 2024, 10:30"),
        ("Cover confirmed", "Escape of water, section 4"),
        ("Reserve", "£5,500.00"),
    )
    for number, (label, value) in enumerate(office):
        level = y + 41 + 21 * number
        sheet.text(LEFT + 12, level, label, 9.2, color=GREY)
        sheet.text(LEFT + 130, level, value, 10, BOLD, INK)
        sheet.rule(LEFT + 130, level + 5, RIGHT - 180, color=RULE, line=0.5)
    x = RIGHT - 156
    sheet.text(x, y + 41, "Decision", 9.2, color=GREY)
    for number, (words, ticked) in enumerate(
        (("Paid in full", False), ("Paid in part", False), ("Further enquiry", True), ("Declined", False))
    ):
        tick(sheet, x, y + 51 + 22 * number, words, ticked)
