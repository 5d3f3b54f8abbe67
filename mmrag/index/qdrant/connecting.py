"""Addresses of Qdrant servers, and connections to them.

A key goes with every request. Over plain http every machine between could read it, so it is refused beyond a
private network unless ``MMRAG_KEY_OVER_HTTP=1`` says otherwise, as in `mmrag.serving`. It is remembered by
`mmrag.masking` and stands in no message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from mmrag.errors import IndexFormatError
from mmrag.index.qdrant.settings import CollectionSettings, ServerSettings
from mmrag.masking import remember_secret
from mmrag.serving.connection import OPEN_KEY_VARIABLE
from mmrag.serving.wire import is_loopback, is_private

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from mmrag.index.qdrant.server import Server

KEY_VARIABLE = "MMRAG_QDRANT_API_KEY"
LEAST_VERSION = (1, 17)
"""Of a server: from then on it can leave points alone that are there, so that two writers make one index."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")
_PORT = 6333

_FLAG, _WHOLE = r"[01]", r"[0-9]{1,5}"
SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "grpc": (_FLAG, lambda value: value == "1"),
    "grpc_port": (_WHOLE, int),
    "timeout": (r"[0-9]+(\.[0-9]+)?", float),
    "shards": (_WHOLE, int),
    "replicas": (_WHOLE, int),
    "write_consistency": (_WHOLE, int),
    "quantization": ("int8", str),
    "on_disk": (_FLAG, lambda value: value == "1"),
}
"""What an address may set, its form and its type."""

_OF_SERVER = ("grpc", "grpc_port", "timeout")


@dataclass(frozen=True, slots=True)
class Address:
    """What stands in ``qdrant://host:port/COLLECTION``.

    Attributes:
        url: of the server, http or https.
        collection: name of the collection.
        settings: what its query changes of how the server is talked to.
        new_collection: what it changes of how a new index is made; one that is there keeps what it has.
    """

    url: str
    collection: str
    settings: ServerSettings
    new_collection: CollectionSettings


def read_address(address: str) -> Address:
    """Read ``qdrant://host[:port]/COLLECTION[?SETTING=VALUE&...]``: `SETTINGS`, or ``tls=1`` for https.

    Raises:
        ValueError: it is none, or holds a key.
    """
    parts = urlsplit(address)
    example = "Write it like qdrant://localhost:6333/reports."
    if parts.scheme != "qdrant" or not parts.hostname:
        raise ValueError(
            f"an address of Qdrant must be qdrant://host:port/COLLECTION, got {address!r}. {example}"
        )
    if parts.username or parts.password:
        raise ValueError(f"an address of Qdrant must not carry a key. Set {KEY_VARIABLE} instead.")
    try:
        port = parts.port or _PORT
    except ValueError:
        raise ValueError(f"the port of {address!r} must be a number. {example}") from None
    name = unquote(parts.path.strip("/"))
    check_name(name)
    changes: dict[str, Any] = {}
    scheme = "http"
    for key, value in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)):
        if key == "tls" and value in ("0", "1"):
            scheme = "https" if value == "1" else "http"
        elif key in SETTINGS and re.fullmatch(SETTINGS[key][0], value):
            changes[key] = SETTINGS[key][1](value)
        else:
            raise ValueError(
                f"a setting in an address of Qdrant must be one of tls, {', '.join(SETTINGS)}, "
                f"got {key}={value}. Give the others to QdrantIndex.open."
            )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    of_server = {key: value for key, value in changes.items() if key in _OF_SERVER}
    of_collection = {key: value for key, value in changes.items() if key not in _OF_SERVER}
    return Address(
        f"{scheme}://{host}:{port}", name, ServerSettings(**of_server), CollectionSettings(**of_collection)
    )


def check_name(name: str) -> None:
    """Refuse a name that no collection can have.

    Raises:
        ValueError: it has other characters than letters, digits, ``_``, ``-`` and ``.``.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the name of a collection must be letters, digits, '_', '-' and '.', got {name!r}. "
            "Write it like qdrant://localhost:6333/reports."
        )


def connect(
    url: str, api_key: str | None, settings: ServerSettings, client_options: dict[str, Any] | None = None
) -> Server:
    """Connect to a server, and refuse one that is too old.

    Args:
        url: http or https.
        api_key: None: that of the environment, ``MMRAG_QDRANT_API_KEY``; ``""``: none.
        settings: how it is talked to.
        client_options: of the HTTP client below, such as a transport.

    Raises:
        ValueError: the URL is none, or the key would go over plain http beyond a private network.
        ServerError: it cannot be reached, refuses the key, or is no Qdrant.
        MissingExtraError: qdrant-client is not installed.
    """
    from mmrag.index.qdrant.server import Server

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"url must be an http or https URL, got {url!r}. Write it like http://localhost:6333."
        )
    if parts.username or parts.password:
        raise ValueError("url must not carry a user name or a password. Pass api_key=... instead.")
    key = os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key
    key = key.strip()
    if not all("!" <= char <= "~" for char in key):
        raise ValueError(
            "an API key must be printable ASCII without spaces, got something else. Copy it again."
        )
    remember_secret(key)
    host = parts.hostname
    may_read = parts.scheme == "https" or is_loopback(host) or is_private(host)
    if key and not may_read and os.environ.get(OPEN_KEY_VARIABLE) != "1":
        raise ValueError(
            f"an API key must not go over plain http to another network, got {url!r}. Use https; or send "
            f"no key with api_key=''; or allow it with {OPEN_KEY_VARIABLE}=1."
        )
    server = Server(lambda: _client(url, key, settings, client_options or {}), url, settings)
    try:
        version = server.call(lambda: server.client.info()).version
        _check_version(version, url)
    except BaseException:
        server.close()
        raise
    return server


def _client(url: str, key: str, settings: ServerSettings, options: dict[str, Any]) -> QdrantClient:
    import warnings

    from qdrant_client import QdrantClient

    parts = urlsplit(url)
    with warnings.catch_warnings():
        # it warns of a key over plain http; that was decided above
        warnings.simplefilter("ignore", UserWarning)
        return QdrantClient(
            url=url,
            port=parts.port or (443 if parts.scheme == "https" else _PORT),
            grpc_port=settings.grpc_port,
            prefer_grpc=settings.grpc,
            api_key=key or None,
            timeout=max(1, round(settings.timeout)),
            check_compatibility=False,
            trust_env=not is_loopback(parts.hostname or ""),
            **options,
        )


def _check_version(version: str, url: str) -> None:
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise IndexFormatError(
            f"Qdrant at {url} must be of version {least} or newer, got {version!r}. Upgrade it, a minor "
            "version at a time."
        )


def memory_server(settings: ServerSettings) -> Server:
    """Return the client's local mode in memory, for tests.

    Raises:
        MissingExtraError: qdrant-client is not installed.
    """
    from mmrag.index.qdrant.server import Server

    return Server.in_memory(settings)


def shown_place(url: str, collection: str) -> str:
    """Return the address of a collection, as `read_address` reads it."""
    parts = urlsplit(url)
    return f"qdrant://{parts.netloc}/{collection}{'?tls=1' if parts.scheme == 'https' else ''}"
