"""Every call of a server as a generator of actions, with retries and time limits; it uses no socket."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import httpx

from mmrag.errors import ServerAnswerError, ServerStatusError
from mmrag.serving.actions import Actions, Emit, Pause
from mmrag.serving.connection import (
    ERROR_BODY_LIMIT,
    AttemptError,
    Connection,
    is_event_stream,
    no_event_stream,
    translate_errors,
)
from mmrag.serving.transport import Close, Open, Read, Response
from mmrag.serving.wire import EventReader, Json, join_url, parse_models, parse_object
from mmrag.tracing.spans import CHAT_PATH, llm_span

NO_LIST_STATUSES = frozenset({404, 405, 500, 501})
"""Of ``GET /v1/models`` at servers that have no list; `transformers serve` with one model answers 500."""
MOST_REPLY_BYTES = 200_000_000  # vectors of 64 pages of 1,000 tokens as text are a tenth of it


class Exchanges(Connection):
    """The calls of `mmrag.serving.client.ServerClient`, for code that is a generator of actions itself."""

    def exchange(self, method: str, path: str, body: Json | None = None) -> Actions[Json]:
        """Send a request and return the JSON object that comes back; see `ServerClient.post`."""
        url, deadline = join_url(self.base_url, path), self._deadline()
        with llm_span(path, body) as trace:
            try:
                response = yield from self._open(method, url, body, deadline)
                content = yield from self._read_all(response, url, deadline)
            except Exception:
                yield Close()  # whoever catches the error must not hold a slot meanwhile
                raise
            yield Close()
            reply = parse_object(content, url)
            trace.reply(reply)
            return reply

    def open_events(self, path: str, body: Json) -> Actions[EventStream]:
        """Send a request for a stream; see `ServerClient.stream`."""
        url, deadline = join_url(self.base_url, path), self._deadline()
        response = yield from self._open("POST", url, body, deadline)
        if not is_event_stream(response.head):
            content = yield from self._read_all(response, url, deadline)
            raise no_event_stream(response.head, url, content)
        return EventStream(self, response, url, deadline)

    def served_models(self) -> Actions[list[str]]:
        """List the models; see `ServerClient.models`."""
        url = join_url(self.base_url, "models")
        try:
            return parse_models((yield from self.exchange("GET", "models")), url)
        except ServerStatusError as error:
            if error.status not in NO_LIST_STATUSES:
                raise
            raise ServerStatusError(
                f"{url} answered {error.status}: this server lists no models. Pass model=..., its name.",
                error.status,
                error.body,
            ) from error

    def resolve_model(self, body: Json | None = None) -> Actions[str]:
        """Return the model that a request goes to; see `ServerClient.model_name`."""
        name = (body or {}).get("model") or self.known_model
        return str(name or self.remember_model((yield from self.served_models())))

    def complete(self, body: Json) -> Actions[Json]:
        """Ask for a chat completion; see `ServerClient.chat`."""
        _refuse_stream(body)
        body = yield from self._with_model(body)
        return (yield from self.exchange("POST", CHAT_PATH, body))

    def emit_completion(self, body: Json, read: Callable[[Json], Iterable[Any]]) -> Actions[None]:
        """Ask for a streamed chat completion and emit what `read` makes of its events.

        See `ServerClient.chat_stream`.
        """
        _refuse_stream(body)
        body = yield from self._with_model(body)
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        with llm_span(CHAT_PATH, body) as trace:
            events = yield from self.open_events(CHAT_PATH, body)
            while (event := (yield from events.next())) is not None:
                trace.event(event)
                for value in read(event):
                    yield Emit(value)

    def _with_model(self, body: Json) -> Actions[Json]:
        """Return the request with its model; without one if the server lists none: it may need no name."""
        if self._lists_no_models and not body.get("model"):
            return body
        try:
            return {**body, "model": (yield from self.resolve_model(body))}
        except ServerStatusError as error:
            if error.status not in NO_LIST_STATUSES:
                raise
            self._lists_no_models = True
            return body

    # ----------------------------------------------------------------------------------- attempts

    def _open(self, method: str, url: str, body: Json | None, deadline: float) -> Actions[Response]:
        """Return a response with status 200, after as many attempts as the policy allows."""
        for attempt in count():
            try:
                return (yield from self._attempt(method, url, body, deadline))
            except AttemptError as failure:
                yield Close()
                yield Pause(self._retry_delay(failure, attempt, deadline))
        raise AssertionError("unreachable: the policy ends the attempts")

    def _attempt(self, method: str, url: str, body: Json | None, deadline: float) -> Actions[Response]:
        with translate_errors(url, self.timeout, self._key):
            self._announce_host(method)
            headers = self._headers()
            if (
                method == "GET"
            ):  # `transformers serve` hangs up behind a failed one; nothing must follow on it
                headers["Connection"] = "close"
            response: Response = yield Open(self._pool, method, url, body, headers, deadline)
            if response.head.status_code == 200:
                return response
            start = b""
            while len(start) < ERROR_BODY_LIMIT and time.monotonic() < deadline:
                try:
                    chunk = yield Read(response)
                except httpx.TimeoutException:
                    break  # the status is known, and so is the start of what the server says of it
                if chunk is None:
                    break
                start += chunk
            raise self._status_error(response.head, url, start[:ERROR_BODY_LIMIT])

    def _read_all(self, response: Response, url: str, deadline: float) -> Actions[bytes]:
        chunks: list[bytes] = []
        size = 0
        while (chunk := (yield from self.read(response, url, deadline))) is not None:
            chunks.append(chunk)
            size += len(chunk)
            _check_size(size, url)
        return self._without_key(b"".join(chunks))

    def read(self, response: Response, url: str, deadline: float) -> Actions[bytes | None]:
        """Return the next chunk of a body; None at its end.

        Raises:
            ServerError: the connection broke, or the deadline has passed.
        """
        with translate_errors(url, self.timeout, self._key, mid_reply=True):
            chunk: bytes | None = yield Read(response)
            if chunk is not None:
                self._check_time(url, deadline)
            return chunk


class EventStream:
    """Server-sent events of an open response, pulled one by one."""

    def __init__(self, server: Exchanges, response: Response, url: str, deadline: float) -> None:
        self._server = server
        self._source = response, url, deadline
        self._reader = EventReader(url)
        self._events: deque[Json] = deque()
        self._size = 0

    def next(self) -> Actions[Json | None]:
        """Return the next event; None after ``[DONE]``.

        Raises:
            ServerError: see `ServerClient.stream`.
        """
        while not self._events and not self._reader.at_end:
            chunk = yield from self._server.read(*self._source)
            if chunk is None:
                self._reader.finish()
                break
            self._size += len(chunk)
            _check_size(self._size, self._source[1])
            self._events.extend(self._reader.feed(chunk))
        if self._events:
            return self._events.popleft()
        yield Close()
        return None


def _check_size(size: int, url: str) -> None:
    """Refuse a reply of more than `MOST_REPLY_BYTES`, counted after decompression."""
    if size > MOST_REPLY_BYTES:
        raise ServerAnswerError(
            f"{url} must answer within {MOST_REPLY_BYTES} bytes, got more. Ask for less at a time.", ""
        )


def _refuse_stream(body: Json) -> None:
    if "stream" in body:
        raise ValueError("body must not set 'stream'. Call chat or chat_stream instead.")
