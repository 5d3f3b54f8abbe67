"""Input and output written once: a generator yields actions, a short driver performs them.

All code that talks to a server is a generator. It decides what is sent, when it is sent again and what a
reply means; what it cannot do without blocking or awaiting, it yields as an `Action` and gets the result::

    def polled(path: str) -> Actions[Json]:
        while not (reply := (yield from client.exchange("GET", path))):
            yield Pause(1.0)
        return reply

There are two drivers, `iterate` for a thread and `aiterate` for an event loop. Both perform one action at a
time, throw its exception into the generator if it fails, and close what is open when the generator ends, is
abandoned or is cancelled. `run` and `run_all` with their async twins return results in place of values.

A generator must not yield while it is being closed, so it frees nothing in a ``finally``: the driver does.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, cast

T = TypeVar("T")


class Action(Protocol):
    """One step of input or output, for a thread and for an event loop."""

    def run(self, stack: ExitStack) -> Any:  # noqa: ANN401  each action has a result of its own
        """Run the action in this thread; what it leaves open goes on the stack."""

    async def arun(self, stack: AsyncExitStack) -> Any:  # noqa: ANN401
        """Run the action without blocking the event loop."""


@dataclass(frozen=True, slots=True)
class Emit:
    """A value for whoever iterates over the work, such as a piece of a streamed answer."""

    value: Any


Actions: TypeAlias = Generator["Action | Emit", Any, T]
"""A generator of actions that returns a ``T``."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for some seconds."""

    seconds: float

    def run(self, stack: ExitStack) -> None:
        """Wait, blocking this thread."""
        time.sleep(self.seconds)

    async def arun(self, stack: AsyncExitStack) -> None:
        """Wait without blocking the event loop."""
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function that takes time: it renders a page, or reads a file."""

    function: Callable[[], Any]

    def run(self, stack: ExitStack) -> Any:  # noqa: ANN401
        """Call the function here."""
        return self.function()

    async def arun(self, stack: AsyncExitStack) -> Any:  # noqa: ANN401
        """Call the function in a thread, with a copy of the context."""
        return await asyncio.to_thread(self.function)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a future that other work will complete."""

    future: Future[Any]

    def run(self, stack: ExitStack) -> Any:  # noqa: ANN401
        """Return the future's result, or raise its exception."""
        return self.future.result()

    async def arun(self, stack: AsyncExitStack) -> Any:  # noqa: ANN401
        """Await the future; cancelling this task does not cancel the others that wait for it."""
        return await asyncio.shield(asyncio.wrap_future(self.future))


# ---------------------------------------------------------------------------------------------- drivers


def iterate(actions: Actions[object], stop: threading.Event | None = None) -> Generator[Any, None, None]:
    """Run actions in this thread and yield the values that they emit.

    Raises:
        KeyboardInterrupt: `stop` was set before an action.
    """
    with ExitStack() as stack, closing(actions):
        if stop is not None and stop.is_set():  # a pool may hand out work until it is told to cancel it
            raise KeyboardInterrupt
        resume = partial(actions.send, None)
        while (action := _advance(resume)) is not None:
            resume = partial(actions.send, None)
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            if isinstance(action, Emit):
                yield action.value
                continue
            try:
                resume = partial(actions.send, action.run(stack))
            except Exception as error:  # noqa: BLE001  the generator decides
                resume = partial(actions.throw, error)


async def aiterate(actions: Actions[object]) -> AsyncGenerator[Any, None]:
    """Run actions in the running event loop and yield the values that they emit."""
    async with AsyncExitStack() as stack:
        with closing(actions):
            resume = partial(actions.send, None)
            while (action := _advance(resume)) is not None:
                resume = partial(actions.send, None)
                if isinstance(action, Emit):
                    yield action.value
                    continue
                try:
                    resume = partial(actions.send, await action.arun(stack))
                except Exception as error:  # noqa: BLE001  the generator decides
                    resume = partial(actions.throw, error)


def _advance(resume: Callable[[], Action | Emit]) -> Action | Emit | None:
    """Return the next action of a generator; None if it has returned."""
    try:
        return resume()
    except StopIteration:
        return None


def run(actions: Actions[T], stop: threading.Event | None = None) -> T:
    """Run actions in this thread and return the generator's result."""
    with closing(iterate(_emit_result(actions), stop)) as values:
        return cast("T", next(values))


async def arun(actions: Actions[T]) -> T:
    """Run actions in the running event loop and return the generator's result."""
    async with aclosing(aiterate(_emit_result(actions))) as values:
        return cast("T", await anext(values))


def _emit_result(actions: Actions[T]) -> Actions[None]:
    yield Emit((yield from actions))


# ----------------------------------------------------------------------------------- many side by side


def run_all(
    work: Sequence[Actions[T]], width: int, on_result: Callable[[T], object] | None = None
) -> list[T]:
    """Run generators in up to `width` threads and return their results in order.

    Args:
        work: one generator for each result. A single one, or a width of 1, runs in the caller's thread.
        width: most threads, at least 1.
        on_result: called in the caller's thread with each result, in order.

    Raises:
        BaseException: the first exception in order, or Ctrl-C. No generator then performs another action.
    """
    if len(work) < 2 or width == 1:
        return list(_collect((run(actions) for actions in work), on_result))
    stop = threading.Event()
    with ThreadPoolExecutor(min(len(work), width)) as pool:
        futures = [pool.submit(contextvars.copy_context().run, run, actions, stop) for actions in work]
        try:
            return list(_collect((future.result() for future in futures), on_result))
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _collect(results: Iterable[T], on_result: Callable[[T], object] | None) -> Iterator[T]:
    for result in results:
        if on_result is not None:
            on_result(result)
        yield result


async def arun_all(
    work: Sequence[Actions[T]], width: int, on_result: Callable[[T], object] | None = None
) -> list[T]:
    """Run generators in tasks of the running event loop, up to `width` at a time; see `run_all`.

    The first exception cancels the tasks that are left; `on_result` is called as results come.
    """
    slots = asyncio.Semaphore(width)

    async def perform(actions: Actions[T]) -> T:
        async with slots:
            result = await arun(actions)
        if on_result is not None:
            on_result(result)
        return result

    tasks = [asyncio.ensure_future(perform(actions)) for actions in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
