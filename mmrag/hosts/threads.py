"""Async names for blocking methods of a host's class."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Instance = TypeVar("Instance")
Result = TypeVar("Result")


def in_thread(
    method: Callable[Concatenate[Instance, Parameters], Result],
) -> Callable[Concatenate[Instance, Parameters], Coroutine[Any, Any, Result]]:
    """Return a coroutine method that runs `method` in a thread, with the caller's context copied.

    It looks the method up by name, so that a subclass which overrides the blocking name changes both.
    """
    name = method.__name__

    @functools.wraps(method)
    async def awaitable(self: Instance, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        bound_method: Callable[Parameters, Result] = getattr(self, name)
        return await asyncio.to_thread(bound_method, *args, **kwargs)

    awaitable.__name__ = f"a{name}"
    awaitable.__doc__ = f"Run `{name}` in a thread."
    return awaitable
