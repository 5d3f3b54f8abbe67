"""Every public method beside its async twin: the same nodes, scores and metadata."""

from __future__ import annotations

import pytest
from llama_index.core import QueryBundle
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index.postprocessor.mmrag import MMRagThinkRerank
from llama_index.query_engine.mmrag import MMRagCitationQueryEngine, cited_nodes
from llama_index.retrievers.mmrag import MMRagRetriever
from llama_index.vector_stores.mmrag import MMRagVectorStore

QUESTION = "Who is the harbor master?"


@pytest.mark.parametrize("settings", [{}, {"rerank": False}, {"similarity_top_k": 2, "with_images": False}])
async def test_the_retriever(qa, settings):
    retriever = MMRagRetriever(qa, **settings)
    found = retriever.retrieve(QUESTION)
    assert found and await retriever.aretrieve(QUESTION) == found


async def test_the_postprocessor(qa):
    found = MMRagRetriever(qa, rerank=False).retrieve(QUESTION)
    reranker = MMRagThinkRerank(top_n=2, keep_retrieval_score=True)
    blocking = reranker.postprocess_nodes(found, query_str=QUESTION)
    assert len(blocking) == 2
    assert await reranker.apostprocess_nodes(found, query_bundle=QueryBundle(QUESTION)) == blocking


async def test_the_engine_and_what_it_cites(qa):
    engine = MMRagCitationQueryEngine.from_args(qa, similarity_top_k=2)
    one, two = engine.query(QUESTION), await engine.aquery(QUESTION)
    assert str(one) == str(two) and one.source_nodes == two.source_nodes and one.metadata == two.metadata
    cited = cited_nodes(one)
    assert cited and all("Ada Lovelace" in node.text and "bbox" in node.metadata for node in cited[:1])
    stream = MMRagCitationQueryEngine.from_args(qa, similarity_top_k=2, streaming=True).query(QUESTION)
    text = "".join(stream.response_gen)
    assert [node.node_id for node in cited_nodes(text, stream.source_nodes)] == [
        node.node_id for node in cited
    ]
    with pytest.raises(ValueError, match="takes a response that has its text"):
        cited_nodes("Ada [1].")


@pytest.mark.parametrize(
    "query",
    [
        {"query_str": "red"},
        {"query_embedding": [1.0, 0.0, 0.0]},
        {"query_str": "red", "mode": VectorStoreQueryMode.MMR},
        {"query_str": "red", "mode": VectorStoreQueryMode.HYBRID, "sparse_top_k": 1},
        {"node_ids": ["b"]},
    ],
)
async def test_the_store(colours, query):
    store = MMRagVectorStore(model=colours)
    await store.async_add([TextNode(id_=id, text=text) for id, text in {"a": "red", "b": "red sea"}.items()])
    asked = VectorStoreQuery(similarity_top_k=2, **query)
    blocking = store.query(asked)
    assert blocking.ids and await store.aquery(asked) == blocking
    assert await store.aget_nodes(["b"]) == store.get_nodes(["b"])


def test_marks_name_the_nodes_in_their_order():
    nodes = [NodeWithScore(node=TextNode(id_=id, text=f"{id} says so [9].")) for id in "abc"]
    assert [node.node_id for node in cited_nodes("It is [3], so [1, 3]; a says so [9].", nodes)] == ["c", "a"]
