"""What an answerer's answers are worth: the figures of a pack, and their lines of text.

The table shows every figure of all questions, the main ones by group, abstention with its curve, and cost;
`AnswerReport.to_dict` has all of them by group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmrag.evaluation.abstention import CurvePoint, shown_points
from mmrag.evaluation.answer_measures import BOX_FIGURES, BOX_SETS
from mmrag.evaluation.figures import SCOPE_TITLES, Figure

_TITLES: Mapping[str, Mapping[str, str]] = {
    "what is found (whether silent or not)": {
        "first_quote": "first quote holds an accepted string",
        "random_first": "  a random span as long, same page",
        "three_quotes": "one of the first three quotes does",
        "random_three": "  a random span for each",
        "text": "answer's text does",
        "anls": "ANLS",
        "exact": "exact match",
        "number_first": "number within 1 %, first quote",
        "number_random": "  a random span as long, same page",
        "number_text": "number within 1 %, answer's text",
        "first_page": "first citation on an evidence page",
        "any_page": "some citation on an evidence page",
    },
    "as shipped": {
        "answered": "answered, of the answerable",
        "silent": "silent, of the unanswerable",
        "answered_first_page": "first page cited right, of those",
        "answered_page": "some page cited right, of those",
        "first_quote_shown": "first quote right, silence is a miss",
        "false_answer": "answered, and nothing right",
        "right_silenced": "silent, of those that were right",
    },
    "right and proven": {
        "joint_words": "right, box recall >= .6: words",
        "joint_area": "right, box recall >= .6: area",
    },
}
_BOX_TITLES = {
    "words": "words",
    "words_first": "words, first quote",
    "words_right_pages": "words, right pages",
    "area": "area",
    "area_first": "area, first quote",
    "area_right_pages": "area, right pages",
    "value_words": "words on value",
    "value_words_first": "words on value, first quote",
    "value_words_right_pages": "words on value, right pages",
}
_SHORT_BOX_FIGURES = ("rec .25", "prec", "F1", "rec .5", "prec", "F1", "cover", "centre", "inside")
_GROUP_COLUMNS = (
    ("random_first", "chance"),
    ("text", "text"),
    ("anls", "ANLS"),
    ("number_first", "number"),
    ("first_page", "page"),
    ("answered", "answ."),
)


@dataclass(frozen=True, slots=True)
class CountedFigure(Figure):
    """A figure and the number of questions that it is the mean of."""

    count: int


@dataclass(frozen=True, slots=True)
class Abstention:
    """How well the stated confidence tells answerable questions from unanswerable ones.

    Attributes:
        answerable, unanswerable: questions.
        auc: probability that an answerable one has the larger confidence.
        right_auc: the same for comparable questions whose first quote holds an accepted string, against all
            other comparable and the unanswerable ones; None without one of either.
        curve: what every threshold would do.
        default: what the answerer's own threshold does; None where it has none.
        best: the point with the largest mean of both shares.
    """

    answerable: int
    unanswerable: int
    auc: Figure
    right_auc: Figure | None
    curve: Sequence[CurvePoint]
    default: CurvePoint | None
    best: CurvePoint


@dataclass(frozen=True, slots=True)
class Cost:
    """What the answers of a scope took.

    Attributes:
        median, p95, total: seconds of a whole call: search, reranking, answer.
        prompt_tokens, completion_tokens: of a server, means of a question; 0 without one.
    """

    median: float
    p95: float
    total: float
    prompt_tokens: float
    completion_tokens: float


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """Everything that was measured of an answerer.

    Attributes:
        pack: the pack's folder name.
        settings: of the run, and of the bootstrap.
        questions: by scope.
        scopes: ``scopes["pack" or "document"][group][measure]``; "all" is the first group. A measure that
            applies to no question of a group is left out.
        abstention: by scope and group ("all" and sources with questions of both kinds), where a confidence is
            stated.
        costs: by scope.
        per_question: one dict a question and scope: id, digest, scope, confidence, and its measures.
    """

    pack: str
    settings: Mapping[str, Any]
    questions: Mapping[str, int]
    scopes: Mapping[str, Mapping[str, Mapping[str, CountedFigure]]]
    abstention: Mapping[str, Mapping[str, Abstention]]
    costs: Mapping[str, Cost]
    per_question: Sequence[Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON."""
        return asdict(self)

    def save_json(self, path: str | Path) -> None:
        """Write `to_dict` as UTF-8 JSON."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def table(self) -> str:
        """Format the report as lines of text, without a final line break."""
        return "\n".join(_table_lines(self))

    __str__ = table


def measure_title(name: str) -> str:
    """Return a measure's title in the table; its name where it has none there."""
    titles = {measure: title for block in _TITLES.values() for measure, title in block.items()}
    return titles.get(name, name).strip()


