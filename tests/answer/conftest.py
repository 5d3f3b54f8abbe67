"""Pages drawn by hand for the answerers: what stands where is known."""

import random
from dataclasses import replace

import pymupdf
import pytest

import mmrag
from mmrag.blocks import Block, Cell, Table
from mmrag.documents import ReaderSettings
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


def letter(number):
    """One of several pages with the same running head and foot."""
    sheet = Sheet("letter.pdf", number)
    sheet.text(60, 30, "Ostrava Tram Works - confidential letter", 8)
    sheet.text(60, 90, ("Tram wheels are turned every spring", "Brakes last four years")[number], 14)
    lines = (
        [
            "The wheels of all trams are turned on a lathe in March, when fewer people ride. A wheel loses",
            "about four millimetres each time. Mr Novotny keeps the list of the wheels that were replaced.",
        ],
        [
            "Brake pads are changed after four years or ninety thousand kilometres. The depot in Hrabova",
            "stores two hundred pads, which is enough for one winter.",
        ],
    )[number]
    sheet.lines(60, 115, lines)
    sheet.text(60, 810, "Ostrava Tram Works, Vitkovicka 3, 70200 Ostrava", 8)
    sheet.text(540, 810, f"Page {number + 1} of 2", 8, right=True)
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


@pytest.fixture(scope="session")
def structured(structure_models):
    """Every sheet, and both letters, as the real reader reads them: words and blocks, by name."""
    drawn = {
        **{name: make() for name, make in PAGES.items()},
        "letter": letter(0),
        "second_letter": letter(1),
    }
    document = pymupdf.open()
    for sheet in drawn.values():
        document.insert_pdf(sheet.document)
    data = ("drawn.pdf", document.tobytes())
    pages = mmrag.read(data, settings=ReaderSettings(ocr="off", workers=1)).pages
    return dict(zip(drawn, pages, strict=True))


VOCABULARY = """
    amber barley cedar delta ember falcon garnet harbor island juniper kernel ladder meadow nickel orchard
    pepper quartz raven saddle timber umbrella velvet walnut yarrow zephyr 12 1,250 3.5 2019 $40 (7) 88%
"""
WORDS = tuple(VOCABULARY.split())


class Drawing:
    """Words on a page without a file, a line below the other, and their blocks."""

    def __init__(self, seed):
        self.noise = random.Random(seed)
        self.words, self.blocks, self.lines = [], [], 0

    def line(self, texts, left=0.05):
        """Place words side by side on a new line; return their positions."""
        first, x = len(self.words), left
        for text in texts:
            width = min(0.004 * len(text), 0.9)
            y = 0.0005 + 0.002 * self.lines
            self.words.append(Word(text, (min(x, 0.99), y, min(x + width, 1.0), y + 0.0015)))
            x += width + 0.002
        self.lines += 1
        return tuple(range(first, len(self.words)))

    def some_words(self, least, most):
        return [self.noise.choice(WORDS) for _ in range(self.noise.randint(least, most))]

    def box(self, positions):
        boxes = [self.words[position].box for position in positions]
        return (
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        )

    def running_text(self, kind):
        positions = []
        for _ in range(self.noise.randint(1, 5)):
            texts = self.some_words(1, 30)
            if self.noise.random() < 0.4:
                texts[-1] += "."
            if self.noise.random() < 0.05:
                texts.append("x" * self.noise.randint(200, 700))
            positions += self.line(texts)
        text = " ".join(self.words[position].text for position in positions)
        self.blocks.append(Block(kind, text, (self.box(positions),), 0, tuple(positions)))

    def table(self):
        rows, columns = self.noise.randint(1, 6), self.noise.randint(1, 7)
        cells, placed = [], []
        for row in range(rows):
            for column in range(columns):
                texts = self.some_words(0, self.noise.choice((1, 3, 3, 90)))
                positions = self.line(texts)
                placed += positions
                cells.append(Cell(row, column, " ".join(texts), None, words=positions))
        placed += self.line(self.some_words(1, 2))  # words that are in none of its cells
        grid = Table(
            rows, columns, tuple(cells), self.noise.randint(0, min(2, rows)), self.noise.randint(0, 1)
        )
        text = "\n".join("\t".join(row) for row in grid.grid())
        self.blocks.append(Block("table", text, (self.box(placed),), 0, tuple(placed), grid))

    def page(self):
        source = Source("5a" * 32, "pdf", "random.pdf", "/tmp/random.pdf")
        text = " ".join(word.text for word in self.words)
        page = Page(source.page_id(0), source.document_id, 0, "1", text, tuple(self.words), A4, source)
        return replace(page, blocks=tuple(self.blocks))


def random_page(seed):
    """A page of blocks of all kinds in a random order."""
    drawing = Drawing(seed)
    kinds = ("text", "list-item", "heading", "title", "caption", "picture", "footnote", "header", "footer")
    for _ in range(drawing.noise.randint(1, 8)):
        if drawing.noise.random() < 0.3:
            drawing.table()
        else:
            drawing.running_text(drawing.noise.choice(kinds))
    return drawing.page()


@pytest.fixture(scope="session")
def drawn_page():
    """`random_page`, of a seed."""
    return random_page


@pytest.fixture(scope="session")
def drawing():
    """The class, for blocks of a test's own."""
    return Drawing
