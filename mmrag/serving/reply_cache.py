"""Replies on disk, so that a server gets the same request once."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path

from mmrag.files import atomic_write
from mmrag.forks import new_lock
from mmrag.serving.wire import Json

log = logging.getLogger(__name__)


class ReplyCache:
    """Replies on disk, one small file each, named by a digest of server, model and request.

    Two processes may share a folder: a file appears whole or not at all. A reply is worth more than its
    place on disk: what cannot be stored is said once, and what cannot be read is requested again.

    Args:
        folder: made when the first reply is stored.

    Attributes:
        failure: why the last reply could not be stored; None if it was, or none came.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.failure: str | None = None
        self._lock = new_lock()
        self._has_warned = False
        self._bad_keys: set[str] = set()  # of files that cannot be removed either

    def __getstate__(self) -> dict[str, object]:
        """Return the folder alone; another process finds out by itself whether it can be written to."""
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__dict__.update(vars(ReplyCache(state["folder"])))

    def get(self, key: str) -> Json | None:
        """Return the reply stored under a key; None if there is none, or its file cannot be used."""
        if key in self._bad_keys:
            return None
        try:
            reply = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):  # damaged, say by a full disk: it will be written again
            return None
        return reply if isinstance(reply, dict) else None

    def put(self, key: str, reply: Json) -> None:
        """Store a reply, whole or not at all; where that fails, say so once and note it in `failure`."""
        try:
            with atomic_write(self._path(key)) as file:
                json.dump(reply, file)
        except OSError as error:
            self._warn(error)
        else:
            self.failure = None
            self._bad_keys.discard(key)

    def drop(self, key: str) -> None:
        """Forget the reply under a key, which nobody can use."""
        self._bad_keys.add(key)
        with suppress(OSError):  # it stays on the disk, and is passed over
            self._path(key).unlink(missing_ok=True)
            self._bad_keys.discard(key)

    def _warn(self, error: OSError) -> None:
        self.failure = f"replies could not be stored in {self.folder} ({error.strerror or error})"
        with self._lock:
            is_first, self._has_warned = not self._has_warned, True
        if is_first:
            log.warning("%s: the same requests will be made, and paid for, again.", self.failure)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
