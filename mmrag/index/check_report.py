"""What a check of an index says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mmrag.files import visible

LOST_PARTS = frozenset({"record", "matrix"})
"""Parts that cannot be made of the others: the record is gone with them."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in an index.

    Attributes:
        part: ``"file"`` (SQLite's own structure), ``"record"``, ``"matrix"``, ``"blocks"``, ``"column"``
            (its type, or the document), ``"first"`` (row 0 by itself), ``"metadata"`` (values for filters),
            ``"text"`` (full-text tables), ``"document"``, ``"blob"`` (bytes of a file), ``"checksum"``,
            ``"orphan"`` (what belongs to nothing), ``"state"`` or ``"chroma"``.
        key: id of the record or document, key, or name of the table.
        problem: what stands there instead.
        repair: what was done about it; None if nothing was.
    """

    part: str
    key: str
    problem: str
    repair: str | None = None

    def __str__(self) -> str:
        """Return it in one line."""
        line = f"{self.part} {self.key}: {self.problem}"
        return visible(line if self.repair is None else f"{line}; {self.repair}")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Result of a check.

    Attributes:
        path: directory of the index; None in memory.
        records: number of records that are whole.
        faults: what is wrong, or was before the repair.
        notes: what was not looked at, and what a repair did beside the faults.
        is_repaired: whether the index was repaired after the faults were found.
    """

    path: Path | None
    records: int
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = field(default=())
    is_repaired: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.faults

    @property
    def lost_ids(self) -> tuple[str, ...]:
        """Return ids of records that cannot be made of the rest of the index."""
        return tuple(dict.fromkeys(fault.key for fault in self.faults if fault.part in LOST_PARTS))

    def __str__(self) -> str:
        """Return a line for each fault and note, and the result first."""
        count = len(self.faults)
        if not count:
            head = f"{self.records} records, no faults"
        else:
            head = f"{self.records} whole records, {count} {'fault' if count == 1 else 'faults'}"
            head += ", repaired" if self.is_repaired else ". Repair: mmrag check --repair --index DIR"
        lines = [f"  {fault}" for fault in self.faults] + [visible(note) for note in self.notes]
        return "\n".join([head, *lines])
