"""A copy of an index while it is in use, and an index made of such a copy again.

Decisions taken here:

* *One state*: SQLite's own backup reads the file as it is at one moment, whatever is added meanwhile, and
  holds nobody up. Everything that cannot be made again stands in that file, also the bytes of files that have
  no path.
* *A backup is an index*: it opens for reading as it is, from a read-only disk too. Chroma is left out, since
  it is made of the records when the index is opened for writing; so are the pictures of pages. Replies of
  servers and traces go along: they cost a model's time. Those that are being written are left out.
* *Whole or not there*: everything is written beside the target under another name, read again and checked,
  and only then renamed. What a killed run leaves is removed by the next one to the same target.
* *Nothing is overwritten*: the target must be absent or an empty directory.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmrag.errors import IndexDamagedError, IndexFormatError, IndexLockedError
from mmrag.index.check_report import CheckReport
from mmrag.index.chroma import ChromaIndex
from mmrag.index.database import Database
from mmrag.index.directory import STORE_NAME, check_directory, index_bytes
from mmrag.index.files_check import check_files
from mmrag.index.layout import check_layout
from mmrag.index.lock import HOLDER_NAME, LOCK_NAME, WriterLock

KEPT_FOLDERS = ("replies", "traces")
"""Folders of an index that are copied beside its file."""

HARMLESS_PARTS = ("orphan",)
"""Of what is found in a copy: bytes whose document a writer was about to add."""

MOST_ATTEMPTS, WAIT_SECONDS = 3, 1.0
PART_ENDING = ".part"
PAGES_A_STEP = 4_096
"""Pages of SQLite between two looks at Ctrl-C: 16 MiB."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """Outcome of a backup or a restore.

    Attributes:
        source: directory of the index, or of its backup, that was read.
        target: directory that was made.
        records: number of records in it, each compared with its checksum.
        files: number of replies and traces beside them.
        bytes: of the index's file.
        seconds: wall time.
    """

    source: Path
    target: Path
    records: int
    files: int
    bytes: int
    seconds: float


def backup(index: str | Path, target: str | Path) -> BackupReport:
    """Copy an index, which may be in use and be written to, into a new directory, and check the copy.

    Args:
        index: its directory.
        target: absent, or an empty directory.

    Raises:
        ValueError: the target holds something, or lies in the index.
        IndexFormatError: there is no index.
        IndexDamagedError: the index is damaged, and so would be its copy; none is left.
        IndexLockedError: another process writes to this target.
        OSError, sqlite3.Error: the disk is full, or cannot be written to; nothing is left.
    """
    return _copy(index, target)


def restore(source: str | Path, target: str | Path) -> BackupReport:
    """Make an index of a backup: copy it, check it, and fill Chroma.

    Args:
        source: directory that `backup` made; it is not changed.
        target: absent, or an empty directory.

    Raises:
        as `backup`.
    """
    report = _copy(source, target)
    ChromaIndex.open(report.target, None).close()
    return report


def _copy(source: str | Path, target: str | Path) -> BackupReport:
    start = time.monotonic()
    source, target = (Path(path).expanduser().absolute() for path in (source, target))
    if not check_directory(source):
        raise IndexFormatError(
            f"{source} must be an index or a backup of one, got no {STORE_NAME} there. Name its directory."
        )
    _check_target(source, target)
    with _part_of(target) as part:
        report = _copy_checked(source, part)
        files = sum(_copy_files(source / name, part / name) for name in KEPT_FOLDERS)
        size = index_bytes(part)
    return BackupReport(source, target, report.records, files, size, time.monotonic() - start)


def _check_target(source: Path, target: Path) -> None:
    """Refuse a target that holds something, or that lies in the index."""
    if target.resolve() == source.resolve() or source.resolve() in target.resolve().parents:
        raise ValueError(f"a target must be outside of the index {source}, got {target}. Name another place.")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ValueError(f"a target must be a directory or absent, got {target}. Name another place.")
    if target.is_dir() and any(target.iterdir()):
        raise ValueError(
            f"a target must be absent or empty, got {target} with {next(target.iterdir()).name!r} in it. "
            "Name another place: nothing is overwritten."
        )


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """Make a directory beside the target that takes its name when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART_ENDING)
    if part.is_symlink() or (part.exists() and not _is_leftover(part)):
        raise ValueError(
            f"{part} must be what an interrupted backup left, or absent, got something else. "
            "Move it away, or name another target."
        )
    part.mkdir(mode=0o700, exist_ok=True)
    lock: WriterLock | None = None
    try:
        lock = WriterLock(part)  # of two runs to one target the second is refused
        _clear(part)
        yield part
        _sync(part)
        lock.release()
        for name in (LOCK_NAME, HOLDER_NAME):
            (part / name).unlink(missing_ok=True)
        if target.is_dir():
            target.rmdir()  # empty, or this fails
        part.rename(target)
        _sync_directory(target.parent)
    except IndexLockedError:
        raise
    except BaseException:
        if lock is not None:
            lock.release()
        shutil.rmtree(part, ignore_errors=True)
        raise


