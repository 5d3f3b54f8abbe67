"""Work that needs a server, written without one: a generator yields requests and is sent the replies.

A judgement is often several requests one after another (think, then answer). Written as a generator it
is pure: it says what to ask, is told what came back, and returns its result::

    def judge(...) -> Steps[Verdict]:
        reply = yield Ask("chat/completions", body)
        return verdict_of(reply)

Here is the only place that talks for them, once for threads (`Runner.run`) and once for event loops
(`Runner.arun`); both run many generators side by side and look into the same cache first. A reply is
stored as soon as its generator has read it, so work that was cut off goes on where it stopped, and an
answer that was refused is asked for again instead of being refused from disk for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar

from mmrag.client import Json, ServerClient
from mmrag.errors import ServerError
from mmrag.types import Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: a POST with this body, or a GET where there is none.

    Attributes:
        path: from the API base (``chat/completions``), or from the root (``/tokenize``).
        body: the request; without a ``model`` it gets the client's.
        cached: whether the same request may be answered from the cache.
        client: whom to ask, where that is not the runner's own client.
        shared: generators of one run that ask the same thing wait for one reply; who asked it pays.
    """

    path: str
    body: Json | None = None
    cached: bool = True
    client: ServerClient | None = None
    shared: bool = False


Steps: TypeAlias = Generator[Ask, Json, T]


@dataclass(slots=True)
class Meter:
    """Counts what one generator's requests cost."""

    usage: Usage = field(default_factory=Usage)

    def count(self, reply: Json, *, hit: bool) -> None:
        """Add one reply's tokens, or one hit of the cache."""
        if hit:
            self.usage += Usage(cache_hits=1)
            return
        said = reply.get("usage")
        said = said if isinstance(said, dict) else {}
        self.usage += Usage(
            prompt_tokens=_count(said.get("prompt_tokens")),
            completion_tokens=_count(said.get("completion_tokens")),
            requests=1,
        )


class ReplyCache:
    """Replies on disk, one small file each, named by a digest of server, model and request.

    Two processes may share a folder: a file appears whole or not at all.

    Args:
        folder: made when the first reply is stored.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, key: str) -> Json | None:
        """The reply stored under a key; None where there is none, or where its file is not whole."""
        try:
            reply = json.loads(self._path(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # cut off by a full disk, say; it will be asked for and written again
        return reply if isinstance(reply, dict) else None

    def put(self, key: str, reply: Json) -> None:
        """Store a reply; the file is written beside its place and then moved into it."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(reply, file)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


class Runner:
    """Runs generators of `Steps` against one server.

    Args:
        client: does the talking; its ``max_concurrency`` bounds the requests in flight.
        cache: where replies are kept; None keeps none.
    """

    def __init__(self, client: ServerClient, cache: ReplyCache | None = None) -> None:
        self.client = client
        self.cache = cache

    def run(self, steps: Sequence[Steps[T]]) -> list[tuple[T | ServerError, Usage]]:
        """Each generator's result, or the `ServerError` that ended it, in order, with what it cost."""
        shared = _Shared()
        if len(steps) < 2 or self.client.max_concurrency == 1:
            return [self._one(step, shared, None) for step in steps]
        stop = threading.Event()
        with ThreadPoolExecutor(min(len(steps), self.client.max_concurrency)) as pool:
            waiting = [pool.submit(self._one, step, shared, stop) for step in steps]
            try:
                return [future.result() for future in waiting]
            except BaseException:  # Ctrl-C, or a defect: ask nothing more
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    async def arun(self, steps: Sequence[Steps[T]]) -> list[tuple[T | ServerError, Usage]]:
        """`run` without blocking the event loop."""
        shared = _Shared()
        tasks = [asyncio.ensure_future(self._aone(step, shared)) for step in steps]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:  # cancelled, or a defect: ask nothing more
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def _one(
        self, steps: Steps[T], shared: _Shared, stop: threading.Event | None
    ) -> tuple[T | ServerError, Usage]:
        meter = Meter()
        try:
            ask = next(steps)
            while True:
                if stop is not None and stop.is_set():
                    raise KeyboardInterrupt
                reply, key = self._reply(ask, meter, shared)
                try:
                    ask = steps.send(reply)
                except StopIteration:
                    self._keep(key, reply)
                    raise
                self._keep(key, reply)
        except StopIteration as end:
            return end.value, meter.usage
        except ServerError as error:
            return error, meter.usage
        finally:
            steps.close()

    async def _aone(self, steps: Steps[T], shared: _Shared) -> tuple[T | ServerError, Usage]:
        meter = Meter()
        try:
            ask = next(steps)
            while True:
                reply, key = await self._areply(ask, meter, shared)
                try:
                    ask = steps.send(reply)
                except StopIteration:
                    await asyncio.to_thread(self._keep, key, reply)
                    raise
                await asyncio.to_thread(self._keep, key, reply)
        except StopIteration as end:
            return end.value, meter.usage
        except ServerError as error:
            return error, meter.usage
        finally:
            steps.close()

    def _reply(self, ask: Ask, meter: Meter, shared: _Shared) -> tuple[Json, str | None]:
        """What came back, and the key to keep it under; None where there is nothing to keep."""
        if ask.shared:
            waiting, mine = shared.claim(self._digest(ask))
            if not mine:
                return waiting.result(), None
            try:
                reply, key = self._own_reply(ask, meter)
            except BaseException as error:
                waiting.set_exception(error)
                raise
            waiting.set_result(reply)
            return reply, key
        return self._own_reply(ask, meter)

    def _own_reply(self, ask: Ask, meter: Meter) -> tuple[Json, str | None]:
        key = self._key(ask)
        reply = self._cached(key)
        if reply is None:
            client = ask.client or self.client
            if ask.body is None:
                reply = client.get(ask.path)
            else:
                reply = client.post(ask.path, {"model": client.model_name(), **ask.body})
            meter.count(reply, hit=False)
            return reply, key
        meter.count(reply, hit=True)
        return reply, None

    async def _areply(self, ask: Ask, meter: Meter, shared: _Shared) -> tuple[Json, str | None]:
        if ask.shared:
            waiting, mine = shared.claim(self._digest(ask))
            if not mine:
                return await asyncio.shield(asyncio.wrap_future(waiting)), None
            try:
                reply, key = await self._own_areply(ask, meter)
            except BaseException as error:
                waiting.set_exception(error)
                raise
            waiting.set_result(reply)
            return reply, key
        return await self._own_areply(ask, meter)

    async def _own_areply(self, ask: Ask, meter: Meter) -> tuple[Json, str | None]:
        key = self._key(ask)
        reply = await asyncio.to_thread(self._cached, key)
        if reply is None:
            client = ask.client or self.client
            if ask.body is None:
                reply = await client.aget(ask.path)
            else:
                reply = await client.apost(ask.path, {"model": await client.amodel_name(), **ask.body})
            meter.count(reply, hit=False)
            return reply, key
        meter.count(reply, hit=True)
        return reply, None

    def _key(self, ask: Ask) -> str | None:
        if self.cache is None or not ask.cached or ask.body is None:
            return None
        return self._digest(ask)

    def _digest(self, ask: Ask) -> str:
        client = ask.client or self.client
        whole = [client.base_url, client.model, ask.path, ask.body]
        text = json.dumps(whole, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()

    def _cached(self, key: str | None) -> Json | None:
        return self.cache.get(key) if self.cache is not None and key is not None else None

    def _keep(self, key: str | None, reply: Json) -> None:
        if self.cache is not None and key is not None:
            self.cache.put(key, reply)


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
