"""Spans of mmrag nest under the caller's, whichever way LangChain runs a retriever and a reranker."""

from __future__ import annotations

import asyncio

import pytest

from langchain_mmrag import MMRagRetriever, MMRagThinkRerank, MMRagVectorStore

FOUND = [
    "  CHAIN mmrag.search",
    "    RETRIEVER mmrag.retrieve",
    "      EMBEDDING mmrag.embed",
]
JUDGED = ["  RERANKER mmrag.rerank", *["    LLM mmrag.chat"] * 2]


@pytest.fixture
def chain(text_embeddings, judge):
    texts = ["Owls hoot at night.", "Cats purr at home."]
    with MMRagVectorStore.from_texts(texts, text_embeddings, ids=["owl", "cat"]) as store:
        retriever = MMRagRetriever(qa=store, k=2, rerank=False)
        yield MMRagThinkRerank(base_url=judge.url, model="judge").after(retriever)


@pytest.fixture(autouse=True)
def _warm(chain):
    """The first judgement asks the server how it writes yes and no: that is not what is counted here."""
    chain.invoke("what hoots?")


def test_a_chain(chain, span_tree) -> None:
    with span_tree.tracer.start_as_current_span("request"):
        assert chain.invoke("what hoots?")[0].id == "owl"
    assert span_tree() == ["- request", *FOUND, *JUDGED]


async def test_an_async_chain(chain, span_tree) -> None:
    with span_tree.tracer.start_as_current_span("request"):
        await chain.ainvoke("what hoots?")
    assert span_tree() == ["- request", *FOUND, *JUDGED]


def test_a_batch_of_questions(chain, span_tree) -> None:
    """The host runs them in threads."""
    with span_tree.tracer.start_as_current_span("request"):
        chain.batch(["what hoots?"] * 4)
    lines = span_tree()
    assert lines[0] == "- request"
    assert sorted(lines[1:]) == sorted([*FOUND, *JUDGED] * 4)


async def test_tasks_do_not_cross(chain, span_tree) -> None:
    async def ask(name: str) -> None:
        with span_tree.tracer.start_as_current_span(name):
            await chain.ainvoke("what hoots?")

    await asyncio.gather(ask("a"), ask("b"))
    half = [*FOUND, *JUDGED]
    lines = span_tree()
    assert sorted(lines) == sorted(["- a", *half, "- b", *half])
    assert lines[1:6].count("  CHAIN mmrag.search") == 1
