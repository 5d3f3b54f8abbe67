"""Applications and questionnaires, drawn or of the file's own fields."""

from __future__ import annotations

from packs.book import BLACK, GREY, MILD, Book
from packs.fields import Field, Form
from packs.names import TOWNS, Kit
from packs.paper import Paper, Style, dated
from packs.prose import paragraph


def section(book: Book, style: Style, y: float, title: str, dark: bool) -> float:
    """The head of a part of a form, on a new page where this one is nearly full."""
    if y > book.height - 190:
        book.new_page()
        y = 56.0
    if dark:
        book.box(56, y, book.width - 112, 16, fill=MILD)
    else:
        book.rule(56, y + 17, book.width - 56, color=BLACK, line=0.8)
    book.write(60 if dark else 56, y + 11.8, title, 10, style.face.bold)
    return y + 24


OFFICES = ("City Library", "Sailing Club", "Housing Office", "Parking Office", "Allotment Society")


def application(kit: Kit, style: Style) -> Paper:
    """Who applies, for what, with boxes to tick and a signature; also as a form of the file's own fields."""
    office = f"{kit.root} {kit.pick(OFFICES)}"
    is_widget = style.way == "widget"
    person = kit.own_person()
    book = Book(style.size, f"Application {office}", office)
    form = Form(book, style.face, style.pen, 10, style.ink)
    dark = kit.rng.random() < 0.5
    book.write(56, 62, office, 12, style.face.bold)
    book.write(
        56,
        84,
        kit.pick(("Application form", "Application for membership", "Application for a permit")),
        17,
        style.face.bold,
    )
    book.write(book.width - 56, 62, f"Form {kit.code('@-##')}", 8, style.face.plain, GREY, "right")
    y = section(book, style, 100, "1  Applicant", dark)
    first, last = person.split(" ", 1)
    blanks = [name for name in ("Maiden name", "Fax", "Second address", "Employer") if kit.rng.random() < 0.6]
    fields = [
        Field("Last name", last, "last name"),
        Field("First name", first, "first name"),
        dated(
            "Date of birth",
            kit.date(1948, 2004),
            style.day,
            "date of birth",
            "When was the applicant born {where}?",
        ),
        Field(
            "Place of birth", kit.pick(TOWNS), "place of birth", ("Where was the applicant born {where}?",)
        ),
        Field(
            "Street, number", kit.street(), "street", ("In which street does the applicant live {where}?",)
        ),
        Field("Postcode, town", kit.town(), "postcode and town"),
        Field("Telephone", kit.phone(), "telephone number"),
        Field("E-mail", f"{first.lower()}.{last.lower()}@example.org", "e-mail address"),
        Field("Nationality", kit.pick(("Freelandish", "Norlandic", "Vestrian")), "nationality"),
        *(Field(name) for name in blanks),
    ]
    y = form.many(fields, style.way, 56, y, book.width - 112, style.columns) + 10
    if style.way == "boxed" and not is_widget:
        y = (
            form.comb(Field("Customer number (if known)", kit.code("########"), "customer number"), 56, y, 10)
            + 4
        )
    y = section(book, style, y, "2  What you apply for", dark)
    mark = kit.pick(("cross", "tick"))
    kinds = ("Single", "Family", "Student", "Reduced")
    chosen = kit.pick(kinds)
    y = form.ticks(
        Field(
            "Kind of membership or permit",
            chosen,
            "kind of membership or permit",
            ("Which kind is ticked {where}?",),
        ),
        kinds,
        60,
        y,
        110,
        mark,
        is_widget=is_widget,
    )
    months = ("3 months", "6 months", "12 months")
    y = form.ticks(
        Field(
            "For how long?",
            kit.pick(months),
            "length of time applied for",
            ("For how long is it applied for {where}?",),
        ),
        months,
        60,
        y,
        110,
        mark,
        is_widget=is_widget,
    )
    pays = ("Direct debit", "Invoice", "Cash at the desk")
    y = form.ticks(
        Field("I pay by", kit.pick(pays), "way of payment", ("How does the applicant want to pay {where}?",)),
        pays,
        60,
        y,
        130,
        mark,
        is_widget=is_widget,
    )
    y = section(book, style, y + 4, "3  Bank and start", dark)
    more = [
        Field("IBAN", kit.code("DE## #### #### #### ##"), "IBAN"),
        Field(
            "Account holder",
            person if kit.rng.random() < 0.7 else kit.person(),
            "account holder",
            ("Whose account is it {where}?",),
        ),
        dated(
            "To start on",
            kit.date(2024),
            style.day,
            "starting date",
            "From when on is it to run {where}?",
        ),
    ]
    y = form.many(more, style.way, 56, y, book.width - 112, style.columns) + 8
    y, _ = book.flow(
        56,
        y,
        book.width - 112,
        "I have read the rules and accept them. " + paragraph(kit, office, 2, "rules"),
        8.5,
        style.face.plain,
    )
    place = kit.pick(TOWNS)
    date = kit.date(2023)
    signed = [
        Field("Place", place, "place of signature", ("Where was it signed {where}?",)),
        dated("Date", date, style.day, "date of signature", "When was it signed {where}?"),
        Field("Signature"),
    ]
    form.many(signed, "widget" if is_widget else "below", 56, y + 22, book.width - 112, 3)
    where = kit.pick(("in the application of {p} to {o}", "on the form that {p} sent to the {o}")).format(
        p=person, o=office
    )
    absent = [name.lower() for name in blanks] or ["marital status"]
    return Paper(
        book,
        form,
        where,
        (*absent, "number of children", "passport number"),
        [],
        "Application form",
    )


