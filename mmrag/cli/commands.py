"""What each command of `mmrag.cli` does."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.cli import data as export
from mmrag.documents import ReaderSettings, Skipped
from mmrag.errors import IndexFormatError
from mmrag.ingest.files import AddProgress, AddReport
from mmrag.pipeline import DEFAULT_RERANKER, DocumentQA
from mmrag.rerank.stage import beside
from mmrag.retriever import CHANNELS
from mmrag.types import Answer, Ranking, Usage, describe_place

if TYPE_CHECKING:
    from mmrag.answer import Answerer
    from mmrag.embedders.base import Embedder
    from mmrag.ingest.reembed import ReembedReport
    from mmrag.rerank import Reranker
    from mmrag.rerank.traces import TraceWriter

EXIT_SKIPPED = 3


class UsageError(Exception):
    """Options that parse but do not go together."""


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
    """Measure retrieval on a pack of questions, at one setting or at many."""
    if options.table:
        from mmrag.cli.table import run_table

        return run_table(options)
    if options.table_inputs or options.budgets:
        raise UsageError("--inputs and --budgets need --table.")
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


def channels(options: argparse.Namespace) -> tuple[str, ...]:
    """The channels that ``--channels`` names."""
    return CHANNELS if options.channels == "both" else (options.channels,)


def reader_settings(options: argparse.Namespace) -> ReaderSettings:
    """Reader settings from the options of a command that reads files."""
    settings: dict[str, Any] = {"ocr": options.ocr, "renderer": options.renderer}
    if options.workers:
        settings["workers"] = options.workers
    return ReaderSettings(**settings)


def answerer(options: argparse.Namespace) -> Answerer | None:
    """The served answerer where a URL is given, else None (the default)."""
    if not options.answerer_url:
        if options.answerer_model or options.answerer_text_only:
            raise UsageError("--answerer-model and --answerer-text-only need --answerer-url.")
        return None
    from mmrag.answer import ServedAnswerer

    return ServedAnswerer(
        options.answerer_url,
        options.answerer_model,
        images=not options.answerer_text_only,
        max_tokens=options.answerer_max_tokens,
    )


def reranking(options: argparse.Namespace, index: Path) -> dict[str, Any]:
    """What `DocumentQA` is told of reranking; a server's replies are kept beside the index."""
    return {"reranker": reranker(options, index), "rerank_depth": options.rerank_top}


def reranker(options: argparse.Namespace, index: Path) -> Reranker | None:
    """The reranker that the options name; None for none."""
    mode, url, alpha = options.rerank, options.reranker_url, options.alpha
    if not url:
        if options.reranker_model or options.reranker_text_only or options.think:
            raise UsageError("--reranker-model, --reranker-text-only and --think need --reranker-url.")
        mode = mode or DEFAULT_RERANKER or "none"
        if mode not in ("none", "local"):
            raise UsageError(f"--rerank {mode} needs --reranker-url.")
        if mode == "none" and alpha is not None:
            raise UsageError("--alpha needs --rerank or --reranker-url.")
        if mode == "none":
            return None
        from mmrag.rerank.local import LocalReranker

        return LocalReranker(depth=options.rerank_top, **({} if alpha is None else {"alpha": alpha}))
    if mode in ("none", "local"):
        raise UsageError(f"--rerank {mode} asks no server: leave --reranker-url out.")
    from mmrag.rerank import ThinkReranker

    traces = None
    if mode in ("ecrr", "qar"):
        traces = trace_writer(url, options.reranker_model, options.reranker_text_only, index)
    return ThinkReranker(
        url,
        mode=mode or "pointwise",
        model=options.reranker_model,
        think_tokens=options.think or 0,
        alpha=alpha or 0.0,
        images=not options.reranker_text_only,
        traces=traces,
        cache=beside(index, "replies"),
    )


def trace_writer(url: str, model: str | None, text_only: bool, index: Path) -> TraceWriter:
    """What writes traces and finds them again: when pages are indexed, and when they are reranked."""
    from mmrag.rerank.traces import TraceWriter

    return TraceWriter(url, model, images=not text_only, cache=beside(index, "traces"))


def rerank_lines(ranking: Ranking) -> list[str]:
    """What reranking did and cost, for a terminal; nothing where none was asked for."""
    if ranking.why_not is not None:
        return [f"not reranked: {ranking.why_not}"]
    if not ranking.reranked:
        return []
    return [f"reranked: {cost_text(ranking.usage)} ({'; '.join(ranking.notes)})"]


def cost_text(usage: Usage) -> str:
    """Tokens, seconds and cache hits of reranking: ``1,234 tokens, 3.2 s, 4 from cache``."""
    tokens = usage.prompt_tokens + usage.completion_tokens
    parts = [f"{tokens:,} tokens"] if tokens else []
    parts.append(f"{usage.seconds.get('rerank', 0.0):.1f} s")
    if usage.cache_hits:
        parts.append(f"{usage.cache_hits} from cache")
    return ", ".join(parts)


