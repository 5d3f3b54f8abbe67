"""Inputs of like length together, and smaller batches where memory runs out. Knows nothing of models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class OutOfMemoryError(MemoryError):
    """A batch was too large for the device; told apart by `Batcher`'s caller, who knows the device."""


class Batcher:
    """Forms batches and remembers what did not fit. Not safe between threads.

    Args:
        most_items: most inputs of a batch.
        most_cost: most padded cost of a batch: its inputs times the cost of the largest. A single input
            may cost more.
    """

    def __init__(self, most_items: int, most_cost: int) -> None:
        self.most_items = most_items
        self.most_cost = most_cost

    def run(
        self, costs: Sequence[int], work: Callable[[Sequence[int]], Sequence[Result]], most_items: int
    ) -> Iterator[tuple[int, Result]]:
        """``work(positions)`` over all positions in batches; yields ``(position, result)`` as they come.

        Largest first, so that memory runs out at the start or not at all. A batch that did not fit is
        halved, and so are later ones of its cost, in later calls, too.

        Args:
            costs: one an input.
            work: raises `OutOfMemoryError` where the batch was too large.
            most_items: of this call; no more than the batcher's own.

        Raises:
            OutOfMemoryError: a single input does not fit.
        """
        left = sorted(range(len(costs)), key=lambda position: (-costs[position], position))
        while left:
            batch = self._first(left, costs, min(most_items, self.most_items))
            results = _tried(work, batch)
            if results is None:
                half = len(batch) // 2
                self.most_cost = half * costs[batch[0]]
                logger.warning("out of memory at %d inputs; going on with %d at a time", len(batch), half)
                continue
            left = left[len(batch) :]
            yield from zip(batch, results, strict=True)

    def _first(self, left: Sequence[int], costs: Sequence[int], most_items: int) -> Sequence[int]:
        fitting = self.most_cost // max(1, costs[left[0]])
        return left[: max(1, min(most_items, fitting))]


def _tried(
    work: Callable[[Sequence[int]], Sequence[Result]], batch: Sequence[int]
) -> Sequence[Result] | None:
    """None where a batch of several did not fit; the error's traceback, and the memory it holds, is gone."""
    try:
        return work(batch)
    except OutOfMemoryError:
        if len(batch) == 1:
            raise
        return None
