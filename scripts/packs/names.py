"""Names of people, firms and places that do not exist, from lists of our own."""

# ruff: noqa: SIM905  (a list of words is read and extended as text)

from __future__ import annotations

import datetime
import random

FIRST = """
Adela Bertram Corvin Dagny Edda Florin Gesine Halvard Ilka Jonas Katrin Ludo Mirela Nils Odile Pavel
Quirin Rosalind Sten Tamsin Ulrike Vito Wanda Xenia Yorick Zelma Anselm Brigid Casper Delphine
Emeric Freya Gideon Hester Imre Jolanda
""".split()
LAST = """
Abrecht Bellweather Crannoch Dunmarrow Esterfield Fennimore Garrowby Hallstrom Ivershaw Jarnsen
Kestrelmann Lindqvale Morvane Northolme Ostrander Penhallick Quillfeather Rademark Sorrelby
Thistlewood Ulverton Vantongeren Wexcombe Yardling Zellinghof Ambrosini Brackwater Coldicott
Delacourte Eversby Farrowdene Grimsdyke Holloweth Ingersten Kirkaldane
""".split()
ROOTS = """
Brennhold Castellane Dovrefell Elmhurst Fairwater Glimmerby Hartingale Ironside Juniper Kelpie
Larkmoor Merewether Nordhavn Oakenshaw Pellworm Quarrington Ravensfort Silverbeck Tannenrode
Umberlight Vellacott Whitethorn Yarrowdale Zephyrine Amberline Birchgrove Copperfold Driftmark
Eastermoor Foxglove Granitely Heatherton Islewright Jasperloch Kingsferry Lanternhall Mossbridge
Nettlecombe Orchardine Pinecrest Quayside Rookswood Stonegarth Thornbury Underhill Vinterberg
Wolfsgarten Yewbarrow Zinnwald Ashcombe Blackmere Cloverley Dunegrass Embersley Fernhollow Goldcrag
Hollyfield Inglenook Kittiwake Lochmarsh Meadowsweet Nightjar Otterburn Plovermere Redcastle
Saltmarsh Teasel Waterfoot Wintergreen Bramblewick Curlewdale Daffodown Elderbeck Fallowmere
Greenshank Harebell Lapwing Marlstone Osprey Pipistrel Rushbrook Sedgeley Turnstone Wheatear
Whinchat Yellowham
""".split()
TRADES = """
Timber Instruments Foods Logistics Ceramics Optics Textiles Bearings Pharma Marine Energy Printing
Packaging Fasteners Dairy Glass Pumps Lighting Papers Software Tools Cables Paints Vehicles
""".split()
ENDINGS = ("Ltd", "Inc.", "GmbH", "AG", "plc", "S.A.", "LLC", "& Sons", "Group", "Cooperative")
TOWNS = """
Aldersea Brockenau Calderwick Dunhaven Eichstetten Fontvielle Grantley Hollinsee Ilmhofen Kaltbrunn
Lindmoor Montrevel Nethersby Osterholm Pontarlay Quernmore Rosenheide Saint-Aubrac Thornmouth
Uhlbach Varennes-le-Bois Westerlund Wickenby Zellerau
""".split()
STREETS = """
Mill Harbour Church Station Orchard Linden Castle Market Weaver Foundry Garden Chestnut Bridge Ferry
Quarry Tanner Meadow Observatory Granary Lighthouse
""".split()
ROADS = ("Street", "Lane", "Road", "Avenue", "Square", "Row")


class Kit:
    """What one document is drawn from: its own random stream, and names that no other of the pack has.

    Args:
        seed: of all packs.
        number: position of the document in its pack; decides the names that must differ.
        name: of the document.
    """

    def __init__(self, seed: int, number: int, name: str) -> None:
        self.rng = random.Random(f"{seed}:{name}:{number}")
        self.number = number
        self.sentences: list[str] = []  # not said yet, see `packs.prose`
        shuffled = list(ROOTS)
        random.Random(f"{seed}:roots").shuffle(shuffled)
        self.root = shuffled[number % len(shuffled)]

    def pick(self, values):
        """One of the values."""
        return self.rng.choice(values)

    def some(self, values, count: int) -> list:
        """Several different values, in the order of the list."""
        chosen = set(self.rng.sample(range(len(values)), count))
        return [value for position, value in enumerate(values) if position in chosen]

    def firm(self, trade: str = "") -> str:
        """The document's own firm."""
        return f"{self.root} {trade or self.pick(TRADES)} {self.pick(ENDINGS)}"

    def other_firm(self) -> str:
        """A firm of a name that no document is about."""
        return f"{self.pick(LAST)} & {self.pick(LAST)} {self.pick(ENDINGS[:6])}"

    def person(self) -> str:
        """A first and a last name."""
        return f"{self.pick(FIRST)} {self.pick(LAST)}"

    def own_person(self) -> str:
        """The document's own person: no other document of the pack has the name."""
        last = self.number * 7 + self.number // len(FIRST)
        return f"{FIRST[self.number % len(FIRST)]} {LAST[last % len(LAST)]}"

    def street(self) -> str:
        """A street and a number."""
        return f"{self.rng.randint(1, 198)} {self.pick(STREETS)} {self.pick(ROADS)}"

    def town(self) -> str:
        """A postcode and a town."""
        return f"{self.rng.randint(10000, 98999)} {self.pick(TOWNS)}"

    def date(self, first: int = 2019, last: int = 2025) -> datetime.date:
        """A day of these years."""
        return datetime.date(self.rng.randint(first, last), 1, 1) + datetime.timedelta(
            self.rng.randint(0, 364)
        )

    def code(self, shape: str) -> str:
        """A code of a shape: # is a digit, @ a capital letter, anything else stands for itself."""
        return "".join(
            str(self.rng.randint(0, 9))
            if sign == "#"
            else self.pick("ABCDEFGHKLMNPRSTUVWXYZ")
            if sign == "@"
            else sign
            for sign in shape
        )

    def phone(self) -> str:
        """A telephone number."""
        return self.code(self.pick(("+4# ## ### ## ##", "0### ######", "(###) 555-01##")))
