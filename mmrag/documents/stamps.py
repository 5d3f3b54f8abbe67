"""Whether a file still has the content that was hashed, without hashing it every time.

Decisions taken here:

* A file's stamp is its device, inode, size and the times of its last change in content (mtime) and in state
  (ctime, which `os.utime` cannot set back). With the same stamp it is the same content, with another it is
  hashed again: a file that was only touched stays the same.
* A clock of a file system is coarse (4 ms on ext4, 2 s on FAT): a write right after the hashing may leave the
  stamp as it was. So a stamp is trusted only if the file was last written `SETTLED_SECONDS` before it was
  hashed; until then every look hashes again.
* Some file systems keep no times, or let them be set back. So a stamp is never the reason for a refusal, and
  never vouches for a file that was read page by page: both hash again (`is_fresh`).
"""

from __future__ import annotations

import errno
import hashlib
import stat
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mmrag.forks import new_lock

Stamp: TypeAlias = tuple[int, int, int, int, int]
"""Device, inode, size, mtime and ctime in nanoseconds."""

SETTLED_SECONDS = 2.0
_CHUNK = 1 << 20
_MOST_FILES = 256


def stamp_of(path: str) -> Stamp:
    """Return a file's stamp; raises `OSError` where there is no such file, or a pipe or device instead."""
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):  # an index from anywhere names its files, and may name /dev/zero
        raise OSError(errno.EINVAL, "no regular file", path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def digest(path: str) -> str:
    """Compute the SHA-256 of a file in chunks; hexadecimal."""
    sha = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


@dataclass(frozen=True)
class FileDigest:
    """A file's content at one moment.

    Attributes:
        stamp: at that moment.
        sha256: hexadecimal digest.
        is_settled: whether the same stamp means the same content from now on.
    """

    stamp: Stamp
    sha256: str
    is_settled: bool

    def is_same(self, file: FileDigest) -> bool:
        """Check for the same stamp and content: nothing has touched the file in between."""
        return (self.stamp, self.sha256) == (file.stamp, file.sha256)


class FileDigests:
    """Digests of the files that were looked at last; usable from any thread."""

    def __init__(self) -> None:
        """Start without a file."""
        self._lock = new_lock()
        self._files: OrderedDict[str, FileDigest] = OrderedDict()

    def look(self, path: str, *, is_fresh: bool = False) -> FileDigest:
        """Return a file's digest as it is now; raises `OSError` where it cannot be read.

        Args:
            path: of the file.
            is_fresh: hash it whatever its stamp says.

        A file that is written to while it is hashed gets the digest of what was read, which fits no content,
        under a stamp that it has no more, so that the next look hashes it again.
        """
        stamp = stamp_of(path)
        with self._lock:
            last = self._files.get(path)
        if not is_fresh and last is not None and last.is_settled and last.stamp == stamp:
            return last
        is_settled = time.time_ns() - max(stamp[3:]) > SETTLED_SECONDS * 1e9
        file = FileDigest(stamp, digest(path), is_settled)
        self.note(path, file)
        return file

    def note(self, path: str, file: FileDigest) -> None:
        """Remember a digest that another process computed."""
        with self._lock:
            self._files[path] = file
            self._files.move_to_end(path)
            while len(self._files) > _MOST_FILES:
                self._files.popitem(last=False)
