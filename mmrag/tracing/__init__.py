"""Spans of OpenTelemetry in OpenInference's words: what a question did, for whoever collects traces.

`mmrag.tracing.spans` starts and ends them, `mmrag.tracing.attributes` says what stands on them. Neither
imports OpenTelemetry unless the process has done so already.
"""
