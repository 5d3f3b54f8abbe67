"""Pages drawn by hand for the answerers: what stands where is known."""

import random

import pymupdf
import pytest

from mmrag.types import Candidate, Page, Query, Ranking, Record, Source, Word

A4 = (595.0, 842.0)


class Sheet:
    """A page to write on, in points from the top left; `page` reads its words back."""

    def __init__(self, name="report.pdf", number=0, size=A4):
        self.name, self.number, self.size = name, number, size
        self.document = pymupdf.open()
        self.canvas = self.document.new_page(width=size[0], height=size[1])

    def text(self, x, y, text, size=10, right=False, centre=False, bold=False):
        font = "hebo" if bold else "helv"
        width = pymupdf.get_text_length(text, fontname=font, fontsize=size)
        x = x - width if right else x - width / 2 if centre else x
        self.canvas.insert_text((x, y), text, fontname=font, fontsize=size)
        return self

    def lines(self, x, y, lines, size=10, step=None):
        for number, line in enumerate(lines):
            self.text(x, y + number * (step or 1.25 * size), line, size)
        return self

    def row(self, y, header, values, columns, size=10, x=60):
        """A row header at x, and values right-aligned at the columns; None leaves a cell empty."""
        self.text(x, y, header, size)
        for value, column in zip(values, columns, strict=True):
            if value is not None:
                self.text(column, y, value, size, right=True)
        return self

    def words(self, jitter=0.0, slope=0.0, seed=0):
        width, height = self.size
        noise = random.Random(seed)
        words = []
        for x0, y0, x1, y1, text, *_ in self.canvas.get_text("words", sort=True):
            shift = slope * x0
            moved = [v + noise.uniform(-jitter, jitter) for v in (x0, y0 + shift, x1, y1 + shift)]
            words.append(
                Word(text, (moved[0] / width, moved[1] / height, moved[2] / width, moved[3] / height))
            )
        return tuple(words)

    def page(self, **noise):
        source = Source(self.name.encode().hex().ljust(64, "0")[:64], "pdf", self.name, f"/tmp/{self.name}")
        words = self.words(**noise)
        text = " ".join(word.text for word in words)
        return Page(
            source.page_id(self.number),
            source.document_id,
            self.number,
            str(self.number + 1),
            text,
            words,
            self.size,
            source,
            9,
            "ocr" if noise else "layer",
        )


def rank(question, *items):
    """A ranking of pages, sheets or plain texts in this order."""
    candidates = []
    for place, item in enumerate(items, 1):
        if isinstance(item, Sheet):
            item = item.page()
        if isinstance(item, str):
            record = Record(f"note-{place}", None, item)
        else:
            record = Record(item.id, None, item.text, {}, item)
        candidates.append(Candidate(record, 1 / place, place))
    return Ranking(Query(question), tuple(candidates))


def financial():
    sheet = Sheet("annual-report.pdf", 30)
    sheet.text(60, 60, "Harbor Group annual report 2024", 18)
    sheet.lines(
        60,
        90,
        [
            "Harbor Group sells instruments to laboratories in three regions. The table below gives net",
            "sales by region. Growth in Asia came from two new distributors, while Europe was weak.",
        ],
    )
    sheet.text(60, 140, "Table 3: Net sales by region", 10)
    sheet.text(60, 153, "(in millions of dollars)", 9)
    columns = (330, 410, 500)
    sheet.row(175, "Region", ("2024", "2023", "Change"), columns)
    sheet.row(192, "Europe", ("24.1", "25.1", "(4.0)%"), columns)
    sheet.row(207, "Asia", ("18.7", "15.2", "23.0%"), columns)
    sheet.row(222, "North America", ("31.5", "30.9", "1.9%"), columns)
    sheet.row(237, "Total net sales", ("74.3", "71.2", "4.4%"), columns)
    sheet.lines(
        60,
        275,
        [
            "Research spending rose to $6.2 million in 2024 because two laboratories were opened in",
            "Lisbon. The board expects no further sites before 2027.",
        ],
    )
    return sheet


def two_headers():
    sheet = Sheet("segments.pdf", 4)
    sheet.text(60, 80, "Table 7. Revenue and profit by segment, $ million", 10)
    for x, text in ((290, "Revenue"), (450, "Operating profit")):
        sheet.text(x, 105, text, 10, centre=True)
    columns = (270, 340, 430, 500)
    sheet.row(122, "", ("2024", "2023", "2024", "2023"), columns)
    sheet.text(60, 140, "Instruments")
    sheet.row(155, "Sensors", ("120", "110", "31", "28"), columns, x=72)
    sheet.row(170, "Pumps", ("85", "90", "12", None), columns, x=72)
    sheet.text(60, 185, "Services")
    sheet.row(200, "Repair", ("40", "38", "9", "8"), columns, x=72)
    sheet.row(215, "Training and", (None, None, None, None), columns, x=72)
    sheet.row(228, "certification", ("15", "11", "3", "2"), columns, x=72)
    sheet.row(245, "Total", ("260", "249", "55", "49"), columns)
    return sheet


