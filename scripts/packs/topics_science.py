"""Tables of measurements: units in heads, plus and minus, footnote marks, shares, ranges."""

from __future__ import annotations

from packs.figures import Hand
from packs.grid import Cell, Column, Grid, Row, figure, words
from packs.names import Kit
from packs.topic import Topic
from packs.truth import Wording

MARKS = ("a", "b", "*", "†")


def spread(kit: Kit, hand: Hand, low: float, high: float, decimals: int, mark: str = "") -> Cell:
    """A value with its uncertainty; the value alone is accepted as well."""
    value = round(kit.rng.uniform(low, high), decimals)
    error = max(round(value * kit.rng.uniform(0.01, 0.12), decimals), 10**-decimals)
    text, tail = hand.write(value, decimals), hand.write(error, decimals)
    return Cell(f"{text} ± {tail}", value, decimals, mark, (text, f"{value:.{decimals}f}"))


def water(kit: Kit, hand: Hand) -> Topic:
    """Samples and what was found in them."""
    lake = f"{kit.root} {kit.pick(('Lake', 'Reservoir', 'Fjord', 'Estuary'))}"
    columns = (
        Column(("pH",)),
        Column(("Temp. (°C)",)),
        Column(("Conductivity (µS/cm)",)),
        Column(("Nitrate (mg/L)",)),
        Column(("Total P (µg/L)",)),
        Column(("Chlorophyll a (µg/L)",)),
    )
    spoken = {
        "pH": "pH",
        "Temp. (°C)": "temperature",
        "Conductivity (µS/cm)": "conductivity",
        "Nitrate (mg/L)": "nitrate concentration",
        "Total P (µg/L)": "total phosphorus",
        "Chlorophyll a (µg/L)": "chlorophyll a",
    }
    bounds = ((6.4, 8.6, 2), (4, 21, 1), (90, 610, 0), (0.2, 14, 2), (4, 88, 1), (0.5, 30, 1))
    rows = []
    for site in kit.some(
        (
            "Inlet",
            "North basin",
            "South basin",
            "Outlet",
            "Deep point",
            "Harbour",
            "Reed belt",
            "Dam",
            "Bathing beach",
        ),
        7,
    ):
        cells = [spread(kit, hand, *bound, mark=kit.pick(("", "", "", "", *MARKS[:2]))) for bound in bounds]
        if kit.rng.random() < 0.4:
            cells[kit.rng.randint(2, 5)] = words("n/a")
        rows.append(Row(site, tuple(cells)))
    notes = (
        "Mean ± standard deviation of three samples. n/a: not analysed.",
        "a Below the limit of determination in one of three samples. b Sample kept for two days.",
    )
    grid = Grid(
        "Site",
        columns,
        tuple(rows),
        f"Table {kit.rng.randint(1, 5)}: Water chemistry of {lake}",
        notes,
        hand,
        spoken,
    )
    wording = Wording(
        (
            "What {col} was measured at the {row} of {who}?",
            "What is the mean {col} at {row}, {who}?",
            "How high was {col} at the site {row} in {who}?",
            "{who}, {row}: {col}?",
        ),
        lake,
        "site",
        ("Which {row_noun} of {who} has the {most} {col}?", "At which {row_noun} of {who} is {col} {most}?"),
        ("Fish ladder", "Eastern bay"),
        ("sulphate concentration", "dissolved oxygen", "turbidity"),
        has_sums=False,
    )
    return Topic(f"Limnology of {lake}", "Scientific paper", ((grid, wording),), lake)


