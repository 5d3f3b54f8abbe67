"""Check of the files of an index: SQLite's, and Chroma's against it; their repair, where it is asked for.

Nothing is written to check: Chroma, which writes when it is opened, is looked at in a copy. A process that
writes meanwhile is no fault, but Chroma is then left out, with a note.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmrag.errors import IndexDamagedError, IndexFormatError
from mmrag.index.check_report import CheckReport, Fault
from mmrag.index.chroma_vectors import ChromaError, ChromaVectors
from mmrag.index.database import Database
from mmrag.index.directory import (
    CHROMA_PREFIX,
    STORE_NAME,
    check_chroma_folder,
    check_directory,
    is_chroma_name,
)
from mmrag.index.integrity import find_faults
from mmrag.index.layout import check_layout
from mmrag.index.lock import WriterLock
from mmrag.index.matrices import MatrixTable
from mmrag.index.repair import put_in_place, with_repairs, write_whole


def check_folder(directory: Path, *, repair: bool = False) -> CheckReport:
    """Check the index in a directory, also one that is too damaged to be opened.

    Args:
        directory: of the index.
        repair: see `Index.check`. Chroma is filled when the index is next opened for writing.

    Raises:
        IndexFormatError: there is no index, or its tables are not ours, or its manifest is damaged.
        IndexLockedError: a repair, and another process writes.
    """
    directory = directory.expanduser().absolute()
    if not check_directory(directory):
        raise IndexFormatError(
            f"{directory} must be an index to check, got no {STORE_NAME} there. Name the index's directory."
        )
    if not repair:
        return check_files(directory)
    lock = WriterLock(directory)
    try:
        return check_files(directory, repair=True)
    finally:
        lock.release()


def check_files(directory: Path, *, repair: bool = False) -> CheckReport:
    """Check the files in a directory; for a repair the caller holds the writer's lock and has none open."""
    path = directory / STORE_NAME
    if repair:
        _fold_wal(path)
    database = Database(path, read_only=True)
    draft = None
    try:
        chroma_faults, notes = _check_chroma(database, directory)
        with database.read() as connection:
            check_layout(connection, path)
            findings = find_faults(connection, path)
            if repair and findings.faults:
                draft = write_whole(connection, path, findings)
    except (IndexDamagedError, sqlite3.DatabaseError) as error:
        raise IndexFormatError(
            f"{path} must be an SQLite file whose tables can be listed, got one damaged beyond repair "
            f"({error}). Restore it from a copy, or index the documents again into a new directory."
        ) from error
    finally:
        database.close()
    faults = [*findings.faults, *chroma_faults]
    if not findings.has_checksums:
        notes.append("There are no checksums yet; the index gets them when it is next opened for writing.")
    if repair and faults:
        if draft is not None:
            notes += put_in_place(draft, path, findings.faults)
        for folder in directory.glob(CHROMA_PREFIX + "*"):
            shutil.rmtree(folder, ignore_errors=True)
        faults = with_repairs(faults)
    records = len(findings.whole_seqs)
    return CheckReport(directory, records, tuple(faults), tuple(notes), repair and bool(faults))


def _fold_wal(path: Path) -> None:
    """Write what stands in the WAL into the file, as far as damage lets it."""
    with suppress(sqlite3.Error, UnicodeDecodeError):  # the latter where a message quotes what is no text
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()


def _check_chroma(database: Database, directory: Path) -> tuple[list[Fault], list[str]]:
    """Compare a copy of Chroma with row 0 of every record."""
    try:
        with database.read() as connection:
            check_layout(connection, directory / STORE_NAME)
            before = _state(connection)
            _, ids, first = MatrixTable().first_rows(connection)
    except (IndexFormatError, sqlite3.DatabaseError):
        return [], ["Chroma was not compared: the rows to compare it with cannot be read."]
    name = before.get("chroma", "")
    if not name:
        return [], ["Chroma was never filled; it is when the index is next opened for writing."]
    with tempfile.TemporaryDirectory(prefix="mmrag-check-") as scratch:
        try:
            problems = _compare(
                directory / name,
                Path(scratch) / "copy",
                before.get("uuid", ""),
                dict(zip(ids, first, strict=True)),
            )
        except (ChromaError, OSError, shutil.Error) as error:
            problems = [str(error)]
    with database.read() as connection:
        if _state(connection) != before or before["pending"] != "0":
            return [], ["Chroma was not compared: a process is writing to it, or was interrupted."]
    return [Fault("chroma", name, problem) for problem in problems], []


def _state(connection: sqlite3.Connection) -> dict[str, str]:
    """Return what changes with every write: the generation, Chroma's folder, the ids that it may lack."""
    rows = connection.execute("SELECT key, value FROM state").fetchall()
    (pending_count,) = connection.execute("SELECT count(*) FROM pending").fetchone()
    return {**{str(key): str(value) for key, value in rows}, "pending": str(pending_count)}


def _compare(folder: Path, copy: Path, owner: str, rows: dict[str, NDArray[np.float32]]) -> list[str]:
    """Return what is wrong with the vectors in a folder of Chroma.

    Raises:
        ChromaError: Chroma cannot read it.
        OSError: it cannot be copied.
    """
    if not is_chroma_name(folder.name):
        return ["a name that this package does not give"]
    if not folder.is_dir():
        return ["missing"]
    problem = check_chroma_folder(folder)
    if problem is not None:
        return [problem]
    shutil.copytree(folder, copy)
    vectors = ChromaVectors(copy, owner, create=False)
    try:
        stray_ids, wrong_ids, ids = [], [], set()
        for part_ids, part_rows in vectors.rows():
            ids.update(part_ids)
            for id, row in zip(part_ids, part_rows, strict=True):
                if id not in rows:
                    stray_ids.append(id)
                elif not np.array_equal(row, rows[id]):
                    wrong_ids.append(id)
    finally:
        vectors.close()
    groups = {
        "vectors are not there": sorted(set(rows) - ids),
        "vectors are of no record": sorted(stray_ids),
        "vectors are not row 0 of their record": sorted(wrong_ids),
    }
    return [f"{len(names)} {problem}, such as {names[0]!r}" for problem, names in groups.items() if names]
