"""Ports for servers that are started by name of a port: free, and given to nobody else meanwhile.

The system gives ports of one range to whoever asks for any; one that was free a moment ago may be another's
by the time a server has started. Those below the range are given to nobody who does not name them.
"""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

_FIRST, _EACH = 20_000, 60

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

_numbers = itertools.count()


def own_port() -> int:
    """Return a free port that neither the system nor another process of tests gives to anybody."""
    end = int(_RANGE.read_text().split()[0]) if _RANGE.is_file() else 32_768
    for _ in range(_EACH):
        # processes of one run of tests have numbers close to each other
        port = _FIRST + os.getpid() % 200 * _EACH + next(_numbers) % _EACH
        if port < end and _is_free(port):
            return port
    with socket.create_server(("127.0.0.1", 0)) as probe:  # a system that gives those, too
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
