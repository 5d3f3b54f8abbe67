"""What stands before every request (its size, time to arrive, host, origin), and the headers of every answer.

A server on loopback is still reached by every page that a browser shows: a site can give its own name the
address of this machine (so the ``Host`` is checked), and can post a form to it (so the ``Origin`` is).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from mmrag.apps.faults import SlowBodyError, TooLargeError, body_of

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

BODY_SECONDS, SLOWEST_BODY = 30.0, 16_000.0
"""Seconds that any body may take to arrive, and bytes a second that a longer one must have on average."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer: a page of this server runs its own scripts alone, whatever a document says."""


class Guard:
    """An ASGI application around another: refuses what it should not see, adds `HEADERS`.

    Args:
        app: the application.
        hosts: names in the ``Host`` header, without ports; ``"*"`` for any.
        most_bytes: of a request's body.
    """

    def __init__(self, app: Any, hosts: Sequence[str], most_bytes: int) -> None:  # noqa: ANN401  ASGI
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._most_bytes = most_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        body = _CountedBody(receive, self._most_bytes)
        has_started = False

        async def watched_send(message: Message) -> None:
            nonlocal has_started
            if has_started or body.fault is None:  # else what the application says of the cut body is wrong
                has_started = True
                await send(message)

        try:
            await self._app(scope, body.receive, watched_send)
        except (TooLargeError, SlowBodyError):
            if has_started:
                raise
        if body.fault is not None and not has_started:
            await _refusal_of(body.fault, self._most_bytes)(scope, receive, send)

    def _refusal(self, scope: Message) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = _host_of(headers.get("host", ""))
        if "*" not in self._hosts and host not in self._hosts:
            return JSONResponse(
                body_of(
                    "UnknownHostError", "this server does not answer to that host name; see --allow-host."
                ),
                421,
            )
        origin = headers.get("origin")
        if scope["method"] not in SAFE_METHODS and origin is not None and not _is_same(origin, headers):
            return JSONResponse(
                body_of("ForeignOriginError", "another site's page may not change anything."), 403
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:19]) > self._most_bytes:
            return _too_large(self._most_bytes)
        return None


def _host_of(value: str) -> str:
    """Return the name of a ``Host`` header without its port."""
    return (urlsplit(f"//{value}").hostname or "") if "@" not in value else ""


def _is_same(origin: str, headers: Headers) -> bool:
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _too_large(most_bytes: int) -> JSONResponse:
    message = f"a request must have at most {most_bytes} bytes. Send fewer files at once."
    return JSONResponse(body_of("TooLargeError", message), 413)


def _refusal_of(fault: Exception, most_bytes: int) -> JSONResponse:
    if isinstance(fault, TooLargeError):
        return _too_large(most_bytes)
    message = (
        f"a request must arrive within {BODY_SECONDS:.0f} s, a large one at {SLOWEST_BODY / 1000:.0f} kB a "
        "second at least. Send it again over a faster connection."
    )
    return JSONResponse(body_of("SlowBodyError", message), 408, {"Connection": "close"})


class _CountedBody:
    """A request's body, counted and timed as it comes, since its length may be left out or lie."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._bytes = 0
        self._has_ended = False
        self._start = asyncio.get_running_loop().time()
        self.fault: TooLargeError | SlowBodyError | None = None

    async def receive(self) -> Message:
        if self._has_ended:  # what is waited for is the end of the connection
            return await self._receive()
        end = self._start + BODY_SECONDS + self._bytes / SLOWEST_BODY
        try:
            message = await asyncio.wait_for(self._receive(), end - asyncio.get_running_loop().time())
        except asyncio.TimeoutError:
            self.fault = SlowBodyError("the request came too slowly.")
            raise self.fault from None
        self._bytes += len(message.get("body", b""))
        self._has_ended = not message.get("more_body", False)
        if self._bytes > self._most_bytes:
            self.fault = TooLargeError("the request is too large.")
            raise self.fault
        return message


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers
