"""Progress and report of an `add`, and the contents of an index."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from mmrag.files import visible
from mmrag.index.base import DocumentEntry, StoreFacts

if TYPE_CHECKING:
    from mmrag.documents import InputDocument, Skipped
    from mmrag.types import Page

MOST_ALIKE = 5
"""Notes of one kind that are printed one by one."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Work of one stage of an `add` over all its processes.

    Attributes:
        pages: that went through it.
        seconds: in which its processes were at work, added up.
        processes: at work side by side.
        retries: batches that were done again, since their process had ended or failed.
    """

    pages: int = 0
    seconds: float = 0.0
    processes: int = 1
    retries: int = 0

    @property
    def rate(self) -> float:
        """Pages a second if nothing else held it up; 0 before the first page."""
        return self.pages * self.processes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class AddProgress:
    """Progress of an `add`.

    Attributes:
        name: the file being read.
        files_done: files finished, out of `files_total`.
        files_total: files of the call.
        pages_done: pages committed in this call.
        seconds: since the call began.
        seconds_left: estimated from the bytes of the remaining files; None before the first page.
        stages: reading, embedding and writing so far, where other processes read and embed.
    """

    name: str
    files_done: int
    files_total: int
    pages_done: int
    seconds: float
    seconds_left: float | None
    stages: Mapping[str, Stage] = field(default_factory=dict)


@dataclass(slots=True)
class AddReport:
    """Outcome of an `add`, file by file.

    Attributes:
        added: names of files whose pages are new.
        replaced: names whose file had changed; the old pages are gone.
        reread: names read again, because the reader settings changed or pages had been left unread.
        renamed: further names of content that the index already held.
        unchanged: names that the index already held; nothing was done.
        skipped: files and single pages left out, each with the reason.
        notes: the reader's notes on pages, each with its number of pages.
        pages: number of pages written.
        seconds: wall time.
        stages: reading, embedding and writing, where other processes read and embed (``engine="ray"``).
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
    stages: dict[str, Stage] = field(default_factory=dict)

    def count_pages(self, pages: Sequence[Page]) -> None:
        """Count pages that were written, and the reader's notes on them."""
        self.pages += len(pages)
        for page in pages:
            for note in page.notes:
                self.notes[note] = self.notes.get(note, 0) + 1

    def __str__(self) -> str:
        """Say what was done: counts, what the reader noted, and a line for each file or page skipped."""
        rate = f", {self.pages / self.seconds:.1f} pages/s" if self.pages and self.seconds else ""
        kinds = {
            "added": self.added,
            "replaced (the file had changed)": self.replaced,
            "read again (other reader settings, or pages left unread)": self.reread,
            "known under another name": self.renamed,
            "unchanged": self.unchanged,
        }
        parts = [f"{len(names)} {kind}" for kind, names in kinds.items() if names]
        files = f"Files: {', '.join(parts)}. " if parts else ""
        head = f"{files}{self.pages} pages in {self.seconds:.1f} s{rate}"
        return visible(
            "\n".join(
                [head, *stage_lines(self.stages), *note_lines(self.notes), *skipped_lines(self.skipped)]
            )
        )

    def copy(self) -> AddReport:
        """Return a copy with lists and counts of its own."""
        return deepcopy(self)

    def restore(self, copy: AddReport) -> None:
        """Set everything to what it is in a copy."""
        for attribute in fields(self):
            setattr(self, attribute.name, getattr(copy, attribute.name))


def stage_lines(stages: Mapping[str, Stage]) -> list[str]:
    """Return a line of pages a second by stage, and one of what was done again; none without stages."""
    if not stages:
        return []
    rates = [f"{name} {stage.rate:.1f} (x{stage.processes})" for name, stage in stages.items()]
    retries = sum(stage.retries for stage in stages.values())
    batches = "1 batch was" if retries == 1 else f"{retries} batches were"
    again = [f"  {batches} done again, since a process had ended or failed"] if retries else []
    return [f"  pages/s by stage (x processes): {', '.join(rates)}", *again]


def note_lines(notes: Mapping[str, int]) -> list[str]:
    """Return a line for each note with its number of pages, the most frequent first.

    Notes that differ only in figures and names (a confidence, the files attached) are one line if they are
    more than `MOST_ALIKE`.
    """
    groups: dict[str, list[tuple[str, int]]] = {}
    for note, count in notes.items():
        groups.setdefault(_pattern(note), []).append((note, count))
    lines: list[tuple[int, str]] = []
    for pairs in groups.values():
        if len(pairs) > MOST_ALIKE:
            lines.append((sum(count for _, count in pairs), f"{pairs[0][0]}, and the like"))
        else:
            lines += [(count, note) for note, count in pairs]
    lines.sort(key=lambda line: -line[0])  # stable: equal counts stay in the order of the pages
    return [f"  {count} {'page' if count == 1 else 'pages'}: {note}" for count, note in lines]


