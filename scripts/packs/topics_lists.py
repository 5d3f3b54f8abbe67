"""Lists and plans: timetables, rotas, stock, fees, matrices, schedules, marks."""

from __future__ import annotations

import datetime

from packs.figures import Hand, day, same_day
from packs.grid import Cell, Column, Grid, Row, figure, words
from packs.names import FIRST, LAST, TOWNS, Kit
from packs.topic import Topic
from packs.truth import Wording


def timetable(kit: Kit, hand: Hand) -> Topic:
    """Stops down, departures across; numeric heads and times."""
    line = f"{kit.root} line {kit.rng.randint(2, 98)}"
    stops = kit.some(
        (
            "Central station",
            "Town hall",
            "Hospital",
            "School lane",
            "Mill pond",
            "Cemetery gate",
            "Sports ground",
            "Brickworks",
            "Ferry pier",
            "Old market",
            "Forest edge",
        ),
        9,
    )
    trips = [str(kit.rng.randint(100, 140) + 7 * n) for n in range(9)]
    starts = [5 * 60 + 12 + n * kit.rng.randint(41, 59) for n in range(9)]
    rows = []
    for position, stop in enumerate(stops):
        cells = []
        for start in starts:
            minute = start + position * 6 + kit.rng.randint(0, 2)
            cells.append(
                words("–")
                if 0 < position < 8 and kit.rng.random() < 0.1
                else words(f"{minute // 60:02}:{minute % 60:02}")
            )
        rows.append(Row(stop, tuple(cells)))
    grid = Grid(
        "Trip",
        tuple(Column((t,), "center") for t in trips),
        tuple(rows),
        f"Timetable of {line}, Monday to Friday",
        ("– does not stop",),
    )
    wording = Wording(
        (
            "When does trip {col} of {who} leave {row}?",
            "At what time does {who} stop at {row} on trip {col}?",
            "{who}, trip {col}: departure at {row}?",
        ),
        line,
        "stop",
        absent_rows=("University", "Zoo"),
        absent_columns=("995", "871"),
        asks_holes=False,
    )
    return Topic(f"Timetable {line}", "Timetable", ((grid, wording),), line, False)


def rota(kit: Kit, hand: Hand) -> Topic:
    """Names down, days across, words in cells."""
    ward = f"{kit.root} {kit.pick(('Clinic', 'Care Home', 'Fire Station'))}"
    week = kit.rng.randint(2, 51)
    people = [
        f"{first} {last}"
        for first, last in zip(kit.rng.sample(FIRST, 9), kit.rng.sample(LAST, 9), strict=True)
    ]
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    spoken = dict(
        zip(days, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True)
    )
    shifts = ("Early", "Late", "Night", "Off", "Leave", "Training", "Standby")
    rows = tuple(Row(name, tuple(words(kit.pick(shifts)) for _ in days)) for name in people)
    grid = Grid(
        "Name", tuple(Column((d,), "center") for d in days), rows, f"Duty rota, week {week}", words=spoken
    )
    wording = Wording(
        (
            "Which shift does {row} have on {col} at {who}?",
            "What is {row} down for on {col} ({who})?",
            "{who}: duty of {row} on {col}?",
        ),
        ward,
        "person",
        absent_rows=(f"{kit.root} Altenmeer", "Zacharias Null"),
    )
    return Topic(f"{ward}: rota", "Rota", ((grid, wording),), ward, False)


