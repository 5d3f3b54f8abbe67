"""Files of answers side by side: what each part of an answerer gives, on several packs at once.

    mmrag evaluate PACK --answers-only --answers-to plain/dev.jsonl       # for every pack and every variant
    python benchmarks/answers.py --pack PACK plain/dev.jsonl rows/dev.jsonl \\
        --pack forms=OUT/forms plain/forms.jsonl rows/forms.jsonl --names plain rows

The first file of a pack is what the others are compared with: a cell has the mean, the gain over it, and the
95 % bootstrap interval of the paired differences (``*`` where that is on one side of zero). Compared are the
questions that all files of a pack have, per scope. A gain that is certain on one pack and nowhere above zero
elsewhere is marked "fits NAME": that is what fitting looks like. With one file a pack, means and their
intervals.

``--measures`` chooses rows (names as in ``mmrag.evaluation.answer_measures.NAMES``, and ``auc``), ``--group``
a group of questions as the report names it ("kind: cell", "source: FinQA ..."). ``--report`` prints every
file's whole report instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmrag.evaluation import AnswerLine, Pack, Question, load_pack, read_answers, report_answers
from mmrag.evaluation.answer_measures import NAMES, Measures, measure
from mmrag.evaluation.answer_run import stated_confidence
from mmrag.evaluation.figures import SCOPE_TITLES, SCOPES, answer_format_groups, groups
from mmrag.evaluation.metrics import bootstrap_interval
from mmrag.evaluation.pack import select_questions

MEASURES = (
    "first_quote",
    "three_quotes",
    "text",
    "number_text",
    "first_page",
    "answered",
    "silent",
    "auc",
    "answered_first_page",
    "answered_page",
    "false_answer",
    "words_recall@0.5",
    "area_recall@0.25",
    "area_recall@0.5",
    "area_right_pages_coverage",
    "value_words_inside",
    "joint_words",
    "joint_area",
)
SAMPLES = 2000


@dataclass(frozen=True)
class Cell:
    """A measure of a run on a pack, and its gain over the first run; Nones where it does not apply."""

    count: int
    mean: float
    gain: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Runs:
    """Files of answers to the same pack.

    Attributes:
        name: of the pack in the table.
        pack: with the questions that all files have.
        lines: of every file, by question and scope.
    """

    name: str
    pack: Pack
    lines: Sequence[Mapping[tuple[str, str], AnswerLine]]

    def questions(self, scope: str, group: str) -> list[Question]:
        every = [q for q in self.pack.questions if all((q.id, scope) in lines for lines in self.lines)]
        members = dict((*groups(every), *answer_format_groups(every)))
        return [every[position] for position in members.get(group, [])]


def load_runs(pack: str, files: Sequence[str]) -> Runs:
    """Read a pack, named as in ``NAME=DIR`` or by its folder, and its files."""
    name, _, folder = pack.rpartition("=")
    loaded = load_pack(folder)
    lines = [read_answers(file)[1] for file in files]
    ids = set.intersection(*({name for name, _ in keys} for keys in lines))
    selection = sorted(ids & {question.id for question in loaded.questions})
    return Runs(name or loaded.path.resolve().name, select_questions(loaded, selection), lines)


def cells(runs: Runs, scope: str, group: str, names: Sequence[str]) -> dict[str, list[Cell | None]]:
    """Return a cell for every measure and run."""
    questions = runs.questions(scope, group)
    answers = [[lines[question.id, scope] for question in questions] for lines in runs.lines]
    rows = [[measure(q, line) for q, line in zip(questions, run, strict=True)] for run in answers]
    table: dict[str, list[Cell | None]] = {}
    for name in names:
        if name == "auc":
            table[name] = [auc_cell(questions, answers[0], run) for run in answers]
        else:
            table[name] = [paired_cell(rows[0], run, name) for run in rows]
    return table


def paired_cell(before: Sequence[Measures], after: Sequence[Measures], name: str) -> Cell | None:
    """Compare a measure where it applies to both; of the first run itself, the interval is the mean's."""
    pairs = [(old[name], new[name]) for old, new in zip(before, after, strict=True)]
    pairs = [pair for pair in pairs if None not in pair]
    if not pairs:
        return None
    old, new = np.array(pairs, dtype=float).T
    values = new if before is after else new - old
    low, high = bootstrap_interval(values[:, None], samples=SAMPLES)
    return Cell(len(pairs), float(new.mean()), float(values.mean()), float(low[0]), float(high[0]))


