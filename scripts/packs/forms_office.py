"""Reports of laboratories, tax returns and records of hand-overs."""

from __future__ import annotations

import datetime

from packs.book import BLACK, GREY, Book
from packs.drawing import draw
from packs.fields import Field, Form
from packs.figures import same
from packs.forms_people import section
from packs.grid import Column, Grid, Row, figure, words
from packs.names import Kit
from packs.paper import Paper, Style, dated, money
from packs.prose import paragraph
from packs.truth import Query, Wording, ask_cells


def lab_report(kit: Kit, style: Style) -> Paper:
    """Patient, sample, results with units, ranges and flags."""
    lab, patient = f"{kit.root} Medical Laboratory", kit.own_person()
    book = Book(style.size, f"Laboratory report {lab}", lab)
    form = Form(book, style.face, style.face.plain, 9.5)
    book.write(book.width / 2, 56, lab, 15, style.face.bold, align="center")
    book.write(book.width / 2, 69, f"{kit.street()}, {kit.town()}", 8, style.face.plain, GREY, "center")
    book.rule(56, 78, book.width - 56, color=BLACK)
    taken = kit.date(2021)
    fields = [
        Field("Patient", patient, "patient"),
        dated(
            "Born",
            kit.date(1935, 2010),
            style.day,
            "date of birth",
            "When was the patient born {where}?",
        ),
        Field("Sex", kit.pick(("F", "M")), "sex"),
        Field("Sample no.", kit.code("########"), "sample number"),
        dated("Sample taken", taken, style.day, "date of sampling", "When was the sample taken {where}?"),
        dated(
            "Reported",
            taken + datetime.timedelta(kit.rng.randint(1, 5)),
            style.day,
            "date of the report",
            "When was it reported {where}?",
        ),
        Field(
            "Referred by",
            f"Dr {kit.person()}",
            "referring doctor",
            ("Which doctor sent the sample {where}?",),
        ),
        Field("Material", kit.pick(("Serum", "EDTA blood", "Urine", "Plasma")), "material"),
    ]
    y = form.many(fields, style.way, 56, 90, book.width - 112, style.columns) + 12
    tests = (
        ("Haemoglobin", "g/dl", 12.0, 16.0, 1),
        ("Leucocytes", "/nl", 4.0, 10.0, 1),
        ("Platelets", "/nl", 150, 400, 0),
        ("Sodium", "mmol/l", 135, 145, 0),
        ("Potassium", "mmol/l", 3.5, 5.1, 2),
        ("Creatinine", "mg/dl", 0.5, 1.1, 2),
        ("Glucose", "mg/dl", 70, 100, 0),
        ("CRP", "mg/l", 0, 5, 1),
        ("Ferritin", "µg/l", 15, 150, 0),
        ("TSH", "mU/l", 0.4, 4.0, 2),
        ("ALT", "U/l", 0, 35, 0),
    )
    rows = []
    for name, unit, low, high, decimals in kit.some(tests, 8):
        span = high - low
        value = abs(round(kit.rng.uniform(low - span * 0.25, high + span * 0.35), decimals))
        flag = "H" if value > high else "L" if value < low else ""
        bounds = f"{style.hand.write(low, decimals)} - {style.hand.write(high, decimals)}"
        rows.append(Row(name, (figure(value, style.hand, decimals), words(unit), words(bounds), words(flag))))
    columns = (
        Column(("Result",)),
        Column(("Unit",), "left"),
        Column(("Reference range",), "center"),
        Column(("Flag",), "center", is_aside=True),
    )
    spoken = {"Result": "result", "Unit": "unit", "Reference range": "reference range"}
    plate = draw(
        book,
        Grid(
            "Test",
            columns,
            tuple(rows),
            notes=("H above, L below the reference range",),
            hand=style.hand,
            words=spoken,
        ),
        style.look,
        y,
    )
    signed = kit.person()
    y, _ = book.flow(
        56, plate.bottom + 8, book.width - 112, paragraph(kit, lab, 2, "science"), 9, style.face.plain
    )
    form.left(
        Field(
            "Validated by",
            f"Dr {signed}",
            "doctor who validated the results",
            ("Who validated the results {where}?",),
        ),
        56,
        y + 10,
        80,
        260,
    )
    where = f"in the laboratory report for {patient}"
    wording = Wording(
        (
            f"What is the {{col}} for {{row}} {where}?",
            f"{{row}} {where}: {{col}}?",
            f"Which {{col}} is given for {{row}} {where}?",
        ),
        patient,
    )
    outside = [n for n, row in enumerate(rows) if row.cells[3].text]
    count = Query(
        f"How many results lie outside the reference range {where}?",
        (str(len(outside)),),
        "computed",
        tuple(plate.cells[n, 3] for n in outside) or plate.parts,
        plate.parts,
        "Int",
    )
    return Paper(
        book,
        form,
        where,
        ("blood group", "vitamin D result", "cholesterol result", "health insurer"),
        [*ask_cells(kit, plate, wording, 3), count],
        "Laboratory report",
    )


