"""``mmrag demo``: index the sample documents and ask six questions.

Four have an answer to quote: a cell named by row and column, a labelled value, a sentence, a line of a scan.
One must be computed, which takes a model on a server; and one has no answer in the documents. The demo shows
what becomes of those, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mmrag.cli.command import EXIT_OK
from mmrag.cli.common import AnswererOptions, OutputOptions, ReaderOptions
from mmrag.cli.data import answer_data
from mmrag.cli.locations import directory_of
from mmrag.cli.progress import Progress
from mmrag.cli.texts import answer_text, say, write_pictures
from mmrag.samples import sample_documents, sample_questions

if TYPE_CHECKING:
    from mmrag.pipeline import DocumentQA

NEXT_STEPS = """
Done in {seconds:.1f} s. Look at the pictures, then ask your own:
  mmrag index YOUR-FOLDER --index my-index && mmrag ask "YOUR QUESTION" --index my-index"""
SERVER = """
Without a server the answers are quotes. A model on one sees the pages, computes and compares:
  mmrag demo --answerer-url URL"""


def demo(
    output: OutputOptions,
    reader: ReaderOptions,
    answerer: AnswererOptions,
    to: Annotated[str, Option("--to", metavar="DIR", help="Index and pictures go here.")] = "demo",
) -> int:
    """Index the sample documents and ask six questions."""
    from mmrag.pipeline import DocumentQA

    target = directory_of(to, "demo")
    tell: Callable[[str], None] = (lambda _: None) if output.json else say
    start = time.monotonic()
    with DocumentQA.open(
        target / "index",
        reader=reader.reader_settings(),
        password=reader.password,
        answerer=answerer.load_answerer(),
    ) as qa:
        tell(_index_samples(qa))
        answers = [
            _ask(qa, number, question, target / f"question-{number}", tell)
            for number, question in enumerate(sample_questions(), 1)
        ]
    seconds = time.monotonic() - start
    next_steps = NEXT_STEPS.format(seconds=seconds) + ("" if answerer.answerer_url else SERVER)
    output.write({"answers": answers, "seconds": seconds}, next_steps)
    return EXIT_OK


def _index_samples(qa: DocumentQA) -> str:
    """Add the sample documents and return a line about them."""
    with Progress() as progress:
        report = qa.add(sample_documents(), progress=progress.show_add)
    counts = f"{len(qa.status().documents)} sample documents, {qa.index.count()} pages"
    return f"{counts}, in {qa.path} ({report.seconds:.1f} s)"


def _ask(
    qa: DocumentQA, number: int, question: dict[str, Any], folder: Path, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Ask a question, write its pictures, tell the answer and return it as plain data."""
    start = time.monotonic()
    answer = qa.ask(question["question"])
    pictures = write_pictures(answer, folder)
    seconds = time.monotonic() - start
    tell(
        f"\n{number}. {question['question']}   ({question['kind']}, {seconds:.1f} s)\n"
        f"{answer_text(answer, pictures)}"
    )
    return answer_data(answer, pictures)
