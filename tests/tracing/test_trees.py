"""The whole tree of every way to ask, search and add, with the real parts and a server on loopback."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace

from mmrag import DocumentQA, MemoryIndex, ReaderSettings, ServedAnswerer, ThinkReranker
from mmrag.errors import ServerStatusError
from mmrag.rerank.reranker import THRESHOLDS
from mmrag.types import Answer

QUESTION = "How hot should green tea be?"
PAGES = [
    "The blue whale is the largest animal.\nIt can weigh 150 tonnes.",
    "Green tea is steeped at 80 degrees.\nIt is drunk in Japan.",
    "Black tea is steeped at 95 degrees.",
]


@pytest.fixture
def qa(embedder, make_pdf, tmp_path):
    """Three pages in memory, read by two workers."""
    settings = ReaderSettings(ocr="off", workers=2)
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reader=settings) as qa:
        qa.add(make_pdf(tmp_path / "nature.pdf", PAGES))
        yield qa


SEARCH = [
    "CHAIN mmrag.search",
    "  RETRIEVER mmrag.retrieve",
    "    EMBEDDING mmrag.embed",
    "  RERANKER mmrag.rerank",
]
ASK = [
    "CHAIN mmrag.ask",
    *(f"  {line}" for line in SEARCH),
    "  CHAIN mmrag.answer",
    "  CHAIN mmrag.evidence",
]
JUDGED = [*SEARCH, "    LLM mmrag.chat x3"]
SERVED = ["CHAIN mmrag.ask", *(f"  {line}" for line in JUDGED), "  CHAIN mmrag.answer", "    LLM mmrag.chat"]


def test_search(qa, spans) -> None:
    ranking = qa.search(QUESTION, k=2)
    assert spans.tree() == SEARCH
    found = spans.one("mmrag.retrieve").attributes
    assert found["input.value"] == QUESTION
    assert found["retrieval.documents.0.document.content"].split() == PAGES[1].split()
    judged = spans.one("mmrag.rerank").attributes
    assert judged["reranker.query"] == QUESTION
    assert [judged[f"reranker.output_documents.{n}.document.id"] for n in range(2)] == [c.id for c in ranking]
    assert judged["reranker.output_documents.0.document.score"] == ranking[0].score
    assert spans.one("mmrag.embed").attributes["embedding.model_name"] == qa.embedder.name
    assert all(each.status.status_code.name == "OK" for each in spans.all)
    assert all(each.end_time >= each.start_time for each in spans.all)


async def test_the_async_twin_has_the_same_tree(qa, spans) -> None:
    await qa.asearch(QUESTION, k=2)
    assert spans.tree() == SEARCH


def test_ask_quoting(qa, spans) -> None:
    answer = qa.ask(QUESTION, k=2)
    assert spans.tree() == ASK
    assert spans.one("mmrag.ask").attributes["output.value"] == answer.text


def served(model) -> dict[str, object]:
    return {
        "k": 3,
        "evidence": False,
        "answerer": ServedAnswerer(model.url, "tea", images=False),
        "rerank": ThinkReranker(model.url, model="tea", images=False, think_tokens=0),
    }


def test_ask_a_server(qa, spans, model) -> None:
    answer = qa.ask(QUESTION, **served(model))
    assert spans.tree() == SERVED
    (written,) = [s for s in spans.all if s.attributes.get("llm.finish_reason") == "stop"]
    assert written.attributes["llm.token_count.prompt"] == 11
    assert written.attributes["llm.token_count.total"] == 16
    assert written.attributes["llm.model_name"] == "tea-1"
    assert QUESTION in written.attributes["llm.input_messages.1.message.content"]
    assert "80 degrees" in written.attributes["llm.output_messages.0.message.content"]
    assert answer.text == "At 80 degrees [1]."


async def test_aask_a_server(qa, spans, model) -> None:
    await qa.aask(QUESTION, **served(model))
    assert spans.tree() == SERVED


def test_a_second_look_stands_under_its_search(qa, spans, model, monkeypatch) -> None:
    monkeypatch.setitem(THRESHOLDS, "pointwise", 0.95)  # the model's yes is not enough
    reranker = ThinkReranker(model.url, model="tea", images=False)
    ranking = qa.search(QUESTION, rerank=reranker, look_again=1)
    assert spans.tree() == [
        *JUDGED,
        "  CHAIN mmrag.look_again",
        "    LLM mmrag.chat",
        "    RETRIEVER mmrag.retrieve",
        "      EMBEDDING mmrag.embed",
        "    RERANKER mmrag.rerank",
        "      LLM mmrag.chat x3",
    ]
    assert spans.one("mmrag.look_again").attributes["input.value"] == QUESTION
    assert "looked again" in ranking.notes[-1]
    spans.exporter.clear()
    asyncio.run(qa.asearch(QUESTION, rerank=reranker, look_again=1))
    assert spans.tree()[len(JUDGED)] == "  CHAIN mmrag.look_again"


def test_a_stream_has_the_same_tree_and_leaves_the_consumer_alone(qa, spans, model) -> None:
    given = []
    for piece in qa.stream(QUESTION, **served(model)):
        assert not trace.get_current_span().get_span_context().is_valid
        given.append(piece)
    assert isinstance(given[-1], Answer)
    assert spans.tree() == SERVED
    (written,) = [s for s in spans.all if s.attributes.get("llm.finish_reason") == "stop"]
    assert written.attributes["llm.token_count.completion"] == 5


async def test_an_async_stream_has_the_same_tree(qa, spans, model) -> None:
    async for _ in qa.astream(QUESTION, **served(model)):
        assert not trace.get_current_span().get_span_context().is_valid
        await asyncio.sleep(0)
    assert spans.tree() == SERVED


def test_an_abandoned_stream_ends_its_spans(qa, spans, model) -> None:
    pieces = qa.stream(QUESTION, **served(model))
    next(pieces)
    pieces.close()
    assert sorted(spans.tree()) == sorted(SERVED)
    assert spans.one("mmrag.ask").status.status_code.name == "UNSET"


def test_add_makes_the_span_of_a_page_around_the_work_of_the_child(qa, spans, make_pdf, tmp_path) -> None:
    qa.add(make_pdf(tmp_path / "more.pdf", ["One.", "Two.", "Three.", "Four."]))
    assert spans.tree() == [
        "CHAIN mmrag.add",
        "  CHAIN mmrag.add_file",
        "    CHAIN mmrag.read_page x4",
        "    EMBEDDING mmrag.embed",
    ]
    assert '"text_source": "layer"' in spans.all[2].attributes["metadata"]


def test_our_spans_nest_under_the_callers(qa, spans) -> None:
    with spans.provider.get_tracer("theirs").start_as_current_span("request"):
        qa.search(QUESTION)
    assert spans.tree() == ["- request", *(f"  {line}" for line in SEARCH)]


def test_threads_do_not_cross(qa, spans) -> None:
    """Sixteen questions at once, each under a span of its own: every span is in its caller's trace."""
    tracer = spans.provider.get_tracer("theirs")

    def ask(number: int) -> int:
        with tracer.start_as_current_span(f"request-{number}") as caller:
            qa.ask(f"{QUESTION} {number}", k=2, evidence=False)
            return caller.get_span_context().trace_id

    with ThreadPoolExecutor(16) as threads:
        traces = list(threads.map(ask, range(16)))
    by_id = {each.context.span_id: each for each in spans.all}
    for number, trace_id in enumerate(traces):
        own = [each for each in spans.all if each.context.trace_id == trace_id]
        assert sorted(each.name for each in own) == sorted(
            [f"request-{number}", *(line.split()[1] for line in ASK if "evidence" not in line)]
        )
        questions = {s.attributes["input.value"] for s in own if "input.value" in s.attributes}
        assert {text for text in questions if text.startswith("How")} == {f"{QUESTION} {number}"}
        assert all(s.parent is None or by_id[s.parent.span_id] in own for s in own)


async def test_tasks_do_not_cross(qa, spans) -> None:
    await asyncio.gather(*(qa.aask(f"{QUESTION} {n}", k=2, evidence=False) for n in range(8)))
    for root in [each for each in spans.all if each.parent is None]:
        own = [s for s in spans.all if s.context.trace_id == root.context.trace_id]
        assert len(own) == len(ASK) - 1
        assert {s.attributes["input.value"] for s in own if s.name == "mmrag.retrieve"} == {
            root.attributes["input.value"]
        }


def test_an_error_stands_on_the_spans_it_passes(qa, spans, fake_server) -> None:
    fake_server.reply(400, {"error": {"message": "context too long"}})
    answerer = ServedAnswerer(fake_server.url, "tea", images=False, api_key="sk-quite-secret-key-1")
    with pytest.raises(ServerStatusError):
        qa.ask(QUESTION, answerer=answerer, rerank=False)
    failed = {s.name for s in spans.all if s.status.status_code.name == "ERROR"}
    assert failed == {"mmrag.ask", "mmrag.answer", "mmrag.chat"}
    (event,) = spans.one("mmrag.chat").events
    assert event.attributes["exception.type"] == "ServerStatusError"
    assert "context too long" in event.attributes["exception.message"]
