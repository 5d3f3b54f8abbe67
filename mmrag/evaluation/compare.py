"""Two reports of the same questions side by side: what a change gained, question by question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmrag.evaluation.figures import SCOPES, Figure, groups
from mmrag.evaluation.metrics import bootstrap_interval
from mmrag.evaluation.pack import Pack
from mmrag.evaluation.report import Report

METRIC = "ndcg@5"


@dataclass(frozen=True, slots=True)
class Gain:
    """nDCG@5 of a group of questions in one scope, before and after.

    Attributes:
        scope: ``"pack"`` or ``"document"``.
        group: as in a `Report`.
        count: its questions.
        before: mean.
        after: mean.
        gain: mean of the differences and its bootstrap interval over questions, -1..1.
    """

    scope: str
    group: str
    count: int
    before: float
    after: float
    gain: Figure

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON."""
        return asdict(self)


def compare(pack: Pack, before: Report, after: Report) -> list[Gain]:
    """Compute what `after` gained over `before`, by scope and group.

    The interval is that of the paired differences, with the samples and the seed of `after`: it is
    narrower than the two reports' own, since hard questions are hard for both.

    Raises:
        ValueError: the reports are not of the same questions.
    """
    questions = [question for question in pack.questions if question.answerable]
    ids = [question.id for question in questions]
    for report in (before, after):
        if [row["id"] for row in report.per_question] != ids:
            raise ValueError(
                f"reports to compare must be of the questions of {pack.path}, got one of "
                f"{len(report.per_question)} questions of {report.pack!r}. Measure both on this pack."
            )
    gains = []
    for scope in SCOPES:
        old, new = (np.array([row[scope][METRIC] for row in r.per_question]) for r in (before, after))
        for name, members in groups(questions):
            difference = (new - old)[members][:, None]
            low, high = bootstrap_interval(difference, **after.settings)
            gain = Figure(float(difference.mean()), float(low[0]), float(high[0]))
            gains.append(
                Gain(scope, name, len(members), float(old[members].mean()), float(new[members].mean()), gain)
            )
    return gains


def gain_table(gains: list[Gain]) -> str:
    """Format the gains as lines of text, without a final line break."""
    return "\n".join(_lines(gains))


def _lines(gains: list[Gain]) -> Iterator[str]:
    for scope in SCOPES:
        title = "whole pack" if scope == "pack" else "within document"
        if scope != SCOPES[0]:
            yield ""
        yield f"{title + ', nDCG@5':<44}{'n':>5}{'before':>8}{'after':>8}  gain"
        for row in (gain for gain in gains if gain.scope == scope):
            interval = f"{row.gain.mean:+.3f} [{row.gain.low:+.3f}, {row.gain.high:+.3f}]"
            yield f"{row.group[:43]:<44}{row.count:>5}{row.before:>8.3f}{row.after:>8.3f}  {interval}"