def _pattern(note: str) -> str:
    """Return what is the same in notes of one kind: the words before a colon or bracket, without figures."""
    return re.sub(r"\d+(?:[.,]\d+)*", "0", re.split(r"[:(]", note)[0]).replace("files are", "file is").strip()


def skipped_lines(skipped: Sequence[Skipped]) -> list[str]:
    """Return a heading and a line for each file or page that was skipped."""
    lines = [f"Skipped ({len(skipped)}):"] if skipped else []
    for item in skipped:
        name = item.name if item.page is None else f"{item.name}, page {item.page + 1}"
        lines.append(f"  {name}: {item.reason}")
    return lines


@dataclass(frozen=True, slots=True)
class Status:
    """Contents of an index.

    Attributes:
        path: its directory; None in memory. Of an index on a server: the local folder for its pictures.
        embedder: name of the embedder that built it.
        documents: its files.
        records: number of pages and of the caller's own records.
        read_only: whether this process may only read.
        row_type: how rows are stored, ``"int8"`` or ``"float16"``.
        rows: most rows of a record that are stored; None: all.
        bytes: of the index's files, without pictures, replies and traces, or on the server; None in memory.
        store: what the store on a server is and costs; None of an index in a directory or in memory.
    """

    path: Path | None
    embedder: str
    documents: tuple[DocumentEntry, ...]
    records: int
    read_only: bool
    row_type: str = "float16"
    rows: int | None = None
    bytes: int | None = None
    store: StoreFacts | None = None

    @property
    def incomplete(self) -> tuple[DocumentEntry, ...]:
        """Return files whose adding was interrupted; adding them again completes them."""
        return tuple(entry for entry in self.documents if not entry.complete)

    @property
    def skipped_pages(self) -> int:
        """Return the number of pages that could not be read, over all files."""
        return sum(len(entry.skipped) for entry in self.documents)


class Stopwatch:
    """Time since its creation, and the time left by the bytes done; reported as `AddProgress`."""

    def __init__(self, progress: Callable[[AddProgress], None] | None) -> None:
        self._start = time.monotonic()
        self._progress = progress
        self._sizes: list[int] = []
        self._position = 0
        self._name = ""
        self._total = 0
        self._pages = 0
        self._fraction = 0.0  # of the current file's pages
        self._writing = Stage()
        self._source_stages: Callable[[], dict[str, Stage]] = dict

    @property
    def seconds(self) -> float:
        """Seconds since its creation."""
        return time.monotonic() - self._start

    def start(self, documents: Sequence[InputDocument]) -> None:
        """Take note of all files to come."""
        self._total = len(documents)
        self._sizes = [size_of(document) for document in documents] if self._progress else []

    def start_file(self, position: int, document: InputDocument) -> None:
        """Begin a file."""
        self._position, self._name, self._fraction = position, document.source.name, 0.0
        self._report()

    def count_pages(
        self, in_index: int, total: int, new: int, stages: Callable[[], dict[str, Stage]] = dict
    ) -> None:
        """Count `new` pages written; `in_index` of the current file's `total` pages are in the index now.

        `stages` returns those of reading and embedding so far.
        """
        self._source_stages = stages
        self._pages += new
        self._fraction = min(1.0, in_index / total) if total else 1.0
        self._report()

    @contextmanager
    def write(self, pages: int) -> Iterator[None]:
        """Time the writing of some pages."""
        start = time.monotonic()
        yield
        seconds = self._writing.seconds + time.monotonic() - start
        self._writing = Stage(self._writing.pages + pages, seconds)

    def stages(self, of_source: Mapping[str, Stage]) -> dict[str, Stage]:
        """Return the stages of a source and that of writing; none where the source has none."""
        return {**of_source, "write": self._writing} if of_source else {}

    def finish(self) -> None:
        """End the last file."""
        self._position, self._fraction = self._total, 0.0
        self._report()

    def _report(self) -> None:
        if self._progress is None:
            return
        seconds = self.seconds
        bytes_done: float = sum(self._sizes[: self._position])
        if self._position < self._total:
            bytes_done += self._fraction * self._sizes[self._position]
        left = None
        if bytes_done and self._pages:
            left = seconds * (sum(self._sizes) - bytes_done) / bytes_done
        stages = self.stages(self._source_stages())
        self._progress(
            AddProgress(self._name, self._position, self._total, self._pages, seconds, left, stages)
        )


def size_of(document: InputDocument) -> int:
    """Return a document's bytes; 0 if its file has gone meanwhile."""
    if document.data is not None:
        return len(document.data)
    path = Path(document.source.path or "")
    return path.stat().st_size if path.is_file() else 0


class Laps:
    """Seconds of consecutive stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def end(self, stage: str) -> None:
        """Give a stage the time since the one before it ended."""
        now = time.monotonic()
        self.seconds[stage] = now - self._last
        self._last = now
