"""Laws of a span: what stands on it, what is hidden, and that it costs nothing where nobody looks."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("openinference", reason="needs openinference-semantic-conventions, of 'dev'")

from openinference.semconv.trace import (
    DocumentAttributes,
    EmbeddingAttributes,
    ImageAttributes,
    MessageAttributes,
    MessageContentAttributes,
    OpenInferenceSpanKindValues,
    RerankerAttributes,
    SpanAttributes,
)

from mmrag import Query, Ranking
from mmrag.masking import remember_secret
from mmrag.tracing import attributes as names
from mmrag.tracing.spans import NO_SPAN, llm_span, span
from mmrag.types import Candidate, Record

KEY = "sk-a-key-that-nobody-sees"


def ranking(count: int) -> Ranking:
    records = [Record(f"p{n}", None, f"text {n}", {"file_name": "a.pdf", "_own": 1}) for n in range(count)]
    made = [Candidate(record, 1.0 / n, n, {"text": 0.5}) for n, record in enumerate(records, start=1)]
    return Ranking(Query("where?"), tuple(made))


def test_names_are_those_of_the_conventions() -> None:
    ours = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    ours -= {names.JSON_TYPE, names.HIDDEN_TEXT}
    theirs = {
        value
        for kind in (
            DocumentAttributes,
            EmbeddingAttributes,
            MessageAttributes,
            MessageContentAttributes,
            RerankerAttributes,
            SpanAttributes,
        )
        for value in vars(kind).values()
        if isinstance(value, str)
    }
    image = f"{MessageContentAttributes.MESSAGE_CONTENT_IMAGE}.{ImageAttributes.IMAGE_URL}"
    assert ours - theirs == {image}
    assert set(names.TOKENS.values()) | {SpanAttributes.LLM_FINISH_REASON} <= theirs
    kinds = {kind.value for kind in OpenInferenceSpanKindValues}
    assert {"CHAIN", "RETRIEVER", "EMBEDDING", "RERANKER", "LLM"} <= kinds


def test_without_a_provider_there_is_no_span() -> None:
    assert span("mmrag.search", "CHAIN") is NO_SPAN
    with NO_SPAN as none:
        none.question(Query("where?"))
        assert none.ranking(ranking(1)).candidates[0].id == "p0"


def test_without_opentelemetry_nothing_is_imported_and_all_works() -> None:
    """In a fresh process to which the package is closed."""
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from mmrag import Query\n"
        "from mmrag.tracing.spans import NO_SPAN, span\n"
        "with span('mmrag.search', 'CHAIN') as one:\n"
        "    one.question(Query('where?'))\n"
        "assert one is NO_SPAN\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_and_searching_loads_no_opentelemetry() -> None:
    """Only Chroma, which lists it among its own needs, loads it; an index in memory does not."""
    code = (
        "import sys\n"
        "from mmrag import MemoryIndex, Retriever, TextEmbedder\n"
        "import mmrag.pipeline, mmrag.tracing.spans, mmrag.serving.client\n"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry', 'openinference'))]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_documents(spans) -> None:
    with span("mmrag.retrieve", "RETRIEVER") as one:
        one.documents(ranking(2), k=2)
    found = spans.one("mmrag.retrieve").attributes
    assert found["openinference.span.kind"] == "RETRIEVER"
    assert found["retrieval.documents.1.document.id"] == "p1"
    assert found["retrieval.documents.1.document.score"] == 0.5
    assert found["retrieval.documents.1.document.content"] == "text 1"
    metadata = json.loads(found["retrieval.documents.1.document.metadata"])
    assert metadata == {"file_name": "a.pdf", "scores": {"text": 0.5}}
    assert json.loads(found["metadata"]) == {"k": 2}


@pytest.mark.parametrize("count", [0, 1, 25, 26, 27, 100])
def test_the_kind_is_never_dropped_for_documents(spans, count: int) -> None:
    """The SDK drops the oldest attributes beyond its limit: what was written first."""
    with span("mmrag.rerank", "RERANKER") as one:
        one.candidates(ranking(count), "m", None)
        one.reranking(ranking(count))
    found = spans.one("mmrag.rerank")
    assert found.dropped_attributes == 0
    assert found.attributes["openinference.span.kind"] == "RERANKER"
    shown = sum(name.endswith("document.id") and "output" in name for name in found.attributes)
    assert shown + json.loads(found.attributes["metadata"]).get("left_out", 0) == count


def test_a_higher_limit_shows_more(spans, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1000")
    attributes = names.document_attributes(
        "retrieval.documents",
        ranking(100).candidates,
        has_text=True,
        room=names.Content.of_environment().room,
    )
    assert len(attributes) == 400


BODY = {
    "model": "tea",
    "temperature": 0.0,
    "messages": [
        {"role": "system", "content": "Answer from the pages."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "[1] a.pdf"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "text", "text": f"my key is {KEY}"},
            ],
        },
    ],
}
REPLY = {
    "model": "tea-1",
    "choices": [{"message": {"content": "Hot."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


def chat_attributes(spans) -> dict[str, object]:
    with llm_span("chat/completions", BODY) as one:
        one.reply(REPLY)
    return dict(spans.one("mmrag.chat").attributes)


def test_a_chat(spans) -> None:
    remember_secret(KEY)
    found = chat_attributes(spans)
    user = "llm.input_messages.1.message"
    assert found["llm.model_name"] == "tea-1"
    assert json.loads(found["llm.invocation_parameters"]) == {"temperature": 0.0}
    assert found["llm.input_messages.0.message.content"] == "Answer from the pages."
    assert found[f"{user}.contents.0.message_content.text"] == "[1] a.pdf"
    assert found[f"{user}.contents.1.message_content.image.image.url"] == "__REDACTED__"
    assert found[f"{user}.contents.2.message_content.image.image.url"] == "data:image/png;base64,AAAA"
    assert found["llm.output_messages.0.message.content"] == found["output.value"] == "Hot."
    assert (found["llm.token_count.prompt"], found["llm.token_count.total"]) == (3, 5)
    assert KEY not in json.dumps(found)


@pytest.mark.parametrize(
    ("variable", "value", "question", "answer"),
    [
        ("MMRAG_TRACE_CONTENT", "off", False, False),
        ("OPENINFERENCE_HIDE_INPUTS", "true", False, True),
        ("OPENINFERENCE_HIDE_OUTPUTS", "true", True, False),
    ],
)
def test_one_switch_hides_the_content(spans, monkeypatch, variable, value, question, answer) -> None:
    monkeypatch.setenv(variable, value)
    with span("mmrag.rerank", "RERANKER") as one:
        one.candidates(ranking(2), "m", None)
        one.reranking(ranking(2))
    with span("mmrag.retrieve", "RETRIEVER") as two:
        two.documents(ranking(2))
    told = json.dumps([dict(each.attributes) for each in spans.all])
    assert ("where?" in told) is question
    assert ("text 1" in told) is (question or answer)  # given to a reranker, and found
    chat = json.dumps(chat_attributes(spans))
    assert ("Answer from the pages." in chat) is question
    assert ("Hot." in chat) is answer
    assert "p1" in told


def test_hidden_errors_say_their_type_alone(spans, monkeypatch) -> None:
    monkeypatch.setenv("MMRAG_TRACE_CONTENT", "off")
    with pytest.raises(ValueError), span("mmrag.answer", "CHAIN"):
        raise ValueError("the page says: a secret")
    (event,) = spans.one("mmrag.answer").events
    assert dict(event.attributes) == {"exception.type": "ValueError"}
    assert spans.one("mmrag.answer").status.description == "ValueError"


def test_errors_hold_no_key(spans) -> None:
    remember_secret(KEY)
    with pytest.raises(ValueError), span("mmrag.answer", "CHAIN"):
        raise ValueError(f"refused {KEY}")
    (event,) = spans.one("mmrag.answer").events
    told = json.dumps(dict(event.attributes)) + (spans.one("mmrag.answer").status.description or "")
    assert KEY not in told
    assert "refused ***" in event.attributes["exception.message"]


def test_a_span_that_is_not_sampled_keeps_its_children_out(spans, monkeypatch) -> None:
    """Else each child would begin a trace of its own, and be sampled on its own."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    with span("mmrag.ask", "CHAIN"):
        outer = trace.get_current_span().get_span_context()
        assert outer.is_valid and not outer.trace_flags.sampled
        with span("mmrag.search", "CHAIN"):
            assert trace.get_current_span().get_span_context().trace_id == outer.trace_id


def test_session_and_suppression_of_the_callers_context(spans) -> None:
    from opentelemetry import context

    token = context.attach(context.set_value("session.id", "s-1"))
    with span("mmrag.ask", "CHAIN"):
        pass
    context.detach(token)
    token = context.attach(context.set_value("suppress_instrumentation", True))
    assert span("mmrag.ask", "CHAIN") is NO_SPAN
    context.detach(token)
    assert spans.one("mmrag.ask").attributes["session.id"] == "s-1"
