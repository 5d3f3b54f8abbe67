"""Numbers and dates as a workbook shows them, for the formats that most cells have.

The format language of workbooks is large; a format that is not known here leaves the number as it is stored,
rounded to the digits that a cell of usual width shows.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta

_LITERAL = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]|_.|\*.|\[[^\]]*\]')
_NUMBER = re.compile(r"(?:#,##0|#,#|0+|#+0*)(?:\.(0+)?([#?]*))?")
_DATE_PARTS = (
    ("yyyy", "%Y"),
    ("yy", "%y"),
    ("mmmm", "%B"),
    ("mmm", "%b"),
    ("dddd", "%A"),
    ("ddd", "%a"),
    ("dd", "%d"),
    ("d", "{day}"),
    ("hh", "%H"),
    ("h", "{hour}"),
    ("ss", "%S"),
    ("s", "%S"),
)


def shown_text(value: object, number_format: str) -> str:
    """Return what a cell shows.

    Args:
        value: as openpyxl gives it.
        number_format: of the cell, like ``"#,##0.00"``.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (datetime, date, time)):
        return _shown_date(value, number_format)
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, (int, float)):
        return _shown_number(value, number_format)
    return " ".join(str(value).split())


def _shown_number(value: float, number_format: str) -> str:
    """Return a number in its format: digits, thousands, per cent, and the letters around it."""
    sections = number_format.split(";")
    section = sections[1] if value < 0 and len(sections) > 1 and sections[1] else sections[0]
    letters: list[str] = []

    def keep(match: re.Match[str]) -> str:
        letters.append(next((group for group in match.groups() if group is not None), ""))
        return f"\0{len(letters) - 1}\0"

    bare = _LITERAL.sub(keep, section)
    match = _NUMBER.search(re.sub(r"\0\d+\0", lambda match: "\1" * len(match.group()), bare))
    if match is None or number_format.lower() == "general" or re.search(r"[ymdhseE?/@]", bare.lower()):
        return _plain(value)
    percent = "%" in bare
    number = abs(value) if section is not sections[0] else value
    digits = len(match.group(1) or "")
    text = f"{number * (100 if percent else 1):{',' if ',' in match.group() else ''}.{digits}f}"
    if match.group(2) and not digits:
        text = _plain(number * (100 if percent else 1))
    whole = bare[: match.start()] + text + bare[match.end() :]
    return re.sub(r"\0(\d+)\0", lambda match: letters[int(match.group(1))], whole).strip()


def _plain(value: float) -> str:
    """Return a number without a format: at most eleven digits, as programs show it."""
    if isinstance(value, int) or float(value).is_integer():
        return str(int(value)) if abs(value) < 1e11 else f"{value:.5E}"
    return f"{value:.10g}"


def _shown_date(value: datetime | date | time, number_format: str) -> str:
    """Return a date or time in its format; ISO 8601 where that is not known."""
    code = _LITERAL.sub(lambda match: match.group(1) or match.group(2) or "", number_format.split(";")[0])
    code = code.lower().replace("am/pm", "")
    if not re.search(r"[ymdhs]", code):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    code = re.sub(r"(?<=h:)m{1,2}|(?<=hh:)m{1,2}|m{1,2}(?=:s)", "%M", code)  # minutes, not months
    for part, directive in _DATE_PARTS:
        code = re.sub(rf"(?<![%{{\w]){part}(?!\w)", directive, code)
    code = re.sub(r"(?<![%{\w])mm(?!\w)", "%m", code)
    code = re.sub(r"(?<![%{\w])m(?!\w)", "{month}", code)
    for name in ("day", "month", "hour"):
        code = code.replace(f"{{{name}}}", str(getattr(value, name, "")))
    try:
        return value.strftime(code).strip()
    except ValueError:
        return value.isoformat()
