"""Work that needs a server, written without one: a generator yields requests and is sent the replies.

A judgement is often several requests one after another (think, then answer). Written as a generator it
is pure: it yields a request, is sent the reply, and returns its result::

    def judge(...) -> Requests[Verdict]:
        reply = yield Request("chat/completions", body)
        return verdict_of(reply)

`Runner` performs the requests, many generators side by side, and looks into a cache first. A reply is
stored as soon as its generator has read it, so interrupted work resumes where it stopped, and a reply that
was refused is requested again instead of being refused from disk for ever. One that is refused though it was
stored (the file was changed, or read by an earlier version) is dropped, and the error says so by its class:
whoever makes the generators makes them again.

A picture is uploaded once: a body names it by its ``uuid`` alone and `Request.pictures` has its data. vLLM
keeps pictures under their uuid, so the data goes along only the first time, and again when the server
says that it has lost it (400, "Cache miss"). Other servers get it every time.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import logging
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from mmrag.errors import ServerAnswerError, ServerError, ServerStatusError
from mmrag.forks import new_lock
from mmrag.serving.actions import Actions, Call, Wait, arun_all, run_all
from mmrag.serving.client import Json, ServerClient
from mmrag.serving.reply_cache import ReplyCache
from mmrag.serving.wire import join_url
from mmrag.types import Usage

__all__ = [
    "Batch",
    "ReplyCache",
    "Request",
    "Requests",
    "Runner",
    "StaleReplyError",
    "UsageCounter",
    "with_pictures",
]

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: a POST with this body, or a GET without one.

    Attributes:
        path: from the API base (``chat/completions``), or from the root (``/tokenize``).
        body: the request; without a ``model`` it gets the client's.
        cached: whether the same request may be answered from the cache.
        client: which server to use, if not the runner's own client.
        shared: generators of one run that make the same request wait for one reply; its usage is counted
            for the first of them.
        optional: a server that has no such path (`absent`) gives an empty reply instead of an error.
        pictures: data URLs by the uuid under which the body's image parts name them.
        absent: HTTP statuses of an optional request that say so.
    """

    path: str
    body: Json | None = None
    cached: bool = True
    client: ServerClient | None = None
    shared: bool = False
    optional: bool = False
    pictures: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[int, ...] = (404, 405)


Requests: TypeAlias = Generator[Request, Json, T]
"""A generator that yields requests, is sent their replies, and returns a ``T``."""


class StaleReplyError(ServerAnswerError):
    """A stored reply was refused, and dropped: the same work would request it now."""


