"""`MMRagRetriever` as LlamaIndex uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine, RouterQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever, RouterRetriever
from llama_index.core.schema import IndexNode, QueryBundle, TextNode
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters

from llama_index.embeddings.mmrag import MMRagEmbedding
from llama_index.retrievers.mmrag import MMRagRetriever
from llama_index.vector_stores.mmrag import MMRagVectorStore
from mmrag import Budget, DocumentQA
from mmrag.errors import IndexFormatError, IndexMismatchError, UnsupportedInputError
from mmrag.index import MemoryIndex

QUESTION = "Who is the harbor master?"
KEYS = {
    "source",
    "file_path",
    "file_name",
    "doc_id",
    "page",
    "page_label",
    "total_pages",
    "image_path",
    "relevance_score",
    "retrieval_score",
}


@pytest.fixture
def retriever(qa) -> MMRagRetriever:
    return MMRagRetriever(qa, similarity_top_k=2)


def of_file(name: str) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key="file_name", value=name)])


def test_pages_are_found_by_their_language(tmp_path, make_pdf, colours):
    texts = {
        "en": "This is the list of the colours that we have.",
        "de": "Das ist die Liste der Farben, und es gibt nicht viele.",
    }
    with DocumentQA(MemoryIndex.for_embedder(colours), embedder=colours) as qa:
        qa.add(make_pdf(tmp_path / "list.pdf", list(texts.values())))
        for number, language in enumerate(texts):
            only = MetadataFilters(filters=[MetadataFilter(key="language", value=language)])
            (found,) = MMRagRetriever(qa, filters=only, rerank=False).retrieve("red")
            assert (found.metadata["page"], found.metadata["language"]) == (number, language)


def test_it_is_a_retriever_of_the_host():
    assert BaseRetriever.__name__ in [base.__name__ for base in MMRagRetriever.__mro__]


def test_a_page_is_one_node_of_text_and_picture(retriever, qa):
    best = retriever.retrieve(QUESTION)[0]
    assert isinstance(best.node, TextNode)
    assert "Ada Lovelace" in best.node.text and best.node.text == best.node.get_text() == best.text
    assert "Ada Lovelace" in best.get_content()
    assert best.node_id in qa.index.ids()
    assert best.score == qa.search(QUESTION, k=1)[0].score == best.metadata["relevance_score"]
    assert set(best.metadata) >= KEYS
    assert all(isinstance(value, (str, int, float, bool)) for value in best.metadata.values())
    assert best.node.image_resource.path.is_file()
    assert best.node.image_resource.data is None
    assert [block.block_type for block in best.node.get_content_blocks()] == ["text", "image"]
    assert best.node.ref_doc_id == best.metadata["doc_id"]


def test_text_can_be_asked_of_a_page_as_of_any_node(retriever):
    from llama_index.core.evaluation import RetrieverEvaluator

    best = retriever.retrieve(QUESTION)[0]
    assert best.text == best.get_text() == best.get_content()
    result = RetrieverEvaluator.from_metric_names(["hit_rate"], retriever=retriever).evaluate(
        QUESTION, [best.node_id]
    )
    assert result.metric_vals_dict == {"hit_rate": 1.0}


async def test_async_equals_sync(retriever):
    assert await retriever.aretrieve(QUESTION) == retriever.retrieve(QUESTION)


async def test_async_leaves_the_loop_free(gated, stays_free):
    qa = DocumentQA(MemoryIndex.for_embedder(gated), embedder=gated)
    qa.add_texts(["red"], ids=["r"])
    found = await stays_free(MMRagRetriever(qa).aretrieve("red"))
    assert [one.node_id for one in found] == ["r"]


def test_how_many_filters_and_budget(qa):
    assert len(MMRagRetriever(qa, similarity_top_k=4).retrieve(QUESTION)) == 4
    found = MMRagRetriever(qa, filters=of_file("energy.pdf"), budget=(1, 1)).retrieve(QUESTION)
    assert {one.metadata["file_name"] for one in found} == {"energy.pdf"}
    assert MMRagRetriever(qa, budget=Budget(1, 4)).budget == Budget(1, 4)


def test_settings_can_be_changed_between_questions(retriever):
    retriever.similarity_top_k = 1
    retriever.filters = of_file("energy.pdf")
    assert [one.metadata["file_name"] for one in retriever.retrieve(QUESTION)] == ["energy.pdf"]


def test_a_question_of_words_an_image_or_both(colours, pictures):
    qa = DocumentQA(MemoryIndex.for_embedder(colours), embedder=colours)
    qa.add_texts(["red", "green", "blue red"], ids=["r", "g", "br"])
    retriever = MMRagRetriever(qa, similarity_top_k=1)
    blue = str(pictures["blue"])
    assert retriever.retrieve("red")[0].node_id == "r"
    assert retriever.retrieve(QueryBundle("", image_path=str(pictures["green"])))[0].node_id == "g"
    assert retriever.retrieve(QueryBundle("red", image_path=blue))[0].node_id == "br"
    assert isinstance(retriever.retrieve("red")[0].node, TextNode)
    hyde = QueryBundle("red", custom_embedding_strs=["green"])
    assert retriever.retrieve(hyde)[0].node_id == "g"


def test_images_are_found_by_words(colours, pictures):
    qa = DocumentQA(MemoryIndex.for_embedder(colours), embedder=colours)
    qa.add_images([pictures["red"], pictures["green"]], ids=["r", "g"])
    best = MMRagRetriever(qa, similarity_top_k=1).retrieve("green")[0]
    assert best.node_id == "g"
    assert Path(best.metadata["image_path"]).is_file()
    assert best.text
    qa.close()


def test_a_folder_is_searched_beside_its_writer(qa, embedder):
    beside = MMRagRetriever(qa.path, model=embedder, similarity_top_k=1)
    assert "Ada Lovelace" in beside.retrieve(QUESTION)[0].get_content()
    beside.qa.close()


def test_what_the_store_holds_is_found(embedder):
    store = MMRagVectorStore(model=embedder)
    kept = TextNode(id_="a", text="Ada is harbor master.", metadata={"k": "v"})
    store.add([kept])
    assert MMRagRetriever(store).retrieve(QUESTION)[0].node == kept
    index = VectorStoreIndex.from_vector_store(store, store.embed_model)
    assert MMRagRetriever(index).retrieve(QUESTION)[0].node == kept


def test_events_in_order(retriever, events):
    retriever.retrieve(QUESTION)
    assert events == ["RetrievalStartEvent", "RetrievalEndEvent"]


def test_objects_of_the_host_are_followed(embedder, retriever):
    store = MMRagVectorStore(model=embedder)
    store.add([IndexNode(id_="x", text="All about the harbor.", index_id="harbor")])
    over = MMRagRetriever(store, object_map={"harbor": retriever})
    assert "Ada Lovelace" in over.retrieve(QUESTION)[0].get_content()


# ---- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1, True, 1.5, None])
def test_a_number_of_pages_that_is_none_is_refused(qa, k):
    with pytest.raises(ValueError, match="similarity_top_k must be a whole number of at least 1, got"):
        MMRagRetriever(qa, similarity_top_k=k)


def test_bad_input_is_refused(qa, retriever, embedder, tmp_path, pictures):
    with pytest.raises(ValueError, match="a query must have text or an image"):
        retriever.retrieve("")
    with pytest.raises(UnsupportedInputError, match="takes text only"):
        retriever.retrieve(QueryBundle("tide", image_path=str(pictures["red"])))
    with pytest.raises(FileNotFoundError, match="an image must be there to be read"):
        retriever.retrieve(QueryBundle("tide", image_path=str(tmp_path / "gone.png")))
    with pytest.raises(ValueError, match="words to look for under 'page' must be text, got 3"):
        one = MetadataFilter(key="page", value=3, operator=FilterOperator.TEXT_MATCH)
        MMRagRetriever(qa, filters=MetadataFilters(filters=[one]))
    with pytest.raises(IndexFormatError, match="must be an index to read"):
        MMRagRetriever(tmp_path / "nothing", model=embedder)
    with pytest.raises(TypeError, match="index must be a DocumentQA, a folder or an MMRagVectorStore"):
        MMRagRetriever(7)
    with pytest.raises(ValueError, match="model and base_url go with a folder"):
        MMRagRetriever(qa, model=embedder)
    with pytest.raises(ValueError, match=r"budget\.document must be"):
        MMRagRetriever(qa, budget=(1, 0))
    with pytest.raises(TypeError, match="unexpected keyword"):
        MMRagRetriever(qa, top_k=3)


def test_a_page_whose_file_is_gone_is_named(make_pdf, tmp_path, embedder):
    path = make_pdf(tmp_path / "a.pdf", ["Ada Lovelace is the harbor master."])
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder) as qa:
        qa.add(path)
        path.unlink()
        (gone,) = MMRagRetriever(qa).retrieve(QUESTION)
        assert "a.pdf" in gone.metadata["image_error"] and "image_path" not in gone.metadata
        found = MMRagRetriever(qa, with_images=False).retrieve(QUESTION)
        assert "Ada Lovelace" in found[0].text
        assert found[0].node.image_resource is None


def test_a_folder_of_another_model_is_refused(qa, colours):
    with pytest.raises(IndexMismatchError, match="mmrag-mini"):
        MMRagRetriever(qa.path, model=colours)


def test_a_filter_that_nothing_passes_gives_nothing(qa):
    assert MMRagRetriever(qa, filters=of_file("other.pdf")).retrieve(QUESTION) == []


# ---- in the host's chains --------------------------------------------------------------------------


def test_the_query_engine_of_the_host_shows_the_pictures(retriever):
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM(is_chat_model=True), multimodal=True)
    response = engine.query(QUESTION)
    assert "Ada Lovelace" in str(response)  # the mock says what it was shown
    assert [one.node.image_resource is not None for one in response.source_nodes] == [True, True]


def test_the_citation_engine_of_the_host_keeps_the_keys(retriever):
    engine = CitationQueryEngine.from_args(
        None, llm=MockLLM(is_chat_model=True), retriever=retriever, multimodal=True
    )
    sources = engine.query(QUESTION).source_nodes
    assert len(sources) == 4  # two pages: its text and its picture are two sources; ours makes them one
    assert all(one.metadata["page_label"] for one in sources)


def test_a_router_sends_the_question_to_it(qa):
    tools = [
        RetrieverTool.from_defaults(
            MMRagRetriever(qa, filters=of_file(f"{name}.pdf")), description=about, name=name
        )
        for name, about in (("harbor", "harbors and ships"), ("energy", "wind and gas power plants"))
    ]
    selector = EmbeddingSingleSelector.from_defaults(embed_model=MMRagEmbedding())
    router = RouterRetriever(selector=selector, retriever_tools=tools, llm=MockLLM())
    found = router.retrieve("How much power did wind plants make?")
    assert {one.metadata["file_name"] for one in found} == {"energy.pdf"}


def test_a_router_of_query_engines(qa):
    engines = [
        QueryEngineTool.from_defaults(
            RetrieverQueryEngine.from_args(MMRagRetriever(qa, filters=of_file(f"{name}.pdf")), llm=MockLLM()),
            name=name,
            description=about,
        )
        for name, about in (("harbor", "harbors and ships"), ("energy", "wind and gas power plants"))
    ]
    selector = EmbeddingSingleSelector.from_defaults(embed_model=MMRagEmbedding())
    router = RouterQueryEngine(selector=selector, query_engine_tools=engines, llm=MockLLM())
    assert "4180 gigawatt" in str(router.query("How much power did wind plants make?"))


@pytest.mark.parametrize("mode", ["reciprocal_rerank", "relative_score", "dist_based_score", "simple"])
async def test_a_fusion_retriever_joins_two(qa, mode):
    parts = [MMRagRetriever(qa, filters=of_file(name)) for name in ("harbor.pdf", "energy.pdf")]
    fusion = QueryFusionRetriever(
        parts, llm=MockLLM(), mode=mode, num_queries=1, similarity_top_k=5, use_async=False
    )
    found = fusion.retrieve(QUESTION)
    assert {one.metadata["file_name"] for one in found} == {"harbor.pdf", "energy.pdf"}
    assert {one.node_id for one in await fusion.aretrieve(QUESTION)} == {one.node_id for one in found}


async def test_an_agent_calls_it_as_a_tool(retriever):
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
    from llama_index.core.llms.mock import MockFunctionCallingLLM

    def reply(messages, **_):
        last = messages[-1]
        if last.role.value == "tool":
            return ChatMessage(role="assistant", blocks=[TextBlock(text=f"I read: {last.content}")])
        call = ToolCallBlock(tool_call_id="1", tool_name="pages", tool_kwargs={"input": QUESTION})
        return ChatMessage(role="assistant", blocks=[call])

    tool = RetrieverTool.from_defaults(retriever, name="pages", description="pages of reports")
    agent = FunctionAgent(tools=[tool], llm=MockFunctionCallingLLM(response_generator=reply), streaming=False)
    response = await agent.run("Who is it?")
    assert "Ada Lovelace" in str(response)
