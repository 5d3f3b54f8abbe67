"""Where the index of a command is: a directory or the address of a server."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from mmrag.cli.command import UsageError
from mmrag.errors import IndexFormatError
from mmrag.index.addresses import is_server, shown_address

INDEX_VARIABLE = "MMRAG_INDEX"
"""Environment variable with the index directory or address, passwords and all, of commands without one."""

_index_option = partial(Option, rich_help_panel="Index")

_INSTEAD = {
    "compact": "PostgreSQL does so by itself (VACUUM); Qdrant optimises its segments.",
    "reembed": "Write the new index into a folder, then bring it over: mmrag copy NEW ADDRESS",
    "demo": "Add the samples to a folder.",
    "backup": "The store has its own: pg_dump, snapshots of Qdrant; or: mmrag copy ADDRESS FOLDER",
    "restore": "Make an index in a folder, then bring it over: mmrag copy FOLDER ADDRESS",
}


@dataclass(frozen=True)
class IndexOptions:
    """Where the index is."""

    index: Annotated[
        str,
        _index_option(
            "--index",
            metavar="DIR",
            envvar=INDEX_VARIABLE,
            show_envvar=False,
            help="Index directory, or the address of a server: postgresql://USER@HOST/DATABASE. "
            f"{INDEX_VARIABLE} is not seen by others.",
        ),
    ] = "mmrag-index"
    cache: Annotated[
        Path | None,
        _index_option(
            "--cache", metavar="DIR", help="Keep pictures, replies and traces of an index on a server here."
        ),
    ] = None

    @property
    def is_server(self) -> bool:
        """Return whether the index is on a server."""
        return is_server(self.index)

    @property
    def location(self) -> str:
        """Return where the index is, as it may be shown."""
        return shown_address(self.index) if self.is_server else str(Path(self.index))

    @property
    def folder(self) -> Path | None:
        """Return the local folder for replies and traces: the index directory, or that of ``--cache``."""
        return self.cache if self.is_server else Path(self.index)

    def directory(self, command: str) -> Path:
        """Return the index directory, for a command that works on no server.

        Raises:
            UsageError: the index is on a server; the error says what to do there.
        """
        return directory_of(self.index, command)

    def arguments(self) -> dict[str, Any]:
        """Return where the index is as arguments of `DocumentQA.open`."""
        return {"path": self.index, "cache": self.cache}

    def check_index(self) -> None:
        """Check that there is an index directory; a server says by itself what it has.

        Raises:
            IndexFormatError: there is none.
        """
        if not self.is_server and not Path(self.index).is_dir():
            raise IndexFormatError(
                f"--index must be a directory with an index, got {self.index!r}, which is not there. "
                f"Make one: mmrag index PATH --index {self.index}"
            )


def directory_of(location: str | Path, command: str) -> Path:
    """Return the directory that a location names, for a command that works on no server.

    Raises:
        UsageError: it is the address of a server; the error says what to do there.
    """
    if is_server(location):
        raise UsageError(
            f"this command works on a directory, got {shown_address(location)}. {_INSTEAD[command]}"
        )
    return Path(location)
