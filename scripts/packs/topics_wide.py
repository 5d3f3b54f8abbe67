"""Wide tables of more than twenty columns, and tables that stand side by side."""

from __future__ import annotations

from packs.figures import Hand
from packs.grid import Column, Grid, Row, figure, words
from packs.names import Kit
from packs.topic import Topic
from packs.truth import Wording

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FULL = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def meters(kit: Kit, hand: Hand) -> Topic:
    """Buildings by month of two years: 24 columns under two heads."""
    site = f"{kit.root} {kit.pick(('Campus', 'Estate', 'Works'))}"
    year = kit.rng.randint(2019, 2024)
    columns = tuple(Column((str(y), m)) for y in (year, year + 1) for m in MONTHS)
    names = kit.some(
        (
            "Main hall",
            "Boiler house",
            "Canteen",
            "Workshop A",
            "Workshop B",
            "Gatehouse",
            "Laboratory",
            "Cold store",
            "Offices north",
            "Offices south",
            "Garage",
            "Print room",
        ),
        10,
    )
    rows = tuple(
        Row(
            n,
            tuple(
                words("–") if kit.rng.random() < 0.03 else figure(float(kit.rng.randint(90, 9_800)), hand)
                for _ in columns
            ),
        )
        for n in names
    )
    spoken = {
        f"{y} / {m}": f"{full} {y}" for y in (year, year + 1) for m, full in zip(MONTHS, FULL, strict=True)
    }
    grid = Grid(
        "Building",
        columns,
        rows,
        f"Electricity used by building and month, kWh: {site}",
        ("– meter out of order",),
        hand,
        spoken,
    )
    wording = Wording(
        (
            "How many kWh did the {row} of {who} use in {col}?",
            "What was the electricity use of {row} in {col} at {who}?",
            "{who}: {row}, {col}, kWh?",
        ),
        site,
        "building",
        ("Which {row_noun} of {who} used {most} electricity in {col}?",),
        ("Greenhouse", "Chapel"),
        (f"March {year + 5}", f"July {year - 3}"),
        "kWh",
        "the most",
        "the least",
    )
    return Topic(f"{site}: energy report", "Energy report", ((grid, wording),), site)


def census(kit: Kit, hand: Hand) -> Topic:
    """Districts by age in steps of five years and sex: 22 columns."""
    town = f"{kit.root} Town"
    ages = ("0–9", "10–19", "20–29", "30–39", "40–49", "50–59", "60–69", "70–79", "80–89", "90+", "All")
    columns = tuple(Column((sex, age)) for sex in ("Women", "Men") for age in ages)
    names = kit.some(
        (
            "Harbour",
            "Old Town",
            "Northfield",
            "Mill Quarter",
            "Hillside",
            "Riverside",
            "Garden Suburb",
            "Station Quarter",
            "Westgate",
        ),
        8,
    )
    data = []
    for _ in names:
        women, men = ([float(kit.rng.randint(40, 2_300)) for _ in ages[:-1]] for _ in range(2))
        data.append([*women, sum(women), *men, sum(men)])
    rows = [Row(n, tuple(figure(v, hand) for v in vs)) for n, vs in zip(names, data, strict=True)]
    rows.append(Row("Town", tuple(figure(sum(c), hand) for c in zip(*data, strict=True)), "total"))
    spoken = {
        f"{sex} / {age}": f"{sex.lower()} aged {age.replace('–', ' to ')}"
        if age != "All"
        else f"{sex.lower()} of all ages"
        for sex in ("Women", "Men")
        for age in ages
    }
    spoken["Town"] = "the whole town"
    grid = Grid(
        "District", columns, tuple(rows), f"Population of {town} by district, age and sex", (), hand, spoken
    )
    wording = Wording(
        (
            "How many {col} live in {row} ({who})?",
            "What is the number of {col} in {row}, {who}?",
            "{who}: {col} in {row}?",
        ),
        town,
        "district",
        ("Which {row_noun} of {who} has {most} {col}?",),
        ("Airport", "Castle Rock"),
        ("women aged 100 to 104",),
        high="the most",
        low="the fewest",
    )
    return Topic(f"{town}: statistics", "Statistics", ((grid, wording),), town)


