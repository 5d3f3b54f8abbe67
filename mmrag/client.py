"""All HTTP of the package: one client for anything behind a URL, sync and async.

Decisions taken here:

* A key is sent only where the user meant it to go: the argument; else ``MMRAG_API_KEY``, which is
  this package's own; else ``OPENAI_API_KEY``, but only to OpenAI's own host over https. Redirects
  are not followed. A key is in no repr, no pickle, no log, and is struck out of a server's words.
* `timeout` bounds a whole call: connecting, all attempts, the waits between them and reading. (One
  silent read may use up what was left, so the worst case is twice that.)
* What is tried again: no connection, and statuses 408, 409, 429 and 5xx. A time-out while the server
  works is not (it would work twice), and a stream is not once it has begun.
* The first thing sent to a host that is not this machine is said once a process, as a warning.
* This machine is never reached through a proxy of the environment: pages for a local server would
  pass through another machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx

from mmrag.errors import ServerAnswerError, ServerError, ServerStatusError, ServerUnreachableError
from mmrag.wire import (
    ChatReply,
    Delta,
    EventReader,
    Json,
    is_loopback,
    is_openai,
    join_url,
    parse_chat,
    parse_delta,
    parse_models,
    parse_object,
    quote,
    retry_after,
    split_base_url,
    status_error,
)

__all__ = ["ChatReply", "Delta", "Json", "ServerClient", "parse_chat", "quote"]

log = logging.getLogger(__name__)

RETRIED_STATUSES = frozenset({408, 409, 429, *range(500, 600)})
FIRST_WAIT = 0.5  # seconds before the second attempt; doubles for each further one
LONGEST_WAIT = 8.0  # seconds, our own back-off
LONGEST_ASKED_WAIT = 30.0  # seconds, a server's Retry-After
CONNECT_TIMEOUT = 10.0  # seconds; a server that is there answers a connection at once
ERROR_BODY_LIMIT = 64_000  # bytes of an error's body that are read
# uvicorn, and so vLLM, closes an idle connection after 5 s; one we would use then fails in our hands.
KEEPALIVE = 2.0  # seconds

_said_hosts: set[str] = set()
_said_lock = threading.Lock()


class _AttemptError(Exception):
    """One attempt failed in a way that may be tried again."""

    def __init__(self, error: ServerError, asked_wait: float | None = None) -> None:
        self.error = error
        self.asked_wait = asked_wait
        super().__init__(str(error))


class ServerClient:
    """JSON over HTTP to one server, OpenAI-compatible or not.

    Safe to share between threads and between event loops. Closing is optional and only frees
    sockets; a closed client opens new ones when it is used again.

    Args:
        base_url: ``http://host:8000`` or ``http://host:8000/v1``; see `mmrag.wire.split_base_url`.
        model: name put into requests that name none; None asks the server, which must serve just one.
        api_key: sent as a bearer token. None looks into the environment (see the module); ``""`` sends none.
        timeout: seconds that one call may take in all.
        max_retries: attempts after the first.
        max_concurrency: requests in flight at once, a thread pool's or a loop's; others wait their turn.
        transport: an httpx transport in place of the network, for a Unix socket or a test.

    Raises:
        ValueError: an argument out of its range, or a base_url that is none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 300.0,
        max_retries: int = 2,
        max_concurrency: int = 8,
        transport: httpx.BaseTransport | httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout!r}.")
        if max_retries < 0:
            raise ValueError(f"max_retries must be at least 0, got {max_retries!r}.")
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency must be at least 1, got {max_concurrency!r}.")
        self.root_url, self.base_url = split_base_url(base_url)
        self.model = model
        self.timeout = timeout
        self.max_retries = max_retries
        self.max_concurrency = max_concurrency
        self._transport = transport
        self._key = _find_key(api_key, self.base_url)
        self._key_refused = api_key == ""
        self._open_state()

    def _open_state(self) -> None:
        """What belongs to this process only: sockets, locks, the model the server named."""
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(self.max_concurrency)
        self._client: httpx.Client | None = None
        self._loops: WeakKeyDictionary[Any, tuple[httpx.AsyncClient, asyncio.Semaphore]] = WeakKeyDictionary()
        self._only_model: str | None = None

    def __repr__(self) -> str:
        key = "set" if self._key else "none"
        return f"ServerClient({self.base_url!r}, model={self.model!r}, api_key={key})"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the key and what is open: whoever unpickles looks into their own environment."""
        kept = ("root_url", "base_url", "model", "timeout", "max_retries", "max_concurrency")
        return {**{name: getattr(self, name) for name in kept}, "_key_refused": self._key_refused}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._transport = None
        self._key = _find_key("" if self._key_refused else None, self.base_url)
        self._open_state()

    # ------------------------------------------------------------------------------------ sync

    def get(self, path: str) -> Json:
        """The JSON object at a path; see `post`."""
        return self._call("GET", path, None)

    def post(self, path: str, body: Json) -> Json:
        """Post a JSON object and return the JSON object that comes back.

        Args:
            path: from the API base (``chat/completions``), or from the root (``/rerank``, with the slash).
            body: sent as it is.

        Raises:
            ServerUnreachableError: no connection, the connection broke, or time ran out.
            ServerStatusError: a status other than 200, after the retries.
            ServerAnswerError: the answer is not a JSON object.
        """
        return self._call("POST", path, body)

    def stream(self, path: str, body: Json) -> Iterator[Json]:
        """Post a JSON object and yield the server-sent events of the answer as JSON objects.

        Raises:
            ServerError: as `post`; also for an answer that is no event stream, and for one that
                breaks off, lacks its ``[DONE]`` or holds something that is not JSON.
        """
        url, deadline = join_url(self.base_url, path), self._deadline()
        for attempt in range(self.max_retries + 1):
            try:
                with self._attempt("POST", path, body, deadline) as response:
                    yield from self._events(response, url, deadline)
                return
            except _AttemptError as failure:
                time.sleep(self._wait(failure, attempt, deadline))

    def models(self) -> list[str]:
        """Names of the models that are served."""
        return parse_models(self.get("models"), join_url(self.base_url, "models"))

    def chat(self, body: Json) -> Json:
        """A chat completion; `body` without a model gets the client's. Read it with `parse_chat`.

        Raises:
            ValueError: the body asks for a stream.
            ServerError: as `post`.
        """
        return self.post("chat/completions", self._chat_body(body, self._model_of(body), stream=False))

    def chat_stream(self, body: Json) -> Iterator[Delta]:
        """A streamed chat completion, piece by piece; the counts of tokens come on the last.

        Raises:
            ServerError: as `stream`; also when the server reports an error between two pieces.
        """
        for event in self.stream(
            "chat/completions", self._chat_body(body, self._model_of(body), stream=True)
        ):
            yield parse_delta(event)

    def close(self) -> None:
        """Close the sockets of the sync calls."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> ServerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, path: str, body: Json | None) -> Json:
        url, deadline = join_url(self.base_url, path), self._deadline()
        attempt = 0
        while True:
            try:
                with self._attempt(method, path, body, deadline) as response:
                    return parse_object(b"".join(self._chunks(response, url, deadline)), url)
            except _AttemptError as failure:
                time.sleep(self._wait(failure, attempt, deadline))
            attempt += 1

    @contextmanager
    def _attempt(
        self, method: str, path: str, body: Json | None, deadline: float
    ) -> Iterator[httpx.Response]:
        """One attempt: a response with status 200 whose body is still to be read."""
        client = self._sync_client()
        url = join_url(self.base_url, path)
        with self._slots:
            request = client.build_request(
                method, url, json=body, headers=self._headers(), timeout=self._timeouts(deadline)
            )
            with _translated(url, self.timeout, self._key):
                self._say_host(method)
                response = client.send(request, stream=True)
            try:
                if response.status_code != 200:
                    with _translated(url, self.timeout, self._key):
                        raise self._refusal(response, url, _first(response.iter_bytes()))
                yield response
            finally:
                response.close()

    def _chunks(self, response: httpx.Response, url: str, deadline: float) -> Iterator[bytes]:
        with _translated(url, self.timeout, self._key, begun=True):
            for chunk in response.iter_bytes():
                self._check_time(url, deadline)
                yield chunk

    def _events(self, response: httpx.Response, url: str, deadline: float) -> Iterator[Json]:
        chunks = self._chunks(response, url, deadline)
        _check_event_stream(response, url, lambda: b"".join(chunks))
        reader = EventReader(url)
        for chunk in chunks:
            yield from reader.feed(chunk)
            if reader.done:
                return
        reader.finish()

    def _sync_client(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                transport = cast("httpx.BaseTransport | None", self._transport)
                self._client = httpx.Client(**self._settings(), transport=transport)
            return self._client

    def _model_of(self, body: Json) -> str:
        named = body.get("model") or self.model or self._only_model
        if named is None:
            named = self._only_model = self._only(self.models())
        return str(named)

    # ----------------------------------------------------------------------------------- async

    async def aget(self, path: str) -> Json:
        """`get` without blocking the event loop."""
        return await self._acall("GET", path, None)

    async def apost(self, path: str, body: Json) -> Json:
        """`post` without blocking the event loop."""
        return await self._acall("POST", path, body)

    async def astream(self, path: str, body: Json) -> AsyncGenerator[Json, None]:
        """`stream` without blocking the event loop."""
        url, deadline = join_url(self.base_url, path), self._deadline()
        for attempt in range(self.max_retries + 1):
            try:
                async with (
                    self._aattempt("POST", path, body, deadline) as response,
                    aclosing(self._aevents(response, url, deadline)) as events,
                ):
                    async for event in events:
                        yield event
                return
            except _AttemptError as failure:
                await asyncio.sleep(self._wait(failure, attempt, deadline))

    async def amodels(self) -> list[str]:
        """`models` without blocking the event loop."""
        return parse_models(await self.aget("models"), join_url(self.base_url, "models"))

    async def achat(self, body: Json) -> Json:
        """`chat` without blocking the event loop."""
        return await self.apost(
            "chat/completions", self._chat_body(body, await self._amodel_of(body), stream=False)
        )

    async def achat_stream(self, body: Json) -> AsyncGenerator[Delta, None]:
        """`chat_stream` without blocking the event loop."""
        whole = self._chat_body(body, await self._amodel_of(body), stream=True)
        async with aclosing(self.astream("chat/completions", whole)) as events:
            async for event in events:
                yield parse_delta(event)

    async def aclose(self) -> None:
        """Close the sockets of the running event loop."""
        state = self._loops.pop(asyncio.get_running_loop(), None)
        if state is not None:
            await state[0].aclose()

    async def __aenter__(self) -> ServerClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _acall(self, method: str, path: str, body: Json | None) -> Json:
        url, deadline = join_url(self.base_url, path), self._deadline()
        attempt = 0
        while True:
            try:
                async with self._aattempt(method, path, body, deadline) as response:
                    chunks = [chunk async for chunk in self._achunks(response, url, deadline)]
                    return parse_object(b"".join(chunks), url)
            except _AttemptError as failure:
                await asyncio.sleep(self._wait(failure, attempt, deadline))
            attempt += 1

    @asynccontextmanager
    async def _aattempt(
        self, method: str, path: str, body: Json | None, deadline: float
    ) -> AsyncIterator[httpx.Response]:
        """`_attempt` without blocking the event loop."""
        client, slots = self._async_client()
        url = join_url(self.base_url, path)
        async with slots:
            request = client.build_request(
                method, url, json=body, headers=self._headers(), timeout=self._timeouts(deadline)
            )
            with _translated(url, self.timeout, self._key):
                self._say_host(method)
                response = await client.send(request, stream=True)
            try:
                if response.status_code != 200:
                    with _translated(url, self.timeout, self._key):
                        raise self._refusal(response, url, await _afirst(response.aiter_bytes()))
                yield response
            finally:
                await response.aclose()

    async def _achunks(
        self, response: httpx.Response, url: str, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        with _translated(url, self.timeout, self._key, begun=True):
            async for chunk in response.aiter_bytes():
                self._check_time(url, deadline)
                yield chunk

    async def _aevents(
        self, response: httpx.Response, url: str, deadline: float
    ) -> AsyncGenerator[Json, None]:
        async with aclosing(self._achunks(response, url, deadline)) as chunks:
            if not _is_event_stream(response):
                body = b"".join([chunk async for chunk in chunks])
                _check_event_stream(response, url, lambda: body)
            reader = EventReader(url)
            async for chunk in chunks:
                for event in reader.feed(chunk):
                    yield event
                if reader.done:
                    return
            reader.finish()

    def _async_client(self) -> tuple[httpx.AsyncClient, asyncio.Semaphore]:
        # Sockets and semaphores belong to the loop they were made in; a client outlives loops.
        loop = asyncio.get_running_loop()
        with self._lock:
            state = self._loops.get(loop)
            if state is None:
                transport = cast("httpx.AsyncBaseTransport | None", self._transport)
                client = httpx.AsyncClient(**self._settings(), transport=transport)
                state = self._loops[loop] = (client, asyncio.Semaphore(self.max_concurrency))
            return state

    async def _amodel_of(self, body: Json) -> str:
        named = body.get("model") or self.model or self._only_model
        if named is None:
            named = self._only_model = self._only(await self.amodels())
        return str(named)

    # -------------------------------------------------------------------- shared, no input or output

    def _settings(self) -> dict[str, Any]:
        return {
            "verify": _tls_context(),
            "follow_redirects": False,
            "trust_env": not is_loopback(urlsplit(self.base_url).hostname or ""),
            "limits": httpx.Limits(keepalive_expiry=KEEPALIVE),
        }

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _deadline(self) -> float:
        return time.monotonic() + self.timeout

    def _timeouts(self, deadline: float) -> httpx.Timeout:
        left = max(0.001, deadline - time.monotonic())
        return httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT))

    def _check_time(self, url: str, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise _too_slow(url, self.timeout)

    def _wait(self, failure: _AttemptError, attempt: int, deadline: float) -> float:
        """Seconds to wait before the next attempt; raises the failure where there is none."""
        asked = failure.asked_wait
        if asked is not None:
            wait = min(asked, LONGEST_ASKED_WAIT)
        else:
            wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)
        if attempt >= self.max_retries or time.monotonic() + wait >= deadline:
            raise failure.error
        log.info(
            "attempt %d of %d failed, next in %.1f s: %s", attempt + 1, self.max_retries + 1, wait, failure
        )
        return wait

    def _refusal(self, response: httpx.Response, url: str, body: bytes) -> Exception:
        text = _strike(body.decode("utf-8", errors="replace"), self._key)
        error: ServerStatusError = status_error(
            url, response.status_code, response.reason_phrase, text, response.headers.get("location")
        )
        if response.status_code in RETRIED_STATUSES:
            return _AttemptError(error, retry_after(response.headers.get("retry-after")))
        return error

    def _chat_body(self, body: Json, model: str, *, stream: bool) -> Json:
        if "stream" in body:
            raise ValueError("body must not set 'stream'. Call chat or chat_stream instead.")
        whole = {**body, "model": model}
        if stream:
            whole |= {"stream": True, "stream_options": {"include_usage": True}}
        return whole

    def _only(self, models: list[str]) -> str:
        if len(models) != 1:
            named = ", ".join(models) or "none"
            raise ServerAnswerError(
                f"{self.base_url} must serve just one model where none is named, "
                f"got {len(models)} ({named}). Pass model=...",
                named,
            )
        return models[0]

    def _say_host(self, method: str) -> None:
        url = urlsplit(self.base_url)
        host = url.hostname or ""
        if method == "GET" or self._transport is not None or is_loopback(host):
            return
        with _said_lock:
            first = host not in _said_hosts
            _said_hosts.add(host)
        if first:
            log.warning(
                "Page text, page pictures and file names leave this machine: they are sent to %s.", url.netloc
            )


