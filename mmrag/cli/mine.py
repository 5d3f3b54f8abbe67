"""``mmrag mine``: questions with known pages in, training data out."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from mmrag.cli.commands import UsageError, open_to_read, reranker
from mmrag.training.mining.lines import read_mined
from mmrag.training.mining.miner import Miner
from mmrag.training.mining.questions import read_questions
from mmrag.training.mining.report import save_plot
from mmrag.training.mining.rules import Rules, rules_for

if TYPE_CHECKING:
    from mmrag.rerank import Reranker


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


def judge_data(judge: Reranker | None, mode: str) -> dict[str, Any]:
    """What changes a judge's scores, so that no run goes on with another judge's lines."""
    if judge is None:
        return {}
    settings: Any = getattr(judge, "settings", None)
    if settings is None:
        return {"fingerprint": getattr(judge, "fingerprint", "")}
    from mmrag.rerank.protocol import load_mode

    client: Any = getattr(judge, "client", None)
    return {
        "model": client.model_name(),
        "think_tokens": settings.think_tokens,
        "images": settings.images,
        "fingerprint": load_mode(mode, settings).fingerprint,
    }


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {total} queries" + ("\n" if done == total else ""))
        sys.stderr.flush()
