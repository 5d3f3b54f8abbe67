"""Reports of fire safety inspections: one form for every site, other measurements and findings."""

from __future__ import annotations

import datetime

from packs.figures import AMERICAN, day, same_day
from packs.folio import Ask, Call, Draft, Folio, Manner
from packs.grid import Column, Grid, Row, figure, words
from packs.names import TOWNS, Kit

BUILDINGS = ("warehouse", "school", "bus depot", "sawmill", "theatre", "dairy")
# What was found at one site only, and the question that only its words tie to it.
FINDINGS = (
    (
        "A forklift charger stands below a wooden gallery; the safe distance of {value} is not kept.",
        "Which distance must a forklift charger keep from the wooden gallery?",
    ),
    (
        "In the chemistry room a cabinet for acids has no extraction; air was measured at {value}.",
        "What was measured at the acid cabinet without extraction?",
    ),
    (
        "Tyres are stacked before the inspection pit to a height of {value}.",
        "How high are the tyres stacked before the inspection pit?",
    ),
    (
        "Sawdust lies on the beams above the band saw in a layer of {value}.",
        "How thick is the layer of sawdust above the band saw?",
    ),
    (
        "The iron curtain takes {value} to close.",
        "How long does the iron curtain take to close?",
    ),
    (
        "The ammonia detector of the cheese store gave alarm only at {value}.",
        "At what concentration did the ammonia detector of the cheese store give alarm?",
    ),
)
UNITS = ("cm", "mg/m³", "cm", "mm", "seconds", "ppm")
MEASURES = (
    ("Emergency lighting, corridor", "lux", 1.1, 9.8, "How bright is the emergency lighting in the corridor"),
    (
        "Emergency lighting, stairs",
        "lux",
        1.1,
        9.8,
        "What lux value was found for emergency lights on the stairs",
    ),
    ("Hydrant, pressure at rest", "bar", 3.2, 8.9, "What pressure does the hydrant have at rest"),
    ("Hydrant, flow", "l/min", 410, 1290, "How much water a minute does the hydrant give"),
    ("Fire door, closing force", "N", 24, 79, "With what force does the fire door close"),
    ("Escape route, longest", "m", 14, 49, "How long is the longest escape route"),
    ("Smoke vents, opening time", "s", 21, 95, "How long do the smoke vents take to open"),
    ("Alarm, sound level", "dB", 66, 99, "How loud is the alarm"),
)


def inspection(kit: Kit, site: str, manner: Manner, finding: int) -> Draft:
    """The report on a site."""
    date = kit.date(2023, 2025)
    building = f"{site} {BUILDINGS[finding]}"
    folio = Folio(
        manner, f"Inspection report {building}", "Inspection report (form 12)", "Fire safety office"
    )
    _head(kit, folio, building, date)
    _measures(kit, folio)
    _found(kit, folio, finding, date)
    calls = (
        Call(f"the inspection report on the {building}", f"the {building}", f"at the {building}"),
        Call(f"the fire safety report of {date:%B %Y} for {site}", f"the {site} site", f"at the {site} site"),
        Call(f"the {date.year} inspection of {building}", site, f"at {site} in {date.year}"),
    )
    absent = (
        "When was the sprinkler system {when} last flushed?",
        "How many visitors are allowed {when} at the same time?",
        f"How loud is the alarm at the {kit.pick(TOWNS)} barracks?",
    )
    return Draft(folio, calls, (), absent, "Inspection")


