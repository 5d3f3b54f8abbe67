"""Async twins: while they work, another task goes on running. Measured, not believed."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

from langchain_mmrag import MMRagEmbeddings, MMRagRetriever, MMRagVectorStore

DELAY = 0.5  # seconds in which the embedder of these tests holds its thread
ALLOWED = 0.25  # seconds; a twin that works on the loop holds it for DELAY


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
async def test_an_async_twin_leaves_the_loop_free(name, colours, swatches, longest_pause) -> None:
    embedder = colours()
    with MMRagVectorStore(MMRagEmbeddings(model=embedder)) as store:
        store.add_texts(["red", "green"], ids=["r", "g"])
        await CALLS[name](store, swatches["red"])  # modules that are imported once, on first use
        embedder.delay = DELAY
        async with longest_pause() as pauses:
            result = await CALLS[name](store, swatches["red"])
        assert result  # it did its work
        assert max(pauses) < ALLOWED, f"{name} held the loop for {max(pauses):.2f} s"


async def test_the_measure_sees_what_blocks(colours, longest_pause) -> None:
    async with longest_pause() as pauses:
        colours(DELAY).encode_query(["red"])
    assert max(pauses) > 0.8 * DELAY


async def test_async_and_sync_agree(samples) -> None:
    question = "net sales by region"
    retriever = MMRagRetriever(qa=samples, evidence=True)
    assert await retriever.ainvoke(question) == retriever.invoke(question)
    assert await samples.asimilarity_search_with_score(question) == samples.similarity_search_with_score(
        question
    )
    sync = samples.similarity_search_with_relevance_scores(question)
    assert await samples.asimilarity_search_with_relevance_scores(question) == sync
