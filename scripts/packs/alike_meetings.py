"""Minutes of the monthly meetings of one board: the same items, other decisions."""

from __future__ import annotations

import datetime

from packs.figures import MONTHS, day, same_day
from packs.folio import Ask, Call, Draft, Folio, Manner
from packs.names import Kit

# Two topics a month that no other month has: heading, text, question.
TOPICS = (
    (
        "Beehives at the north fence",
        "Several neighbours had asked about the hives. After a talk by a beekeeper it was decided to "
        "allow them; "
        "fencing costs {value}.",
        "What does the fencing for the beehives cost?",
    ),
    (
        "Leaking water tower",
        "The tower loses water at its lower seam. The cheapest of three offers for welding is "
        "{value}; it was accepted.",
        "Which offer for welding the water tower was accepted?",
    ),
    (
        "Lantern parade",
        "The parade takes place as in past years. Candles and hire of the brass band may cost up to {value}.",
        "How much may candles and the brass band for the lantern parade cost?",
    ),
    (
        "Theft of wheelbarrows",
        "Wheelbarrows were stolen from the shed at night. New ones with engraved numbers were bought "
        "for {value}.",
        "What did the wheelbarrows with engraved numbers cost?",
    ),
    (
        "Voles in the orchard",
        "Voles have damaged young trees. Wire baskets for the roots are ordered at {value} in all.",
        "What do the wire baskets against voles cost?",
    ),
    (
        "Wheelchair ramp",
        "The clubhouse gets a ramp of larch wood. The town contributes {value}.",
        "How much does the town contribute to the wheelchair ramp?",
    ),
    (
        "Seed library",
        "The shelf for exchanging seeds moves to the porch. Jars and labels were granted {value}.",
        "What was granted for jars and labels of the seed library?",
    ),
    (
        "Power cable to the greenhouse",
        "The old cable is no longer safe. An electrician replaces it for {value}.",
        "What does the electrician charge for the cable to the greenhouse?",
    ),
)
MONTHLY = (
    "Rent of the plots",
    "Work days",
    "Letters received",
    "Waiting list",
    "Composting",
    "Opening hours",
)


def minutes(kit: Kit, board: str, manner: Manner, year: int, month: int, topic: int, newest: bool) -> Draft:
    """The minutes of a month."""
    date = datetime.date(year, month, kit.rng.randint(3, 26))
    chair, secretary = (Kit(5, n, board).person() for n in (3, 8))
    stale = f"Minutes {date.replace(day=1) - datetime.timedelta(20):%B %Y}"
    folio = Folio(manner, f"Minutes {date:%B %Y}", stale, secretary)
    _opening(kit, folio, board, date, (chair, secretary))
    _items(kit, folio, topic)
    _closing(kit, folio, date, chair, secretary)
    calls = (
        Call(f"the minutes of {date:%B %Y}", "the board", f"at the {date:%B %Y} meeting"),
        Call(
            f"the minutes of the board meeting on {day(date, 'long')}", "the board", f"on {day(date, 'long')}"
        ),
        Call(f"the {board} minutes for {date:%B %Y}", f"the board of the {board}", f"in {date:%B %Y}"),
    )
    latest = (
        Call(f"the latest minutes of the {board}", f"the board of the {board}", "at its latest meeting"),
        Call("the most recent board minutes", "the board", "at the most recent meeting"),
        Call(f"the newest minutes of the {board}", "the board", "at the newest meeting on record"),
    )
    past = f"{kit.pick(MONTHS)} {kit.rng.randint(2012, 2020)}"
    absent = (
        "What did the board decide about a swimming pond {when}?",
        f"How much was in the bank account of the {board} at the meeting of {past}?",
        "Which insurance broker did the board choose {when}?",
    )
    return Draft(folio, calls, latest if newest else (), absent, "Minutes")


