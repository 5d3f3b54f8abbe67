"""A run against an earlier one, read from the report that ``mmrag evaluate --to`` wrote of it.

Both must be of the same questions, with the same words and evidence. Compared is what both measured, by
scope, group and metric. What is concluded is of all questions and one metric each; of the dozens of further
rows one in twenty has a p below .05 by chance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.evaluation.answer_report import measure_title
from mmrag.evaluation.figures import SCOPE_TITLES, SCOPES, answer_format_groups, groups
from mmrag.evaluation.pack import Pack, Question, question_digest
from mmrag.evaluation.paired import DRAWS, PairedTest, paired_test
from mmrag.evaluation.report import METRICS, metric_title

ANSWER_METRICS = (
    "text",
    "first_quote",
    "three_quotes",
    "anls",
    "number_text",
    "first_page",
    "any_page",
    "answered",
    "silent",
    "false_answer",
    "area_recall@0.5",
    "joint_words",
    "joint_area",
)
"""Measures of answers that are compared."""
CONCLUSIONS = {
    "ndcg@5": ("finds more than", "finds less than"),
    "text": ("is right more often in words than", "is right less often in words than"),
    "first_page": ("cites a right page first more often than", "cites a right page first less often than"),
}
"""Metrics that a sentence is said of, and its verbs for more and less."""
_SHORT = {
    "ndcg@5": "nDCG@5",
    "first_page": "first citation on an evidence page",
    "text": "answer's text right",
}
_PARTS = {"search": METRICS, "answers": ANSWER_METRICS}

ReportData = Mapping[str, Any]
"""A report as plain data: what ``mmrag evaluate --to`` writes."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired test of a metric in a group of questions.

    Attributes:
        part: ``"search"`` or ``"answers"``.
        scope: ``"pack"`` or ``"document"``.
        group: as in a report; ``"all"`` is the first.
        metric: of `METRICS` or `ANSWER_METRICS`.
        test: what it says.
    """

    part: str
    scope: str
    group: str
    metric: str
    test: PairedTest


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run against an earlier one.

    Attributes:
        earlier_name: how the earlier one is called: the name of its file.
        differences: by part, scope, group and metric.
        settings: bootstrap samples, seed, and random patterns of signs.
    """

    earlier_name: str
    differences: Sequence[Difference]
    settings: Mapping[str, int]

    def find(self, part: str, scope: str, group: str) -> dict[str, PairedTest]:
        """Return the tests of a group by metric."""
        return {
            difference.metric: difference.test
            for difference in self.differences
            if (difference.part, difference.scope, difference.group) == (part, scope, group)
        }

    def groups(self, part: str, scope: str) -> list[str]:
        """Return the groups that were compared, in the report's order."""
        rows = (
            difference.group
            for difference in self.differences
            if (difference.part, difference.scope) == (part, scope)
        )
        return list(dict.fromkeys(rows))

    def conclusions(self) -> list[str]:
        """Return a sentence for each scope and each metric of `CONCLUSIONS`."""
        return [
            conclusion(difference, self.earlier_name)
            for difference in self.differences
            if difference.group == "all" and difference.metric in CONCLUSIONS
        ]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON."""
        return {
            "earlier": self.earlier_name,
            "settings": dict(self.settings),
            "conclusions": self.conclusions(),
            "differences": [
                {
                    **asdict(difference),
                    "test": {**asdict(difference.test), "is_real": difference.test.is_real},
                }
                for difference in self.differences
            ],
        }

    def table(self) -> str:
        """Format conclusions and rows as lines of text, without a final line break."""
        return "\n".join(_lines(self))

    __str__ = table


def read_report(path: str | Path) -> dict[str, Any]:
    """Read a report that ``mmrag evaluate --to`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such report.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(_no_report(path, f"a file that is not JSON ({error})")) from error
    parts = [] if not isinstance(data, dict) else [part for part in _PARTS if _rows(data, part) is not None]
    if not parts:
        kind = f"keys {', '.join(map(str, data))}" if isinstance(data, dict) else type(data).__name__
        raise ValueError(_no_report(path, kind))
    return data  # type: ignore[no-any-return]  # a dict: it has a part


def check_same_questions(pack: Pack, report: ReportData, name: str) -> None:
    """Refuse a report of other questions than the pack's.

    Raises:
        ValueError: ids differ, or a question's words or evidence do.
    """
    for part in _PARTS:
        rows = _rows(report, part)
        if rows is None:
            continue
        questions = {question.id: question for question in pack.questions if _is_in(part, question)}
        there = {row["id"]: row.get("digest") for row in rows}
        for words, ids in (
            ("lacks", set(questions) - set(there)),
            ("has beside them", set(there) - set(questions)),
        ):
            if ids:
                raise ValueError(
                    f"{name} must be of the same {len(questions)} questions to be compared with, but it "
                    f"{words} {len(ids)}, {sorted(ids)[0]!r} for one. "
                    "Measure both on the same pack, with the same --questions."
                )
        for id, question in questions.items():
            if there[id] not in (None, question_digest(question)):
                raise ValueError(
                    f"{name} must be of the same questions to be compared with, but {id!r} has other words "
                    "or other evidence there. Measure it on this pack again."
                )


def compare_reports(
    pack: Pack, before: ReportData, after: ReportData, name: str, *, samples: int = 2000, seed: int = 0
) -> Comparison:
    """Compare two reports of the pack's questions, as plain data.

    Args:
        pack: says which groups a question is in.
        before: of the earlier run.
        after: of this run.
        name: of the earlier run.
        samples: bootstrap resamples.
        seed: of the bootstrap and of the signs.

    Raises:
        ValueError: they are of other questions, or measured nothing in common.
    """
    for report, label in ((before, name), (after, "this run")):
        check_same_questions(pack, report, label)
    differences = [
        difference
        for part in _PARTS
        for difference in _differences(pack, before, after, part, {"samples": samples, "seed": seed})
    ]
    if not differences:
        raise ValueError(
            f"{name} must have measured what this run did, got answers in one and search in the other. "
            "Add --answers, or leave --answers-only out."
        )
    return Comparison(name, differences, {"samples": samples, "seed": seed, "draws": DRAWS})


def conclusion(difference: Difference, earlier_name: str) -> str:
    """Say in a sentence whether the runs differ, and if not, what could have been seen."""
    test, title = difference.test, _SHORT[difference.metric]
    scope = SCOPE_TITLES[difference.scope]
    if not (test.better or test.worse):
        return f"{scope}: {title} is the same as in {earlier_name} on each of {test.count} questions."
    figures = f"{title} {gain_text(test)}, {p_text(test.p)}"
    counts = f"{test.count} questions ({test.better} better, {test.worse} worse)"
    if test.is_real:
        verb = CONCLUSIONS[difference.metric][test.gain.mean < 0]
        return f"{scope}: this run {verb} {earlier_name}: {figures}; on {counts}."
    return (
        f"{scope}: no difference from {earlier_name} that these {counts} could show: {figures}; one of "
        f"{test.visible:.3f} would have been seen four times in five."
    )


def gain_text(test: PairedTest) -> str:
    """Format a gain and its interval."""
    return f"{test.gain.mean:+.3f} [{test.gain.low:+.3f}, {test.gain.high:+.3f}]"


def p_text(p: float) -> str:
    """Format a p, ``"p = 0.014"`` or ``"p < 0.001"``."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def _no_report(path: str | Path, kind: str) -> str:
    return f"{path} must be a report that `mmrag evaluate --to FILE` wrote, got {kind[:200]}."


def _is_in(part: str, question: Question) -> bool:
    return question.answerable or part == "answers"


def _rows(report: ReportData, part: str) -> list[dict[str, Any]] | None:
    """Return the rows of the questions; None if the part was not measured."""
    holder = report if part == "search" else report.get("answers")
    rows = holder.get("per_question") if isinstance(holder, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
        return None
    return rows


def _columns(report: ReportData, part: str, scope: str) -> dict[str, Mapping[str, Any]] | None:
    """Return the metrics of every question by id; None if the part was not measured in the scope."""
    rows = _rows(report, part) or []
    if part == "search":
        columns = {row["id"]: row[scope] for row in rows if scope in row}
    else:
        columns = {row["id"]: row for row in rows if row.get("scope") == scope}
    return columns or None


def _differences(
    pack: Pack, before: ReportData, after: ReportData, part: str, bootstrap: Mapping[str, int]
) -> Iterator[Difference]:
    questions = [question for question in pack.questions if _is_in(part, question)]
    members_by_group = [*groups(questions), *(answer_format_groups(questions) if part == "answers" else ())]
    for scope in SCOPES:
        sides = _columns(before, part, scope), _columns(after, part, scope)
        if sides[0] is None or sides[1] is None:
            continue
        old, new = (
            {name: _values(side, questions, name) for name in _PARTS[part]}
            for side in sides
            if side is not None
        )
        for group, members in members_by_group:
            for metric in _PARTS[part]:
                pairs = np.stack([old[metric][members], new[metric][members]])
                pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
                if pairs.size:
                    yield Difference(part, scope, group, metric, paired_test(pairs[0], pairs[1], **bootstrap))


def _values(
    columns: Mapping[str, Mapping[str, Any]], questions: Sequence[Question], metric: str
) -> NDArray[np.float64]:
    """Return a metric of every question; not a number where it does not apply or was not measured."""
    return np.array([columns.get(question.id, {}).get(metric) for question in questions], dtype=float)


def _lines(comparison: Comparison) -> Iterator[str]:
    settings = comparison.settings
    yield f"this run against {comparison.earlier_name}, question by question"
    yield from comparison.conclusions()
    for part in _PARTS:
        for scope in SCOPES:
            if comparison.groups(part, scope):
                yield ""
                yield from _group_lines(comparison, part, scope)
                yield from _metric_lines(comparison, part, scope)
    yield ""
    yield (
        f"Intervals: 95 %, {settings['samples']} bootstrap resamples. p: sign flips, every pattern or "
        f"{settings['draws']} random ones. Seed {settings['seed']}."
    )
    rows = len(comparison.differences)
    yield f"* p < 0.05, uncorrected: of {rows} rows in all, one in twenty by chance alone."


def _group_lines(comparison: Comparison, part: str, scope: str) -> Iterator[str]:
    metric = next(iter(_PARTS[part]))
    title = f"{SCOPE_TITLES[scope]}, {_SHORT[metric]}"
    yield f"{title:<44}{'n':>5}{'before':>8}{'after':>8}  {'gain':<25}{'p':>6}"
    for group in comparison.groups(part, scope):
        test = comparison.find(part, scope, group).get(metric)
        if test is not None:
            yield _row(group, test)


def _metric_lines(comparison: Comparison, part: str, scope: str) -> Iterator[str]:
    for metric, test in list(comparison.find(part, scope, "all").items()):
        if metric != next(iter(_PARTS[part])):
            yield _row(f"all: {metric_title(metric) if part == 'search' else measure_title(metric)}", test)


def _row(name: str, test: PairedTest) -> str:
    star = "*" if test.is_real else ""
    figures = (
        f"{test.count:>5}{test.before:>8.3f}{test.after:>8.3f}  {gain_text(test):<25}{test.p:>6.3f}{star}"
    )
    return f"{name[:43]:<44}{figures}"
