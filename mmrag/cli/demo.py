"""``mmrag demo``: index the sample documents and ask five questions.

One is answered by a table, one by a chart, one by a scanned page, one needs two documents, and one is
answered by nothing: the demo shows that, too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from mmrag.cli import data as export
from mmrag.cli.common import Progress, answer_text, reader_settings, write_pictures
from mmrag.pipeline import DocumentQA
from mmrag.samples import sample_documents, sample_questions


def run_demo(options: argparse.Namespace) -> int:
    """Run the demo into ``options.target``; returns the exit code."""
    started = time.monotonic()
    target: Path = options.target
    results: list[dict[str, Any]] = []
    with DocumentQA.open(target / "index", reader=reader_settings(options)) as qa:
        with Progress() as progress:
            report = qa.add(sample_documents(), progress=progress)
        _tell(
            options,
            f"{len(qa.status().documents)} sample documents, {qa.index.count()} pages, "
            f"in {target / 'index'} ({report.seconds:.1f} s)",
        )
        for number, question in enumerate(sample_questions(), 1):
            asked = time.monotonic()
            answer = qa.ask(question["question"])
            pictures = write_pictures(answer, target / f"question-{number}")
            results.append(export.answer_data(answer, pictures))
            _tell(
                options,
                f"\n{number}. {question['question']}   ({question['kind']}, "
                f"{time.monotonic() - asked:.1f} s)\n{answer_text(answer, pictures)}",
            )
    seconds = time.monotonic() - started
    _tell(options, f"\nDone in {seconds:.1f} s. Look at the pictures, then ask your own:")
    _tell(options, '  mmrag index YOUR-FOLDER --index my-index && mmrag ask "YOUR QUESTION" --index my-index')
    if options.json:
        sys.stdout.write(json.dumps({"answers": results, "seconds": seconds}, indent=2) + "\n")
    return 0


def _tell(options: argparse.Namespace, text: str) -> None:
    if not options.json:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
