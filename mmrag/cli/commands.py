"""What each command of `mmrag.cli` does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.cli import data as export
from mmrag.cli.common import (
    EXIT_SKIPPED,
    Progress,
    UsageError,
    _must_exist,
    _print_json,
    _say,
    answer_text,
    answerer,
    channels,
    embedder,
    open_to_read,
    reader_settings,
    reembed_text,
    report_text,
    rerank_lines,
    reranking,
    trace_writer,
    write_pictures,
)
from mmrag.pipeline import DocumentQA
from mmrag.types import Answer

if TYPE_CHECKING:
    pass


def run(options: argparse.Namespace) -> int:
    """Run the command that was parsed; returns the exit code."""
    command: Callable[[argparse.Namespace], int] = _COMMANDS[options.command]
    return command(options)


def index(options: argparse.Namespace) -> int:
    """Add files to an index."""
    if not options.trace_url and (options.trace_model or options.trace_text_only):
        raise UsageError("--trace-model and --trace-text-only need --trace-url.")
    with DocumentQA.open(
        options.index,
        embedder=embedder(options),
        reader=reader_settings(options),
        password=options.password,
    ) as qa:
        with Progress() as progress:
            report = qa.add(options.inputs, metadata=dict(options.metadata), progress=progress)
        traced = None
        if options.trace_url:
            writer = trace_writer(
                options.trace_url, options.trace_model, options.trace_text_only, options.index
            )
            traced = qa.write_traces(writer)
        if options.json:
            _print_json(export.report_data(report) | ({} if traced is None else {"traces": traced}))
        else:
            _say(report_text(report))
            _say(f"{qa.index.count()} pages and records in {options.index}")
            if traced is not None:
                _say(f"{traced} traces in {options.index / 'traces'}")
    return EXIT_SKIPPED if report.skipped else 0


def search(options: argparse.Namespace) -> int:
    """Rank pages for a question."""
    with open_to_read(options, **reranking(options, options.index)) as qa:
        ranking = qa.search(
            options.query,
            k=options.k,
            budget=options.budget,
            filter=options.filter,
            exact=options.exact,
            channels=channels(options),
        )
    if options.json:
        _print_json(export.ranking_data(ranking))
        return 0
    for candidate in ranking:
        page = candidate.page
        place = f"{page.source.name}, page {page.number + 1}" if page else candidate.id
        label = f" (label {page.label})" if page and page.label != str(page.number + 1) else ""
        stages = ", ".join(f"{stage} {score:.2f}" for stage, score in candidate.scores.items())
        _say(f"{candidate.rank:3}  {candidate.score:6.2f}  {place}{label}   ({stages})")
    if not ranking:
        _say("Nothing found.")
    for line in rerank_lines(ranking):
        _say(line)
    return 0


def ask(options: argparse.Namespace) -> int:
    """Answer one question, or a file of them."""
    if (options.question is None) == (options.source is None):
        raise UsageError("give either a QUESTION or --from FILE, not both and not neither.")
    if (options.source is None) != (options.target is None):
        raise UsageError("--from and --to go together.")
    with open_to_read(options, answerer=answerer(options), **reranking(options, options.index)) as qa:
        if options.source is not None:
            return _ask_file(qa, options)
        answer = _ask(qa, options.question, options, evidence=options.evidence_dir is not None)
    pictures = write_pictures(answer, options.evidence_dir) if options.evidence_dir else {}
    if options.json:
        _print_json(export.answer_data(answer, pictures))
    else:
        _say(answer_text(answer, pictures))
    return 0


def _ask(qa: DocumentQA, question: str, options: argparse.Namespace, *, evidence: bool) -> Answer:
    return qa.ask(
        question,
        k=options.k,
        budget=options.budget,
        filter=options.filter,
        exact=options.exact,
        evidence=evidence,
    )


def _ask_file(qa: DocumentQA, options: argparse.Namespace) -> int:
    """Answer every question of a JSON-lines file; the target appears when all are answered."""
    lines = list(_questions(options.source))
    partial = options.target.with_name(options.target.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for number, line in enumerate(lines, 1):
            answer = _ask(qa, line["question"], options, evidence=options.evidence_dir is not None)
            pictures = {}
            if options.evidence_dir:
                pictures = write_pictures(answer, options.evidence_dir / str(line.get("id", number)))
            file.write(json.dumps({**line, **export.answer_data(answer, pictures)}) + "\n")
            file.flush()
            sys.stderr.write(f"\r{number} of {len(lines)} questions" if sys.stderr.isatty() else "")
    partial.replace(options.target)
    if options.json:
        _print_json({"questions": len(lines), "to": str(options.target)})
    else:
        _say(f"{len(lines)} answers in {options.target}")
    return 0


def _questions(path: Path) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as error:
            raise ValueError(f"every line of {path} must be JSON, got line {number}: {error}.") from error
        if not isinstance(line, dict) or not isinstance(line.get("question"), str):
            raise ValueError(
                f"every line of {path} must be an object with a text 'question', "
                f"got line {number}: {text[:80]}"
            )
        yield line


def status(options: argparse.Namespace) -> int:
    """Tell what an index holds."""
    with open_to_read(options) as qa:
        held = qa.status()
    if options.json:
        _print_json(export.status_data(held))
        return 0
    _say(f"{held.path}: {held.records} pages and records, {len(held.documents)} files, by {held.embedder}")
    for entry in held.documents:
        marks = [] if entry.complete else ["incomplete: add it again to go on"]
        marks += [f"{len(entry.skipped)} pages skipped"] if entry.skipped else []
        names = " = ".join(entry.names)
        _say(f"  {entry.id}  {entry.total_pages:5} pages  {names}  {'; '.join(marks)}".rstrip())
    return 0


def remove(options: argparse.Namespace) -> int:
    """Remove files or records."""
    _must_exist(options.index)
    removed: dict[str, int] = {}
    with DocumentQA.open(options.index, embedder=embedder(options)) as qa:
        for target in options.targets:
            removed[target] = qa.remove(target)
    if options.json:
        _print_json({"removed": removed})
    else:
        for target, count in removed.items():
            _say(f"{target}: {count} pages or records removed")
    return 0


def reembed(options: argparse.Namespace) -> int:
    """Make an index for another embedder of one that is there."""
    from mmrag.ingest.reembed import reembed as write_new

    report = write_new(
        options.old,
        options.new,
        embedder=embedder(options),
        reader=reader_settings(options),
        password=options.password,
        show_progress=sys.stderr.isatty(),
    )
    if options.json:
        _print_json(export.reembed_data(report))
    else:
        _say(reembed_text(report))
    return EXIT_SKIPPED if report.without_picture or report.skipped else 0


def demo(options: argparse.Namespace) -> int:
    """Index the sample documents and ask five questions."""
    from mmrag.cli.demo import run_demo

    return run_demo(options)


def evaluate(options: argparse.Namespace) -> int:
    """Measure retrieval on a pack of questions."""
    from mmrag.cli.evaluate import run_evaluation

    return run_evaluation(options)


def serve(options: argparse.Namespace) -> int:
    """Start a vLLM server and stay until it is stopped."""
    from mmrag.cli.serve import run_serve

    return run_serve(options)


def mine(options: argparse.Namespace) -> int:
    """Make training data of questions with known pages."""
    from mmrag.cli.mine import run_mine

    return run_mine(options)


def train(options: argparse.Namespace) -> int:
    """Make training pairs, or run a stage of the training."""
    from mmrag.cli.train import run_train

    return run_train(options)


# ---- shared ------------------------------------------------------------------------------------------


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "index": index,
    "search": search,
    "ask": ask,
    "status": status,
    "remove": remove,
    "reembed": reembed,
    "demo": demo,
    "evaluate": evaluate,
    "serve": serve,
    "mine": mine,
    "train": train,
}
