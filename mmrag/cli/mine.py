"""``mmrag mine``: questions with known pages in, training data out."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from mmrag.cli.common import UsageError, open_to_read, reranker
from mmrag.training.mining.miner import Miner, judge_data
from mmrag.training.mining.questions import read_questions
from mmrag.training.mining.records import read_mined
from mmrag.training.mining.report import save_plot
from mmrag.training.mining.rules import Rules, rules_for

if TYPE_CHECKING:
    pass


def run_mine(options: argparse.Namespace) -> int:
    """Mine, print the table, draw the plot; returns the exit code."""
    mode = options.rerank or ("pointwise" if options.reranker_url else None)
    if mode is None:
        raise UsageError(
            "name the judge: --rerank local, --reranker-url URL, or --rerank none for ranks alone."
        )
    rules = _rules(mode, options)
    judge = reranker(options, options.index)
    with open_to_read(options) as qa:
        questions = read_questions(options.queries, qa.index)
        miner = Miner(
            qa,
            judge,
            judge_data={"mode": mode, **judge_data(judge, mode)},
            rules=rules,
            filter=options.filter,
            texts=not options.no_text,
            pictures=options.pictures,
        )
        report = miner.mine(questions, options.target, progress=_progress)
    if options.plot:
        save_plot(list(read_mined(options.target)), options.plot)
    if options.json:
        said = json.dumps({"to": str(options.target), **report.to_dict()})
    else:
        said = f"{report.table()}\nin {options.target}"
    sys.stdout.write(said + "\n")
    return 0


def _rules(mode: str, options: argparse.Namespace) -> Rules:
    names = ("ranks", "negatives", "margin", "ratio", "false_negative", "least_positive", "pick", "seed")
    given: dict[str, Any] = {name: getattr(options, name) for name in names}
    return rules_for(
        mode,
        **{name: None if value == "off" else value for name, value in given.items() if value is not None},
    )


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {total} queries" + ("\n" if done == total else ""))
        sys.stderr.flush()