def questionnaire(kit: Kit, style: Style) -> Paper:
    """Questions with boxes to tick, a scale in a grid, an open answer."""
    house = f"{kit.root} {kit.pick(('Hotel', 'Museum', 'Clinic', 'Theatre', 'Ferry Line'))}"
    is_widget = style.way == "widget"
    person = kit.own_person()
    book = Book(style.size, f"Questionnaire {house}", house)
    form = Form(book, style.face, style.pen, 10, style.ink)
    book.write(56, 64, f"{house}: your opinion", 16, style.face.bold)
    y, _ = book.flow(
        56,
        74,
        book.width - 112,
        "Please tick what applies. " + "It takes three minutes, and the answers stay with us.",
        9.5,
        style.face.plain,
    )
    y = (
        form.many(
            [
                Field("Name", person, "name of the guest"),
                dated(
                    "Date of visit",
                    kit.date(2022),
                    style.day,
                    "date of the visit",
                    "When was the visit {where}?",
                ),
            ],
            style.way if is_widget else "left",
            56,
            y + 8,
            book.width - 112,
            2,
        )
        + 6
    )
    mark = kit.pick(("cross", "tick"))
    asked = (
        (
            "How did you hear of us?",
            ("Friends", "Newspaper", "Internet", "By chance"),
            "way of hearing of the house",
            "How did the guest hear of the house {where}?",
        ),
        (
            "How often have you been here?",
            ("First time", "Two or three times", "More often"),
            "number of earlier visits",
            "How often has the guest been there {where}?",
        ),
        (
            "Would you come again?",
            ("Yes", "No", "Perhaps"),
            "answer about coming again",
            "Would the guest come again {where}?",
        ),
        ("Your age", ("under 30", "30 to 60", "over 60"), "age group", "How old is the guest {where}?"),
    )
    for number, (text, options, spoken, ask) in enumerate(asked, 1):
        many = number == 1 and kit.rng.random() < 0.5
        chosen = "; ".join(kit.some(options, 2)) if many else kit.pick(options)
        accepted = (chosen.replace("; ", ", "), chosen.replace("; ", " and ")) if many else ()
        y = (
            form.ticks(
                Field(f"{number}. {text}", chosen, spoken, (ask,), accepted),
                options,
                60,
                y,
                118,
                mark,
                down=number == 2,
                is_widget=is_widget,
            )
            + 4
        )
    y = _scale(form, kit, style, y + 4, mark)
    note = kit.pick(
        (
            "more seats near the entrance",
            "the lift was out of order",
            "longer opening hours on Sundays",
            "friendly staff, but cold rooms",
        )
    )
    form.boxed(
        Field(
            "6. What else would you like to tell us?",
            note,
            "remark of the guest",
            ("What does the guest say at the end {where}?",),
        ),
        56,
        y + 8,
        book.width - 112,
        64,
    )
    where = f"in the questionnaire of the {house} filled in by {person}"
    return Paper(
        book,
        form,
        where,
        ("room number", "price paid", "nationality of the guest"),
        [],
        "Questionnaire",
    )


def _scale(form: Form, kit: Kit, style: Style, y: float, mark: str) -> float:
    """A grid of things to rate: the mark stands in a column whose head is the answer."""
    book, grades = form.book, ("very good", "good", "fair", "poor")
    book.write(60, y + 9, "5. How do you rate", 9, style.face.plain)
    heads = [
        book.write(250 + 72 * n, y + 9, grade, 8, style.face.plain, align="center")
        for n, grade in enumerate(grades)
    ]
    y += 16
    for thing in ("Welcome", "Cleanliness", "Food and drink", "Value for money"):
        book.rule(56, y, book.width - 56, color=MILD, line=0.4)
        label = book.write(66, y + 11, thing, 9, style.face.plain)
        chosen = kit.rng.randrange(4)
        for n in range(4):
            spot = form._tick(246 + 72 * n, y + 3, mark if n == chosen else "", False)
            if n == chosen:
                field = Field(
                    thing,
                    grades[n],
                    f"rating of {thing.lower()}",
                    (f"How is {thing.lower()} rated {{where}}?",),
                )
                form.keep(field, [label], [spot, heads[n]], book.spot(56, y, book.width - 56, y + 16))
        y += 16
    return y
