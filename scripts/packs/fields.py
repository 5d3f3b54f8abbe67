"""Fields of forms: a label, what is filled in, and where both lie, in all the ways that forms have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reportlab.lib.colors import Color, HexColor

from packs.book import BLACK, GREY, MILD, Book, Face, Spot, around, stringWidth, wrap
from packs.names import Kit
from packs.truth import Query

BLUE = HexColor("#1B2F7A")
PALE = HexColor("#F3F3EF")


@dataclass(frozen=True)
class Field:
    """A field: printed label, what is filled in ("" for a blank), and how a person says and asks it.

    Attributes:
        label: as printed.
        value: as filled in.
        spoken: the label in a sentence; the label in small letters where empty.
        asks: questions of its own, with {where}.
        accepted: other strings that say the same.
    """

    label: str
    value: str = ""
    spoken: str = ""
    asks: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The label as a person says it."""
        return self.spoken or self.label.rstrip(":").lower()


@dataclass(frozen=True)
class Fact:
    """A field on paper: boxes of its value and of the whole; `in_widget`: it is of the file's own form."""

    field: Field
    values: tuple[Spot, ...]
    block: Spot
    in_widget: bool = False


TEMPLATES = (
    "What is the {spoken} {where}?",
    "Which {spoken} is given {where}?",
    "{spoken} {where}?",
    "Tell me the {spoken} {where}.",
    "What {spoken} do I find {where}?",
)


