"""Papers of trade: invoices and delivery notes."""

from __future__ import annotations

import datetime

from packs.book import BLACK, GREY, Book
from packs.drawing import draw
from packs.fields import Field, Form
from packs.figures import same
from packs.grid import Column, Grid, Row, figure, words
from packs.names import Kit
from packs.paper import Paper, Style, amount, dated
from packs.prose import paragraph
from packs.truth import Query, Wording, ask_cells

GOODS = (
    "Shelf bracket",
    "Copier paper A4",
    "Desk lamp",
    "Hand cleaner",
    "Label printer",
    "Network cable",
    "Toner black",
    "Office chair",
    "Packing tape",
    "Whiteboard",
    "Water filter",
    "First aid kit",
    "Extension lead",
    "Envelope C5",
    "Notice board",
    "Door closer",
)


def letterhead(book: Book, kit: Kit, style: Style, firm: str, street: str, town: str) -> float:
    """A firm's head: left, centred or right, with or without a rule; returns the y beneath."""
    face, way = style.face, kit.rng.randrange(3)
    align = ("left", "center", "right")[way]
    x = {"left": 56, "center": book.width / 2, "right": book.width - 56}[align]
    if way == 0:
        book.disc(x + 12, 52, 12, GREY)
        x += 34
    book.write(x, 56, firm, 16, face.bold, align=align)
    book.write(x, 70, f"{street} · {town} · Tel. {kit.phone()}", 8, face.plain, GREY, align)
    if kit.rng.random() < 0.6:
        book.rule(56, 80, book.width - 56, color=BLACK, line=0.8)
    return 98.0


def address(book: Book, kit: Kit, style: Style, y: float, name: str) -> float:
    """The window with the address."""
    lines = (name, kit.street(), kit.town())
    book.lines(56, y + 14, lines, 10, style.face.plain, 1.3)
    return y + 14 + 3 * 13 + 16


def invoice(kit: Kit, style: Style) -> Paper:
    """Head, address, facts of the invoice, items, sums, bank."""
    firm, client = kit.firm(), kit.other_firm()
    book = Book(style.size, f"Invoice {firm}", firm)
    form = Form(book, style.face, style.face.plain, 9.5)
    y = letterhead(book, kit, style, firm, kit.street(), kit.town())
    y = address(book, kit, style, y, client)
    date = kit.date(2021)
    number = kit.code(kit.pick(("RE-2###-####", "INV######", "##/####", "@@-#####")))
    meta = [
        Field("Invoice no.", number, "invoice number", ("What number does the invoice have {where}?",)),
        dated("Invoice date", date, style.day, "invoice date", "When was the invoice issued {where}?"),
        Field("Customer no.", kit.code("#####"), "customer number"),
        Field("Your order", kit.code("PO-####"), "order number of the customer"),
        dated(
            "Date of delivery",
            date - datetime.timedelta(kit.rng.randint(3, 20)),
            style.day,
            "date of delivery",
            "When were the goods delivered {where}?",
        ),
        Field("Contact", kit.person(), "contact person", ("Who is the contact {where}?",)),
    ]
    book.write(56, y + 16, kit.pick(("INVOICE", "Invoice", "Tax invoice")), 15, style.face.bold)
    y = form.many(meta, style.way, 56, y + 28, book.width - 112, style.columns) + 10
    rows, total = [], 0.0
    goods = kit.some(GOODS, kit.rng.randint(3, 7))
    if kit.number % 4 == 1:  # a long one, over two pages
        goods = [f"{kit.pick(GOODS)} {kit.code('@-##')}" for _ in range(kit.rng.randint(30, 44))]
    for position, name in enumerate(goods, 1):
        count, price = kit.rng.randint(1, 40), round(kit.rng.uniform(1.5, 240), 2)
        total += round(count * price, 2)
        rows.append(
            Row(
                str(position),
                (
                    words(name),
                    figure(float(count), style.hand),
                    figure(price, style.hand, 2),
                    figure(round(count * price, 2), style.hand, 2),
                ),
            )
        )
    columns = (
        Column(("Description",), "left", 190),
        Column(("Quantity",)),
        Column(("Unit price",)),
        Column((f"Amount {style.currency}",)),
    )
    spoken = {str(n): f"item {n}" for n in range(1, 45)} | {
        "Description": "description",
        "Quantity": "quantity",
        "Unit price": "unit price",
        f"Amount {style.currency}": "amount",
    }
    plate = draw(book, Grid("Pos.", columns, tuple(rows), hand=style.hand, words=spoken), style.look, y)
    rate = kit.pick((0.07, 0.19, 0.2, 0.081))
    tax = round(total * rate, 2)
    sums = [
        amount("Net amount", total, style, "net amount"),
        amount(
            f"VAT {style.hand.write(rate * 100, 1)} %", tax, style, "VAT", "How much VAT is charged {where}?"
        ),
        amount(
            kit.pick(("Total", "Amount due", "Invoice total")),
            total + tax,
            style,
            "total amount to be paid",
            "How much has to be paid in all {where}?",
            "What does it come to altogether {where}?",
        ),
    ]
    top = plate.bottom + 4
    if top > book.height - 190:
        book.new_page()
        top = 60.0
    y = form.many(sums, "sum", book.width - 270, top, 224)
    due = date + datetime.timedelta(kit.pick((10, 14, 30)))
    y += 14
    foot = [
        dated("Payable by", due, style.day, "due date", "By when must the invoice be paid {where}?"),
        Field("IBAN", kit.code("DE## #### #### #### #### ##"), "IBAN"),
        Field("VAT ID", kit.code("@@#########"), "VAT identification number"),
    ]
    y = form.many(foot, style.foot, 56, y, book.width - 112, 1 if style.foot != "boxed" else 3)
    book.flow(56, y + 8, book.width - 112, paragraph(kit, firm, 2, "letters"), 9, style.face.plain)
    where = kit.pick(("on the invoice from {f}", "on {f}'s invoice", "in the bill sent by {f}")).format(
        f=firm
    )
    cells = ask_cells(
        kit,
        plate,
        Wording((f"What is the {{col}} of {{row}} {where}?", f"{{row}} {where}: {{col}}?"), firm),
        1,
    )
    first, second = (row.cells[3].value for row in rows[:2])
    both = same(style.hand.write(first + second, 2), first + second, 2)
    text = f"What do items 1 and 2 come to together, without tax, {where}?"
    spots = (plate.cells[0, 3], plate.cells[1, 3])
    more = [Query(text, both, "computed", spots, plate.parts, "Float")]
    return Paper(
        book,
        form,
        where,
        ("discount", "cash discount rate", "delivery address", "fax number", "weight of the goods"),
        cells + more,
        "Invoice",
    )


