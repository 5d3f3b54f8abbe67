"""Rankings of the same questions at many settings, as one table: what each part of a search gives.

A setting is how pages were read (*input*), how many vectors were used (*budget*), whether words (BM25) were
fused in, and what judged the first pages again. The way is::

    collect(pack, search) once an index -> rankings by setting -> table(pack, rankings) -> Table

A row is measured by `mmrag.evaluation.report.evaluate` on the kept rankings, so that a figure here is the
figure of ``mmrag evaluate`` at that setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from tqdm import tqdm

from mmrag.evaluation.compare import METRIC, Gain, compare
from mmrag.evaluation.figures import SCOPES
from mmrag.evaluation.pack import Pack, PageKey
from mmrag.evaluation.report import Group, Report, evaluate
from mmrag.types import Budget

INPUTS = ("text", "pixels", "both")
"""How an embedder may read a page: its words, its picture, or both."""

BUDGETS = (Budget(1, 1), Budget(2, 4), Budget(4, 8), Budget(8, 16), Budget(16, 64))

SHOWN = {"all": "all", "human-written": "human", "image-only evidence": "image"}
"""Groups of the printed table and their headings; `Table.to_dict` has every group."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What was searched with.

    Attributes:
        input: one of `INPUTS`; ``""`` where words alone searched.
        budget: vectors used; None where words alone searched.
        words: whether BM25 searched.
        rerank: what judged the first pages again; ``""``: nothing did.
    """

    input: str = ""
    budget: Budget | None = None
    words: bool = False
    rerank: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        budget = None if self.budget is None else [self.budget.query, self.budget.document]
        return {"input": self.input, "budget": budget, "bm25": self.words, "rerank": self.rerank}


WORDS_ALONE = Setting(words=True)

Request: TypeAlias = tuple[str, "tuple[str, ...] | None"]
"""A question and the file names it is limited to; None: the whole pack."""

Rankings: TypeAlias = dict[Request, list[PageKey]]

SearchAll: TypeAlias = Callable[[str, "tuple[str, ...] | None"], Mapping[Setting, Sequence[PageKey]]]
"""``search(question, file names or None)`` gives page keys, best first, at every setting."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured at one setting."""

    setting: Setting
    report: Report


