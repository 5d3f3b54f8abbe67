"""The sockets of a client: who owns which `httpx` client, and the three actions that use one.

A deadline is of a whole call. httpx has time limits of single reads and writes only, which a server that
drips, byte after byte, sets back each time. So in an event loop every step is awaited with the time that is
left, and in a thread, which nothing can wake from a read, a timer shuts the socket down (`Watch`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx

from mmrag.forks import ForkOwner, follow_forks, keep_for_ever, new_lock
from mmrag.serving.decoding import ENCODINGS, BodyDecoder
from mmrag.serving.wire import Json, is_loopback

CONNECT_TIMEOUT = 10.0  # seconds; a server that is there answers a connection at once
# uvicorn, and so vLLM, closes an idle connection after 5 s; one we would use then fails in our hands.
KEEPALIVE = 2.0  # seconds

Transport = httpx.BaseTransport | httpx.AsyncBaseTransport
T = TypeVar("T")


class Line(httpx.Client):
    """A client of blocking calls that knows the socket it talks over.

    It serves one call at a time to one server, so it has one connection: that which it opened last.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  httpx's
        super().__init__(**settings)
        self._socket: socket.socket | None = None
        self._is_cut = False

    def trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Note the socket of a connection that was opened; an extension of httpcore, which calls it."""
        stream = details.get("return_value")
        if stream is not None and hasattr(stream, "get_extra_info"):
            self._socket = stream.get_extra_info("socket")
            if self._is_cut:  # the time was up while it connected
                self.cut()

    def reset(self) -> None:
        """Let the next call have its time."""
        self._is_cut = False

    def cut(self) -> None:
        """End every read and write on the socket, from any thread, or as soon as it is connected."""
        self._is_cut = True  # before the look: `trace` notes the socket before it asks
        if self._socket is not None:
            with suppress(OSError):  # it is closed already
                # of a TLS socket, too, the plain one: its own method is not safe beside a thread that reads
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Watch:
    """Cuts the line of a call when its time is up.

    Args:
        line: that the call uses.
        deadline: of `time.monotonic`.
    """

    def __init__(self, line: Line, deadline: float) -> None:
        self._line = line
        self._line.reset()
        self._lock = threading.Lock()
        self._is_over = False
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Stop watching; whoever uses the line next is left alone."""
        with self._lock:
            self._is_over = True
        self._timer.cancel()

    def _cut(self) -> None:
        with self._lock:
            if not self._is_over:
                self._line.cut()


class ClientPool(ForkOwner):
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
        self._lock = new_lock()
        self._forget()
        follow_forks(self)

    def _forget(self) -> None:
        """Start without clients."""
        self._slots = threading.Semaphore(self._width)
        self._idle: list[Line] = []
        self._loops: WeakKeyDictionary[Any, tuple[httpx.AsyncClient, asyncio.Semaphore]] = WeakKeyDictionary()

    def after_fork(self, *, in_child: bool) -> None:
        """Leave the sockets to the parent: two processes on one would read each other's replies."""
        if in_child:
            keep_for_ever((self._idle, self._loops))
            self._forget()

    @contextmanager
    def client(self) -> Iterator[Line]:
        """Yield a client that no other call uses meanwhile."""
        with self._slots:
            with self._lock:
                idle = self._idle
                client = idle.pop() if idle else None
            client = client or Line(
                **self._settings(), transport=cast("httpx.BaseTransport | None", self.transport)
            )
            try:
                yield client
            finally:
                self._put_back(client, idle)

    def _put_back(self, client: Line, idle: list[Line]) -> None:
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
        chunks: the body, decompressed; an iterator or, in an event loop, an async iterator.
        deadline: of `time.monotonic`.
    """

    head: httpx.Response
    chunks: Any = field(repr=False)
    deadline: float


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
        stack.callback(Watch(client, self.deadline).end)
        request = self._request(client)
        request.extensions["trace"] = client.trace
        with _in_time(self.deadline):
            head = client.send(request, stream=True)
        stack.callback(head.close)
        return Response(head, _chunks(head), self.deadline)

    async def arun(self, stack: AsyncExitStack) -> Response:
        """Send it without blocking the event loop."""
        await stack.aclose()
        client = await stack.enter_async_context(self.pool.aclient())
        head = await _before(self.deadline, client.send(self._request(client), stream=True))
        stack.push_async_callback(head.aclose)
        chunks = await stack.enter_async_context(aclosing(_achunks(head)))
        return Response(head, chunks, self.deadline)

    def _request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        left = _seconds_left(self.deadline)
        timeout = httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT))
        headers = {**self.headers, "Accept-Encoding": ENCODINGS}
        return client.build_request(self.method, self.url, json=self.body, headers=headers, timeout=timeout)


@dataclass(frozen=True, slots=True)
class Read:
    """Return the next chunk of a response's body, as bytes, none larger than a piece; None at its end."""

    response: Response

    def run(self, stack: ExitStack) -> bytes | None:
        """Read it in this thread."""
        with _in_time(self.response.deadline):
            chunk: bytes | None = next(self.response.chunks, None)
            if chunk is None and time.monotonic() > self.response.deadline:
                raise httpx.ReadTimeout("cut")  # the end of a line that was cut is not that of the body
            return chunk

    async def arun(self, stack: AsyncExitStack) -> bytes | None:
        """Read it without blocking the event loop."""
        chunk: bytes | None = await _before(self.response.deadline, anext(self.response.chunks, None))
        return chunk


class Close:
    """Close the response that is open, and give its client back."""

    def run(self, stack: ExitStack) -> None:
        """Close it in this thread."""
        stack.close()

    async def arun(self, stack: AsyncExitStack) -> None:
        """Close it without blocking the event loop."""
        await stack.aclose()


def _seconds_left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


@contextmanager
def _in_time(deadline: float) -> Iterator[None]:
    """Raise `httpx.ReadTimeout` in place of the error of a line that was cut."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise
    except httpx.RequestError as error:  # also of a decoder, for which the body ended too early
        if time.monotonic() <= deadline:
            raise
        raise httpx.ReadTimeout("no whole answer in time") from error


async def _before(deadline: float, step: Awaitable[T]) -> T:
    """Await a step with the time that is left, and raise `httpx.ReadTimeout` when it is up."""
    try:
        return await asyncio.wait_for(step, _seconds_left(deadline))
    except asyncio.TimeoutError as error:
        raise httpx.ReadTimeout("no whole answer in time") from error


def _chunks(head: httpx.Response) -> Generator[bytes, None, None]:
    """Yield the body of a response, decompressed in small pieces."""
    if head.is_stream_consumed:  # a transport other than the network has given it whole
        yield from head.iter_bytes()
        return
    decoder = BodyDecoder(head)
    for data in head.iter_raw():
        yield from decoder.pieces(data)
    if rest := decoder.finish():
        yield rest


async def _achunks(head: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Run `_chunks` without blocking the event loop."""
    if head.is_stream_consumed:
        async for data in head.aiter_bytes():
            yield data
        return
    decoder = BodyDecoder(head)
    async with aclosing(cast("AsyncGenerator[bytes, None]", head.aiter_raw())) as body:
        async for data in body:
            for piece in decoder.pieces(data):
                yield piece
    if rest := decoder.finish():
        yield rest
