"""``mmrag api`` and ``mmrag ui``: an index over HTTP, for programs and for people."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import webbrowser
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mmrag.cli.allocator import bound_heaps
from mmrag.cli.command import EXIT_OK, UsageError
from mmrag.cli.common import AnswererOptions, EmbedderOptions, IndexOptions, ReaderOptions, RerankOptions
from mmrag.cli.visible import complain
from mmrag.index.addresses import is_server

if TYPE_CHECKING:
    from mmrag.apps.access import Access
    from mmrag.apps.collections import Collections
    from mmrag.pipeline import DocumentQA

KEY_VARIABLE = "MMRAG_API_KEY"
"""Environment variable with a key that may do everything."""

_server_option = partial(Option, rich_help_panel="Server")


@dataclass(frozen=True)
class HttpOptions:
    """Where a server listens, and to whom."""

    host: Annotated[str, _server_option("--host", metavar="HOST", help="Address it listens on.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, _server_option("--port", min=0, max=65535, metavar="N", help="0: any free one.")] = (
        8321
    )
    allow_host: Annotated[
        list[str] | None,
        _server_option(
            "--allow-host",
            metavar="NAME",
            help="Host name that it answers to besides localhost; * for any. May be repeated.",
        ),
    ] = None
    keys: Annotated[
        Path | None,
        _server_option(
            "--keys",
            metavar="FILE",
            help="JSON list of bearer keys, each with its collections and filter (docs/api.md). "
            f"{KEY_VARIABLE} holds one that may do everything.",
        ),
    ] = None
    read_only: Annotated[
        bool, _server_option("--read-only", help="Add and remove nothing; others may write meanwhile.")
    ] = False

    def access(self) -> Access:
        """Return the keys.

        Raises:
            UsageError: anybody could reach the server without a key, or keys from two places.
        """
        from mmrag.apps.access import Access, Grant, key_digest, read_keys

        key = os.environ.get(KEY_VARIABLE)
        if key and self.keys is not None:
            raise UsageError(f"keys come from --keys or from {KEY_VARIABLE}, got both.")
        if self.keys is not None:
            return read_keys(self.keys)
        if key:
            return Access({key_digest(key): Grant(KEY_VARIABLE)})
        if not _is_loopback(self.host):
            raise UsageError(
                f"--host {self.host} can be reached from other machines: give --keys FILE, or set "
                f"{KEY_VARIABLE}."
            )
        return Access()

    def hosts(self) -> tuple[str, ...]:
        """Return the host names that the server answers to."""
        from mmrag.apps.api import LOOPBACK

        own_name = () if self.host in ("0.0.0.0", "::") else (self.host,)
        return (*LOOPBACK, *own_name, *(self.allow_host or ()))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class ServedIndexOptions(IndexOptions):
    """Which indexes a server serves."""

    collection: Annotated[
        list[str] | None,
        Option(
            "--collection",
            metavar="NAME=DIR",
            help="Another index (directory or address) under a name of its own; may be repeated. --index is "
            "'documents'.",
            rich_help_panel="Index",
        ),
    ] = None
    allow_paths: Annotated[
        Path | None,
        Option(
            "--allow-paths",
            metavar="DIR",
            help="Folder of this machine whose files callers may add by path.",
            rich_help_panel="Index",
        ),
    ] = None

    def locations(self) -> dict[str, IndexOptions]:
        """Return where the index of each collection is.

        Raises:
            UsageError: an entry is not NAME=DIR, or a name is there twice.
        """
        from mmrag.apps.collections import DEFAULT_COLLECTION

        locations_by_name = dict[str, IndexOptions]()
        for entry in self.collection or ():
            name, sign, folder = entry.partition("=")
            if not (name and sign and folder):
                raise UsageError(f"--collection must be NAME=DIR, got {entry!r}.")
            if name in locations_by_name:
                raise UsageError(f"--collection names must differ, got {name!r} twice.")
            locations_by_name[name] = IndexOptions(folder, self._cache(name, folder))
        if locations_by_name and self.index == IndexOptions().index:
            return locations_by_name
        return {DEFAULT_COLLECTION: IndexOptions(self.index, self.cache), **locations_by_name}

    def _cache(self, name: str, location: str) -> Path | None:
        """Return the local folder of a further index on a server: its own one in that of ``--cache``."""
        return self.cache / name if self.cache is not None and is_server(location) else None


@dataclass(frozen=True)
class LimitOptions:
    """What a request may cost."""

    max_upload: Annotated[
        int, _server_option("--max-upload", min=1, metavar="MB", help="Size of a request.")
    ] = 200
    timeout: Annotated[
        float, _server_option("--timeout", min=1, metavar="S", help="Seconds of a request.")
    ] = 300.0


def api(
    index: ServedIndexOptions,
    embedder: EmbedderOptions,
    reader: ReaderOptions,
    rerank: RerankOptions,
    answerer: AnswererOptions,
    http: HttpOptions,
    limits: LimitOptions,
) -> int:
    """Serve indexes over HTTP until a signal ends it."""
    parts = (index, embedder, reader, rerank, answerer, http, limits)
    return _run(*parts, with_page=False, browser=False)


def ui(
    index: ServedIndexOptions,
    embedder: EmbedderOptions,
    reader: ReaderOptions,
    rerank: RerankOptions,
    answerer: AnswererOptions,
    http: HttpOptions,
    limits: LimitOptions,
    browser: Annotated[bool, Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> int:
    """Serve a page to ask and look, and the API behind it, until a signal ends it."""
    parts = (index, embedder, reader, rerank, answerer, http, limits)
    return _run(*parts, with_page=True, browser=browser)


def _run(
    index: ServedIndexOptions,
    embedder: EmbedderOptions,
    reader: ReaderOptions,
    rerank: RerankOptions,
    answerer: AnswererOptions,
    http: HttpOptions,
    limits: LimitOptions,
    *,
    with_page: bool,
    browser: bool,
) -> int:
    bound_heaps()
    from mmrag.apps.api import create_app
    from mmrag.apps.scope import ServerParts

    locations = index.locations()
    for location in locations.values():
        if http.read_only:
            location.check_index()
    parts = ServerParts(
        _collections(locations, embedder, reader, rerank, answerer, http),
        http.access(),
        limits.timeout,
        index.allow_paths,
    )
    for name in parts.collections:
        parts.collections.get(name)  # a wrong directory is told now, not at the first request
    app = create_app(parts, hosts=http.hosts(), most_bytes=limits.max_upload << 20, with_page=with_page)
    listen(app, http, "/" if with_page else "/api", browser=browser)
    return EXIT_OK


def _collections(
    locations: dict[str, IndexOptions],
    embedder: EmbedderOptions,
    reader: ReaderOptions,
    rerank: RerankOptions,
    answerer: AnswererOptions,
    http: HttpOptions,
) -> Collections:
    from mmrag.apps.collections import Collections
    from mmrag.pipeline import DocumentQA

    own_embedder = embedder.load_embedder()

    def open_index(location: IndexOptions) -> DocumentQA:
        return DocumentQA.open(
            **location.arguments(),
            embedder=own_embedder,
            read_only=http.read_only,
            reader=reader.reader_settings(),
            password=reader.password,
            answerer=answerer.load_answerer(),
            **rerank.arguments(location.folder),
        )

    return Collections(locations, open_index)


def listen(app: Any, http: HttpOptions, path: str, *, browser: bool = False) -> None:  # noqa: ANN401  ASGI
    """Serve until a signal ends it; the address, with a path behind it, is written when it listens."""
    import uvicorn

    from mmrag.apps.connections import TimedProtocol

    config = uvicorn.Config(
        app, log_level="warning", server_header=False, limit_concurrency=256, http=TimedProtocol
    )
    try:
        family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
        listener = socket.create_server((http.host, http.port), family=family)
    except OSError as error:
        raise UsageError(
            f"--host and --port must be free to listen on, got {http.host} and {http.port} "
            f"({error.strerror}). --port 0 takes any free one."
        ) from error
    host = f"[{http.host}]" if ":" in http.host else http.host
    url = f"http://{host}:{listener.getsockname()[1]}{path}"
    complain(f"{url}  Ctrl-C stops it.")
    if browser:
        threading.Timer(0.5, webbrowser.open, [url]).start()
    uvicorn.Server(config).run(sockets=[listener])
