"""Progress and report of an `add`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmrag.documents import InputDocument, Skipped


@dataclass(frozen=True, slots=True)
class AddProgress:
    """Where an `add` stands.

    Attributes:
        name: the file being read.
        files_done: files finished, out of `files_total`.
        pages_done: pages committed in this call.
        seconds: since the call began.
        seconds_left: estimated from the bytes of the files still to come; None before the first page.
    """

    name: str
    files_done: int
    files_total: int
    pages_done: int
    seconds: float
    seconds_left: float | None


@dataclass(slots=True)
class AddReport:
    """What an `add` did, file by file.

    Attributes:
        added: names of files whose pages are new.
        replaced: names whose file had changed; the old pages are gone.
        reread: names read again: the reader settings changed, or pages had been left unread.
        renamed: further names of content that was already there.
        unchanged: names that were there already; nothing was done.
        skipped: files and single pages left out, each with the reason.
        notes: what the reader had to say of pages, with the number of pages it said it of.
        pages: pages written.
        seconds: wall time.
    """

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    reread: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    pages: int = 0
    seconds: float = 0.0


class Clock:
    """Turns bytes done into the time left, for `AddProgress`."""

    def __init__(
        self, started: float, found: Sequence[InputDocument], progress: Callable[[AddProgress], None] | None
    ) -> None:
        self._started = started
        self._progress = progress
        self._sizes = [size_of(one) for one in found] if progress else []
        self._position = 0
        self._name = ""
        self._total = len(found)
        self._pages = 0
        self._share = 0.0

    def file(self, position: int, found: InputDocument) -> None:
        """A file is begun."""
        self._position, self._name, self._share = position, found.source.name, 0.0
        self._tell()

    def pages(self, done: int, total: int, new: int) -> None:
        """Of this file's `total` pages `done` are there, `new` of them since the last call."""
        self._pages += new
        self._share = min(1.0, done / total) if total else 1.0
        self._tell()

    def finish(self) -> None:
        """All files are done."""
        self._position, self._share = self._total, 0.0
        self._tell()

    def _tell(self) -> None:
        if self._progress is None:
            return
        seconds = time.monotonic() - self._started
        done: float = sum(self._sizes[: self._position])
        if self._position < self._total:
            done += self._share * self._sizes[self._position]
        left = seconds * (sum(self._sizes) - done) / done if done and self._pages else None
        self._progress(AddProgress(self._name, self._position, self._total, self._pages, seconds, left))


def size_of(found: InputDocument) -> int:
    """Bytes of a document; 0 for a file that has gone meanwhile."""
    if found.data is not None:
        return len(found.data)
    path = Path(found.source.path or "")
    return path.stat().st_size if path.is_file() else 0
