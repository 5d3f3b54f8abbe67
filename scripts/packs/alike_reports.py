"""Quarterly reports of a few companies: the same headings everywhere, other figures each quarter."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from packs.alike_texts import EVENTS, TEXTS
from packs.figures import ACCOUNTS, EUROPEAN, day
from packs.folio import Ask, Call, Draft, Folio, Manner
from packs.grid import Column, Grid, Row, figure
from packs.names import Kit

ENDS = ((3, 31), (6, 30), (9, 30), (12, 31))
ORDINALS = ("first", "second", "third", "fourth")
SEGMENTS = (
    ("Industrial", "Consumer", "Services"),
    ("Europe", "Americas", "Asia-Pacific"),
    ("Instruments", "Consumables", "Software"),
    ("Wholesale", "Retail", "Projects"),
)
TRADES = ("Instruments", "Logistics", "Ceramics", "Energy")
CURRENCIES = ("EUR", "USD", "EUR", "CHF")


@dataclass(frozen=True)
class Company:
    """A company that reports: short name, full name, and what stays the same from quarter to quarter."""

    name: str
    full: str
    town: str
    chief: str
    currency: str
    scale: float
    segments: tuple[str, str, str]


def company(seed: int, position: int, root: str) -> Company:
    """The company of a position: its reports all have the same one."""
    kit = Kit(seed, position, f"company-{position}")
    return Company(
        root,
        f"{root} {TRADES[position]} {('AG', 'Inc.', 'plc', 'Group')[position]}",
        kit.town(),
        kit.person(),
        CURRENCIES[position],
        kit.rng.uniform(180, 900),
        SEGMENTS[position],
    )


def report(
    kit: Kit, firm: Company, manner: Manner, year: int, quarter: int, event: int, newest: bool
) -> Draft:
    """The report of a quarter."""
    month, last = ENDS[quarter - 1]
    end = datetime.date(year, month, last)
    before = f"{firm.full}: report for the {ORDINALS[(quarter - 2) % 4]} quarter"
    folio = Folio(manner, f"{firm.full}: Q{quarter} {year}", before, firm.full)
    _cover(kit, folio, firm, end, quarter)
    _discussion(kit, folio, firm, event)
    _statements(kit, folio, firm, end)
    _segments(kit, folio, firm)
    _risks(kit, folio, firm)
    _controls(kit, folio, firm, end)
    return Draft(
        folio, _calls(firm, year, quarter, end), _latest(firm) if newest else (), _absent(kit, firm), "Report"
    )


def _calls(firm: Company, year: int, quarter: int, end: datetime.date) -> tuple[Call, ...]:
    ordinal, month = ORDINALS[quarter - 1], f"{end:%B}"
    return (
        Call(f"{firm.name}'s Q{quarter} {year} report", firm.name, f"in Q{quarter} {year}"),
        Call(
            f"the {firm.name} report for the {ordinal} quarter of {year}",
            firm.name,
            f"in the {ordinal} quarter of {year}",
        ),
        Call(
            f"{firm.full}'s interim report as of {end.day} {month} {year}",
            firm.full.rstrip("."),
            f"in the three months to {end.day} {month} {year}",
        ),
        Call(
            f"the {ordinal}-quarter {year} statement of {firm.name}",
            firm.name,
            f"between {datetime.date(year, end.month - 2, 1):%B} and {month} {year}",
        ),
    )


def _latest(firm: Company) -> tuple[Call, ...]:
    return (
        Call(f"{firm.name}'s latest quarterly report", firm.name, "in its latest quarter"),
        Call(f"the most recent report of {firm.name}", firm.name, "in the most recent quarter reported"),
        Call(f"the newest interim report by {firm.full}", firm.name, "according to its newest report"),
    )


def _absent(kit: Kit, firm: Company) -> tuple[str, ...]:
    year, quarter = kit.rng.randint(2014, 2020), kit.pick(ORDINALS)
    return (
        f"How many shares did {firm.name} buy back {{when}}?",
        f"What did {firm.name} pay its directors {{when}}?",
        f"What did research and development cost {firm.name} in the {quarter} quarter of {year}?",
        f"How much carbon dioxide did {firm.name} emit {{when}}?",
        f"What inventories does {firm.name}'s Q{kit.rng.randint(1, 4)} {year} report show?",
    )


def _notes(kit: Kit, folio: Folio) -> None:
    """Paragraphs beneath a statement."""
    folio.section("Notes", 1)
    for count in (3, 4, 3):
        _texts(kit, folio, count)


def _amount(kit: Kit, firm: Company, low: float, high: float) -> str:
    return f"{firm.currency} {kit.rng.uniform(low, high) * firm.scale / 100:.2f} million"


def _texts(kit: Kit, folio: Folio, count: int) -> None:
    """A paragraph of sentences that could stand in any quarter's report."""
    if len(kit.sentences) < count:
        kit.sentences = kit.rng.sample(TEXTS, len(TEXTS))
    folio.say(" ".join(kit.sentences.pop() for _ in range(count)))


