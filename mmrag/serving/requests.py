"""Work that needs a server, written without one: a generator yields requests and is sent the replies.

A judgement is often several requests one after another (think, then answer). Written as a generator it
is pure: it says what to ask, is told what came back, and returns its result::

    def judge(...) -> Requests[Verdict]:
        reply = yield Request("chat/completions", body)
        return verdict_of(reply)

Here is the only place that talks for them, once for threads (`Runner.run`) and once for event loops
(`Runner.arun`); both run many generators side by side and look into the same cache first. A reply is
stored as soon as its generator has read it, so work that was cut off goes on where it stopped, and an
answer that was refused is asked for again instead of being refused from disk for ever.

A picture is uploaded once: a body names it by its ``uuid`` alone and `Request.pictures` has its data. vLLM
keeps pictures under their uuid, so the data goes along only the first time, and again when the server
says that it has lost it (400, "Cache miss"). Other servers get it every time.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import logging
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from mmrag.errors import ServerAnswerError, ServerError, ServerStatusError
from mmrag.serving.client import Json, ServerClient
from mmrag.serving.reply_cache import ReplyCache
from mmrag.serving.wire import join_url
from mmrag.types import Usage

__all__ = ["ReplyCache", "Request", "Requests", "Runner", "UsageCounter", "with_pictures"]

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: a POST with this body, or a GET where there is none.

    Attributes:
        path: from the API base (``chat/completions``), or from the root (``/tokenize``).
        body: the request; without a ``model`` it gets the client's.
        cached: whether the same request may be answered from the cache.
        client: whom to ask, where that is not the runner's own client.
        shared: generators of one run that ask the same thing wait for one reply; who asked it pays.
        optional: a server that has no such path (404, 405) gives an empty reply instead of an error.
        pictures: data URLs by the uuid under which the body's image parts name them.
    """

    path: str
    body: Json | None = None
    cached: bool = True
    client: ServerClient | None = None
    shared: bool = False
    optional: bool = False
    pictures: Mapping[str, str] = field(default_factory=dict)


Requests: TypeAlias = Generator[Request, Json, T]


@dataclass(slots=True)
class UsageCounter:
    """Counts what one generator's requests cost."""

    usage: Usage = field(default_factory=Usage)

    def count(self, reply: Json, *, hit: bool, seconds: float = 0.0) -> None:
        """Add one reply's tokens and the time it took, or one hit of the cache."""
        if hit:
            self.usage += Usage(cache_hits=1)
            return
        said = reply.get("usage")
        said = said if isinstance(said, dict) else {}
        self.usage += Usage(
            {"server": seconds},
            prompt_tokens=_count(said.get("prompt_tokens")),
            completion_tokens=_count(said.get("completion_tokens")),
            requests=1,
        )


@dataclass(frozen=True, slots=True)
class _End(Generic[T]):
    """What a generator returned."""

    value: T


