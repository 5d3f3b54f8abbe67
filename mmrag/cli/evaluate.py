"""``mmrag evaluate``: index a pack's documents and measure search, and answers where wanted."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from mmrag.cli.arguments import budget
from mmrag.cli.command import EXIT_OK
from mmrag.cli.common import (
    AnswererOptions,
    ChannelOptions,
    EmbedderOptions,
    IndexOptions,
    OutputOptions,
    ReaderOptions,
    RerankOptions,
    scratch_folder,
)
from mmrag.cli.data import usage_data
from mmrag.cli.progress import Progress
from mmrag.cli.texts import cost_text
from mmrag.cli.visible import complain
from mmrag.samples import sample_pack
from mmrag.types import Answer, Budget, Usage

if TYPE_CHECKING:
    from mmrag.answer import Answerer
    from mmrag.evaluation import AnswerLine, AnswerReport, Pack, PageKey, Report
    from mmrag.pipeline import DocumentQA

_measure_option = partial(Option, rich_help_panel="Measuring")
_answers_option = partial(Option, rich_help_panel="Measuring answers")


@dataclass(frozen=True)
class MeasureOptions:
    """What is measured and where the results go."""

    index: Annotated[
        str | None,
        _measure_option(
            "--index", metavar="DIR", help="Keep the pack's index here or at this address, or use it again."
        ),
    ] = None
    budget: Annotated[
        Budget | None,
        _measure_option("--budget", parser=budget, metavar="Q,D", help="Vectors used, like 16,64."),
    ] = None
    exact: Annotated[bool, _measure_option("--exact", help="Score every page, no first stage.")] = False
    questions: Annotated[
        Path | None,
        _measure_option("--questions", metavar="FILE", help="Only questions with these ids, one a line."),
    ] = None
    target: Annotated[
        Path | None, _measure_option("--to", metavar="FILE", help="Write the report as JSON.")
    ] = None
    against: Annotated[
        Path | None,
        _measure_option(
            "--against",
            metavar="FILE",
            help="Compare with this report of --to: is the difference real?",
        ),
    ] = None
    html: Annotated[
        Path | None,
        _measure_option(
            "--html", metavar="FILE", help="Write a page to see why: plots, questions, pages of failures."
        ),
    ] = None
    plot: Annotated[
        Path | None, _measure_option("--plot", metavar="FILE", help="Write a plot (needs the extra 'plot').")
    ] = None


@dataclass(frozen=True)
class AnswerMeasureOptions:
    """Whether and how answers are measured."""

    answers: Annotated[
        bool, _answers_option("--answers", help="Also answer every question, and measure the answers.")
    ] = False
    answers_only: Annotated[
        bool, _answers_option("--answers-only", help="Measure answers and no search.")
    ] = False
    answers_to: Annotated[
        Path | None,
        _answers_option(
            "--answers-to",
            metavar="FILE",
            help="Keep every answer here as it comes, a line of JSON each; a broken-off run goes on.",
        ),
    ] = None
    answer_scope: Annotated[
        Literal["both", "pack", "document"],
        _answers_option(
            "--answer-scope", help="Answer from the whole pack, from the question's documents, or both."
        ),
    ] = "both"
    k: Annotated[int, _answers_option("--k", min=1, metavar="N", help="Pages read for an answer.")] = 5

    @property
    def is_wanted(self) -> bool:
        """Whether answers are measured at all."""
        return self.answers or self.answers_only or self.answers_to is not None

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the scopes' names, as `mmrag.evaluation` has them."""
        return ("pack", "document") if self.answer_scope == "both" else (self.answer_scope,)


class PackSearch:
    """Searches of a pack's questions in its index, and what reranking them cost.

    Attributes:
        cost: of reranking, summed over all searches so far.
        scores: by stage, of each page found, by question's words and files; reranked if the index is.
    """

    def __init__(self, qa: DocumentQA, options: MeasureOptions, channels: tuple[str, ...]) -> None:
        self._qa = qa
        self._options = options
        self._channels = channels
        self.cost = Usage()
        self.scores: dict[tuple[str, tuple[str, ...] | None], list[Mapping[str, float]]] = {}

    def search(self, question: str, files: tuple[str, ...] | None) -> list[PageKey]:
        """Return page keys, best first, reranked if the index was opened with a reranker."""
        return self._keys(question, files, rerank=None)

    def search_plain(self, question: str, files: tuple[str, ...] | None) -> list[PageKey]:
        """Return page keys, best first, without reranking."""
        return self._keys(question, files, rerank=False)

    def _keys(self, question: str, files: tuple[str, ...] | None, *, rerank: bool | None) -> list[PageKey]:
        from mmrag.evaluation.report import DEEPEST

        ranking = self._qa.search(
            question,
            k=DEEPEST,
            budget=self._options.budget,
            filter=_file_filter(files),
            exact=self._options.exact,
            channels=self._channels,
            rerank=rerank,
        )
        self.cost += ranking.usage
        pages = [(candidate.page, candidate.scores) for candidate in ranking if candidate.page is not None]
        if rerank is None:
            self.scores[question, files] = [scores for _, scores in pages]
        return [(page.source.name, page.number) for page, _ in pages]

    def scores_of(self, pack: Pack) -> dict[tuple[str, str], list[Mapping[str, float]]]:
        """Return the scores of the pack's questions by id and scope."""
        return {
            (question.id, scope): self.scores[question.question, files]
            for question in pack.questions
            for scope, files in (("pack", None), ("document", question.docs))
            if (question.question, files) in self.scores
        }


