"""Stored bytes as values: the one place that says which record is damaged when they are none.

Whatever decoding raises (zlib, JSON, UTF-8, wrong types) leaves as `IndexDamagedError` with the name of the
record. What is decompressed has a limit, so that a few stored bytes cannot fill the memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from mmrag.errors import IndexDamagedError, IndexFormatError

MOST_UNZIPPED = 32 << 20
"""Bytes of one compressed value: words of a page, or its blocks. A page of 100,000 words takes 3 MB."""

REMEDY = "Run: mmrag check --repair --index DIR"

_NOUNS = {
    "record": "record {key!r}",
    "matrix": "the matrix of record {key!r}",
    "first": "the first vector of record {key!r}",
    "blocks": "the blocks of record {key!r}",
    "document": "the entry of document {key!r}",
    "blob": "the bytes kept under {key!r}",
    "state": "the {key} of the index",
    "file": "{key}",
}


def damage_error(part: str, key: str, problem: str) -> IndexDamagedError:
    """Return the error of a part that is damaged.

    Args:
        part: see `IndexDamagedError.part`.
        key: id or key, for the message.
        problem: what was read instead, after "got".
    """
    noun = _NOUNS[part].format(key=key)
    return IndexDamagedError(f"{noun} must be as it was written, got {problem}. {REMEDY}", part, key)


@contextmanager
def decode_guard(part: str, key: str) -> Iterator[None]:
    """Raise `IndexDamagedError` for whatever the block raises while it decodes stored bytes."""
    try:
        yield
    except IndexFormatError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
        zlib.error,
    ) as error:
        problem = f"data that does not decode ({type(error).__name__}: {str(error)[:200]})"
        raise damage_error(part, key, problem) from error


def zip_bytes(data: bytes, dictionary: bytes = b"") -> bytes:
    """Compress what `unzip_bytes` decompresses.

    Args:
        data: anything.
        dictionary: bytes that are at hand when it is decompressed; what repeats their last 32 KiB takes
            hardly any place.

    Raises:
        ValueError: it is larger than `MOST_UNZIPPED`.
    """
    if len(data) > MOST_UNZIPPED:
        raise ValueError(
            f"words or blocks of a page must be at most {MOST_UNZIPPED} bytes, got {len(data)}. "
            "Divide the page, or leave its words out."
        )
    stream = zlib.compressobj(zdict=dictionary) if dictionary else zlib.compressobj()
    return stream.compress(data) + stream.flush()


def unzip_bytes(data: bytes, dictionary: bytes = b"") -> bytes:
    """Decompress a stored value.

    Args:
        data: of `zip_bytes`.
        dictionary: what that was given.

    Raises:
        ValueError: it is larger than `MOST_UNZIPPED`, cut short, or followed by other bytes.
        zlib.error: it is no compressed value.
    """
    stream = zlib.decompressobj(zdict=dictionary) if dictionary else zlib.decompressobj()
    raw = stream.decompress(data, MOST_UNZIPPED + 1)
    if len(raw) > MOST_UNZIPPED:
        raise ValueError(f"more than {MOST_UNZIPPED} bytes when decompressed")
    if not stream.eof or stream.unused_data:
        raise ValueError("compressed data that is cut short or followed by other bytes")
    return raw