def bars():
    sheet = Sheet("energy.pdf", 1)
    sheet.text(60, 70, "Electricity from renewable sources", 16)
    sheet.text(60, 95, "Figure 2: Generation by source, 2024 (gigawatt hours)", 10)
    for step in range(6):  # the axis
        sheet.text(85, 400 - 40 * step, str(step * 1000), 9, right=True)
    places = (
        (140, "Solar", "2,310"),
        (230, "Onshore wind", "3,050"),
        (330, "Offshore wind", "4,180"),
        (430, "Hydro", "1,120"),
    )
    for x, label, value in places:
        top = 400 - 40 * float(value.replace(",", "")) / 1000
        sheet.text(x, top - 4, value, 9, centre=True)
        sheet.text(x, 416, label, 9, centre=True)
    sheet.lines(
        60,
        470,
        [
            "Offshore wind was the largest source for the first time. Hydro suffered from a dry spring and a",
            "long repair of the dam at Morvan, which is expected to return to service in June 2025.",
        ],
    )
    return sheet


def two_columns():
    sheet = Sheet("paper.pdf", 2)
    sheet.text(297, 60, "Reading meters at night with cheap cameras", 16, centre=True)
    left = [
        "We study how well a small camera",
        "reads water meters after dark. The",
        "data were collected in 214 homes",
        "between March and July 2023. Each",
        "meter was read twice by a person.",
        "The readers agreed in 98.2% of all",
        "cases, e.g. when glass was clean, and",
        "we use their mean as the truth.",
    ]
    right = [
        "Our best model reaches an accuracy",
        "of 93.4% on the held-out homes. It",
        "needs 41 ms for a picture on a",
        "phone. Errors come from conden-",
        "sation on the glass. Prof. A. Keller",
        "suggested the heated lens that",
        "removed half of them. We thank the",
        "town of Brackwede for its support.",
    ]
    sheet.text(60, 100, "2 Data", 12, bold=True)
    sheet.lines(60, 118, left, 10)
    sheet.text(310, 100, "3 Results", 12, bold=True)
    sheet.lines(310, 118, right, 10)
    return sheet


def form():
    sheet = Sheet("claim-form.pdf", 0)
    sheet.text(60, 60, "Motor insurance claim", 16)
    sheet.text(60, 100, "Policy details", 12, bold=True)
    pairs = (
        ("Policy number:", "12-345"),
        ("Policy holder:", "Anna Lindqvist"),
        ("Valid until:", "31 March 2026"),
        ("Excess:", "$ 450"),
    )
    for number, (label, value) in enumerate(pairs):
        sheet.text(60, 122 + 18 * number, label)
        sheet.text(200, 122 + 18 * number, value)
    sheet.text(60, 215, "Accident", 12, bold=True)
    sheet.text(60, 235, "Place of accident: Corner of Mill Lane and Harbour Street")
    sheet.text(60, 253, "Date: 4 February 2025")
    sheet.text(330, 253, "Time: 17:40")
    sheet.text(60, 285, "Registration", 7)
    sheet.text(60, 298, "KLM 471", 11)
    sheet.text(200, 285, "Make and model", 7)
    sheet.text(200, 298, "Volvo V60", 11)
    return sheet


def slide():
    sheet = Sheet("strategy-deck.pdf", 5, (960, 540))
    sheet.text(60, 70, "Priorities for 2026", 36)
    for number, text in enumerate(
        (
            "Open the Rotterdam warehouse",
            "Cut delivery time to two days",
            "Train 40 service engineers",
        )
    ):
        sheet.text(80, 150 + 60 * number, "•", 24)
        sheet.text(110, 150 + 60 * number, text, 24)
    return sheet


PAGES = {
    "financial": financial,
    "two_headers": two_headers,
    "bars": bars,
    "two_columns": two_columns,
    "form": form,
    "slide": slide,
}


@pytest.fixture(scope="session")
def sheets():
    """Every sheet by name."""
    return {name: make() for name, make in PAGES.items()}


@pytest.fixture(scope="session")
def ranked():
    """`rank`, for tests to build rankings with."""
    return rank


@pytest.fixture(scope="session")
def blank_sheet():
    """The class, for pages of a test's own."""
    return Sheet
