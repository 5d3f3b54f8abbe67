"""What the pages beside a page say of it.

A page of a document is read in the company of others: where the pages before and after are about a question,
so is the page, more often than its own words tell. So the mean score of the pages within `REACH` is added to
a page's own, a part of it, in each channel. A page that has no neighbours would get nothing, or its own score
twice, and both would be unfair between a leaflet of one page and a book. So one imaginary neighbour stands
beside every page, with the score that is to be expected there: half way between the page's own and the mean.

Measured in ``docs/lab-log.md``, "The pages beside a page".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

REACH = 2
"""How many pages before a page and after it are its neighbours."""

LIKENESS = 0.5
"""How much of a page's distance from the mean its neighbours are expected to share."""

_PAGE = "#p"  # between the document's id and the page's number, see `mmrag.types.Source.page_id`


def page_neighbours(ids: Sequence[str], reach: int = REACH) -> dict[str, list[str]]:
    """List the ids that the pages within `reach` of each page would have, nearest numbers in rising order.

    Whether they exist is for the index to say. Ids that are no page's have none.

    Example:
        >>> page_neighbours(["0123456789abcdef#p1", "note 7"])["0123456789abcdef#p1"]
        ['0123456789abcdef#p0', '0123456789abcdef#p2', '0123456789abcdef#p3']
    """
    neighbours: dict[str, list[str]] = {}
    for id in ids:
        document, mark, digits = id.rpartition(_PAGE)
        if not mark or not (digits.isascii() and digits.isdigit()):
            neighbours[id] = []
            continue
        page = int(digits)
        around = range(max(0, page - reach), page + reach + 1)
        neighbours[id] = [f"{document}{_PAGE}{number}" for number in around if number != page]
    return neighbours


def add_neighbours(
    scores: Mapping[str, float],
    around: Mapping[str, float],
    neighbours: Mapping[str, Sequence[str]],
    weight: float,
) -> dict[str, float]:
    """Add to the score of each record `weight` times the mean beside it.

    ``mean[id] = (sum of around[n] + expected) / (count of n + 1)`` over the neighbours n of a record, with
    ``expected = middle + LIKENESS * (around[id] - middle)`` and the middle of `around` over `scores`.

    Args:
        scores: of the pool's records.
        around: of them and of their neighbours, all of one kind. What is not in it does not exist; a record
            of the pool that is not keeps its score.
        neighbours: of some records of the pool; the others have the imagined neighbour alone.
        weight: of the mean, at least 0.
    """
    pool = [around[id] for id in scores if id in around]
    if not pool:
        return dict(scores)
    middle = math.fsum(pool) / len(pool)
    sums = dict(scores)
    for id in scores:
        if id in around:
            beside = [around[neighbour] for neighbour in neighbours.get(id, ()) if neighbour in around]
            beside.append(middle + LIKENESS * (around[id] - middle))
            sums[id] += weight * math.fsum(beside) / len(beside)
    return sums