def stock(kit: Kit, hand: Hand) -> Topic:
    """A list over pages with dates, places and counts."""
    firm = kit.firm()
    shape = kit.pick(("iso", "dots", "short", "american"))
    goods = (
        "Bolts",
        "Washers",
        "Pallets",
        "Crates",
        "Paint",
        "Resin",
        "Labels",
        "Sacks",
        "Hoses",
        "Valves",
        "Motors",
        "Belts",
        "Gaskets",
        "Bearings",
        "Brushes",
        "Wire",
        "Sheets",
        "Tubes",
    )
    rows, used = [], set()
    for _ in range(kit.rng.randint(52, 84)):
        name = f"{kit.pick(goods)} {kit.code('@-##')}"
        if name in used:
            continue
        used.add(name)
        date = kit.date(2023, 2025)
        cells = (
            words(kit.code("@##.#")),
            figure(float(kit.rng.randint(0, 12_900)), hand),
            figure(float(kit.rng.randint(10, 900)), hand),
            Cell(day(date, shape), accepted=same_day(date, shape)) if kit.rng.random() < 0.9 else words("–"),
            words(kit.pick(TOWNS)),
        )
        rows.append(Row(name, cells))
    columns = (
        Column(("Bin",), "left"),
        Column(("In stock",)),
        Column(("Reorder level",)),
        Column(("Last counted",), "left"),
        Column(("Store",), "left"),
    )
    spoken = {
        "Bin": "bin",
        "In stock": "quantity in stock",
        "Reorder level": "reorder level",
        "Last counted": "date of the last count",
        "Store": "store",
    }
    grid = Grid("Item", columns, tuple(rows), "Stock list", ("– never counted",), hand, spoken)
    wording = Wording(
        (
            "What is the {col} of {row} at {who}?",
            "{row} in the stock list of {who}: {col}?",
            "Tell me the {col} for {row} in the stock list of {who}.",
        ),
        firm,
        "item",
        ("Which {row_noun} has the {most} {col} at {who}?",),
        ("Anchors X-00", "Lanterns Q-01"),
        ("purchase price", "weight"),
        asks_holes=False,
    )
    return Topic(f"{firm}: stock list", "Stock list", ((grid, wording),), firm)


def fees(kit: Kit, hand: Hand) -> Topic:
    """Ranges down, zones across under spanning heads."""
    carrier = f"{kit.root} Parcel Service"
    limits = (0.5, 1, 2, 5, 10, 20, 31.5)
    columns = tuple(
        Column((way, zone)) for way in ("Standard", "Express") for zone in ("Zone 1", "Zone 2", "Zone 3")
    )
    rows = []
    for number, limit in enumerate(limits):
        name = (
            f"up to {hand.write(limit, 1)} kg"
            if not number
            else f"{hand.write(limits[number - 1], 1)} to {hand.write(limit, 1)} kg"
        )
        cells = [
            figure(round((2.4 + limit * 0.7 + 1.9 * p) * kit.rng.uniform(0.9, 1.1), 2), hand, 2)
            for p in range(6)
        ]
        if number == 6:
            cells[-1] = words("–")
        rows.append(Row(name, tuple(cells)))
    spoken = {
        f"{w} / {z}": f"{w.lower()} delivery to {z.lower()}"
        for w in ("Standard", "Express")
        for z in ("Zone 1", "Zone 2", "Zone 3")
    }
    grid = Grid(
        "Weight",
        columns,
        tuple(rows),
        f"Charges of {carrier}, valid from 1 {kit.pick(('May', 'July'))} {kit.rng.randint(2020, 2026)}",
        ("Prices in euros. – on request",),
        hand,
        spoken,
    )
    wording = Wording(
        (
            "How much does {who} charge for a parcel of {row} for {col}?",
            "What does {col} cost with {who} for the weight class {row}?",
            "{who}: price of {col}, {row}?",
        ),
        carrier,
        "weight class",
        ("Which {row_noun} has the {most} price for {col} with {who}?",),
        ("50 to 70 kg", "70 to 100 kg"),
        ("express delivery to zone 7", "standard delivery to zone 9"),
        asks_holes=False,
    )
    return Topic(f"{carrier}: charges", "Tariff", ((grid, wording),), carrier)


def milestones(kit: Kit, hand: Hand) -> Topic:
    """Wrapped words and dates, no figures."""
    project = f"{kit.root} {kit.pick(('bridge', 'school', 'tunnel', 'archive'))} project"
    works = (
        ("Site survey", "Levels, soil and existing pipes are recorded and entered in the plan of the site"),
        ("Building permit", "All papers are handed in and the permit is granted without conditions"),
        ("Foundations", "Piles are driven, the slab is poured and has reached its strength"),
        ("Shell", "Walls and roof are closed; windows may still be missing on the north side"),
        ("Heating and water", "Pipes are laid, tested under pressure and insulated"),
        ("Electrical work", "Cables, boards and lights are installed and measured"),
        ("Interior finish", "Floors, doors, paint and fixed furniture"),
        ("Acceptance", "Inspection with the client; faults are listed and a date for mending them is set"),
    )
    shape = kit.pick(("long", "american", "short", "iso"))
    date = kit.date(2021, 2025)
    rows = []
    for number, (name, text) in enumerate(works, 1):
        date += datetime.timedelta(kit.rng.randint(20, 70))
        person = kit.person()
        cells = (
            words(name),
            words(text),
            words(person),
            Cell(day(date, shape), accepted=same_day(date, shape)),
            words(kit.pick(("done", "open", "late", "in progress"))),
        )
        rows.append(Row(f"M{number}", cells))
    columns = (
        Column(("Milestone",), "left", 90),
        Column(("What is reached",), "left", 150),
        Column(("Responsible",), "left", 80),
        Column(("Due",), "left", 80),
        Column(("State",), "left"),
    )
    spoken = {
        "Milestone": "title",
        "What is reached": "result",
        "Responsible": "person responsible",
        "Due": "due date",
        "State": "state",
    } | {f"M{n}": f"milestone M{n}" for n in range(1, 9)}
    grid = Grid("No.", columns, tuple(rows), "Milestones", words=spoken)
    wording = Wording(
        (
            "What is the {col} of {row} in the {who}?",
            "{who}: what is the {col} for {row}?",
            "For {row} of the {who}, what {col} is given?",
        ),
        project,
        "milestone",
        absent_rows=("milestone M14", "milestone M22"),
        absent_columns=("budget", "penalty"),
    )
    return Topic(f"{project}: schedule", "Project schedule", ((grid, wording),), project, False)


