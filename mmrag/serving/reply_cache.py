"""Replies on disk, so that the same request is asked of a server once."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from mmrag.serving.client import Json


class ReplyCache:
    """Replies on disk, one small file each, named by a digest of server, model and request.

    Two processes may share a folder: a file appears whole or not at all.

    Args:
        folder: made when the first reply is stored.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, key: str) -> Json | None:
        """The reply stored under a key; None where there is none, or where its file is not whole."""
        try:
            reply = json.loads(self._path(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # cut off by a full disk, say; it will be asked for and written again
        return reply if isinstance(reply, dict) else None

    def put(self, key: str, reply: Json) -> None:
        """Store a reply; the file is written beside its place and then moved into it."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(reply, file)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
