"""``mmrag index``: files into an index."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from mmrag.cli.arguments import metadata_pair
from mmrag.cli.command import EXIT_OK, EXIT_SKIPPED, UsageError
from mmrag.cli.common import (
    EmbedderOptions,
    IndexOptions,
    OutputOptions,
    ReaderOptions,
    check_inputs,
    trace_writer,
)
from mmrag.cli.data import report_data
from mmrag.cli.engine import EngineOptions
from mmrag.cli.progress import Progress
from mmrag.cli.rows import RowOptions
from mmrag.cli.sync import SyncOptions, sync_folders, watch_folder, write_plans
from mmrag.cli.texts import skipped_lines
from mmrag.errors import DocumentError
from mmrag.index.directory import STORE_NAME

if TYPE_CHECKING:
    from mmrag.ingest.report import AddReport
    from mmrag.pipeline import DocumentQA

_trace_option = partial(Option, rich_help_panel="Traces by a server")


@dataclass(frozen=True)
class PageOptions:
    """What is written on every page."""

    metadata: Annotated[
        list[Any] | None,
        Option(
            "--metadata",
            parser=metadata_pair,
            metavar="KEY=VALUE",
            help="Written on every page of this call; may be repeated.",
        ),
    ] = None
    context: Annotated[
        list[str] | None,
        Option(
            "--context",
            metavar="KEY",
            help="Metadata that names documents (title, date), searched with every page; may be repeated.",
        ),
    ] = None


@dataclass(frozen=True)
class TraceOptions:
    """Which server writes traces of pages."""

    trace_url: Annotated[
        str | None,
        _trace_option(
            "--trace-url",
            metavar="URL",
            help="Have this server's model write a trace of every page, for --rerank ecrr and qar, which "
            "then need the same model and the same choice of pictures.",
        ),
    ] = None
    trace_model: Annotated[
        str | None, _trace_option("--trace-model", metavar="NAME", help="Model at that server (its first).")
    ] = None
    trace_text_only: Annotated[
        bool, _trace_option("--trace-text-only", help="Send page text without pictures to that server.")
    ] = False

    def check(self) -> None:
        """Check that options of a server come with its URL.

        Raises:
            UsageError: they do not.
        """
        if not self.trace_url and (self.trace_model or self.trace_text_only):
            raise UsageError("--trace-model and --trace-text-only need --trace-url.")

    def write(self, qa: DocumentQA, index: Path | None) -> int | None:
        """Write the traces of all records; return their number, None without a server."""
        if not self.trace_url:
            return None
        return qa.write_traces(trace_writer(self.trace_url, self.trace_model, self.trace_text_only, index))


def index(
    inputs: Annotated[list[str], Argument(metavar="PATH", help="File, folder or glob.")],
    output: OutputOptions,
    where: IndexOptions,
    embedder: EmbedderOptions,
    reader: ReaderOptions,
    trace: TraceOptions,
    pages: PageOptions,
    rows: RowOptions,
    follow: SyncOptions,
    engine: EngineOptions,
) -> int:
    """Add files to an index; a new directory without a page is not left behind."""
    trace.check()
    follow.check(inputs)
    if engine.ray is not None and (follow.is_set or follow.dry_run):
        raise UsageError(
            "a folder is followed by this process: --ray adds files, without --sync and --watch."
        )
    if follow.dry_run:
        return write_plans(inputs, where, embedder, output)
    if follow.is_set:
        return _follow(inputs, output, _open_to_add(where, embedder, reader, rows), pages, follow)
    if trace.trace_url and where.folder is None:
        raise UsageError("traces of an index on a server are kept in a local folder: give --cache DIR.")
    check_inputs(inputs)
    with _removed_on_failure(where), _open_to_add(where, embedder, reader, rows) as qa:
        with Progress() as progress:
            report = qa.add(
                inputs,
                metadata=dict(pages.metadata or ()),
                context=pages.context or (),
                progress=progress.show_add,
                engine=engine.engine(),
            )
        check_report(report, inputs)
        traces = trace.write(qa, where.folder)
        count = qa.index.count()
    output.write(*_summary(report, count, traces, where))
    return EXIT_SKIPPED if report.skipped else EXIT_OK


def _follow(
    inputs: list[str], output: OutputOptions, qa: DocumentQA, pages: PageOptions, options: SyncOptions
) -> int:
    """Follow folders once, or one for as long as it is watched."""
    page_options = {"metadata": dict(pages.metadata or ()), "context": pages.context or ()}
    with qa:
        if options.watch:
            return watch_folder(qa, inputs[0], options, output, page_options)
        return sync_folders(qa, inputs, options, output, page_options)


def _summary(
    report: AddReport, count: int, traces: int | None, where: IndexOptions
) -> tuple[dict[str, Any], str]:
    """Return the report, and how much the index holds, as data and as text."""
    data, text = report_data(report), f"{report}\n{count} pages and records in {where.location}"
    if traces is None:
        return data, text
    return {**data, "traces": traces}, f"{text}\n{traces} traces in {(where.folder or Path()) / 'traces'}"


def _open_to_add(
    where: IndexOptions, embedder: EmbedderOptions, reader: ReaderOptions, rows: RowOptions
) -> DocumentQA:
    from mmrag.pipeline import DocumentQA

    return DocumentQA.open(
        **where.arguments(),
        embedder=embedder.load_embedder(),
        reader=reader.reader_settings(),
        password=reader.password,
        **rows.settings(),
    )


def check_report(report: AddReport, inputs: list[str]) -> None:
    """Check that an `add` had a document to work on.

    Raises:
        DocumentError: no file could be read; the error says why, file by file.
    """
    files = (report.added, report.replaced, report.reread, report.renamed, report.unchanged)
    if (report.pages or any(files)) and not _all_pages_failed(report):
        return
    reasons = "".join("\n" + line for line in skipped_lines(report.skipped))
    raise DocumentError(
        f"{', '.join(inputs)} must hold a document that can be read, got none. Nothing was indexed.{reasons}"
    )


def _all_pages_failed(report: AddReport) -> bool:
    """Return whether every file is new and none of their pages could be read."""
    return bool(report.skipped) and not (report.pages or report.renamed or report.unchanged)


def _removed_on_failure(where: IndexOptions) -> AbstractContextManager[None]:
    return nullcontext() if where.is_server else removed_on_failure(Path(where.index))


@contextmanager
def removed_on_failure(folder: Path) -> Iterator[None]:
    """Remove the index in `folder` if the block makes it and raises `DocumentError`."""
    if (folder / STORE_NAME).exists():
        yield
        return
    before = set(folder.iterdir()) if folder.is_dir() else None
    try:
        yield
    except DocumentError:
        for path in set(folder.iterdir()) - (before or set()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if before is None:
            folder.rmdir()
        raise