def matrix(kit: Kit, hand: Hand) -> Topic:
    """Features down, models across; ticks and crosses are drawn, figures between them."""
    firm = kit.firm("Tools")
    models = [f"{kit.root[:3].upper()} {n}" for n in (110, 220, 330, 440)]
    rows = []
    for name in ("Variable speed", "Soft start", "Dust port", "Second handle"):
        rows.append(Row(name, tuple(Cell(tick=kit.rng.random() < 0.6) for _ in models)))
    for name, low, high, decimals, unit in (
        ("Power input", 450, 1_900, 0, "W"),
        ("Weight", 1.1, 5.9, 1, "kg"),
        ("No-load speed", 600, 3_200, 0, "rpm"),
        ("Noise level", 70, 99, 1, "dB(A)"),
        ("Length of cable", 2, 6, 1, "m"),
    ):
        rows.append(
            Row(
                name,
                tuple(
                    figure(round(kit.rng.uniform(low, high), decimals), hand, decimals, after=f" {unit}")
                    for _ in models
                ),
            )
        )
    rows.append(Row("Guarantee", tuple(words(kit.pick(("2 years", "3 years", "5 years"))) for _ in models)))
    grid = Grid(
        "",
        tuple(Column((m,), "center") for m in models),
        tuple(rows),
        "Technical data at a glance",
        hand=hand,
        has_nouns=True,
    )
    wording = Wording(
        (
            "What is the {row} of the {col} by {who}?",
            "{who} {col}: {row}?",
            "Which {row} does the {col} from {who} have?",
        ),
        firm,
        "feature",
        absent_rows=("battery capacity", "chuck size"),
        absent_columns=(f"{kit.root[:3].upper()} 990",),
    )
    return Topic(f"{firm}: data sheet", "Product sheet", ((grid, wording),), firm, False)


def marks(kit: Kit, hand: Hand) -> Topic:
    """Candidates by number, marks by subject."""
    school = f"{kit.root} {kit.pick(('Grammar School', 'College', 'Academy'))}"
    subjects = kit.some(("English", "Mathematics", "Physics", "History", "Music", "Geography", "Biology"), 5)
    rows = []
    number = kit.rng.randint(4_000, 8_000)
    for _ in range(kit.rng.randint(16, 26)):
        number += kit.rng.randint(1, 9)
        cells = [
            words("..") if kit.rng.random() < 0.06 else figure(float(kit.rng.randint(21, 99)), hand)
            for _ in subjects
        ]
        rows.append(Row(str(number), (words(kit.person()), *cells)))
    columns = (Column(("Name",), "left"), *(Column((s,)) for s in subjects))
    grid = Grid(
        "Candidate",
        columns,
        tuple(rows),
        f"Examination results, {kit.pick(('spring', 'summer', 'autumn'))} term",
        (".. absent",),
        hand,
        {"Name": "name"},
    )
    wording = Wording(
        (
            "What is the {col} of candidate {row} at {who}?",
            "Candidate {row}, {who}: {col}?",
            "In the results of {who}, which {col} entry does number {row} have?",
        ),
        school,
        "candidate",
        ("Which {row_noun} at {who} has the {most} mark in {col}?",),
        (str(number + 777), str(number - 3_000)),
        ("Astronomy", "Greek"),
        asks_holes=False,
    )
    return Topic(f"{school}: results", "Examination results", ((grid, wording),), school)


TOPICS = (timetable, rota, stock, fees, milestones, matrix, marks)
