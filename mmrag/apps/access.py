"""Who may ask the API for what: bearer keys, each with its collections and a filter of its own.

Only digests of keys are kept. A key that is not known and a key that may not see a collection get different
answers (401 and 404), but a collection that is hidden looks like one that is not there.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrag.index.filters import Filter, validate

SHORTEST_KEY = 16
"""Characters of a key: shorter ones can be guessed."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do.

    Attributes:
        name: for the log.
        collections: names that it may see; None for all.
        filter: on the metadata of what it may see; None for everything.
        can_write: whether it may add and remove documents.
    """

    name: str = "anyone"
    collections: tuple[str, ...] | None = None
    filter: Filter | None = None
    can_write: bool = True

    def sees(self, collection: str) -> bool:
        """Return whether a collection is there for this caller."""
        return self.collections is None or collection in self.collections

    def narrow_filter(self, filter: Filter | None) -> Filter | None:
        """Return a caller's filter within what this grant allows."""
        if self.filter is None or filter is None:
            return self.filter or filter
        return {"$and": [self.filter, filter]}


class UnknownKeyError(PermissionError):
    """No key was sent, or one that is not known."""


class Access:
    """The keys of a server.

    Args:
        grants: by the SHA-256 of the key, in hexadecimal. None or empty: nobody needs a key.
    """

    def __init__(self, grants: Mapping[str, Grant] | None = None) -> None:
        self._grants = dict(grants or {})

    @property
    def is_open(self) -> bool:
        """Return whether nobody needs a key."""
        return not self._grants

    def grant(self, authorization: str | None) -> Grant:
        """Return what the sender of an ``Authorization`` header may do.

        Raises:
            UnknownKeyError: keys are needed, and this is none of them.
        """
        if self.is_open:
            return Grant()
        scheme, _, key = (authorization or "").partition(" ")
        digest = key_digest(key.strip())
        match = None
        for known_digest, grant in self._grants.items():  # all of them: the time says nothing about which
            if hmac.compare_digest(known_digest, digest):
                match = grant
        if scheme.lower() != "bearer" or match is None:
            raise UnknownKeyError("send a key that this server knows: Authorization: Bearer KEY.")
        return match


def key_digest(key: str) -> str:
    """Return the SHA-256 of a key, in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> Access:
    """Read a file of keys.

    The file is a JSON list of objects: ``key`` or ``key_sha256``, and optionally ``name``, ``collections`` (a
    list), ``filter`` (`mmrag.index.filters`) and ``write`` (false by default).

    Raises:
        ValueError: the file is not such a list, a key is too short or is there twice, or a key with a filter
            may write (what it adds would be out of its own sight).
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be a JSON list of keys, got {error}.") from error
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} must be a JSON list with a key at least, got {type(entries).__name__}.")
    grants: dict[str, Grant] = {}
    for number, entry in enumerate(entries, start=1):
        digest, grant = _entry(entry, f"{path}, key {number}")
        if digest in grants:
            raise ValueError(f"{path}, key {number}: a key must be there once, got one that is there twice.")
        grants[digest] = grant
    return Access(grants)


_FIELDS = {"key", "key_sha256", "name", "collections", "filter", "write"}


def _entry(entry: Any, where: str) -> tuple[str, Grant]:  # noqa: ANN401  of JSON
    """Return digest and grant of one entry; no message repeats a key."""
    if not isinstance(entry, dict) or set(entry) - _FIELDS:
        names = sorted(set(entry) - _FIELDS) if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"{where}: must be an object of {sorted(_FIELDS)}, got {names}.")
    key, digest = entry.get("key"), entry.get("key_sha256")
    if (key is None) == (digest is None):
        raise ValueError(f"{where}: must have 'key' or 'key_sha256', got both or neither.")
    if key is not None:
        if not isinstance(key, str) or len(key) < SHORTEST_KEY:
            raise ValueError(
                f"{where}: a key must have at least {SHORTEST_KEY} characters. Make a longer one."
            )
        digest = key_digest(key)
    if not isinstance(digest, str) or len(digest) != 64:
        raise ValueError(f"{where}: key_sha256 must be 64 hexadecimal digits.")
    collections, filter = entry.get("collections"), entry.get("filter")
    if collections is not None and not _is_list_of_names(collections):
        raise ValueError(f"{where}: collections must be a list of names, got {collections!r}.")
    validate(filter)
    can_write = entry.get("write", False)
    if not isinstance(can_write, bool):
        raise ValueError(f"{where}: write must be true or false, got {can_write!r}.")
    if can_write and filter is not None:
        raise ValueError(
            f"{where}: a key with a filter must not write, since it would not see what it adds. Use two keys."
        )
    grant = Grant(
        str(entry.get("name", where)),
        None if collections is None else tuple(collections),
        filter,
        can_write,
    )
    return digest.lower(), grant


def _is_list_of_names(value: object) -> bool:
    return (
        isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, str) for v in value)
    )
