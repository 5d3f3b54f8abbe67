"""Async twins: while they work, the event loop runs."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

from langchain_mmrag import MMRagEmbeddings, MMRagRetriever, MMRagVectorStore

CALLS = {
    "embed_documents": lambda s, p: s.embeddings.aembed_documents(["red"]),
    "embed_query": lambda s, p: s.embeddings.aembed_query("red"),
    "embed_image": lambda s, p: s.embeddings.aembed_image([str(p)]),
    "add_texts": lambda s, p: s.aadd_texts(["blue"]),
    "add_documents": lambda s, p: s.aadd_documents([Document("blue")]),
    "add_images": lambda s, p: s.aadd_images([p]),
    "add_pdf": lambda s, p: s.aadd_pdf(p),
    "from_texts": lambda s, p: MMRagVectorStore.afrom_texts(["red"], s.qa.embedder),
    "search": lambda s, p: s.asimilarity_search("red"),
    "with_score": lambda s, p: s.asimilarity_search_with_score("red"),
    "relevance": lambda s, p: s.asimilarity_search_with_relevance_scores("red"),
    "by_image": lambda s, p: s.asimilarity_search_by_image(str(p)),
    "mmr": lambda s, p: s.amax_marginal_relevance_search("red"),
    "retriever": lambda s, p: MMRagRetriever(qa=s).ainvoke("red"),
    "evidence": lambda s, p: MMRagRetriever(qa=s, evidence=True).ainvoke("red"),
    "host_retriever": lambda s, p: s.as_retriever().ainvoke("red"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_an_async_twin_leaves_the_loop_free(name, colours, swatches, loop_gate) -> None:
    embedder = colours()
    with MMRagVectorStore(MMRagEmbeddings(model=embedder)) as store:
        store.add_texts(["red", "green"], ids=["r", "g"])
        embedder.gate = loop_gate
        assert await CALLS[name](store, swatches["red"])  # it did its work
        assert loop_gate.beside and not loop_gate.on_loop


async def test_the_gate_sees_work_on_the_loop(colours, loop_gate) -> None:
    embedder = colours()
    embedder.gate = loop_gate
    embedder.encode_query(["red"])
    assert (loop_gate.on_loop, loop_gate.beside) == (1, 0)


async def test_async_and_sync_agree(samples) -> None:
    question = "net sales by region"
    retriever = MMRagRetriever(qa=samples, evidence=True)
    assert await retriever.ainvoke(question) == retriever.invoke(question)
    assert await samples.asimilarity_search_with_score(question) == samples.similarity_search_with_score(
        question
    )
    sync = samples.similarity_search_with_relevance_scores(question)
    assert await samples.asimilarity_search_with_relevance_scores(question) == sync
