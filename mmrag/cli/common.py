"""Shared parts of the commands: options to objects, reports as text, progress."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.documents import ReaderSettings, Skipped
from mmrag.errors import IndexFormatError
from mmrag.ingest.report import AddProgress, AddReport
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
