"""An index written anew as small as it can be: rows in int8 or fewer of them, no free space.

Nothing is embedded or read again. The new file is complete before it takes the name of the old one, so that a
run that is killed changes nothing; until then both stand on the disk. Searching processes go on meanwhile and
follow.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from mmrag.errors import IndexFormatError
from mmrag.index.base import EmbedderIdentity, Manifest, RowType, check_rows, manifest_for
from mmrag.index.chroma import ChromaIndex
from mmrag.index.database import Database
from mmrag.index.directory import CHROMA_PREFIX, STORE_NAME, check_directory, check_embedder, index_bytes
from mmrag.index.integrity import find_faults
from mmrag.index.layout import check_layout
from mmrag.index.lock import WriterLock
from mmrag.index.repair import put_in_place, write_whole


@dataclass(frozen=True, slots=True)
class CompactReport:
    """Outcome of a `compact`.

    Attributes:
        path: directory of the index.
        records: number of records.
        row_type: how rows are stored now.
        rows: most rows of a record that are stored now; None: all.
        bytes_before: of the index's files.
        bytes_after: of the index's files.
    """

    path: Path
    records: int
    row_type: RowType
    rows: int | None
    bytes_before: int
    bytes_after: int


def compact(
    path: str | Path,
    *,
    row_type: RowType | None = None,
    rows: int | None = None,
    embedder: EmbedderIdentity | None = None,
) -> CompactReport:
    """Write an index anew, in its place.

    Args:
        path: its directory.
        row_type: how rows are to be stored. None: int8.
        rows: most rows of a record to be stored, the first ones. None: as many as now.
        embedder: that made the index; needed for `rows`, to know that its first rows can stand for all.

    Raises:
        ValueError: the index holds less than is asked for, or `rows` comes without an embedder of nested
            rows.
        IndexFormatError: there is no index, or it is damaged.
        IndexMismatchError: another embedder made it.
        IndexLockedError: another process writes.
    """
    check_rows(row_type, rows)
    directory = Path(path).expanduser().absolute()
    if not check_directory(directory):
        raise IndexFormatError(
            f"{directory} must be an index to compact, got no {STORE_NAME} there. Name the index's directory."
        )
    bytes_before = index_bytes(directory)
    lock = WriterLock(directory)
    try:
        manifest = _write_anew(directory, row_type, rows, embedder)
    finally:
        lock.release()
    index = ChromaIndex.open(directory, None)  # fills Chroma
    count = index.count()
    index.close()
    return CompactReport(
        directory, count, manifest.row_type, manifest.rows, bytes_before, index_bytes(directory)
    )


def _write_anew(
    directory: Path, row_type: RowType | None, rows: int | None, embedder: EmbedderIdentity | None
) -> Manifest:
    """Write the file anew with other settings of rows; return its manifest."""
    path = directory / STORE_NAME
    database = Database(path, read_only=True)
    try:
        with database.read() as connection:
            check_layout(connection, path)
            findings = find_faults(connection, path)
            if findings.manifest is None or findings.faults:
                raise IndexFormatError(
                    f"{directory} must be sound to be written anew, got {findings.faults[0]}. "
                    f"Run: mmrag check --repair --index {directory}"
                )
            manifest = _new_manifest(directory, findings.manifest, row_type, rows, embedder)
            draft = write_whole(connection, path, findings, manifest)
    finally:
        database.close()
    put_in_place(draft, path, [])
    for folder in directory.glob(f"{CHROMA_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def _new_manifest(
    directory: Path,
    manifest: Manifest,
    row_type: RowType | None,
    rows: int | None,
    embedder: EmbedderIdentity | None,
) -> Manifest:
    """Return the manifest with these settings of rows; refuse what the index cannot give."""
    check_embedder(directory, manifest, embedder)
    row_type = row_type or "int8"
    if row_type == "float16" and manifest.row_type == "int8":
        raise ValueError(
            f"row_type must be 'int8' for an index that holds no more, got 'float16' for {directory}. "
            "Embed it again: mmrag reembed OLD NEW --row-type float16"
        )
    if rows is None:
        return replace(manifest, row_type=row_type)
    if manifest.rows is not None and rows > manifest.rows:
        raise ValueError(
            f"rows must be at most the {manifest.rows} that the index holds, got {rows} for {directory}. "
            f"Embed it again: mmrag reembed OLD NEW --rows {rows}"
        )
    if embedder is None:
        raise ValueError(
            f"rows must come with the embedder that made the index, got rows={rows} without one. Pass it."
        )
    return replace(manifest, row_type=row_type, rows=manifest_for(embedder, row_type, rows).rows)
