"""Length-prefixed pickles over pipes, between `DocumentReader` and its own child processes.

The child unpickles what its parent sends; it is the parent's own process, started by it, and nobody
else holds the pipe. The parent unpickles what the child sends, and the child reads hostile files: so
the parent's side accepts plain values only (None, bool, numbers, str, bytes, tuple, list, dict) and
refuses every name of a class or function.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import IO, Any, NoReturn

_LENGTH = struct.Struct(">Q")


class _PlainUnpickler(pickle.Unpickler):
    """Builds no object of any class."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse the name."""
        raise pickle.UnpicklingError(f"plain values only, got a reference to {module}.{name}")


def send(stream: IO[bytes], message: object) -> None:
    """Write one message and flush."""
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(payload)))
    stream.write(payload)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:  # noqa: ANN401
    """Read one message of plain values; raises `EOFError` where the other side is gone."""
    head = _read_exactly(stream, _LENGTH.size)
    return _PlainUnpickler(io.BytesIO(_read_exactly(stream, _LENGTH.unpack(head)[0]))).load()


def _read_exactly(stream: IO[bytes], count: int) -> bytes:
    """Read `count` bytes or raise `EOFError`."""
    parts: list[bytes] = []
    while count:
        part = stream.read(min(count, 1 << 24))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