def _is_leftover(part: Path) -> bool:
    """Return whether a directory holds only what a run of this code writes."""
    known_names = (LOCK_NAME, HOLDER_NAME, *KEPT_FOLDERS)
    return part.is_dir() and all(
        entry.name in known_names or entry.name.startswith((STORE_NAME, HOLDER_NAME))
        for entry in part.iterdir()
    )


def _clear(part: Path) -> None:
    """Remove what a killed run left, but the lock, which is ours now."""
    for entry in part.iterdir():
        if entry.name in KEPT_FOLDERS:
            shutil.rmtree(entry)
        elif not entry.name.startswith((LOCK_NAME, HOLDER_NAME)):
            entry.unlink()


def _copy_checked(source: Path, part: Path) -> CheckReport:
    """Copy the file and check it; once more where a change of several steps was under way."""
    for attempt in range(1, MOST_ATTEMPTS + 1):
        generation = _copy_store(source / STORE_NAME, part / STORE_NAME)
        report = check_files(part)
        faults = [fault for fault in report.faults if fault.part not in HARMLESS_PARTS]
        if not faults:
            return report
        if attempt == MOST_ATTEMPTS or generation == _generation(source / STORE_NAME):
            break
        time.sleep(WAIT_SECONDS)
    raise IndexDamagedError(
        f"an index must be sound to be copied, got {len(faults)} faults in the copy of {source}: "
        f"{faults[0]}. Nothing was kept. Run: mmrag check --index {source}",
        faults[0].part,
        faults[0].key,
    )


def _generation(path: Path) -> object:
    """Return what changes with every write."""
    database = Database(path, read_only=True)
    try:
        with database.read() as connection:
            return connection.execute("SELECT value FROM state WHERE key = 'generation'").fetchone()
    finally:
        database.close()


def _copy_store(path: Path, copy: Path) -> object:
    """Copy SQLite's file as it is at one moment, without the name of a Chroma that is not copied.

    Returns:
        The generation that was copied.
    """
    copy.unlink(missing_ok=True)
    database = Database(path, read_only=True)
    try:
        with database.read() as connection:
            check_layout(connection, path)
            copy.touch(mode=0o600)
            with closing(sqlite3.connect(copy, isolation_level=None)) as target:
                connection.backup(target, pages=PAGES_A_STEP, progress=_interruptible)
                target.execute("PRAGMA trusted_schema = OFF")
                target.execute("PRAGMA journal_mode = DELETE")  # one file, without a WAL beside it
                target.execute("PRAGMA synchronous = FULL")
                target.execute("DELETE FROM state WHERE key = 'chroma'")
            return connection.execute("SELECT value FROM state WHERE key = 'generation'").fetchone()
    finally:
        database.close()


def _interruptible(status: int, pages_left: int, pages: int) -> None:
    """Let Python look at its signals between two steps."""


def _copy_files(folder: Path, copy: Path) -> int:
    """Copy regular files but those that are being written; return their number."""
    count = 0
    if folder.is_symlink() or not folder.is_dir():
        return count
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not (Path(path) / name).is_symlink()]
        there = copy / Path(path).relative_to(folder)
        there.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            file = Path(path) / name
            if name.endswith(PART_ENDING) or file.is_symlink() or not file.is_file():
                continue
            try:
                shutil.copyfile(file, there / name)
            except FileNotFoundError:  # dropped since it was listed: a reply that was of no use
                continue
            count += 1
    return count


def _sync(part: Path) -> None:
    """Write everything through to the disk before the rename makes it count."""
    for path in part.rglob("*"):
        if path.is_file() and not path.name.startswith((LOCK_NAME, HOLDER_NAME)):
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    _sync_directory(part)


def _sync_directory(path: Path) -> None:
    if os.name == "nt":  # directories cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