def _head(kit: Kit, folio: Folio, building: str, date: datetime.date) -> None:
    folio.line("Fire safety inspection", 17, True, 6)
    folio.line(f"Report no. {kit.code('B####-##')}", 10, after=10)
    folio.line(f"Site: {building}, {kit.street()}, {kit.town()}")
    folio.line(f"Date of the inspection: {day(date, 'long')}")
    folio.line(f"Inspector: {kit.person()}", after=10)
    folio.section("Occasion and scope", 1)
    folio.say(
        "The site was visited after notice as part of the regular inspections. All storeys were "
        "walked through, as far "
        "as they were open; roof spaces were looked at from hatches. Papers on earlier tests were "
        "shown and looked "
        "at. Measurements were taken with calibrated instruments."
    )
    folio.say(
        f"The operator was represented by {{{kit.person()}}}, who gave all information asked for and "
        "kept the keys at "
        f"hand. The building has {{{kit.rng.randint(1210, 9890):,} square metres}} of floor in use.",
        Ask(
            (
                "Who represented the operator at the inspection {when}?",
                "Who was there for the operator as {doc} says?",
            )
        ),
        Ask(("What is the floor area in use {when}?",)),
    )
    folio.section("Summary", 1)
    folio.say(
        "The state of the site is satisfactory on the whole. Escape routes are marked and mostly "
        "clear. Defects that "
        "were found are listed below with the date until which they must be remedied. None of them "
        "calls for the "
        "site to be closed. The operator has been told of them on the spot."
    )
    folio.section("Papers seen", 1)
    folio.points(
        (
            "Plan of escape routes, posted in every storey.",
            "Book of tests of extinguishers, with gaps.",
            "Certificate of the alarm system by the maintenance firm.",
            "List of helpers trained in first aid and evacuation.",
            "Permits for work with open flame, kept by the caretaker.",
        )
    )
    folio.say(
        f"The last evacuation drill took {{{kit.rng.randint(182, 588)} seconds}} until the assembly "
        "point was reached "
        "by all. The drill should be repeated each year and be entered into the book.",
        Ask(("How long did the evacuation drill take {when}?",)),
    )


def _measures(kit: Kit, folio: Folio) -> None:
    folio.section("Measurements", fresh=True)
    rows, asks = [], {}
    for name, unit, low, high, question in MEASURES:
        value = round(kit.rng.uniform(low, high), 1)
        rows.append(
            Row(name, (figure(value, AMERICAN, 1), words(unit), words(kit.pick(("met", "met", "not met")))))
        )
        asks[name, 0] = Ask(
            (f"{question} {{when}}?", f"{question} according to {{doc}}?"), more=(f"{value} {unit}",)
        )
    columns = (Column(("Value",)), Column(("Unit",), "left"), Column(("Requirement",), "left"))
    folio.table(Grid("Item", columns, tuple(rows), "Values measured"), asks)
    folio.say(
        "Requirements are those of the building permit; where it is silent, those of the general rules."
    )
    names = ("Dry powder", "Foam", "Carbon dioxide", "Water")
    counts = tuple(
        Row(n, tuple(figure(kit.rng.randint(low, high), AMERICAN) for low, high in ((3, 48), (0, 9))))
        for n in names
    )
    plate = folio.table(
        Grid("Extinguishers", (Column(("Counted",)), Column(("Overdue",))), counts, "Extinguishers")
    )
    folio.add_sum(
        plate,
        ("Dry powder", "Foam"),
        0,
        "How many dry powder and foam extinguishers together were counted {when}?",
        0,
    )


def _found(kit: Kit, folio: Folio, finding: int, date: datetime.date) -> None:
    folio.section("Defects and deadlines", fresh=folio.manner.is_airy)
    low, high = ((110, 290), (2, 9), (210, 390), (11, 45), (31, 89), (61, 190))[finding]
    text, question = FINDINGS[finding]
    value = f"{{{kit.rng.randint(low, high)} {UNITS[finding]}}}"
    folio.say(text.replace("{value}", value), Ask(unnamed=(question,)))
    deadlines = [
        date + datetime.timedelta(kit.rng.randint(*days)) for days in ((20, 45), (60, 90), (100, 150))
    ]
    folio.say(
        "Boxes and furniture in the back stairwell must be removed by "
        f"{{{day(deadlines[0], 'long')}}}. The seals of the fire doors are worn and have to be replaced by "
        f"{{{day(deadlines[1], 'long')}}}. Openings round pipes in the cellar are to be closed by "
        f"{{{day(deadlines[2], 'long')}}}.",
        Ask(("By when must the back stairwell be cleared {when}?",), more=same_day(deadlines[0], "long")),
        Ask(("Until when do door seals have to be replaced {when}?",), more=same_day(deadlines[1], "long")),
        Ask(
            ("What is the deadline for closing openings round pipes in {doc}?",),
            more=same_day(deadlines[2], "long"),
        ),
    )
    folio.say(
        f"Fee for this inspection: {{EUR {kit.rng.uniform(190, 890):.2f}}}, payable within the usual "
        "time. A second visit "
        "is charged by the hour.",
        Ask(("What was charged for the inspection {when}?", "What fee is stated in {doc}?")),
    )
    folio.say("This report was drawn up from notes taken on the site and is valid without a signature.")
