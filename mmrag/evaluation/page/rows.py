"""What a report says of each question, gathered: ranks, scores by stage, answers, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmrag.evaluation.answer_lines import AnswerLine, Key
from mmrag.evaluation.answer_measures import Measures
from mmrag.evaluation.answers import comparable
from mmrag.evaluation.figures import SCOPES
from mmrag.evaluation.pack import Pack, PageKey, Question

METRIC = "ndcg@5"
RANK_CLASSES = (("first", 1), ("among the first 3", 3), ("among the first 5", 5), ("among the first 10", 10))
"""Names of the ranks of a right page, and the last rank of each."""
NOT_FOUND = "not among the first 10"
ANSWER_CLASSES = ("right", "rightly silent", "not compared", "silent", "wrong", "answered without grounds")
"""What an answer can be, best first; the last of a question that the documents do not answer."""

StageScores = Mapping[Key, Sequence[Mapping[str, float]]]
"""Scores by stage of each page of a ranking, by question's id and scope."""


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """A question's search in one scope.

    Attributes:
        figures: metrics.
        ranking: page keys, best first.
        scores: by stage, of each page of the ranking; empty if not known.
        rank: of the first evidence page, from 1; None if it is not in the ranking.
        plain_rank: the same without reranking; None if not known or not found.
        gain: of nDCG@5 over an earlier report; None without one.
    """

    figures: Mapping[str, float]
    ranking: Sequence[PageKey]
    scores: Sequence[Mapping[str, float]]
    rank: int | None
    plain_rank: int | None = None
    gain: float | None = None

    @property
    def rank_class(self) -> str:
        """Return the name of the rank, of `RANK_CLASSES`, or `NOT_FOUND`."""
        if self.rank is not None:
            for name, last in RANK_CLASSES:
                if self.rank <= last:
                    return name
        return NOT_FOUND


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A question's answer in one scope.

    Attributes:
        line: what was answered.
        measures: by name.
        kind: of `ANSWER_CLASSES`.
    """

    line: AnswerLine
    measures: Mapping[str, Any]
    kind: str


@dataclass(frozen=True, slots=True)
class Row:
    """Everything that is known of a question.

    Attributes:
        question: of the pack.
        searches: by scope; empty if it has no answer or no search was measured.
        answers: by scope; empty if no answers were measured.
    """

    question: Question
    searches: Mapping[str, ScopeRow] = field(default_factory=dict)
    answers: Mapping[str, AnswerRow] = field(default_factory=dict)

    @property
    def scope(self) -> str:
        """Return the scope that failures are told of: the whole pack, if it was measured."""
        return next((scope for scope in SCOPES if scope in self.searches or scope in self.answers), SCOPES[0])

    @property
    def search(self) -> ScopeRow | None:
        """Return the search in `scope`."""
        return self.searches.get(self.scope)

    @property
    def answer(self) -> AnswerRow | None:
        """Return the answer in `scope`."""
        return self.answers.get(self.scope)

    @property
    def cause(self) -> str:
        """Return what came first in `scope`: ``"right"``, ``"page"`` of the right document, ``"document"``.

        ``""`` where nothing was searched or nothing was found.
        """
        search = self.search
        if search is None or not search.ranking:
            return ""
        if search.rank == 1:
            return "right"
        return "page" if search.ranking[0][0] in self.question.docs else "document"

    @property
    def is_failure(self) -> bool:
        """Whether the right page did not come first, or the answer is not right."""
        search, answer = self.search, self.answer
        return (search is not None and search.rank != 1) or (
            answer is not None and ANSWER_CLASSES.index(answer.kind) > ANSWER_CLASSES.index("not compared")
        )

    @property
    def severity(self) -> tuple[int, int, float]:
        """Return a sort key: the largest is what one looks at first."""
        search, answer = self.search, self.answer
        rank = 0 if search is None else (search.rank or 99)
        kind = 0 if answer is None else ANSWER_CLASSES.index(answer.kind)
        return (int(self.is_failure), rank, kind)


def gather_rows(
    pack: Pack,
    data: Mapping[str, Any],
    *,
    lines: Mapping[Key, AnswerLine] | None = None,
    scores: StageScores | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Gather a row for every question, in the pack's order.

    Args:
        pack: whose questions were measured.
        data: the report as ``mmrag evaluate --to`` writes it.
        lines: answers; without them the answers of the report are left out.
        scores: by stage.
        earlier: an earlier report of the same questions.
    """
    now, before = _by_id(data), _by_id(earlier or {})
    plain = _by_id(data.get("without_reranking") or {})
    measures = {(row["id"], row["scope"]): row for row in (data.get("answers") or {}).get("per_question", ())}
    rows = []
    for question in pack.questions:
        searches = {
            scope: _scope_row(question, scope, now[question.id], plain, before, scores or {})
            for scope in SCOPES
            if question.id in now
        }
        answers = {
            scope: AnswerRow(
                lines[question.id, scope],
                measures[question.id, scope],
                answer_kind(question, lines[question.id, scope], measures[question.id, scope]),
            )
            for scope in SCOPES
            if lines and (question.id, scope) in lines and (question.id, scope) in measures
        }
        rows.append(Row(question, searches, answers))
    return rows


def answer_kind(question: Question, line: AnswerLine, measures: Measures) -> str:
    """Return what an answer is, of `ANSWER_CLASSES`, as its user sees it."""
    if not question.answerable:
        return "rightly silent" if line.is_silent else "answered without grounds"
    if line.is_silent:
        return "silent"
    if not comparable(question):
        return "not compared"
    return "wrong" if measures["false_answer"] else "right"


def rank_of(ranking: Sequence[PageKey], question: Question) -> int | None:
    """Return the rank of the first evidence page, from 1; None if there is none."""
    return next((rank for rank, key in enumerate(ranking, 1) if is_right(question, key)), None)


def is_right(question: Question, key: PageKey) -> bool:
    """Check whether a page is evidence, or of a file that is, where evidence is files."""
    return question.key(key) in question.relevant


def _by_id(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {row["id"]: row for row in report.get("per_question", ())}


def _ranking(row: Mapping[str, Any] | None, scope: str) -> list[PageKey]:
    rankings = {} if row is None else row.get("rankings", {})
    return [(name, page) for name, page in rankings.get(scope, ())]


def _scope_row(
    question: Question,
    scope: str,
    row: Mapping[str, Any],
    plain: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Mapping[str, Any]],
    scores: StageScores,
) -> ScopeRow:
    ranking, figures = _ranking(row, scope), row[scope]
    earlier = before.get(question.id, {}).get(scope, {}).get(METRIC)
    return ScopeRow(
        figures,
        ranking,
        scores.get((question.id, scope), ()),
        rank_of(ranking, question),
        rank_of(_ranking(plain.get(question.id), scope), question),
        None if earlier is None else figures[METRIC] - earlier,
    )
