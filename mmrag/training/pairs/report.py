"""What making pairs gave: counts for a terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from mmrag.types import Usage


@dataclass(slots=True)
class PairReport:
    """Counts of a run.

    Attributes:
        documents, pages: that were read.
        training, validation: lines by rule.
        held_out: names of the documents of the second file.
        dropped: pairs that were left out, by reason.
        furniture: lines of running heads, footers and page numbers.
        bare: pages without any words, of which nothing is made.
        skipped: files and pages that cannot be read, with the reason.
        resumed: documents that an earlier run had read.
        target, valid: the files; the second is None where nothing is held out.
        seconds: of this call.
        usage: of the model that asked, where there was one.
    """

    documents: int = 0
    pages: int = 0
    training: Counter[str] = field(default_factory=Counter)
    validation: Counter[str] = field(default_factory=Counter)
    held_out: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    furniture: int = 0
    bare: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    resumed: int = 0
    target: str = ""
    valid: str | None = None
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        plain = asdict(self)
        for name in ("training", "validation", "dropped"):
            plain[name] = dict(getattr(self, name))
        return plain

    def table(self) -> str:
        """For a terminal."""
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
        left = [(count, reason) for reason, count in self.dropped.most_common() if count]
        lines += [f"{count:7} pairs dropped: {reason}" for count, reason in left]
        if self.furniture:
            lines.append(f"{self.furniture:7} lines of page furniture passed over")
        if self.bare:
            lines.append(f"{self.bare:7} pages have no words; a scan needs OCR: pip install 'mmrag[ocr]'")
        used = self.usage
        if used.requests or used.cache_hits:
            lines.append(
                f"asked {used.requests} times, {used.prompt_tokens} prompt and {used.completion_tokens} "
                f"completion tokens, {used.cache_hits} replies from the cache"
            )
        if self.skipped:
            lines.append(f"Skipped ({len(self.skipped)}):")
            lines += [f"  {where}: {reason}" for where, reason in self.skipped]
        return "\n".join(lines)
