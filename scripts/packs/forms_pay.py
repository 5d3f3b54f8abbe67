"""Payslips and the slips of tills."""

from __future__ import annotations

from packs.book import BLACK, Book
from packs.drawing import draw
from packs.fields import Field, Form
from packs.figures import MONTHS, same
from packs.grid import Column, Grid, Row, figure
from packs.names import Kit
from packs.paper import Paper, Style, amount, dated
from packs.truth import Query, Wording, ask_cells


def payslip(kit: Kit, style: Style) -> Paper:
    """Person, earnings, deductions, net pay."""
    firm, person = kit.firm(), kit.own_person()
    book = Book(style.size, f"Payslip {person}", firm)
    form = Form(book, style.face, style.face.plain, 9.5)
    month = f"{kit.pick(MONTHS)} {kit.rng.randint(2020, 2025)}"
    book.write(56, 62, firm, 13, style.face.bold)
    book.write(book.width - 56, 62, f"Payslip {month}", 11, style.face.plain, align="right")
    head = [
        Field("Employee", person, "employee"),
        Field("Personnel no.", kit.code("#####"), "personnel number"),
        Field(
            "Department",
            kit.pick(("Dispatch", "Assembly", "Accounts", "Research", "Kitchen")),
            "department",
            ("Which department is the person in {where}?",),
        ),
        Field("Tax class", kit.pick(("1", "2", "3 / 0.5", "4")), "tax class"),
        dated(
            "Entry date",
            kit.date(2005, 2019),
            style.day,
            "date of entry",
            "Since when has the person been employed {where}?",
        ),
        Field("Social security no.", kit.code("## ###### @ ###"), "social security number"),
    ]
    y = form.many(head, style.way, 56, 80, book.width - 112, style.columns) + 14
    base = round(kit.rng.uniform(2_100, 6_800), 2)
    lines = [
        ("Basic salary", base),
        ("Overtime", round(base * 0.06, 2)),
        ("Travel allowance", round(kit.rng.uniform(20, 140), 2)),
    ]
    cuts = [
        ("Income tax", round(base * 0.17, 2)),
        ("Pension insurance", round(base * 0.093, 2)),
        ("Health insurance", round(base * 0.079, 2)),
        ("Canteen", round(kit.rng.uniform(9, 60), 2)),
    ]
    gross, off = sum(v for _, v in lines), sum(v for _, v in cuts)
    months = kit.rng.randint(2, 11)
    rows = [Row("Earnings", role="group")]
    rows += [
        Row(n, (figure(v, style.hand, 2), figure(v * months, style.hand, 2)), group="Earnings")
        for n, v in lines
    ]
    rows += [
        Row("Gross pay", (figure(gross, style.hand, 2), figure(gross * months, style.hand, 2)), "total"),
        Row("Deductions", role="group"),
    ]
    rows += [
        Row(n, (figure(v, style.hand, 2), figure(v * months, style.hand, 2)), group="Deductions")
        for n, v in cuts
    ]
    rows.append(
        Row("Total deductions", (figure(off, style.hand, 2), figure(off * months, style.hand, 2)), "total")
    )
    spoken = {"Month": "this month", "Year to date": "the year so far"}
    plate = draw(
        book,
        Grid(
            "",
            (Column(("Month",)), Column(("Year to date",))),
            tuple(rows),
            hand=style.hand,
            words=spoken,
            has_nouns=True,
        ),
        style.look,
        y,
    )
    foot = [
        amount(
            "Net pay",
            gross - off,
            style,
            "net pay",
            "How much is paid out {where}?",
            "What is left after deductions {where}?",
        ),
        Field("Paid into account", kit.code("AT## #### #### #### ####"), "account it is paid into"),
        Field(
            "Holidays left",
            f"{kit.rng.randint(1, 30)} days",
            "number of days of holiday left",
            ("How many days of holiday are left {where}?",),
        ),
    ]
    form.many(foot, style.foot, 56, plate.bottom + 8, book.width - 112, 3 if style.foot == "boxed" else 1)
    where = f"on the payslip of {person}"
    cells = ask_cells(
        kit,
        plate,
        Wording(
            (f"How much is {{row}} for {{col}} {where}?", f"What is shown for {{row}}, {{col}}, {where}?"),
            person,
        ),
        2,
    )
    more = [
        Query(
            f"What do income tax and health insurance of this month add up to {where}?",
            same(style.hand.write(cuts[0][1] + cuts[2][1], 2), cuts[0][1] + cuts[2][1], 2),
            "computed",
            tuple(plate.cells[plate_row(plate, n), 0] for n in ("Income tax", "Health insurance")),
            plate.parts,
            "Float",
        )
    ]
    return Paper(
        book, form, where, ("church tax", "bonus", "date of birth", "hourly rate"), cells + more, "Payslip"
    )


