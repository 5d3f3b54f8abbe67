"""Supply contracts of one buyer with several partners: the same clauses, other terms."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from packs.figures import EUROPEAN, day, same_day
from packs.folio import Ask, Call, Draft, Folio, Manner
from packs.grid import Column, Grid, Row, figure, words
from packs.names import LAST, Kit

# Goods of a partner: what they are called in the text, and three of them in its price list.
GOODS = (
    ("pump parts", ("Impeller", "Shaft seal", "Bearing bracket")),
    ("packaging", ("Folding box", "Pallet hood", "Edge protector")),
    ("cables", ("Control cable", "Earthing strap", "Patch lead")),
    ("fasteners", ("Hexagon bolt", "Lock washer", "Threaded rod")),
    ("cleaning agents", ("Degreaser", "Glass cleaner", "Descaler")),
)
# One clause of each contract that no other has, and the question that only its words tie to it.
SPECIAL = (
    (
        "Pallets are painted blue and remain the Supplier's property; a pallet that is not returned "
        "costs {value}.",
        "What must be paid for a blue pallet that is not given back?",
    ),
    (
        "The Supplier keeps a set of casting moulds for the Buyer, insured for {value}.",
        "For what sum are the casting moulds insured?",
    ),
    (
        "Cardboard contains at least eighty parts in a hundred of recycled fibre; each failed fibre "
        "test costs {value}.",
        "What does a failed recycled fibre test cost the supplier?",
    ),
    (
        "For rush orders carried by motorcycle courier a surcharge of {value} is due.",
        "Which surcharge applies to rush orders by motorcycle courier?",
    ),
    (
        "Drums of cable are lent against a deposit of {value} a drum.",
        "How high is the deposit for a cable drum?",
    ),
    (
        "The Supplier runs a vending cabinet in the Buyer's workshop and pays {value} a year for its place.",
        "What is paid a year for the place of the vending cabinet in the workshop?",
    ),
    (
        "Safety training for the Buyer's cleaners is held twice a year at {value} a session.",
        "What does a session of safety training for cleaners cost?",
    ),
)


@dataclass(frozen=True)
class Party:
    """A partner: short and full name, address, and what it sells."""

    name: str
    full: str
    address: str
    goods: int


def party(seed: int, position: int, root: str) -> Party:
    """The partner of a position: each of its contracts is with the same one."""
    kit = Kit(seed, position, f"party-{position}")
    trade = ("Pumps", "Packaging", "Cables", "Fasteners", "Chemicals")[position]
    full = f"{root} {trade} {kit.pick(('Ltd', 'GmbH', 'S.A.', '& Sons'))}"
    return Party(root, full, f"{kit.street()}, {kit.town()}", position)


def contract(
    kit: Kit, buyer: str, partner: Party, manner: Manner, year: int, special: int, only: bool, newest: bool
) -> Draft:
    """The contract of a year; `only` says that there is no other with the partner."""
    signed = datetime.date(year, kit.rng.randint(1, 12), kit.rng.randint(2, 27))
    folio = Folio(manner, f"Supply contract {partner.full}", "Supply contract (template)", buyer)
    goods, items = GOODS[partner.goods]
    _parties(kit, folio, buyer, partner, signed)
    _supply(kit, folio, goods, special)
    _terms(kit, folio)
    _law(kit, folio, signed)
    _annexes(kit, folio, items)
    return Draft(
        folio,
        _calls(partner, signed, only),
        _latest(partner) if newest and not only else (),
        _absent(kit, partner),
        "Contract",
    )


def _calls(partner: Party, signed: datetime.date, only: bool) -> tuple[Call, ...]:
    year, name = signed.year, partner.name
    dated = (
        Call(f"the {year} supply contract with {name}", name, f"under the contract of {year}"),
        Call(
            f"the agreement signed with {partner.full} in {signed:%B} {year}",
            name,
            f"under the agreement of {signed:%B} {year}",
        ),
    )
    plain = (
        Call(f"the supply contract with {name}", name, "under its contract"),
        Call(f"our agreement with {partner.full}", partner.full, "under its supply contract"),
    )
    return plain + dated if only else dated


def _latest(partner: Party) -> tuple[Call, ...]:
    return (
        Call(f"the latest contract with {partner.name}", partner.name, "under the latest contract"),
        Call(
            f"the most recent agreement with {partner.full}", partner.name, "under the most recent agreement"
        ),
        Call(f"the newest supply contract with {partner.name}", partner.name, "under the newest contract"),
    )


def _absent(kit: Kit, partner: Party) -> tuple[str, ...]:
    return (
        f"Which bank guarantee must {partner.name} provide {{when}}?",
        f"How many audits a year may the buyer hold at {partner.name} {{when}}?",
        f"What is the notice period in the supply contract with {kit.pick(LAST)} Gaskets?",
    )


def _parties(kit: Kit, folio: Folio, buyer: str, partner: Party, signed: datetime.date) -> None:
    folio.y = 110
    folio.line("SUPPLY CONTRACT", 20, True, 8)
    folio.line(f"No. {kit.code('SC-####/##')}", 11, after=18)
    folio.say("between")
    folio.say(f"{buyer}, {kit.street()}, {kit.town()}, hereafter the Buyer,")
    folio.say("and")
    folio.say(f"{partner.full}, {partner.address}, hereafter the Supplier,")
    folio.say(f"signed on {day(signed, 'long')}.")
    folio.section("1. Definitions", 1)
    folio.points(
        (
            "Goods: what is listed in Annex A, in the version in force.",
            "Order: a request for Goods that the Buyer sends in text form.",
            "Working day: any day but Saturdays, Sundays and public holidays at the Buyer's seat.",
            "Defect: any departure from what was agreed, or from what such goods are usually fit for.",
            "Confidential information: whatever one party learns of the other and what is not public.",
        )
    )
    folio.say(
        "Headings serve for orientation only. Where this contract and general terms of a party differ, the "
        "contract prevails; general terms apply only as far as they have been accepted in writing. "
        "Annexes form "
        "part of the contract. Should a provision be invalid, the others remain in force."
    )


def _supply(kit: Kit, folio: Folio, goods: str, special: int) -> None:
    folio.section("2. Subject", 1, fresh=folio.manner.is_airy)
    folio.say(
        f"The Supplier delivers {goods} to the Buyer, who takes at least "
        f"{{{kit.rng.randint(11, 97) * 250:,} units}} "
        "in each calendar year. A shortfall of up to a tenth may be made good in the year after.",
        Ask(
            (
                "What quantity must be bought each year at least according to {doc}?",
                "What is the minimum annual volume with {who} {when}?",
            )
        ),
    )
    folio.say(
        "Goods that are not listed in Annex A may be ordered once the parties have agreed on a "
        "specification and a price. The Supplier may use subcontractors for single steps of production, "
        "provided that it names them beforehand; it answers for them as for its own staff. Tools that "
        "the Buyer has paid for are marked as its property, kept apart and given back on demand. "
        "Drawings and samples remain with whoever made them."
    )
    folio.section("3. Forecasts and orders", 1)
    folio.say(
        "The Buyer gives a forecast each month, which binds nobody. Orders are deemed accepted unless "
        "the Supplier "
        f"objects within {{{kit.rng.randint(31, 95)} hours}}. Changes are possible until the goods "
        "leave the works.",
        Ask(
            (
                "Within what time must {who} object to an order {when}?",
                "When does silence count as consent in {doc}?",
            )
        ),
    )
    folio.say(
        "An order states article, quantity, place and the day on which the goods are needed. The "
        "Supplier confirms it in text form and points out departures. If raw materials become scarce, "
        "the Supplier serves the Buyer no worse than its other customers and tells it without being "
        "asked which orders are in danger."
    )
    folio.section("4. Delivery", 1)
    folio.say(
        f"Goods are delivered within {{{kit.rng.randint(8, 29)} working days}} of the order, carriage "
        "paid, to the "
        "warehouse that the order names. Part deliveries need consent. Risk passes when the goods are "
        "unloaded.",
        Ask(("How fast does {who} have to deliver {when}?", "What lead time is agreed in {doc}?")),
    )
    folio.say(
        f"For each week of delay the Supplier owes {{{kit.rng.uniform(0.3, 1.9):.2f} per cent}} of the "
        "value of "
        f"the delayed goods, but no more than {{{kit.rng.uniform(4, 11):.1f} per cent}} in all. "
        "Further claims are not affected.",
        Ask(
            (
                "What penalty for late delivery does {doc} set per week?",
                "What does {who} owe per week of delay {when}?",
            )
        ),
        Ask(("At what share is the penalty for delay capped in {doc}?",)),
    )
    folio.say(
        "Each delivery comes with a note that states order, article, quantity and batch. Packing "
        "protects the goods against damp and shocks; waste from it is taken back on request. Whoever "
        "notices that a date cannot be met tells the other at once, with the cause and the day on which "
        "the goods can be expected."
    )
    folio.section("5. Special provisions", 1)
    text, question = SPECIAL[special]
    folio.say(text.replace("{value}", f"{{EUR {kit.rng.uniform(21, 980):.2f}}}"), Ask(unnamed=(question,)))


def _terms(kit: Kit, folio: Folio) -> None:
    folio.section("6. Prices and payment", 1, fresh=folio.manner.is_airy)
    folio.say(
        "Prices are those of Annex A and include packing. They are fixed for the first year; afterwards they "
        "follow an index of producer prices that both parties consult. Invoices are due after "
        f"{{{kit.rng.randint(31, 89)} days}}. Whoever pays within ten days may deduct "
        f"{{{kit.rng.uniform(1.1, 3.4):.2f} per cent}}.",
        Ask(
            ("After how many days are invoices due under {doc}?", "How long may we take to pay {who} {when}?")
        ),
        Ask(("What discount for early payment does {doc} grant?",)),
    )
    folio.say(
        "Invoices state order and delivery note and are sent to the address that the order names. "
        "Payment does not mean that the goods are accepted. The Buyer may set off claims that are "
        "undisputed or that a court has confirmed. If the index changes by more than a twentieth within "
        "a year, each party may ask for talks on prices; until they have agreed, the present prices "
        "remain."
    )
    folio.section("7. Quality and warranty", 1)
    folio.say(
        "The Supplier keeps a system of quality management and tells the Buyer of changes in "
        "materials beforehand. "
        f"The warranty ends {{{kit.rng.randint(25, 59)} months}} after delivery. The Buyer inspects goods on "
        "arrival for what can be seen; hidden defects are reported when they are found.",
        Ask(
            ("How long is the warranty in {doc}?", "For what period does {who} stand in for defects {when}?")
        ),
    )
    folio.say(
        "Defective goods are repaired or replaced as the Buyer chooses, at the Supplier's cost and "
        "within a fair time. If that fails, the Buyer may lower the price or withdraw. Where harm "
        "threatens, it may have the work done by others after a short notice. The Supplier keeps "
        "samples and records of each batch and lets the Buyer see them during working hours. Both look "
        "for the causes of defects together."
    )
    folio.section("8. Liability", 1)
    folio.say(
        f"Liability for slight negligence is limited to {{EUR {kit.rng.randint(401, 3990) * 1000:,}}} "
        "for each "
        "event. No limit applies to harm to life and health. The Supplier insures itself accordingly "
        "and shows "
        "the policy on request.",
        Ask(
            ("Up to what amount is {who} liable per event {when}?", "What is the cap on liability in {doc}?")
        ),
    )
    folio.say(
        "Claims under the law on product liability remain as they are. The Supplier holds the Buyer "
        "harmless from claims of third parties that rest on defects for which the Supplier answers, and "
        "pays the cost of recalls that are needed for that reason. The Buyer lets it take part in talks "
        "about such claims."
    )
    folio.section("9. Confidentiality", 1)
    folio.say(
        "Confidential information is used for the purposes of this contract only and is given to "
        "those who need "
        "it. The duty outlasts the contract by "
        f"{{{kit.rng.randint(61, 119)} months}}. Breaches make the party liable for the harm done.",
        Ask(("How long after its end does the duty of secrecy in {doc} last?",)),
    )


def _law(kit: Kit, folio: Folio, signed: datetime.date) -> None:
    folio.section("10. Term and termination", 1, fresh=folio.manner.is_airy)
    start, label = signed + datetime.timedelta(kit.rng.randint(30, 80)), "long"
    folio.say(
        f"The contract begins on {{{day(start, label)}}} and runs without end. Each party may give notice of "
        f"{{{kit.rng.randint(121, 359)} days}} to the end of a quarter, in writing. The right to "
        "terminate for good "
        "cause remains.",
        Ask(("On which day does {doc} take effect?",), more=same_day(start, label)),
        Ask(
            (
                "What notice period does {doc} provide for?",
                "How much notice is needed to end things with {who} {when}?",
            )
        ),
    )
    folio.section("11. Force majeure", 1)
    folio.say(
        "Neither party is liable for events beyond its control. It tells the other at once and takes "
        "up its duties "
        "again as soon as it can. If the hindrance lasts longer than a quarter, either may withdraw "
        "from orders "
        "that have not been carried out."
    )
    folio.section("12. Conduct and data", 1)
    folio.say(
        "Both parties keep the laws on wages, safety at work and the environment and see to it that "
        "their suppliers do. Nobody who acts for a party may offer or take advantages. Personal data of "
        "contacts are used for this contract alone and are deleted when they are no longer needed. "
        "Rights under this contract may be passed on to others only with consent, which must not be "
        "withheld without reason."
    )
    folio.section("13. Law and venue", 1)
    folio.say(
        f"Disputes are first put before {{{kit.person()}}}, whom both have chosen as mediator; then "
        "the courts at "
        "the Buyer's seat decide. The law of the Buyer's country applies without its rules on "
        "conflicts of law.",
        Ask(
            (
                "Who is the mediator in disputes with {who} {when}?",
                "Who mediates if there is a dispute over {doc}?",
            )
        ),
    )


def _annexes(kit: Kit, folio: Folio, items: tuple[str, ...]) -> None:
    folio.section("Annex A: Price list", fresh=True)
    folio.say("Prices are net of tax. Quantities below the smallest lot are charged at the next larger one.")
    rows = tuple(
        Row(
            name,
            (
                words(kit.code("@@-####")),
                figure(kit.rng.randint(2, 30) * 25, EUROPEAN),
                figure(round(kit.rng.uniform(1.2, 240), 2), EUROPEAN, 2),
            ),
        )
        for item in items
        for name in (f"{item}, standard", f"{item}, reinforced", f"{item}, stainless")
    )
    columns = (Column(("Article",), "left"), Column(("Smallest lot",)), Column(("EUR per unit",)))
    asks = {
        (f"{item}, {variety}", 2): Ask(
            (
                f"What does a {variety} {item.lower()} cost per unit in {{doc}}?",
                f"At what price do we get the {variety} {item.lower()} from {{who}} {{when}}?",
            )
        )
        for item in items
        for variety in ("standard", "reinforced", "stainless")
    }
    folio.table(Grid("Item", columns, rows, "Prices", (), EUROPEAN), asks)
    folio.section("Annex B: Contacts", fresh=folio.manner.is_airy)
    folio.say(
        f"For orders, the Supplier names {{{kit.person()}}}; for complaints, {{{kit.person()}}}. Both "
        "are available on "
        "working days. Changes are told in text form without delay.",
        Ask(("Who takes orders at {who} {when}?",)),
        Ask(
            (
                "Who at {who} deals with complaints, going by {doc}?",
                "Whom do we turn to at {who} with complaints {when}?",
            )
        ),
    )
    folio.say(f"For the Buyer: purchasing department, telephone {kit.phone()}.")
    folio.y += 40
    folio.say("Place, date: ______________________      Place, date: ______________________")
    folio.say("Buyer: ______________________      Supplier: ______________________")
