"""``mmrag evaluate``: index a pack's documents and measure search, and answers where asked for."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from mmrag.cli.common import (
    Progress,
    answerer,
    channels,
    cost_text,
    embedder,
    reader_settings,
    report_text,
    reranking,
    scratch_folder,
)
from mmrag.cli.data import usage_data
from mmrag.evaluation import PageKey, compare, evaluate, gain_table, load_pack, save_plot
from mmrag.evaluation.report import DEEPEST
from mmrag.pipeline import DocumentQA
from mmrag.samples import sample_pack
from mmrag.types import Answer, Usage


def run_evaluation(options: argparse.Namespace) -> int:
    """Measure ``options.pack``; returns the exit code.

    With ``--index`` the pack's index is kept and gone on with after an interruption; without, it is
    made in a folder that goes afterwards. With a reranker every question is also searched without it,
    and what it gained is printed behind the report.
    """
    pack = load_pack(options.pack or sample_pack())
    with contextlib.ExitStack() as stack:
        path = options.index or Path(stack.enter_context(scratch_folder()))
        qa = stack.enter_context(
            DocumentQA.open(
                path,
                embedder=embedder(options),
                reader=reader_settings(options),
                password=options.password,
                answerer=answerer(options),
                **reranking(options, path),
            )
        )
        with Progress() as progress:
            added = qa.add(pack.documents_path, progress=progress)
        sys.stderr.write(report_text(added) + "\n")

        cost = Usage()

        def search(question: str, within: tuple[str, ...] | None) -> list[PageKey]:
            return found(question, within, rerank=None)

        def plain_search(question: str, within: tuple[str, ...] | None) -> list[PageKey]:
            return found(question, within, rerank=False)

        def found(question: str, within: tuple[str, ...] | None, *, rerank: bool | None) -> list[PageKey]:
            nonlocal cost
            filter = None if within is None else {"file_name": {"$in": list(within)}}
            ranking = qa.search(
                question,
                k=DEEPEST,
                budget=options.budget,
                filter=filter,
                exact=options.exact,
                channels=channels(options),
                rerank=rerank,
            )
            cost += ranking.usage
            return [(c.page.source.name, c.page.number) for c in ranking if c.page is not None]

        def answer(question: str) -> Answer:
            return qa.ask(question, budget=options.budget, exact=options.exact, evidence=False)

        live = sys.stderr.isatty()
        report = evaluate(pack, search, answer=answer if options.answers else None, show_progress=live)
        data, text = report.to_dict(), report.table()
        if qa.reranker is not None:
            plain = evaluate(pack, plain_search, show_progress=live)
            gains = compare(pack, plain, report)
            data |= {
                "without_reranking": plain.to_dict(),
                "gains": [gain.to_dict() for gain in gains],
                "reranking": usage_data(cost),
            }
            rankings = 2 * report.answerable
            text += f"\n\nwithout and with reranking\n{gain_table(gains)}"
            text += f"\n\nreranked {rankings} rankings: {cost_text(cost)}"
    if options.target:
        options.target.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.plot:
        save_plot(report, options.plot)
    sys.stdout.write((json.dumps(data) if options.json else text) + "\n")
    return 0
