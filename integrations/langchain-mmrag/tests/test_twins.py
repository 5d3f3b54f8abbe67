"""Every public method beside its async twin: the same documents, scores and metadata."""

from __future__ import annotations

import pytest
from langchain_core.runnables import RunnableLambda

from langchain_mmrag import MMRagRetriever, MMRagThinkRerank, MMRagVectorStore, document_scores

QUESTION = "What were the net sales of Environmental Sensing in 2024?"


def told(value):
    """Documents with their scores; anything else as it is."""
    if isinstance(value, list) and value and hasattr(value[0], "page_content"):
        return [(document, document_scores(document)) for document in value]
    return value


def vector(store: MMRagVectorStore) -> list[float]:
    return store.embeddings.embed_query(QUESTION)


SEARCHES = {
    "similarity_search": (QUESTION,),
    "similarity_search_with_score": (QUESTION,),
    "similarity_search_with_relevance_scores": (QUESTION,),
    "max_marginal_relevance_search": (QUESTION, 2, 6),
    "similarity_search_by_vector": (vector,),
    "max_marginal_relevance_search_by_vector": (vector, 2, 6),
    "get_by_ids": (lambda store: store.qa.index.ids()[:2],),
    "search": (QUESTION, "similarity"),
}


@pytest.mark.parametrize("name", SEARCHES)
async def test_searches_of_a_store(samples, name) -> None:
    arguments = [one(samples) if callable(one) else one for one in SEARCHES[name]]
    blocking = getattr(samples, name)(*arguments)
    assert blocking and told(await getattr(samples, f"a{name}")(*arguments)) == told(blocking)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rerank": False},
        {"evidence": True},
        {"k": 2, "budget": (1, 4), "filter": {"page": {"$gte": 2}}, "scores": True},
    ],
)
async def test_the_retriever(samples, settings) -> None:
    retriever = MMRagRetriever(qa=samples, **settings)
    blocking = retriever.invoke(QUESTION)
    assert blocking and told(await retriever.ainvoke(QUESTION)) == told(blocking)
    assert list(map(told, await retriever.abatch([QUESTION, "price"]))) == list(
        map(told, retriever.batch([QUESTION, "price"]))
    )


@pytest.mark.parametrize(
    "options",
    [
        {"search_kwargs": {"k": 2}},
        {"search_type": "mmr", "search_kwargs": {"k": 2, "fetch_k": 6}},
        {"search_type": "similarity_score_threshold", "search_kwargs": {"score_threshold": 0.2}},
    ],
)
async def test_the_hosts_retriever(samples, options) -> None:
    retriever = samples.as_retriever(**options)
    assert told(await retriever.ainvoke(QUESTION)) == told(retriever.invoke(QUESTION))


async def test_the_reranker_and_a_chain(samples) -> None:
    reranker = MMRagThinkRerank(top_n=3)
    documents = MMRagRetriever(qa=samples, k=5, rerank=False).invoke(QUESTION)
    blocking = reranker.compress_documents(documents, QUESTION)
    assert await reranker.acompress_documents(documents, QUESTION) == blocking
    chain = reranker.after(MMRagRetriever(qa=samples, k=5, rerank=False)) | RunnableLambda(
        lambda found: found[:2]
    )
    assert await chain.ainvoke(QUESTION) == chain.invoke(QUESTION) == blocking[:2]


async def test_what_changes_a_store(colours) -> None:
    stores = [MMRagVectorStore(colours()) for _ in range(2)]
    one, two = stores
    one.add_texts(["red", "green"], [{"n": 1}, {"n": None}], ids=["r", "g"])
    await two.aadd_texts(["red", "green"], [{"n": 1}, {"n": None}], ids=["r", "g"])
    one.delete(filter={"n": 1})
    await two.adelete(filter={"n": 1})
    assert one.similarity_search("green") == await two.asimilarity_search("green") != []


def test_none_is_a_key_without_value(colours) -> None:
    store = MMRagVectorStore(colours())
    store.add_texts(["red", "red"], [{"author": None, "n": 1}, {"author": "Ada"}], ids=["a", "b"])
    assert store.get_by_ids(["a"])[0].metadata == {"n": 1}
    assert [one.id for one in store.similarity_search("red", filter={"author": {"$ne": "Ada"}})] == ["a"]
