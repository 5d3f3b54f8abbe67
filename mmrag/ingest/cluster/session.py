"""Connection to a Ray cluster, for one `add`."""

from __future__ import annotations

import os
import socket
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmrag.errors import MissingExtraError, ServerUnreachableError, WorkerError
from mmrag.ingest.cluster.settings import RaySettings

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

LOCAL = "local"
"""Address of a cluster that is started on this machine."""

CONNECT_SECONDS = 10.0
"""Longest wait for a port of the cluster to be open."""


class RaySession:
    """A connection to a Ray cluster; a context manager, which ends only what it has started.

    Args:
        settings: name the cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        ServerUnreachableError: there is no cluster at the address.
        WorkerError: a cluster of this machine cannot be started.
    """

    def __init__(self, settings: RaySettings) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use to its maker otherwise
        self.ray = imported_ray()
        self._is_own = not self.ray.is_initialized()
        if self._is_own:
            self._connect(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, settings: RaySettings) -> None:
        """Connect to the cluster that is named, or start one."""
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        address = None if settings.address == LOCAL else settings.address
        if address is None:
            options["include_dashboard"] = False
        else:
            check_port(address)
            options["address"] = address
        try:
            self.ray.init(**options)
        except Exception as error:
            if address is None:
                raise WorkerError(
                    f"Ray could not be started here: {_line(error)}. Start a cluster by `ray start --head` "
                    "and name its address."
                ) from error
            raise _unreachable(address, _line(error)) from error

    def resources(self) -> tuple[float, float]:
        """Return the cluster's processors and graphics cards."""
        resources = self.ray.cluster_resources()
        return float(resources.get("CPU", 0.0)), float(resources.get("GPU", 0.0))

    def close(self) -> None:
        """End the connection, and the cluster if it was started here."""
        if self._is_own and self.ray.is_initialized():
            self.ray.shutdown()


def imported_ray() -> Any:  # noqa: ANN401  Ray is optional and its types are its own
    """Import Ray.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("Adding files on a Ray cluster", "ray") from error
    assert isinstance(sys.modules["ray"], ModuleType)
    return ray


def check_port(address: str) -> None:
    """Check that something listens at an address; Ray itself waits a minute, or ends the process.

    Raises:
        ValueError: not an address.
        ServerUnreachableError: nothing does.
    """
    if address in ("auto", LOCAL):  # Ray looks for the cluster of this machine by itself, and is quick
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and host and port.isdecimal()):
        raise ValueError(
            f"the address of a Ray cluster must be HOST:PORT, ray://HOST:PORT or auto, got {address!r}. "
            "`ray start --head` prints it."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, _line(error)) from error


def _unreachable(address: str, reason: str) -> ServerUnreachableError:
    return ServerUnreachableError(
        f"a Ray cluster must answer at {address}, got none ({reason}). Start one by `ray start --head`, name "
        "its address as that prints it, or name none: one is started on this machine for the call. A cluster "
        "that wants a token wants it of this process, too: see Ray's documentation on token authentication."
    )


def _line(error: BaseException) -> str:
    """Return the first line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
