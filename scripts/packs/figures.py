"""How figures and dates are written in different countries and trades, and what else counts as the same."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

SIGNS = ("minus", "dash", "brackets", "trailing")
MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Hand:
    """A way to write figures: thousands mark, decimal mark and how a negative figure looks."""

    thousands: str = ","
    decimal: str = "."
    sign: str = "minus"

    def write(self, value: float, decimals: int = 0) -> str:
        """The figure as it is printed."""
        whole, _, rest = f"{abs(value):,.{decimals}f}".partition(".")
        text = whole.replace(",", self.thousands) + (self.decimal + rest if rest else "")
        if value >= 0 or not any(digit in "123456789" for digit in text):
            return text
        return {"minus": f"-{text}", "dash": f"–{text}", "brackets": f"({text})", "trailing": f"{text}-"}[
            self.sign
        ]


AMERICAN = Hand()
ACCOUNTS = Hand(sign="brackets")
EUROPEAN = Hand(".", ",")
LEDGER = Hand(".", ",", "trailing")
FRENCH = Hand("\u00a0", ",", "dash")
SWISS = Hand("'", ".")
PLAIN = Hand("", ".")
HANDS = (AMERICAN, ACCOUNTS, EUROPEAN, LEDGER, FRENCH, SWISS, PLAIN)


def same(text: str, value: float, decimals: int) -> tuple[str, ...]:
    """Accepted strings of a figure: as printed, plain and the American way."""
    plain = f"{value:.{decimals}f}"
    return tuple(dict.fromkeys((text.replace("\u00a0", " "), plain, f"{value:,.{decimals}f}")))


def _day(date: datetime.date, shape: str) -> str:
    month = MONTHS[date.month - 1]
    return {
        "iso": date.isoformat(),
        "long": f"{date.day} {month} {date.year}",
        "american": f"{month} {date.day}, {date.year}",
        "short": f"{date.day} {month[:3]} {date.year}",
        "dots": f"{date.day:02}.{date.month:02}.{date.year}",
        "slashes": f"{date.day:02}/{date.month:02}/{date.year}",
    }[shape]


DAY_SHAPES = ("iso", "long", "american", "short", "dots", "slashes")


def day(date: datetime.date, shape: str) -> str:
    """The date as it is printed."""
    return _day(date, shape)


def same_day(date: datetime.date, shape: str) -> tuple[str, ...]:
    """Accepted strings of a date: as printed, and written in the other ways that cannot be mistaken."""
    return tuple(
        dict.fromkeys(
            (_day(date, shape), *(_day(date, other) for other in ("iso", "long", "american", "short")))
        )
    )
