"""Report of mining: counts for a terminal, and a plot of the scores."""

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
    """Counts over a file of mined records, and the cost of one call.

    Attributes:
        queries: records.
        skipped: records of no use, by reason.
        positives, doubtful, negatives: items.
        removed: items, by reason.
        retrieved_positives: labelled items within the retrieval's widest ranks; ``found`` in `to_dict`.
        means: mean score by list, if a judge scored.
        new: queries mined in this call; the others were there before.
        seconds: of this call.
        usage: of this call.
    """

    queries: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    positives: int = 0
    doubtful: int = 0
    negatives: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    retrieved_positives: int = 0
    means: dict[str, float] = field(default_factory=dict)
    new: int = 0
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)

    @classmethod
    def from_records(cls, records: Iterable[Mapping[str, Any]]) -> MiningReport:
        """Return the report of these records."""
        report = cls()
        scores: dict[str, list[float]] = {name: [] for name in LISTS}
        for record in records:
            report._count(record)
            for name, values in scores.items():
                values += [item["score"] for item in record[name] if item["score"] is not None]
        report.means = {name: sum(values) / len(values) for name, values in scores.items() if values}
        return report

    def _count(self, record: Mapping[str, Any]) -> None:
        self.queries += 1
        if record["skipped"]:
            self.skipped[record["skipped"]] += 1
        self.positives += len(record["positives"])
        self.doubtful += len(record["doubtful"])
        self.negatives += len(record["negatives"])
        self.removed.update(item["reason"] for item in record["removed"])
        labels = [*record["positives"], *record["doubtful"]]
        self.retrieved_positives += sum(item["rank"] is not None for item in labels)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data = {**asdict(self), "skipped": dict(self.skipped), "removed": dict(self.removed)}
        data["found"] = data.pop("retrieved_positives")
        return data

    def table(self) -> str:
        """Format the report for a terminal."""
        useful = self.queries - sum(self.skipped.values())
        labels = self.positives + self.doubtful
        mean = f", {self.negatives / useful:.1f} a query" if useful else ""
        remark = f"{self.retrieved_positives} of {labels} labelled pages were retrieved"
        rows = [
            ("queries", self.queries, f"{self.new} of them now, {self.seconds:.1f} s"),
            *(("  skipped", count, reason) for reason, count in self.skipped.most_common()),
            ("positives", self.positives, remark),
            ("  doubtful", self.doubtful, "labelled, but not found again or not affirmed"),
            ("hard negatives", self.negatives, f"for {useful} queries{mean}"),
            ("removed", sum(self.removed.values()), "likely false negatives"),
            *(("  removed", count, reason) for reason, count in self.removed.most_common()),
        ]
        lines = [f"{name:16}{count:7}   {remark}".rstrip() for name, count, remark in rows]
        return "\n".join([*lines, *self._score_lines()])

    def _score_lines(self) -> list[str]:
        lines = []
        if self.means:
            means = ", ".join(f"{name} {value:.3f}" for name, value in self.means.items())
            lines.append(f"mean score        {means}")
        if self.usage.requests or self.usage.cache_hits:
            lines.append(
                f"judge             {self.usage.requests} requests, {self.usage.prompt_tokens} prompt and "
                f"{self.usage.completion_tokens} completion tokens, "
                f"{self.usage.cache_hits} replies from the cache"
            )
        return lines


def save_plot(records: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw the distribution of the judge's scores; the suffix of `path` decides the format.

    Left: scores of each list. Right: distance of each candidate from its query's lowest positive; a good
    judge leaves a gap between the negatives and 0.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: no record has a score; or matplotlib does not know the format.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise MissingExtraError("A plot of the scores", "plot") from error
    scores = {name: _scores(records, name) for name in LISTS}
    if not any(scores.values()):
        raise ValueError("a plot of scores needs a judge that gave some, got records without any score.")
    canvas = Canvas(figsize=(11, 4), dpi=150, layout="constrained")
    left, right = canvas.subplots(1, 2)
    _draw(left, scores, "score of the judge")
    gaps = {name: _gaps(records, name) for name in ("negatives", "removed")}
    _draw(right, gaps, "score minus the query's lowest positive")
    right.axvline(0, color="#222222", lw=1)
    handles, labels = left.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False)
    canvas.suptitle(f"{len(records)} queries mined")
    canvas.savefig(str(path))


def _scores(records: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    items = [item for record in records for item in record[name]]
    return [item["score"] for item in items if item["score"] is not None]


def _gaps(records: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return the scores of a list, less the lowest score of the same query's positives."""
    gaps: list[float] = []
    for record in records:
        lowest = min(_scores([record], "positives"), default=None)
        if lowest is not None:
            gaps += [score - lowest for score in _scores([record], name)]
    return gaps


def _draw(axis: Axes, values: Mapping[str, Sequence[float]], label: str) -> None:
    numbers = [value for series in values.values() for value in series]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    for name, series in values.items():
        if series:
            axis.hist(
                series,
                bins=30,
                range=(low, high if high > low else low + 1),
                weights=[1 / len(series)] * len(series),
                histtype="step",
                lw=1.8,
                color=_COLOURS[name],
                label=f"{name} ({len(series)})",
            )
    axis.set_xlabel(label)
    axis.set_ylabel("fraction of its list")
    axis.spines[["top", "right"]].set_visible(False)