def delivery_note(kit: Kit, style: Style) -> Paper:
    """Like an invoice, without prices; weights, parcels, signature."""
    firm, client = kit.firm(), kit.other_firm()
    book = Book(style.size, f"Delivery note {firm}", firm)
    form = Form(book, style.face, style.face.plain, 9.5)
    y = letterhead(book, kit, style, firm, kit.street(), kit.town())
    y = address(book, kit, style, y, client)
    book.write(56, y + 16, kit.pick(("Delivery note", "DELIVERY NOTE", "Packing list")), 15, style.face.bold)
    date = kit.date(2021)
    meta = [
        Field("Delivery note", kit.code("LS-#####"), "delivery note number"),
        dated(
            "Date",
            date,
            style.day,
            "date",
            "When was the delivery made {where}?",
            "On which day was it sent {where}?",
        ),
        Field(
            "Carrier",
            f"{kit.pick(('Swift', 'Blue', 'North', 'Tri'))}{kit.pick(('cargo', 'haul', 'freight'))} Ltd",
            "carrier",
            ("Who carried the goods {where}?",),
        ),
        Field(
            "Gross weight",
            f"{style.hand.write(kit.rng.uniform(8, 940), 1)} kg",
            "gross weight",
            ("How heavy is the delivery {where}?",),
        ),
        Field(
            "Packages",
            f"{kit.rng.randint(2, 30)} {kit.pick(('cartons', 'pallets', 'crates'))}",
            "number of packages",
            ("How many packages were sent {where}?",),
        ),
        Field(
            "Terms",
            kit.pick(("EXW Aldersea", "DAP Grantley", "FCA Uhlbach", "CPT Lindmoor")),
            "delivery terms",
        ),
    ]
    y = form.many(meta, style.way, 56, y + 28, book.width - 112, style.columns) + 10
    rows = []
    for name in kit.some(GOODS, kit.rng.randint(4, 8)):
        count = kit.rng.randint(1, 200)
        rows.append(
            Row(
                kit.code("##.###"),
                (
                    words(name),
                    figure(float(count), style.hand),
                    words(kit.pick(("pcs", "boxes", "rolls"))),
                    words(kit.code("@#####")),
                ),
            )
        )
    columns = (
        Column(("Goods",), "left"),
        Column(("Quantity",)),
        Column(("Unit",), "left"),
        Column(("Batch",), "left"),
    )
    spoken = {"Goods": "goods", "Quantity": "quantity", "Unit": "unit", "Batch": "batch"}
    plate = draw(book, Grid("Article", columns, tuple(rows), hand=style.hand, words=spoken), style.look, y)
    signed = [
        Field(
            "Received by",
            kit.person() if kit.rng.random() < 0.7 else "",
            "person who received the goods",
            ("Who received the goods {where}?",),
        ),
        dated("Received on", date + datetime.timedelta(kit.rng.randint(1, 6)), style.day, "date of receipt"),
        Field(
            "Remarks",
            kit.pick(("one carton damaged", "complete", "two pallets missing", "left with neighbour")),
            "remarks",
        ),
    ]
    form.color, form.hand = style.ink, style.pen
    form.many(signed, "below", 56, plate.bottom + 30, book.width - 112, 3)
    where = kit.pick(("on the delivery note from {f}", "on {f}'s delivery note")).format(f=firm)
    cells = ask_cells(
        kit,
        plate,
        Wording(
            (f"What is the {{col}} of article {{row}} {where}?", f"Article {{row}} {where}: {{col}}?"), firm
        ),
        2,
    )
    return Paper(
        book,
        form,
        where,
        ("total price", "driver's name", "invoice number", "licence plate"),
        cells,
        "Delivery note",
    )
