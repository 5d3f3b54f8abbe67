"""Tables about money: statements, budgets, ledgers, prices, loans."""

from __future__ import annotations

import datetime

from packs.figures import Hand, day, same_day
from packs.grid import Cell, Column, Grid, Row, figure, words
from packs.names import TOWNS, Kit
from packs.topic import Topic
from packs.truth import Wording

OF_ITEM = (
    "What is the {row} of {who} for {col}?",
    "How much {row} did {who} show in {col}?",
    "{row} of {who}, {col}: what is the figure?",
    "For {col}, what does {who} state under {row}?",
)


def income_statement(kit: Kit, hand: Hand) -> Topic:
    """Years side by side, amounts in thousands, notes column, subtotals."""
    firm = kit.firm()
    last = kit.rng.randint(2017, 2025)
    years = [str(last - n) for n in range(kit.pick((2, 3)))]
    sales = [kit.rng.uniform(20_000, 90_000)]
    while len(sales) < len(years):
        sales.append(sales[-1] * kit.rng.uniform(0.85, 1.02))
    parts = {
        "Revenue": sales,
        "Cost of sales": [-s * kit.rng.uniform(0.5, 0.7) for s in sales],
        "Distribution costs": [-s * kit.rng.uniform(0.03, 0.09) for s in sales],
        "Administrative expenses": [-s * kit.rng.uniform(0.06, 0.12) for s in sales],
        "Other operating income": [s * kit.rng.uniform(0.004, 0.02) for s in sales],
        "Finance costs": [-s * kit.rng.uniform(0.005, 0.03) for s in sales],
        "Income tax": [-s * kit.rng.uniform(0.01, 0.04) for s in sales],
    }
    parts = {name: [float(round(v)) for v in values] for name, values in parts.items()}
    lines: list[tuple[str, list[float], str]] = []
    running = [0.0] * len(years)
    sums = {
        "Cost of sales": "Gross profit",
        "Other operating income": "Operating profit",
        "Income tax": "Profit for the year",
    }
    for name, values in parts.items():
        running = [a + b for a, b in zip(running, values, strict=True)]
        lines.append((name, values, "row"))
        if name in sums:
            lines.append((sums[name], running, "total"))
    unit = kit.pick(("in thousands of dollars", "in € thousand", "£'000", "in thousands of Swiss francs"))
    rows = tuple(
        Row(
            n,
            (
                words(kit.pick(("", "4", "7", "9", "12")) if role == "row" else ""),
                *(figure(v, hand) for v in vs),
            ),
            role,
        )
        for n, vs, role in lines
    )
    grid = Grid(
        kit.pick(("", unit)) or unit,
        (Column(("Note",), "center", is_aside=True), *(Column((y,)) for y in years)),
        rows,
        f"Consolidated income statement for the year ended 31 December {last} ({unit})",
        hand=hand,
        has_nouns=True,
    )
    wording = Wording(
        OF_ITEM,
        firm,
        "item",
        ("Which {row_noun} of {who} is {most} in {col}?",),
        ("Goodwill impairment", "Research grants", "Share-based payments"),
        (str(last + 2), str(last - 7)),
    )
    return Topic(f"{firm}: annual accounts {last}", "Annual accounts", ((grid, wording),), firm, False)


def quarters(kit: Kit, hand: Hand) -> Topic:
    """Two years over four quarters under spanning heads."""
    firm = kit.firm()
    last = kit.rng.randint(2019, 2025)
    regions = kit.some(
        (
            "Northern Europe",
            "Iberia",
            "Benelux",
            "Alpine region",
            "Baltic states",
            "Balkans",
            "Middle East",
            "Overseas",
        ),
        6,
    )
    columns = tuple(Column((str(y), f"Q{q}")) for y in (last - 1, last) for q in (1, 2, 3, 4))
    data = [[round(kit.rng.uniform(80, 4800), 1) for _ in columns] for _ in regions]
    rows = [Row(n, tuple(figure(v, hand, 1) for v in vs)) for n, vs in zip(regions, data, strict=True)]
    rows.append(
        Row("All regions", tuple(figure(round(sum(c), 1), hand, 1) for c in zip(*data, strict=True)), "total")
    )
    nth = ("first", "second", "third", "fourth")
    spoken = {
        f"{y} / Q{q}": f"the {nth[q - 1]} quarter of {y}" for y in (last - 1, last) for q in (1, 2, 3, 4)
    }
    grid = Grid(
        "Region",
        columns,
        tuple(rows),
        f"Table 3. Net sales by region and quarter, {kit.pick(('million euros', 'EUR m', 'USD m'))}",
        hand=hand,
        words=spoken,
    )
    wording = Wording(
        (
            "What were net sales of {who} in {row} in {col}?",
            "How much did {who} sell in {row} in {col}?",
            "Net sales, {row}, {col} ({who})",
            "In {col}, what did {row} bring in at {who}?",
        ),
        firm,
        "region",
        (
            "Which {row_noun} had the {most} net sales of {who} in {col}?",
            "In {col}, where were sales of {who} {most}?",
        ),
        ("Oceania", "Patagonia"),
        (f"the first quarter of {last + 2}", f"the third quarter of {last - 4}"),
    )
    return Topic(f"{firm}: sales review {last}", "Sales report", ((grid, wording),), firm)


