"""Spans arrive at a collector over OTLP: a receiver of our own stands for Phoenix and the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mmrag import Query
from mmrag.tracing.spans import span

grpc = pytest.importorskip("grpc", reason="OTLP over gRPC comes with Chroma")
exporters = pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")


def test_a_collector_reads_what_was_set(monkeypatch) -> None:
    from opentelemetry import trace
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    arrived = []

    class Collector(services.TraceServiceServicer):
        def Export(self, request, context):  # noqa: N802
            arrived.append(request)
            return messages.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    services.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        provider = TracerProvider(resource=Resource({"openinference.project.name": "mmrag"}))
        exporter = exporters.OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}", insecure=True)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
        with span("mmrag.search", "CHAIN") as one:
            one.question(Query("Wie heiß?"))
        provider.shutdown()
    finally:
        server.stop(None)
    (resource,) = arrived[0].resource_spans
    (sent,) = resource.scope_spans[0].spans
    assert resource.scope_spans[0].scope.name == "mmrag"
    values = {each.key: each.value.string_value for each in sent.attributes}
    assert sent.name == "mmrag.search"
    assert values["openinference.span.kind"] == "CHAIN"
    assert values["input.value"] == "Wie heiß?"
