"""Manuals of three appliances in three revisions each: most of the text is equal, some values are not."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from packs.figures import AMERICAN, day
from packs.folio import Ask, Call, Draft, Folio, Manner
from packs.grid import Column, Grid, Row, figure, words
from packs.names import Kit

VERSIONS = ("1.0", "1.1", "2.0")


@dataclass(frozen=True)
class Appliance:
    """A kind of appliance.

    Attributes:
        noun: what it is.
        model: its number.
        load: what goes in.
        time: unit of its programs.
        parts: in the order of the drawing.
        programs: their names.
        news: of versions 1.1 and 2.0: heading, sentence and question.
    """

    noun: str
    model: str
    load: str
    time: str
    parts: tuple[str, ...]
    programs: tuple[str, ...]
    news: tuple[tuple[str, str, str], ...]


APPLIANCES = (
    Appliance(
        "dishwasher", "DW-480", "place settings", "minutes",
        ("Upper basket", "Spray arm", "Filter cylinder", "Salt container", "Rinse aid dispenser"),
        ("Eco", "Intensive", "Quick", "Glass", "Half load"),
        (
            (
                "Child lock",
                "Hold the start key for {value} until the padlock lights up; the door then stays locked.",
                "How long must the start key be held for the padlock to light up?",
            ),
            (
                "Floor beam",
                "A red dot is cast on the floor while a program runs. It goes out {value} after the end.",
                "When does the red dot on the floor go out?",
            ),
        ),
    ),
    Appliance(
        "coffee machine", "CM-12", "cups in a row", "seconds",
        ("Bean hopper", "Grinder", "Brewing unit", "Drip tray", "Milk hose"),
        ("Espresso", "Lungo", "Cappuccino", "Latte", "Hot water"),
        (
            (
                "Night display",
                "The display dims {value} after the last key was pressed and wakes at a touch.",
                "When does the display dim after the last touch?",
            ),
            (
                "Cup heater",
                "The plate on top warms cups to {value}; it is switched on in the menu.",
                "To what temperature does the plate on top warm cups?",
            ),
        ),
    ),
    Appliance(
        "dehumidifier", "AD-90", "square metres", "minutes",
        ("Air inlet", "Water tank", "Hose connection", "Float", "Castors"),
        ("Auto", "Laundry", "Cellar", "Silent", "Purge"),
        (
            (
                "Laundry sensor",
                "Clip the sensor to a wet towel; the device stops {value} after the towel is dry.",
                "How long after the towel is dry does the device stop?",
            ),
            (
                "Frost guard",
                "Below {value} the compressor rests so that no ice forms on the coil.",
                "Below what temperature does the compressor rest to keep ice off the coil?",
            ),
        ),
    ),
)  # fmt: skip
NEWS = (
    (("seconds", 3, 11), ("minutes", 12, 58)),
    (("seconds", 21, 98), ("°C", 41, 69)),
    (("minutes", 11, 59), ("°C", 2, 9)),
)
SAFETY = (
    "Read these instructions before use and keep them. Pass them on with the device.",
    "The device is meant for use in households, in closed rooms and below 2,000 metres.",
    "Children may use it only under supervision. Keep packing material away from them.",
    "Pull the plug before cleaning and before any work on the device. Never pull at the cord.",
    "Do not use the device if the cord or the housing is damaged. Repairs are for trained people only.",
    "Do not place it next to stoves, in the sun or where it may freeze.",
    "Use no extension cords with several sockets.",
    "Never reach into openings while the device is running.",
)


def manual(kit: Kit, brand: str, position: int, manner: Manner, version: int, seed: int) -> Draft:
    """The manual of an appliance in a version: 0, 1 or 2 of `VERSIONS`."""
    thing, shared = APPLIANCES[position], Kit(seed, position, f"appliance-{position}")
    name = f"{brand} {thing.model}"
    date = datetime.date(2021 + version, shared.rng.randint(1, 12), shared.rng.randint(2, 27))
    folio = Folio(manner, f"{name} user manual v{VERSIONS[version]}", f"{name} user manual v1.0", brand)
    folio.y = 120
    folio.line(brand, 22, True, 8)
    folio.line(f"{thing.noun.capitalize()} {thing.model}", 16, after=8)
    folio.line("User manual", 13, after=14)
    folio.line(f"Version {VERSIONS[version]}, {date:%B %Y}", 10, after=20)
    _first_pages(folio, shared, thing)
    _use(kit, folio, thing, position, version)
    _care(kit, folio, thing)
    _data(kit, folio, thing, shared, date)
    return Draft(
        folio, _calls(name, thing, brand, version), _latest(name, thing, brand) if version == 2 else (),
        _absent(name, thing), "Manual",
    )  # fmt: skip


def _calls(name: str, thing: Appliance, brand: str, version: int) -> tuple[Call, ...]:
    number = VERSIONS[version]
    return (
        Call(
            f"version {number} of the {name} manual",
            f"the {name}",
            f"according to version {number} of the manual",
        ),
        Call(
            f"the {name} {thing.noun} manual, v{number}",
            f"the {name} {thing.noun}",
            f"as version {number} of its manual says",
        ),
        Call(
            f"revision {number} of the manual for the {brand} {thing.noun}",
            f"the {brand} {thing.noun}",
            f"(manual {number})",
        ),
    )


def _latest(name: str, thing: Appliance, brand: str) -> tuple[Call, ...]:
    return (
        Call(f"the latest manual of the {name}", f"the {name}", "according to the latest manual"),
        Call(
            f"the newest version of the {brand} {thing.noun} manual",
            f"the {name}",
            "in the newest version of its manual",
        ),
        Call(f"the most recent {name} manual", f"the {brand} {thing.noun}", "by its most recent manual"),
    )


def _absent(name: str, thing: Appliance) -> tuple[str, ...]:
    return (
        f"How is the {name} connected to a wireless network {{when}}?",
        f"What does version 3.0 of the {name} manual say about the noise level?",
        f"Which colours does the {name} {thing.noun} come in {{when}}?",
    )


def _first_pages(folio: Folio, shared: Kit, thing: Appliance) -> None:
    folio.section("Safety", fresh=folio.manner.is_airy)
    folio.points(shared.rng.sample(SAFETY, len(SAFETY)))
    folio.section("Parts", fresh=True)
    folio.say(
        "Check that the parcel is complete. If something is missing, turn to your dealer. The numbers "
        "are those of the drawing."
    )
    folio.points([f"({number}) {part}" for number, part in enumerate(thing.parts, 1)])
    folio.section("Setting up", 1)
    folio.say(
        f"Place the {thing.noun} on level ground that bears its weight. Leave a hand's breadth at the "
        "back so that air can "
        "pass. Take off all tape and film. Plug it into a socket of its own that remains within "
        "reach. Wait two hours "
        "after transport in the cold before you switch it on."
    )
    folio.say(
        "Keep the packing in case you move house. Do not lift the device by its flaps. If the floor is "
        "uneven, turn the feet until the device no longer rocks. Long carpets may close the openings "
        "below. Make sure that the data on the type plate agree with those of your mains; if in doubt, "
        "ask an electrician. Hoses must not be bent or squeezed, and old ones must not be used again."
    )
    folio.section("First use", 1)
    folio.say(
        "Switch on the device and choose the language with the arrow keys. Let it run once without "
        "load. A slight smell "
        "is normal and fades. Wipe the parts that were in touch with packing."
    )
    folio.say(
        "The keys react to a light touch. A short tone confirms each choice, a long one says that it is "
        "not possible now. The arrow keys lead through the menu; the round key takes over what is "
        "shown. If no key is pressed for a while, the display returns to its first picture. After a "
        "power cut the device goes on where it was, unless it was opened in the meantime."
    )
    folio.section("Signs and lamps", 1)
    folio.points(
        (
            "Green lamp, steady: the device is ready.",
            "Green lamp, flashing: a program is running.",
            "Yellow lamp: care is needed, see the chapter on cleaning.",
            "Red lamp: a fault, see the chapter on faults.",
            "Bell: the end of a program; it can be made louder in the menu.",
        )
    )


def _use(kit: Kit, folio: Folio, thing: Appliance, position: int, version: int) -> None:
    folio.section("Operation", fresh=folio.manner.is_airy)
    folio.say(
        f"The device takes at most {{{kit.rng.randint(3, 9) * 4 + version} {thing.load}}}. Do not "
        "overload it. Close all flaps; "
        "otherwise it does not start. Turn the knob to a program and press the start key.",
        Ask(
            (
                f"How many {thing.load} can {{who}} take at most {{when}}?",
                f"What is the largest load ({thing.load}) in {{doc}}?",
            )
        ),
    )
    rows, asks = [], {}
    for name in thing.programs:
        minutes, energy = kit.rng.randint(13, 188), round(kit.rng.uniform(0.11, 2.4), 2)
        rows.append(Row(name, (figure(minutes, AMERICAN), figure(energy, AMERICAN, 2))))
        asks[name, 0] = Ask(
            (
                f"How long does the {name} program of {{who}} run {{when}}?",
                f"{thing.time.capitalize()} that the program {name} takes in {{doc}}?",
            )
        )
        asks[name, 1] = Ask((f"How many kWh does {{who}} use on {name} {{when}}?",))
    columns = (Column((thing.time.capitalize(),)), Column(("kWh",)))
    folio.table(Grid("Program", columns, tuple(rows), "Programs"), asks)
    folio.say(
        "Values are those of the laboratory. They depend on temperature and load. Open the device "
        "only after the signal."
    )
    for number in range(version):
        heading, text, question = thing.news[number]
        unit, low, high = NEWS[position][number]
        folio.section(heading, 1)
        ask = Ask(unnamed=(question,)) if number == version - 1 == 1 else Ask()
        shared = Kit(position, number, f"news-{position}-{number}")  # what 1.1 brought is the same in 2.0
        folio.say(text.replace("{value}", f"{{{shared.rng.randint(low, high)} {unit}}}"), ask)


def _care(kit: Kit, folio: Folio, thing: Appliance) -> None:
    folio.section("Cleaning and care", fresh=True)
    folio.say(
        "Let the device cool down. Wipe the outside with a damp cloth and a drop of mild soap. "
        "Scouring powder leaves scratches."
    )
    folio.say(
        f"Clean the {thing.parts[2].lower()} every {{{kit.rng.randint(11, 59)} days}} under running "
        "water. Descale the device after "
        f"{{{kit.rng.randint(61, 299)} hours}} of use; a lamp reminds you. Take "
        f"{{{kit.rng.randint(31, 240)} ml}} of descaler for this and "
        "let it work before you rinse.",
        Ask(
            (
                f"How often must the {thing.parts[2].lower()} be cleaned {{when}}?",
                f"Cleaning interval of the {thing.parts[2].lower()} in {{doc}}?",
            )
        ),
        Ask(
            (
                "After how many hours should {who} be descaled {when}?",
                "Which descaling interval does {doc} give?",
            )
        ),
        Ask(("How much descaler is needed for {who} {when}?",)),
    )
    folio.say(
        "Seals wear with time. Rub them with a little silicone grease once a year. Never use butter or oil."
    )
    folio.say(
        "Do not use sharp objects, steam or thinner. Dry the parts before you put them back, and see "
        "that they click into place. If the device is not used for some time, empty it, leave it open "
        "and pull the plug. Dust on the grille raises consumption; take it off with a soft brush."
    )
    folio.section("Before a longer pause", 1)
    folio.points(
        (
            "Run a program without load and let the device cool down.",
            "Empty all containers and wipe them dry.",
            "Close the tap, if there is one, and take off the hose.",
            "Roll up the cord without bending it sharply.",
            "Cover the device and keep it where it cannot freeze.",
        )
    )
    folio.section("Faults", fresh=folio.manner.is_airy)
    signs = (
        "Water does not drain",
        "Sensor fails",
        "Motor is blocked",
        "Temperature too high",
        "Flap is open",
        "Fan stands still",
    )
    codes = [f"E{code}" for code in kit.rng.sample(range(11, 99), len(signs))]
    rows = tuple(
        Row(sign, (words(code), words("Call the service" if n % 3 else "Switch off, wait, try again")))
        for n, (sign, code) in enumerate(zip(signs, codes, strict=True))
    )
    asks = {
        (sign, 0): Ask(
            (
                f"Which error code means “{sign.lower()}” in {{doc}}?",
                f"What does {{who}} show when {text} {{when}}?",
            )
        )
        for sign, text in zip(
            signs,
            (
                "water does not run off",
                "a sensor fails",
                "the motor is stuck",
                "it gets too hot",
                "a flap is open",
                "the fan stops",
            ),
            strict=True,
        )
    }
    folio.table(
        Grid("Fault", (Column(("Code",), "left"), Column(("What to do",), "left")), rows, "Error codes"), asks
    )
    folio.say(
        "Many faults can be remedied without help. Check first whether the plug is in, whether the fuse "
        "holds and whether all parts are in place. Switch the device off, wait for a while and switch "
        "it on again. Noises such as clicking and gurgling are normal. Repairs by untrained people are "
        "dangerous and end the guarantee."
    )
    folio.say("If a code comes back, note it down together with the number on the type plate.")


def _data(kit: Kit, folio: Folio, thing: Appliance, shared: Kit, date: datetime.date) -> None:
    folio.section("Technical data", fresh=folio.manner.is_airy)
    values = (
        ("Rated power", kit.rng.randint(410, 2390), "W", "What is the rated power of {who} {when}?"),
        ("Noise", round(kit.rng.uniform(36, 59), 1), "dB(A)", "How loud is {who} {when}?"),
        ("Weight", round(kit.rng.uniform(7, 49), 1), "kg", "How heavy is {who} {when}?"),
        ("Length of the cord", kit.rng.randint(95, 290), "cm", "How long is the cord of {who} {when}?"),
        (
            "Standby",
            round(kit.rng.uniform(0.11, 0.95), 2),
            "W",
            "What power does {who} draw in standby {when}?",
        ),
    )
    rows, asks = [], {}
    for name, value, unit, question in values:
        decimals = 0 if isinstance(value, int) else 2 if value < 1 else 1
        rows.append(Row(name, (figure(value, AMERICAN, decimals), words(unit))))
        asks[name, 0] = Ask((question, f"{name} given in {{doc}}?"), more=(f"{value} {unit}",))
    folio.table(Grid("Quantity", (Column(("Value",)), Column(("Unit",), "left")), tuple(rows), "Data"), asks)
    folio.section("Guarantee and service", 1)
    folio.say(
        f"The guarantee covers {{{kit.rng.randint(25, 83)} months}} from the day of purchase; keep the "
        "receipt. Wear is excluded. Spare "
        f"parts are kept for {kit.rng.randint(6, 9)} years. Order filters under number "
        f"{{{kit.code('@@-#####')}}}.",
        Ask(
            ("How many months of guarantee does {who} have {when}?", "What is the guarantee period in {doc}?")
        ),
        Ask(
            ("Under which number are filters for {who} ordered {when}?", "Order number of filters in {doc}?")
        ),
    )
    folio.say(f"Service: {shared.street()}, {shared.town()}. Printed {day(date, 'long')}. Subject to change.")
