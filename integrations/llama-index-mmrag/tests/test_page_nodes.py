"""A page node answers whatever LlamaIndex's own parts ask of a node."""

from __future__ import annotations

import pickle

import pytest
from llama_index.core import QueryBundle, Settings, get_response_synthesizer
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter, SentenceWindowNodeParser, TokenTextSplitter
from llama_index.core.postprocessor import (
    LongContextReorder,
    MetadataReplacementPostProcessor,
    SimilarityPostprocessor,
)
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.retrievers import QueryFusionRetriever, RecursiveRetriever
from llama_index.core.schema import ImageNode, MetadataMode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore

from llama_index.readers.mmrag.nodes import PageNode
from llama_index.retrievers.mmrag import MMRagRetriever

QUESTION = "Who is the harbor master?"


@pytest.fixture(params=[True, False], ids=["picture", "text"])
def retriever(request, qa) -> MMRagRetriever:
    return MMRagRetriever(qa, similarity_top_k=2, with_images=request.param)


@pytest.fixture
def page(retriever):
    return retriever.retrieve(QUESTION)[0].node


def test_text_under_every_name(page):
    assert "Ada Lovelace" in page.text
    assert page.text == page.get_text() == page.get_content()
    assert page.get_content(MetadataMode.LLM).startswith("file_name: harbor.pdf")
    assert page.get_content(MetadataMode.EMBED) == page.text
    assert page.get_node_info() == {"start": None, "end": None}
    assert page.as_related_node_info().node_id == page.node_id
    assert "Ada Lovelace" in str(page)


def test_blocks_are_the_text_and_the_picture(page):
    kinds = [block.block_type for block in page.get_content_blocks()]
    assert kinds == ["text", "image"] if isinstance(page, PageNode) else ["text"]
    assert (page.image_resource is not None) == isinstance(page, PageNode)


def test_what_is_written_down_comes_back(page):
    for again in (
        type(page).from_dict(page.to_dict()),
        type(page).from_json(page.to_json()),
        pickle.loads(pickle.dumps(page)),
        page.model_copy(deep=True),
    ):
        assert again == page and again.hash == page.hash
    docstore = SimpleDocumentStore()
    docstore.add_documents([page])
    kept = SimpleDocumentStore.from_dict(docstore.to_dict()).get_node(page.node_id)
    assert isinstance(kept, TextNode) and kept.text == page.text and kept.metadata == page.metadata
    assert isinstance(page, PageNode) == (isinstance(kept, ImageNode) and kept.image_path == page.image_path)


@pytest.mark.parametrize("mode", [mode for mode in ResponseMode if mode is not ResponseMode.NO_TEXT])
@pytest.mark.parametrize("multimodal", [False, True])
def test_every_synthesizer_reads_it(retriever, mode, multimodal, monkeypatch):
    # else some modes look for OpenAI's package
    monkeypatch.setattr(Settings, "_llm", MockLLM(is_chat_model=True))
    found = retriever.retrieve(QUESTION)
    synthesizer = get_response_synthesizer(
        llm=MockLLM(is_chat_model=True), response_mode=mode, multimodal=multimodal
    )
    response = synthesizer.synthesize(QUESTION, found)
    assert {one.node_id for one in response.source_nodes} == {one.node_id for one in found}


def test_postprocessors_take_it(retriever):
    found = retriever.retrieve(QUESTION)
    bundle = QueryBundle(QUESTION)
    for postprocessor in (
        LongContextReorder(),
        MetadataReplacementPostProcessor(target_metadata_key="page_label"),
        SimilarityPostprocessor(similarity_cutoff=-100.0),
    ):
        assert len(postprocessor.postprocess_nodes(retriever.retrieve(QUESTION), bundle)) == len(found)


@pytest.mark.parametrize(
    "parser", [SentenceSplitter, TokenTextSplitter, SentenceWindowNodeParser.from_defaults]
)
def test_parsers_cut_it(page, parser):
    chunks = parser()([page])
    assert "".join(chunk.text for chunk in chunks).strip() == page.text.strip()
    assert all(chunk.metadata["page_id"] == page.node_id for chunk in chunks)


async def test_retrievers_of_the_host_follow_it(retriever):
    recursive = RecursiveRetriever("root", retriever_dict={"root": retriever})
    found = [one.node_id for one in retriever.retrieve(QUESTION)]
    assert [one.node_id for one in recursive.retrieve(QUESTION)] == found
    assert [one.node_id for one in await recursive.aretrieve(QUESTION)] == found


@pytest.mark.parametrize("mode", ["reciprocal_rerank", "relative_score", "simple"])
def test_a_page_that_two_questions_find_is_one(retriever, mode):
    llm = MockLLM()
    fusion = QueryFusionRetriever(
        [retriever, retriever], llm=llm, mode=mode, num_queries=1, similarity_top_k=9, use_async=False
    )
    found = [one.node_id for one in fusion.retrieve(QUESTION)]
    assert len(found) == len(set(found)) == 2
    two = [retriever.retrieve(question)[0].node for question in (QUESTION, "the harbor master of Bremen")]
    assert two[0].node_id == two[1].node_id and two[0].metadata != two[1].metadata
    assert two[0].hash == two[1].hash
