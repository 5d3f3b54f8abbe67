"""``mmrag train``: make pairs of documents, and run the stages of the training.

``make-pairs`` and ``curate`` run without the extra ``train``'s torch where the embedder needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from typer import Argument, Option

from mmrag.cli.command import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_SKIPPED,
    MARKUP,
    SETTINGS,
    Entry,
    LazyGroup,
    UsageError,
)
from mmrag.cli.common import OutputOptions, ReaderOptions, check_inputs
from mmrag.cli.progress import Progress
from mmrag.cli.texts import say, say_json
from mmrag.cli.visible import complain

if TYPE_CHECKING:
    from mmrag.training.pairs import PairSettings, QuestionWriter

_STAGES = {
    "restore": "Next-token training, so that the language model reads compressed tokens.",
    "contrast": "The retriever: contrastive, nested budgets.",
    "curate": "Retrieve, judge by yes or no, write judged negatives (needs no GPU).",
    "finetune": "The retriever again, with judged negatives and the judge's scores.",
    "reason": "A reasoner, on a teacher's traces.",
    "rerank": "A reranker: yes or no, and the best of a list.",
}


class _Stages(LazyGroup):
    table: ClassVar = {
        "make-pairs": Entry(
            "mmrag.cli.train:make_pairs",
            "Queries with the pages they were made of, from a folder of documents.",
            "Data",
            "The same files and options give the same lines. If a run is interrupted, the same command "
            "resumes it.",
        ),
        **{name: Entry("mmrag.cli.train:run_stage", text, "Stages") for name, text in _STAGES.items()},
    }


app = typer.Typer(
    cls=_Stages,
    help="Make training pairs of documents; train a retriever in stages.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=MARKUP,
    context_settings=SETTINGS,
)


@app.callback()
def _root() -> None:
    """Make ``train`` a group, also while it has no option of its own."""


# ---- stages ------------------------------------------------------------------------------------------


def run_stage(
    context: typer.Context,
    config: Annotated[Path, Option("--config", metavar="C.yaml", help="The run: see docs/training.md.")],
    output: OutputOptions,
    check: Annotated[
        bool,
        Option("--check", help="Read configuration and data, tell what the run will need, train nothing."),
    ] = False,
    no_resume: Annotated[bool, Option("--no-resume", help="Begin again in place of resuming.")] = False,
) -> int:
    """Run the stage that the command is named after."""
    stage = context.info_name or ""
    if stage == "curate":
        return _curate(config, output, check=check, resume=not no_resume)
    try:
        from mmrag.training.run import run_stage as train
    except ImportError as error:
        from mmrag.errors import MissingExtraError

        raise MissingExtraError("Training", "train") from error
    lines: list[str] = []
    try:
        target = train(
            stage, config, check=check, resume=not no_resume, say=lines.append if output.json else say
        )
    except FloatingPointError as error:
        complain(f"mmrag train: {error}")
        return EXIT_FAILED
    if output.json:
        say_json({"to": None if target is None else str(target), "said": lines}, indent=None)
    elif target is not None:
        say(f"in {target}")
    return EXIT_OK


def _curate(config: Path, output: OutputOptions, *, check: bool, resume: bool) -> int:
    from mmrag.training.curate import run_curate

    with Progress() as progress:
        report = run_curate(config, check=check, resume=resume, progress=progress.counter("queries"))
    if output.json:
        say_json(report.to_dict(), indent=None)
    else:
        say(report.table())
    return EXIT_OK


# ---- pairs -------------------------------------------------------------------------------------------

_pair_option = partial(Option, rich_help_panel="Pairs")
_target_option = partial(Option, rich_help_panel="Output")
_question_option = partial(Option, rich_help_panel="Questions by a server")


@dataclass(frozen=True)
class TargetOptions:
    """Where the pairs go."""

    target: Annotated[Path, _target_option("--to", metavar="PAIRS.jsonl", help="JSON lines.")]
    valid: Annotated[
        Path | None,
        _target_option("--valid", metavar="FILE", help="Pairs of held-out documents (PAIRS.valid.jsonl)."),
    ] = None
    no_text: Annotated[bool, _target_option("--no-text", help="Leave the pages' texts out of the lines.")] = (
        False
    )


@dataclass(frozen=True)
class PairOptions:
    """Which pairs are made."""

    hold_out: Annotated[
        float,
        _pair_option(
            "--hold-out", min=0, max=1, metavar="S", help="Fraction of the documents that is held out."
        ),
    ] = 0.1
    rules: Annotated[
        str | None,
        _pair_option(
            "--rules", metavar="A,B", help="Of heading, caption, cell, sentence, question and asked (all)."
        ),
    ] = None
    per_page: Annotated[int, _pair_option("--per-page", min=1, metavar="N", help="Most pairs of a page.")] = 8
    per_document: Annotated[
        int, _pair_option("--per-document", min=1, metavar="N", help="Most of a document.")
    ] = 400
    drop: Annotated[
        float, _pair_option("--drop", min=0, max=1, metavar="S", help="Fraction of a sentence left out.")
    ] = 0.3
    replace: Annotated[
        float, _pair_option("--replace", min=0, max=1, metavar="S", help="Fraction of it replaced.")
    ] = 0.1
    seed: Annotated[int, _pair_option("--seed", metavar="N", help="Of all random choices.")] = 0

    def rule_names(self) -> tuple[str, ...]:
        """Return the names of the rules, all of them by default."""
        from mmrag.training.pairs import RULES

        return RULES if self.rules is None else tuple(self.rules.split(","))

    def settings(self, *, texts: bool) -> PairSettings:
        """Return the settings of `mmrag.training.pairs.make_pairs`."""
        from mmrag.training.pairs import PairSettings

        return PairSettings(
            rules=self.rule_names(),
            per_page=self.per_page,
            per_document=self.per_document,
            drop=self.drop,
            replace=self.replace,
            hold_out=self.hold_out,
            texts=texts,
            seed=self.seed,
        )


@dataclass(frozen=True)
class WriterOptions:
    """Which server writes questions."""

    url: Annotated[
        str | None,
        _question_option("--url", metavar="URL", help="OpenAI-compatible server whose model asks."),
    ] = None
    model: Annotated[
        str | None, _question_option("--model", metavar="NAME", help="Model at that server (its first).")
    ] = None
    questions: Annotated[int, _question_option("--questions", min=1, metavar="N", help="For a page.")] = 3
    text_only: Annotated[
        bool, _question_option("--text-only", help="Send page text without pictures to that server.")
    ] = False
    think: Annotated[
        int, _question_option("--think", min=0, metavar="N", help="Further tokens for a model that thinks.")
    ] = 0
    cache: Annotated[
        Path | None,
        _question_option("--cache", metavar="DIR", help="Keeps that server's replies (PAIRS.jsonl.replies)."),
    ] = None
    prompts: Annotated[
        Path | None,
        _question_option(
            "--prompts", metavar="DIR", help="templates.txt, ask_system.txt or ask_user.txt of your own."
        ),
    ] = None

    def check(self, pairs: PairOptions) -> None:
        """Check that what needs a server comes with its URL.

        Raises:
            UsageError: it does not.
        """
        if self.url:
            return
        if self.model or self.text_only or self.cache or self.think:
            raise UsageError("--model, --text-only, --think and --cache need --url.")
        if pairs.rules is not None and "asked" in pairs.rule_names():
            raise UsageError("the rule 'asked' needs --url.")

    def load(self, target: Path) -> QuestionWriter | None:
        """Return the writer of questions; None without a server."""
        if not self.url:
            return None
        from mmrag.training.pairs import QuestionWriter

        return QuestionWriter(
            self.url,
            self.model,
            questions=self.questions,
            images=not self.text_only,
            max_tokens=1024 + self.think,
            prompts=self.prompts,
            cache=self.cache or target.with_name(target.name + ".replies"),
        )


def make_pairs(
    inputs: Annotated[list[str], Argument(metavar="FOLDER", help="Folder, file or glob.")],
    output: OutputOptions,
    target: TargetOptions,
    pairs: PairOptions,
    writer: WriterOptions,
    reader: ReaderOptions,
) -> int:
    """Make pairs of documents."""
    from mmrag.training import pairs as library

    writer.check(pairs)
    check_inputs(inputs)
    with Progress() as progress:
        report = library.make_pairs(
            inputs,
            target.target,
            valid=target.valid,
            settings=pairs.settings(texts=not target.no_text),
            reader=reader.reader_settings(),
            password=reader.password,
            prompts=writer.prompts,
            writer=writer.load(target.target) if "asked" in pairs.rule_names() else None,
            progress=lambda count, total, name: progress.show(count, total, f"{count} of {total}  {name}"),
        )
    if output.json:
        say_json(report.to_dict(), indent=None)
    else:
        files = report.target if report.valid is None else f"{report.target} and {report.valid}"
        say(f"{report.table()}\nin {files}")
    return EXIT_SKIPPED if report.skipped else EXIT_OK
