"""``mmrag evaluate``: index a pack's documents and measure search, and answers where asked for."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from mmrag.commands import Progress, answerer, channels, reader_settings, report_text, scratch_folder
from mmrag.evaluation import PageKey, evaluate, load_pack, save_plot
from mmrag.evaluation.report import DEEPEST
from mmrag.pipeline import DocumentQA
from mmrag.samples import sample_pack
from mmrag.types import Answer


def run_evaluation(options: argparse.Namespace) -> int:
    """Measure ``options.pack``; returns the exit code.

    With ``--index`` the pack's index is kept and gone on with after an interruption; without, it is
    made in a folder that goes afterwards.
    """
    pack = load_pack(options.pack or sample_pack())
    with contextlib.ExitStack() as stack:
        path = options.index or Path(stack.enter_context(scratch_folder()))
        qa = stack.enter_context(
            DocumentQA.open(
                path, reader=reader_settings(options), password=options.password, answerer=answerer(options)
            )
        )
        with Progress() as progress:
            added = qa.add(pack.documents_path, progress=progress)
        sys.stderr.write(report_text(added) + "\n")

        def search(question: str, within: tuple[str, ...] | None) -> list[PageKey]:
            filter = None if within is None else {"file_name": {"$in": list(within)}}
            ranking = qa.search(
                question,
                k=DEEPEST,
                budget=options.budget,
                filter=filter,
                exact=options.exact,
                channels=channels(options),
            )
            return [(c.page.source.name, c.page.number) for c in ranking if c.page is not None]

        def answer(question: str) -> Answer:
            return qa.ask(question, budget=options.budget, exact=options.exact, evidence=False)

        report = evaluate(
            pack, search, answer=answer if options.answers else None, show_progress=sys.stderr.isatty()
        )
    if options.target:
        report.save_json(options.target)
    if options.plot:
        save_plot(report, options.plot)
    sys.stdout.write((json.dumps(report.to_dict()) if options.json else report.table()) + "\n")
    return 0