@cache
def _tls_context() -> ssl.SSLContext:
    """One for the process: reading the certificates takes 70 ms."""
    return httpx.create_ssl_context()


def _find_key(api_key: str | None, base_url: str) -> str | None:
    """The key that the user meant for this host, or None."""
    if api_key is not None:
        return api_key.strip() or None
    key = os.environ.get("MMRAG_API_KEY", "")
    if not key and is_openai(base_url):
        key = os.environ.get("OPENAI_API_KEY", "")
    return key.strip() or None


@contextmanager
def _translated(url: str, timeout: float, key: str | None, *, begun: bool = False) -> Iterator[None]:
    """Turn httpx's exceptions into ours; `begun`: the server had started to answer."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        words = _strike(str(error), key) or "no connection in time"
        raise _AttemptError(_no_server(url, words)) from error
    except httpx.TimeoutException as error:
        raise _too_slow(url, timeout) from error
    except httpx.DecodingError as error:
        raise ServerAnswerError(f"{url} sent a body that cannot be decoded ({error}).", "") from error
    except httpx.TransportError as error:
        when = "in the middle of its answer" if begun else "without an answer"
        words = _strike(str(error), key) or type(error).__name__
        raise ServerUnreachableError(
            f"{url} closed the connection {when} ({words}). Look at the server's log."
        ) from error


def _no_server(url: str, words: str) -> ServerUnreachableError:
    remedy = "Start one: vllm serve MODEL" if is_loopback(urlsplit(url).hostname or "") else "Check base_url."
    return ServerUnreachableError(f"No server at {url} ({words}). {remedy}")


def _too_slow(url: str, timeout: float) -> ServerUnreachableError:
    return ServerUnreachableError(
        f"{url} did not finish its answer within {timeout:g} s. Raise timeout, or ask for less: "
        "fewer or smaller pages, fewer tokens."
    )


def _is_event_stream(response: httpx.Response) -> bool:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip() == "text/event-stream"


def _check_event_stream(response: httpx.Response, url: str, read: Callable[[], bytes]) -> None:
    if not _is_event_stream(response):
        text = read().decode("utf-8", errors="replace")
        kind = response.headers.get("content-type", "no content type")
        raise ServerAnswerError(
            f"{url} must stream events (text/event-stream), got {kind}: {quote(text)}.", text
        )


def _first(chunks: Iterator[bytes]) -> bytes:
    """The start of a body, as much of it as an error needs."""
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) >= ERROR_BODY_LIMIT:
            break
    return body[:ERROR_BODY_LIMIT]


async def _afirst(chunks: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) >= ERROR_BODY_LIMIT:
            break
    return body[:ERROR_BODY_LIMIT]


def _strike(text: str, key: str | None) -> str:
    """The text without the key, which some servers repeat in their errors."""
    return text.replace(key, "***") if key else text
