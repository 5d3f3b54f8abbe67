"""Counts of a run that makes pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from mmrag.ingest.report import note_lines
from mmrag.types import Usage


@dataclass(slots=True)
class PairReport:
    """Counts of a run.

    Attributes:
        documents, pages: that were read.
        training, validation: records by rule.
        held_out: names of the documents of the validation file.
        dropped: pairs that were dropped, by reason.
        running_headers: running headers, footers and page numbers, which give no pairs.
        bare: pages without words, which give no pairs.
        skipped: files and pages that cannot be read, with the reason.
        resumed: documents that an earlier run had read.
        target, valid: the files; `valid` is None if nothing is held out.
        seconds: of this call.
        usage: of the model that wrote questions, if any.
        notes: of the reader on pages ("structure by plain rules"), each with its number of pages.
    """

    documents: int = 0
    pages: int = 0
    training: Counter[str] = field(default_factory=Counter)
    validation: Counter[str] = field(default_factory=Counter)
    held_out: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    running_headers: int = 0
    bare: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    resumed: int = 0
    target: str = ""
    valid: str | None = None
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    notes: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        plain = asdict(self)
        plain["furniture"] = plain.pop("running_headers")  # the key that users' scripts read
        for name in ("training", "validation", "dropped", "notes"):
            plain[name] = dict(getattr(self, name))
        return plain

    def table(self) -> str:
        """Return the counts as text for a terminal."""
        lines = [
            f"{self.documents} documents, {self.pages} pages in {self.seconds:.1f} s"
            + (f", {self.resumed} of them read by an earlier run" if self.resumed else ""),
            "",
            f"{'rule':12}{'training':>10}{'validation':>12}",
        ]
        for rule in sorted(self.training | self.validation):
            lines.append(f"{rule:12}{self.training[rule]:10}{self.validation[rule]:12}")
        lines.append(f"{'all':12}{self.training.total():10}{self.validation.total():12}")
        lines.append("")
        if self.held_out:
            lines.append(f"held out: {', '.join(self.held_out)}")
        else:
            lines.append("held out: nothing")
        return "\n".join([*lines, *self._losses(), *self._requests()])

    def _losses(self) -> list[str]:
        """Return lines on what gave no pairs."""
        reasons = [(count, reason) for reason, count in self.dropped.most_common() if count]
        lines = [f"{count:7} pairs dropped: {reason}" for count, reason in reasons]
        if self.running_headers:
            lines.append(f"{self.running_headers:7} running headers, footers and page numbers left out")
        if self.bare:
            lines.append(f"{self.bare:7} pages have no words; a scan needs OCR: pip install 'mmrag[ocr]'")
        return lines + note_lines(self.notes)

    def _requests(self) -> list[str]:
        """Return lines on the model's requests, and on files that cannot be read."""
        lines, usage = [], self.usage
        if usage.requests or usage.cache_hits:
            lines.append(
                f"{usage.requests} requests, {usage.prompt_tokens} prompt and {usage.completion_tokens} "
                f"completion tokens, {usage.cache_hits} replies from the cache"
            )
        if self.skipped:
            lines.append(f"Skipped ({len(self.skipped)}):")
            lines += [f"  {where}: {reason}" for where, reason in self.skipped]
        return lines
