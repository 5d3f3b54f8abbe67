"""Worker processes: start, ask, time out, replace.

`multiprocessing` with spawn runs the user's script again in the child and so needs a ``__main__``
guard, and with fork copies locks that other threads hold. So a child is a plain
``sys.executable`` that runs `mmrag.documents.worker` and talks over its standard input and output.
The child's module path is the parent's, entry by entry: ``-m`` would put the working directory
first, where any file named like a module of the standard library would be run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from mmrag.documents import pipes as pipes
from mmrag.documents.limits import TimeLimit
from mmrag.documents.settings import ReaderSettings
from mmrag.errors import WorkerError
from mmrag.forks import ForkOwner, follow_forks, keep_for_ever, new_lock
from mmrag.masking import without_secrets

logger = logging.getLogger(__name__)

START_SECONDS = 60.0
RECYCLE_FRACTION = 0.5  # of memory_mb, resident, after a job
_CLOSED_MESSAGE = "The reader is closed. Make a new DocumentReader."
RECYCLE_MB = 1500.0  # resident, whatever memory_mb is


class WorkerDiedError(Exception):
    """The child ended during a job; the message says why, for the page that it costs."""


class Worker:
    """One child process. Used by one thread at a time."""

    def __init__(self, settings: ReaderSettings) -> None:
        """Start the child and wait until it is up."""
        self.document_key: str | None = None
        self.has_ocr = False
        self.rss_mb = 0.0
        self.last_seconds = 0.0  # wall time of the last job
        self._process = _start_child()
        self._jobs = cast("IO[bytes]", self._process.stdin)
        self._replies = cast("IO[bytes]", self._process.stdout)
        names = ("renderer", "ocr", "ocr_max_side", "ocr_model", "memory_mb", "max_pixels")
        hello = {name: getattr(settings, name) for name in names}
        hello["ocr_providers"] = settings.ocr_provider_order
        try:
            self._exchange(hello, START_SECONDS)
        except WorkerDiedError as death:
            words = cast("IO[bytes]", self._process.stderr).read(4000).decode(errors="replace").strip()
            reason = words.splitlines()[-1] if words else str(death)
            self.kill()
            raise WorkerError(
                f"A reading process could not be started with {sys.executable}: {reason}. "
                "Check that this Python can import mmrag."
            ) from death
        cast("IO[bytes]", self._process.stderr).close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, job: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a job and wait for its reply; raise `WorkerDiedError` if the child dies or takes longer."""
        start = time.monotonic()
        reply = self._exchange({**job, "seconds": seconds}, seconds)
        self.last_seconds = time.monotonic() - start
        self.rss_mb = float(reply.get("rss_mb", 0.0))
        return reply

    def _exchange(self, message: object, seconds: float) -> dict[str, Any]:
        """Send a message and read the reply; the child is killed when its time is up, which ends the read."""
        limit = TimeLimit(self._process, seconds)
        try:
            pipes.send(self._jobs, message)
            return cast("dict[str, Any]", pipes.receive(self._replies))
        except Exception as error:  # any failure on the pipe leaves it in an unknown state
            self.kill()
            if limit.is_exceeded:
                raise WorkerDiedError(f"took more than {round(seconds, 2):g} s") from error
            raise WorkerDiedError(f"its reading process ended ({self._how_it_ended()})") from error
        finally:
            limit.cancel()

    def _how_it_ended(self) -> str:
        """Describe the exit status or signal in words."""
        code = self._process.poll()
        if code is None or code >= 0:
            return f"exit status {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"

    def kill(self) -> None:
        """End the child: close its input, wait briefly, then kill it."""
        with contextlib.suppress(OSError):
            self._jobs.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=0.2)
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._replies.close()


class WorkerPool(ForkOwner):
    """At most `settings.workers` children, started when needed, replaced when dead or grown."""

    def __init__(self, settings: ReaderSettings) -> None:
        """Start nothing yet."""
        self._settings = settings
        self._lock = new_lock()
        self._is_closed = False
        self._forget()
        follow_forks(self)

    def after_fork(self, *, in_child: bool) -> None:
        """Leave the parent's children to it; half a message in a pipe's buffer must not be sent twice."""
        if in_child:
            keep_for_ever(self._all)
            self._forget()

    def _forget(self) -> None:
        """Start with no children."""
        self._slots: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        self._all: set[Worker] = set()
        for _ in range(self._settings.workers):
            self._slots.put(None)

    @contextlib.contextmanager
    def worker(self) -> Iterator[Worker]:
        """Borrow a worker; a dead or grown one is not used again."""
        slot = self._slots.get()
        alive: Worker | None = None
        try:
            if self._is_closed:
                raise WorkerError(_CLOSED_MESSAGE)
            alive = slot if slot is not None else self._start()
            yield alive
        except BaseException:
            # an exception of any kind may have left a job unanswered: the child is not used again
            if alive is not None:
                self._discard(alive)
                alive = None
            raise
        finally:
            if alive is not None and self._has_grown(alive):
                logger.debug("reading process %d recycled at %.0f MiB", alive.pid, alive.rss_mb)
                self._discard(alive)
                alive = None
            self._slots.put(alive)

    def _start(self) -> Worker:
        """Start a new child."""
        worker = Worker(self._settings)
        with self._lock:
            self._all.add(worker)
            is_closed = self._is_closed
        if is_closed:
            self._discard(worker)
            raise WorkerError(_CLOSED_MESSAGE)
        return worker

    def _discard(self, worker: Worker) -> None:
        """End a child."""
        with self._lock:
            self._all.discard(worker)
        worker.kill()

    def _has_grown(self, worker: Worker) -> bool:
        """Check whether a child uses so much memory that it should be replaced."""
        limit = RECYCLE_MB
        if self._settings.memory_mb > 0:
            limit = min(limit, RECYCLE_FRACTION * self._settings.memory_mb)
        return worker.rss_mb > limit

    def pids(self) -> list[int]:
        """List the process ids of the living children."""
        with self._lock:
            return [worker.pid for worker in self._all]

    def close(self) -> None:
        """End all children, also those at work."""
        with self._lock:
            self._is_closed = True
            workers, self._all = list(self._all), set()
        for worker in workers:
            worker.kill()


def _start_child() -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise WorkerError("A reading process needs the path of Python, but sys.executable is empty.")
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-c", _bootstrap()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            close_fds=True,
        )
    except OSError as error:
        raise WorkerError(
            f"A reading process could not be started with {sys.executable}: {error}."
        ) from error


def _bootstrap() -> str:
    """Build the child's code: set the parent's module path, then run the worker."""
    path = [entry or str(Path.cwd()) for entry in sys.path]
    return f"import sys; sys.path[:] = {path!r}; from mmrag.documents.worker import main; main()"


def _environment() -> dict[str, str]:
    """Return the parent's environment without keys and passwords, which no worker needs.

    One thread per library: the pool has one worker per core. Passwords of files go over the pipe. OCR's
    runtime is kept from reporting to its maker (`mmrag.onnx_sessions`).
    """
    single_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {"ORT_DISABLE_TELEMETRY": "1", **without_secrets(os.environ), **single_thread}
