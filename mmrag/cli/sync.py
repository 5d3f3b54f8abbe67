"""``mmrag index --sync``: an index that follows folders."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mmrag.cli.command import EXIT_FAILED, EXIT_OK, EXIT_SKIPPED, UsageError, error_line
from mmrag.cli.common import EmbedderOptions, OutputOptions, open_to_read
from mmrag.cli.data import report_data
from mmrag.cli.locations import IndexOptions
from mmrag.cli.progress import Progress
from mmrag.cli.visible import complain
from mmrag.index.directory import STORE_NAME

if TYPE_CHECKING:
    from mmrag.ingest.sync import SyncPlan, SyncReport
    from mmrag.pipeline import DocumentQA

_sync_option = partial(Option, rich_help_panel="Following a folder")


@dataclass(frozen=True)
class SyncOptions:
    """Whether and how the index follows the folders that are given."""

    sync: Annotated[
        bool,
        _sync_option(
            "--sync", help="Make the index follow each folder: what moved is renamed, what is gone removed."
        ),
    ] = False
    dry_run: Annotated[
        bool, _sync_option("--dry-run", help="With --sync: print what would be done, and write nothing.")
    ] = False
    allow_removal: Annotated[
        bool,
        _sync_option(
            "--allow-removal", help="With --sync: also when more than half of a folder's files are gone."
        ),
    ] = False
    watch: Annotated[
        bool, _sync_option("--watch", help="Sync, and again after each change, until Ctrl-C. One folder.")
    ] = False

    @property
    def is_set(self) -> bool:
        """Whether folders are followed."""
        return self.sync or self.watch

    def check(self, inputs: list[str]) -> None:
        """Check that the options fit each other, and that what is followed may be a folder.

        Raises:
            UsageError: they do not.
        """
        if (self.dry_run or self.allow_removal) and not self.is_set:
            raise UsageError("--dry-run and --allow-removal need --sync.")
        if self.watch and (len(inputs) != 1 or self.dry_run):
            raise UsageError("--watch takes one folder, and no --dry-run.")
        files = [text for text in inputs if Path(text).expanduser().is_file()]
        if self.is_set and files:
            raise UsageError(f"--sync takes folders, got {', '.join(files)}. Add files without it.")


def write_plans(
    folders: list[str], where: IndexOptions, embedder: EmbedderOptions, output: OutputOptions
) -> int:
    """Print what a sync of each folder would do; an index that is not there is taken for an empty one."""
    from mmrag.ingest.sync import plan_sync

    if where.is_server or (Path(where.index) / STORE_NAME).exists():
        with open_to_read(where, embedder) as qa:
            plans = [qa.plan_sync(folder) for folder in folders]
    else:
        plans = [plan_sync([], folder, Path(where.index).absolute()) for folder in folders]
    output.write({"plans": [_plan_data(plan) for plan in plans]}, "\n".join(map(str, plans)))
    return EXIT_SKIPPED if any(plan.skipped for plan in plans) else EXIT_OK


def _plan_data(plan: SyncPlan) -> dict[str, Any]:
    """Return a plan as plain data."""
    return {
        "folder": str(plan.folder),
        "added": list(plan.added),
        "replaced": list(plan.replaced),
        "renamed": [list(pair) for pair in plan.renamed],
        "copies": list(plan.copies),
        "removed": list(plan.removed),
        "unchanged": list(plan.unchanged),
        "skipped": [asdict(item) for item in plan.skipped],
    }


def sync_data(report: SyncReport) -> dict[str, Any]:
    """Return the report of a sync as plain data."""
    moves = [list(pair) for pair in report.moves]
    counts = {"moves": moves, "removed": list(report.removed), "pages_removed": report.pages_removed}
    return {**report_data(report), **counts}


def sync_folders(
    qa: DocumentQA,
    folders: list[str],
    options: SyncOptions,
    output: OutputOptions,
    page_options: dict[str, Any],
) -> int:
    """Follow folders one after the other, and print a report of each."""
    code = EXIT_OK
    reports = []
    for folder in folders:
        with Progress() as progress:
            report = qa.sync_folder(
                folder, progress=progress.show_add, allow_removal=options.allow_removal, **page_options
            )
        reports.append((folder, report))
        code = EXIT_SKIPPED if report.skipped else code
    count = qa.index.count()
    data = [{"folder": folder, **sync_data(report)} for folder, report in reports]
    text = "\n".join(f"{folder}: {report}" for folder, report in reports)
    output.write({"folders": data, "records": count}, f"{text}\n{count} pages and records in the index")
    return code


def watch_folder(
    qa: DocumentQA, folder: str, options: SyncOptions, output: OutputOptions, page_options: dict[str, Any]
) -> int:
    """Follow a folder until Ctrl-C or SIGTERM, and print a report of each sync that did something."""
    from mmrag.ingest.watch import watch

    code = EXIT_OK
    with _stop_event() as stop:
        outcomes = watch(
            folder,
            lambda look: qa.sync_folder(
                folder, progress=look, allow_removal=options.allow_removal, **page_options
            ),
            stop=stop,
            index_folder=qa.path,
        )
        complain(f"Watching {folder}. Ctrl-C ends it; what is committed stays.")
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                complain(f"not synced: {error_line(outcome)}")
                code = EXIT_FAILED
            else:
                output.write({"folder": folder, **sync_data(outcome)}, f"{folder}: {outcome}")
                code = EXIT_OK
    return code


@contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set, so that what is under way ends at a commit."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield stop
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
