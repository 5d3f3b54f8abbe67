"""``mmrag evaluate``: index a pack's documents and measure search, and answers where wanted."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from mmrag.cli.arguments import budget
from mmrag.cli.command import EXIT_OK
from mmrag.cli.common import (
    AnswererOptions,
    ChannelOptions,
    EmbedderOptions,
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
    from mmrag.evaluation import Pack, PageKey, Report
    from mmrag.pipeline import DocumentQA

_measure_option = partial(Option, rich_help_panel="Measuring")


@dataclass(frozen=True)
class MeasureOptions:
    """What is measured and where the results go."""

    index: Annotated[
        Path | None,
        _measure_option("--index", metavar="DIR", help="Keep the pack's index here, or use it again."),
    ] = None
    budget: Annotated[
        Budget | None,
        _measure_option("--budget", parser=budget, metavar="Q,D", help="Vectors used, like 16,64."),
    ] = None
    exact: Annotated[bool, _measure_option("--exact", help="Score every page, no first stage.")] = False
    answers: Annotated[bool, _measure_option("--answers", help="Also answer every question and count.")] = (
        False
    )
    target: Annotated[
        Path | None, _measure_option("--to", metavar="FILE", help="Write the report as JSON.")
    ] = None
    plot: Annotated[
        Path | None, _measure_option("--plot", metavar="FILE", help="Write a plot (needs the extra 'plot').")
    ] = None


class PackSearch:
    """Searches of a pack's questions in its index, and what reranking them cost.

    Attributes:
        cost: of reranking, summed over all searches so far.
    """

    def __init__(self, qa: DocumentQA, options: MeasureOptions, channels: tuple[str, ...]) -> None:
        self._qa = qa
        self._options = options
        self._channels = channels
        self.cost = Usage()

    def search(self, question: str, files: tuple[str, ...] | None) -> list[PageKey]:
        """Return page keys, best first, reranked if the index was opened with a reranker."""
        return self._keys(question, files, rerank=None)

    def search_plain(self, question: str, files: tuple[str, ...] | None) -> list[PageKey]:
        """Return page keys, best first, without reranking."""
        return self._keys(question, files, rerank=False)

    def answer(self, question: str) -> Answer:
        """Return the answer, without pictures."""
        options = self._options
        return self._qa.ask(question, budget=options.budget, exact=options.exact, evidence=False)

    def _keys(self, question: str, files: tuple[str, ...] | None, *, rerank: bool | None) -> list[PageKey]:
        from mmrag.evaluation.report import DEEPEST

        ranking = self._qa.search(
            question,
            k=DEEPEST,
            budget=self._options.budget,
            filter=None if files is None else {"file_name": {"$in": list(files)}},
            exact=self._options.exact,
            channels=self._channels,
            rerank=rerank,
        )
        self.cost += ranking.usage
        return [(c.page.source.name, c.page.number) for c in ranking if c.page is not None]


def evaluate(
    output: OutputOptions,
    embedder: EmbedderOptions,
    reader: ReaderOptions,
    channels: ChannelOptions,
    rerank: RerankOptions,
    answerer: AnswererOptions,
    options: MeasureOptions,
    pack: Annotated[
        Path | None, Argument(metavar="DIR", help="Folder of the pack (the sample pack).")
    ] = None,
) -> int:
    """Measure retrieval on a pack.

    With ``--index`` the pack's index is kept, and resumed after an interruption; without, it is made in a
    temporary folder. With a reranker every question is also searched without it, and the gain is printed.
    """
    from mmrag.evaluation import load_pack
    from mmrag.pipeline import DocumentQA

    questions = load_pack(pack or sample_pack())
    with contextlib.ExitStack() as stack:
        path = options.index or Path(stack.enter_context(scratch_folder()))
        qa = DocumentQA.open(
            path,
            embedder=embedder.load_embedder(),
            reader=reader.reader_settings(),
            password=reader.password,
            answerer=answerer.load_answerer(),
            **rerank.arguments(path),
        )
        stack.enter_context(qa)
        _add(qa, questions)
        report, data, text = _measure(questions, PackSearch(qa, options, channels.names()), options, qa)
    _write(report, data, options)
    output.write(data, text, indent=None)
    return EXIT_OK


def _write(report: Report, data: dict[str, Any], options: MeasureOptions) -> None:
    """Write the report and its plot, where wanted."""
    if options.target:
        text = json.dumps(data, indent=1, ensure_ascii=False)
        options.target.write_text(text + "\n", encoding="utf-8")
    if options.plot:
        from mmrag.evaluation import save_plot

        save_plot(report, options.plot)


def _add(qa: DocumentQA, pack: Pack) -> None:
    with Progress() as progress:
        report = qa.add(pack.documents_path, progress=progress.show_add)
    complain(str(report))


def _measure(
    pack: Pack, searches: PackSearch, options: MeasureOptions, qa: DocumentQA
) -> tuple[Report, dict[str, Any], str]:
    """Return the report, the report as data and as text; with a reranker, its gain in both."""
    from mmrag.evaluation import evaluate

    live = sys.stderr.isatty()
    answer = searches.answer if options.answers else None
    report = evaluate(pack, searches.search, answer=answer, show_progress=live)
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
