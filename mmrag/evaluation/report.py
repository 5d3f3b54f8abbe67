"""Run a search over a pack's questions and say how good its rankings are.

Every answerable question is asked twice: of the whole pack, and within the documents it is about. Figures
are macro averages over questions with bootstrap intervals, for all questions and for groups of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mmrag.evaluation.answer_report import AnswerReport
from mmrag.evaluation.answer_run import AnswerFunction, ask_all, report_answers
from mmrag.evaluation.figures import SCOPE_TITLES, SCOPES, Figure, Values, groups
from mmrag.evaluation.metrics import METRICS as METRICS
from mmrag.evaluation.metrics import bootstrap_interval
from mmrag.evaluation.pack import Pack, PageKey, Question, load_pack, question_digest
from mmrag.progress import progress_bar

COLUMNS = {"recall@1": 9, "recall@5": 9, "recall@10": 10, "ndcg@10": 9}
"""What the table has beside nDCG@5, with widths; all of `METRICS` is in the data."""
DEEPEST = 10
"""Pages a search should return: no metric looks further."""

Search: TypeAlias = Callable[[str, "tuple[str, ...] | None"], Sequence[PageKey]]
"""``search(question, file names or None)`` gives page keys, best first; None searches the whole pack."""


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of a group of questions in one scope, by the names in `METRICS`."""

    count: int
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured.

    Attributes:
        pack: the pack's folder name.
        questions: in the pack; `answerable` of them are scored.
        answerable: number of scored questions.
        scopes: ``scopes["pack" or "document"][group]``; "all" is the first group.
        per_question: one dict a scored question: id, digest of words and evidence, metrics by scope, and
            ``rankings``: the first `DEEPEST` page keys by scope.
        seconds: of the searches: total, median and 95th percentile of one.
        answers: None where no answer function was given.
        settings: bootstrap samples and seed.
        made_count: scored questions that a template or a model made.
    """

    pack: str
    questions: int
    answerable: int
    scopes: Mapping[str, Mapping[str, Group]]
    per_question: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]
    answers: AnswerReport | None
    settings: Mapping[str, int]
    made_count: int = 0

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


def evaluate(
    pack: str | Path | Pack,
    search: Search,
    *,
    answer: AnswerFunction | None = None,
    samples: int = 2000,
    seed: int = 0,
    show_progress: bool = False,
) -> Report:
    """Measure a search, and an answer function where one is given, on a pack.

    Args:
        pack: its folder, or one that was loaded.
        search: called for every answerable question, once with None and once with the question's file
            names; should give `DEEPEST` pages.
        answer: called with every question, unanswerable ones too, in both ways; `ask_all` and
            `report_answers` do the same, in steps.
        samples: bootstrap resamples.
        seed: of the bootstrap.
        show_progress: a bar of questions on stderr.

    Raises:
        FileNotFoundError: the pack is not complete.
        ValueError: the pack breaks its format, has no answerable question, or a search ranks a page twice.
    """
    pack = pack if isinstance(pack, Pack) else load_pack(pack)
    questions = [question for question in pack.questions if question.answerable]
    if not questions:
        raise ValueError(
            f"{pack.path} must have an answerable question, got {len(pack.questions)} without one."
        )
    values, seconds, rankings = _search_all(questions, search, show_progress)
    return Report(
        pack=pack.path.resolve().name,
        questions=len(pack.questions),
        answerable=len(questions),
        scopes=_scopes(questions, values, samples, seed),
        per_question=_per_question(questions, values, rankings),
        seconds={
            "total": sum(seconds),
            "median": float(np.median(seconds)),
            "p95": float(np.quantile(seconds, 0.95)),
        },
        answers=None if answer is None else _answers(pack, answer, samples, seed, show_progress),
        settings={"samples": samples, "seed": seed},
        made_count=sum(question.is_made for question in questions),
    )


def metric_title(metric: str) -> str:
    """Return a metric's name as tables have it."""
    return metric.replace("ndcg", "nDCG").replace("mrr", "MRR").replace("map", "MAP")


