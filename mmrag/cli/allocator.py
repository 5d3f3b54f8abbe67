"""What C's allocator keeps of the memory that a server has freed: little, where it is glibc's.

Left alone it has up to eight heaps a core, each for some threads, and learns from the first large buffer
that is freed to put buffers of that size into the heaps, and to keep twice as much at the end of each. A
page's picture is such a buffer, and a server's threads come and go: an hour of requests left 164 MB in
sixteen heaps that nobody used (``docs/lab-log.md``, "an hour's memory").
"""

from __future__ import annotations

import ctypes
import os
import sys

HEAPS = 2
"""Heaps for all threads."""

LARGE = 1 << 20
"""Bytes from which a buffer goes back to the system once it is freed, and that a heap keeps at its end.

With 128 kB, where glibc begins, as much memory is left, and searches of several threads at once take more of
a processor: buffers of that size are then fetched from the system all the time."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)
_VARIABLES = ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def bound_heaps() -> bool:
    """Bound the heaps of this process and what they keep; return whether that was done.

    Call it before threads work: heaps that are there already stay. Nothing is done where the allocator is not
    glibc's (macOS, Windows, Alpine), nor where the environment sets one of these bounds itself
    (``MALLOC_ARENA_MAX``, ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``, or ``glibc.malloc`` in
    ``GLIBC_TUNABLES``).
    """
    if sys.platform != "linux" or any(name in os.environ for name in _VARIABLES):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    bounds = ((_ARENA_MAX, HEAPS), (_MMAP_THRESHOLD, LARGE), (_TRIM_THRESHOLD, LARGE))
    return all([library.mallopt(option, value) == 1 for option, value in bounds])
