"""Laws of a server's heaps: two for all threads, and none bounded where somebody else has bounded them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mmrag.cli import allocator

HEAPS = """
import ctypes, re, sys, tempfile, threading
from mmrag.cli.allocator import bound_heaps

is_bound = bound_heaps()
library = ctypes.CDLL(None)
if not hasattr(library, "malloc_info"):
    print(is_bound, 0)
    sys.exit()
met = threading.Barrier(12)
library.malloc.restype = ctypes.c_void_p

def allocate():
    met.wait()  # all of them at once, or one would take the heap of another that has ended
    library.malloc(ctypes.c_size_t(1000))
    met.wait()

threads = [threading.Thread(target=allocate) for _ in range(met.parties)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tempfile.NamedTemporaryFile() as file:
    library.fopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(library.fopen(file.name.encode(), b"w"))
    library.malloc_info(0, stream)
    library.fclose(stream)
    print(is_bound, len(re.findall(rb"<heap nr", file.read())))
"""


def heaps(**environment: str) -> tuple[bool, int]:
    """Return whether the heaps were bound and how many twelve threads have; 0 where glibc does not count."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", HEAPS]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=own | environment)
    is_bound, count = done.stdout.split()
    return is_bound == "True", int(count)


def test_all_threads_share_two_heaps() -> None:
    is_bound, count = heaps()
    if not count:
        assert not is_bound
        return
    assert is_bound
    assert 1 <= count <= allocator.HEAPS


@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_ARENA_MAX": "5"},
        {"MALLOC_TRIM_THRESHOLD_": "1000000"},
        {"MALLOC_MMAP_THRESHOLD_": "1000000"},
        {"GLIBC_TUNABLES": "glibc.malloc.arena_max=5"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_what_the_environment_says_stays(environment: dict[str, str]) -> None:
    is_bound, count = heaps(**environment)
    assert not is_bound
    assert not count or count > allocator.HEAPS or "5" not in "".join(environment.values())


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert not allocator.bound_heaps()