def _cover(kit: Kit, folio: Folio, firm: Company, end: datetime.date, quarter: int) -> None:
    folio.y = 150
    folio.line(firm.full, 24, True, 10)
    folio.line("Quarterly report", 17, after=26)
    way = kit.pick(("long", "american"))
    folio.line(f"For the {ORDINALS[quarter - 1]} quarter, three months ended {day(end, way)}", 12, after=10)
    out = end + datetime.timedelta(kit.rng.randint(28, 44))
    folio.line(f"Published on {day(out, way)}", 11, after=40)
    folio.line(f"Seat of the company: {firm.town}", 10)
    folio.line(f"Chairman of the management board: {firm.chief}", 10)
    folio.y += 30
    folio.line("Contents", 12, True)
    for text in (
        "Management discussion and analysis", "Consolidated balance sheet", "Consolidated income statement",
        "Consolidated cash flow statement", "Segment information", "Risk factors", "Controls and procedures",
        "Exhibits",
    ):  # fmt: skip
        folio.line(text)
    folio.y += 20
    folio.say(
        "This report contains statements about the future that rest on assumptions. Actual results "
        "may differ. "
        "The figures have not been audited."
    )


def _discussion(kit: Kit, folio: Folio, firm: Company, event: int) -> None:
    folio.section("Management discussion and analysis", fresh=True)
    folio.section("Course of business", 1)
    _texts(kit, folio, 4)
    folio.say(
        f"Incoming orders came to {{{_amount(kit, firm, 90, 130)}}}. Higher prices added "
        f"{{{kit.rng.uniform(0.6, 4.9):.2f} percentage points}} to growth, the rest was volume.",
        Ask(
            (
                "How large were incoming orders at {who} {when}?",
                "What value of new orders did {who} book {when}?",
            )
        ),
        Ask(("How much did price increases add to growth at {who} {when}?",)),
    )
    _texts(kit, folio, 5)
    folio.section("Sales and earnings", 1)
    _texts(kit, folio, 5)
    _texts(kit, folio, 4)
    folio.section("Financial position", 1)
    _texts(kit, folio, 5)
    _texts(kit, folio, 3)
    folio.section("Employees", 1)
    _texts(kit, folio, 4)
    folio.say(
        f"At the end of the quarter the group employed {{{kit.rng.randint(2300, 9800):,}}} people, "
        "counted as "
        "full-time equivalents. Apprentices and interns are not included.",
        Ask(
            (
                "What was the headcount of {who} according to {doc}?",
                "How many people worked for {who} as {doc} says?",
            )
        ),
    )
    folio.section("Capital expenditure", 1)
    folio.say(
        f"The group invested {{{_amount(kit, firm, 3, 9)}}} in plant and equipment, most of it in "
        "replacements. "
        "Projects that were begun earlier were continued on schedule and within their budgets.",
        Ask(
            (
                "How much did {who} invest in plant and equipment {when}?",
                "What was {who}'s capital spending {when}?",
            )
        ),
    )
    folio.section("Particular events", 1)
    _texts(kit, folio, 4)
    text, question = EVENTS[event]
    town = kit.town().split(" ", 1)[1]
    folio.say(
        text.replace("{value}", "{" + _amount(kit, firm, 0.3, 2.9) + "}").replace("{town}", town),
        Ask(unnamed=(question,)),
    )
    folio.section("Outlook", 1)
    low = kit.rng.uniform(3, 8)
    folio.say(
        "The board has reviewed its expectations. It now expects an operating margin of between "
        f"{{{low:.1f} and {low + kit.rng.uniform(0.6, 1.9):.1f} per cent}} for the full year. "
        "This assumes that exchange rates stay where they are.",
        Ask(
            (
                "What margin does {doc} forecast for the full year?",
                "Which operating margin does management expect for the year in {doc}?",
            )
        ),
    )
    _texts(kit, folio, 3)


