"""One writing process per index: a lock that the system frees, and a note that names its holder."""

from __future__ import annotations

import json
import os
import socket
import sys
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from mmrag.errors import IndexLockedError

LOCK_NAME = "writer.lock"
HOLDER_NAME = "writer.json"


class WriterLock:
    """Held from construction to `release`.

    The system frees the lock when its process ends, however it ends, so a stale note blocks nobody. Where the
    platform locks no files (no `fcntl`, and not Windows) filelock warns and goes by the file being there:
    a killed process then leaves `LOCK_NAME` behind, to be deleted by hand.

    Raises:
        IndexLockedError: a process holds it; the message names the process and what to use instead.
    """

    def __init__(self, directory: Path) -> None:
        self._holder = directory / HOLDER_NAME
        # thread_local=False: the index may be closed by another thread than the one that opened it
        path = directory / LOCK_NAME
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        self._lock = FileLock(path, timeout=0, thread_local=False, mode=mode)
        try:
            self._lock.acquire()
        except Timeout:
            raise IndexLockedError(_locked_message(directory, self._holder)) from None
        draft = self._holder.with_name(f"{HOLDER_NAME}.{os.getpid()}")
        _write_private(draft, json.dumps(_this_process()))
        draft.replace(self._holder)

    @property
    def is_held(self) -> bool:
        """Return whether this process has it."""
        return bool(self._lock.is_locked)

    def leave_to_parent(self) -> None:
        """Let go of the lock in a forked child without taking it from the parent.

        Both have one open file between them: unlocking it in the child would unlock it for the parent.
        """
        context = getattr(self._lock, "_context", None)
        descriptor = getattr(context, "lock_file_fd", None)  # filelock 4 has closed its own by now
        if isinstance(descriptor, int):
            os.close(descriptor)
            context.lock_file_fd = None  # type: ignore[union-attr]
            context.lock_counter = 0  # type: ignore[union-attr]

    def release(self) -> None:
        """Give the lock back; twice is fine."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release()


def _write_private(path: Path, text: str) -> None:
    """Write a new file that only this user can read."""
    path.unlink(missing_ok=True)
    with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)


def _this_process() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "program": _program(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _program() -> str:
    """Return the script that runs, without its arguments: any of them may be a password."""
    script = Path(sys.argv[0] or sys.executable)
    return f"{script.parent.name}/{script.name}" if script.name == "__main__.py" else script.name


def _locked_message(directory: Path, holder: Path) -> str:
    remedy = (
        "Open it with read_only=True to search while that process writes, or close it there first. "
        "Several writing processes need a server."
    )
    try:
        note = json.loads(holder.read_text(encoding="utf-8"))
        is_here = note["host"] == socket.gethostname()
        holder_text = (
            "this very process"
            if note["pid"] == os.getpid() and is_here
            else f"process {note['pid']} on {note['host']} ({_program_of(note)}, since {note['started']})"
        )
        if is_here and hasattr(os, "getppid") and note["pid"] == os.getppid():
            holder_text += ", from which this one was forked or started,"
    except (OSError, ValueError, KeyError, TypeError):
        holder_text = "another process"
    return f"index {directory} may be open for writing once, got {holder_text} holding it. {remedy}"


def _program_of(note: dict[str, object]) -> str:
    """Return the program in a note; notes of older versions hold a whole command, which is not shown."""
    return str(note.get("program", "program unknown"))