def _answers(
    pack: Pack, answer: AnswerFunction, samples: int, seed: int, show_progress: bool
) -> AnswerReport:
    lines = ask_all(pack, answer, seed=seed, show_progress=show_progress)
    return report_answers(pack, lines, samples=samples, seed=seed)


def _search_all(
    questions: Sequence[Question], search: Search, show_progress: bool
) -> tuple[Values, list[float], list[dict[str, list[PageKey]]]]:
    """Search every question in both scopes; returns metrics, seconds of each search, and rankings."""
    values = np.zeros((len(SCOPES), len(questions), len(METRICS)))
    seconds: list[float] = []
    rankings: list[dict[str, list[PageKey]]] = [{} for _ in questions]
    bar = progress_bar(questions, desc="searching", unit="question", is_shown=show_progress)
    for position, question in enumerate(bar):
        for scope, within in enumerate((None, question.docs)):
            start = time.perf_counter()
            ranking = list(search(question.question, within))
            seconds.append(time.perf_counter() - start)
            values[scope, position] = _measure(ranking, question)
            rankings[position][SCOPES[scope]] = ranking[:DEEPEST]
    return values, seconds, rankings


def _scopes(
    questions: Sequence[Question], values: Values, samples: int, seed: int
) -> dict[str, dict[str, Group]]:
    """Summarise the metrics by scope and group."""
    members_by_group = {name: np.array(members) for name, members in groups(questions)}
    return {
        scope: {name: _summarise(rows[members], samples, seed) for name, members in members_by_group.items()}
        for scope, rows in zip(SCOPES, values, strict=True)
    }


def _per_question(
    questions: Sequence[Question], values: Values, rankings: Sequence[Mapping[str, Sequence[PageKey]]]
) -> list[dict[str, Any]]:
    """List id, digest, metrics and page keys by scope of every question."""
    rows: list[dict[str, Any]] = [
        {"id": question.id, "digest": question_digest(question), "rankings": ranking}
        for question, ranking in zip(questions, rankings, strict=True)
    ]
    for scope, metrics in zip(SCOPES, values.tolist(), strict=True):
        for row, figures in zip(rows, metrics, strict=True):
            row[scope] = dict(zip(METRICS, figures, strict=True))
    return rows


def _measure(ranking: Sequence[PageKey], question: Question) -> list[float]:
    relevant = question.relevant
    if question.by_document:  # a file is where its first page is
        ranking = list(dict.fromkeys(question.key(page) for page in ranking))
    try:
        return [metric(ranking, relevant) for metric in METRICS.values()]
    except ValueError as error:
        raise ValueError(f"question {question.id!r}: {error}") from error


def _summarise(values: Values, samples: int, seed: int) -> Group:
    low, high = bootstrap_interval(values, samples=samples, seed=seed)
    rows = zip(METRICS, values.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)
    return Group(len(values), {metric: Figure(mean, bottom, top) for metric, mean, bottom, top in rows})


def _table_lines(report: Report) -> Iterator[str]:
    origin = f", {report.made_count} made by a template or a model" if report.made_count else ""
    yield f"{report.pack}: {report.questions} questions, {report.answerable} answerable{origin}"
    for scope in SCOPES:
        yield ""
        title = SCOPE_TITLES[scope]
        heads = "".join(f"{metric_title(metric):>{width}}" for metric, width in COLUMNS.items())
        yield f"{title:<44}{'n':>5}  {'nDCG@5':<21}{heads}"
        for name, group in report.scopes[scope].items():
            best = group.figures["ndcg@5"]
            columns = (f"{group.figures[metric].mean:>{width}.3f}" for metric, width in COLUMNS.items())
            interval = f"{best.mean:.3f} [{best.low:.3f}, {best.high:.3f}]"
            yield f"{name[:43]:<44}{group.count:>5}  {interval:<21}{''.join(columns)}"
    yield ""
    yield (
        f"search: median {report.seconds['median'] * 1000:.0f} ms, "
        f"95 % under {report.seconds['p95'] * 1000:.0f} ms"
    )
