"""Small real documents, and a small real server, for every test."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same cases on every run, and no time limit a case: a red run is a fault, not a slow machine.
settings.register_profile("laws", derandomize=True, deadline=None)
settings.load_profile("laws")


@pytest.fixture(scope="session")
def make_pdf() -> Callable[[Path, Sequence[str]], Path]:
    """Write a PDF with one page for each text; lines are kept."""
    import pymupdf

    def make(path: Path, pages: Sequence[str]) -> Path:
        document = pymupdf.open()
        for text in pages:
            page = document.new_page(width=612, height=792)
            for row, line in enumerate(text.split("\n")):
                page.insert_text((72, 90 + 18 * row), line, fontsize=11)
        path.parent.mkdir(parents=True, exist_ok=True)
        document.save(path)
        document.close()
        return path

    return make


@pytest.fixture(scope="session")
def structure_models() -> None:
    """Skip where PyMuPDF is older than its models of structure: headings, and tables without lines."""
    from mmrag.documents.structure.plain import OLD_PYMUPDF
    from mmrag.documents.structure.pymupdf_layout import is_available

    if not is_available():
        pytest.skip(OLD_PYMUPDF.removeprefix("; "))


@pytest.fixture(scope="session")
def text_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an exported text encoder, ``bge-small``."""
    from .text_encoder import export_text_encoder

    folder = tmp_path_factory.mktemp("exported") / "bge-small"
    folder.mkdir()
    return export_text_encoder(folder)


@pytest.fixture(scope="session")
def embedder(text_encoder: Path):
    """A real embedder, loaded once: one of text, since most laws hold for any and it is the quickest."""
    from mmrag.embedders.text import TextEmbedder

    return TextEmbedder(text_encoder)


@dataclass
class SeenRequest:
    """A request as the fake server received it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int  # of the client's side: the same number is the same connection

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class FakeServer:
    """A real HTTP server on loopback that replays replies in the order they were queued.

    It stands only for what a real model server will not do on demand: break off, drip, be overloaded,
    answer HTML. That requests are right for a real server is shown by ``test_served_live.py``.
    """

    def __init__(self) -> None:
        self.requests: list[SeenRequest] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._replies: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                fake._serve(self)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that hangs up is part of some tests."""

        self._http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def reply(self, status: int, body: Any, **how: Any) -> FakeServer:
        """Queue a reply. `body`: JSON, bytes, or a list of bytes sent with a `pause` (seconds) between.

        Further: `headers`; `delay` before the reply (seconds); `cut`: break the connection at its end;
        `until`: a condition that the reply waits for; `rest_until`: one for all but its first piece. A test
        of what happens meanwhile holds a reply back so, and takes no time for granted.
        """
        self._replies.append({"status": status, "body": body, "headers": {}, **how})
        return self

    def events(self, body: Any, **how: Any) -> FakeServer:
        """Queue a reply of server-sent events."""
        body = [body] if isinstance(body, bytes) else body
        return self.reply(200, body, headers={"Content-Type": "text/event-stream; charset=utf-8"}, **how)

    def chat(self, content: str, finish_reason: str = "stop", **message: Any) -> FakeServer:
        """Queue a whole chat completion of 11 prompt and 5 completion tokens."""
        choice = {"message": {"content": content, **message}, "finish_reason": finish_reason}
        return self.reply(200, {"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 5}})

    def close(self) -> None:
        """Stop serving."""
        self._stop.set()
        self._http.shutdown()
        self._http.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._lock:
            self.requests.append(
                SeenRequest(handler.command, handler.path, headers, body, handler.client_address[1])
            )
            reply = self._replies.pop(0) if self._replies else {"status": 599, "body": b"nothing queued"}
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            self._stop.wait(reply.get("delay", 0))
            self._hold(reply.get("until"))
        finally:
            with self._lock:  # before the answer: with it the client may ask for the next
                self._in_flight -= 1
        try:
            self._send(handler, reply)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True  # the client gave up, as some tests want

    def _hold(self, until: Callable[[], bool] | None) -> None:
        """Wait for a condition; one that never comes true ends after a minute, so that no test hangs."""
        for _ in range(12_000):
            if until is None or until() or self._stop.wait(0.005):
                return

    def _send(self, handler: BaseHTTPRequestHandler, reply: dict[str, Any]) -> None:
        body, headers = reply["body"], {"Content-Type": "application/json", **reply.get("headers", {})}
        if not isinstance(body, bytes | list):
            body = json.dumps(body).encode()
        handler.send_response(reply["status"])
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for i, chunk in enumerate([body] if isinstance(body, bytes) else body):
            if i:
                self._stop.wait(reply.get("pause", 0))
                self._hold(reply.get("rest_until"))
            if chunk:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                handler.wfile.flush()
        if reply.get("cut"):
            handler.close_connection = True
        else:
            handler.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    """A server that replays what a test queues; see `FakeServer`."""
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture
def length_reranker(fake_server: FakeServer) -> FakeServer:
    """The fake server as a reranker: it scores a document by its length, whoever asks first.

    `requests` then holds the bodies of ``/rerank`` and ``/score`` alone.
    """

    def serve(handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        if handler.command == "GET":
            fake_server._send(handler, {"status": 200, "body": {"data": [{"id": "m"}]}})
            return
        asked = json.loads(body)
        with fake_server._lock:
            fake_server.requests.append(asked)
        scores = []
        for document in asked["documents"]:
            parts = document["content"] if isinstance(document, dict) else [{"text": document}]
            scores.append(sum(len(part.get("text", "")) for part in parts) / 100)
        rows = [{"index": n, "relevance_score": score, "score": score} for n, score in enumerate(scores)]
        reply = {"results": rows, "data": rows, "usage": {"prompt_tokens": 7}}
        fake_server._send(handler, {"status": 200, "body": reply})

    fake_server._serve = serve  # type: ignore[method-assign]
    return fake_server


class LoopGate:
    """Holds work in other threads until the event loop has run a step, and counts work on the loop itself.

    So a test tells whether a loop stays free without a clock: a loop that waits for the work keeps it
    waiting for ever.
    """

    def __init__(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.current_thread()
        self.on_loop = self.beside = 0

    def __call__(self) -> None:
        """Called by what works."""
        if threading.current_thread() is self._thread:
            self.on_loop += 1
            return
        ran = threading.Event()
        self._loop.call_soon_threadsafe(ran.set)
        assert ran.wait(60), "the event loop stood still while another thread worked"
        self.beside += 1


@pytest.fixture
async def loop_gate() -> LoopGate:
    """For what works beside the loop of this test."""
    return LoopGate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server that all tests share; each takes a schema of its own."""
    from .index.postgres_server import Cluster, server_folder

    for folder in server_folder():
        cluster = Cluster(folder)
        cluster.start()
        yield cluster.url
        cluster.kill()


@pytest.fixture
def schema_url(postgres: str) -> Iterator[str]:
    """An address with a schema that no other test has; it is dropped afterwards."""
    from .index.postgres_server import execute, fresh_schema, with_schema

    schema = fresh_schema()
    yield with_schema(postgres, schema)
    execute(postgres, f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
