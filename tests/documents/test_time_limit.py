"""A time limit is processor time: a hang ends on the clock, a child that waits for a core is waited for.

Times are given by the test, so that a busy machine changes nothing; two real children show that the numbers
which the platform gives are the right ones.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from mmrag.documents.limits import ALMOST, IDLE_FRACTION, SHORTEST_WAIT, TimeLimit, cpu_seconds
from mmrag.documents.settings import PATIENCE


class Child:
    """A process that gets a fixed fraction of a core."""

    pid = 1

    def __init__(self, fraction: float | None) -> None:
        self.fraction = fraction
        self.now = 0.0
        self.killed = False

    def clock(self) -> float:
        return self.now

    def cpu(self, pid: int) -> float | None:
        assert pid == self.pid
        return None if self.fraction is None else 7.0 + self.fraction * self.now  # 7 s went into other jobs

    def kill(self) -> None:
        self.killed = True


class Stepped(TimeLimit):
    """A limit whose timer is the child's clock."""

    def _arm(self, seconds: float) -> None:
        self.wait = seconds


def ended_at(fraction: float | None, seconds: float) -> float:
    """Seconds on the clock at which a limit ends a child that never finishes."""
    child = Child(fraction)
    limit = Stepped(child, seconds, clock=child.clock, cpu=child.cpu)
    while not limit.is_exceeded:
        assert not child.killed
        child.now += limit.wait
        limit._look()
    assert child.killed
    return child.now


@pytest.mark.parametrize(
    ("fraction", "end"),
    [
        (1.0, 10),  # has its core
        (0.5, 20 - SHORTEST_WAIT),  # shares it with another: 95 % of the limit count as all
        (0.1, 40),  # patience ends
        (0.03, 40),
        (0.0, 10),  # hangs
        (0.01, 10),
        (None, 10),  # a platform that does not tell
    ],
)
def test_when_a_limit_of_ten_seconds_ends_a_child(fraction, end) -> None:
    assert ended_at(fraction, 10.0) == pytest.approx(end, abs=0.5)


def test_a_child_at_work_gets_its_seconds_or_the_patience_whatever_it_shares() -> None:
    rng = random.Random(0)
    for _ in range(500):
        fraction, seconds = rng.uniform(2 * IDLE_FRACTION, 1), rng.uniform(0.5, 60)
        end, longest = ended_at(fraction, seconds), PATIENCE * seconds
        assert end >= min(ALMOST * seconds / fraction, longest) - 1e-6
        assert end <= min(seconds / fraction, longest) + SHORTEST_WAIT + 1e-6


def test_a_limit_that_is_taken_back_ends_nothing() -> None:
    child = Child(1.0)
    limit = TimeLimit(child, 3600.0, clock=child.clock, cpu=child.cpu)
    limit.cancel()
    child.now = 9999.0
    limit._look()
    assert not limit.is_exceeded and not child.killed


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc to tell CPU time")
@pytest.mark.parametrize(
    "code", ["import time; time.sleep(3600)", "while True: pass"], ids=["hangs", "spins"]
)
def test_a_real_child_that_never_finishes_is_ended(code: str) -> None:
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        limit = TimeLimit(child, 0.5)
        assert child.wait() < 0
        assert limit.is_exceeded


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc to tell CPU time")
def test_processor_time_of_a_process_is_what_it_says_itself() -> None:
    code = (
        "import sys, time\n"
        "while time.process_time() < 0.3: pass\n"
        "print(time.process_time(), flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        said = float(child.stdout.readline())
        assert cpu_seconds(child.pid) == pytest.approx(said, abs=0.1)  # the system counts in steps of 0.01 s
        child.stdin.close()
    assert cpu_seconds(child.pid) is None
