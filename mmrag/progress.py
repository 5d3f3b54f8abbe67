"""Bars of progress on standard error: tqdm's where one is asked for, else nothing of tqdm's at all.

Even a bar that is switched off takes tqdm's lock. A process made by `os.fork` while another thread has it
waits for it for ever, and holds the half of it that all processes share, so that its parent waits, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class NoBar:
    """What stands in for a bar that nobody wants to see.

    Args:
        items: what a loop runs over; may be left out.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __enter__(self) -> NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def update(self, count: int = 1) -> None:
        """Show nothing."""


def progress_bar(items: Iterable[Any] | None = None, *, is_shown: bool, **looks: Any) -> Any:  # noqa: ANN401
    """Return a bar: an iterable of the items and a context with ``update``, as tqdm's is.

    Args:
        items: what a loop runs over; None for a bar that is moved by ``update``.
        is_shown: whether there is a bar to see.
        looks: of tqdm: total, desc, unit, initial.
    """
    if not is_shown:
        return NoBar(() if items is None else items)
    from tqdm import tqdm

    return tqdm(items, **looks)
