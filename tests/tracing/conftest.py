"""Spans of a test in memory, as trees; and a server that answers and judges whoever asks, in any order."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@dataclass
class Spans:
    """What was exported, in the order in which the spans began."""

    exporter: InMemorySpanExporter
    provider: TracerProvider

    @property
    def all(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda each: (each.start_time, each.end_time))

    def one(self, name: str) -> ReadableSpan:
        (found,) = [each for each in self.all if each.name == name]
        return found

    def tree(self) -> list[str]:
        """One line a span, children indented; siblings of one name stand once, with their number."""
        lines: list[str] = []

        def visit(parent: int | None, depth: int) -> None:
            children = [s for s in self.all if (s.parent.span_id if s.parent else None) == parent]
            merged: dict[str, list[ReadableSpan]] = {}
            for child in children:
                merged.setdefault(child.name, []).append(child)
            for name, group in merged.items():
                kind = group[0].attributes["openinference.span.kind"] if "mmrag" in name else "-"
                times = f" x{len(group)}" if len(group) > 1 else ""
                lines.append(f"{'  ' * depth}{kind} {name}{times}")
                for child in group[:1]:
                    visit(child.context.span_id, depth + 1)

        visit(None, 0)
        return lines


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Collects every span of the test. The process's own provider, which is set once, stays as it is."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    for name in ("MMRAG_TRACE_CONTENT", "OPENINFERENCE_HIDE_INPUTS", "OPENINFERENCE_HIDE_OUTPUTS"):
        monkeypatch.delenv(name, raising=False)
    yield Spans(exporter, provider)
    provider.shutdown()


ANSWER = {
    "answerable": True,
    "answer": "At 80 degrees [1].",
    "citations": [{"page": 1, "quote": "80 degrees"}],
}


@pytest.fixture
def model(fake_server):
    """The fake server as a model that judges with yes and answers from page 1, streamed where asked."""

    def reply(path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/models"):
            return {"status": 200, "body": {"data": [{"id": "tea"}]}}
        if path.endswith("/tokenize"):
            token = {"yes": 1, "no": 2}.get(body.get("prompt", "?"), 0)
            rows = {"tokens": [token], "token_strs": [body.get("prompt", "?")], "max_model_len": 100_000}
            return {"status": 200, "body": rows}
        usage = {"prompt_tokens": 11, "completion_tokens": 5}
        if "logprob_token_ids" in body:
            listed = [{"token": f"token_id:{n}", "logprob": math.log(p)} for n, p in ((1, 0.9), (2, 0.1))]
            logprobs = {"content": [{"token": "yes", "top_logprobs": listed}]}
            choice = {"message": {"content": "yes"}, "finish_reason": "length", "logprobs": logprobs}
            return {"status": 200, "body": {"choices": [choice], "usage": usage}}
        text = json.dumps(ANSWER)
        if not body.get("stream"):
            choice = {"message": {"content": text}, "finish_reason": "stop"}
            return {"status": 200, "body": {"model": "tea-1", "choices": [choice], "usage": usage}}
        half = len(text) // 2
        events = [{"choices": [{"delta": {"content": piece}}]} for piece in (text[:half], text[half:])]
        events += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
        lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
        headers = {"Content-Type": "text/event-stream"}
        return {"status": 200, "body": [*lines, b"data: [DONE]\n\n"], "headers": headers}

    def serve(handler) -> None:
        data = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        fake_server._send(handler, reply(handler.path, json.loads(data) if data else {}))

    fake_server._serve = serve
    return fake_server
