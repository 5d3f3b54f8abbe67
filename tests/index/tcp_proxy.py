"""A TCP proxy in front of a server, which cuts connections when a test says so."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes bytes on; `cut_after` more bytes of the client, both directions end and no new client is served.

    Args:
        path: Unix socket of the server.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._left: int | None = None
        self.cuts = 0
        self.is_open = True
        threading.Thread(target=self._serve, daemon=True).start()

    def cut_after(self, count: int, *, for_ever: bool) -> None:
        """Cut all connections once the clients have sent so many bytes more; then refuse, or go on."""
        with self._lock:
            self._left, self._for_ever = count, for_ever

    def close(self) -> None:
        """Stop serving."""
        self.is_open = False
        self._listener.close()
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for end in sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _serve(self) -> None:
        while self.is_open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.is_open:
                client.close()
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._path)
            with self._lock:
                self._sockets += [client, server]
            for source, target, counted in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=(source, target, counted), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 14):
                if counted and self._is_time(len(data)):
                    return
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_time(self, count: int) -> bool:
        with self._lock:
            if self._left is None:
                return False
            self._left -= count
            if self._left > 0:
                return False
            self._left = None
            for_ever = self._for_ever
        self.cuts += 1
        if for_ever:
            self.is_open = False
            self._listener.close()
        self._cut()
        return True
