"""All HTTP of the package: one client for anything behind a URL, sync and async.

How long it waits, what it tries again and where a key goes is told in `mmrag.serving.connection`; what is
read
of an answer in `mmrag.serving.wire`. Here is only the talking, twice: once for threads, once for event loops.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from typing import cast

import httpx

from mmrag.serving.connection import (
    ERROR_BODY_LIMIT,
    AttemptError,
    Connection,
    is_event_stream,
    no_event_stream,
    translated,
)
from mmrag.serving.wire import (
    ChatReply,
    Delta,
    EventReader,
    Json,
    join_url,
    parse_chat,
    parse_delta,
    parse_models,
    parse_object,
    quote,
)

__all__ = ["ChatReply", "Delta", "Json", "ServerClient", "parse_chat", "quote"]


class ServerClient(Connection):
    """JSON over HTTP to one server, OpenAI-compatible or not.

    Safe to share between threads and between event loops. Closing is optional and only frees
    sockets; a closed client opens new ones when it is used again.

    Args:
        base_url: ``http://host:8000`` or ``http://host:8000/v1``; see `mmrag.serving.wire.split_base_url`.
        model: name put into requests that name none; None asks the server, which must serve just one.
        api_key: sent as a bearer token. None looks into the environment (see the module); ``""`` sends none.
        timeout: seconds that one call may take in all.
        max_retries: attempts after the first.
        max_concurrency: requests in flight at once, a thread pool's or a loop's; others wait their turn.
        transport: an httpx transport in place of the network, for a Unix socket or a test.

    Raises:
        ValueError: an argument out of its range, or a base_url that is none.
    """

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

    def stream(self, path: str, body: Json) -> Generator[Json, None, None]:
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
            except AttemptError as failure:
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

    def model_name(self) -> str:
        """The model that requests go to: the one given, or the only one that the server has.

        Raises:
            ServerError: none was given and the server has not just one, or cannot be asked.
        """
        return self._model_of({})

    def chat_stream(self, body: Json) -> Generator[Delta, None, None]:
        """A streamed chat completion, piece by piece; the counts of tokens come on the last.

        Raises:
            ServerError: as `stream`; also when the server reports an error between two pieces.
        """
        whole = self._chat_body(body, self._model_of(body), stream=True)
        with closing(self.stream("chat/completions", whole)) as events:
            for event in events:
                yield parse_delta(event)

    def close(self) -> None:
        """Close the sockets of the sync calls."""
        with self._lock:
            idle, self._idle = self._idle, []  # those at work see that it is another list, and close
        for client in idle:
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
            except AttemptError as failure:
                time.sleep(self._wait(failure, attempt, deadline))
            attempt += 1

    @contextmanager
    def _attempt(
        self, method: str, path: str, body: Json | None, deadline: float
    ) -> Iterator[httpx.Response]:
        """One attempt: a response with status 200 whose body is still to be read."""
        url = join_url(self.base_url, path)
        with self._slots, self._own_client() as client:
            request = client.build_request(
                method, url, json=body, headers=self._headers(), timeout=self._timeouts(deadline)
            )
            with translated(url, self.timeout, self._key):
                self._say_host(method)
                response = client.send(request, stream=True)
            try:
                if response.status_code != 200:
                    with translated(url, self.timeout, self._key):
                        raise self._refusal(response, url, _first(response.iter_bytes()))
                yield response
            finally:
                response.close()

    def _chunks(self, response: httpx.Response, url: str, deadline: float) -> Iterator[bytes]:
        with translated(url, self.timeout, self._key, begun=True):
            for chunk in response.iter_bytes():
                self._check_time(url, deadline)
                yield chunk

    def _events(self, response: httpx.Response, url: str, deadline: float) -> Iterator[Json]:
        chunks = self._chunks(response, url, deadline)
        if not is_event_stream(response):
            raise no_event_stream(response, url, b"".join(chunks))
        reader = EventReader(url)
        for chunk in chunks:
            yield from reader.feed(chunk)
            if reader.done:
                return
        reader.finish()

    @contextmanager
    def _own_client(self) -> Iterator[httpx.Client]:
        """A client that no other thread uses meanwhile; there are as many as calls were ever at work.

        Trap: `httpx.Client` is not safe to share. A thread of httpcore 1.0.9 looks whether a connection of
        the pool is idle and may close it after another thread began to read from it. That one then waits
        until its time runs out, or reads from the socket that got the closed one's number.
        """
        with self._lock:
            idle = self._idle
            client = idle.pop() if idle else None
        if client is None:
            transport = cast("httpx.BaseTransport | None", self._transport)
            client = httpx.Client(**self._settings(), transport=transport)
        try:
            yield client
        finally:
            with self._lock:
                closed = idle is not self._idle
                if not closed:
                    idle.append(client)
            if closed:
                client.close()

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
            except AttemptError as failure:
                await asyncio.sleep(self._wait(failure, attempt, deadline))

    async def amodels(self) -> list[str]:
        """`models` without blocking the event loop."""
        return parse_models(await self.aget("models"), join_url(self.base_url, "models"))

    async def achat(self, body: Json) -> Json:
        """`chat` without blocking the event loop."""
        return await self.apost(
            "chat/completions", self._chat_body(body, await self._amodel_of(body), stream=False)
        )

    async def amodel_name(self) -> str:
        """`model_name` without blocking the event loop."""
        return await self._amodel_of({})

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
            except AttemptError as failure:
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
            with translated(url, self.timeout, self._key):
                self._say_host(method)
                response = await client.send(request, stream=True)
            try:
                if response.status_code != 200:
                    with translated(url, self.timeout, self._key):
                        raise self._refusal(response, url, await _afirst(response.aiter_bytes()))
                yield response
            finally:
                await response.aclose()

    async def _achunks(
        self, response: httpx.Response, url: str, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        with translated(url, self.timeout, self._key, begun=True):
            async for chunk in response.aiter_bytes():
                self._check_time(url, deadline)
                yield chunk

    async def _aevents(
        self, response: httpx.Response, url: str, deadline: float
    ) -> AsyncGenerator[Json, None]:
        async with aclosing(self._achunks(response, url, deadline)) as chunks:
            if not is_event_stream(response):
                raise no_event_stream(response, url, b"".join([chunk async for chunk in chunks]))
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