def alloys(kit: Kit, hand: Hand) -> Topic:
    """Specimens in row groups under spanning heads with units."""
    lab = f"{kit.root} Institute of Materials"
    columns = (
        Column(("Tensile test", "Rp0.2 (MPa)")),
        Column(("Tensile test", "Rm (MPa)")),
        Column(("Tensile test", "A5 (%)")),
        Column(("Hardness", "HV10")),
        Column(("Hardness", "HRC")),
        Column(("Density (g/cm³)",)),
    )
    spoken = {
        "Tensile test / Rp0.2 (MPa)": "yield strength Rp0.2",
        "Tensile test / Rm (MPa)": "tensile strength Rm",
        "Tensile test / A5 (%)": "elongation A5",
        "Hardness / HV10": "Vickers hardness HV10",
        "Hardness / HRC": "Rockwell hardness HRC",
        "Density (g/cm³)": "density",
    }
    rows = []
    for group in ("As cast", "Annealed", "Quenched and tempered"):
        rows.append(Row(group, role="group"))
        for number in range(1, 4):
            bounds = ((180, 720, 0), (300, 980, 0), (3, 31, 1), (110, 420, 0), (10, 55, 1), (7.1, 8.4, 3))
            cells = [
                figure(round(kit.rng.uniform(*b[:2]), b[2]), hand, b[2], kit.pick(("", "", "", "", "", "*")))
                for b in bounds
            ]
            if kit.rng.random() < 0.25:
                cells[4] = words("–")
            rows.append(Row(f"Alloy {'ABC'[number - 1]}", tuple(cells), group=group))
    grid = Grid(
        "Specimen",
        columns,
        tuple(rows),
        f"Table {kit.rng.randint(2, 6)}. Mechanical properties",
        ("* One specimen broke outside the gauge length.", "– not determined"),
        hand,
        spoken,
    )
    wording = Wording(
        (
            "What is the {col} of {row} according to the {who}?",
            "Which {col} did the {who} measure for {row}?",
            "{row}: how large is the {col} (report of the {who})?",
        ),
        lab,
        "specimen",
        ("Which {row_noun} in the report of the {who} has the {most} {col}?",),
        ("Alloy F (Annealed)", "Alloy D (As cast)"),
        ("fatigue limit", "Brinell hardness", "thermal conductivity"),
        has_sums=False,
    )
    return Topic(f"{lab}: test report", "Test report", ((grid, wording),), lab)


