"""A child made by `os.fork`, for tests: what it returns or raises, and its end if it hangs."""

from __future__ import annotations

import os
import pickle
import select
import signal
from collections.abc import Callable
from typing import Any

import pytest

PATIENCE = 120
"""Seconds after which a child that says nothing is killed: it hangs."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no os.fork")


def in_child(work: Callable[[], Any]) -> Any:
    """Run `work` in a forked child and return its result, or the exception that it raised."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  the test looks at it
                result = error
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(result, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    parts = []
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], PATIENCE)[0]:
            part = pipe.read(1 << 16)
            if not part:
                os.waitpid(pid, 0)
                return pickle.loads(b"".join(parts))
            parts.append(part)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail("the child hangs")
