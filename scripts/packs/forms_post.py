"""Letters and the labels of parcels."""

from __future__ import annotations

import datetime

from packs.book import BLACK, GREY, MILD, Book, wrap
from packs.fields import Field, Form
from packs.forms_trade import address, letterhead
from packs.names import Kit
from packs.paper import Paper, Style, amount, dated
from packs.prose import paragraph


def label(kit: Kit, style: Style) -> Paper:
    """A parcel's label in boxes."""
    firm = kit.firm()
    book = Book((420.0, 298.0), f"Label {firm}", firm)
    form = Form(book, style.face, style.face.bold, 10)
    book.box(12, 12, 396, 274, stroke=BLACK, line=1.2)
    to = f"{kit.other_firm()}, {kit.street()}, {kit.town()}"
    y = form.boxed(Field("FROM", f"{firm}, {kit.street()}, {kit.town()}", "sender"), 12, 12, 230, 62)
    form.boxed(
        Field(
            "SERVICE",
            kit.pick(("EXPRESS 12:00", "STANDARD", "ECONOMY", "SATURDAY")),
            "service",
            ("How is the parcel sent {where}?",),
        ),
        242,
        12,
        166,
        62,
    )
    y = form.boxed(
        Field("TO", to, "recipient", ("Who is the parcel addressed to {where}?",), (to.split(", ")[0],)),
        12,
        max(y, 74),
        396,
        58,
    )
    quarter = 396 / 4
    for number, field in enumerate(
        (
            Field(
                "WEIGHT",
                f"{style.hand.write(kit.rng.uniform(0.4, 30), 2)} kg",
                "weight",
                ("How heavy is the parcel {where}?",),
            ),
            Field("PARCEL", f"{kit.rng.randint(1, 3)} of {kit.rng.randint(3, 6)}", "parcel count"),
            dated(
                "SHIP DATE",
                kit.date(2022),
                "short",
                "shipping date",
                "When was the parcel sent {where}?",
            ),
            Field("ZONE", kit.code("@#"), "zone"),
        )
    ):
        form.boxed(field, 12 + number * quarter, y, quarter, 40)
    y += 40
    number = kit.code("## ### ### ####")
    left = 40.0
    while left < 380:
        wide = kit.pick((1.0, 1.6, 2.4, 3.2))
        book.box(left, y + 12, wide, 58, fill=BLACK)
        left += wide + kit.pick((1.2, 2.0, 3.0))
    spot = book.write(210, y + 86, number, 11, style.face.plain, align="center")
    form.keep(
        Field("", number, "tracking number", ("What is the number under the bar code {where}?",)), [], [spot]
    )
    return Paper(
        book,
        form,
        f"on the parcel label of {firm}",
        ("telephone number of the recipient", "customs value", "contents"),
        [],
        "Parcel label",
    )


def letter(kit: Kit, style: Style) -> Paper:
    """A letter whose facts stand in its sentences."""
    firm, client = kit.firm(), kit.person()
    book = Book(style.size, f"Letter {firm}", firm)
    form = Form(book, style.face, style.face.plain, 10.5)
    y = letterhead(book, kit, style, firm, kit.street(), kit.town())
    y = address(book, kit, style, y, client)
    date = kit.date(2021)
    meta = [
        Field("Our reference", kit.code("@@/####"), "reference"),
        dated("Date", date, style.day, "date of the letter", "What date stands at the top {where}?"),
        Field("Handled by", kit.person(), "person handling the matter", ("Who handles the matter {where}?",)),
    ]
    y = form.many(meta, style.way, 56, y, book.width - 112, 3) + 12
    meeting, price = date + datetime.timedelta(kit.rng.randint(9, 40)), round(kit.rng.uniform(240, 9_000), 2)
    hour, place = f"{kit.rng.randint(8, 17)}:{kit.pick(('00', '15', '30'))}", kit.street()
    engineer = kit.person()
    matter = kit.pick(
        ("repair of the lift", "survey of the roof", "renewal of the lease", "cleaning of the tank")
    )
    months = kit.rng.randint(6, 36)
    facts = {
        "meeting": dated(
            "",
            meeting,
            "long",
            "date of the visit",
            "When will the visit take place {where}?",
            "On which day does the engineer come {where}?",
        ),
        "hour": Field("", hour, "time of the visit", ("At what time is the visit {where}?",)),
        "place": Field("", place, "place of the visit", ("Where will the visit take place {where}?",)),
        "engineer": Field("", engineer, "engineer", ("Who will come {where}?",)),
        "price": amount("", price, style, "estimated cost", "How much is the work expected to cost {where}?"),
        "months": Field(
            "",
            f"{months} months",
            "length of the guarantee",
            ("How long is the guarantee {where}?",),
            (str(months),),
        ),
    }
    v = {name: f"{{{field.value}}}" for name, field in facts.items()}
    book.write(56, y + 12, f"{matter[0].upper()}{matter[1:]}", 11, style.face.bold)
    y += 28
    texts = (
        f"Dear {client},",
        f"thank you for your letter about the {matter}. " + paragraph(kit, firm, 1, "letters"),
        f"Our engineer {v['engineer']} will call on you on {v['meeting']} at {v['hour']} at {v['place']} to "
        "look at the work in detail. Please make sure that the rooms are open and the plans at hand.",
        f"As far as we can say today, the work will cost {v['price']} without tax. "
        f"We give a guarantee of {v['months']} on all parts that we supply. "
        + paragraph(kit, firm, 2, "letters"),
        "If the day does not suit you, let us know in good time.",
        "Yours sincerely",
    )
    by_value = {field.value: field for field in facts.values()}
    for text in texts:
        bottom, spots = book.flow(56, y, book.width - 112, text, 10.5, style.face.plain)
        block = book.spot(56, y, book.width - 56, bottom)
        for phrase, found in spots.items():
            form.keep(by_value[phrase], [], found, block)
        y = bottom + 9
    signer = kit.person()
    spot = book.write(56, y + 40, signer, 10.5, style.face.plain)
    form.keep(Field("", signer, "signer", ("Who signed at the end {where}?",)), [], [spot])
    book.rule(56, book.height - 60, book.width - 56, color=MILD)
    for number, line in enumerate(
        wrap(
            f"{firm} · Bank {kit.code('####-###')} · Register {kit.code('HRB #####')} · "
            f"Managing director {kit.person()}",
            book.width - 112,
            style.face.plain,
            7,
        )
    ):
        book.write(book.width / 2, book.height - 48 + 9 * number, line, 7, style.face.plain, GREY, "center")
    return Paper(
        book,
        form,
        kit.pick(("in the letter from {f}", "according to {f}'s letter")).format(f=firm),
        ("discount", "parking space", "amount of the deposit", "number of workers"),
        [],
        "Letter",
    )