def budget(kit: Kit, hand: Hand) -> Topic:
    """A town's budget: planned, actual, deviation; heads over groups of rows; missing cells."""
    town = f"{kit.root}-{kit.pick(('am-See', 'Valley', 'Parish', 'District'))}"
    year = kit.rng.randint(2018, 2025)
    groups = {
        "Schools and childcare": ("Staff", "Buildings", "Meals", "Transport of pupils"),
        "Roads and public space": ("Repairs", "Winter service", "Street lighting", "Parks"),
        "Culture and sport": ("Library", "Swimming hall", "Music school"),
    }
    rows: list[Row] = []
    total = [0.0, 0.0]
    for group, names in groups.items():
        rows.append(Row(group, role="group"))
        for name in names:
            plan = round(kit.rng.uniform(15_000, 2_400_000), 2)
            actual = round(plan * kit.rng.uniform(0.8, 1.2), 2)
            cells = [figure(plan, hand, 2), figure(actual, hand, 2), figure(round(actual - plan, 2), hand, 2)]
            if kit.rng.random() < 0.12:
                cells[1:] = [words("–"), words("–")]
                actual = 0
            total = [total[0] + plan, total[1] + actual]
            rows.append(Row(name, tuple(cells), group=group))
    rows.append(
        Row(
            "Total expenditure",
            (*(figure(round(t, 2), hand, 2) for t in total), figure(round(total[1] - total[0], 2), hand, 2)),
            "total",
        )
    )
    columns = (Column((f"Budget {year}",)), Column((f"Actual {year}",)), Column(("Deviation",)))
    grid = Grid(
        "Item",
        columns,
        tuple(rows),
        f"Expenditure of {town} in {year}, euros",
        ("– not yet settled when this went to print.",),
        hand,
        {
            f"Budget {year}": f"the budget of {year}",
            f"Actual {year}": f"the actual accounts of {year}",
            "Deviation": "deviation from the budget",
        },
        has_nouns=True,
    )
    wording = Wording(
        (
            "What stands under {col} for {row} in {who}?",
            "How many euros are given for {row} in {col} of {who}?",
            "{who}: {row}, {col}?",
            "Look up {row} in {col} for {who}.",
        ),
        town,
        "item",
        ("Which {row_noun} is {most} in {col} of {who}?",),
        ("Cemetery", "Fire brigade", "Airport"),
        (f"the budget of {year + 3}", f"the actual accounts of {year - 3}"),
    )
    return Topic(f"{town}: annual budget report {year}", "Public budget", ((grid, wording),), town)


