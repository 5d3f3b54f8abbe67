"""Folders that are an index of this package: what lies in one is no document."""

from __future__ import annotations

from pathlib import Path

INDEX_FILE = "index.sqlite"

APPLICATION_MARK = b"mmra"
"""Bytes 68 to 71 of that file: SQLite's place for whose file it is."""

INDEX_REASON = "an index of mmrag, whose files are no documents"


def is_index_folder(folder: Path) -> bool:
    """Return whether a folder holds an index, whole or damaged; a folder that cannot be read holds none."""
    path = folder / INDEX_FILE
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return False
    return header.startswith(b"SQLite format 3") and header[68:72] == APPLICATION_MARK


def index_folder_of(path: Path, base: Path) -> Path | None:
    """Return the outermost folder below `base` that holds `path` and is an index; None without one."""
    inside = [folder for folder in path.parents if folder != base and folder.is_relative_to(base)]
    return next((folder for folder in reversed(inside) if is_index_folder(folder)), None)
