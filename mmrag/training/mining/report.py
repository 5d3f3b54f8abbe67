"""What mining gave: counts for a terminal, and a plot of the scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.errors import MissingExtraError
from mmrag.training.mining.records import LISTS
from mmrag.types import Usage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"positives": "#3b6ea5", "negatives": "#d6604d", "removed": "#e0a030", "doubtful": "#878787"}


@dataclass(slots=True)
class MiningReport:
    """What a file of mined lines holds, and what this call added.

    Attributes:
        queries: lines.
        skipped: lines of no use, by reason.
        positives, doubtful, negatives: items, over the lines that are of use.
        removed: items, by reason.
        found: positives that the retrieval reached, by the widest rank looked at.
        means: mean score by list, where a judge scored.
        new: queries done in this call; the others were there.
        seconds: of this call.
        usage: of this call.
    """

    queries: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    positives: int = 0
    doubtful: int = 0
    negatives: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    found: int = 0
    means: dict[str, float] = field(default_factory=dict)
    new: int = 0
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)

    @classmethod
    def of(cls, lines: Iterable[Mapping[str, Any]]) -> MiningReport:
        """The report of these lines."""
        report = cls()
        scores: dict[str, list[float]] = {name: [] for name in LISTS}
        for line in lines:
            report.queries += 1
            if line["skipped"]:
                report.skipped[line["skipped"]] += 1
            report.positives += len(line["positives"])
            report.doubtful += len(line["doubtful"])
            report.negatives += len(line["negatives"])
            report.removed.update(item["reason"] for item in line["removed"])
            labelled = [*line["positives"], *line["doubtful"]]
            report.found += sum(item["rank"] is not None for item in labelled)
            for name, values in scores.items():
                values += [item["score"] for item in line[name] if item["score"] is not None]
        report.means = {name: sum(values) / len(values) for name, values in scores.items() if values}
        return report

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "skipped": dict(self.skipped), "removed": dict(self.removed)}

    def table(self) -> str:
        """For a terminal."""
        useful = self.queries - sum(self.skipped.values())
        labelled = self.positives + self.doubtful
        each = f", {self.negatives / useful:.1f} a query" if useful else ""
        rows = [
            ("queries", self.queries, f"{self.new} of them now, {self.seconds:.1f} s"),
            *(("  skipped", count, reason) for reason, count in self.skipped.most_common()),
            ("positives", self.positives, f"{self.found} of {labelled} labelled pages were retrieved"),
            ("  doubtful", self.doubtful, "labelled, but the judge does not see why"),
            ("hard negatives", self.negatives, f"for {useful} queries{each}"),
            ("removed", sum(self.removed.values()), "likely false negatives"),
            *(("  removed", count, reason) for reason, count in self.removed.most_common()),
        ]
        lines = [f"{name:16}{count:7}   {said}".rstrip() for name, count, said in rows]
        if self.means:
            means = ", ".join(f"{name} {value:.3f}" for name, value in self.means.items())
            lines.append(f"mean score        {means}")
        used = self.usage
        if used.requests or used.cache_hits:
            lines.append(
                f"judge             {used.requests} requests, {used.prompt_tokens} prompt and "
                f"{used.completion_tokens} completion tokens, {used.cache_hits} replies from the cache"
            )
        return "\n".join(lines)


def save_plot(lines: Sequence[Mapping[str, Any]], path: str | Path, *, title: str = "") -> None:
    """Draw how the judge's scores are spread; the file name's ending decides the format.

    Left: scores of each list. Right: how far each candidate is from its query's lowest positive, where a
    good judge leaves a gap between the negatives and 0.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: no line has a score, since nothing judged; or the ending is none that matplotlib writes.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise MissingExtraError("A plot of the scores", "plot") from error
    scores = {name: [one["score"] for line in lines for one in line[name]] for name in LISTS}
    scores = {name: [one for one in values if one is not None] for name, values in scores.items()}
    if not any(scores.values()):
        raise ValueError("a plot of scores needs a judge that gave some, got lines without any score.")
    gaps = {
        name: [
            one["score"] - min(positive["score"] for positive in line["positives"])
            for line in lines
            if line["positives"]
            for one in line[name]
        ]
        for name in ("negatives", "removed")
    }
    canvas = Canvas(figsize=(11, 4), dpi=150, layout="constrained")
    left, right = canvas.subplots(1, 2)
    _draw(left, scores, "score of the judge")
    _draw(right, gaps, "score minus the query's lowest positive")
    right.axvline(0, color="#222222", lw=1)
    handles, labels = left.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False)
    canvas.suptitle(title or f"{len(lines)} queries mined")
    canvas.savefig(str(path))


def _draw(axis: Axes, values: Mapping[str, Sequence[float]], label: str) -> None:
    every = [one for some in values.values() for one in some]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    for name, some in values.items():
        if some:
            axis.hist(
                some,
                bins=30,
                range=(low, high if high > low else low + 1),
                weights=[1 / len(some)] * len(some),
                histtype="step",
                lw=1.8,
                color=_COLOURS[name],
                label=f"{name} ({len(some)})",
            )
    axis.set_xlabel(label)
    axis.set_ylabel("share of its list")
    axis.spines[["top", "right"]].set_visible(False)
