"""The pack of tables: which topic is drawn in which hand, look and arrangement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from packs import topics_lists as lists
from packs import topics_money as money
from packs import topics_science as science
from packs import topics_wide as wide
from packs.book import A4, GREY, LETTER, MONO, SANS, SERIF, VERA, Book, Face
from packs.drawing import Plate, draw
from packs.figures import ACCOUNTS, AMERICAN, EUROPEAN, FRENCH, LEDGER, PLAIN, SWISS, Hand
from packs.grid import Look
from packs.names import Kit
from packs.prose import BY_TRADE, heading, paragraph
from packs.scanner import scan
from packs.topic import Topic
from packs.truth import Drawing, Query, ask_cells, ask_computed, ask_missing

MARGIN = 56.0


@dataclass(frozen=True)
class Plan:
    """One document: topic, hand and look; pages of prose before and after; `arrangement` is "plain", "side"
    (tables next to each other), "landscape", "sideways" or "rotated"; `scanner` makes it a scan."""

    topic: Callable[[Kit, Hand], Topic]
    hand: Hand = AMERICAN
    look: Look = Look()  # noqa: RUF009  (frozen)
    arrangement: str = "plain"
    prose: tuple[int, int] = (0, 0)
    scanner: str = ""
    size: tuple[float, float] = A4
    columns: int = 1


def look(face: Face, size: float, rules: str, **more) -> Look:
    """A look in few words."""
    return Look(face, size, rules, **more)


PLANS = (
    Plan(money.income_statement, ACCOUNTS, look(SERIF, 10, "none"), prose=(1, 1), size=LETTER),
    Plan(money.income_statement, EUROPEAN, look(SANS, 9, "rows")),
    Plan(money.income_statement, FRENCH, look(VERA, 8, "zebra", dark=True), scanner="office"),
    Plan(money.quarters, EUROPEAN, look(SANS, 8.5, "grid"), prose=(1, 0)),
    Plan(money.quarters, AMERICAN, look(SERIF, 9, "book"), "landscape", size=LETTER),
    Plan(money.quarters, SWISS, look(VERA, 8, "zebra"), scanner="worn"),
    Plan(money.budget, FRENCH, look(SANS, 9, "rows"), prose=(2, 1)),
    Plan(money.budget, EUROPEAN, look(SERIF, 10, "grid", groups="merged")),
    Plan(money.budget, LEDGER, look(VERA, 8, "zebra"), scanner="fine"),
    Plan(money.ledger, LEDGER, look(MONO, 8, "none", pad=2), size=A4),
    Plan(money.ledger, ACCOUNTS, look(SANS, 8, "zebra", heads="once"), size=LETTER),
    Plan(money.ledger, SWISS, look(SERIF, 8.5, "rows"), scanner="office"),
    Plan(money.price_list, EUROPEAN, look(SANS, 8.5, "grid")),
    Plan(money.price_list, AMERICAN, look(VERA, 8, "rows", dark=True), prose=(1, 0), size=LETTER),
    Plan(money.loan, EUROPEAN, look(SANS, 9, "rows")),
    Plan(
        money.loan, AMERICAN, look(SERIF, 10, "book", heads="once"), prose=(1, 0), scanner="fax", size=LETTER
    ),
    Plan(money.departments, EUROPEAN, look(SANS, 9, "rows", stretch=False), prose=(0, 1)),
    Plan(money.departments, ACCOUNTS, look(SERIF, 10, "none"), scanner="colour", size=LETTER),
    Plan(science.water, PLAIN, look(SERIF, 8.5, "book"), prose=(1, 1), columns=2),
    Plan(science.water, EUROPEAN, look(SANS, 8, "grid", caption="below")),
    Plan(science.alloys, PLAIN, look(SERIF, 9, "book"), prose=(1, 0), columns=2, size=LETTER),
    Plan(science.alloys, EUROPEAN, look(VERA, 7.5, "grid", groups="merged"), scanner="fine"),
    Plan(science.patients, PLAIN, look(SANS, 8.5, "book"), prose=(1, 1), columns=2),
    Plan(science.patients, EUROPEAN, look(SERIF, 9.5, "zebra"), scanner="office"),
    Plan(science.weather, PLAIN, look(SANS, 9, "rows", stretch=False)),
    Plan(science.weather, FRENCH, look(SERIF, 9.5, "none"), "sideways"),
    Plan(science.constants, PLAIN, look(SERIF, 9, "book", caption="below"), prose=(0, 1), size=LETTER),
    Plan(science.survey, PLAIN, look(SANS, 8.5, "zebra", dark=True), prose=(1, 0)),
    Plan(science.survey, EUROPEAN, look(VERA, 8, "rows"), "landscape", scanner="worn"),
    Plan(lists.timetable, PLAIN, look(SANS, 8, "grid")),
    Plan(lists.timetable, PLAIN, look(VERA, 7, "zebra"), scanner="colour"),
    Plan(lists.rota, PLAIN, look(SANS, 9, "grid")),
    Plan(lists.rota, PLAIN, look(MONO, 9, "rows"), "landscape", scanner="office"),
    Plan(lists.stock, FRENCH, look(SANS, 8, "zebra"), size=A4),
    Plan(lists.stock, AMERICAN, look(SERIF, 9, "grid", heads="once"), prose=(1, 0), size=LETTER),
    Plan(lists.fees, EUROPEAN, look(SANS, 9, "grid")),
    Plan(lists.fees, PLAIN, look(SERIF, 10, "book"), prose=(1, 1)),
    Plan(lists.milestones, PLAIN, look(SANS, 9, "grid")),
    Plan(lists.milestones, PLAIN, look(VERA, 8, "rows"), scanner="office", size=LETTER),
    Plan(lists.matrix, EUROPEAN, look(SANS, 9, "zebra"), prose=(1, 0)),
    Plan(lists.marks, PLAIN, look(MONO, 8.5, "none")),
    Plan(lists.marks, PLAIN, look(SANS, 9, "grid", turned=True, stretch=False)),
    Plan(wide.meters, SWISS, look(SANS, 7, "grid"), "rotated"),
    Plan(wide.meters, FRENCH, look(SERIF, 7.5, "zebra", turned=True), "sideways", prose=(1, 0)),
    Plan(wide.census, EUROPEAN, look(SANS, 7, "rows", turned=True), "landscape"),
    Plan(wide.census, AMERICAN, look(VERA, 6.5, "grid"), "landscape", scanner="fine", size=LETTER),
    Plan(wide.leagues, PLAIN, look(SANS, 8.5, "rows"), "side"),
    Plan(wide.nutrition, EUROPEAN, look(SANS, 8, "grid"), "side", scanner="colour"),
    Plan(wide.nutrition, PLAIN, look(VERA, 8, "none"), "side"),
)


def make(seed: int, number: int) -> Drawing:
    """The document of a plan."""
    plan = PLANS[number]
    name = f"{plan.topic.__name__.replace('_', '-')}-{number + 1:02d}.pdf"
    kit = Kit(seed, number, name)
    topic = plan.topic(kit, plan.hand)
    is_wide = plan.arrangement in ("landscape", "rotated", "sideways")
    size = (plan.size[1], plan.size[0]) if is_wide and not plan.prose[0] else plan.size
    book = Book(size, topic.title, topic.who, _turn(plan) if size != plan.size else "")
    book.furniture = _furniture(kit, topic, plan.look.face)
    book.furniture(book)
    y = _title(book, topic, plan)
    if plan.prose[0]:
        _prose(book, kit, topic, plan, y, plan.prose[0])
        wide_size = (plan.size[1], plan.size[0]) if is_wide else plan.size
        book.new_page(wide_size, _turn(plan))
        y = 70.0
    plates = _tables(book, kit, topic, plan, y)
    if plan.prose[1]:
        book.new_page(plan.size, "")
        _prose(book, kit, topic, plan, 70.0, plan.prose[1])
    book.next_page()
    drawing = Drawing(name, book.finish(), book.sizes, _ask(kit, topic, plates), topic.kind)
    return scan(drawing, plan.scanner, kit) if plan.scanner else drawing


def _trade(plan: Plan) -> str:
    """Which sentences suit the topic."""
    module = plan.topic.__module__.rsplit("_", 1)[-1]
    return module if module in BY_TRADE else "lists"


def _turn(plan: Plan) -> str:
    return plan.arrangement if plan.arrangement in ("rotated", "sideways") else ""


def _furniture(kit: Kit, topic: Topic, face: Face) -> Callable[[Book], None]:
    """Running heads and feet of a document: none, a head with a rule, or a foot."""
    way = kit.rng.randrange(3)

    def draw_furniture(book: Book) -> None:
        if way == 1:
            book.write(MARGIN, 40, topic.title, 7.5, face.italic, GREY)
            book.rule(MARGIN, 45, book.width - MARGIN)
        if way:
            foot = f"{book.page + 1}" if way == 1 else f"{topic.who} · page {book.page + 1}"
            book.write(book.width / 2, book.height - 30, foot, 7.5, face.plain, GREY, "center")

    return draw_furniture


def _title(book: Book, topic: Topic, plan: Plan) -> float:
    book.write(MARGIN, 82, topic.title, 15, plan.look.face.bold)
    return 104.0


def _prose(book: Book, kit: Kit, topic: Topic, plan: Plan, y: float, pages: int) -> None:
    """Pages of prose in one or two columns."""
    gap = 18.0
    width = (book.width - 2 * MARGIN - gap * (plan.columns - 1)) / plan.columns
    for page in range(pages):
        top = y if page == 0 else 70.0
        if page:
            book.new_page()
        for column in range(plan.columns):
            _prose_column(book, kit, topic, plan, MARGIN + column * (width + gap), top, width)


def _prose_column(book: Book, kit: Kit, topic: Topic, plan: Plan, x: float, y: float, width: float) -> None:
    """Paragraphs, some with headings, down to the foot of the page."""
    face = plan.look.face
    size = 10.0 if width > 300 else 9.2
    while y < book.height - 150:
        if kit.rng.random() < 0.4:
            y += size * 1.6
            book.write(x, y, heading(kit), size + 1.5, face.bold)
            y += size * 0.5
        y, _ = book.flow(
            x, y, width, paragraph(kit, topic.who, kit.rng.randint(3, 6), _trade(plan)), size, face.plain
        )
        y += size * 0.6


def _tables(book: Book, kit: Kit, topic: Topic, plan: Plan, y: float) -> list[Plate]:
    if plan.arrangement == "side":
        gap = 22.0
        width = (book.width - 2 * MARGIN - gap) / 2
        return [
            draw(book, grid, plan.look, y, MARGIN + n * (width + gap), width)
            for n, (grid, _) in enumerate(topic.tables)
        ]
    plates = []
    for grid, _ in topic.tables:
        if plates and y > book.height - 240:
            book.new_page()
            y = 64.0
        elif kit.rng.random() < 0.5 and len(grid.rows) < 25:
            y, _spots = book.flow(
                MARGIN,
                y,
                book.width - 2 * MARGIN,
                paragraph(kit, topic.who, 2, _trade(plan)),
                10,
                plan.look.face.plain,
            )
            y += 8
        plates.append(draw(book, grid, plan.look, y, MARGIN))
        y = plates[-1].bottom + 20
    if kit.rng.random() < 0.75:
        _prose_column(book, kit, topic, plan, MARGIN, y, min(book.width - 2 * MARGIN, 520))
    return plates


def _ask(kit: Kit, topic: Topic, plates: list[Plate]) -> list[Query]:
    """Four questions on cells, one or two that must be computed, one that nothing answers."""
    found: list[Query] = []
    pairs = [(plate, wording) for plate, (_, wording) in zip(plates, topic.tables, strict=True)]
    for number in range(4):
        plate, wording = pairs[number % len(pairs)]
        found += ask_cells(kit, plate, wording, 1)
    if topic.computed:
        for _ in range(kit.rng.choice((1, 2))):
            plate, wording = kit.pick(pairs)
            found.append(ask_computed(kit, plate, wording))
    if kit.rng.random() < 0.85:
        plate, wording = kit.pick(pairs)
        found.append(ask_missing(kit, plate, wording))
    texts: dict[str, Query] = {query.text: query for query in found}
    return [replace(query, text=" ".join(text.split()).replace("..", ".")) for text, query in texts.items()]
