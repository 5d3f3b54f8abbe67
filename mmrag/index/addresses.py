"""Where an index lies, in one text: a folder, or a store on a server.

::

    my-index                                        a folder: `mmrag.index.chroma.ChromaIndex`
    postgresql://user@host/database?schema=reports  `mmrag.index.postgres.PostgresIndex`
    postgres-dev://folder                           a PostgreSQL server started in a folder, for laptops
    qdrant://host:6333/collection                   a collection: `mmrag.index.qdrant.index.QdrantIndex`
    qdrant-edge://folder                            Qdrant's engine in this process, its files in a folder

A password in an address is a secret from the moment the address is read: `shown_address` writes ``***``
for it, and errors of servers are struck by `mmrag.masking`. Better it stands in none: PostgreSQL's own
``PGPASSWORD`` and ``~/.pgpass`` are read, and ``MMRAG_INDEX`` holds an address that no other process sees.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import unquote

from mmrag.masking import MASK, is_secret_name, remember_secret

if TYPE_CHECKING:
    from mmrag.index.base import EmbedderIdentity, Index, RowType

SCHEMES: dict[str, str] = {
    "postgresql": "mmrag.index.postgres",
    "postgres": "mmrag.index.postgres",
    "postgres-dev": "mmrag.index.postgres",
    "qdrant": "mmrag.index.qdrant",
    "qdrant-edge": "mmrag.index.qdrant",
}
"""Module of each scheme of a server, whose ``open_address`` is an `Opening`; imported on first use."""

_SCHEME = re.compile(r"([a-z][a-z0-9+-]*)://")
_BARE_SCHEMES = ("postgres-dev",)
"""Addresses that need no host: the scheme by itself, or with settings behind a question mark."""

_SETTING = re.compile(r"([?&])([^=&#]*)=([^&#]*)")


class Opening(Protocol):
    """Opens the index at an address of a server; as `open_index`."""

    def __call__(
        self,
        address: str,
        embedder: EmbedderIdentity | None,
        *,
        read_only: bool,
        row_type: RowType | None,
        rows: int | None,
    ) -> Index:
        """Open the index."""
        ...


def scheme_of(address: str | Path) -> str | None:
    """Return the scheme of a server's address, None for a folder.

    Raises:
        ValueError: the address has a scheme that no store has.
    """
    text = str(address)
    if isinstance(address, Path) and text.startswith(tuple(f"{name}:/" for name in SCHEMES)):
        raise ValueError(
            "the address of a server must be a text, got a Path, which leaves out one of its slashes. "
            "Pass it as str."
        )
    match = _SCHEME.match(text)
    bare = text.partition("?")[0]
    scheme = match[1] if match else bare if bare in _BARE_SCHEMES else None
    if scheme is not None and scheme not in SCHEMES:
        schemes = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(
            f"an index must be a folder or begin with {schemes or 'no scheme'}, got {shown_address(text)!r}. "
            "A folder of such a name is written ./NAME."
        )
    return scheme


def is_server(address: str | Path) -> bool:
    """Return whether this is the address of a server; raises as `scheme_of` does."""
    return scheme_of(address) is not None


def shown_address(address: str | Path) -> str:
    """Return an address as it may be shown and logged: without passwords and keys, which are remembered.

    >>> shown_address("postgresql://ann:pass word@db.example/reports?sslpassword=x")
    'postgresql://ann:***@db.example/reports?sslpassword=***'
    """
    text = str(address)
    match = _SCHEME.match(text)
    if match is None:
        return text
    credentials, at, rest = text[match.end() :].rpartition("@")
    user, colon, password = credentials.partition(":")
    if colon and password:
        _remember(password)
        credentials = f"{user}:{MASK}"
    return match[0] + credentials + at + _SETTING.sub(_masked_setting, rest)


def _masked_setting(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    if not is_secret_name(unquote(name)) and "password" not in name:
        return match[0] if "://" not in unquote(value) else f"{mark}{name}={shown_address(unquote(value))}"
    _remember(value)
    return f"{mark}{name}={MASK}"


def _remember(secret: str) -> None:
    for form in {secret, unquote(secret)}:
        remember_secret(form)


def open_index(
    address: str | Path,
    embedder: EmbedderIdentity | None,
    *,
    read_only: bool = False,
    row_type: RowType | None = None,
    rows: int | None = None,
) -> Index:
    """Open the index at an address; for writing, make it where there is none.

    Args:
        address: a folder, or an address of a server as the module lists them.
        embedder: what made or will make its vectors; None opens an index whoever made it, and makes none.
        read_only: search only.
        row_type: how rows are stored, ``"int8"`` or ``"float16"``. None: as the index was made, a new one
            with int8.
        rows: most rows of a record that are stored, the first ones. None: as the index was made, a new one
            with all.

    Raises:
        ValueError: the address, `row_type` or `rows` is not valid, or the latter are not those of the index.
        IndexFormatError: there is something else, or an index of a newer format.
        IndexMismatchError: another embedder made it.
        IndexLockedError: another process writes to the folder.
        MissingExtraError: the store's client is not installed.
        ServerError: the server cannot be reached, refuses, or lacks what is needed.
    """
    scheme = scheme_of(address)
    if scheme is None:
        from mmrag.index.chroma import ChromaIndex

        return ChromaIndex.open(address, embedder, read_only=read_only, row_type=row_type, rows=rows)
    opening = cast("Opening", import_module(SCHEMES[scheme]).open_address)
    return opening(str(address), embedder, read_only=read_only, row_type=row_type, rows=rows)