def ledger(kit: Kit, hand: Hand) -> Topic:
    """A ledger's lines over pages: numeric names of rows, days, text, debit, credit and balance."""
    firm = kit.firm()
    count = kit.rng.randint(48, 75)
    date = datetime.date(kit.rng.randint(2019, 2025), 1, 4)
    balance = round(kit.rng.uniform(2_000, 30_000), 2)
    shape = kit.pick(("iso", "dots", "slashes"))
    rows = []
    number = kit.rng.randint(20_000, 70_000)
    subjects = (
        "Office supplies",
        "Rent of store",
        "Transfer",
        "Customer payment",
        "Wages",
        "Electricity",
        "Insurance premium",
        "Freight",
        "Refund",
        "Bank charges",
        "Repair of van",
        "Postage",
    )
    for _ in range(count):
        number += kit.rng.randint(1, 6)
        date += datetime.timedelta(kit.rng.randint(0, 4))
        amount = round(kit.rng.uniform(12, 6_400), 2)
        is_debit = kit.rng.random() < 0.55
        balance = round(balance + (-amount if is_debit else amount), 2)
        empty = words("")
        debit, credit = (figure(amount, hand, 2), empty) if is_debit else (empty, figure(amount, hand, 2))
        subject = f"{kit.pick(subjects)} {kit.pick(('', kit.other_firm(), kit.pick(TOWNS)))}".strip()
        rows.append(
            Row(
                str(number),
                (
                    Cell(day(date, shape), accepted=same_day(date, shape)),
                    words(subject),
                    debit,
                    credit,
                    figure(balance, hand, 2),
                ),
            )
        )
    columns = (
        Column(("Date",), "left"),
        Column(("Text",), "left", 140),
        Column(("Debit",)),
        Column(("Credit",)),
        Column(("Balance",)),
    )
    spoken = {"Date": "date", "Text": "text", "Debit": "debit", "Credit": "credit", "Balance": "balance"}
    grid = Grid(
        "Voucher",
        columns,
        tuple(rows),
        f"Account {kit.code('####')} {kit.pick(('Current account', 'Sundry debtors', 'Petty cash'))}",
        hand=hand,
        words=spoken,
    )
    wording = Wording(
        (
            "What is the {col} of voucher {row} at {who}?",
            "Voucher {row} in the ledger of {who}: which {col} is entered?",
            "In the ledger of {who}, what {col} belongs to voucher number {row}?",
        ),
        firm,
        "voucher",
        ("Which {row_noun} has the {most} {col} in the ledger of {who}?",),
        (str(number + 4_321), str(number - 9_876)),
        has_sums=False,
        asks_holes=False,
    )
    return Topic(f"{firm}: ledger {date.year}", "Ledger", ((grid, wording),), firm)


def price_list(kit: Kit, hand: Hand) -> Topic:
    """Articles with wrapped descriptions, a unit and two prices, over pages."""
    firm = kit.firm(kit.pick(("Tools", "Fasteners", "Lighting", "Pumps")))
    things = (
        "Hex key set",
        "Work lamp",
        "Ratchet strap",
        "Clamp",
        "Hose",
        "Gloves",
        "Wall bracket",
        "Cable drum",
        "Sealing ring",
        "Trolley",
        "Ladder",
        "Filter bag",
        "Hinge",
        "Funnel",
        "Torque wrench",
        "Tarpaulin",
    )
    details = (
        "hardened steel, in a box with a lid that can be locked",
        "with a five metre lead and a hook for hanging",
        "galvanised, for outdoor use",
        "fits all models of the second series",
        "replaces the earlier type, which is no longer made",
        "double stitched seams, washable",
        "with spare parts",
        "supplied flat, tools for mounting are included",
    )
    rows, used = [], set()
    for _ in range(kit.rng.randint(26, 44)):
        code = kit.code("##-####")
        thing = f"{kit.pick(things)} {kit.code('@##')}"
        if code in used or thing in used:
            continue
        used |= {code, thing}
        price = round(kit.rng.uniform(2, 390), 2)
        unit = kit.pick(("piece", "pair", "pack of 10", "metre", "set"))
        second = figure(round(price * 0.88, 2), hand, 2) if kit.rng.random() < 0.85 else words("n/a")
        rows.append(
            Row(code, (words(f"{thing}, {kit.pick(details)}"), words(unit), figure(price, hand, 2), second))
        )
    columns = (
        Column(("Description",), "left", 170),
        Column(("Unit",), "left"),
        Column(("Price per unit",)),
        Column(("From 10 units",)),
    )
    spoken = {
        "Description": "description",
        "Unit": "unit of sale",
        "Price per unit": "price per unit",
        "From 10 units": "price from ten units up",
    }
    currency = kit.pick(("EUR", "CHF", "USD", "GBP"))
    grid = Grid(
        "Article",
        columns,
        tuple(rows),
        f"Price list, all prices in {currency} without tax",
        ("n/a: no reduction.",),
        hand,
        spoken,
    )
    wording = Wording(
        (
            "What is the {col} of article {row} from {who}?",
            "Article {row} in the price list of {who}: {col}?",
            "I want to order {row} from {who}. What is the {col}?",
        ),
        firm,
        "article",
        ("Which {row_noun} of {who} has the {most} {col}?",),
        (kit.code("##-####"),),
        unit=currency,
        has_sums=False,
        asks_holes=False,
    )
    return Topic(f"{firm}: price list", "Price list", ((grid, wording),), firm)