def _grid(
    kit: Kit, firm: Company, end: datetime.date, caption: str, rows: list[tuple[str, float, str]]
) -> Grid:
    """A statement of this quarter beside that of the year before; a row's role is "row" or "total"."""
    hand = EUROPEAN if firm.currency == "CHF" else ACCOUNTS
    lines = tuple(
        Row(
            name,
            (figure(value, hand, 2), figure(round(value * kit.rng.uniform(0.83, 1.14), 2), hand, 2)),
            role,
        )
        for name, value, role in rows
    )
    columns = (Column((day(end, "short"),)), Column((day(end.replace(year=end.year - 1), "short"),)))
    return Grid(f"{firm.currency} million", columns, lines, caption, ("Unaudited.",), hand)


def _statements(kit: Kit, folio: Folio, firm: Company, end: datetime.date) -> None:
    folio.section("Consolidated balance sheet", fresh=True)
    _texts(kit, folio, 2)
    draw = _drawer(kit, firm)
    assets = [("Intangible assets", draw(40, 60)), ("Property, plant and equipment", draw(70, 120))]
    assets += [("Deferred tax assets", draw(2, 6)), ("Inventories", draw(50, 80))]
    assets += [("Trade receivables", draw(45, 75)), ("Cash and cash equivalents", draw(15, 45))]
    total = round(sum(value for _, value in assets), 2)
    debts = [("Pension provisions", draw(12, 24)), ("Other provisions", draw(4, 11))]
    debts += [("Bank loans", draw(40, 80)), ("Trade payables", draw(25, 48)), ("Tax liabilities", draw(2, 9))]
    equity = round(total - sum(value for _, value in debts), 2)
    rows = [(name, value, "row") for name, value in assets] + [("Total assets", total, "total")]
    rows += [("Equity", equity, "row"), *((name, value, "row") for name, value in debts)]
    rows.append(("Total equity and liabilities", total, "total"))
    asks = {
        ("Inventories", 0): Ask(
            ("How large were the inventories in {doc}?", "What value of stock did {who} hold as {doc} shows?")
        ),
        ("Bank loans", 0): Ask(("How much did {who} owe to banks according to {doc}?",)),
        ("Pension provisions", 0): Ask(("What is set aside for pensions in {doc}?",)),
        ("Trade receivables", 0): Ask(
            ("What did customers owe to {who} at the date of {doc}?", "Trade receivables in {doc}?")
        ),
        ("Equity", 0): Ask(("How high is shareholders' equity in {doc}?",)),
    }
    folio.table(_grid(kit, firm, end, "Assets, equity and liabilities", rows), asks)
    _notes(kit, folio)
    profit = _income(kit, folio, firm, end, draw)
    folio.section("Consolidated cash flow statement", fresh=folio.manner.is_airy)
    _texts(kit, folio, 2)
    flows = [("Net profit", profit), ("Depreciation and amortisation", draw(3, 8))]
    flows += [("Change in working capital", -draw(0.5, 5)), ("Other items", draw(0.1, 2))]
    operating = round(sum(value for _, value in flows), 2)
    rest = [("Purchase of equipment", -draw(3, 9)), ("Sale of fixed assets", draw(0.1, 1.6))]
    rest += [
        ("Repayment of loans", -draw(1, 5)),
        ("New loans", draw(0.3, 6)),
        ("Interest paid", -draw(0.4, 2)),
    ]
    rows = [(name, value, "row") for name, value in flows]
    rows += [("Cash flow from operations", operating, "total"), *((n, v, "row") for n, v in rest)]
    rows.append(("Change in cash", round(operating + sum(v for _, v in rest), 2), "total"))
    asks = {
        ("Depreciation and amortisation", 0): Ask(
            ("How high were depreciation and amortisation at {who} {when}?",)
        ),
        ("Cash flow from operations", 0): Ask(
            ("What cash did {who}'s operations generate {when}?", "Operating cash flow of {who} {when}?")
        ),
        ("Interest paid", 0): Ask(("How much interest did {who} pay {when}?",)),
        ("Repayment of loans", 0): Ask(("What sum of loans did {who} pay back {when}?",)),
    }
    folio.table(_grid(kit, firm, end, "Cash flows, three months", rows), asks)
    if folio.manner.is_airy:
        _notes(kit, folio)