def _parts(kit: Kit, total: int, count: int) -> list[int]:
    """A total cut into random parts."""
    cuts = sorted(kit.rng.sample(range(total // 12, total - total // 12), count - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


def patients(kit: Kit, hand: Hand) -> Topic:
    """Characteristics of two arms: counts with shares in brackets, medians with ranges."""
    trial = f"{kit.root.upper()}-{kit.rng.randint(2, 9)} trial"
    sizes = [kit.rng.randint(90, 480) for _ in range(2)]
    arms = (f"Treatment (n = {sizes[0]})", f"Placebo (n = {sizes[1]})")
    columns = (*(Column((arm,), "center") for arm in arms), Column(("p value",), "center"))
    rows: list[Row] = []

    def chance() -> Cell:
        value = round(kit.rng.uniform(0.01, 0.95), 2)
        return figure(value, hand, 2)

    rows.append(
        Row(
            "Age, years, median (range)",
            (
                *(
                    words(f"{kit.rng.randint(41, 69)} ({kit.rng.randint(18, 30)}–{kit.rng.randint(75, 91)})")
                    for _ in sizes
                ),
                chance(),
            ),
        )
    )
    for group, names in {
        "Sex, n (%)": ("Female", "Male"),
        "Smoking status, n (%)": ("Never", "Former", "Current"),
        "Stage, n (%)": ("I", "II", "III"),
    }.items():
        rows.append(Row(group, role="group"))
        shares = [_parts(kit, size, len(names)) for size in sizes]
        for position, name in enumerate(names):
            cells = []
            for size, counts in zip(sizes, shares, strict=True):
                count = counts[position]
                text = f"{count} ({hand.write(100 * count / size, 1)})"
                cells.append(Cell(text, float(count), 0, "", (str(count),)))
            rows.append(Row(name, (*cells, chance() if not position else words("")), group=group))
    rows.append(
        Row(
            "Body mass index, kg/m², mean (SD)",
            (
                *(
                    words(
                        f"{hand.write(kit.rng.uniform(22, 29), 1)} ({hand.write(kit.rng.uniform(2, 6), 1)})"
                    )
                    for _ in sizes
                ),
                chance(),
            ),
        )
    )
    spoken = {
        arms[0]: "the treatment arm",
        arms[1]: "the placebo arm",
        "Never": "never smokers",
        "Former": "former smokers",
        "Current": "current smokers",
        "I": "stage I",
        "II": "stage II",
        "III": "stage III",
        "Female": "female",
        "Male": "male",
        "Age, years, median (range)": "median age",
        "Body mass index, kg/m², mean (SD)": "mean body mass index",
        "p value": "the p value column",
    }
    grid = Grid(
        "Characteristic",
        columns,
        tuple(rows),
        "Table 1. Baseline characteristics of the patients",
        ("SD: standard deviation. Shares may not add up to 100.",),
        hand,
        spoken,
    )
    wording = Wording(
        (
            "What is given for {row} in {col} of the {who}?",
            "In the {who}, what does {col} show for {row}?",
            "{who}: {row} in {col}?",
        ),
        trial,
        "characteristic",
        ("Which {row_noun} is {most} in {col} of the {who}?",),
        ("diabetes", "left-handed", "height in centimetres"),
    )
    return Topic(f"{trial}: results", "Clinical paper", ((grid, wording),), trial, False)


def weather(kit: Kit, hand: Hand) -> Topic:
    """Twelve months and a year of a station."""
    station = f"{kit.root} {kit.pick(('Point', 'Hill', 'Airfield'))} weather station"
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    full = (
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
    columns = (
        Column(("Mean temp. (°C)",)),
        Column(("Lowest (°C)",)),
        Column(("Rain (mm)",)),
        Column(("Sunshine (h)",)),
        Column(("Days with frost",)),
    )
    rows = []
    for number, month in enumerate(months):
        warm = 9 - 10 * abs(number - 6.3) / 6 + 5
        cells = (
            figure(round(warm + kit.rng.uniform(-2, 2), 1), hand, 1),
            figure(round(warm - kit.rng.uniform(8, 17), 1), hand, 1),
            figure(round(kit.rng.uniform(18, 140), 1), hand, 1),
            figure(round(kit.rng.uniform(30, 270), 1), hand, 1),
            figure(float(max(0, round(18 - warm * 2 + kit.rng.uniform(-3, 3)))), hand),
        )
        rows.append(Row(month, cells))
    spoken = dict(zip(months, full, strict=True)) | {
        "Mean temp. (°C)": "mean temperature",
        "Lowest (°C)": "lowest temperature",
        "Rain (mm)": "rainfall",
        "Sunshine (h)": "hours of sunshine",
        "Days with frost": "number of days with frost",
    }
    year = kit.rng.randint(1988, 2024)
    grid = Grid("Month", columns, tuple(rows), f"{station}, {year}", hand=hand, words=spoken)
    wording = Wording(
        (
            "What was the {col} in {row} at {who}?",
            "How high was the {col} at {who} in {row}?",
            "{col} at {who}, {row}?",
        ),
        station,
        "month",
        ("Which {row_noun} had the {most} {col} at {who}?", "In which {row_noun} was {col} {most} at {who}?"),
        absent_columns=("snow depth", "wind speed", "relative humidity"),
        has_sums=False,
    )
    return Topic(f"{station}: yearbook {year}", "Yearbook", ((grid, wording),), station)


def constants(kit: Kit, hand: Hand) -> Topic:
    """Powers of ten, symbols and ranges."""
    lab = f"{kit.root} Laboratory"
    names = kit.some(
        (
            "Ethyl lactate",
            "Benzaldehyde",
            "Camphene",
            "Dodecanol",
            "Eugenol",
            "Furfural",
            "Geraniol",
            "Limonene",
            "Menthone",
            "Nerol",
        ),
        7,
    )
    columns = (
        Column(("Formula weight (g/mol)",)),
        Column(("Boiling range (°C)",), "center"),
        Column(("Diffusion coefficient (m²/s)",)),
        Column(("Viscosity (mPa·s)",)),
        Column(("Class",), "center"),
    )
    rows = []
    for name in names:
        low = kit.rng.randint(120, 260)
        base, power = hand.write(kit.rng.uniform(1, 9.9), 2), f"-{kit.rng.randint(9, 12)}"
        diffusion = Cell(
            f"{base} × 10",
            power=power,
            accepted=(f"{base} × 10{power}", f"{base} × 10^{power}", f"{base}e{power}"),
        )
        cells = (
            figure(round(kit.rng.uniform(90, 210), 2), hand, 2),
            words(f"{low}–{low + kit.rng.randint(2, 9)}"),
            diffusion,
            figure(round(kit.rng.uniform(0.6, 18), 3), hand, 3),
            words(kit.pick(("I", "II", "III A", "III B"))),
        )
        rows.append(Row(name, cells))
    spoken = {
        "Formula weight (g/mol)": "formula weight",
        "Boiling range (°C)": "boiling range",
        "Diffusion coefficient (m²/s)": "diffusion coefficient",
        "Viscosity (mPa·s)": "viscosity",
        "Class": "class",
    }
    grid = Grid(
        "Substance",
        columns,
        tuple(rows),
        f"Appendix B: Properties used by the {lab}",
        ("All values at 25 °C unless stated.",),
        hand,
        spoken,
    )
    wording = Wording(
        (
            "What is the {col} of {row} in the data of the {who}?",
            "{row}: {col} ({who})?",
            "Which {col} does the {who} give for {row}?",
        ),
        lab,
        "substance",
        ("Which {row_noun} listed by the {who} has the {most} {col}?",),
        ("Toluene", "Glycerol"),
        ("flash point", "refractive index"),
        has_sums=False,
    )
    return Topic(f"{lab}: data sheet", "Data sheet", ((grid, wording),), lab)


def survey(kit: Kit, hand: Hand) -> Topic:
    """Answers by age and region: per cent, spanning heads, numbers of persons asked."""
    club = f"{kit.root} residents' survey"
    columns = tuple(
        Column(p)
        for p in (
            ("All",),
            ("Age", "18–34"),
            ("Age", "35–54"),
            ("Age", "55 and over"),
            ("Area", "Centre"),
            ("Area", "Suburbs"),
            ("Area", "Villages"),
        )
    )
    spoken = {
        "All": "all respondents",
        "Age / 18–34": "respondents aged 18 to 34",
        "Age / 35–54": "respondents aged 35 to 54",
        "Age / 55 and over": "respondents aged 55 and over",
        "Area / Centre": "people in the centre",
        "Area / Suburbs": "people in the suburbs",
        "Area / Villages": "people in the villages",
    }
    total = kit.rng.randint(700, 4_800)
    persons = [total, *_parts(kit, total, 3), *_parts(kit, total, 3)]
    rows = [Row("Persons asked", tuple(figure(float(count), hand) for count in persons), "total")]
    for group, names in {
        "How do you go to work?": ("By bicycle", "By bus or tram", "By car", "On foot"),
        "How satisfied are you with your area?": (
            "Very satisfied",
            "Fairly satisfied",
            "Not satisfied",
            "No answer",
        ),
    }.items():
        rows.append(Row(group, role="group"))
        rows += [
            Row(name, tuple(figure(float(kit.rng.randint(3, 58)), hand) for _ in columns), group=group)
            for name in names
        ]
    grid = Grid(
        "per cent",
        columns,
        tuple(rows),
        f"Results of the {club} ({kit.rng.randint(2015, 2025)})",
        ("More than one answer was possible.",),
        hand,
        spoken,
    )
    wording = Wording(
        (
            "In the {who}, what is the figure for '{row}' among {col}?",
            "How many per cent of {col} said '{row}' in the {who}?",
            "{who}: '{row}', {col}?",
        ),
        club,
        "answer",
        ("Which {row_noun} has the {most} figure among {col} in the {who}?",),
        ("By ferry", "Would rather not say", "By motorcycle"),
        ("students", "people who moved in last year"),
        has_sums=False,
    )
    return Topic(f"{club}: tables", "Survey", ((grid, wording),), club)


TOPICS = (water, alloys, patients, weather, constants, survey)