def auc_cell(
    questions: Sequence[Question], before: Sequence[AnswerLine], after: Sequence[AnswerLine]
) -> Cell | None:
    """Compare AUCs on the same resamples, answerable and unanswerable questions drawn apart."""
    kinds = np.array([question.answerable for question in questions])
    if not kinds.any() or kinds.all() or any(line.confidence is None for line in (*before, *after)):
        return None
    wins = [
        (yes[:, None] > no[None, :]) + 0.5 * (yes[:, None] == no[None, :])
        for yes, no in (split(run, kinds) for run in (before, after))
    ]
    values = wins[1] if before is after else wins[1] - wins[0]
    rng = np.random.default_rng(0)
    rows, columns = (rng.multinomial(n, np.full(n, 1 / n), size=SAMPLES) / n for n in values.shape)
    low, high = np.quantile(((rows @ values) * columns).sum(axis=1), (0.025, 0.975))
    return Cell(len(questions), float(wins[1].mean()), float(values.mean()), float(low), float(high))


def split(run: Sequence[AnswerLine], kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    confidences = np.array([stated_confidence(line) for line in run])
    return confidences[kinds], confidences[~kinds]


def fitted(gains: Mapping[str, Cell | None]) -> str:
    """Name the pack that alone gains: certain there, and nowhere else above zero."""
    known = {name: cell for name, cell in gains.items() if cell is not None}
    certain = [name for name, cell in known.items() if cell.low > 0]
    above = [name for name, cell in known.items() if cell.gain > 0]
    return certain[0] if len(known) > 1 and len(certain) == 1 and above == certain else ""


def table_lines(
    packs: Sequence[Runs], names: Sequence[str], group: str, measures: Sequence[str]
) -> Iterator[str]:
    for scope in SCOPES:
        tables = {runs.name: cells(runs, scope, group, measures) for runs in packs}
        if not any(cell for table in tables.values() for row in table.values() for cell in row):
            continue
        yield ""
        width = max(12, 2 + max(map(len, names)))
        head = f"{SCOPE_TITLES[scope] + ', ' + group:<{26 + width}}"
        yield head + "".join(f"{name:<32}" for name in tables)
        for name in measures:
            for position, run in enumerate(names):
                row = {pack: table[name][position] for pack, table in tables.items()}
                if any(row.values()):
                    head = f"{name if position == 0 else '':<26}{run:<{width}}"
                    note = fitted(row) if position else ""
                    texts = "".join(f"{cell_text(cell, is_first=not position):<32}" for cell in row.values())
                    yield f"{head}{texts}{'fits ' + note if note else ''}".rstrip()


def cell_text(cell: Cell | None, *, is_first: bool) -> str:
    if cell is None:
        return "-"
    if is_first:
        return f"{cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}] n {cell.count}"
    star = "*" if cell.is_certain else ""
    return f"{cell.mean:.3f} {cell.gain:+.3f} [{cell.low:+.3f}, {cell.high:+.3f}]{star}"


def report_text(runs: Runs) -> str:
    parts = []
    for lines in runs.lines:
        parts.append(str(report_answers(runs.pack, lines)))
    return "\n\n".join(parts)


def table_data(packs: Sequence[Runs], names: Sequence[str], group: str, measures: Sequence[str]) -> Any:
    return {
        runs.name: {
            scope: {
                name: dict(zip(names, ([None if c is None else asdict(c) for c in row]), strict=True))
                for name, row in cells(runs, scope, group, measures).items()
            }
            for scope in SCOPES
        }
        for runs in packs
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pack", nargs="+", action="append", required=True, metavar=("[NAME=]DIR", "FILE"))
    parser.add_argument("--names", nargs="+", help="of the runs; else the folders of the first pack's files")
    parser.add_argument("--group", default="all")
    parser.add_argument("--measures", nargs="+", default=MEASURES, choices=(*NAMES, "auc"), metavar="NAME")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write the table as JSON")
    options = parser.parse_args(arguments)
    counts = {len(files) for _, *files in options.pack}
    if counts == {0} or len(counts) > 1:
        parser.error(f"every --pack needs a folder and as many files as the others, got {options.pack}.")
    names = options.names or [str(Path(file).parent) for file in options.pack[0][1:]]
    if len(names) != counts.pop():
        parser.error(f"--names must name every run, got {names}.")
    packs = [load_runs(pack, files) for pack, *files in options.pack]
    if options.report:
        print("\n\n".join(report_text(runs) for runs in packs))
        return
    print("\n".join(table_lines(packs, names, options.group, options.measures)).lstrip("\n"))
    if options.to:
        options.to.write_text(json.dumps(table_data(packs, names, options.group, options.measures), indent=1))


if __name__ == "__main__":
    main()