def _drawer(kit: Kit, firm: Company):
    """Draws amounts in millions, as shares of the company's size in per cent."""

    def draw(low: float, high: float) -> float:
        return round(kit.rng.uniform(low, high) * firm.scale / 100, 2)

    return draw


def _income(kit: Kit, folio: Folio, firm: Company, end: datetime.date, draw) -> float:
    """The income statement; returns the net profit, millions."""
    folio.section("Consolidated income statement", fresh=True)
    _texts(kit, folio, 2)
    revenue, cost = draw(95, 115), draw(58, 68)
    gross = round(revenue - cost, 2)
    costs = [("Selling expenses", draw(9, 14)), ("Administrative expenses", draw(5, 8))]
    costs.append(("Research and development", draw(3, 6)))
    other = draw(0.2, 1.5)
    operating = round(gross - sum(value for _, value in costs) + other, 2)
    finance, tax = draw(0.6, 1.8), draw(1, 3)
    profit = round(operating - finance - tax, 2)
    rows = [("Revenue", revenue, "row"), ("Cost of sales", -cost, "row"), ("Gross profit", gross, "total")]
    rows += [(name, -value, "row") for name, value in costs]
    rows += [("Other operating income", other, "row"), ("Operating profit", operating, "total")]
    rows += [("Finance costs", -finance, "row"), ("Income tax", -tax, "row"), ("Net profit", profit, "total")]
    asks = {
        ("Research and development", 0): Ask(
            (
                "What did {who} spend on research and development {when}?",
                "How high was the R&D expense in {doc}?",
            )
        ),
        ("Administrative expenses", 0): Ask(("What did administration cost {who} {when}?",)),
        ("Selling expenses", 0): Ask(("How much did selling cost {who} {when}?",)),
        ("Gross profit", 0): Ask(("What gross profit did {who} make {when}?",)),
        ("Income tax", 0): Ask(("How much income tax does {doc} show?",)),
        ("Operating profit", 0): Ask(
            (
                "What was the operating result of {who} {when}?",
                "How much did {who} earn from operations {when}?",
            )
        ),
    }
    folio.table(_grid(kit, firm, end, "Income statement, three months", rows), asks)
    _notes(kit, folio)
    return profit


