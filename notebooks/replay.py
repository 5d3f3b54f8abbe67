"""A server on this machine that repeats what a language model has said: for a notebook where none is named.

`serve` without a target answers from a file of recorded exchanges, one JSON object a line: with the one whose
request is most alike, so that a prompt that has changed a little since is still answered. `Server.repeated`
counts the requests that are the recorded ones to the letter. With a target it forwards, and with `keep` it
writes the file anew.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LONGEST = 1800.0  # seconds that a model on a busy CPU may take for one reply
Exchange = dict[str, Any]  # path, body (None for GET) and reply


class Server(ThreadingHTTPServer):
    """The server; `url` is where it listens.

    Args:
        file: the recorded exchanges.
        target: URL of a true server, or "" to repeat.
        keep: write what the true server says into the file.
    """

    daemon_threads = True

    def __init__(self, file: Path, target: str, keep: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.file, self.target, self.keep = file, target.rstrip("/").removesuffix("/v1"), keep
        lines = [] if target else file.read_text("utf-8").splitlines()
        self.exchanges: list[Exchange] = [json.loads(line) for line in lines]
        self.asked = 0
        self.repeated = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reply(self, path: str, body: Any) -> Any:
        """Return the reply to a request: the true server's, or the recorded one that fits best."""
        if self.target:
            return self.forward(path, body)
        wanted = kind(path, body)
        candidates = [
            exchange for exchange in self.exchanges if kind(exchange["path"], exchange["body"]) == wanted
        ]
        if not candidates:
            raise LookupError(f"{self.file.name} must hold a reply to {path}, got none. Record it again.")
        best = max(candidates, key=lambda exchange: likeness(exchange["body"], body))
        with self.lock:
            self.asked += 1
            self.repeated += best["body"] == body
        return best["reply"]

    def forward(self, path: str, body: Any) -> Any:
        """Ask the true server, and keep what it says where that is wanted."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.target + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=LONGEST) as response:
            reply = json.load(response)
        for model in reply.get("data", ()) if path.endswith("/models") else ():
            model.pop("root", None)  # where it lies on the server's disk
        with self.lock:
            self.asked += 1
            if self.keep and not any(one["path"] == path and one["body"] == body for one in self.exchanges):
                self.exchanges.append({"path": path, "body": body, "reply": reply})
                lines = (json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in self.exchanges)
                self.file.write_text("\n".join(lines) + "\n", "utf-8")
        return reply


class Handler(BaseHTTPRequestHandler):
    """One request: JSON in, JSON out."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        status = 200
        try:
            reply = self.server.reply(self.path, body)
        except (urllib.error.URLError, LookupError) as error:
            status, reply = getattr(error, "code", 502), {"error": {"message": str(error)}}
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *parts: object) -> None:
        """Print nothing."""


def kind(path: str, body: Any) -> tuple[Any, ...]:
    """What a reply has to be of: the path, and whether a thought, an answer or an order is asked for."""
    keys = ("logprobs", "structured_outputs", "continue_final_message", "prompt", "stop")
    return path, *(key in (body or {}) for key in keys)


def likeness(one: Any, other: Any) -> float:
    """Share of the words of two requests that both have."""
    first, second = (set(re.findall(r"\w+", json.dumps(body, ensure_ascii=False))) for body in (one, other))
    return len(first & second) / max(1, len(first | second))


def serve(file: str | Path, target: str = "", *, keep: bool = False) -> Server:
    """Start the server in a thread of this process; `Server.shutdown` ends it."""
    server = Server(Path(file), target, keep)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
