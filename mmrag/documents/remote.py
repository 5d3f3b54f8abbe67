"""Files of object stores and other file systems, by fsspec (extra ``fsspec``): ``s3://bucket/reports``.

A file is read twice: once for its digest, when it is looked for, and once for its pages, when it is its turn.
In between only its URL is kept, so that memory does not grow with the number of files. An index keeps the
bytes of what it has read, as of all that has no path here: its pages are shown though the store is away.
"""

from __future__ import annotations

import re
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

from mmrag.errors import DocumentError, MissingExtraError

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
LOCAL_SCHEMES = ("file", "local")


def is_url(text: str) -> bool:
    """Return whether an input names a file system by a URL; a letter of a Windows drive does not."""
    return _URL.match(text) is not None


def local_path(url: str) -> str | None:
    """Return the path that a URL of this machine's own files names; None for any other."""
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme in LOCAL_SCHEMES else None


def list_files(url: str, *, recursive: bool) -> list[str]:
    """List the files that a URL names: itself, those of a folder, or those that a pattern matches, sorted.

    Raises:
        MissingExtraError: fsspec is not installed.
        ValueError: it has a password, which would be written into the index with the name, or is a chain of
            several file systems.
        DocumentError: nothing is there, or the store cannot be reached; the message is the reason alone.
    """
    fsspec = _imported_fsspec(url)
    if urlsplit(url).password is not None:
        raise ValueError(
            "a URL of files must have no password, which would be their name in the index. Set it where the "
            "file system looks for it: its environment variables or configuration files."
        )
    if "::" in url:
        raise ValueError(f"a URL of files must name one file system, got the chain {url!r}. Unpack it first.")
    try:
        files, path = fsspec.core.url_to_fs(url)
        if fsspec.core.has_magic(path):
            paths = [match for match in files.glob(path) if files.isfile(match)]
        elif files.isfile(path):
            paths = [path]
        elif recursive:
            paths = files.find(path)
        else:
            paths = [item for item in files.ls(path, detail=False) if files.isfile(item)]
    except Exception as error:  # of the store's own client
        raise DocumentError(f"cannot be listed ({_line(error)})") from error
    if not paths:
        raise DocumentError("there is no such file or folder, or nothing is in it")
    return sorted(str(files.unstrip_protocol(path)) for path in paths)


def open_file(url: str) -> IO[bytes]:
    """Open a file for reading; a context manager.

    Raises:
        DocumentError: it cannot be opened.
    """
    try:
        return cast("IO[bytes]", _imported_fsspec(url).open(url, "rb").open())
    except Exception as error:  # of the store's own client
        raise DocumentError(f"cannot be read ({_line(error)})") from error


def read_file(url: str) -> bytes:
    """Read a file whole.

    Raises:
        DocumentError: it cannot be.
    """
    try:
        with open_file(url) as file:
            return bytes(file.read())
    except DocumentError:
        raise
    except Exception as error:  # of the store's own client
        raise DocumentError(f"cannot be read ({_line(error)})") from error


def _imported_fsspec(url: str) -> Any:  # noqa: ANN401  fsspec is optional and has no types
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(f"Reading {url.split('://', 1)[0]}:// files", "fsspec") from error
    return fsspec


def _line(error: BaseException) -> str:
    """Return the first line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
