"""``mmrag mine``: questions with known pages in, training data out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from mmrag.cli.arguments import metadata_filter, number, ranks
from mmrag.cli.command import EXIT_OK, UsageError
from mmrag.cli.common import EmbedderOptions, IndexOptions, OutputOptions, RerankerOptions, open_to_read
from mmrag.cli.progress import Progress

if TYPE_CHECKING:
    from mmrag.pipeline import DocumentQA
    from mmrag.training.mining.report import MiningReport
    from mmrag.training.mining.rules import Rules

_rule_option = partial(Option, rich_help_panel="Negatives")
_target_option = partial(Option, rich_help_panel="Output")


@dataclass(frozen=True)
class QuestionOptions:
    """Whose negatives are mined, and among which pages."""

    queries: Annotated[
        Path,
        Option(
            "--queries",
            metavar="FILE",
            help="Pairs of mmrag train make-pairs, or JSON lines with id, question and positives: record "
            "ids, or {file, page from 0}.",
        ),
    ]
    filter: Annotated[
        dict | None,  # type: ignore[type-arg]  # Typer reads no dict[str, Any]
        Option("--filter", parser=metadata_filter, metavar="F", help="key=value, or a JSON filter."),
    ] = None


@dataclass(frozen=True)
class RuleOptions:
    """Which candidates become negatives; None leaves a rule to the reranker's scale."""

    ranks: Annotated[
        tuple | None,  # type: ignore[type-arg]  # made by the parser
        _rule_option(
            "--ranks", parser=ranks, metavar="A,B", help="Ranks of negatives (1,20; unjudged 50,100)."
        ),
    ] = None
    negatives: Annotated[
        int | None, _rule_option("--negatives", min=1, metavar="N", help="Most of a query (12; unjudged 2).")
    ] = None
    margin: Annotated[
        Any,
        _rule_option(
            "--margin", parser=number, metavar="M", help="Remove what scores s_pos - M or more (*)."
        ),
    ] = None
    ratio: Annotated[
        Any,
        _rule_option(
            "--ratio", parser=number, metavar="R", help="Remove what scores R * s_pos or more (off)."
        ),
    ] = None
    false_negative: Annotated[
        Any,
        _rule_option(
            "--false-negative", parser=number, metavar="S", help="Remove what scores S or more (*)."
        ),
    ] = None
    least_positive: Annotated[
        Any,
        _rule_option("--least-positive", parser=number, metavar="S", help="Set positives aside below S (*)."),
    ] = None
    positive_rank: Annotated[
        int | None,
        _rule_option(
            "--positive-rank",
            min=1,
            metavar="N",
            help="Set positives aside that are not found among the first N: with --least-positive the round "
            "trip of questions that a model wrote (off).",
        ),
    ] = None
    pick: Annotated[
        Literal["best", "random"] | None,
        _rule_option("--pick", help="Of what remains (best; unjudged random)."),
    ] = None
    seed: Annotated[int, _rule_option("--seed", metavar="N", help="Of --pick random.")] = 0

    def rules(self, mode: str) -> Rules:
        """Return the rules for a mode of reranking, with the options in place of its defaults."""
        from mmrag.training.mining.rules import rules_for

        values = {field.name: getattr(self, field.name) for field in fields(self)}
        options: dict[str, Any] = {
            name: None if value == "off" else value for name, value in values.items() if value is not None
        }
        return rules_for(mode, **options)


@dataclass(frozen=True)
class MinedOptions:
    """What is written of the mined data."""

    target: Annotated[Path, _target_option("--to", metavar="FILE", help="JSON lines.")]
    no_text: Annotated[bool, _target_option("--no-text", help="Leave the pages' texts out of the lines.")] = (
        False
    )
    pictures: Annotated[
        bool, _target_option("--pictures", help="Draw the pages and name the pictures' paths.")
    ] = False
    plot: Annotated[
        Path | None,
        _target_option(
            "--plot", metavar="FILE", help="Plot the spread of the scores (needs the extra 'plot')."
        ),
    ] = None


def mine(
    questions: QuestionOptions,
    output: OutputOptions,
    index: IndexOptions,
    embedder: EmbedderOptions,
    rerank: RerankerOptions,
    negatives: RuleOptions,
    target_options: MinedOptions,
) -> int:
    """Mine, print the table, draw the plot."""
    target = target_options.target
    settings = _miner_settings(questions, index.folder, rerank, negatives, target_options)
    with open_to_read(index, embedder) as qa:
        report = _mine(qa, questions.queries, target, settings)
    if target_options.plot:
        _plot(target, target_options.plot)
    output.write({"to": str(target), **report.to_dict()}, f"{report.table()}\nin {target}", indent=None)
    return EXIT_OK


def _mine(qa: DocumentQA, queries: Path, target: Path, settings: dict[str, Any]) -> MiningReport:
    from mmrag.training.mining.miner import Miner
    from mmrag.training.mining.questions import read_questions

    with Progress() as progress:
        questions = read_questions(queries, qa.index)
        return Miner(qa, **settings).mine(questions, target, progress=progress.counter("queries"))


def _miner_settings(
    questions: QuestionOptions,
    folder: Path | None,
    rerank: RerankerOptions,
    rules: RuleOptions,
    target: MinedOptions,
) -> dict[str, Any]:
    """Return the arguments of `mmrag.training.mining.miner.Miner` but for the index."""
    from mmrag.training.mining.miner import judge_data

    mode = _judge_mode(rerank)
    rule_values = rules.rules(mode)
    reranker = rerank.load_reranker(folder)
    return {
        "judge": reranker,
        "judge_data": {"mode": mode, **judge_data(reranker)},
        "rules": rule_values,
        "filter": questions.filter,
        "texts": not target.no_text,
        "pictures": target.pictures,
    }


def _judge_mode(rerank: RerankerOptions) -> str:
    """Return the mode of the judge; a server without a mode judges pointwise.

    Raises:
        UsageError: no judge is named.
    """
    mode = rerank.rerank or ("pointwise" if rerank.reranker_url else None)
    if mode is None:
        raise UsageError(
            "name the judge: --rerank local, --reranker-url URL, or --rerank none for ranks alone."
        )
    return mode


def _plot(path: Path, target: Path) -> None:
    from mmrag.training.mining.records import read_mined
    from mmrag.training.mining.report import save_plot

    save_plot(list(read_mined(path)), target)
