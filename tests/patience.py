"""Waiting in tests: for events, as long as it takes on a busy machine, and never for a time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from mmrag.errors import ServerUnreachableError

PATIENCE = 300.0
"""Seconds after which what is waited for does not come: far more than any machine needs."""

LIMITS = (0.4, 2.0, 10.0, 60.0)
"""Seconds of a limit that a test means to reach; the longer ones where a busy machine needs them."""


def wait_until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} was waited for in vain"
        time.sleep(0.01)


def end_in_time(call: Callable[[float], object]) -> None:
    """Check that a call to a server whose answer never ends is ended by the limit that it is given.

    A machine that is too busy to connect within a limit says nothing of the law, and gets a longer one.
    """
    for seconds in LIMITS:
        with pytest.raises(ServerUnreachableError) as caught:
            call(seconds)
        if not str(caught.value).startswith("No server at"):
            break
    assert f"did not finish its answer within {seconds:g} s. Raise timeout" in str(caught.value)
