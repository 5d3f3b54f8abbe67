"""Async names of blocking methods."""

from __future__ import annotations

import threading
from contextvars import ContextVar

from mmrag.hosts.threads import in_thread

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


class Store:
    def add(self, name: str, *, twice: bool = False) -> tuple[str, int, str]:
        return (name * (2 if twice else 1), threading.get_ident(), VARIABLE.get())

    aadd = in_thread(add)


class Loud(Store):
    def add(self, name: str, *, twice: bool = False) -> tuple[str, int, str]:
        return super().add(name.upper(), twice=twice)


async def test_it_runs_in_another_thread_with_the_callers_context() -> None:
    VARIABLE.set("set here")
    name, thread, value = await Store().aadd("a", twice=True)
    assert (name, value) == ("aa", "set here")
    assert thread != threading.get_ident()


async def test_a_subclass_overrides_both_names() -> None:
    assert (await Loud().aadd("a"))[0] == "A"


def test_it_has_the_name_and_signature_of_a_twin() -> None:
    assert Store.aadd.__name__ == "aadd"
    assert Store.aadd.__doc__ == "Run `add` in a thread."
