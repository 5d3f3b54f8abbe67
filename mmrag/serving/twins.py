"""Async twins of blocking methods, written once: work of this process runs in a thread."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, TypeVar, cast

from typing_extensions import ParamSpec

P = ParamSpec("P")
Owner = TypeVar("Owner")
T = TypeVar("T")


def in_thread(
    method: Callable[Concatenate[Owner, P], T],
) -> Callable[Concatenate[Owner, P], Coroutine[Any, Any, T]]:
    """Return the async twin of a blocking method: it runs in a thread, with the caller's context.

    Use it in the class body, as ``aadd = in_thread(add)``. The twin calls the method by its name, so that a
    subclass that overrides ``add`` has changed ``aadd``, too.
    """
    name = getattr(method, "__name__", "")

    @functools.wraps(method)
    async def twin(owner: Owner, /, *args: P.args, **options: P.kwargs) -> T:
        return cast("T", await asyncio.to_thread(getattr(owner, name), *args, **options))

    twin.__name__ = f"a{name}"
    twin.__qualname__ = f"{twin.__qualname__.removesuffix(name)}a{name}"
    twin.__doc__ = f"Run `{name}` in a thread."
    return twin


def signature_of(blocking: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a twin the signature of the blocking method, for type checkers and for `help`."""

    def decorate(twin: Callable[..., T]) -> Callable[P, T]:
        twin.__wrapped__ = blocking  # type: ignore[attr-defined]  # where `inspect.signature` looks
        return cast("Callable[P, T]", twin)

    return decorate