def leagues(kit: Kit, hand: Hand) -> Topic:
    """Two tables of one shape: they stand side by side."""
    club = f"{kit.root} League"
    towns = (
        "Aldersea",
        "Brockenau",
        "Calderwick",
        "Dunhaven",
        "Grantley",
        "Hollinsee",
        "Lindmoor",
        "Nethersby",
        "Quernmore",
        "Thornmouth",
        "Uhlbach",
        "Wickenby",
    )
    order = kit.rng.sample(towns, 12)
    tables = []
    for group, names in (("North", order[:6]), ("South", order[6:])):
        points = sorted((kit.rng.randint(8, 44) for _ in names), reverse=True)
        rows = tuple(
            Row(
                n,
                (
                    figure(18.0, hand),
                    figure(float(p // 3), hand),
                    words(f"{kit.rng.randint(20, 61)}:{kit.rng.randint(18, 59)}"),
                    figure(float(p), hand),
                ),
            )
            for n, p in zip(names, points, strict=True)
        )
        columns = (Column(("Pl.",)), Column(("W",)), Column(("Goals",), "center"), Column(("Pts",)))
        spoken = {
            "Pl.": "number of matches played",
            "W": "number of wins",
            "Goals": "goals for and against",
            "Pts": "points",
        }
        grid = Grid("Team", columns, rows, f"Division {group}", (), hand, spoken)
        wording = Wording(
            (
                f"What are the {{col}} of {{row}} in division {group} of the {{who}}?",
                f"{{row}}, {{who}}, division {group}: {{col}}?",
                "What does the table of the {who} show as {col} for {row}?",
            ),
            club,
            "team",
            (f"Which {{row_noun}} of division {group} in the {{who}} has the {{most}} {{col}}?",),
            ("Fontvielle", "Zellerau"),
            ("red cards", "attendance"),
        )
        tables.append((grid, wording))
    return Topic(f"{club}: season", "Sports table", tuple(tables), club)


def nutrition(kit: Kit, hand: Hand) -> Topic:
    """Two products side by side, per 100 g and per portion."""
    brand = f"{kit.root} {kit.pick(('Muesli', 'Bakery', 'Farm'))}"
    tables = []
    for product in kit.some(("Oat bar", "Plum jam", "Rye crackers", "Hazelnut cream", "Carrot soup"), 2):
        portion = kit.rng.choice((25, 30, 40, 60))
        rows = []
        for name, low, high, decimals, unit in (
            ("Energy", 180, 2_300, 0, "kJ"),
            ("Fat", 0.2, 38, 1, "g"),
            ("of which saturates", 0.1, 12, 1, "g"),
            ("Carbohydrate", 6, 72, 1, "g"),
            ("of which sugars", 1, 45, 1, "g"),
            ("Fibre", 0.5, 14, 1, "g"),
            ("Protein", 1, 17, 1, "g"),
            ("Salt", 0.01, 2.4, 2, "g"),
        ):
            value = round(kit.rng.uniform(low, high), decimals)
            rows.append(
                Row(
                    name,
                    (
                        figure(value, hand, decimals, after=f" {unit}"),
                        figure(round(value * portion / 100, decimals), hand, decimals, after=f" {unit}"),
                    ),
                )
            )
        columns = (Column(("per 100 g",)), Column((f"per {portion} g",)))
        spoken = {
            "of which saturates": "saturates",
            "of which sugars": "sugars",
            "per 100 g": "100 g",
            f"per {portion} g": f"a portion of {portion} g",
        }
        grid = Grid(product, columns, tuple(rows), f"{product}: nutrition", (), hand, spoken, has_nouns=True)
        wording = Wording(
            (
                f"How much {{row}} is in {{col}} of the {product} by {{who}}?",
                f"{{who}} {product}: {{row}} for {{col}}?",
                f"What is the {{row}} content of {{col}} of {{who}}'s {product}?",
            ),
            brand,
            "nutrient",
            absent_rows=("Calcium", "Vitamin C", "Iron"),
        )
        tables.append((grid, wording))
    return Topic(f"{brand}: product information", "Product information", tuple(tables), brand, False)


TOPICS = (meters, census, leagues, nutrition)
