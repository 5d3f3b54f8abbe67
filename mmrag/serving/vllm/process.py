"""A server as a child process: started with its log in a file, waited for, and stopped whole.

A vLLM server is a tree of processes. It gets a process group of its own, so that a Ctrl-C at our terminal
reaches us alone and we can end the tree in order: first its root, which ends the others; then, if some
are left after a while, all of them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from mmrag.errors import ServeError, ServerError, ServerStatusError
from mmrag.masking import mask_secrets
from mmrag.serving.client import ServerClient
from mmrag.serving.vllm.plan import KEY_VARIABLE, ServePlan

TAIL_LINES = 30
GRACE_SECONDS = 20.0  # time for a server to end by itself before it is killed
_TAIL_BYTES = 64_000
_POLL_SECONDS = 0.5


class ServerProcess:
    """One server. As a context manager it is stopped at the end, whatever happens.

    Args:
        plan: what to start.
        log: file for the server's output; None creates a temporary file.
        api_key: key that the server demands, if it does.

    Raises:
        ServeError: the system has no process groups (Windows).
    """

    def __init__(self, plan: ServePlan, log: Path | None = None, *, api_key: str = "") -> None:
        if sys.platform == "win32":
            raise ServeError("mmrag serve runs where vLLM does, on Linux and macOS. Under Windows use WSL.")
        self.plan = plan
        self.log = log
        self._client = ServerClient(
            plan.url, api_key=api_key, timeout=5.0, max_retries=0, key_over_http=True
        )  # over http to our own server, even at an address that others reach
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; it is not ready yet.

        Raises:
            ServeError: the port is taken, the log cannot be written, or the program cannot be run.
        """
        check_port_free(self.plan)
        if self.log is None:
            handle, name = tempfile.mkstemp(prefix="mmrag-serve-", suffix=".log")
            os.close(handle)
            self.log = Path(name)
        environment = {**self.plan.environment, **os.environ}  # what the user has set wins
        if key := self.plan.environment.get(KEY_VARIABLE):
            environment[KEY_VARIABLE] = key  # but for a key that was asked for in so many words
        environment["PYTHONUNBUFFERED"] = "1"
        try:
            # In a thread, since a signal interrupts the main one alone: between the making of a process and
            # its being known it would leave a server that nobody ends.
            with self.log.open("wb") as log, ThreadPoolExecutor(1) as starter:
                starter.submit(int).result()  # the thread is known now, or leaving would not wait for it
                starter.submit(self._start_process, environment, log).result()
        except OSError as error:
            raise ServeError(
                f"cannot start {self.plan.command[0]} with its log in {self.log}: {error}."
            ) from error

    def _start_process(self, environment: dict[str, str], log: BinaryIO) -> None:
        self._process = subprocess.Popen(
            self.plan.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_ready(self, timeout: float, on_wait: Callable[[float], None] | None = None) -> float:
        """Wait until the server answers, and return the seconds that took.

        Args:
            timeout: in seconds.
            on_wait: called with the seconds so far, about twice a second.

        Raises:
            ServeError: the server ended before it was ready, or was not ready in time.
        """
        start = time.monotonic()
        while True:
            seconds = time.monotonic() - start
            if self.poll() is not None:
                raise ServeError(self.exit_message("before it was ready"))
            if self._answers():
                return seconds
            if seconds > timeout:
                raise ServeError(f"the server was not ready after {timeout:.0f} s. {self._log_excerpt()}")
            if on_wait is not None:
                on_wait(seconds)
            time.sleep(_POLL_SECONDS)

    def poll(self) -> int | None:
        """Return the exit code; None while the server runs."""
        return self._child().poll()

    def join(self) -> int:
        """Wait until the server ends by itself, and return its exit code."""
        return self._child().wait()

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """End the server and all its processes; does nothing if it is not running."""
        self._client.close()
        if self._process is None or sys.platform == "win32":
            return
        group = self._process.pid
        try:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(grace)
        except subprocess.TimeoutExpired:
            pass  # the grace is over; what follows ends it
        finally:  # also when a second Ctrl-C cuts the waiting short
            _kill_group(group)
            self._process.wait()

    def tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines of the log."""
        if self.log is None or not self.log.is_file():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            text = log.read().decode("utf-8", errors="replace")
        return mask_secrets("\n".join(text.splitlines()[-lines:]))

    def exit_message(self, when: str) -> str:
        """Return that the server ended, how, and the last lines of its log."""
        return f"the server ended {when}, {_exit_cause(self.join())}. {self._log_excerpt()}"

    def __enter__(self) -> ServerProcess:
        try:
            self.start()
        except BaseException:  # a signal while it starts
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _log_excerpt(self) -> str:
        return f"Whole log: {self.log}. Its last lines:\n{self.tail()}"

    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server must be started first: use it as a context, or call start().")
        return self._process

    def _answers(self) -> bool:
        # vLLM listens only once the model is loaded, so any answer about its models is health.
        try:
            self._client.models()
        except ServerStatusError as error:
            return error.status in (401, 403)  # it is up and wants a key that we do not have
        except ServerError:
            return False
        return True


def check_port_free(plan: ServePlan) -> None:
    """Check that nobody listens at the address of the planned server.

    Raises:
        ServeError: the port is taken, or the address is not this machine's.
    """
    address = urlsplit(plan.url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as vLLM does: a port just left is free
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServeError(
                f"--port must be free on {host}, got {port}: {error.strerror or error}. "
                "Name another, or --port 0 for any free one."
            ) from error


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _kill_group(group: int) -> None:
    if sys.platform == "win32":
        return
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of them ended in order
    except PermissionError:
        return  # macOS says so of a group of the dead


def _exit_cause(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"with exit code {code}"
