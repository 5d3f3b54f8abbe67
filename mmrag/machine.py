"""What this machine's processor can do, without torch."""

from __future__ import annotations

import os
import re
from pathlib import Path


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the processor has instructions for bfloat16; False if it cannot be found out.

    Without them (AVX512-BF16, AMX, ARMv8.6) sums in bfloat16 are slower than in float32, though half as large
    in memory.
    """
    if not cpuinfo.is_file():
        return False
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace")
    return re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", flags) is not None


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_threads() -> int:
    """Return the number of threads that prepare images: half of the usable cores, from one to four."""
    return max(1, min(4, usable_cores() // 2))


def default_threads() -> int:
    """Return ``OMP_NUM_THREADS`` if set, else the number of cores that the process may use."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    if setting.isdecimal() and int(setting) > 0:
        return int(setting)
    return usable_cores()


def default_workers() -> int:
    """Return the number of worker processes: one per core, at most four."""
    return max(1, min(4, os.cpu_count() or 1))
