"""``mmrag train``: make pairs of documents, and run the stages of the training.

Parsing needs nothing heavy; ``make-pairs`` and ``curate`` run without the extra ``train``'s torch where
the embedder needs none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmrag.cli.arguments import count, positive, share

STAGES = {
    "restore": "next-token training, so that the language model reads compressed tokens",
    "contrast": "the retriever: contrastive, nested budgets",
    "curate": "retrieve, have a judge say yes or no, write judged negatives (needs no GPU)",
    "finetune": "the retriever again, with judged negatives and the judge's scores",
    "reason": "a reasoner, on a teacher's traces",
    "rerank": "a reranker: yes or no, and the best of a list",
}
EXIT_FAILED, EXIT_SKIPPED = 1, 3


def add_train(
    commands: argparse._SubParsersAction[Any],
    common: argparse.ArgumentParser,
    reading: argparse.ArgumentParser,
) -> None:
    """Add ``train`` with its own commands to the command line."""
    train = commands.add_parser(
        "train", help="make training pairs of documents, and train a retriever in stages"
    )
    own = train.add_subparsers(dest="stage", metavar="STAGE", required=True)
    _add_make_pairs(own, [common, reading])
    for stage, said in STAGES.items():
        one = own.add_parser(stage, parents=[common], help=said, description=f"{stage}: {said}.")
        one.add_argument(
            "--config", type=Path, required=True, metavar="C.yaml", help="the run; see docs/training.md"
        )
        one.add_argument(
            "--check",
            action="store_true",
            help="read configuration and data, say what the run will need, train nothing",
        )
        one.add_argument(
            "--no-resume", action="store_true", help="begin again instead of going on where a run stopped"
        )


def _add_make_pairs(
    stages: argparse._SubParsersAction[Any], parents: Sequence[argparse.ArgumentParser]
) -> None:
    pairs = stages.add_parser(
        "make-pairs",
        parents=list(parents),
        help="queries with the pages that they were made of, from a folder of documents",
        epilog="The same files and options give the same lines. A run that was cut off is gone on with by "
        "the same command.",
    )
    pairs.add_argument("inputs", nargs="+", metavar="FOLDER", help="folder, file or glob")
    pairs.add_argument(
        "--to", dest="target", type=Path, required=True, metavar="PAIRS.jsonl", help="JSON lines"
    )
    pairs.add_argument(
        "--hold-out",
        type=share,
        default=0.1,
        metavar="S",
        help="share of the documents whose pairs go to a second file (%(default)s)",
    )
    pairs.add_argument("--valid", type=Path, metavar="FILE", help="that second file (PAIRS.valid.jsonl)")
    pairs.add_argument(
        "--rules",
        metavar="A,B",
        help="of heading, caption, cell, sentence, question and asked (all)",
    )
    pairs.add_argument(
        "--per-page", type=positive, default=8, metavar="N", help="most pairs of a page (%(default)s)"
    )
    pairs.add_argument(
        "--per-document", type=positive, default=400, metavar="N", help="most of a document (%(default)s)"
    )
    pairs.add_argument(
        "--drop", type=share, default=0.3, metavar="S", help="share of a sentence left out (%(default)s)"
    )
    pairs.add_argument(
        "--replace", type=share, default=0.1, metavar="S", help="share of it replaced (%(default)s)"
    )
    pairs.add_argument("--no-text", action="store_true", help="leave the pages' texts out of the lines")
    pairs.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn (%(default)s)")
    pairs.add_argument("--url", metavar="URL", help="OpenAI-compatible server whose model writes questions")
    pairs.add_argument("--model", metavar="NAME", help="model at that server (its first)")
    pairs.add_argument(
        "--questions", type=positive, default=3, metavar="N", help="asked for a page (%(default)s)"
    )
    pairs.add_argument(
        "--text-only", action="store_true", help="send page text without pictures to that server"
    )
    pairs.add_argument(
        "--think", type=count, default=0, metavar="N", help="further tokens for a model that thinks (0)"
    )
    pairs.add_argument(
        "--cache", type=Path, metavar="DIR", help="keeps that server's replies (PAIRS.jsonl.replies)"
    )
    pairs.add_argument(
        "--prompts",
        type=Path,
        metavar="DIR",
        help="templates.txt, ask_system.txt or ask_user.txt of one's own",
    )


def run_train(options: argparse.Namespace) -> int:
    """Do what was parsed; returns the exit code."""
    if options.stage == "make-pairs":
        return _make_pairs(options)
    if options.stage == "curate":
        from mmrag.training.curate import run_curate

        report = run_curate(
            options.config,
            check=options.check,
            resume=not options.no_resume,
            progress=lambda done, total: _progress(done, total, "queries"),
        )
        _say(json.dumps(report.to_dict(), ensure_ascii=False) if options.json else report.table())
        return 0
    try:
        from mmrag.training.run import run_stage
    except ImportError as error:
        from mmrag.errors import MissingExtraError

        raise MissingExtraError("Training", "train") from error
    lines: list[str] = []
    say = lines.append if options.json else _say
    try:
        made = run_stage(
            options.stage, options.config, check=options.check, resume=not options.no_resume, say=say
        )
    except FloatingPointError as error:
        sys.stderr.write(f"mmrag train: {error}\n")
        return EXIT_FAILED
    if options.json:
        _say(json.dumps({"to": None if made is None else str(made), "said": lines}, ensure_ascii=False))
    elif made is not None:
        _say(f"in {made}")
    return 0


def _make_pairs(options: argparse.Namespace) -> int:
    from mmrag.cli.common import UsageError, reader_settings
    from mmrag.training.pairs import RULES, PairSettings, make_pairs

    rules = RULES if options.rules is None else tuple(options.rules.split(","))
    if not options.url:
        if options.model or options.text_only or options.cache or options.think:
            raise UsageError("--model, --text-only, --think and --cache need --url.")
        if options.rules is not None and "asked" in rules:
            raise UsageError("the rule 'asked' needs --url.")
    settings = PairSettings(
        rules=rules,
        per_page=options.per_page,
        per_document=options.per_document,
        drop=options.drop,
        replace=options.replace,
        hold_out=options.hold_out,
        texts=not options.no_text,
        seed=options.seed,
    )
    report = make_pairs(
        options.inputs,
        options.target,
        valid=options.valid,
        settings=settings,
        reader=reader_settings(options),
        password=options.password,
        prompts=options.prompts,
        writer=_writer(options) if options.url and "asked" in rules else None,
        progress=_progress,
    )
    if options.json:
        _say(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        files = report.target if report.valid is None else f"{report.target} and {report.valid}"
        _say(f"{report.table()}\nin {files}")
    return EXIT_SKIPPED if report.skipped else 0


def _writer(options: argparse.Namespace) -> Any:  # noqa: ANN401  a QuestionWriter, imported on demand
    from mmrag.training.pairs import QuestionWriter

    return QuestionWriter(
        options.url,
        options.model,
        questions=options.questions,
        images=not options.text_only,
        max_tokens=1024 + options.think,
        prompts=options.prompts,
        cache=options.cache or options.target.with_name(options.target.name + ".replies"),
    )


def _progress(done: int, total: int, what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{done} of {total}  {what}"[:110] + ("\n" if done == total else ""))
        sys.stderr.flush()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
