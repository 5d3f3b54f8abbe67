"""A time limit is processor time: a hang ends on the clock, a child that waits for a core is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from mmrag.documents.pool import _TimeLimit
from mmrag.documents.settings import PATIENCE

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc to tell CPU time")


def run(code: str, seconds: float) -> tuple[float, bool]:
    """Wall seconds until the child ends, and whether the limit ended it."""
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        started = time.monotonic()
        limit = _TimeLimit(child, seconds)
        child.wait()
        limit.cancel()
        return time.monotonic() - started, limit.exceeded


def test_a_child_that_hangs_without_working_ends_on_the_clock() -> None:
    seconds, exceeded = run("import time; time.sleep(60)", 1.0)
    assert exceeded
    assert seconds < 2.5


def test_a_child_that_spins_ends_by_its_processor_time() -> None:
    _, exceeded = run("while True: pass", 0.5)
    assert exceeded


def test_a_child_that_has_to_share_its_core_is_waited_for() -> None:
    """Half asleep stands for half a core: 0.6 s of work in about 1.2 s on the clock, with a limit of 0.8."""
    code = (
        "import time\n"
        "while time.process_time() < 0.6:\n"
        "    end = time.perf_counter() + 0.01\n"
        "    while time.perf_counter() < end: pass\n"
        "    time.sleep(0.012)\n"
    )
    seconds, exceeded = run(code, 0.8)
    assert not exceeded
    assert 0.8 < seconds < PATIENCE * 0.8


def test_patience_ends() -> None:
    """A tenth of a core for ever: given up after PATIENCE times the limit."""
    code = (
        "import time\n"
        "while True:\n"
        "    end = time.perf_counter() + 0.01\n"
        "    while time.perf_counter() < end: pass\n"
        "    time.sleep(0.09)\n"
    )
    seconds, exceeded = run(code, 0.5)
    assert exceeded
    assert seconds < PATIENCE * 0.5 + 1.0