@dataclass(frozen=True, slots=True)
class Step:
    """What the largest budget gains over the smallest, all else equal: paired differences of nDCG@5.

    Attributes:
        setting: with the largest budget.
        smallest: the budget that it is compared to.
        gains: by scope and group; see `mmrag.evaluation.compare`.
    """

    setting: Setting
    smallest: Budget
    gains: tuple[Gain, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Every setting that was measured.

    Attributes:
        pack: the pack's folder name.
        rows: in the order of the settings given.
        steps: one for each input, with and without words, with and without reranking, where there is more
            than one budget.
        notes: what readers of the table must know, one line each.
    """

    pack: str
    rows: tuple[Row, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: all groups with counts and intervals, and nDCG@5 of every question."""
        first = self.rows[0].report
        return {
            "pack": self.pack,
            "questions": first.questions,
            "answerable": first.answerable,
            "settings": dict(first.settings),
            "notes": list(self.notes),
            "ids": [one["id"] for one in first.per_question],
            "rows": [_row_data(row) for row in self.rows],
            "steps": [
                step.setting.to_dict()
                | {
                    "over": [step.smallest.query, step.smallest.document],
                    "gains": [gain.to_dict() for gain in step.gains],
                }
                for step in self.steps
            ],
        }

    def text(self) -> str:
        """The table as lines of at most 110 characters for people, without a final line break."""
        return "\n".join(_lines(self))

    __str__ = text


def clipped(budgets: Sequence[Budget], most: Budget) -> tuple[Budget, ...]:
    """Budgets that differ for an embedder that gives at most `most` rows, in the order given."""
    cut = (Budget(min(one.query, most.query), min(one.document, most.document)) for one in budgets)
    return tuple(dict.fromkeys(cut))


def collect(pack: Pack, search: SearchAll, *, show_progress: bool = False) -> dict[Setting, Rankings]:
    """Ask every answerable question, of the whole pack and within its files, at every setting at once."""
    found: dict[Setting, Rankings] = {}
    scored = [question for question in pack.questions if question.answerable]
    for question in tqdm(scored, "searching", unit="question", disable=not show_progress):
        for within in (None, question.docs):
            for setting, ranked in search(question.question, within).items():
                found.setdefault(setting, {})[question.question, within] = list(ranked)
    return found


def table(
    pack: Pack,
    rankings: Mapping[Setting, Rankings],
    *,
    samples: int = 2000,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> Table:
    """Measure collected rankings.

    Args:
        pack: that they were collected on.
        rankings: of `collect`; of several inputs merged.
        samples: bootstrap resamples.
        seed: of the bootstrap; the same resamples of questions for every row.
        notes: printed below the table.

    Raises:
        ValueError: there is no ranking at all, one of a question is missing, or one holds a page twice.
    """
    if not rankings:
        raise ValueError("a table needs rankings of at least one setting, got none.")
    rows = []
    for setting, ranked in rankings.items():

        def look_up(
            question: str, within: tuple[str, ...] | None, known: Rankings = ranked, at: Setting = setting
        ) -> list[PageKey]:
            if (question, within) not in known:
                raise ValueError(f"every question needs a ranking at {at}, got none of {question!r}.")
            return known[question, within]

        rows.append(Row(setting, evaluate(pack, look_up, samples=samples, seed=seed)))
    return Table(rows[0].report.pack, tuple(rows), tuple(_steps(pack, rows)), tuple(notes))


def _steps(pack: Pack, rows: Sequence[Row]) -> Iterator[Step]:
    """The last budget of each kind of row over its first."""
    kinds: dict[Setting, list[tuple[Budget, Row]]] = {}
    for row in rows:
        if row.setting.budget is not None:
            kinds.setdefault(replace(row.setting, budget=None), []).append((row.setting.budget, row))
    for members in kinds.values():
        members.sort(key=lambda member: (member[0].query, member[0].document))
        (smallest, before), (largest, after) = members[0], members[-1]
        if smallest != largest:
            yield Step(after.setting, smallest, tuple(compare(pack, before.report, after.report)))


def _row_data(row: Row) -> dict[str, Any]:
    report = row.report
    each = {scope: [one[scope][METRIC] for one in report.per_question] for scope in SCOPES}
    return row.setting.to_dict() | {"scopes": report.to_dict()["scopes"], "each_" + METRIC: each}


# ---- as text -----------------------------------------------------------------------------------------


def _lines(given: Table) -> Iterator[str]:
    first = given.rows[0].report
    reranks = list(dict.fromkeys(row.setting.rerank for row in given.rows))
    cells = {row.setting: row.report for row in given.rows}
    counts = {name: group.count for name, group in first.scopes["pack"].items()}
    yield (
        f"{given.pack}: {first.questions} questions, {first.answerable} answerable "
        f"({counts.get('human-written', 0)} human-written, {counts.get('image-only evidence', 0)} with "
        "evidence on image-only pages)"
    )
    yield "nDCG@5, all questions with 95 % bootstrap interval"
    for scope in SCOPES:
        yield ""
        title = "whole pack" if scope == "pack" else "within document"
        yield f"{title:<23}" + "  ".join(f"{_judge(name):<35}" for name in reranks).rstrip()
        heading = f"{'all':<21}{'human':>7}{'image':>7}"
        yield f"{'input':<8}{'budget':<8}{'BM25':<7}" + "  ".join([heading] * len(reranks))
        for plain in dict.fromkeys(replace(row.setting, rerank="") for row in given.rows):
            reports = (cells.get(replace(plain, rerank=name)) for name in reranks)
            yield _label(plain) + "  ".join(_cell(report, scope) for report in reports).rstrip()
    if given.steps:
        yield ""
        yield "gain of the largest budget over the smallest: paired differences, all questions"
        yield f"{'input':<8}{'BM25':<7}{'rerank':<9}{'budgets':<18}{'whole pack':<27}within document"
        for step in given.steps:
            yield _step_line(step)
    if given.notes:
        yield ""
        yield from given.notes


def _judge(name: str) -> str:
    return f"{name} rerank" if name else "without reranking"


def _label(setting: Setting) -> str:
    if setting.budget is None:
        return f"{'-':<8}{'-':<8}{'alone':<7}"
    return f"{setting.input:<8}{_short(setting.budget):<8}{'fused' if setting.words else '-':<7}"


def _short(budget: Budget) -> str:
    return f"{budget.query},{budget.document}"


def _cell(report: Report | None, scope: str) -> str:
    """Means of the shown groups, the first with its interval: 35 characters."""
    of: Mapping[str, Group] = {} if report is None else report.scopes[scope]
    parts = []
    for name in SHOWN:
        figure = of[name].figures[METRIC] if name in of else None
        if name == "all":
            shown = "-" if figure is None else f"{figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
            parts.append(f"{shown:<21}")
        else:
            parts.append(f"{'-' if figure is None else format(figure.mean, '.3f'):>7}")
    return "".join(parts)


def _step_line(step: Step) -> str:
    setting = step.setting
    assert setting.budget is not None  # _steps takes no other
    budgets = f"{_short(setting.budget)} over {_short(step.smallest)}"
    gains = {gain.scope: gain.gain for gain in step.gains if gain.group == "all"}
    shown = [f"{g.mean:+.3f} [{g.low:+.3f}, {g.high:+.3f}]" for g in (gains[scope] for scope in SCOPES)]
    words, rerank = "fused" if setting.words else "-", setting.rerank or "-"
    return f"{setting.input:<8}{words:<7}{rerank:<9}{budgets:<18}{shown[0]:<27}{shown[1]}"