def tax_return(kit: Kit, style: Style) -> Paper:
    """Numbered lines with amounts in boxes at the right."""
    office, person = f"Tax Office {kit.root}", kit.own_person()
    year = kit.rng.randint(2018, 2025)
    book = Book(style.size, f"Income declaration {year}", office)
    form = Form(book, style.face, style.pen, 10, style.ink)
    book.box(56, 44, book.width - 112, 34, stroke=BLACK, line=1)
    book.write(64, 66, f"INCOME DECLARATION {year}", 15, style.face.bold)
    book.write(book.width - 64, 66, office, 9, style.face.plain, align="right")
    head = [
        Field("Tax number", kit.code("###/####/####"), "tax number"),
        Field("Name", person, "name of the taxpayer"),
        Field(
            "Occupation",
            kit.pick(("Baker", "Surveyor", "Nurse", "Piano tuner", "Welder")),
            "occupation",
            ("What does the taxpayer do for a living {where}?",),
        ),
        dated("Date of birth", kit.date(1950, 2000), style.day, "date of birth"),
    ]
    y = form.many(head, "boxed", 56, 84, book.width - 112, 2) + 12
    y = (
        form.ticks(
            Field(
                "Filing status",
                kit.pick(("Single", "Married", "Widowed")),
                "filing status",
                ("What filing status is ticked {where}?",),
            ),
            ("Single", "Married", "Widowed", "Divorced"),
            60,
            y,
            100,
            "cross",
        )
        + 6
    )
    groups = {
        "A  Income": (
            "Wages and salaries",
            "Income from rent",
            "Interest and dividends",
            "Pensions",
            "Other income",
        ),
        "B  Deductions": (
            "Travel to work",
            "Donations",
            "Child care",
            "Insurance premiums",
            "Interest paid on loans",
        ),
    }
    number, blanks, values = 10, [], {}
    for title, names in groups.items():
        y = section(book, style, y, title, True)
        for name in names:
            number += 1
            value = float(kit.rng.randint(40, 48_000)) if kit.rng.random() < 0.78 else None
            text = style.hand.write(value).replace("\u00a0", " ") if value is not None else ""
            if value is None:
                blanks.append(f"amount for {name.lower()}")
            values[name] = value
            _tax_line(
                form,
                style,
                y,
                number,
                Field(
                    name,
                    text,
                    f"amount for {name.lower()}",
                    (
                        f"What is entered in line {number} {{where}}?",
                        f"How much are {name.lower()} {{where}}?",
                    ),
                    same(text, value, 0) if value is not None else (),
                ),
            )
            y += 22
        y += 6
    place = [
        dated(
            "Date",
            kit.date(year + 1, year + 1),
            style.day,
            "date of signature",
            "When was it signed {where}?",
        ),
        Field("Signature of taxpayer"),
    ]
    form.many(place, "below", 56, y + 16, book.width - 112, 2)
    where = f"in the income declaration {year} of {person}"
    filled = [fact for fact in form.facts if fact.field.label in groups["B  Deductions"]]
    more = []
    if len(filled) > 1:
        amounts = [values[fact.field.label] for fact in filled]
        total = sum(amounts)
        more.append(
            Query(
                f"What do all deductions in part B come to {where}?",
                same(style.hand.write(total), total, 0),
                "computed",
                tuple(s for f in filled for s in f.values),
                tuple(f.block for f in filled),
                "Int",
            )
        )
    return Paper(book, form, where, (*blanks, "church membership", "spouse's tax number"), more, "Tax form")


def _tax_line(form: Form, style: Style, y: float, number: int, field: Field) -> None:
    book = form.book
    right = book.width - 56
    label = book.write(56, y + 13, f"{number}", 8, style.face.bold)
    name = book.write(78, y + 13, field.label, 9.5, style.face.plain)
    book.rule(80 + name.box[2] - name.box[0], y + 14, right - 130, color=GREY, line=0.4, dash=(1, 3))
    book.box(right - 124, y, 124, 18, stroke=BLACK, line=0.6)
    book.write(right - 119, y + 12, f"{number}", 6.5, style.face.plain, GREY)
    if field.value:
        value = book.write(right - 8, y + 13, field.value, form.size, form.hand, form.color, "right")
        form.keep(field, [label], [value], book.spot(56, y, right, y + 18))


