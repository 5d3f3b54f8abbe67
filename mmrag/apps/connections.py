"""Connections of a server whose clients may be slow on purpose, or gone.

uvicorn waits for a request's head, and for a client that reads no answer, for ever; a few hundred such
connections and nobody else is served. Here both have their time. (A body's time is `mmrag.apps.guards`'s.)
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS = 20.0
"""From connecting, or from the answer before, until a request's head is there."""

READING_SECONDS = 60.0
"""That a client may leave an answer unread when the buffers are full."""


class TimedProtocol(AutoHTTPProtocol):  # type: ignore[misc]
    """uvicorn's protocol, which ends connections that wait too long."""

    head_seconds = HEAD_SECONDS
    reading_seconds = READING_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401  as uvicorn's
        super().__init__(*arguments, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for a request's head."""
        super().connection_made(transport)
        self._start_head_timer()

    def on_response_complete(self) -> None:
        """Wait for the next request's head."""
        super().on_response_complete()
        self._start_head_timer()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._reading_timer = self.loop.call_later(self.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        _stop(self._reading_timer)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        _stop(self._head_timer)
        _stop(self._reading_timer)
        super().connection_lost(exc)

    def _start_head_timer(self) -> None:
        _stop(self._head_timer)
        self._head_timer = self.loop.call_later(self.head_seconds, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