class PackAnswers:
    """Answers to a pack's questions from its index, with the answerer's own abstention switched off.

    Attributes:
        threshold: the confidence from which the answerer answers as shipped; None where it has no such
            threshold and its abstention stands.
    """

    def __init__(self, qa: DocumentQA, options: MeasureOptions, k: int) -> None:
        self._qa = qa
        self._options = options
        self._k = k
        self._answerer, self.threshold = without_abstention(qa.answerer)

    def answer(self, question: str, files: tuple[str, ...] | None) -> Answer:
        """Return the answer, without pictures."""
        return self._qa.ask(
            question,
            k=self._k,
            budget=self._options.budget,
            exact=self._options.exact,
            filter=_file_filter(files),
            evidence=False,
            answerer=self._answerer,
        )


def without_abstention(answerer: Answerer) -> tuple[Answerer, float | None]:
    """Return the answerer as it would be without its threshold, and the threshold; None if it has none."""
    threshold = getattr(answerer, "threshold", None)
    if threshold is None:
        return answerer, None
    outspoken = copy.copy(answerer)
    outspoken.threshold = 0.0  # type: ignore[attr-defined]  # it has one: see above
    return outspoken, float(threshold)


def _file_filter(files: tuple[str, ...] | None) -> dict[str, Any] | None:
    return None if files is None else {"file_name": {"$in": list(files)}}


def evaluate(
    output: OutputOptions,
    embedder: EmbedderOptions,
    reader: ReaderOptions,
    channels: ChannelOptions,
    rerank: RerankOptions,
    answerer: AnswererOptions,
    options: MeasureOptions,
    answers: AnswerMeasureOptions,
    pack: Annotated[
        Path | None, Argument(metavar="DIR", help="Folder of the pack (the sample pack).")
    ] = None,
) -> int:
    """Measure retrieval and answers on a pack.

    With ``--index`` the pack's index is kept, and resumed after an interruption; without, it is made in a
    temporary folder. Unless ``--rerank none`` is given, every question is also searched without the reranker,
    and the gain is printed.
    """
    from mmrag.evaluation import compare_reports, load_pack
    from mmrag.pipeline import DocumentQA

    questions = load_pack(pack or sample_pack())
    if options.questions is not None:
        questions = select_questions_of(questions, options.questions)
    earlier = None if options.against is None else earlier_report(questions, options.against)
    with contextlib.ExitStack() as stack:
        location = IndexOptions(options.index or stack.enter_context(scratch_folder()))
        qa = DocumentQA.open(
            **location.arguments(),
            embedder=embedder.load_embedder(),
            reader=reader.reader_settings(),
            password=reader.password,
            answerer=answerer.load_answerer(),
            **rerank.arguments(location.folder),
        )
        stack.enter_context(qa)
        _add(qa, questions)
        data: dict[str, Any] = {}
        texts: list[str] = []
        lines: dict[tuple[str, str], AnswerLine] = {}
        searches = PackSearch(qa, options, channels.names())
        if not answers.answers_only:
            report, data, text = _measure(questions, searches, qa)
            data["rerank"] = rerank.settings()
            _plot(report, options)
            texts.append(text)
        if answers.is_wanted:
            settings = answer_settings(questions, options, answers, rerank, answerer)
            answer_report, lines = _measure_answers(
                questions, PackAnswers(qa, options, answers.k), answers, settings
            )
            data["answers"] = answer_report.to_dict()
            texts.append(answer_report.table())
        if earlier is not None and options.against is not None:
            comparison = compare_reports(questions, earlier, data, options.against.name)
            data["against"] = comparison.to_dict()
            texts.append(comparison.table())
        if options.target:
            content = json.dumps(data, indent=1, ensure_ascii=False)
            options.target.write_text(content + "\n", encoding="utf-8")
        if options.html:  # last: figures are kept whatever drawing pages meets
            from mmrag.cli.evaluate_page import write_page

            scores = searches.scores_of(questions)
            write_page(options.html, questions, data, qa, lines=lines, scores=scores, earlier=earlier)
    output.write(data, "\n\n".join(texts), indent=None)
    return EXIT_OK


