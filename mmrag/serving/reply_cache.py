"""Replies on disk, so that a server gets the same request once."""

from __future__ import annotations

import json
from pathlib import Path

from mmrag.files import atomic_write
from mmrag.serving.wire import Json


class ReplyCache:
    """Replies on disk, one small file each, named by a digest of server, model and request.

    Two processes may share a folder: a file appears whole or not at all.

    Args:
        folder: made when the first reply is stored.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, key: str) -> Json | None:
        """Return the reply stored under a key; None if there is none, or its file is damaged."""
        try:
            reply = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # damaged, say by a full disk: it will be written again
            return None
        return reply if isinstance(reply, dict) else None

    def put(self, key: str, reply: Json) -> None:
        """Store a reply, whole or not at all."""
        with atomic_write(self._path(key)) as file:
            json.dump(reply, file)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