def _table_lines(report: AnswerReport) -> Iterator[str]:
    """Yield the lines of the report."""
    counts = ", ".join(f"{SCOPE_TITLES[scope]} {count}" for scope, count in report.questions.items())
    yield f"answers of {report.pack}: {counts} questions; 95 % bootstrap intervals"
    yield from _figure_lines(report)
    for scope in report.scopes:
        yield from _box_lines(scope, report)
    for scope in report.scopes:
        yield from _group_lines(scope, report)
    for scope in report.scopes:
        for group, abstention in report.abstention[scope].items():
            yield from _abstention_lines(SCOPE_TITLES[scope], group, abstention, is_whole=group == "all")
    yield from _cost_lines(report)


def interval_text(figure: Figure | None) -> str:
    """Format a figure and its interval, 19 characters or a dash."""
    if figure is None:
        return f"{'-':<20}"
    return f"{figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _figure_lines(report: AnswerReport) -> Iterator[str]:
    for block, titles in _TITLES.items():
        yield ""
        yield f"{block:<40}" + "".join(f"{'n':>5}  {SCOPE_TITLES[scope]:<22}" for scope in report.scopes)
        for name, title in titles.items():
            figures = [groups["all"].get(name) for groups in report.scopes.values()]
            if any(figures):
                yield f"{title:<40}" + "".join(_count_and_interval(figure) for figure in figures)


def _count_and_interval(figure: CountedFigure | None) -> str:
    count = "-" if figure is None else figure.count
    return f"{count:>5}  {interval_text(figure):<22}"


def _box_lines(scope: str, report: AnswerReport) -> Iterator[str]:
    figures = report.scopes[scope]["all"]
    if not any(f"{boxes}_coverage" in figures for boxes in BOX_SETS):
        return
    yield ""
    yield f"{'boxes, ' + SCOPE_TITLES[scope]:<32}{'n':>5}" + "".join(f"{n:>8}" for n in _SHORT_BOX_FIGURES)
    for boxes in BOX_SETS:
        row = [figures.get(f"{boxes}_{name}") for name in BOX_FIGURES]
        if row[0] is not None:
            cells = "".join("       -" if figure is None else f"{figure.mean:>8.3f}" for figure in row)
            yield f"{_BOX_TITLES[boxes]:<32}{row[0].count:>5}{cells}"


def _group_lines(scope: str, report: AnswerReport) -> Iterator[str]:
    yield ""
    heads = "".join(f"{head:>7}" for _, head in _GROUP_COLUMNS)
    yield f"{SCOPE_TITLES[scope]:<27}{'n':>4} {'first quote':<15}{'one of three':<15}{heads}"
    for name, figures in report.scopes[scope].items():
        first = figures.get("first_quote")
        count = next((figures[n].count for n in ("first_quote", "first_page") if n in figures), 0)
        if count:
            cells = "".join(_mean(figures.get(column)) for column, _ in _GROUP_COLUMNS)
            three = figures.get("three_quotes")
            yield f"{name[:26]:<27}{count:>4} {_short_interval(first)}{_short_interval(three)}{cells}"


def _short_interval(figure: Figure | None) -> str:
    if figure is None:
        return f"{'-':<15}"
    return f"{_two(figure.mean)} [{_two(figure.low)}, {_two(figure.high)}] "


def _two(value: float) -> str:
    """Format 0..1 in three characters."""
    return "1.0" if value >= 0.995 else f"{value:.2f}"[1:]


def _mean(figure: Figure | None) -> str:
    return "      -" if figure is None else f"{figure.mean:>7.3f}"


def _abstention_lines(title: str, group: str, abstention: Abstention, *, is_whole: bool) -> Iterator[str]:
    yield ""
    yield (
        f"abstention, {title}, {group}: AUC {interval_text(abstention.auc)} of {abstention.answerable} "
        f"answerable and {abstention.unanswerable} unanswerable"
    )
    if abstention.right_auc is not None:
        yield f"  AUC of a right first quote against all others {interval_text(abstention.right_auc)}"
    if not is_whole:
        return
    yield f"  {'':<22}{'threshold':>10}{'answered':>10}{'silent':>10}{'page right':>12}{'balance':>10}"
    rows: Sequence[tuple[str, CurvePoint | None]] = [
        ("as shipped", abstention.default),
        ("best balance", abstention.best),
        *(("", point) for point in shown_points(abstention.curve)),
    ]
    for label, point in rows:
        if point is not None:
            page = f"{'-':>12}" if point.first_page is None else f"{point.first_page:>12.3f}"
            yield (
                f"  {label:<22}{point.threshold:>10.4f}{point.answered:>10.3f}{point.silent:>10.3f}{page}"
                f"{point.balance:>10.3f}"
            )


def _cost_lines(report: AnswerReport) -> Iterator[str]:
    yield ""
    for scope, cost in report.costs.items():
        title = SCOPE_TITLES[scope]
        yield f"{title}: seconds a question, median {cost.median:.2f}, 95 % under {cost.p95:.2f}"
        if cost.prompt_tokens or cost.completion_tokens:
            prompt, completion = cost.prompt_tokens, cost.completion_tokens
            yield f"{'':<{len(title)}}  tokens a question {prompt:.0f} read, {completion:.0f} written"
