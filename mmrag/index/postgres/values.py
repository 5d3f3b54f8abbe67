"""Values as PostgreSQL holds them: text without zero bytes, keys of any length, metadata, binary COPY."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.index.filters import metadata_values
from mmrag.types import Metadata, Scalar

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_TRAILER = struct.pack("!h", -1)
_NULL = struct.pack("!i", -1)
_SHORT = struct.Struct("!h")
_LENGTH = struct.Struct("!i")
_BIG = struct.Struct("!q")


def stored_text(text: str) -> str:
    """Return a text without zero characters, which PostgreSQL takes in none; `loaded_text` inverts it.

    Order by code point stays as it is, and texts that differ stay different.
    """
    if "\0" not in text and "\x01" not in text:
        return text
    return text.replace("\x01", "\x01\x02").replace("\0", "\x01\x01")


def loaded_text(text: str) -> str:
    """Invert `stored_text`."""
    if "\x01" not in text:
        return text
    return text.replace("\x01\x01", "\0").replace("\x01\x02", "\x01")


def key_of(name: str) -> bytes:
    """Return what a name is found by: it may be longer than an index of PostgreSQL takes."""
    return hashlib.sha256(name.encode()).digest()[:16]


def json_value(value: Scalar) -> Scalar:
    """Return a value as JSON compares it: whole floats as whole numbers, which all are exact."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return stored_text(value) if isinstance(value, str) else value


def filter_json(metadata: Metadata) -> str:
    """Write metadata as filters look at it: each key with the list of its values."""
    return json.dumps(
        {stored_text(key): [json_value(v) for v in metadata_values(metadata, key)] for key in metadata},
        separators=(",", ":"),
        ensure_ascii=False,
    )


def vector_text(vector: NDArray[Any]) -> str:
    """Write a vector as pgvector reads it, within the range of float16."""
    limit = float(np.finfo(np.float16).max)
    return json.dumps(np.clip(vector.astype(np.float64), -limit, limit).astype(np.float16).tolist())


# -- binary COPY: the bytes of each field -------------------------------------------------------


def int4_field(value: int) -> bytes:
    """Encode an ``integer``."""
    return _LENGTH.pack(value)


def int8_field(value: int) -> bytes:
    """Encode a ``bigint``."""
    return _BIG.pack(value)


def text_field(text: str) -> bytes:
    """Encode a ``text``."""
    return stored_text(text).encode()


def jsonb_field(text: str) -> bytes:
    """Encode a ``jsonb`` by its JSON."""
    return b"\x01" + text.encode()


def texts_field(texts: Sequence[str]) -> bytes:
    """Encode a ``text[]``."""
    parts = [struct.pack("!iiIii", 1, 0, 25, len(texts), 1)]
    for text in texts:
        data = stored_text(text).encode()
        parts += [_LENGTH.pack(len(data)), data]
    return b"".join(parts)


def copy_bytes(rows: Iterable[Sequence[bytes | None]]) -> bytes:
    """Encode rows of fields as ``COPY ... (FORMAT BINARY)`` reads them."""
    parts = [_SIGNATURE]
    for row in rows:
        parts.append(_SHORT.pack(len(row)))
        for field in row:
            parts += [_NULL] if field is None else [_LENGTH.pack(len(field)), field]
    parts.append(_TRAILER)
    return b"".join(parts)