def _segments(kit: Kit, folio: Folio, firm: Company) -> None:
    folio.section("Segment information", fresh=True)
    _texts(kit, folio, 3)
    hand, draw = (EUROPEAN if firm.currency == "CHF" else ACCOUNTS), _drawer(kit, firm)
    rows = tuple(
        Row(
            name,
            (figure(draw(20, 48), hand, 2), figure(draw(1, 6), hand, 2), figure(draw(15, 60), hand, 2)),
        )
        for name in firm.segments
    )
    columns = (Column(("External sales",)), Column(("Segment result",)), Column(("Assets employed",)))
    asks = {
        (name, column): Ask((text.replace("{name}", name),))
        for name in firm.segments
        for column, text in (
            (0, "How much did {who} sell in its {name} segment {when}?"),
            (1, "What result did the {name} segment of {who} have {when}?"),
        )
    }
    plate = folio.table(
        Grid(f"{firm.currency} million", columns, rows, "Segments", ("Before consolidation.",), hand), asks
    )
    first, second = firm.segments[0], firm.segments[2]
    folio.add_sum(
        plate,
        (first, second),
        0,
        f"What did the segments {first} and {second} of {{who}} sell together {{when}}, in millions?",
        2,
    )
    _texts(kit, folio, 5)
    _texts(kit, folio, 4)


def _risks(kit: Kit, folio: Folio, firm: Company) -> None:
    folio.section("Risk factors", fresh=folio.manner.is_airy)
    _texts(kit, folio, 3)
    folio.section("Market and demand", 1)
    _texts(kit, folio, 5)
    folio.section("Currencies and interest", 1)
    folio.say(
        f"Forward contracts with a nominal value of {{{_amount(kit, firm, 9, 40)}}} secure purchases "
        "in foreign "
        "currencies. Loans with variable rates are partly covered by swaps. The group does not trade in such "
        "instruments for their own sake.",
        Ask(
            (
                "What is the nominal value of the currency forwards in {doc}?",
                "How much of its foreign purchasing had {who} hedged with forwards, going by {doc}?",
            )
        ),
    )
    folio.section("Legal proceedings", 1)
    folio.say(
        "Claims are pending in several countries. The largest of them concerns a delivery made years "
        "ago; the "
        f"plaintiff asks for {{{_amount(kit, firm, 2, 7)}}}. Management holds the claim to be without merit.",
        Ask(("How much does the plaintiff in the largest lawsuit demand, according to {doc}?",)),
    )
    folio.section("Warranties", 1)
    folio.say(
        f"Provisions for warranties rose to {{{_amount(kit, firm, 1, 4)}}}, since units sold grew. The "
        "rate of "
        "complaints did not change.",
        Ask(("What provision for warranty claims is named in {doc}?",)),
    )
    folio.section("Dependence on customers", 1)
    folio.say(
        f"The ten largest customers accounted for {{{kit.rng.uniform(18, 44):.1f} per cent}} of sales. "
        "No single one reached a tenth.",
        Ask(("What share of sales fell to the ten biggest customers of {who} {when}?",)),
    )


def _controls(kit: Kit, folio: Folio, firm: Company, end: datetime.date) -> None:
    folio.section("Controls and procedures", fresh=folio.manner.is_airy)
    folio.say(
        f"Internal audit carried out {{{kit.rng.randint(61, 398)} tests}} of controls in the quarter. "
        "Weaknesses "
        "were found in the approval of orders and have been remedied. The chairman and the finance director "
        "have concluded that the controls over reporting are effective.",
        Ask(("How many control tests did internal audit at {who} carry out {when}?",)),
    )
    _texts(kit, folio, 3)
    folio.section("Exhibits")
    folio.say(f"10.1 Credit agreement with {kit.other_firm()}, as amended.")
    folio.say(f"10.2 Lease of the building at {kit.street()}, {firm.town}.")
    folio.say("31.1 Declaration of the chairman of the management board.")
    folio.say("31.2 Declaration of the finance director.")
    folio.say(f"99.1 List of subsidiaries as of {day(end, 'long')}.")