def select_questions_of(pack: Pack, path: Path) -> Pack:
    """Return the pack with the questions whose ids a file has, one a line; ``#`` begins a comment."""
    from mmrag.evaluation import select_questions

    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return select_questions(pack, [line for line in lines if line])


def earlier_report(pack: Pack, path: Path) -> dict[str, Any]:
    """Read the report to compare with, before anything is measured.

    Raises as `mmrag.evaluation.against.read_report` and `check_same_questions` do.
    """
    from mmrag.evaluation.against import check_same_questions, read_report

    report = read_report(path)
    check_same_questions(pack, report, path.name)
    return report


def answer_settings(
    pack: Pack,
    options: MeasureOptions,
    answers: AnswerMeasureOptions,
    rerank: RerankOptions,
    answerer: AnswererOptions,
) -> dict[str, Any]:
    """Return what decides the answers of a run, for the head of its file; a server's address does not."""
    answerer_settings = {name: value for name, value in asdict(answerer).items() if name != "answerer_url"}
    return {
        "pack": pack.path.resolve().name,
        "k": answers.k,
        "budget": None if options.budget is None else [options.budget.query, options.budget.document],
        "exact": options.exact,
        "rerank": rerank.settings(),
        "answerer": "served" if answerer.answerer_url else "offline",
        **(answerer_settings if answerer.answerer_url else {}),
    }


def _measure_answers(
    pack: Pack, source: PackAnswers, options: AnswerMeasureOptions, settings: dict[str, Any]
) -> tuple[AnswerReport, dict[tuple[str, str], AnswerLine]]:
    from mmrag.evaluation import AnswerFile, ask_all, report_answers

    file = None if options.answers_to is None else AnswerFile(options.answers_to, settings)
    lines = ask_all(
        pack,
        source.answer,
        scopes=options.scopes,
        file=file,
        threshold=source.threshold,
        show_progress=sys.stderr.isatty(),
    )
    return report_answers(pack, lines, settings=settings), lines


def _plot(report: Report, options: MeasureOptions) -> None:
    if options.plot:
        from mmrag.evaluation import save_plot

        save_plot(report, options.plot)


def _add(qa: DocumentQA, pack: Pack) -> None:
    with Progress() as progress:
        report = qa.add(pack.inputs, progress=progress.show_add)
    complain(str(report))
    totals = {Path(name).name: file.total_pages for file in qa.status().documents for name in file.names}
    strays = missing_pages(pack, totals)
    if strays:
        complain(
            f"{len(strays)} questions name pages that their documents do not have, which nothing can find: "
            f"{'; '.join(strays[:5])}{'; ...' if len(strays) > 5 else ''}"
        )


def missing_pages(pack: Pack, totals: Mapping[str, int]) -> list[str]:
    """Return a sentence for each question that names a page after the last of its document.

    Args:
        pack: of the questions.
        totals: pages of each document that was read.
    """
    return [
        f"{question.id}: page {page + 1} of {name}, which has {totals[name]}"
        for question in pack.questions
        for name, page in sorted(question.evidence)
        if page >= totals.get(name, page + 1)
    ]


def _measure(pack: Pack, searches: PackSearch, qa: DocumentQA) -> tuple[Report, dict[str, Any], str]:
    """Return the report, the report as data and as text; with a reranker, its gain in both."""
    from mmrag.evaluation import evaluate

    live = sys.stderr.isatty()
    report = evaluate(pack, searches.search, show_progress=live)
    data, text = report.to_dict(), report.table()
    if qa.reranker is not None:
        plain = evaluate(pack, searches.search_plain, show_progress=live)
        gain_data, gain_text = _gain(plain, report, pack, searches.cost)
        data, text = {**data, **gain_data}, f"{text}\n\n{gain_text}"
    return report, data, text


def _gain(plain: Report, report: Report, pack: Pack, cost: Usage) -> tuple[dict[str, Any], str]:
    """Return the gain of reranking over `plain`, and its cost, as data and as text."""
    from mmrag.evaluation import compare, gain_table

    gains = compare(pack, plain, report)
    data = {
        "without_reranking": plain.to_dict(),
        "gains": [gain.to_dict() for gain in gains],
        "reranking": usage_data(cost),
    }
    costs = f"reranked {2 * report.answerable} rankings: {cost_text(cost)}"
    return data, f"without and with reranking\n{gain_table(gains)}\n\n{costs}"
