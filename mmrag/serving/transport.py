"""The sockets of a client: who owns which `httpx` client, and the three actions that use one."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx

from mmrag.serving.wire import Json, is_loopback

CONNECT_TIMEOUT = 10.0  # seconds; a server that is there answers a connection at once
# uvicorn, and so vLLM, closes an idle connection after 5 s; one we would use then fails in our hands.
KEEPALIVE = 2.0  # seconds

Transport = httpx.BaseTransport | httpx.AsyncBaseTransport


class ClientPool:
    """Lends `httpx` clients for one server, each to one owner at a time.

    * *Blocking calls: one client per call.* A call takes an idle client or makes one, and puts it back, so
      there are as many as calls were ever at work together. `httpx.Client` is not safe to share between
      threads: a thread of httpcore 1.0.9 checks whether a pooled connection is idle and may close it after
      another thread began to read from it. That thread then waits until its time runs out, or reads from
      the socket that got the closed one's number.
    * *Async calls: one client per event loop.* Sockets and semaphores belong to the loop that they were made
      in, and a pool outlives loops. All tasks of a loop share its client, and a loop that is gone takes its
      client with it.

    Args:
        base_url: where requests go; this machine is never reached through a proxy of the environment.
        width: calls at work together, in threads and again in each loop; others wait their turn.
        transport: an httpx transport in place of the network.
    """

    def __init__(self, base_url: str, width: int, transport: Transport | None = None) -> None:
        self.transport = transport
        self._base_url = base_url
        self._width = width
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(width)
        self._idle: list[httpx.Client] = []
        self._loops: WeakKeyDictionary[Any, tuple[httpx.AsyncClient, asyncio.Semaphore]] = WeakKeyDictionary()

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Yield a client that no other call uses meanwhile."""
        with self._slots:
            with self._lock:
                idle = self._idle
                client = idle.pop() if idle else None
            client = client or httpx.Client(
                **self._settings(), transport=cast("httpx.BaseTransport | None", self.transport)
            )
            try:
                yield client
            finally:
                self._put_back(client, idle)

    def _put_back(self, client: httpx.Client, idle: list[httpx.Client]) -> None:
        with self._lock:
            pool_closed = idle is not self._idle  # the pool was closed during the call
            if not pool_closed:
                idle.append(client)
        if pool_closed:
            client.close()

    @asynccontextmanager
    async def aclient(self) -> AsyncIterator[httpx.AsyncClient]:
        """Yield the client of the running event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._loops:
                transport = cast("httpx.AsyncBaseTransport | None", self.transport)
                client = httpx.AsyncClient(**self._settings(), transport=transport)
                self._loops[loop] = client, asyncio.Semaphore(self._width)
            client, slots = self._loops[loop]
        async with slots:
            yield client

    def close(self) -> None:
        """Close the clients of blocking calls; those in use are closed when their call ends."""
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()

    async def aclose(self) -> None:
        """Close the client of the running event loop."""
        with self._lock:
            client, _ = self._loops.pop(asyncio.get_running_loop(), (None, None))
        if client is not None:
            await client.aclose()

    def _settings(self) -> dict[str, Any]:
        return {
            "verify": _tls_context(),
            "follow_redirects": False,
            "trust_env": not is_loopback(urlsplit(self._base_url).hostname or ""),
            "limits": httpx.Limits(keepalive_expiry=KEEPALIVE),
        }


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the process's TLS settings, made once: reading the certificates takes 70 ms."""
    return httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body is still to be read.

    Attributes:
        head: status and headers.
        chunks: the body; an iterator or, in an event loop, an async iterator.
    """

    head: httpx.Response
    chunks: Any = field(repr=False)


@dataclass(frozen=True, slots=True, repr=False)  # the headers hold the key
class Open:
    """Send a request and return its `Response`; whatever this work had open is closed first."""

    pool: ClientPool
    method: str
    url: str
    body: Json | None
    headers: Mapping[str, str]
    deadline: float  # of `time.monotonic`

    def run(self, stack: ExitStack) -> Response:
        """Send it in this thread."""
        stack.close()
        client = stack.enter_context(self.pool.client())
        head = client.send(self._request(client), stream=True)
        stack.callback(head.close)
        return Response(head, head.iter_bytes())

    async def arun(self, stack: AsyncExitStack) -> Response:
        """Send it without blocking the event loop."""
        await stack.aclose()
        client = await stack.enter_async_context(self.pool.aclient())
        left = max(0.001, self.deadline - time.monotonic())
        try:  # a head that drips in resets the limit of each read
            head = await asyncio.wait_for(client.send(self._request(client), stream=True), left)
        except asyncio.TimeoutError as error:
            raise httpx.ReadTimeout("no whole head in time") from error
        stack.push_async_callback(head.aclose)
        chunks = head.aiter_bytes()
        return Response(head, await stack.enter_async_context(aclosing(cast("Any", chunks))))

    def _request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        left = max(0.001, self.deadline - time.monotonic())
        timeout = httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT))
        return client.build_request(
            self.method, self.url, json=self.body, headers=self.headers, timeout=timeout
        )


@dataclass(frozen=True, slots=True)
class Read:
    """Return the next chunk of a response's body, as bytes; None at its end."""

    response: Response

    def run(self, stack: ExitStack) -> bytes | None:
        """Read it in this thread."""
        return next(self.response.chunks, None)

    async def arun(self, stack: AsyncExitStack) -> bytes | None:
        """Read it without blocking the event loop."""
        return cast("bytes | None", await anext(self.response.chunks, None))


class Close:
    """Close the response that is open, and give its client back."""

    def run(self, stack: ExitStack) -> None:
        """Close it in this thread."""
        stack.close()

    async def arun(self, stack: AsyncExitStack) -> None:
        """Close it without blocking the event loop."""
        await stack.aclose()
