"""What this machine's processor can do, without torch."""

from __future__ import annotations

import os
import re
from pathlib import Path


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether there are instructions for bfloat16 (AVX512-BF16, AMX, ARMv8.6); False where nobody can say.

    Without them sums in bfloat16 are slower than in float32, though half as large in memory.
    """
    if not cpuinfo.is_file():
        return False
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace")
    return re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", flags) is not None


def worker_threads() -> int:
    """Threads that prepare images: half the cores this process may use, at least one, at most four."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores // 2))


def default_threads() -> int:
    """``OMP_NUM_THREADS`` where set, else as many as the process may use cores."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """One worker a core, at most four."""
    return max(1, min(4, os.cpu_count() or 1))
