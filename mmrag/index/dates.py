"""Dates, months, quarters and versions as they are written: found, and brought to one form.

Known are numbers with one of ``- / .`` between them (day or month first, or the year in four digits), days
and months by their English names, quarters ("Q3 2024", "4Q24", "third quarter of 2024", "three months ended
September 30, 2024"), years, and versions ("v1.2", "version 2.0", "rev. 3"). A library that reads dates of
every language (dateparser) takes a hundred times as long a page, and finds dates in most numbers.
"""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_ORDINAL = r"(?:st|nd|rd|th)?"
_YEAR_DIGITS = r"(?:19|20)\d\d"
_DATE = re.compile(
    r"(?<![\w./-])(?:"
    r"(?P<first>\d{1,2})(?P<by>[-/.])(?P<second>\d{1,2})(?P=by)(?P<year>\d{4}|\d{2})"
    r"|(?P<iso_year>\d{4})(?P<iso_by>[-/.])(?P<iso_month>\d{1,2})(?P=iso_by)(?P<iso_day>\d{1,2})"
    rf"|(?P<day>\d{{1,2}}){_ORDINAL}[ -]{{1,2}}(?P<month>{_MONTH})[.,]?[ -]{{1,2}}"
    r"(?P<day_year>\d{4}|\d{2})"
    rf"|(?P<us_month>{_MONTH})\.? {{1,2}}(?P<us_day>\d{{1,2}}){_ORDINAL},? {{1,2}}(?P<us_year>\d{{4}})"
    r")(?![\w/-]|\.\d)",
    re.IGNORECASE,
)
_QUARTER_NAMES = ("first", "second", "third", "fourth")
_QUARTER = re.compile(
    rf"\b(?:q ?(?P<q>[1-4])|(?P<before>[1-4])q|(?P<word>{'|'.join(_QUARTER_NAMES)}) quarter(?: of)?"
    r"|(?P<ordinal>[1-4])(?:st|nd|rd|th) quarter(?: of)?)"
    rf",?[ '\u2019-]?(?:fy ?)?(?P<year>{_YEAR_DIGITS}|\d\d)\b"
    rf"|\b(?:fy ?)?(?P<first_year>{_YEAR_DIGITS})[ -]?(?:q(?P<last>[1-4])|(?P<last_before>[1-4])q)\b",
    re.IGNORECASE,
)
_QUARTER_ENDED = re.compile(
    rf"\b(?:quarter(?:ly period)?|three months|3 months) (?:ended|ending|to) (?P<month>{_MONTH})\.? "
    rf"\d{{1,2}},? (?P<year>{_YEAR_DIGITS})\b",
    re.IGNORECASE,
)
_MONTH_YEAR = re.compile(
    rf"\b(?P<name>{_MONTH})\.?,?[ -]?(?P<year>{_YEAR_DIGITS})\b"
    rf"|(?<!\d)(?P<iso_year>{_YEAR_DIGITS})[-./]?(?P<iso_month>0[1-9]|1[0-2])(?![\d])",
    re.IGNORECASE,
)
_YEAR = re.compile(rf"(?<!\d){_YEAR_DIGITS}(?!\d)")
_COMPACT = re.compile(rf"(?<!\d)({_YEAR_DIGITS})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?!\d)")
_VERSION = re.compile(
    r"\b(?:v|ver\.?|version|rev\.?|revision) ?(\d{1,4}(?:\.\d{1,4})*)(?![\w]|\.\d)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class WrittenDate:
    """A date of a text.

    Attributes:
        day: 1 to 31.
        month: 1 to 12.
        year: in four digits; two are of this century.
        is_certain: day and month are told apart; else the first number was taken for the day.
    """

    day: int
    month: int
    year: int
    is_certain: bool

    def calendar_date(self) -> datetime.date | None:
        """Return the day of the calendar; None where there is no such day."""
        return _day(self.year, self.month, self.day)


def written_dates(text: str) -> Iterator[WrittenDate]:
    """Yield the dates of a text, in order; numbers that are no date are passed over."""
    for match in _DATE.finditer(text):
        part = match.groupdict()
        if part["year"]:
            date = _date(part["first"], part["second"], part["year"], is_certain=False)
        elif part["iso_year"]:
            date = _date(part["iso_day"], part["iso_month"], part["iso_year"], is_certain=True)
        else:
            month = _month_number(part["month"] or part["us_month"])
            year = part["day_year"] or part["us_year"]
            date = _date(part["day"] or part["us_day"], str(month), year, is_certain=True)
        if date is not None:
            yield date


def period_terms(text: str, *, query: bool) -> list[str]:
    """Return one term for each date, month, quarter and version of a text, whichever way it is written.

    "03/08/2017", "3-8-17", "2017-08-03" and "Aug 3, 2017" are ``03.08.17``, "Q3 2024" and "third quarter of
    2024" ``q3.24``, "May 2025" and every certain date in it ``m05.25``, "version 1.0" ``v1.0``. Of
    "03/08/2017" nobody can say which number is the day: the first is taken for it, and it tells of no month.

    Args:
        text: anything.
        query: a day is asked for both ways, since a document may write the month first; its month is not
            asked for.
    """
    terms: list[str] = []
    for date in written_dates(text):
        terms.append(f"{date.day:02}.{date.month:02}.{date.year % 100:02}")
        if query:
            if date.is_certain and date.day <= 12 and date.day != date.month:
                terms.append(f"{date.month:02}.{date.day:02}.{date.year % 100:02}")
        elif date.is_certain:
            terms.append(f"m{date.month:02}.{date.year % 100:02}")
    for year, month in _months(_DATE.sub(" ", text)):
        terms.append(f"m{month:02}.{year % 100:02}")
    for year, quarter in _quarters(text):
        terms.append(f"q{quarter}.{year % 100:02}")
    terms += [f"v{match.group(1)}" for match in _VERSION.finditer(text)]
    return terms


def period_end(text: str) -> datetime.date | None:
    """Return the last day that a text names: of its dates, else months and quarters, else years.

    "2023 Q3" is 2023-09-30, "May 2023" 2023-05-31, "2023" 2023-12-31.
    """
    text = text.replace("_", " ")
    days = [date.calendar_date() for date in written_dates(text)]
    days += [_day(*map(int, match.groups())) for match in _COMPACT.finditer(text)]
    known_days = [day for day in days if day is not None]
    if known_days:
        return max(known_days)
    months = [*_months(text), *((year, 3 * quarter) for year, quarter in _quarters(text))]
    if months:
        return max(_month_end(year, month) for year, month in months)
    years = [int(match.group()) for match in _YEAR.finditer(text)]
    return datetime.date(max(years), 12, 31) if years else None


def highest_version(text: str) -> str:
    """Return the highest version that a text names, written so that it sorts ("v1.2": ``0001.0002``)."""
    versions = [
        ".".join(f"{int(part):04}" for part in match.group(1).split("."))
        for match in _VERSION.finditer(text.replace("_", " "))
    ]
    return max(versions, default="")


def _date(first: str, second: str, year: str, *, is_certain: bool) -> WrittenDate | None:
    """Return a date of these digits, or None where they are none."""
    day, month = int(first), int(second)
    if month > 12 and not is_certain:
        day, month = month, day
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    return WrittenDate(day, month, _full_year(year), is_certain or day > 12)


def _full_year(digits: str) -> int:
    return int(digits) + (2000 if len(digits) == 2 else 0)


def _month_number(name: str) -> int:
    return _MONTH_NAMES.index(name[:3].lower()) + 1


def _day(year: int, month: int, day: int) -> datetime.date | None:
    is_day = year >= 1 and day <= calendar.monthrange(year, month)[1]
    return datetime.date(year, month, day) if is_day else None


def _month_end(year: int, month: int) -> datetime.date:
    return datetime.date(year, month, calendar.monthrange(year, month)[1])


def _quarters(text: str) -> Iterator[tuple[int, int]]:
    """Yield year and number of the quarters that a text names."""
    for match in _QUARTER.finditer(text):
        part = match.groupdict()
        if part["word"]:
            quarter = _QUARTER_NAMES.index(part["word"].lower()) + 1
        else:
            quarter = int(
                part["q"] or part["before"] or part["ordinal"] or part["last"] or part["last_before"]
            )
        yield _full_year(part["year"] or part["first_year"]), quarter
    for match in _QUARTER_ENDED.finditer(text):
        yield int(match["year"]), (_month_number(match["month"]) + 2) // 3


def _months(text: str) -> Iterator[tuple[int, int]]:
    """Yield year and number of the months that a text names with their year."""
    for match in _MONTH_YEAR.finditer(text):
        part = match.groupdict()
        month = int(part["iso_month"]) if part["iso_month"] else _month_number(part["name"])
        yield int(part["year"] or part["iso_year"]), month
