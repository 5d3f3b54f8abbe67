"""The series behind the coastal erosion paper: drawn from seeds, so that tables, figures and text agree."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import correlation, mean, stdev

YEARS = tuple(range(1996, 2024))
SOFT = ("M2", "M4", "M6")


@dataclass(frozen=True)
class Transect:
    """A surveyed line across the shore: name, place, material, typical retreat and its share by storms."""

    name: str
    place: str
    material: str
    level: float
    storms: float


TRANSECTS = (
    Transect("M1", "Kittle Head", "Sandstone", 0.08, 0.2),
    Transect("M2", "North Bay", "Glacial till", 0.94, 0.6),
    Transect("M3", "Marran Point", "Mudstone", 0.31, 0.4),
    Transect("M4", "The Saltings", "Dune sand", 1.42, 0.9),
    Transect("M5", "Cullen Wall", "Till, sea wall", 0.04, 0.0),
    Transect("M6", "South Bay", "Glacial till", 1.17, 0.6),
)


def storm_hours() -> list[int]:
    """Hours a year with waves above three metres; 2014 was the stormiest."""
    source = random.Random(1996)
    hours = [round(min(290, max(70, source.gauss(160, 52)))) for _ in YEARS]
    hours[YEARS.index(2014)] = 338
    return hours


def retreat() -> dict[str, list[float]]:
    """Metres of retreat by transect and year, never negative."""
    hours = storm_hours()
    typical = mean(hours)
    series = {}
    for number, transect in enumerate(TRANSECTS):
        source = random.Random(7 * number + 11)
        values = []
        for hour in hours:
            storm = 1 + transect.storms * 1.5 * (hour - typical) / typical
            values.append(round(max(0.0, transect.level * (storm + source.gauss(0, 0.36))), 2))
        series[transect.name] = values
    return series


def stormiest() -> list[int]:
    """The five years with most storm hours, stormiest first."""
    return sorted(YEARS, key=lambda year: -storm_hours()[YEARS.index(year)])[:5]


def storm_rows() -> list[list[str]]:
    """Table 2: year, storm hours and retreat on the soft transects."""
    series, hours = retreat(), storm_hours()
    places = [YEARS.index(year) for year in stormiest()]
    return [[str(YEARS[at]), str(hours[at]), *(f"{series[name][at]:.2f}" for name in SOFT)] for at in places]


def table_rows() -> list[list[str]]:
    """Table 1: place, material, mean, standard deviation, largest year, correlation with storm hours."""
    series, hours = retreat(), storm_hours()
    rows = []
    for transect in TRANSECTS:
        values = series[transect.name]
        linked = correlation([float(hour) for hour in hours], values)
        rows.append(
            [
                transect.name,
                transect.place,
                transect.material,
                f"{mean(values):.2f}",
                f"{stdev(values):.2f}",
                f"{max(values):.2f}",
                f"{linked:.2f}".replace("-", "\u2013"),
            ]
        )
    return rows


def quoted() -> dict[str, str]:
    """The numbers that the text quotes, all from the same series."""
    rows = {row[0]: row for row in table_rows()}
    series = retreat()
    soft = [f"{sum(series[name]):.1f}" for name in SOFT]
    stormy = YEARS.index(2014)
    total = sum(sum(series[name]) for name in SOFT)
    share = sum(series[name][stormy] for name in SOFT) / total
    five = sum(series[name][YEARS.index(year)] for name in SOFT for year in stormiest()) / total
    return {
        "m2_total": soft[0],
        "m4_total": soft[1],
        "m6_total": soft[2],
        "m4_mean": rows["M4"][3],
        "m1_mean": rows["M1"][3],
        "m4_linked": rows["M4"][6],
        "m5_linked": rows["M5"][6],
        "five_share": f"{five * 100:.0f}",
        "m6_stormy": f"{series['M6'][stormy]:.2f}",
        "share": f"{share * 100:.1f}",
        "hours": str(max(storm_hours())),
        "typical": f"{mean(storm_hours()):.0f}",
    }


def fitted(hours: Sequence[int], series: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept by least squares."""
    middle, level = mean(hours), mean(series)
    above = sum((h - middle) * (s - level) for h, s in zip(hours, series, strict=True))
    slope = above / sum((h - middle) ** 2 for h in hours)
    return slope, level - slope * middle