def write_pictures(answer: Answer, folder: Path) -> dict[int, str]:
    """Write each citation's picture as ``folder/<number>.png``; paths by citation number."""
    paths = {}
    for citation in answer.citations:
        if citation.picture is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{citation.number}.png"
            path.write_bytes(citation.picture)
            paths[citation.number] = str(path)
    return paths


def answer_text(answer: Answer, pictures: dict[int, str]) -> str:
    """An answer for a terminal: the text, then one line a citation."""
    lines = answer.text.splitlines()
    if answer.note:
        lines.append(answer.note)
    for citation in answer.citations:
        picture = f"   {pictures[citation.number]}" if citation.number in pictures else ""
        lines.append(f"[{citation.number}] {describe_place(citation)}   score {citation.score:.2f}{picture}")
    lines += rerank_lines(answer.ranking)
    return "\n".join("  " + line for line in lines)


def open_to_read(options: argparse.Namespace, **others: Any) -> DocumentQA:  # noqa: ANN401  as DocumentQA.open
    """The index of a command that only reads."""
    _must_exist(options.index)
    return DocumentQA.open(options.index, embedder=embedder(options), read_only=True, **others)


def embedder(options: argparse.Namespace) -> Embedder | None:
    """The embedder that the options name; None for the default."""
    if options.embedder is None and options.embedder_url is None:
        return None
    from mmrag.models.load import load_embedder

    return load_embedder(options.embedder, base_url=options.embedder_url)


def _must_exist(path: Path) -> None:
    if not path.is_dir():
        raise IndexFormatError(
            f"--index must be a directory with an index, got {str(path)!r}, which is not there. "
            f"Make one: mmrag index PATH --index {path}"
        )


def report_text(report: AddReport) -> str:
    """What an `add` did, for a terminal: counts, notes, and a line for each thing skipped."""
    rate = f", {report.pages / report.seconds:.1f} pages/s" if report.pages and report.seconds else ""
    kinds = {
        "added": report.added,
        "replaced (the file had changed)": report.replaced,
        "read again (other reader settings, or pages left unread)": report.reread,
        "known under another name": report.renamed,
        "unchanged": report.unchanged,
    }
    parts = [f"{len(names)} {kind}" for kind, names in kinds.items() if names]
    files = f"Files: {', '.join(parts)}. " if parts else ""
    lines = [f"{files}{report.pages} pages in {report.seconds:.1f} s{rate}"]
    lines += [f"  {count} pages: {note}" for note, count in report.notes.items()]
    return "\n".join([*lines, *_skipped_lines(report.skipped)])


def _skipped_lines(left_out: Sequence[Skipped]) -> list[str]:
    lines = [f"Skipped ({len(left_out)}):"] if left_out else []
    for skipped in left_out:
        place = skipped.name if skipped.page is None else f"{skipped.name}, page {skipped.page + 1}"
        lines.append(f"  {place}: {skipped.reason}")
    return lines


def reembed_text(report: ReembedReport) -> str:
    """What a `reembed` did, for a terminal: counts, and a line for each file without pictures."""
    new = report.records - report.resumed
    rate = f", {new / report.seconds:.1f}/s" if new and report.seconds else ""
    resumed = f" ({report.resumed} of them there already)" if report.resumed else ""
    lines = [
        f"{report.records} pages and records in {report.path}{resumed}, {report.seconds:.1f} s{rate}",
        f"by {report.embedder}, before by {report.before}",
    ]
    without = Counter((one.name, one.reason) for one in report.without_picture)
    if without:
        lines.append("Embedded from text alone (add the file again once it is there):")
        lines += [f"  {name}, {count} pages: {reason}" for (name, reason), count in without.items()]
    return "\n".join([*lines, *_skipped_lines(report.skipped)])


def _print_json(data: dict[str, Any]) -> None:
    _say(json.dumps(data, ensure_ascii=False, indent=2))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


class Progress:
    """One line on standard error: pages, pages/s, time left; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def __call__(self, now: AddProgress) -> None:
        """Show where the work stands."""
        if not self._live:
            return
        rate = now.pages_done / now.seconds if now.seconds else 0.0
        left = "" if now.seconds_left is None else f", {_clock(now.seconds_left)} left"
        line = f"{now.files_done}/{now.files_total} files, {now.pages_done} pages, {rate:.1f}/s{left}"
        sys.stderr.write(f"\r\x1b[K{line}  {now.name}"[:110])
        sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when it is closed."""
    return tempfile.TemporaryDirectory(prefix="mmrag-")


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
