"""What stands in the directory of a persistent index, and what is refused before anything is written."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from mmrag.errors import IndexFormatError, IndexMismatchError
from mmrag.index.base import EmbedderIdentity, Manifest, RowType
from mmrag.index.lock import HOLDER_NAME, LOCK_NAME
from mmrag.index.schema import check_header

STORE_NAME = "index.sqlite"
CHROMA_PREFIX = "chroma-"

_FILES = (
    *(STORE_NAME + ending for ending in ("", "-wal", "-shm", "-journal", ".new")),
    LOCK_NAME,
    HOLDER_NAME,
)
"""What is opened by name; a pipe or a device among them would never come to an end."""


def check_directory(directory: Path) -> bool:
    """Check whether the directory holds an index; refuse a directory of something else, without writing."""
    store = directory / STORE_NAME
    if not directory.exists():
        return False
    if not directory.is_dir():
        raise IndexFormatError(f"an index is a directory, got the file {directory}. Name another place.")
    for name in _FILES:
        _check_regular(directory / name)
    if store.exists():
        check_header(store)
        return True
    names = {entry.name for entry in directory.iterdir()}
    foreign = sorted(
        name for name in names if name != LOCK_NAME and not name.startswith((STORE_NAME, HOLDER_NAME))
    )
    if foreign:
        raise IndexFormatError(
            f"{directory} must be an index, empty or absent, got a directory with {foreign[0]!r} and no "
            f"{STORE_NAME}. Name another directory; nothing was written."
        )
    return False


def _check_regular(path: Path) -> None:
    """Refuse what is there and no regular file.

    Raises:
        IndexFormatError: it is a folder, a pipe, a device or a socket.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise IndexFormatError(
            f"{path} must be a regular file, got one that cannot be looked at ({error.strerror}). "
            "Name another directory, or restore the index from a copy."
        ) from error
    if not stat.S_ISREG(mode):
        raise IndexFormatError(
            f"{path} must be a regular file, got a folder, pipe, device or socket. "
            "Name another directory, or restore the index from a copy; nothing was read or written."
        )


def index_bytes(directory: Path) -> int:
    """Return the bytes of an index's files: SQLite's and Chroma's, without pictures, replies and traces."""
    files = [*directory.glob(f"{STORE_NAME}*"), *directory.glob(f"{CHROMA_PREFIX}*/**/*")]
    return sum(file.stat().st_size for file in files if file.is_file())


def is_chroma_name(name: str) -> bool:
    """Return whether a name is one that this code gives a folder of Chroma; a path to elsewhere is none."""
    return re.fullmatch(CHROMA_PREFIX + "[0-9a-f]{8}", name) is not None


def check_chroma_folder(folder: Path) -> str | None:
    """Return what is wrong with the files of Chroma: a link, pipe or device; None where nothing is."""
    for path in [folder, *folder.rglob("*")]:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return f"{path} is no regular file"
    return None


def check_row_settings(
    directory: Path, manifest: Manifest, row_type: RowType | None, rows: int | None
) -> None:
    """Refuse settings of rows that the index was not made with; None is let pass.

    Raises:
        ValueError: `row_type` or `rows` is another.
    """
    settings = {"row_type": row_type, "rows": rows}
    for name, value in settings.items():
        own_value = getattr(manifest, name)
        if value is not None and value != own_value:
            raise ValueError(
                f"{name} must be that of the index, {own_value!r}, got {value!r} for {directory}. "
                "Leave it out, or write the index anew, if it holds as much: "
                f"mmrag compact --index {directory}"
            )


def check_embedder(directory: Path, manifest: Manifest, embedder: EmbedderIdentity | None) -> None:
    """Refuse an embedder that did not make the index; None is let pass.

    Raises:
        IndexMismatchError: its fingerprint or dim is another.
    """
    if embedder is None or (embedder.fingerprint, embedder.dim) == (manifest.fingerprint, manifest.dim):
        return
    raise IndexMismatchError(
        f"index {directory} was built with {manifest.dim}-dim vectors from '{manifest.embedder}' "
        f"(fingerprint {manifest.fingerprint[:12]}), this embedder gives {embedder.dim}-dim from "
        f"'{embedder.name}' (fingerprint {embedder.fingerprint[:12]}). "
        "Load the matching embedder, or make an index for this one without reading the documents again: "
        f"mmrag reembed {directory} NEW"
    )