class Runner:
    """Runs generators of `Requests` against one server.

    Args:
        client: does the talking; its ``max_concurrency`` bounds the generators at work. None where none of
            them asks anything, or each names a client of its own.
        cache: where replies are kept; None keeps none. A client without a ``model`` asks the server for
            its name before it looks into the cache, so that another model is another reply.
        salt: part of every key of the cache.
    """

    def __init__(self, client: ServerClient | None, cache: ReplyCache | None = None, salt: str = "") -> None:
        self.client = client
        self.cache = cache
        self.salt = salt
        self._kept: dict[str, set[str]] = {}  # uuids of the pictures that a server has, by its address

    def with_salt(self, salt: str) -> Runner:
        """A copy with another salt, that knows which pictures have been uploaded."""
        twin = copy.copy(self)
        twin.salt = salt
        return twin

    def run(self, steps: Sequence[Requests[T]]) -> list[tuple[T | ServerError, Usage]]:
        """Each generator's result, or the `ServerError` that ended it, in order, with what it cost."""
        shared = _Shared()
        if len(steps) < 2 or self._width == 1:
            return [self._one(step, shared, None) for step in steps]
        stop = threading.Event()
        with ThreadPoolExecutor(min(len(steps), self._width)) as pool:
            waiting = [pool.submit(self._one, step, shared, stop) for step in steps]
            try:
                return [future.result() for future in waiting]
            except BaseException:  # Ctrl-C, or a defect: ask nothing more
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    async def arun(self, steps: Sequence[Requests[T]]) -> list[tuple[T | ServerError, Usage]]:
        """`run` without blocking the event loop."""
        shared, slots = _Shared(), asyncio.Semaphore(self._width)
        tasks = [asyncio.ensure_future(self._aone(step, shared, slots)) for step in steps]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:  # cancelled, or a defect: ask nothing more
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    @property
    def _width(self) -> int:
        return 1 if self.client is None else self.client.max_concurrency

    # ------------------------------------------------------------------------------------ sync

    def _one(
        self, steps: Requests[T], shared: _Shared, stop: threading.Event | None
    ) -> tuple[T | ServerError, Usage]:
        meter = UsageCounter()
        try:
            now = _advance(steps)
            while not isinstance(now, _End):
                if stop is not None and stop.is_set():
                    raise KeyboardInterrupt
                reply, key = self._reply(now, meter, shared)
                now = _advance(steps, reply, self._url(now))
                self._keep(key, reply)
            return now.value, meter.usage
        except ServerError as error:
            return error, meter.usage
        finally:
            steps.close()

    def _reply(self, ask: Request, meter: UsageCounter, shared: _Shared) -> tuple[Json, str | None]:
        """What came back, and the key to keep it under; None where there is nothing to keep."""
        if ask.body is None:
            return self._own_reply(ask, meter, "", None)
        model = str(ask.body.get("model") or self._client(ask).model_name())
        digest = self._digest(ask, model)
        if not ask.shared:
            return self._own_reply(ask, meter, model, digest)
        waiting, mine = shared.claim(digest)
        if not mine:
            return waiting.result(), None
        try:
            reply, key = self._own_reply(ask, meter, model, digest)
        except BaseException as error:
            waiting.set_exception(error)
            raise
        waiting.set_result(reply)
        return reply, key

    def _own_reply(
        self, ask: Request, meter: UsageCounter, model: str, digest: str | None
    ) -> tuple[Json, str | None]:
        key = digest if ask.cached else None
        reply = self._cached(key)
        if reply is not None:
            meter.count(reply, hit=True)
            return reply, None
        started = time.monotonic()
        try:
            reply = self._client(ask).get(ask.path) if ask.body is None else self._post(ask, model)
        except ServerStatusError as error:
            reply = _absent(ask, error)
        meter.count(reply, hit=False, seconds=time.monotonic() - started)
        return reply, key

    def _post(self, ask: Request, model: str) -> Json:
        client, body = self._client(ask), {"model": model, **(ask.body or {})}
        lean = self._lean(ask, body)
        if lean is not None:
            try:
                return client.post(ask.path, lean)
            except ServerStatusError as error:
                self._forget(ask, error)
        reply = client.post(ask.path, with_pictures(body, ask.pictures))
        self._remember(ask, reply)
        return reply

    # ----------------------------------------------------------------------------------- async

    async def _aone(
        self, steps: Requests[T], shared: _Shared, slots: asyncio.Semaphore
    ) -> tuple[T | ServerError, Usage]:
        meter = UsageCounter()
        async with slots:
            try:
                now = await _aadvance(steps)
                while not isinstance(now, _End):
                    reply, key = await self._areply(now, meter, shared)
                    now = await _aadvance(steps, reply, self._url(now))
                    await asyncio.to_thread(self._keep, key, reply)
                return now.value, meter.usage
            except ServerError as error:
                return error, meter.usage

    async def _areply(self, ask: Request, meter: UsageCounter, shared: _Shared) -> tuple[Json, str | None]:
        if ask.body is None:
            return await self._own_areply(ask, meter, "", None)
        model = str(ask.body.get("model") or await self._client(ask).amodel_name())
        digest = self._digest(ask, model)
        if not ask.shared:
            return await self._own_areply(ask, meter, model, digest)
        waiting, mine = shared.claim(digest)
        if not mine:
            return await asyncio.shield(asyncio.wrap_future(waiting)), None
        try:
            reply, key = await self._own_areply(ask, meter, model, digest)
        except BaseException as error:
            waiting.set_exception(error)
            raise
        waiting.set_result(reply)
        return reply, key

    async def _own_areply(
        self, ask: Request, meter: UsageCounter, model: str, digest: str | None
    ) -> tuple[Json, str | None]:
        key = digest if ask.cached else None
        reply = await asyncio.to_thread(self._cached, key)
        if reply is not None:
            meter.count(reply, hit=True)
            return reply, None
        started = time.monotonic()
        try:
            if ask.body is None:
                reply = await self._client(ask).aget(ask.path)
            else:
                reply = await self._apost(ask, model)
        except ServerStatusError as error:
            reply = _absent(ask, error)
        meter.count(reply, hit=False, seconds=time.monotonic() - started)
        return reply, key

    async def _apost(self, ask: Request, model: str) -> Json:
        client, body = self._client(ask), {"model": model, **(ask.body or {})}
        lean = self._lean(ask, body)
        if lean is not None:
            try:
                return await client.apost(ask.path, lean)
            except ServerStatusError as error:
                self._forget(ask, error)
        reply = await client.apost(ask.path, with_pictures(body, ask.pictures))
        self._remember(ask, reply)
        return reply

    # ---------------------------------------------------------------------------------- shared

    def _client(self, ask: Request) -> ServerClient:
        client = ask.client or self.client
        if client is None:
            raise ValueError(f"asking for {ask.path!r} needs a server, got none. Pass base_url=...")
        return client

    def _url(self, ask: Request) -> str:
        return join_url(self._client(ask).base_url, ask.path)

    def _lean(self, ask: Request, body: Json) -> Json | None:
        """The body without the pictures that the server has; None where it has none of them."""
        here = self._kept.get(self._url(ask), set())
        absent = {uuid: data for uuid, data in ask.pictures.items() if uuid not in here}
        return None if len(absent) == len(ask.pictures) else with_pictures(body, absent)

    def _remember(self, ask: Request, reply: Json) -> None:
        if ask.pictures and str(reply.get("system_fingerprint")).startswith("vllm"):
            self._kept.setdefault(self._url(ask), set()).update(ask.pictures)

    def _forget(self, ask: Request, error: ServerStatusError) -> None:
        log.debug("sending the pictures again: %s", error)
        self._kept.get(self._url(ask), set()).difference_update(ask.pictures)

    def _digest(self, ask: Request, model: str) -> str:
        whole = [self._client(ask).base_url, model, self.salt, ask.path, ask.body]
        text = json.dumps(whole, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()

    def _cached(self, key: str | None) -> Json | None:
        return self.cache.get(key) if self.cache is not None and key is not None else None

    def _keep(self, key: str | None, reply: Json) -> None:
        if self.cache is not None and key is not None:
            self.cache.put(key, reply)


def _absent(ask: Request, error: ServerStatusError) -> Json:
    """The empty reply of a path that need not be there; otherwise the error goes on."""
    if ask.optional and error.status in (404, 405):
        return {}
    raise error


def with_pictures(body: Json, pictures: Mapping[str, str]) -> Json:
    """A chat body whose image parts carry the data of these pictures; others keep their uuid alone."""
    if not pictures:
        return body
    return {**body, "messages": [_filled(message, pictures) for message in body.get("messages", [])]}


def _filled(message: Json, pictures: Mapping[str, str]) -> Json:
    if not isinstance(message.get("content"), list):
        return message
    parts: list[Any] = []
    for part in message["content"]:
        data = pictures.get(part.get("uuid", ""))
        parts.append(part if data is None else {**part, "image_url": {"url": data}})
    return {**message, "content": parts}


def _advance(steps: Requests[T], reply: Json | None = None, url: str = "") -> Request | _End[T]:
    """The next request of a generator that has been sent this reply, or its result.

    Raises:
        ServerAnswerError: the generator refuses the reply; the message names the URL.
    """
    try:
        return next(steps) if reply is None else steps.send(reply)
    except StopIteration as end:
        return _End(end.value)
    except ServerAnswerError as error:
        if url in str(error):
            raise
        raise ServerAnswerError(f"{url} answered 200, but {error}", error.raw_text) from error


async def _aadvance(steps: Requests[T], reply: Json | None = None, url: str = "") -> Request | _End[T]:
    """`_advance` in a thread: a generator may render a page before it asks."""
    return await asyncio.to_thread(_advance, steps, reply, url)


class _Shared:
    """Replies that several generators of one run wait for together, by digest of the request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Future[Json]] = {}

    def claim(self, digest: str) -> tuple[Future[Json], bool]:
        """The reply to wait for, and whether the caller is the one who has to ask."""
        with self._lock:
            mine = digest not in self._waiting
            return self._waiting.setdefault(digest, Future()), mine


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