def _opening(kit: Kit, folio: Folio, board: str, date: datetime.date, officers: tuple[str, str]) -> None:
    folio.line(board, 15, True, 6)
    folio.line("Minutes of the meeting of the board", 12, after=10)
    start = kit.rng.randint(2, 55)
    folio.line(f"Date: {day(date, 'long')}, 18:{start:02} to 20:{kit.rng.randint(1, 58):02}, clubhouse")
    folio.line(f"Chair: {officers[0]}; minutes: {officers[1]}", after=8)
    folio.say(
        f"Present: {officers[0]}, {officers[1]} and {kit.rng.randint(3, 7)} further members of the "
        "board. Excused: "
        f"{{{kit.person()}}}. A quorum was present.",
        Ask(("Which member of the board was excused {when}?", "Who had sent apologies according to {doc}?")),
    )
    folio.section("1. Minutes of the last meeting", 1)
    folio.say("The minutes were read and approved without changes. Open points are taken up below.")


def _items(kit: Kit, folio: Folio, topic: int) -> None:
    folio.section("2. Report of the treasurer", 1)
    folio.say(
        f"The account stands at {{EUR {kit.rng.uniform(3100, 28900):,.2f}}}. Fees outstanding come to "
        f"{{EUR {kit.rng.uniform(210, 1900):,.2f}}}; reminders have been sent. The petty cash was "
        "counted and found "
        "to agree with the book. The treasurer thanks all who help with the collection.",
        Ask(("What was the balance of the account {when}?", "How much money was in the bank as {doc} says?")),
        Ask(
            (
                "What amount of fees was still unpaid {when}?",
                "How much did members still owe according to {doc}?",
            )
        ),
    )
    folio.section("3. Members", 1)
    folio.say(
        f"There are now {{{kit.rng.randint(203, 489)} members}}. New members were welcomed; those who "
        "left were "
        "thanked. Keys that have not been returned are asked for by letter.",
        Ask(
            (
                "How many members did the association count {when}?",
                "What was the membership according to {doc}?",
            )
        ),
    )
    heading, text, question = TOPICS[topic]
    folio.section(f"4. {heading}", 1)
    value = f"{{EUR {kit.rng.uniform(110, 4900):,.2f}}}"
    folio.say(text.replace("{value}", value), Ask(unnamed=(question,)))
    number = 5
    for name in kit.some(MONTHLY, 2 if not folio.manner.is_airy else 4):
        folio.section(f"{number}. {name}", 1)
        folio.say(
            f"The item was introduced by {kit.person()} and discussed at length. Several members spoke "
            "for a cautious "
            "course; others recalled earlier decisions. It was agreed to proceed as before and to "
            "look at the "
            "matter again in a year."
        )
        number += 1
    folio.section(f"{number}. Work on the grounds", 1)
    folio.say(
        f"On the last work day {kit.rng.randint(11, 48)} helpers gave {{{kit.rng.randint(61, 240)} hours}}. "
        f"Tools for {{EUR {kit.rng.uniform(41, 390):.2f}}} were bought. Paths and hedges are in order.",
        Ask(("How many hours were worked on the last work day, as reported {when}?",)),
        Ask(("How much was spent on tools according to {doc}?", "What had tools cost, as told {when}?")),
    )


def _closing(kit: Kit, folio: Folio, date: datetime.date, chair: str, secretary: str) -> None:
    following = date + datetime.timedelta(kit.rng.randint(25, 34))
    folio.section("Any other business", 1)
    folio.say(
        f"{{{kit.person()}}} volunteers to repair the notice board. The chair closes the meeting and "
        "thanks everybody. "
        f"The next meeting is on {{{day(following, 'long')}}}.",
        Ask(
            ("Who offered to repair the notice board {when}?", "Who mends the notice board, going by {doc}?")
        ),
        Ask(("Which date for the following meeting is set in {doc}?",), more=same_day(following, "long")),
    )
    folio.y += 16
    folio.line(f"Signed: {chair} (chair), {secretary} (minutes)")
