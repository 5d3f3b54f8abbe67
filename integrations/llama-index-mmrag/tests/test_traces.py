"""Spans of mmrag nest under the caller's in a query engine of LlamaIndex, blocking or not."""

from __future__ import annotations

import pytest

from llama_index.postprocessor.mmrag import MMRagThinkRerank
from llama_index.query_engine.mmrag import MMRagCitationQueryEngine
from llama_index.retrievers.mmrag import MMRagRetriever

QUESTION = "harbor sales"
TREE = [
    "- request",
    "  CHAIN mmrag.search",
    "    RETRIEVER mmrag.retrieve",
    "      EMBEDDING mmrag.embed",
    "  RERANKER mmrag.rerank",
    "    LLM mmrag.chat",
    "    LLM mmrag.chat",
    "  CHAIN mmrag.answer",
]


@pytest.fixture
def engine(qa, judge):
    retriever = MMRagRetriever(qa, similarity_top_k=2, rerank=False)
    reranker = MMRagThinkRerank(base_url=judge.url, model="judge", images=False)
    engine = MMRagCitationQueryEngine(retriever, node_postprocessors=[reranker])
    engine.query(QUESTION)  # the first judgement asks the server how it writes yes and no
    yield engine
    engine.close()


def test_a_query(engine, span_tree) -> None:
    with span_tree.tracer.start_as_current_span("request"):
        engine.query(QUESTION)
    assert span_tree() == TREE


async def test_an_async_query(engine, span_tree) -> None:
    with span_tree.tracer.start_as_current_span("request"):
        await engine.aquery(QUESTION)
    assert span_tree() == TREE
