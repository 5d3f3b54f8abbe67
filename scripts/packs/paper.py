"""What a drawn form brings along for its questions, and the style that it is drawn in."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from reportlab.lib.colors import Color

from packs.book import A4, BLACK, SANS, Book, Face
from packs.fields import Field, Form
from packs.figures import AMERICAN, Hand, day, same, same_day
from packs.grid import Look
from packs.truth import Query


@dataclass(frozen=True)
class Style:
    """How a form is drawn.

    Attributes:
        face: of labels.
        hand: of figures.
        way: how fields stand, see `packs.fields.Form.many`.
        columns: of fields in a row.
        foot: how the fields at the end stand.
        look: of its tables.
        currency: of amounts.
        currency_first: stands before the amount.
        day: shape of dates.
        pen: font of what people fill in.
        ink: its colour.
        size: of the page, points.
    """

    face: Face = SANS
    hand: Hand = AMERICAN
    way: str = "left"
    columns: int = 2
    foot: str = "plain"
    look: Look = field(default_factory=Look)
    currency: str = "EUR"
    currency_first: bool = False
    day: str = "iso"
    pen: str = "Courier"
    ink: Color = BLACK
    size: tuple[float, float] = A4


@dataclass(frozen=True)
class Paper:
    """A form as drawn.

    Attributes:
        book: its pages.
        form: its fields.
        where: names it in a question: "on the invoice from ...".
        absent: names of fields that it has not, or has left blank.
        queries: questions beside those about fields.
        kind: of document.
    """

    book: Book
    form: Form
    where: str
    absent: Sequence[str]
    queries: list[Query]
    kind: str


def dated(label: str, date: datetime.date, shape: str, spoken: str = "", *asks: str) -> Field:
    """A field with a date."""
    return Field(label, day(date, shape), spoken, asks, same_day(date, shape))


def money(value: float, decimals: int, style: Style) -> str:
    """An amount with its currency, as printed; a plain space stands for one that does not break."""
    text = style.hand.write(value, decimals).replace("\u00a0", " ")
    return f"{style.currency} {text}" if style.currency_first else f"{text} {style.currency}"


def amount(label: str, value: float, style: Style, spoken: str = "", *asks: str) -> Field:
    """A field with an amount of money; with and without the currency is accepted."""
    return Field(label, money(value, 2, style), spoken, asks, same(style.hand.write(value, 2), value, 2))
