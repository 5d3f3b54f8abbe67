"""The average length of an index's texts, which BM25 asks for.

The engine has no sum; it counts the points of each length (a facet), by a look at every point: 10 ms a
thousand in a folder. So the average is kept where that costs something. Up to `SMALL` records it is always
read anew. Above, it is kept for `SECONDS` while the number of records stays what it was, and from `LARGE` on
while that changes by less than a thousandth, which moves no score by more than as much. What this process
writes is seen at once. The number of records and those of each term are counted for every question.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from mmrag.index.qdrant.collection import Collection, Condition

SMALL = 2_000
LARGE = 20_000
SECONDS = 60.0

MOST_LENGTHS = 100_000
"""Different lengths of texts."""


@dataclass(frozen=True, slots=True)
class _Average:
    records: int
    terms: float
    time: float


class Lengths:
    """The average, read when it is needed.

    Args:
        collection: of the pages.
        is_live: condition of the points that count.
        clock: seconds that only grow.
    """

    def __init__(
        self, collection: Collection, is_live: Condition, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._collection = collection
        self._is_live = is_live
        self._clock = clock
        self._lock = Lock()
        self._average: _Average | None = None

    def forget(self) -> None:
        """Read anew at the next question, after this process wrote."""
        with self._lock:
            self._average = None

    def average(self, records: int) -> float:
        """Return the average length in terms, where there are so many records; 0 where there are none."""
        with self._lock:
            average = self._average
        if average is not None and self._is_fresh(average, records):
            return average.terms
        lengths = self._collection.facet("length", self._is_live, MOST_LENGTHS) or []
        total = sum(int(length) * count for length, count in lengths)
        count = sum(count for _, count in lengths)
        average = _Average(records, total / count if count else 0.0, self._clock())
        with self._lock:
            self._average = average
        return average.terms

    def _is_fresh(self, average: _Average, records: int) -> bool:
        if records <= SMALL or self._clock() - average.time > SECONDS:
            return False
        slack = records // 1000 if records >= LARGE else 0
        return abs(records - average.records) <= slack
