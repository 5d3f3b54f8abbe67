"""Ask an answerer every question of a pack, and measure its answers.

Every question is asked twice: of the whole pack, and within the documents it is about; unanswerable ones too.
Figures are macro averages over the questions that a measure applies to, with bootstrap intervals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from mmrag.evaluation.abstention import auc_figure, curve, point_at
from mmrag.evaluation.answer_lines import AnswerFile, AnswerLine, Key, describe
from mmrag.evaluation.answer_measures import NAMES, Measures, measure
from mmrag.evaluation.answer_report import Abstention, AnswerReport, Cost, CountedFigure
from mmrag.evaluation.figures import SCOPES, Figure, answer_format_groups, groups
from mmrag.evaluation.metrics import bootstrap_interval
from mmrag.evaluation.pack import Pack, Question, question_digest
from mmrag.progress import progress_bar
from mmrag.types import Answer

AnswerFunction: TypeAlias = Callable[[str, "tuple[str, ...] | None"], Answer]
"""``answer(question, file names or None)``; None answers from the whole pack."""

NEVER = -1.0
"""Confidence of a question without an answer at any threshold: below every other."""


def ask_all(
    pack: Pack,
    answer: AnswerFunction,
    *,
    scopes: Sequence[str] = SCOPES,
    file: AnswerFile | None = None,
    threshold: float | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> dict[Key, AnswerLine]:
    """Ask every question in every scope.

    Args:
        pack: whose questions are asked.
        answer: called with a question, and None or the question's file names.
        scopes: of `SCOPES`.
        file: lines that it has are not asked again; new ones are added as they come.
        threshold: the confidence from which the answerer answers as shipped, where `answer` was told not to
            abstain by it. None: what it says stands.
        seed: of the random spans.
        show_progress: a bar on stderr.
    """
    old_lines = {} if file is None else file.lines
    lines: dict[Key, AnswerLine] = {}
    pairs = [(question, scope) for scope in scopes for question in pack.questions]
    for question, scope in progress_bar(pairs, desc="answering", unit="question", is_shown=show_progress):
        key = (question.id, scope)
        if key not in old_lines:
            start = time.perf_counter()
            result = answer(question.question, None if scope == "pack" else question.docs)
            seconds = time.perf_counter() - start
            line = describe(result, key, seconds=seconds, threshold=threshold, seed=seed)
            if file is not None:
                file.add(line)
            lines[key] = line
        else:
            lines[key] = old_lines[key]
    return lines


def report_answers(
    pack: Pack,
    lines: Mapping[Key, AnswerLine],
    *,
    settings: Mapping[str, Any] | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> AnswerReport:
    """Measure answers; scopes are those that every question has a line in.

    Raises:
        ValueError: no scope has a line of every question.
    """
    scopes = [s for s in SCOPES if all((question.id, s) in lines for question in pack.questions)]
    if not scopes:
        absent = next(q.id for q in pack.questions for scope in SCOPES if (q.id, scope) not in lines)
        raise ValueError(
            f"answers must be of every question of {pack.path}, got not one scope with all: "
            f"{absent!r} has none. Continue the run, or choose the questions that it has."
        )
    by_scope = {scope: [lines[question.id, scope] for question in pack.questions] for scope in scopes}
    measures = {
        scope: [measure(q, line) for q, line in zip(pack.questions, answers, strict=True)]
        for scope, answers in by_scope.items()
    }
    bootstrap = {"samples": samples, "seed": seed}
    digests = [question_digest(question) for question in pack.questions]
    return AnswerReport(
        pack=pack.path.resolve().name,
        settings={**(settings or {}), **bootstrap},
        questions={scope: len(pack.questions) for scope in scopes},
        scopes={scope: _groups(pack.questions, rows, samples, seed) for scope, rows in measures.items()},
        abstention={
            scope: _abstention(pack.questions, by_scope[scope], measures[scope], bootstrap)
            for scope in scopes
        },
        costs={scope: _cost(answers) for scope, answers in by_scope.items()},
        per_question=[
            {"id": line.id, "digest": digest, "scope": scope, "confidence": line.confidence, **row}
            for scope in scopes
            for digest, line, row in zip(digests, by_scope[scope], measures[scope], strict=True)
        ],
    )


def stated_confidence(line: AnswerLine) -> float:
    """Return the stated confidence; `NEVER` for a question without an answer at any threshold."""
    return NEVER if line.abstained or line.confidence is None else line.confidence


def _groups(
    questions: Sequence[Question], rows: Sequence[Measures], samples: int, seed: int
) -> dict[str, dict[str, CountedFigure]]:
    values = np.array([[row[name] for name in NAMES] for row in rows], dtype=float)  # None becomes NaN
    return {
        name: _figures(values[members], samples, seed)
        for name, members in (*groups(questions), *answer_format_groups(questions))
    }


def _figures(
    values: np.ndarray[Any, np.dtype[np.float64]], samples: int, seed: int
) -> dict[str, CountedFigure]:
    """Summarise ``(questions, measures)``; measures of the same questions share their resamples."""
    applies = ~np.isnan(values)
    figures: dict[str, CountedFigure] = {}
    for mask in np.unique(applies.T, axis=0):
        columns = np.flatnonzero((mask == applies.T).all(axis=1))
        if not mask.any():
            continue
        rows = values[np.ix_(np.flatnonzero(mask), columns)]
        low, high = bootstrap_interval(rows, samples=samples, seed=seed)
        for position, column in enumerate(columns.tolist()):
            mean = float(rows[:, position].mean())
            figures[NAMES[column]] = CountedFigure(
                mean, float(low[position]), float(high[position]), len(rows)
            )
    return {name: figures[name] for name in NAMES if name in figures}


def _abstention(
    questions: Sequence[Question],
    lines: Sequence[AnswerLine],
    rows: Sequence[Measures],
    bootstrap: Mapping[str, int],
) -> dict[str, Abstention]:
    """Measure the stated confidence of all questions and of every source that has both kinds."""
    if all(line.confidence is None for line in lines):
        return {}
    abstentions = {}
    for name, members in groups(questions):
        kinds = {questions[i].answerable for i in members}
        if len(kinds) == 2 and (name == "all" or name.startswith("source: ")):
            abstentions[name] = _abstention_of(
                [questions[i] for i in members],
                [lines[i] for i in members],
                [rows[i] for i in members],
                bootstrap,
            )
    return abstentions


def _abstention_of(
    questions: Sequence[Question],
    lines: Sequence[AnswerLine],
    rows: Sequence[Measures],
    bootstrap: Mapping[str, int],
) -> Abstention:
    confidences = [stated_confidence(line) for line in lines]
    positive = [c for c, question in zip(confidences, questions, strict=True) if question.answerable]
    negative = [c for c, question in zip(confidences, questions, strict=True) if not question.answerable]
    pages = [bool(row["first_page"]) for row in rows if row["first_page"] is not None]
    points = curve(positive, negative, pages)
    thresholds = {line.threshold for line in lines} - {None}
    default = next(iter(thresholds)) if len(thresholds) == 1 else None
    return Abstention(
        len(positive),
        len(negative),
        auc_figure(positive, negative, **bootstrap),
        _right_auc(questions, confidences, rows, bootstrap),
        points,
        None if default is None else point_at(default, positive, negative, pages),
        max(points, key=lambda point: point.balance),
    )


def _right_auc(
    questions: Sequence[Question],
    confidences: Sequence[float],
    rows: Sequence[Measures],
    bootstrap: Mapping[str, int],
) -> Figure | None:
    right, wrong = [], []
    for question, confidence, row in zip(questions, confidences, rows, strict=True):
        if row["first_quote"]:
            right.append(confidence)
        elif row["first_quote"] is not None or not question.answerable:
            wrong.append(confidence)
    return auc_figure(right, wrong, **bootstrap) if right and wrong else None


def _cost(lines: Sequence[AnswerLine]) -> Cost:
    seconds = [line.seconds.get("total", 0.0) for line in lines]
    return Cost(
        float(np.median(seconds)),
        float(np.quantile(seconds, 0.95)),
        float(sum(seconds)),
        float(np.mean([line.prompt_tokens for line in lines])),
        float(np.mean([line.completion_tokens for line in lines])),
    )
