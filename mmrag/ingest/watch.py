"""An index that follows a folder for as long as it is watched (extra ``watch``).

Decisions taken here:

* A change starts a sync of the folder once the files that changed have stood still: size and time of the last
  write are the same at two looks, `settle_seconds` apart. A file that is written to without end is waited for
  no longer than `MOST_WAIT`.
* A sync that fails (a folder that is not mounted, a full disk) is told and tried again after the next change.
* Hidden files and the index's own folder are not watched.
* A stop is seen between two batches of pages: what is committed stays, and the next sync does the rest.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmrag.errors import MissingExtraError, MMRagError

if TYPE_CHECKING:
    from mmrag.ingest.report import AddProgress
    from mmrag.ingest.sync import SyncReport

SETTLE_SECONDS = 1.0
MOST_WAIT = 60.0
"""Seconds that files which keep changing are waited for."""

DEBOUNCE_MS = 800
"""Milliseconds in which changes are taken as one."""

_LOOK_MS = 500  # between two looks at the stop event


class StoppedError(Exception):
    """The watch is to end; raised from a progress callback between two batches."""


def watch(
    folder: str | Path,
    sync: Callable[[Callable[[AddProgress], None]], SyncReport],
    *,
    stop: threading.Event,
    index_folder: Path | None = None,
    progress: Callable[[AddProgress], None] | None = None,
    settle_seconds: float = SETTLE_SECONDS,
) -> Iterator[SyncReport | Exception]:
    """Follow a folder: sync it, then again after each change, until `stop` is set.

    Args:
        folder: to watch, with the folders in it.
        sync: syncs it; called with a progress callback that it must call between batches.
        stop: ends the watch.
        index_folder: whose changes are not looked at.
        progress: called in turn.
        settle_seconds: between the two looks at a file that changed.

    Yields:
        The report of each sync, or the error that ended it; the watch goes on.

    Raises:
        MissingExtraError: watchfiles is not installed.
        NotADirectoryError: there is no such folder.
    """
    try:
        import watchfiles
    except ModuleNotFoundError as error:
        raise MissingExtraError("Watching a folder", "watch") from error
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise NotADirectoryError(f"a folder to watch must be there, got {root}.")

    def look(state: AddProgress) -> None:
        if stop.is_set():
            raise StoppedError
        if progress is not None:
            progress(state)

    def is_watched(_: object, path: str) -> bool:
        is_index = index_folder is not None and Path(path).is_relative_to(index_folder)
        return not is_index and not _is_hidden(Path(path), root)

    # the watch begins before the first sync, so that nothing is missed between the two
    changes = watchfiles.watch(
        root,
        watch_filter=is_watched,
        debounce=DEBOUNCE_MS,
        rust_timeout=_LOOK_MS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
    )
    next(changes, None)
    yield from _outcome(sync, look)
    for batch in changes:
        if batch and not stop.is_set():
            wait_for_writers([path for _, path in batch], settle_seconds, stop)
            yield from _outcome(sync, look)


def _outcome(
    sync: Callable[[Callable[[AddProgress], None]], SyncReport], look: Callable[[AddProgress], None]
) -> Iterator[SyncReport | Exception]:
    """Yield the report of a sync, or its error; nothing where it was stopped."""
    try:
        yield sync(look)
    except StoppedError:
        return
    except (MMRagError, ValueError, OSError) as error:
        yield error


def wait_for_writers(
    paths: Iterable[str], settle_seconds: float, stop: threading.Event, most_seconds: float = MOST_WAIT
) -> bool:
    """Wait until files stand still.

    Args:
        paths: of files that have changed; one that is gone stands still.
        settle_seconds: between two looks.
        stop: ends the wait.
        most_seconds: ends it, too.

    Returns:
        Whether they do: two looks gave the same sizes and times.
    """
    path_list = list(paths)
    end = time.monotonic() + most_seconds
    before = [_stamp(path) for path in path_list]
    while time.monotonic() < end and not stop.wait(settle_seconds):
        now = [_stamp(path) for path in path_list]
        if now == before:
            return True
        before = now
    return False


def _stamp(path: str) -> tuple[int, int] | None:
    """Return size and time of the last write; None for a file that is gone."""
    try:
        status = os.stat(path)  # noqa: PTH116  a name as the system gave it
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _is_hidden(path: Path, root: Path) -> bool:
    """Check whether a path, or a folder between it and the root, is hidden."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-1:]
    return any(part.startswith(".") for part in parts)