def handover(kit: Kit, style: Style) -> Paper:
    """A protocol of a flat: parties, meters, keys, state of rooms."""
    street, town = kit.street(), kit.town()
    house = f"{kit.root} House"
    book = Book(style.size, f"Hand-over {house}", house)
    form = Form(book, style.face, style.pen, 9.5, style.ink)
    dark = kit.rng.random() < 0.5
    book.write(
        56,
        62,
        kit.pick(("Hand-over protocol", "Record of hand-over", "Move-out inspection")),
        17,
        style.face.bold,
    )
    y = section(book, style, 76, "Premises and parties", dark)
    date = kit.date(2020)
    fields = [
        Field("Premises", f"{house}, {street}, {town}", "premises", ("Where are the premises {where}?",)),
        Field("Floor", kit.pick(("ground floor", "2nd floor left", "3rd floor", "attic")), "floor"),
        Field("Landlord", kit.other_firm(), "landlord"),
        Field("Tenant", kit.person(), "tenant", ("Who is the tenant {where}?",)),
        dated(
            "Date of hand-over",
            date,
            style.day,
            "date of the hand-over",
            "When was the flat handed over {where}?",
        ),
        Field(
            "Deposit",
            money(kit.rng.randint(6, 30) * 100, 0, style),
            "deposit",
            ("How high is the deposit {where}?",),
        ),
    ]
    y = form.many(fields, style.way, 56, y, book.width - 112, style.columns) + 8
    y = section(book, style, y, "Meters", dark)
    rows = []
    for name, unit in (
        ("Electricity", "kWh"),
        ("Cold water", "m³"),
        ("Hot water", "m³"),
        ("Gas", "m³"),
        ("Heating", "units"),
    ):
        rows.append(
            Row(
                name,
                (
                    words(kit.code("########")),
                    figure(round(kit.rng.uniform(90, 48_000), 1), style.hand, 1),
                    words(unit),
                ),
            )
        )
    columns = (Column(("Meter no.",), "left"), Column(("Reading",)), Column(("Unit",), "left"))
    spoken = {"Meter no.": "meter number", "Reading": "reading", "Unit": "unit"} | {
        n: f"the {n.lower()} meter" for n in ("Electricity", "Cold water", "Hot water", "Gas", "Heating")
    }
    plate = draw(book, Grid("", columns, tuple(rows), hand=style.hand, words=spoken), style.look, y)
    y = section(book, style, plate.bottom + 4, "State of the rooms", dark)
    for room in ("Kitchen", "Bathroom", "Living room", "Bedroom"):
        state = kit.pick(
            (
                "in order",
                "walls to be painted",
                "scratches on the floor",
                "tap drips",
                "window handle loose",
                "stain on the ceiling",
            )
        )
        y = (
            form.left(
                Field(
                    room,
                    state,
                    f"state of the {room.lower()}",
                    (
                        f"What is wrong with the {room.lower()} {{where}}?",
                        f"How was the {room.lower()} found {{where}}?",
                    )
                    if state != "in order"
                    else (),
                ),
                60,
                y,
                90,
                book.width - 120,
            )
            + 2
        )
    y = form.many(
        [
            Field(
                "House keys",
                str(kit.rng.randint(2, 6)),
                "number of house keys",
                ("How many house keys were handed over {where}?",),
            ),
            Field("Letter box keys", str(kit.rng.randint(1, 3)), "number of letter box keys"),
            Field("Cellar keys"),
        ],
        style.way if style.way != "comb" else "left",
        56,
        y + 6,
        book.width - 112,
        3,
    )
    form.many(
        [
            Field("Landlord's signature"),
            Field("Tenant's signature"),
            Field("Witness", kit.person(), "witness", ("Who was the witness {where}?",)),
        ],
        "below",
        56,
        y + 26,
        book.width - 112,
        3,
    )
    where = f"in the hand-over protocol of {house}"
    cells = ask_cells(
        kit,
        plate,
        Wording(
            (f"What is the {{col}} of {{row}} {where}?", f"Which {{col}} was noted for {{row}} {where}?"),
            house,
        ),
        2,
    )
    return Paper(
        book,
        form,
        where,
        ("number of cellar keys", "monthly rent", "floor space", "telephone number of the tenant"),
        cells,
        "Hand-over protocol",
    )