def plate_row(plate, name: str) -> int:
    """Position of the row with that name."""
    return next(n for n, row in enumerate(plate.grid.rows) if row.name == name)


def slip(kit: Kit, style: Style) -> Paper:
    """A till's slip: narrow, typed, values at the right edge."""
    shop = f"{kit.root} {kit.pick(('Bakery', 'Garden Centre', 'Bookshop', 'Filling Station', 'Cafe'))}"
    count = kit.rng.randint(4, 9)
    book = Book((226.0, 330.0 + 13 * count), shop, shop)
    face, hand, middle = style.face, style.hand, 113.0
    form = Form(book, face, face.plain, 9)
    street, town = kit.street(), kit.town()
    book.write(middle, 34, shop, 13, face.bold, align="center")
    spots = [
        book.write(middle, 48, street, 8.5, face.plain, align="center"),
        book.write(middle, 59, town, 8.5, face.plain, align="center"),
    ]
    form.keep(
        Field(
            "Address",
            f"{street} {town}",
            "address of the shop",
            ("Where is the shop {where}?", "In which street is the shop {where}?"),
            (street, f"{street}, {town}"),
        ),
        [],
        spots,
    )
    date = kit.date(2022)
    y = 74.0
    for field in (
        dated(
            "Date",
            date,
            style.day,
            "date",
            "When was the purchase {where}?",
            "On what day was it bought {where}?",
        ),
        Field(
            "Time",
            f"{kit.rng.randint(7, 20):02}:{kit.rng.randint(0, 59):02}",
            "time",
            ("At what time was it paid {where}?",),
        ),
        Field("Receipt", kit.code("######"), "receipt number"),
    ):
        y = form.left(field, 16, y, 62, 190, "")
    y += 6
    book.rule(14, y, 212, color=BLACK, line=0.6, dash=(2, 2))
    total = 0.0
    things = kit.some(
        (
            "Rye loaf",
            "Poppy roll",
            "Potting soil",
            "Secateurs",
            "Notebook",
            "Atlas",
            "Espresso",
            "Cheese cake",
            "Diesel 12 l",
            "Wiper blades",
            "Tulip bulbs",
            "Oat biscuits",
            "Still water",
            "Crossword book",
        ),
        count,
    )
    for thing in things:
        price = round(kit.rng.uniform(0.9, 38), 2)
        total += price
        y += 13
        label = book.write(16, y, thing, 9, face.plain)
        value = book.write(210, y, hand.write(price, 2), 9, face.plain, align="right")
        form.keep(
            Field(
                thing,
                hand.write(price, 2),
                f"price of {thing}",
                (f"How much did the {thing} cost {{where}}?",),
                same(hand.write(price, 2), price, 2),
            ),
            [label],
            [value],
        )
    y += 8
    book.rule(14, y, 212, color=BLACK, line=0.6, dash=(2, 2))
    given = float(int(total / 10 + 1) * 10)
    for label, value, spoken, ask in (
        (
            kit.pick(("TOTAL", "To pay", "SUM", "Total EUR")),
            total,
            "total",
            "How much was paid in all {where}?",
        ),
        ("Cash", given, "cash given", "How much cash was handed over {where}?"),
        ("Change", given - total, "change", "How much change was given back {where}?"),
    ):
        y += 15
        font = face.bold if value == total else face.plain
        left = book.write(16, y, label, 10.5 if value == total else 9, font)
        right = book.write(210, y, hand.write(value, 2), 10.5 if value == total else 9, font, align="right")
        form.keep(
            Field(label, hand.write(value, 2), spoken, (ask,), same(hand.write(value, 2), value, 2)),
            [left],
            [right],
        )
    book.write(
        middle, y + 24, f"incl. VAT {hand.write(total * 0.07 / 1.07, 2)}", 8, face.plain, align="center"
    )
    book.write(
        middle,
        y + 40,
        kit.pick(("Thank you for your visit", "See you again soon", "Goods can be exchanged with this slip")),
        8,
        face.plain,
        align="center",
    )
    return Paper(
        book,
        form,
        f"on the receipt of {shop}",
        ("name of the cashier", "card number", "loyalty points", "table number"),
        [],
        "Receipt",
    )
