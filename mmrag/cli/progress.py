"""Progress on standard error: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmrag.cli.visible import complain, visible

if TYPE_CHECKING:
    from typing_extensions import Self

    from mmrag.ingest.report import AddProgress

INTERVAL = 60.0
"""Seconds between two lines where standard error is no terminal."""


class Progress:
    """A report of work that is underway; use it as a context manager, and its methods as callbacks.

    Args:
        clock: seconds, for the interval between lines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + INTERVAL
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = _rich_bar()
            self._task = self._bar.add_task("", total=None)
            self._bar.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show_add(self, state: AddProgress) -> None:
        """Show how far an `add` is; a callback for `DocumentQA.add`."""
        rate = state.pages_done / state.seconds if state.seconds else 0.0
        left = "" if state.seconds_left is None else f", {_minutes(state.seconds_left)} left"
        rates = "".join(f", {name} {stage.rate:.1f}/s" for name, stage in state.stages.items())
        pages = f"{state.pages_done} pages, {rate:.1f}/s{rates}{left}"
        counts = f"{state.files_done}/{state.files_total} files, {pages}"
        self.show(state.files_done, state.files_total, f"{counts}  {state.name}")

    def counter(self, unit: str) -> Callable[[int, int], None]:
        """Return a callback for ``(count, total)`` of some unit."""
        return lambda count, total: self.show(count, total, f"{count} of {total} {unit}")

    def show(self, count: int, total: int, text: str) -> None:
        """Move the bar, or write a line if the last is a minute old."""
        if self._bar is not None:
            self._bar.update(self._task, completed=count, total=total, description=visible(text)[:100])
        elif self._clock() >= self._next:
            self._next = self._clock() + INTERVAL
            complain(text)


def _rich_bar() -> Any:  # noqa: ANN401  rich is imported where a bar is drawn
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    columns = (BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
    return RichProgress(*columns, console=Console(stderr=True), transient=True)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
