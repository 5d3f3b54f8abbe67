"""The body of a reply, decompressed a small piece at a time.

httpx decompresses at once whatever one read brought: 64 kB of gzip become 64 MB; with zstandard, or with gzip
inside gzip, they become more than a machine has, before any limit on the size of a reply can look at it. Here
no piece is larger than `PIECE_BYTES`, and only the two encodings are read that requests offer.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import httpx

ENCODINGS = "gzip, deflate"
"""Value of ``Accept-Encoding``."""
PIECE_BYTES = 1 << 20


class BodyDecoder:
    """Decompresses the body of one response.

    Args:
        head: of the response; its ``Content-Encoding`` says how the body is compressed.

    Raises:
        httpx.DecodingError: an encoding that was not offered, or several, one inside the other.
    """

    def __init__(self, head: httpx.Response) -> None:
        names = head.headers.get("content-encoding", "").split(",")
        encodings = [name for part in names if (name := part.strip().lower()) not in ("", "identity")]
        if len(encodings) > 1 or encodings not in ([], ["gzip"], ["x-gzip"], ["deflate"]):
            raise httpx.DecodingError(
                f"Content-Encoding must be one of {ENCODINGS}, got {', '.join(encodings)[:100]!r}"
            )
        self._is_deflate = encodings == ["deflate"]
        self._inflater = None
        if encodings:
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS if self._is_deflate else zlib.MAX_WBITS | 16)
        self._is_started = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes of the body add to it, piece by piece; none is empty.

        Raises:
            httpx.DecodingError: they are damaged.
        """
        if self._inflater is None:
            yield from (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
            return
        while data and not self._inflater.eof:
            piece = self._inflate(data)
            data = self._inflater.unconsumed_tail
            self._is_started = True
            if piece:
                yield piece

    def finish(self) -> bytes:
        """Return the rest, once the whole body was given.

        Raises:
            httpx.DecodingError: the body ended in the middle.
        """
        if self._inflater is None or not self._is_started:
            return b""
        try:
            rest = self._inflater.flush()  # at most one repeated string: no input is left
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from error
        if not self._inflater.eof:
            raise httpx.DecodingError("the compressed body ends too early")
        return rest

    def _inflate(self, data: bytes) -> bytes:
        """Decompress one piece; ``deflate`` comes with a header, as RFC 9110 says, or without."""
        assert self._inflater is not None
        try:
            return self._inflater.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            if self._is_started or not self._is_deflate:
                raise httpx.DecodingError(str(error)) from error
        self._is_started = True
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        return self._inflate(data)