@dataclass(slots=True)
class UsageCounter:
    """Counts what one generator's requests cost."""

    usage: Usage = field(default_factory=Usage)

    def count(self, reply: Json, *, hit: bool, seconds: float = 0.0) -> None:
        """Add one reply's tokens and the time it took, or one hit of the cache."""
        if hit:
            self.usage += Usage(cache_hits=1)
            return
        tokens = reply.get("usage")
        tokens = tokens if isinstance(tokens, dict) else {}
        self.usage += Usage(
            {"server": seconds},
            prompt_tokens=_count(tokens.get("prompt_tokens")),
            completion_tokens=_count(tokens.get("completion_tokens")),
            requests=1,
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply, and its key in the cache; None if it must not be stored.

    Attributes:
        is_hit: whether it comes from the cache.
    """

    reply: Json
    key: str | None = None
    is_hit: bool = False


@dataclass(frozen=True, slots=True)
class _End(Generic[T]):
    """The result of a generator that has returned."""

    value: T


class Runner:
    """Runs generators of requests against one server.

    Args:
        client: the server; its ``max_concurrency`` bounds the generators at work. None if the generators
            make no requests, or each request names a client of its own.
        cache: where replies are kept; None keeps none. A client without a ``model`` asks the server for
            its name before it looks into the cache, so that another model is another reply.
        salt: part of every key of the cache.
    """

    def __init__(self, client: ServerClient | None, cache: ReplyCache | None = None, salt: str = "") -> None:
        self.client = client
        self.cache = cache
        self.salt = salt
        self._uploads = _Uploads()

    def with_salt(self, salt: str) -> Runner:
        """Return a copy with another salt, that knows which pictures have been uploaded."""
        twin = copy.copy(self)
        twin.salt = salt
        return twin

    def run(self, work: Sequence[Requests[T]]) -> list[tuple[T | ServerError, Usage]]:
        """Return each generator's result, or the `ServerError` that ended it, in order, with its usage."""
        shared = _SharedReplies()
        return run_all([self._perform(requests, shared) for requests in work], self._width)

    async def arun(self, work: Sequence[Requests[T]]) -> list[tuple[T | ServerError, Usage]]:
        """Run `run` without blocking the event loop."""
        shared = _SharedReplies()
        return await arun_all([self._perform(requests, shared) for requests in work], self._width)

    @property
    def _width(self) -> int:
        return 1 if self.client is None else self.client.max_concurrency

    def _perform(
        self, requests: Requests[T], shared: _SharedReplies
    ) -> Actions[tuple[T | ServerError, Usage]]:
        """Run one generator; each step of it is a `Call`, since it may render a page before it yields."""
        usage = UsageCounter()
        try:
            step = yield Call(partial(_advance, requests))
            while not isinstance(step, _End):
                answer = yield from self._reply(step, usage, shared)
                url = join_url(self._client(step).base_url, step.path)
                try:
                    step = yield Call(partial(_advance, requests, answer.reply, url))
                except ServerAnswerError as error:
                    if self.cache is None or answer.key is None or not answer.is_hit:
                        raise
                    yield Call(partial(self.cache.drop, answer.key))
                    raise StaleReplyError(str(error), error.raw_text) from error
                if self.cache is not None and answer.key is not None and not answer.is_hit:
                    yield Call(partial(self.cache.put, answer.key, answer.reply))
            return step.value, usage.usage
        except ServerError as error:
            return error, usage.usage
        finally:
            # A thread of a cancelled call may still be running it; it is closed when collected.
            if inspect.getgeneratorstate(requests) != inspect.GEN_RUNNING:
                requests.close()

    def _reply(self, request: Request, usage: UsageCounter, shared: _SharedReplies) -> Actions[_Answer]:
        """Return the reply to a request, from this generator or from another that shares it."""
        if request.body is None:
            return (yield from self._own_reply(request, usage, "", None))
        model = yield from self._client(request).resolve_model(request.body)
        digest = self._digest(request, model)
        if not request.shared:
            return (yield from self._own_reply(request, usage, model, digest))
        future, first = shared.claim(digest)
        if not first:
            answer: _Answer = yield Wait(future)
            return answer if answer.is_hit else _Answer(answer.reply)
        try:
            answer = yield from self._own_reply(request, usage, model, digest)
        except Exception as error:
            future.set_exception(error)
            raise
        except BaseException:  # cancelled, and so are those that wait
            future.cancel()
            raise
        future.set_result(answer)
        return answer

    def _own_reply(
        self, request: Request, usage: UsageCounter, model: str, digest: str | None
    ) -> Actions[_Answer]:
        key = digest if request.cached else None
        if self.cache is not None and key is not None:
            hit: Json | None = yield Call(partial(self.cache.get, key))
            if hit is not None:
                usage.count(hit, hit=True)
                return _Answer(hit, key, is_hit=True)
        start = time.monotonic()
        try:
            reply = yield from self._send(request, model)
        except ServerStatusError as error:
            if not request.optional or error.status not in request.absent:
                raise
            reply = {}
        usage.count(reply, hit=False, seconds=time.monotonic() - start)
        return _Answer(reply, key)

    def _send(self, request: Request, model: str) -> Actions[Json]:
        client = self._client(request)
        if request.body is None:
            return (yield from client.exchange("GET", request.path))
        body = {"model": model, **request.body}
        server = join_url(client.base_url, request.path)
        new_pictures = self._uploads.absent(server, request.pictures)
        if len(new_pictures) < len(request.pictures):
            try:
                return (yield from client.exchange("POST", request.path, with_pictures(body, new_pictures)))
            except ServerStatusError as error:
                log.debug("sending the pictures again: %s", error)
                self._uploads.forget(server, request.pictures)
        reply = yield from client.exchange("POST", request.path, with_pictures(body, request.pictures))
        if str(reply.get("system_fingerprint")).startswith("vllm"):
            self._uploads.remember(server, request.pictures)
        return reply

    def _client(self, request: Request) -> ServerClient:
        client = request.client or self.client
        if client is None:
            raise ValueError(f"a request for {request.path!r} needs a server, got none. Pass base_url=...")
        return client

    def _digest(self, request: Request, model: str) -> str:
        parts = [self._client(request).base_url, model, self.salt, request.path, request.body]
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def _advance(requests: Requests[T], reply: Json | None = None, url: str = "") -> Request | _End[T]:
    """Send a reply to a generator and return its next request, or its result.

    Raises:
        ServerAnswerError: the generator refuses the reply; the message names the URL.
    """
    try:
        return next(requests) if reply is None else requests.send(reply)
    except StopIteration as end:
        return _End(end.value)
    except ServerAnswerError as error:
        if url in str(error):
            raise
        raise ServerAnswerError(f"{url} answered 200, but {error}", error.raw_text) from error


class _SharedReplies:
    """Replies that several generators of one run wait for together, by digest of the request."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._futures: dict[str, Future[_Answer]] = {}

    def claim(self, digest: str) -> tuple[Future[_Answer], bool]:
        """Return the future reply, and whether the caller is the first, who has to make the request."""
        with self._lock:
            first = digest not in self._futures
            return self._futures.setdefault(digest, Future()), first


class _Uploads:
    """Which pictures a server keeps, by the URL of the request that carried them."""

    def __init__(self) -> None:
        self._uuids: dict[str, set[str]] = {}

    def absent(self, url: str, pictures: Mapping[str, str]) -> dict[str, str]:
        """Return the pictures that the server does not have."""
        uuids = self._uuids.get(url, set())
        return {uuid: data for uuid, data in pictures.items() if uuid not in uuids}

    def remember(self, url: str, pictures: Mapping[str, str]) -> None:
        """Note that the server has these pictures now."""
        self._uuids.setdefault(url, set()).update(pictures)

    def forget(self, url: str, pictures: Mapping[str, str]) -> None:
        """Note that the server may have lost these pictures."""
        self._uuids.get(url, set()).difference_update(pictures)


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """Run generators of requests in parallel, as one action of a larger piece of work."""

    runner: Runner
    work: Sequence[Requests[T]]

    def run(self, stack: ExitStack) -> list[tuple[T | ServerError, Usage]]:
        """Run them in threads."""
        return self.runner.run(self.work)

    async def arun(self, stack: AsyncExitStack) -> list[tuple[T | ServerError, Usage]]:
        """Run them in tasks of the running event loop."""
        return await self.runner.arun(self.work)


def with_pictures(body: Json, pictures: Mapping[str, str]) -> Json:
    """Return a chat body whose image parts carry the data of these pictures; others keep only their uuid."""
    if not pictures:
        return body
    return {**body, "messages": [_with_data(message, pictures) for message in body.get("messages", [])]}


def _with_data(message: Json, pictures: Mapping[str, str]) -> Json:
    if not isinstance(message.get("content"), list):
        return message
    parts: list[Any] = []
    for part in message["content"]:
        data = pictures.get(part.get("uuid", ""))
        parts.append(part if data is None else {**part, "image_url": {"url": data}})
    return {**message, "content": parts}


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
