"""Cards and tickets."""

from __future__ import annotations

from packs.book import BLACK, GREY, MILD, Book
from packs.fields import Field, Form
from packs.names import TOWNS, Kit
from packs.paper import Paper, Style, dated, money
from packs.truth import Query


def card(kit: Kit, style: Style) -> Paper:
    """A card of the size of a bank card, with a place for a picture."""
    body = f"{kit.root} {kit.pick(('University', 'Swimming Club', 'Press Association', 'Transport'))}"
    person = kit.own_person()
    book = Book((243.0, 153.0), f"Card {body}", body)
    form = Form(book, style.face, style.face.bold, 8)
    book.box(4, 4, 235, 145, stroke=BLACK, line=0.8, radius=8)
    book.box(4, 14, 235, 20, fill=MILD)
    book.write(14, 28, body, 11, style.face.bold)
    book.box(14, 44, 58, 74, stroke=GREY, line=0.6)
    book.disc(43, 68, 13, GREY)
    book.shape([(20, 116), (24, 92), (62, 92), (66, 116)], fill=GREY)
    fields = [
        Field("Name", person, "name of the holder", ("Whose card is it {where}?",)),
        Field("No.", kit.code("@@ ### ###"), "card number"),
        dated(
            "Date of birth",
            kit.date(1950, 2006),
            style.day,
            "date of birth",
            "When was the holder born {where}?",
        ),
        dated(
            "Valid until",
            kit.date(2025, 2029),
            style.day,
            "expiry date",
            "Until when is it valid {where}?",
        ),
        Field("Category", kit.pick(("Student", "Staff", "Guest", "Senior", "Youth")), "category"),
    ]
    y = 42.0
    for field in fields[:4] if style.way == "above" else fields:
        y = (
            form.above(field, 84, y, 150, "") - 4
            if style.way == "above"
            else form.left(field, 84, y, 56, 150, "") + 6
        )
    return Paper(
        book,
        form,
        f"on the card of the {body}",
        ("blood group", "place of birth", "height", "issuing office"),
        [],
        "Card",
    )


def ticket(kit: Kit, style: Style) -> Paper:
    """A ticket in boxes of different widths."""
    line = f"{kit.root} {kit.pick(('Ferries', 'Railways', 'Coaches'))}"
    book = Book((520.0, 232.0), f"Ticket {line}", line)
    form = Form(book, style.face, style.face.bold, 11)
    book.box(14, 14, 492, 30, fill=MILD)
    book.write(24, 35, line, 15, style.face.bold)
    start, end = kit.rng.sample(TOWNS, 2)
    leave = kit.rng.randint(300, 1_100)
    arrive = leave + kit.rng.randint(35, 280)
    rows = (
        (
            Field("Passenger", kit.own_person(), "passenger", ("Who travels {where}?",)),
            Field("Ticket", kit.code("@@####"), "ticket number"),
        ),
        (
            Field("From", start, "place of departure", ("Where does the journey start {where}?",)),
            Field("To", end, "destination", ("Where does the journey go {where}?",)),
        ),
        (
            dated(
                "Date",
                kit.date(2023),
                style.day,
                "date of travel",
                "On what day is the journey {where}?",
            ),
            Field(
                "Departure",
                f"{leave // 60:02}:{leave % 60:02}",
                "time of departure",
                ("When does it leave {where}?",),
            ),
            Field(
                "Arrival",
                f"{arrive // 60:02}:{arrive % 60:02}",
                "time of arrival",
                ("When does it arrive {where}?",),
            ),
        ),
        (
            Field("Coach / deck", str(kit.rng.randint(1, 14)), "coach or deck"),
            Field("Seat", kit.code("##@"), "seat", ("Where does the passenger sit {where}?",)),
            Field("Class", kit.pick(("1", "2")), "class"),
            Field(
                "Price",
                money(round(kit.rng.uniform(9, 190), 2), 2, style),
                "price",
                ("How much did the ticket cost {where}?",),
            ),
        ),
    )
    y = 50.0
    for fields in rows:
        y = form.many(fields, "boxed", 14, y, 492, len(fields)) + 6
    place = {fact.field.label: fact for fact in form.facts}
    ride = Query(
        f"How many minutes does the journey take on the ticket of {line}?",
        (str(arrive - leave),),
        "computed",
        place["Departure"].values + place["Arrival"].values,
        (place["Departure"].block, place["Arrival"].block),
        "Int",
    )
    return Paper(
        book,
        form,
        f"on the ticket of {line}",
        ("luggage allowance", "gate", "date of booking", "age of the passenger"),
        [ride],
        "Ticket",
    )
