"""Limits of a reading process that only some platforms can set or measure.

Everything here works on Linux. Elsewhere documents are read all the same, with less protection:

* without ``RLIMIT_AS`` (Windows has no `resource`, macOS ignores the limit) a file may take as much memory as
  the machine has: ``memory_mb`` bounds nothing;
* without ``/proc`` a reading process is not replaced when it has grown, and its time limit is wall time, so a
  busy machine may cost a page that is slow to read;
* without ``setitimer`` (Windows) a reading process that hangs in a C library outlives a killed parent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mmrag.documents.settings import PATIENCE

IDLE_FRACTION = 0.02
"""Of wall time: a process that used less was not kept waiting for a core, it hangs."""

ALMOST = 0.95
"""Of a limit that counts as reached, so that a timer is not set for what is left."""

SHORTEST_WAIT = 0.2  # seconds between two looks at a process


def limit_memory(megabytes: int) -> None:
    """Bound this process's address space; a lower limit of the platform's own is kept.

    Args:
        megabytes: 0 or less sets no limit.
    """
    try:
        import resource
    except ImportError:
        return
    if megabytes <= 0 or not hasattr(resource, "RLIMIT_AS"):
        return
    limit = megabytes << 20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def set_alarm(seconds: float) -> None:
    """End this process after so many seconds of wall time; 0 takes the alarm back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def resident_mb() -> float:
    """Return the resident memory of this process in MiB; 0 without ``/proc``."""
    try:
        with Path("/proc/self/statm").open("rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, IndexError):
        return 0.0


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time that a process has used; None without ``/proc``."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime
    except (OSError, ValueError, IndexError):
        return None


class TimeLimit:
    """A limit on a process's time, counted from construction; the process is killed when it is reached.

    Seconds are processor time, so that a process which shares its core with others is waited for, up to
    `PATIENCE` times as long on the clock. One that does not work, or whose processor time is not known, is
    held to wall time.

    Args:
        process: the process to watch.
        seconds: the limit.
        clock: gives wall time in seconds.
        cpu: gives a process's processor time in seconds, or None.

    Attributes:
        exceeded: whether the limit ended the process.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[int], float | None] = cpu_seconds,
    ) -> None:
        self.is_exceeded = False
        self._process = process
        self._seconds = seconds
        self._clock, self._cpu = clock, cpu
        self._start_time, self._cpu_before = clock(), cpu(process.pid)
        self._is_cancelled = False
        self._arm(seconds)

    def cancel(self) -> None:
        """Stop watching: the work is done."""
        self._is_cancelled = True
        self._timer.cancel()

    def _arm(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        if self._is_cancelled:
            return
        left = self._left()
        if left is not None:
            self._arm(max(SHORTEST_WAIT, left))
            return
        self.is_exceeded = True
        self._process.kill()

    def _left(self) -> float | None:
        """Return the seconds until the limit may be reached; None where it is."""
        wall_seconds = self._clock() - self._start_time
        now = self._cpu(self._process.pid)
        if now is None or self._cpu_before is None or wall_seconds >= PATIENCE * self._seconds:
            return None
        used = now - self._cpu_before
        if used < IDLE_FRACTION * wall_seconds or used >= ALMOST * self._seconds:
            return None
        return min(self._seconds - used, PATIENCE * self._seconds - wall_seconds)