def loan(kit: Kit, hand: Hand) -> Topic:
    """A plan of repayments: numeric names, a date column, four amounts."""
    firm = kit.firm()
    principal = float(kit.rng.randrange(60_000, 900_000, 5_000))
    rate, count = kit.pick((0.021, 0.0345, 0.0475)), kit.pick((24, 36, 40))
    month, rest = datetime.date(kit.rng.randint(2019, 2025), kit.rng.randint(1, 12), 1), principal
    rows = []
    for number in range(1, count + 1):
        interest, part = round(rest * rate / 4, 2), round(principal / count, 2)
        rest = round(rest - part, 2) if number < count else 0.0
        date = Cell(day(month, "dots"), accepted=same_day(month, "dots"))
        rows.append(
            Row(
                str(number),
                (date, *(figure(v, hand, 2) for v in (round(interest + part, 2), interest, part, rest))),
            )
        )
        step = month.month + 2
        month = datetime.date(month.year + step // 12, step % 12 + 1, 1)
    columns = (
        Column(("Due on",), "left"),
        Column(("Payment",)),
        Column(("of which", "Interest")),
        Column(("of which", "Repayment")),
        Column(("Balance after payment",)),
    )
    spoken = {
        "Due on": "due date",
        "Payment": "payment",
        "of which / Interest": "interest",
        "of which / Repayment": "repayment",
        "Balance after payment": "balance after payment",
    }
    grid = Grid(
        "No.", columns, tuple(rows), f"Repayment plan, loan {kit.code('@@-######')}", hand=hand, words=spoken
    )
    wording = Wording(
        (
            "What is the {col} of instalment {row} of the loan to {who}?",
            "In the repayment plan of {who}, which {col} does number {row} have?",
            "Instalment no. {row}, {who}: {col}?",
        ),
        firm,
        "instalment",
        ("Which {row_noun} number has the {most} {col} in the plan of {who}?",),
        (str(count + 9), str(count + 15)),
        has_sums=False,
    )
    return Topic(f"{firm}: loan schedule", "Loan schedule", ((grid, wording),), firm)


def departments(kit: Kit, hand: Hand) -> Topic:
    """Small tables of one shape, one for each department: what differs is the caption."""
    firm = kit.firm()
    year = kit.rng.randint(2018, 2025)
    kinds = ("Salaries", "Travel", "Training", "Equipment", "Consultants", "Rent")
    tables = []
    for department in kit.some(
        ("Purchasing", "Quality assurance", "Legal affairs", "Customer service", "Field sales", "Workshop"), 3
    ):
        rows = []
        totals = [0.0, 0.0]
        for name in kinds:
            values = [float(kit.rng.randint(2_000, 480_000)) for _ in range(2)]
            totals = [a + b for a, b in zip(totals, values, strict=True)]
            rows.append(Row(name, tuple(figure(v, hand) for v in values)))
        rows.append(Row("Total", tuple(figure(v, hand) for v in totals), "total"))
        grid = Grid(
            "",
            (Column((str(year - 1),)), Column((str(year),))),
            tuple(rows),
            f"{department}",
            hand=hand,
            has_nouns=True,
        )
        wording = Wording(
            (
                f"What did the {department} department of {{who}} spend on {{row}} in {{col}}?",
                f"How much was {{row}} in {department} at {{who}} in {{col}}?",
                f"{{who}}, {department}: {{row}} in {{col}}?",
            ),
            firm,
            "kind of cost",
            (f"Which {{row_noun}} was {{most}} in {department} at {{who}} in {{col}}?",),
            ("Licences", "Advertising"),
            (str(year + 2), str(year - 5)),
        )
        tables.append((grid, wording))
    return Topic(f"{firm}: costs by department {year}", "Cost report", tuple(tables), firm)


TOPICS = (income_statement, quarters, budget, ledger, price_list, loan, departments)
