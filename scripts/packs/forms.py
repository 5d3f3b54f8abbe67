"""The pack of forms: which form is drawn in which style, and which are scanned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from packs import forms_office as office
from packs import forms_pay as pay
from packs import forms_people as people
from packs import forms_post as post
from packs import forms_small as small
from packs import forms_trade as trade
from packs.book import LETTER, MONO, SANS, SERIF, VERA
from packs.fields import BLUE, ask_blank, ask_fields
from packs.figures import AMERICAN, EUROPEAN, FRENCH, PLAIN, SWISS
from packs.grid import Look
from packs.names import Kit
from packs.paper import Paper, Style
from packs.prose import paragraph
from packs.scanner import scan
from packs.truth import Drawing, Query


@dataclass(frozen=True)
class Plan:
    """One form: its kind, style, and the scanner that it went through, if any."""

    form: Callable[[Kit, Style], Paper]
    style: Style
    scanner: str = ""


EURO = {"hand": EUROPEAN, "day": "dots"}
DOLLAR = {"hand": AMERICAN, "currency": "$", "currency_first": True, "day": "american", "size": LETTER}
POUND = {"hand": PLAIN, "currency": "£", "currency_first": True, "day": "short"}
FRANC = {"hand": SWISS, "currency": "CHF", "currency_first": True, "day": "dots"}
FRENCH_EURO = {"hand": FRENCH, "currency": "€", "day": "slashes"}
GRID, ROWS, BOOK = Look(SANS, 8.5, "grid"), Look(SANS, 8.5, "rows"), Look(SERIF, 9.5, "book")
ZEBRA, BARE, TYPED = Look(VERA, 8, "zebra", dark=True), Look(SANS, 9, "none"), Look(MONO, 8.5, "rows")

PLANS = (
    Plan(trade.invoice, Style(SANS, way="left", columns=2, look=GRID, **EURO)),
    Plan(trade.invoice, Style(SERIF, way="above", columns=3, look=BOOK, **DOLLAR)),
    Plan(trade.invoice, Style(VERA, way="boxed", columns=3, foot="boxed", look=ZEBRA, **FRANC), "office"),
    Plan(trade.invoice, Style(MONO, way="plain", columns=1, look=TYPED, **FRENCH_EURO), "worn"),
    Plan(trade.delivery_note, Style(SANS, way="left", columns=1, look=ROWS, **EURO)),
    Plan(
        trade.delivery_note,
        Style(SERIF, way="boxed", columns=2, look=GRID, pen="Courier-Oblique", ink=BLUE, **POUND),
        "colour",
    ),
    Plan(trade.delivery_note, Style(VERA, way="above", columns=3, look=ZEBRA, **FRANC), "fax"),
    Plan(pay.payslip, Style(SANS, way="left", columns=2, look=BARE, **EURO)),
    Plan(pay.payslip, Style(SERIF, way="boxed", columns=3, foot="boxed", look=GRID, **POUND), "office"),
    Plan(pay.payslip, Style(MONO, way="plain", columns=2, look=TYPED, **DOLLAR)),
    Plan(pay.slip, Style(MONO, **EURO), "photo"),
    Plan(pay.slip, Style(MONO, **POUND), "photo"),
    Plan(pay.slip, Style(SANS, **EURO), "worn"),
    Plan(pay.slip, Style(MONO, **DOLLAR)),
    Plan(post.label, Style(SANS, **EURO)),
    Plan(post.label, Style(VERA, **POUND), "photo"),
    Plan(post.letter, Style(SERIF, way="above", **POUND)),
    Plan(post.letter, Style(SANS, way="above", **EURO), "office"),
    Plan(post.letter, Style(MONO, way="plain", **DOLLAR), "worn"),
    Plan(post.letter, Style(VERA, way="left", **FRANC)),
    Plan(people.application, Style(SANS, way="boxed", columns=2, pen="Courier", **EURO)),
    Plan(people.application, Style(SERIF, way="widget", columns=2, pen="Helvetica", **POUND)),
    Plan(people.application, Style(SANS, way="widget", columns=1, pen="Helvetica", **FRANC)),
    Plan(
        people.application,
        Style(SANS, way="left", columns=1, pen="Courier-Oblique", ink=BLUE, **EURO),
        "colour",
    ),
    Plan(people.application, Style(VERA, way="comb", columns=1, pen="Courier-Bold", **DOLLAR), "office"),
    Plan(office.lab_report, Style(SANS, way="left", columns=2, look=ROWS, **EURO)),
    Plan(office.lab_report, Style(SERIF, way="above", columns=3, look=BOOK, **POUND), "office"),
    Plan(office.lab_report, Style(MONO, way="plain", columns=2, look=TYPED, **DOLLAR), "fax"),
    Plan(office.tax_return, Style(SANS, pen="Courier", **EURO)),
    Plan(office.tax_return, Style(SERIF, pen="Courier-Bold", ink=BLUE, **FRENCH_EURO), "colour"),
    Plan(office.tax_return, Style(SANS, pen="Helvetica", **DOLLAR), "fine"),
    Plan(people.questionnaire, Style(SANS, pen="Courier-Oblique", ink=BLUE, **EURO)),
    Plan(people.questionnaire, Style(SERIF, way="widget", pen="Helvetica", **POUND)),
    Plan(people.questionnaire, Style(VERA, pen="Courier-BoldOblique", ink=BLUE, **FRANC), "colour"),
    Plan(office.handover, Style(SANS, way="left", columns=1, look=GRID, pen="Courier", **EURO)),
    Plan(
        office.handover,
        Style(SERIF, way="above", columns=2, look=BOOK, pen="Courier-Oblique", ink=BLUE, **FRANC),
        "colour",
    ),
    Plan(office.handover, Style(VERA, way="boxed", columns=2, look=GRID, pen="Courier", **POUND), "worn"),
    Plan(small.card, Style(SANS, way="left", **EURO)),
    Plan(small.card, Style(VERA, way="above", **POUND), "photo"),
    Plan(small.card, Style(SANS, way="above", **FRANC), "photo"),
    Plan(small.ticket, Style(SANS, **EURO)),
    Plan(small.ticket, Style(SERIF, **POUND), "photo"),
)


def make(seed: int, number: int) -> Drawing:
    """The document of a plan."""
    plan = PLANS[number]
    name = f"{plan.form.__name__.replace('_', '-')}-{number + 1:02d}.pdf"
    kit = Kit(seed + 1, number, name)
    paper = plan.form(kit, plan.style)
    if paper.book.width > 500 and paper.book.height > 700 and kit.rng.random() < 0.35:
        _rules(kit, paper, plan.style)
    paper.book.next_page()
    drawing = Drawing(
        name,
        paper.book.finish(),
        paper.book.sizes,
        _ask(kit, paper),
        paper.kind,
        "Form",
    )
    return scan(drawing, plan.scanner, kit) if plan.scanner else drawing


def _rules(kit: Kit, paper: Paper, style: Style) -> None:
    """A last page of small print in two columns."""
    book, width = paper.book, (paper.book.width - 130) / 2
    book.new_page()
    book.write(56, 70, kit.pick(("General terms", "Rules", "Terms and conditions")), 13, style.face.bold)
    kit.sentences = []
    for column in range(2):
        y = 84.0
        for number in range(1, 10):
            text = f"{column * 9 + number}. {paragraph(kit, '', kit.rng.randint(2, 3), 'rules')}"
            y, _ = book.flow(56 + column * (width + 18), y, width, text, 7.5, style.face.plain)
            y += 4


def _ask(kit: Kit, paper: Paper) -> list[Query]:
    """Four questions on fields, those on tables and sums, and mostly one that nothing answers."""
    found = ask_fields(kit, paper.form.facts, paper.where, 4) + paper.queries
    if kit.rng.random() < 0.9:
        found.append(ask_blank(kit, paper.absent, paper.where))
    return list({query.text: query for query in found}.values())
