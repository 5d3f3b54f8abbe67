"""Rows of names and rows of values: what is told by figures alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

FIGURE = re.compile(r"\d")
YEAR = re.compile(r"(?:1[89]|20|21)\d\d")


def has_values(texts: Sequence[str], below: Sequence[str] = ()) -> bool:
    """Decide whether a row of a table has figures that are not the names of its columns.

    Years are names where all figures of the row are years in their order and none of them is over another.

    Args:
        texts: of the row, by column.
        below: texts of the row below it; empty for the last row.
    """
    columns = [column for column, text in enumerate(texts) if FIGURE.search(text)]
    years = [texts[column] for column in columns]
    if not all(YEAR.fullmatch(year) for year in years):
        return True
    is_over_year = any(column < len(below) and YEAR.fullmatch(below[column]) for column in columns)
    return is_over_year or years not in (sorted(years), sorted(years, reverse=True))