class Form:
    """Fields on the pages of a book; `facts` is what has been filled in so far.

    Args:
        book: is drawn on.
        face: of labels.
        hand: font of what is filled in.
        size: of what is filled in, points.
        color: of what is filled in.
    """

    def __init__(self, book: Book, face: Face, hand: str, size: float = 10, color: Color = BLACK) -> None:
        self.book, self.face, self.hand, self.size, self.color = book, face, hand, size, color
        self.facts: list[Fact] = []
        self._widgets = 0

    def keep(
        self,
        field: Field,
        label: Sequence[Spot],
        values: Sequence[Spot],
        block: Spot | None = None,
        in_widget: bool = False,
    ) -> None:
        """Remember a field that has been drawn; its block is around label and value unless said otherwise."""
        if field.value:
            area = block or around([*label, *values])[0].grown(2)
            self.facts.append(Fact(field, tuple(values), area, in_widget))

    def _value(self, field: Field, x: float, y: float, width: float) -> tuple[tuple[Spot, ...], float]:
        """The value in lines from baseline y on; returns their spots and the last baseline."""
        lines = wrap(field.value, width, self.hand, self.size) if field.value else []
        spots = tuple(
            self.book.write(x, y + n * self.size * 1.25, line, self.size, self.hand, self.color)
            for n, line in enumerate(lines)
        )
        return spots, y + max(len(lines) - 1, 0) * self.size * 1.25

    def left(self, field: Field, x: float, y: float, label: float, width: float, line: str = "dots") -> float:
        """Label, then value on the same line over a `line`: "dots", "rule" or "". Returns the next y."""
        size = min(self.size, 9.5)
        spot = self.book.write(x, y + self.size, field.label, size, self.face.plain)
        values, last = self._value(field, x + label, y + self.size, width - label)
        if line:
            self.book.rule(
                x + label - 2,
                last + 3,
                x + width,
                color=GREY,
                line=0.5,
                dash=(1, 2) if line == "dots" else (),
            )
        self.keep(field, [spot], values)
        return last + self.size * 0.9

    def sum(self, field: Field, x: float, y: float, width: float) -> float:
        """Label at the left, value at the right edge."""
        label = self.book.write(x, y + self.size, field.label, self.size, self.face.plain)
        value = self.book.write(
            x + width, y + self.size, field.value, self.size, self.face.bold, align="right"
        )
        self.keep(field, [label], [value])
        return y + self.size * 1.8

    def above(self, field: Field, x: float, y: float, width: float, line: str = "rule") -> float:
        """A small label with the value beneath it."""
        spot = self.book.write(x, y + 7, field.label, 7, self.face.plain, GREY)
        values, last = self._value(field, x, y + 9 + self.size, width)
        if line:
            self.book.rule(x, last + 4, x + width - 8, color=GREY, line=0.5)
        self.keep(field, [spot], values)
        return last + self.size * 0.9 + 3

    def below(self, field: Field, x: float, y: float, width: float) -> float:
        """The value on a rule, the small label under the rule."""
        values, last = self._value(field, x, y + self.size, width)
        self.book.rule(x, last + 3, x + width - 8, color=BLACK, line=0.5)
        spot = self.book.write(x, last + 11, field.label, 6.8, self.face.plain, GREY)
        self.keep(field, [spot], values)
        return last + 20

    def boxed(
        self, field: Field, x: float, y: float, width: float, height: float = 30, fill: bool = False
    ) -> float:
        """A box with a tiny label in its corner."""
        lines = wrap(field.value, width - 10, self.hand, self.size)
        height = max(height, 13 + len(lines) * self.size * 1.25)
        self.book.box(x, y, width, height, fill=PALE if fill else None, stroke=BLACK, line=0.6)
        self.book.write(x + 3, y + 8, field.label, 6.5, self.face.plain)
        values, _ = self._value(field, x + 6, y + 12 + self.size, width - 10)
        self.keep(field, [], values, self.book.spot(x, y, x + width, y + height))
        return y + height

    def comb(self, field: Field, x: float, y: float, count: int, step: float = 15) -> float:
        """One box for each character."""
        spot = self.book.write(x, y + 7, field.label, 7, self.face.plain)
        values = []
        for number in range(count):
            self.book.box(x + number * step, y + 10, step, 17, stroke=GREY, line=0.5)
            if number < len(field.value) and field.value[number] != " ":
                left = x + (number + 0.5) * step
                values.append(
                    self.book.write(
                        left, y + 22.5, field.value[number], self.size + 1, self.hand, self.color, "center"
                    )
                )
        self.keep(field, [spot], around(values))
        return y + 33

    def widget(self, field: Field, x: float, y: float, label: float, width: float) -> float:
        """A text field of the file's own form, with its label to the left or, where `label` is 0, above."""
        top = y if label else y + 10
        spot = self.book.write(x, y + (12 if label else 7), field.label, 9 if label else 7, self.face.plain)
        self._widgets += 1
        box = (x + label, top, x + width, top + 17)
        self.book.canvas.acroForm.textfield(
            value=field.value,
            name=f"field{self._widgets}",
            tooltip=field.label,
            x=box[0],
            y=self.book.height - box[3],
            width=box[2] - box[0],
            height=17,
            fontSize=10,
            borderWidth=0.5,
            borderStyle="solid",
            fillColor=PALE,
            borderColor=MILD,
        )
        self.keep(field, [spot], [self.book.spot(*box)], in_widget=True)
        return top + 24

    def ticks(
        self,
        field: Field,
        options: Sequence[str],
        x: float,
        y: float,
        step: float,
        mark: str = "cross",
        down: bool = False,
        is_widget: bool = False,
    ) -> float:
        """Boxes to tick, across or down; the options that `field.value` names (split at "; ") are ticked."""
        chosen = field.value.split("; ")
        label = self.book.lines(
            x,
            y + 9,
            wrap(field.label, step * (1 if down else len(options)) + 60, self.face.plain, 9),
            9,
            self.face.plain,
        )
        top = y + 12 * len(label) + 5
        spots = []
        for number, option in enumerate(options):
            left, base = (x, top + number * 15) if down else (x + number * step, top)
            box = self._tick(left, base, mark if option in chosen else "", is_widget)
            text = self.book.write(left + 13, base + 8.2, option, 9, self.face.plain)
            if option in chosen:
                spots.append(around([box, text])[0])
        bottom = top + 15 * (len(options) if down else 1)
        whole = self.book.spot(x, top, x + step * (1 if down else len(options)), bottom)
        self.keep(field, label, spots, around([*label, *spots, whole])[0], is_widget)
        return bottom + 4

    def _tick(self, x: float, y: float, mark: str, is_widget: bool) -> Spot:
        if is_widget:
            self._widgets += 1
            self.book.canvas.acroForm.checkbox(
                checked=bool(mark),
                name=f"box{self._widgets}",
                x=x,
                y=self.book.height - y - 9,
                size=9,
                borderWidth=0.5,
                buttonStyle="cross",
                fillColor=PALE,
                borderColor=GREY,
            )
        else:
            self.book.box(x, y, 8.5, 8.5, stroke=BLACK, line=0.7)
        strokes = {
            "cross": [[(0, 0), (8.5, 8.5)], [(0, 8.5), (8.5, 0)]],
            "tick": [[(1, 4), (3.6, 8), (11, -3)]],
        }
        for stroke in () if is_widget else strokes.get(mark, ()):
            self.book.shape([(x + a, y + b) for a, b in stroke], stroke=self.color, line=1.3, close=False)
        return self.book.spot(x, y, x + 9, y + 9)

    def many(
        self, fields: Sequence[Field], way: str, x: float, y: float, width: float, columns: int = 1
    ) -> float:
        """Lay fields out in rows of `columns`; `way` names a method of this class, or is "plain"."""
        step = width / columns
        label = max(stringWidth(field.label, self.face.plain, 9.5) for field in fields) + 10
        for start in range(0, len(fields), columns):
            bottoms = []
            for number, field in enumerate(fields[start : start + columns]):
                bottoms.append(self._one(field, way, x + number * step, y, step, label))
            y = max(bottoms) + (0 if way == "boxed" else 3)
        return y

    def _one(self, field: Field, way: str, x: float, y: float, step: float, label: float) -> float:
        if way == "boxed":
            return self.boxed(field, x, y, step)
        if way == "widget":
            return self.widget(field, x, y, min(label, step * 0.45), step - 10)
        if way == "comb" and len(field.value) <= step / 15:
            return self.comb(field, x, y, int(step / 15) - 1)
        if way == "sum":
            return self.sum(field, x, y, step - 10)
        if way == "left":
            return self.left(field, x, y, label, step - 10)
        if way == "plain":
            return self.left(field, x, y, label, step - 10, "")
        return self.below(field, x, y, step) if way == "below" else self.above(field, x, y, step)


def ask_fields(kit: Kit, facts: Sequence[Fact], where: str, count: int) -> list[Query]:
    """Questions about different fields."""
    chosen = kit.rng.sample(list(facts), min(count, len(facts)))
    return [_ask(kit, fact, where) for fact in chosen]


def _ask(kit: Kit, fact: Fact, where: str) -> Query:
    templates = fact.field.asks if fact.field.asks and kit.rng.random() < 0.6 else TEMPLATES
    answers = tuple(dict.fromkeys((fact.field.value, *fact.field.accepted)))
    text = _sentence(kit.pick(templates), fact.field.words, where)
    return Query(text, answers, "field", fact.values, (fact.block,), in_widget=fact.in_widget)


def ask_blank(kit: Kit, names: Sequence[str], where: str) -> Query:
    """A question about a field that is not there or has been left blank."""
    return Query(_sentence(kit.pick(TEMPLATES), kit.pick(names), where), kind="unanswerable")


def _sentence(template: str, spoken: str, where: str) -> str:
    text = template.format(spoken=spoken, where=where)
    return text[0].upper() + text[1:]
